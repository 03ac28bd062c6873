"""One HTTP/1.1 request over a unix socket.

A general client has pools, redirects and proxies, of which a unix socket needs none, and takes longer to import than
most commands take to run.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import h11
import trio
from orchestrion.shared_types import ConfigInvalid, Problem

from ._socket import address_of, unreachable

_MAX_RECEIVE_BYTES = 65536


class Answer:
    """A response: its status, and its body as chunks come. Iterate it once."""

    def __init__(self, path: Path, stream: trio.SocketStream, connection: h11.Connection) -> None:
        """Take a connection whose request was sent."""
        self.status = 0
        self._path = path
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
            raise unreachable(self._path)
        self.status = event.status_code

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
        raise unreachable(self._path)

    async def _next(self) -> Any:
        with _translated(self._path):
            while True:
                event = self._connection.next_event()
                if event is not h11.NEED_DATA:
                    return event
                self._connection.receive_data(await self._stream.receive_some(_MAX_RECEIVE_BYTES))


@asynccontextmanager
async def request(
    path: Path, method: str, target: str, parameters: Mapping[str, Any], body: bytes | None = None, /
) -> AsyncIterator[Answer]:
    """Send a request to the server at `path`, and give its answer. Leaving the context drops the connection.

    Args:
        path: The socket.
        method: The request's method.
        target: The request's path.
        parameters: What the query holds; None is left out.
        body: A JSON text, or None.

    Raises:
        NetworkFailure: Nobody listens, or the connection was cut off.
        ConfigInvalid: A parameter is no text that can be sent.
    """
    query = _query(parameters)
    headers = [("host", "orchestrion"), ("connection", "close"), ("content-length", str(len(body or b"")))]
    if body is not None:
        headers.append(("content-type", "application/json"))
    connection = h11.Connection(our_role=h11.CLIENT)
    data = connection.send(h11.Request(method=method, target=f"{target}{query}", headers=headers)) or b""
    if body:
        data += connection.send(h11.Data(data=body)) or b""
    connection.send(h11.EndOfMessage())
    stream = await connect(path)
    async with stream:
        answer = Answer(path, stream, connection)
        with _translated(path, after_refusal=True):
            await stream.send_all(data)
        await answer.begin()
        yield answer


async def connect(path: Path) -> trio.SocketStream:
    """Connect to the socket at `path`.

    Raises:
        NetworkFailure: Nobody listens there.
    """
    with _translated(path), address_of(path) as address:
        return await trio.open_unix_socket(address)


@contextmanager
def _translated(path: Path, *, after_refusal: bool = False) -> Iterator[None]:
    try:
        yield
    except trio.BrokenResourceError as err:
        # A server that refuses a request early may close before it has read all; its answer is still there.
        if not after_refusal:
            raise unreachable(path) from err
    except (h11.RemoteProtocolError, trio.ClosedResourceError, OSError) as err:
        raise unreachable(path) from err


def _query(parameters: Mapping[str, Any]) -> str:
    given = {name: str(value) for name, value in parameters.items() if value is not None}
    try:
        return f"?{urlencode(given)}" if given else ""
    except UnicodeEncodeError as err:
        raise ConfigInvalid((Problem(f"not a text that can be sent: {err.object!r:.80}"),)) from err
