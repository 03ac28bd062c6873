"""Large bodies are read beside the loop, once, and mean what small ones do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing
from orchestrion.control_plane import _app
from orchestrion.control_plane._web import bodies, off_loop
from orchestrion.control_plane._web.off_loop import AT_ONCE_BYTES, read_json, value_of
from orchestrion.control_plane._wire import WorkloadsRequest
from orchestrion.shared_types import (
    ConfigInvalid,
    ContainerConfig,
    Metadata,
    TooManyRequests,
    WorkloadDefinition,
    from_json,
    to_json,
)

from .api_stage import Api

LONG = b" " * AT_ONCE_BYTES


def request_of(name: str) -> bytes:
    container = ContainerConfig(name="main", command=("run",))
    return to_json(
        WorkloadsRequest(workloads=(WorkloadDefinition(metadata=Metadata(name=name), containers=(container,)),))
    )


@pytest.mark.parametrize(
    ("path", "body", "module", "name"),
    [
        ("/v1/apply", LONG + request_of("web"), off_loop, "structure"),
        ("/v1/plan", LONG + request_of("web"), off_loop, "structure"),
        ("/api/v1/plan", b"{" + LONG + b"}", bodies, "_as_json"),
    ],
)
async def test_others_are_served_while_a_large_body_is_read(
    api: Api, monkeypatch: pytest.MonkeyPatch, path: str, body: bytes, module: Any, name: str
) -> None:
    served, inner = threading.Event(), getattr(module, name)

    def read(*arguments: Any) -> Any:
        assert served.wait(timeout=10), "the server did nothing else meanwhile"
        return inner(*arguments)

    monkeypatch.setattr(module, name, read)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(api.client.ask, "POST", path, body)
        await trio.testing.wait_all_tasks_blocked()
        assert (await api.client.ask("GET", "/livez")).status == 200
        served.set()


@pytest.mark.parametrize("padding", [b"", LONG])
async def test_a_body_that_says_what_is_asked_for_is_read_once(
    api: Api, monkeypatch: pytest.MonkeyPatch, padding: bytes
) -> None:
    def again(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(_app, "from_json", again)
    applied = await api.client.ask("POST", "/v1/apply", padding + request_of("web"))
    assert applied.status == 200
    listed = await api.client.ask("GET", "/api/v1/namespaces/default/workloads/web")
    assert listed.json["spec"]["containers"][0]["command"] == ["run"]


def outcome(read: Callable[[bytes, type[Any]], Any], body: bytes) -> Any:
    try:
        return read(body, WorkloadsRequest)
    except ConfigInvalid as err:
        return str(err)


@pytest.mark.parametrize(
    "body",
    [
        request_of("web"),
        request_of("web").replace(b"run", rb"\u00e4"),
        request_of("web").replace(b"run", rb"\ud800"),
        request_of("web").replace(b"run", "ä".encode()),
        request_of("web").replace(b"run", b"\xff"),
        request_of("web").replace(b'"main"', b"NaN"),
        request_of("web")[:-1],
        b"[" * 100_000,
        b"[]",
        b'{"workloads":[],"more":1}',
    ],
)
def test_a_large_body_means_what_a_small_one_does(body: bytes) -> None:
    assert outcome(value_of, body + LONG) == outcome(from_json, body + LONG)


async def test_of_one_sender_no_more_wait_than_may_be_at_work() -> None:
    served, outcomes = threading.Event(), list[str]()

    def read(_body: bytes) -> None:
        assert served.wait(timeout=10)

    async def send() -> None:
        try:
            await read_json(LONG + b"{}", read, "user:eve")
        except TooManyRequests:
            outcomes.append("refused")
            served.set()
        else:
            outcomes.append("read")

    async with trio.open_nursery() as nursery:
        for _ in range(66):
            nursery.start_soon(send)
    assert sorted(outcomes) == ["read"] * 65 + ["refused"]
