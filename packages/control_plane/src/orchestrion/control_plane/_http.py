"""One HTTP/1.1 request to an orchestrator, at a socket or over the network.

A general client has pools, redirects and proxies, of which this needs none, and takes longer to import than most
commands take to run.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlencode

import h11
import trio
from orchestrion.shared_types import ConfigInvalid, OrchestrationError, Problem

from ._peer import Peer, ServerPeer

T = TypeVar("T")

_MAX_RECEIVE_BYTES = 65536

_ASKED_SECONDS: Final = 2.0
"""How long a server may be silent before it is asked whether it is there."""

_NOTED_SECONDS: Final = 3.0
"""How long before people are told of that."""

_SILENT_SECONDS: Final = 30.0
"""How long before it is given up. What is there may take as long as it likes for what it was asked."""

_PAUSE_SECONDS: Final = 1.0

_TLS_ALERT: Final = b"\x15\x03"
"""How a server of TLS begins to say that it was not spoken to in TLS."""

_WARNING = re.compile(r'\d{3} \S+ "((?:[^"\\]|\\.)*)"')


class Answer:
    """A response: its status and headers, by names in lower case, and its body as chunks come. Iterate it once."""

    def __init__(self, peer: Peer, stream: trio.abc.Stream, connection: h11.Connection) -> None:
        """Take a connection whose request was sent."""
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self._peer = peer
        self._stream = stream
        self._connection = connection
        self._is_begun = False

    @property
    def succeeded(self) -> bool:
        """Whether the status is one of success."""
        return 200 <= self.status < 300

    async def begin(self) -> None:
        """Wait for the status."""
        event = await self._next()
        if not isinstance(event, h11.Response):
            raise self._peer.unreachable()
        self.status = event.status_code
        self.headers = {bytes(name).decode("latin-1"): bytes(value).decode("latin-1") for name, value in event.headers}
        for text in warnings_in(self.headers.get("warning", "")):
            self._peer.warned(text)

    async def read(self) -> bytes:
        """Return the whole body.

        Raises:
            NetworkFailure: It was cut off, or a server of the network has sent none of it for 30 s.
        """
        if not isinstance(self._peer, ServerPeer):
            return b"".join([chunk async for chunk in self])
        chunks = list[bytes]()
        while True:
            with trio.move_on_after(_SILENT_SECONDS):
                chunk = await anext(self, None)
                if chunk is None:
                    return b"".join(chunks)
                chunks.append(chunk)
                continue
            raise self._peer.stalled()

    def __aiter__(self) -> Self:
        """Return itself."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next part of the body."""
        event = await self._next()
        if isinstance(event, h11.Data):
            return bytes(event.data)
        if isinstance(event, h11.EndOfMessage):
            raise StopAsyncIteration
        raise self._peer.unreachable()

    async def _next(self) -> Any:
        with _translated(self._peer):
            while True:
                event = self._connection.next_event()
                if event is not h11.NEED_DATA:
                    return event
                data = bytes(await self._stream.receive_some(_MAX_RECEIVE_BYTES))
                if not self._is_begun and isinstance(self._peer, ServerPeer):
                    _check_beginning(self._peer, data)
                self._is_begun = True
                self._connection.receive_data(data)


def _check_beginning(peer: ServerPeer, data: bytes) -> None:
    if data.startswith(_TLS_ALERT):
        raise peer.misunderstood()
    if not data:
        raise peer.closed()


def warnings_in(header: str, /) -> list[str]:
    """Return the texts of a header `Warning` (RFC 7234, 5.5), without what a terminal would take for orders."""
    texts = [re.sub(r"\\(.)", r"\1", quoted) for quoted in _WARNING.findall(header)]
    return ["".join(character for character in text if character.isprintable()) for text in texts]


@asynccontextmanager
async def request(
    peer: Peer,
    method: str,
    target: str,
    parameters: Mapping[str, Any],
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    /,
) -> AsyncIterator[Answer]:
    """Send a request to a peer, and give its answer. Leaving the context drops the connection.

    Args:
        peer: Whom to ask.
        method: The request's method.
        target: The request's path, with its escapes.
        parameters: What the query holds; None is left out.
        body: A JSON text, or None.
        headers: More headers, by names in lower case.

    Raises:
        NetworkFailure: Nobody listens, or nobody answers, or the connection was cut off.
        ConfigInvalid: A parameter is no text that can be sent.
    """
    async with _connected(peer, method, target, parameters, body, headers) as (answer, send):

        async def exchange() -> None:
            await send()
            await answer.begin()

        await heard(peer, exchange)
        yield answer


