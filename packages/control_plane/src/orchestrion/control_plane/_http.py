"""One HTTP/1.1 request to an orchestrator, at a socket or over the network.

A general client has pools, redirects and proxies, of which this needs none, and takes longer to import than most
commands take to run.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Self
from urllib.parse import urlencode

import h11
import trio
from orchestrion.shared_types import ConfigInvalid, Problem

from ._peer import Peer

_MAX_RECEIVE_BYTES = 65536
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
        """Return the whole body."""
        return b"".join([chunk async for chunk in self])

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
                self._connection.receive_data(bytes(await self._stream.receive_some(_MAX_RECEIVE_BYTES)))


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
        NetworkFailure: Nobody listens, or the connection was cut off.
        ConfigInvalid: A parameter is no text that can be sent.
    """
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
        answer = Answer(peer, stream, connection)
        with _translated(peer, after_refusal=True):
            await stream.send_all(data)
        await answer.begin()
        yield answer
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
