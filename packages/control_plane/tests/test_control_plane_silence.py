"""A server that takes connections and says nothing is told of, and given up; one that is alive is not hurried."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from orchestrion.control_plane import ApiClient, HttpControl, ServerPeer
from orchestrion.shared_types import NetworkFailure

ANSWER = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{"ok":true}'

Serve = Callable[[trio.SocketStream], Awaitable[None]]


@asynccontextmanager
async def server(serve: Serve) -> AsyncIterator[str]:
    """Give the URL of a server that treats connections in some way."""
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(partial(trio.serve_listeners, serve, listeners))
        yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def mute(_stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


async def ask(peer: ServerPeer) -> None:
    await ApiClient(peer).ask("GET", "/api/v1/workloads")


async def ask_control(peer: ServerPeer) -> None:
    await HttpControl(peer).list_workloads()


async def watch(peer: ServerPeer) -> None:
    async with ApiClient(peer).lines("/api/v1/workloads"):
        pytest.fail("it began")


async def run_command(peer: ServerPeer) -> None:
    async with HttpControl(peer).exec("web.0.1", ["true"]):
        pytest.fail("it began")


@pytest.mark.parametrize("act", [ask, ask_control, watch, run_command])
async def test_a_server_that_never_answers_is_told_of_after_3_seconds_and_given_up_after_30(
    act: Callable[[ServerPeer], Awaitable[None]], autojump_clock: object
) -> None:
    noted: list[tuple[float, str]] = []
    async with server(mute) as url:
        begun = trio.current_time()
        peer = ServerPeer(url=url, noted=lambda text: noted.append((trio.current_time() - begun, text)))
        with trio.fail_after(60), pytest.raises(NetworkFailure, match="takes connections and says nothing") as caught:
            await act(peer)
        assert trio.current_time() - begun == pytest.approx(30)
    ((at, text),) = noted
    assert (at == pytest.approx(3), text) == (True, f"waiting for the server at {url}, which does not answer yet")
    assert caught.value.remedy != ""


async def test_a_server_that_says_it_is_there_is_given_the_time_that_a_request_takes(autojump_clock: object) -> None:
    noted: list[str] = []

    async def slow(stream: trio.SocketStream) -> None:
        request = bytes(await stream.receive_some(65536))
        if b"/v1/ping" not in request:
            await trio.sleep(600)
        await stream.send_all(ANSWER)

    async with server(slow) as url:
        reply = await ApiClient(ServerPeer(url=url, noted=noted.append)).ask("POST", "/x", {})
    assert (reply.data, noted) == ({"ok": True}, [])


async def test_a_stream_that_has_begun_may_be_silent(autojump_clock: object) -> None:
    async def stream_slowly(stream: trio.SocketStream) -> None:
        await stream.receive_some(65536)
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\n\r\n")
        await trio.sleep(600)
        await stream.send_all(b'{"type": "BOOKMARK"}\n')

    async with server(stream_slowly) as url, ApiClient(ServerPeer(url=url)).lines("/x") as lines:
        assert await anext(lines) == {"type": "BOOKMARK"}


def stalling(status: bytes) -> Serve:
    """Return what sends the half of an answer, in two pieces, and nothing after it."""

    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some(65536)
        head = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n" % status
        await stream.send_all(head + b'{"ok"')
        await trio.sleep(29)
        await stream.send_all(b":")
        await trio.sleep_forever()

    return serve


@pytest.mark.parametrize(("act", "status"), [(ask, b"200 OK"), (ask_control, b"200 OK"), (watch, b"403 Forbidden")])
async def test_an_answer_of_which_nothing_more_comes_is_given_up_after_30_seconds(
    act: Callable[[ServerPeer], Awaitable[None]], status: bytes, autojump_clock: object
) -> None:
    async with server(stalling(status)) as url:
        begun = trio.current_time()
        with trio.fail_after(100), pytest.raises(NetworkFailure, match=f"{url} has stopped within an answer") as caught:
            await act(ServerPeer(url=url))
        assert trio.current_time() - begun == pytest.approx(29 + 30)
    assert caught.value.remedy != ""
