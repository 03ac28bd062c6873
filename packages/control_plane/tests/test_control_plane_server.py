"""What only a server has: its socket, clients that go, stall or speak nonsense, and its end."""

from __future__ import annotations

import json
import os
import re
import socket
import stat
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from orchestrion.control_plane import (
    ApiClient,
    HttpControl,
    SocketPeer,
    address_of,
    error_of,
    listening,
    problem_of,
    serve_control,
)
from orchestrion.control_plane._server import GRACE_SECONDS
from orchestrion.orchestrator_core import LogQuery, LogRecord, UpdateKind
from orchestrion.runtime_interface import LogStream, StartFailed
from orchestrion.shared_types import (
    ConfigInvalid,
    Conflict,
    InternalError,
    NetworkFailure,
    NotFound,
    OrchestrationError,
    RuntimeFailure,
    Unsupported,
)


async def exchange(path: Path, request: bytes) -> tuple[int, Any]:
    with address_of(path) as address:
        stream = await trio.open_unix_socket(address)
    async with stream:
        await stream.send_all(request)
        data = b""
        while b"\r\n\r\n" not in data:
            data += await stream.receive_some()
        head, _, body = data.partition(b"\r\n\r\n")
        while not body.rstrip().endswith(b"}"):
            body += await stream.receive_some()
    return int(head.split()[1]), json.loads(body)


async def test_the_socket_is_its_owners_alone_and_goes_with_the_server(
    fake: Any, socket_path: Path, serving: Any
) -> None:
    async with serving(fake, socket_path) as control:
        await control.ping()
        assert stat.S_IMODE(socket_path.stat().st_mode) == 0o600
    assert not socket_path.exists()


async def test_the_mode_does_not_depend_on_the_umask(fake: Any, socket_path: Path, serving: Any) -> None:
    before = os.umask(0)
    try:
        async with serving(fake, socket_path):
            assert stat.S_IMODE(socket_path.stat().st_mode) == 0o600
    finally:
        os.umask(before)


async def test_a_socket_left_behind_is_replaced(fake: Any, socket_path: Path, serving: Any) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(socket_path))
    async with serving(fake, socket_path) as control:
        await control.ping()


async def test_a_socket_that_somebody_listens_at_is_left_alone(fake: Any, socket_path: Path, serving: Any) -> None:
    async with serving(fake, socket_path) as control:
        with pytest.raises(Conflict, match="another orchestrator listens"):
            await serve_control(fake, socket_path)
        await control.ping()


async def test_a_file_in_the_way_is_left_alone(fake: Any, socket_path: Path) -> None:
    socket_path.write_text("mine")
    with pytest.raises(Conflict, match="no socket"):
        await serve_control(fake, socket_path)
    assert socket_path.read_text() == "mine"


async def test_a_folder_that_is_missing_is_told(fake: Any, tmp_path: Path) -> None:
    with pytest.raises(NetworkFailure, match=r"can't listen at .*No such file"):
        await serve_control(fake, tmp_path / "nowhere" / "control.sock")


async def test_a_path_too_long_for_an_address_works(fake: Any, tmp_path: Path, serving: Any) -> None:
    folder = tmp_path / ("a" * 100) / ("b" * 100)
    folder.mkdir(parents=True)
    async with serving(fake, folder / "control.sock") as control:
        await control.ping()
        async with control.exec("web.0", ["true"]) as session:
            await session.close_stdin()
            assert (await session.wait()).code == 7
    assert list(folder.iterdir()) == []


async def test_nobody_there_is_a_network_failure_that_says_what_to_do(socket_path: Path) -> None:
    control = HttpControl(socket_path)
    with pytest.raises(NetworkFailure, match=r"no answer from an orchestrator.*\n.*orchestrion up"):
        await control.ping()
    with pytest.raises(NetworkFailure):
        async with control.watch():
            pytest.fail("it began")
    with pytest.raises(NetworkFailure):
        async with control.exec("web.0", ["true"]):
            pytest.fail("it began")


async def test_the_first_client_brings_the_server_up(fake: Any, socket_path: Path, serving: Any) -> None:
    async with serving(fake, socket_path, begin=trio.Event()) as control:
        await control.ping()


