"""Servers of the network are who they prove to be, and are told nothing before."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from orchestrion.control_plane import ApiClient, SecretText, ServerPeer, bearer
from orchestrion.control_plane._identity.authority import Authority
from orchestrion.control_plane._identity.tls import server_context
from orchestrion.shared_types import NetworkFailure

ANSWER = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{"ok":true}'


@asynccontextmanager
async def tls_server(authority: Authority, heard: list[bytes]) -> AsyncIterator[int]:
    """Give the port of a server whose certificate is for localhost alone."""
    context = server_context(authority.issue_server(("localhost",)), client_authority=None)

    async def answer(stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            heard.append(bytes(await stream.receive_some(65536)))
            await stream.send_all(ANSWER)
        except trio.BrokenResourceError:
            await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        sockets = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = sockets[0].socket.getsockname()[1]
        listeners = [trio.SSLListener(each, context) for each in sockets]
        nursery.start_soon(partial(trio.serve_listeners, answer, listeners))
        yield port
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def plain_server(answer: bytes) -> AsyncIterator[int]:
    """Give the port of a server that answers whatever comes with the same bytes."""

    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some(65536)
        await stream.send_all(answer)

    async with trio.open_nursery() as nursery:
        sockets = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(partial(trio.serve_listeners, serve, sockets))
        yield sockets[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def test_only_the_server_that_proves_itself_is_shown_a_token() -> None:
    authority, _ = Authority.make("orchestrion.test")
    stranger, _ = Authority.make("orchestrion.test")
    heard: list[bytes] = []
    async with tls_server(authority, heard) as port:
        url, shows = f"https://127.0.0.1:{port}", bearer(SecretText("orc_secret"))
        right = ServerPeer(url=url, authority=authority.certificate, server_name="localhost", credentials=shows)
        assert (await ApiClient(right).ask("GET", "/x")).data == {"ok": True}
        assert b"authorization: Bearer orc_secret" in heard.pop()
        for trusted, name, told in (
            (authority.certificate, "", "--server-name"),
            (stranger.certificate, "localhost", "Compare fingerprints"),
            (b"", "localhost", "Compare fingerprints"),
        ):
            wrong = ServerPeer(url=url, authority=trusted, server_name=name, credentials=shows)
            with pytest.raises(NetworkFailure, match="does not prove to be that server") as caught:
                await ApiClient(wrong).ask("GET", "/x")
            assert told in caught.value.remedy
    assert heard == []


async def test_where_nobody_listens_nobody_answers() -> None:
    with trio.socket.socket() as free:
        await free.bind(("127.0.0.1", 0))
        peer = ServerPeer(url=f"http://127.0.0.1:{free.getsockname()[1]}")
        with pytest.raises(NetworkFailure, match="no answer from a server at"):
            await ApiClient(peer).ask("GET", "/x")


async def test_a_server_of_tls_that_is_asked_without_is_told_as_such() -> None:
    authority, _ = Authority.make("orchestrion.test")
    async with tls_server(authority, []) as port:
        with pytest.raises(NetworkFailure, match="closed the connection without an answer") as caught:
            await ApiClient(ServerPeer(url=f"http://127.0.0.1:{port}")).ask("GET", "/x")
    assert f"https://127.0.0.1:{port}" in caught.value.remedy


async def test_who_complains_in_tls_of_plain_http_speaks_tls() -> None:
    async with plain_server(b"\x15\x03\x01\x00\x02\x02\x46") as port:
        with pytest.raises(NetworkFailure, match=f"the server at http://127.0.0.1:{port} speaks TLS") as caught:
            await ApiClient(ServerPeer(url=f"http://127.0.0.1:{port}")).ask("GET", "/x")
    assert caught.value.remedy == f"Try https://127.0.0.1:{port}"


@pytest.mark.parametrize(("host", "remedy"), [("127.0.0.1", "Try http://"), ("orchestrion.test", "Look at the port")])
async def test_who_answers_tls_with_plain_http_speaks_no_tls(
    host: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = trio.open_tcp_stream
    monkeypatch.setattr(trio, "open_tcp_stream", lambda _host, port: opened("127.0.0.1", port))
    async with plain_server(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        with pytest.raises(NetworkFailure, match=f"the server at https://{host}:{port} speaks no TLS") as caught:
            await ApiClient(ServerPeer(url=f"https://{host}:{port}")).ask("GET", "/x")
    assert caught.value.remedy.startswith(remedy)