async def heard(peer: Peer, exchange: Callable[[], Awaitable[T]], /) -> T:
    """Return what an exchange with a peer comes to; a server of the network that stays silent is given up.

    Whoever listens at a socket of this machine is known to be there or not.

    Raises:
        NetworkFailure: For 30 s neither the exchange came to its end nor the server said that it is there.
    """
    if not isinstance(peer, ServerPeer):
        return await exchange()
    results, errors = list[T](), list[Exception]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_give_up_silent, peer, nursery.cancel_scope)
        try:
            results.append(await exchange())
        except Exception as err:
            errors.append(err)
        nursery.cancel_scope.cancel()
    for error in errors:
        raise error
    if not results:
        raise peer.silent()
    return results[0]


async def _give_up_silent(peer: ServerPeer, scope: trio.CancelScope) -> None:
    """Cancel what waits for a server, unless that says that it is there."""
    begun = trio.current_time()
    await trio.sleep(_ASKED_SECONDS)
    with trio.move_on_at(begun + _NOTED_SECONDS):
        await _wait_there(peer)
        return
    peer.noted(f"waiting for the server at {peer.url}, which does not answer yet")
    with trio.move_on_at(begun + _SILENT_SECONDS):
        await _wait_there(peer)
        return
    scope.cancel()


async def _wait_there(peer: ServerPeer) -> None:
    """Wait until a server answers a question of which it has nothing to look up; whatever it says."""
    while True:
        try:
            async with _connected(peer, "GET", "/v1/ping", {}) as (answer, send):
                await send()
                await answer.begin()
                return
        except OrchestrationError:
            await trio.sleep(_PAUSE_SECONDS)


@asynccontextmanager
async def _connected(
    peer: Peer,
    method: str,
    target: str,
    parameters: Mapping[str, Any],
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> AsyncIterator[tuple[Answer, Callable[[], Awaitable[None]]]]:
    """Give the answer to a request that is not yet begun, and what sends the request. See `request`."""
    query = query_text(parameters)
    sent = {"host": peer.host, "connection": "close", "content-length": str(len(body or b""))}
    if body is not None:
        sent["content-type"] = "application/json"
    sent |= headers or {}
    sent |= peer.credentials(method, target, query, body or b"", sent)
    connection = h11.Connection(our_role=h11.CLIENT)
    full_target = f"{target}?{query}" if query else target
    data = connection.send(h11.Request(method=method, target=full_target, headers=list(sent.items()))) or b""
    if body:
        data += connection.send(h11.Data(data=body)) or b""
    connection.send(h11.EndOfMessage())
    stream = await peer.connect()
    try:

        async def send() -> None:
            with _translated(peer, after_refusal=True):
                await stream.send_all(data)

        yield Answer(peer, stream, connection), send
    finally:
        # There is nothing left to say that the other side would wait for.
        await trio.aclose_forcefully(stream)


@contextmanager
def _translated(peer: Peer, *, after_refusal: bool = False) -> Iterator[None]:
    try:
        yield
    except trio.BrokenResourceError as err:
        # A server that refuses a request early may close before it has read all; its answer is still there.
        if not after_refusal:
            raise peer.unreachable() from err
    except (h11.RemoteProtocolError, trio.ClosedResourceError, OSError) as err:
        raise peer.unreachable() from err


def query_text(parameters: Mapping[str, Any], /) -> str:
    """Return parameters as the query of a URL, without the question mark; None is left out.

    Raises:
        ConfigInvalid: One is no text that can be sent.
    """
    given = {name: _plain(value) for name, value in parameters.items() if value is not None}
    try:
        return urlencode(given)
    except UnicodeEncodeError as err:
        raise ConfigInvalid((Problem(f"not a text that can be sent: {err.object!r:.80}"),)) from err


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