async def test_a_server_that_nobody_asked_ends_at_once(fake: Any, socket_path: Path) -> None:
    ending = trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve_control, fake, socket_path, begin=trio.Event(), ending=ending))
        began = trio.current_time()
        ending.set()
    assert trio.current_time() - began < GRACE_SECONDS / 2
    assert not socket_path.exists()


async def test_a_client_that_goes_ends_the_work_of_its_streams(fake: Any, socket_path: Path, serving: Any) -> None:
    async with serving(fake, socket_path):
        stream = await trio.open_unix_socket(str(socket_path))
        await stream.send_all(b"GET /v1/watch HTTP/1.1\r\nHost: x\r\n\r\n")
        data = b""
        while b"synced" not in data:
            data += await stream.receive_some()
        assert fake.open_streams == 1
        await stream.aclose()
        await fake.stream_closed.wait()
        assert fake.open_streams == 0


async def test_a_stalled_reader_does_not_keep_the_server_from_ending(
    fake: Any, socket_path: Path, serving: Any
) -> None:
    chunk = LogRecord(
        instance="w.0.1", container="c", attempt=0, stream=LogStream.STDOUT, offset=0, data=b"x" * 100_000
    )
    fake.records = [chunk] * 100
    async with serving(fake, socket_path):
        stream = await trio.open_unix_socket(str(socket_path))
        body = b'{"subject":"web"}'
        head = b"POST /v1/logs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        await stream.send_all(head % len(body) + body)
        await stream.receive_some(1)
        assert fake.open_streams == 1
    assert fake.open_streams == 0
    await stream.aclose()


async def test_an_end_in_good_order_ends_streams_in_good_order(fake: Any, socket_path: Path, serving: Any) -> None:
    ending = trio.Event()
    async with serving(fake, socket_path, ending=ending) as control, control.watch() as updates:
        assert (await anext(updates)).kind is UpdateKind.SYNCED
        ending.set()
        assert [update async for update in updates] == []


async def test_a_server_that_dies_cuts_streams_off_with_an_error(fake: Any, socket_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: serve_control(fake, socket_path, task_status=task_status))
        async with HttpControl(socket_path).watch() as updates:
            await anext(updates)
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True), pytest.raises(NetworkFailure):
                await anext(updates)


@pytest.mark.parametrize("host", ["a..b", f"{'a' * 70}.b"])
async def test_what_is_no_host_can_not_be_listened_at(host: str) -> None:
    with pytest.raises(NetworkFailure, match=f"can't listen at {re.escape(host)}"):
        async with listening(host, 0):
            pytest.fail("it listens")


async def test_a_port_that_is_taken_can_not_be_listened_at() -> None:
    async with listening("127.0.0.1", 0) as (listener, *_):
        port = listener.socket.getsockname()[1]
        with pytest.raises(NetworkFailure, match=f"can't listen at 127.0.0.1:{port}"):
            async with listening("127.0.0.1", port):
                pytest.fail("two listen at one port")
    async with listening("127.0.0.1", port):
        pass


@pytest.mark.parametrize("port", [-1, 65536, 65536 + 7070])
async def test_what_is_no_port_is_not_taken_for_another_one(port: int) -> None:
    with pytest.raises(ConfigInvalid, match=f"{port} is no port"):
        async with listening("127.0.0.1", port):
            pytest.fail("it listens")


async def test_what_can_not_be_done_at_a_path_is_told_apart_from_what_is_not_there(
    fake: Any, socket_path: Path, serving: Any
) -> None:
    async with serving(fake, socket_path):
        api = ApiClient(SocketPeer(socket_path))
        with pytest.raises(Unsupported, match="DELETE is not for /v1/ping") as refused:
            await api.ask("DELETE", "/v1/ping")
        assert "GET" in refused.value.remedy
        with pytest.raises(NotFound, match="no such path"):
            await api.ask("GET", "/v1/pong")


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", 404, "not-found"),
        (b"DELETE /v1/ping HTTP/1.1\r\nHost: x\r\n\r\n", 405, "unsupported"),
        (b"GET /v1/workload HTTP/1.1\r\nHost: x\r\n\r\n", 400, "config-invalid"),
        (b"GET /v1/events?limit=many HTTP/1.1\r\nHost: x\r\n\r\n", 400, "config-invalid"),
        (b"GET /v1/events?limit=0 HTTP/1.1\r\nHost: x\r\n\r\n", 400, "config-invalid"),
        (b"GET /v1/events?since=2026-01-01T00:00:00 HTTP/1.1\r\nHost: x\r\n\r\n", 400, "config-invalid"),
        (b"POST /v1/apply HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 400, "config-invalid"),
        (b"POST /v1/apply HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n{{{", 400, "config-invalid"),
        (b"POST /v1/apply HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\n" + b'{"nope": []}', 400, "config-invalid"),
        (b"POST /v1/logs HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n[]", 400, "config-invalid"),
    ],
)
async def test_nonsense_is_answered_with_a_problem(
    fake: Any, socket_path: Path, serving: Any, request_bytes: bytes, status: int, code: str
) -> None:
    async with serving(fake, socket_path):
        answered, problem = await exchange(socket_path, request_bytes)
    assert answered == status
    assert problem["code"] == code
    assert problem["status"] == status
    assert problem["detail"]


