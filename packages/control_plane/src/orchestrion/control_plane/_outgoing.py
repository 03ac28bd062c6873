"""One HTTP/1.1 request to somebody else's server: a webhook, an issuer of tokens.

No redirection is followed, no proxy of the environment used, nothing kept open: whom to ask was decided by whoever
configured the URL, and by nobody else.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import h11
import trio
from attrs import frozen
from orchestrion.shared_types import NetworkFailure

from ._reach import Reach

MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024

_MAX_RECEIVE_BYTES: Final = 65536
_PORTS: Final = {"https": 443, "http": 80}


class AnswerTooLarge(NetworkFailure):
    """Who was asked has answered, with more than is taken."""


@frozen
class HttpAnswer:
    """What a server answered.

    Attributes:
        status: The HTTP status, whatever it is.
        body: All of the body.
    """

    status: int
    body: bytes


class Outgoing:
    """Sends requests.

    **Cancellation.** Indeterminate: the other side may have had the request. No method has a deadline of its own.

    **Concurrency.** Any number of requests at once, each over a connection of its own.
    """

    def __init__(
        self,
        context: ssl.SSLContext | None = None,
        /,
        *,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
        reach: Reach | None = None,
    ) -> None:
        """Take how servers prove who they are.

        Args:
            context: Whom to trust over https; None is whom the system trusts.
            max_answer_bytes: The longest body that is taken, >= 0.
            reach: Says which addresses may be connected to; None is all.
        """
        self._context = context
        self._reach = reach
        self._max_answer_bytes = max_answer_bytes

    async def get(self, url: str, /) -> HttpAnswer:
        """Ask for what is at an http or https URL.

        Raises:
            NetworkFailure: There is no answer: nobody listens, who listens is not who it should be, the connection was
                cut off, or what came is no answer.
            AnswerTooLarge: The answer is longer than is taken.
            OutOfReach: The host has an address that may not be connected to.
        """
        return await self._send("GET", url, None, "")

    async def post(self, url: str, body: bytes, /) -> HttpAnswer:
        """Send a JSON text to an http or https URL.

        Raises:
            NetworkFailure: As for `get`.
        """
        return await self._send("POST", url, body, "application/json")

    async def post_form(self, url: str, body: bytes, /) -> HttpAnswer:
        """Send the fields of a form to an http or https URL.

        Raises:
            NetworkFailure: As for `get`.
        """
        return await self._send("POST", url, body, "application/x-www-form-urlencoded")

    async def _send(self, method: str, url: str, body: bytes | None, kind: str) -> HttpAnswer:
        try:
            parts = urlsplit(url)
            connection = h11.Connection(our_role=h11.CLIENT)
            data = _request(connection, method, parts, body, kind)
            async with await self._connected(parts) as stream:
                return await self._exchanged(stream, connection, data)
        except (h11.ProtocolError, trio.BrokenResourceError, trio.ClosedResourceError, OSError, ValueError) as err:
            # ssl.SSLError is an OSError; what is no URL, and a name that can't be written in ASCII, a ValueError.
            raise NetworkFailure(f"no answer from {url!r:.200}") from err

    async def _connected(self, parts: SplitResult) -> trio.abc.Stream:
        host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)
        if not host or not port:
            raise ValueError("an http or https url with a host is wanted")
        stream = await self._opened(host, port)
        if parts.scheme == "http":
            return stream
        context = self._context or ssl.create_default_context()
        secured = trio.SSLStream(stream, context, server_hostname=host, https_compatible=True)
        try:
            await secured.do_handshake()
        except BaseException:
            await trio.aclose_forcefully(secured)
            raise
        return secured

    async def _opened(self, host: str, port: int) -> trio.SocketStream:
        if self._reach is None:
            return await trio.open_tcp_stream(host, port)
        failure: OSError | None = None
        for address, at_port in await self._reach.addresses(host, port):
            try:
                return await trio.open_tcp_stream(address, at_port)
            except OSError as err:
                failure = err
        raise failure or OSError("it has no address")

    async def _exchanged(self, stream: trio.abc.Stream, connection: h11.Connection, data: bytes) -> HttpAnswer:
        # Who refuses a request early may close before having read all; its answer is still there.
        with suppress(trio.BrokenResourceError):
            await stream.send_all(data)
        status, body = 0, bytearray()
        while True:
            event: Any = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(bytes(await stream.receive_some(_MAX_RECEIVE_BYTES)))
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > self._max_answer_bytes:
                    raise AnswerTooLarge(f"the answer is longer than {self._max_answer_bytes:,} bytes")
            elif isinstance(event, h11.EndOfMessage):
                # Said at once, not by a polite end of the session: the other side may never join in that.
                await trio.aclose_forcefully(stream)
                return HttpAnswer(status, bytes(body))
            elif isinstance(event, h11.ConnectionClosed):
                raise NetworkFailure("the connection was cut off before there was an answer")


def _request(connection: h11.Connection, method: str, parts: SplitResult, body: bytes | None, kind: str) -> bytes:
    headers = [
        ("host", parts.netloc.rpartition("@")[2]),
        ("user-agent", "orchestrion"),
        ("accept", "application/json"),
        ("connection", "close"),
    ]
    if body is not None:
        headers += [("content-type", kind), ("content-length", str(len(body)))]
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    data = connection.send(h11.Request(method=method, target=target, headers=headers)) or b""
    if body:
        data += connection.send(h11.Data(data=body)) or b""
    return data + (connection.send(h11.EndOfMessage()) or b"")
