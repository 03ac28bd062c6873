"""Connections: requests one after the other, peers that are slow, go, stall or speak nonsense, and the end."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio
from attrs import define, field
from orchestrion.control_plane._http1.crowd import Crowd, source_of
from orchestrion.control_plane._http1.sends import Sends
from orchestrion.control_plane._http1.server import Connections
from orchestrion.control_plane._http1.settings import Settings
from trio.testing import MockClock, memory_stream_pair
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    Pong,
    RejectConnection,
    Request,
    TextMessage,
)

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"


@define(eq=False)
class Peer:
    """The other end of a connection."""

    stream: trio.StapledStream[Any, Any]
    connections: Connections
    over: trio.Event
    _seen: bytearray = field(factory=bytearray)

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def answer(self) -> tuple[int, bytes]:
        """Return the status and the body of the next answer."""
        while b"\r\n\r\n" not in self._seen:
            await self._more()
        head, _, rest = bytes(self._seen).partition(b"\r\n\r\n")
        self._seen[:] = rest
        status = int(head.split()[1])
        if b"chunked" in head:
            return status, await self._chunks()
        found = re.search(rb"content-length: (\d+)", head.lower())
        length = int(found[1]) if found is not None else 0
        while len(self._seen) < length:
            await self._more()
        body = bytes(self._seen[:length])
        del self._seen[:length]
        return status, body

    async def rest(self) -> bytes:
        """Return all that comes until the connection is closed."""
        while data := await self.stream.receive_some():
            self._seen += data
        return bytes(self._seen)

    async def _more(self) -> None:
        data = await self.stream.receive_some()
        assert data, f"closed after {bytes(self._seen)!r}"
        self._seen += data

    async def _chunks(self) -> bytes:
        while not self._seen.endswith(b"0\r\n\r\n"):
            await self._more()
        data, body = bytes(self._seen), b""
        self._seen.clear()
        while data:
            size, _, data = data.partition(b"\r\n")
            body += data[: int(size, 16)]
            data = data[int(size, 16) + 2 :]
        return body


App = Callable[[Any, Any, Any], Awaitable[None]]


@asynccontextmanager
async def connected(app: App, **settings: float) -> AsyncIterator[Peer]:
    """Give a connection to a server of an application."""
    stalled = settings.pop("stalled", float("inf"))
    connections = Connections(app, Settings(**settings), Sends(stalled))
    ours, theirs = memory_stream_pair()
    over = trio.Event()

    async def serve() -> None:
        await connections.serve(theirs)
        over.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        yield Peer(ours, connections, over)
        nursery.cancel_scope.cancel()


async def answer(send: Any, body: bytes, status: int = 200, *, pieces: int = 1) -> None:
    headers = [(b"x-a", b"b")] if pieces > 1 else [(b"Content-Length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for number in range(pieces):
        await send({"type": "http.response.body", "body": body, "more_body": number < pieces - 1})


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the path and the body."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    await answer(send, scope["path"].encode() + b":" + body)


async def test_requests_are_answered_one_after_the_other() -> None:
    async with connected(echo) as peer:
        await peer.send(GET + b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET /c HTTP/1.1\r\nHo")
        assert await peer.answer() == (200, b"/a:")
        assert await peer.answer() == (200, b"/b:abc")
        await peer.send(b"st: x\r\n\r\n")
        assert await peer.answer() == (200, b"/c:")


async def test_a_body_in_chunks_is_read_and_one_is_written() -> None:
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        await answer(send, message["body"], pieces=3)

    async with connected(app) as peer:
        await peer.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        assert await peer.answer() == (200, b"abcabcabc")


async def test_an_old_client_is_given_no_chunks() -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await answer(send, b"abc", pieces=2)

    async with connected(app) as peer:
        await peer.send(b"GET / HTTP/1.0\r\n\r\n")
        assert (await peer.rest()).endswith(b"connection: close\r\n\r\nabcabc")


async def test_a_head_alone_has_no_body() -> None:
    async with connected(echo) as peer:
        await peer.send(b"HEAD /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        got = await peer.rest()
        assert b"Content-Length: 3" in got
        assert got.endswith(b"\r\n\r\n")


async def test_who_waits_to_go_on_is_told_to_once_the_body_is_wanted() -> None:
    async with connected(echo) as peer:
        await peer.send(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert await peer.answer() == (100, b"")
        await peer.send(b"abc")
        assert await peer.answer() == (200, b"/a:abc")


async def test_a_small_body_that_nobody_wants_does_not_end_the_connection_and_a_large_one_does() -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await answer(send, b"no", 413)

    async with connected(app) as peer:
        await peer.send(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" + GET)
        assert await peer.answer() == (413, b"no")
        assert await peer.answer() == (413, b"no")
        await peer.send(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\nabc")
        assert await peer.answer() == (413, b"no")
        assert await peer.rest() == b""


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: x\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: " + b"b" * 70_000, 431),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    ],
)
async def test_nonsense_is_answered_once_and_ends_the_connection(data: bytes, status: int) -> None:
    async with connected(echo) as peer:
        await peer.send(data)
        got = await peer.rest()
        assert got.startswith(b"HTTP/1.1 %d " % status)
        assert got.count(b"HTTP/1.1") == 1
        await peer.over.wait()


async def test_what_comes_too_slowly_is_given_up(autojump_clock: MockClock) -> None:
    async with connected(echo, head=10) as peer:
        for byte in b"GET / HTT":
            await peer.send(bytes([byte]))
            await trio.sleep(1)
        assert (await peer.rest()).startswith(b"HTTP/1.1 408 ")
        assert trio.current_time() < 12
    async with connected(echo, body=30) as peer:
        await peer.send(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
        began = trio.current_time()
        while not peer.over.is_set():
            with suppress(trio.BrokenResourceError):
                await peer.send(b"a")
            await trio.sleep(1)
        assert trio.current_time() - began < 35
        assert (await peer.rest()).startswith(b"HTTP/1.1 408 ")


async def test_a_connection_without_a_request_is_closed_after_a_while(autojump_clock: MockClock) -> None:
    async with connected(echo, keep_alive=75) as peer:
        assert await peer.rest() == b""
        assert trio.current_time() == pytest.approx(75)


async def test_a_peer_that_goes_is_told_to_who_waits_for_it() -> None:
    gone = trio.Event()

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"1", "more_body": True})
        assert (await receive())["type"] == "http.disconnect"
        await send({"type": "http.response.body", "body": b"2", "more_body": False})
        gone.set()

    async with connected(app) as peer:
        await peer.send(GET)
        await peer.stream.receive_some()
        await peer.stream.aclose()
        await gone.wait()
        await peer.over.wait()


async def test_a_fault_of_the_application_is_answered_and_one_in_the_middle_cuts_off(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Any, _receive: Any, send: Any) -> None:
        if scope["path"] == "/late":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"1", "more_body": True})
        raise ZeroDivisionError

    async with connected(app) as peer:
        await peer.send(GET)
        assert await peer.answer() == (500, b"")
    async with connected(app) as peer:
        await peer.send(GET.replace(b"/a", b"/late"))
        assert not (await peer.rest()).endswith(b"0\r\n\r\n")
    assert len(caplog.records) == 2


async def test_no_header_can_end_its_line(caplog: pytest.LogCaptureFixture) -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        headers = [(b"location", b"/a\r\nset-cookie: evil")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async with connected(app) as peer:
        await peer.send(GET)
        got = await peer.rest()
        assert got.startswith(b"HTTP/1.1 500 ")
        assert b"evil" not in got
    assert len(caplog.records) == 1


async def test_at_the_end_idle_connections_close_and_others_after_their_answer() -> None:
    go = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await go.wait()
        await echo(scope, receive, send)

    async with connected(app) as peer:
        await peer.send(GET)
        await trio.testing.wait_all_tasks_blocked()
        peer.connections.end()
        go.set()
        assert (await peer.rest()).endswith(b"/a:")
        await peer.over.wait()
    async with connected(app) as peer:
        await trio.testing.wait_all_tasks_blocked()
        peer.connections.end()
        assert await peer.rest() == b""


async def test_more_connections_than_there_may_be_are_closed_where_all_are_at_work() -> None:
    go = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await go.wait()
        await echo(scope, receive, send)

    async with connected(app) as peer:
        peer.connections.most = 1
        await peer.send(GET)
        await trio.testing.wait_all_tasks_blocked()
        ours, theirs = memory_stream_pair()
        await peer.connections.serve(theirs)
        assert await ours.receive_some() == b""
        go.set()
        assert await peer.answer() == (200, b"/a:")


@pytest.mark.parametrize("begun", [b"", b"GET /a HT"])
async def test_a_connection_on_which_nothing_is_asked_makes_room_for_another(begun: bytes) -> None:
    async with connected(echo) as idle, trio.open_nursery() as nursery:
        idle.connections.most = 1
        if begun:
            await idle.send(begun)
        await trio.testing.wait_all_tasks_blocked()
        ours, theirs = memory_stream_pair()
        nursery.start_soon(idle.connections.serve, theirs)
        other = Peer(ours, idle.connections, trio.Event())
        await other.send(GET)
        assert await other.answer() == (200, b"/a:")
        assert await idle.rest() == b""
        nursery.cancel_scope.cancel()


async def test_who_has_the_most_connections_makes_room_first_and_the_longest_idle_of_them() -> None:
    crowd = Crowd()
    ended = list[tuple[str, int]]()

    async def idle(source: str, number: int) -> None:
        with crowd.present(source), crowd.waiting(source):
            await trio.Event().wait()
        ended.append((source, number))

    async with trio.open_nursery() as nursery:
        for number in range(3):
            for source in ("few", "many", "many"):
                if (source, number) != ("few", 1):
                    nursery.start_soon(idle, source, number)
                await trio.testing.wait_all_tasks_blocked()
        for _ in range(5):
            assert crowd.make_room()
            await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert [number for source, number in ended if source == "many"][:4] == [0, 0, 1, 1]
    assert crowd.count == 0
    assert not crowd.make_room()


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_all_addresses_of_one_customer_are_one_source(address: str, source: str) -> None:
    assert source_of(address) == source


async def talk(scope: Any, receive: Any, send: Any) -> None:
    """Accept, say everything back, close at `bye`."""
    assert (await receive())["type"] == "websocket.connect"
    if scope["path"] == "/no":
        await send({"type": "websocket.close", "code": 4403, "reason": ""})
        return
    await send({"type": "websocket.accept", "subprotocol": None, "headers": []})
    while (message := await receive())["type"] == "websocket.receive":
        if message["text"] == "bye":
            await send({"type": "websocket.close", "code": 1000, "reason": "as you wish"})
            return
        await send({"type": "websocket.send", "text": message["text"], "bytes": message["bytes"]})


@define(eq=False)
class SocketPeer:
    """The other end of a WebSocket."""

    peer: Peer
    protocol: WSConnection = field(factory=lambda: WSConnection(ConnectionType.CLIENT))
    events: list[Any] = field(factory=list)

    async def send(self, event: Any) -> None:
        await self.peer.send(self.protocol.send(event))

    async def next(self) -> Any:
        while not self.events:
            data = await self.peer.stream.receive_some()
            self.protocol.receive_data(bytes(data) or None)
            self.events.extend(self.protocol.events())
        return self.events.pop(0)


async def test_a_socket_carries_messages_both_ways() -> None:
    async with connected(talk) as peer:
        socket = SocketPeer(peer)
        await socket.send(Request(host="x", target="/yes"))
        assert isinstance(await socket.next(), AcceptConnection)
        await socket.send(TextMessage("ab", message_finished=False))
        await socket.send(TextMessage("c"))
        assert (await socket.next()).data == "abc"
        await socket.send(Ping(b"p"))
        assert await socket.next() == Pong(b"p")
        await socket.send(BytesMessage(b"x" * 100_000))
        got = b""
        while len(got) < 100_000:
            got += (await socket.next()).data
        assert got == b"x" * 100_000
        await socket.send(TextMessage("bye"))
        assert await socket.next() == CloseConnection(1000, "as you wish")


async def test_a_socket_can_be_refused_with_an_answer_that_says_why() -> None:
    async def refuse(scope: Any, _receive: Any, send: Any) -> None:
        assert "websocket.http.response" in scope["extensions"]
        headers = [(b"content-length", b"5"), (b"www-authenticate", b"Bearer")]
        await send({"type": "websocket.http.response.start", "status": 401, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": b"wh", "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b"o?!", "more_body": False})

    async with connected(refuse) as peer:
        await SocketPeer(peer).send(Request(host="x", target="/"))
        told = await peer.rest()
    assert told.startswith(b"HTTP/1.1 401 ")
    assert b"www-authenticate: Bearer" in told
    assert told.endswith(b"who?!")


async def test_a_socket_can_be_refused() -> None:
    async with connected(talk) as peer:
        socket = SocketPeer(peer)
        await socket.send(Request(host="x", target="/no"))
        refused = await socket.next()
        assert isinstance(refused, RejectConnection)
        assert refused.status_code == 403


async def test_what_is_no_handshake_is_refused() -> None:
    async with connected(talk) as peer:
        await peer.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert (await peer.rest()).startswith(b"HTTP/1.1 400 ")


async def test_a_socket_of_who_takes_nothing_is_cut_off_and_the_application_hears_of_it(
    autojump_clock: MockClock,
) -> None:
    heard = list[str]()

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept", "subprotocol": None, "headers": []})
        async with trio.open_nursery() as nursery:

            async def hear() -> None:
                heard.append((await receive())["type"])
                nursery.cancel_scope.cancel()

            nursery.start_soon(hear)
            while True:
                await send({"type": "websocket.send", "text": "more", "bytes": None})

    sends = 0

    async def taken() -> None:
        nonlocal sends
        sends += 1
        if sends > 1:  # the first says that it was accepted
            await trio.sleep_forever()

    ours, theirs = memory_stream_pair()
    theirs.send_stream.send_all_hook = taken
    protocol = WSConnection(ConnectionType.CLIENT)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Connections(app, Settings(), Sends(20)).serve, theirs)
        await ours.send_all(protocol.send(Request(host="x", target="/yes")))
    assert (heard, trio.current_time()) == (["websocket.disconnect"], 20)


async def test_a_message_that_is_too_long_ends_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrion.control_plane._http1.sockets.MAX_MESSAGE_BYTES", 10)
    async with connected(talk) as peer:
        socket = SocketPeer(peer)
        await socket.send(Request(host="x", target="/yes"))
        assert isinstance(await socket.next(), AcceptConnection)
        await socket.send(BytesMessage(b"x" * 11))
        assert (await socket.next()).code == 1009


async def test_a_body_that_is_none_is_refused_whatever_the_application_makes_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "http.disconnect"
        await answer(send, b"done")

    async with connected(app) as peer:
        await peer.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        got = await peer.rest()
    assert got.startswith(b"HTTP/1.1 400 ")
    assert b"done" not in got
    assert caplog.records == []