@pytest.mark.parametrize(
    ("target", "told"),
    [
        (b"GET /v1/events?since=2026-01-01T00:00:00", "since: a time with its time zone is wanted"),
        (b"GET /v1/events?limit=-1", "limit: at least 1 is wanted, not -1"),
        (b"POST /v1/plan", "the request has no body"),
    ],
)
async def test_what_is_wrong_with_a_request_is_told(
    fake: Any, socket_path: Path, serving: Any, target: bytes, told: str
) -> None:
    async with serving(fake, socket_path):
        _, problem = await exchange(socket_path, target + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    assert problem["detail"].startswith(told)


async def test_an_unknown_field_is_named_with_its_path(fake: Any, socket_path: Path, serving: Any) -> None:
    body = b'{"workloads":[{"metadata":{"name":"a"},"contaners":[]}]}'
    head = b"POST /v1/apply HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with serving(fake, socket_path):
        _, problem = await exchange(socket_path, head + body)
    error = error_of(problem)
    assert isinstance(error, ConfigInvalid)
    assert error.problems[0].path == "workloads[0]"
    assert "contaners" in error.problems[0].message


async def test_a_fault_is_told_as_one_and_goes_to_the_log(
    fake: Any, socket_path: Path, serving: Any, caplog: pytest.LogCaptureFixture
) -> None:
    fake.error = ZeroDivisionError("division by zero")
    async with serving(fake, socket_path) as control:
        with pytest.raises(InternalError, match="ZeroDivisionError: division by zero"):
            await control.list_nodes()
        fake.error, fake.error_at = ZeroDivisionError("again"), "items"
        with pytest.raises(InternalError, match="ZeroDivisionError: again"):
            async with control.logs(LogQuery(subject="web")) as records:
                await anext(records)
    assert [entry.name for entry in caplog.records] == ["orchestrion.control_plane"] * 2


async def test_what_is_no_text_can_not_be_sent(fake: Any, socket_path: Path, serving: Any) -> None:
    async with serving(fake, socket_path) as control:
        with pytest.raises(ConfigInvalid, match="not a text"):
            await control.get_workload("\udcff")


def test_an_error_of_an_unknown_class_becomes_the_nearest_known() -> None:
    problem = problem_of(StartFailed("no such program", remedy="install it"))
    problem["codes"].insert(0, "from-the-future")
    assert type(error_of(problem)) is StartFailed
    problem["codes"] = ["from-the-future", "runtime-failure", "error"]
    assert type(error_of(problem)) is RuntimeFailure
    problem["codes"] = ["from-the-future"]
    assert type(error_of(problem)) is InternalError
    assert str(error_of(problem)) == "no such program\ninstall it"


@pytest.mark.parametrize("problem", [{}, {"codes": "x"}, {"codes": [1, None]}, {"codes": ["compacted"], "fields": []}])
def test_a_malformed_problem_still_becomes_an_error(problem: dict[str, Any]) -> None:
    assert isinstance(error_of(problem), OrchestrationError)


def test_a_problem_document_has_what_the_standard_wants() -> None:
    problem = problem_of(NotFound("nothing there", remedy="look elsewhere"))
    assert problem["type"] == "/problems/not-found"
    assert (problem["status"], problem["detail"]) == (404, "nothing there\nlook elsewhere")
