"""One request and its answer."""

from __future__ import annotations

import logging
from typing import Any, Final

import trio
from attrs import define, field

from .body import Body
from .dates import Dates
from .head import BadRequest, Head
from .settings import SLOWEST_BYTES_PER_SECOND
from .wire import MAX_AHEAD_BYTES, Wire

_log = logging.getLogger("orchestrion.control_plane")

MAX_DRAINED_BYTES: Final = 65_536
"""What is read of a body that no handler wanted, so that the connection can be used again."""

REASONS: Final = {
    100: "Continue", 101: "Switching Protocols",
    200: "OK", 201: "Created", 202: "Accepted", 204: "No Content",
    206: "Partial Content", 301: "Moved Permanently", 302: "Found", 303: "See Other", 304: "Not Modified",
    307: "Temporary Redirect", 308: "Permanent Redirect",
    400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    406: "Not Acceptable", 408: "Request Timeout", 409: "Conflict", 410: "Gone", 411: "Length Required",
    412: "Precondition Failed", 413: "Content Too Large", 414: "URI Too Long", 415: "Unsupported Media Type",
    416: "Range Not Satisfiable", 417: "Expectation Failed", 422: "Unprocessable Content", 426: "Upgrade Required",
    428: "Precondition Required", 429: "Too Many Requests", 431: "Request Header Fields Too Large",
    500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable",
    504: "Gateway Timeout", 505: "HTTP Version Not Supported",
}  # fmt: skip

_BODILESS: Final = frozenset({204, 304})


@define(eq=False)
class Exchange:
    """A request and its answer, as an ASGI application sees them.

    Attributes:
        wire: The connection.
        head: The request's head.
        dates: Knows what time it is.
        stays: Whether another request may follow.
    """

    wire: Wire
    head: Head
    dates: Dates
    stays: bool
    _body: Body = field(init=False)
    _began: float = field(factory=trio.current_time)
    _taken: int = 0
    _given: bool = False
    """Whether the application was given all of the body."""
    _waits: bool = field(init=False)
    _start: Any = None
    _begun: bool = False
    _over: bool = False
    _chunks: bool = False
    _refused: int = 0
    """What is answered whatever the application says, because of what came as the body."""

    def __attrs_post_init__(self) -> None:
        self._body = Body.of(self.head.length)
        self._waits = self.head.waits

    # -- what comes -------------------------------------------------------------------------------------------------

    async def receive(self) -> dict[str, Any]:
        """Return the next part of the body, and after all of it wait until the client goes."""
        if self._refused:
            await trio.lowlevel.checkpoint()
            return {"type": "http.disconnect"}
        if self._given:
            await self._wait_gone()
            return {"type": "http.disconnect"}
        data = b""
        if not self._body.over:
            if self._waits and not self._begun:
                self._waits = False
                await self.wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            try:
                data = await self._part()
            except BadRequest as err:
                self._refused = err.status
            if self._refused or (not data and not self._body.over):
                return {"type": "http.disconnect"}
        else:
            await trio.lowlevel.checkpoint()
        self._given = self._body.over
        return {"type": "http.request", "body": data, "more_body": not self._given}

    async def _part(self) -> bytes:
        """Return some more of the body; empty where no more comes, or no more is there."""
        while True:
            data = self._body.take(self.wire.buffer)
            if data or self._body.over:
                self._taken += len(data)
                return data
            patience = self.wire.settings.body + self._taken / SLOWEST_BYTES_PER_SECOND
            with trio.CancelScope(deadline=self._began + patience) as slow:
                if not await self.wire.fill():
                    return b""
            if slow.cancelled_caught:
                raise BadRequest(408, "the body came too slowly")

    async def _wait_gone(self) -> None:
        while len(self.wire.buffer) < MAX_AHEAD_BYTES:
            if not await self.wire.fill():
                return
        await trio.sleep_forever()  # it has sent requests ahead; until they are read nobody knows whether it is there

    # -- what goes --------------------------------------------------------------------------------------------------

    async def send(self, message: Any) -> None:
        """Send a part of the answer. The head of one whose length is known goes with the first part of its body."""
        kind = message["type"]
        if self._refused and not self._begun:
            await trio.lowlevel.checkpoint()
        elif kind == "http.response.start":
            if self._start is not None:
                msg = "an answer begins once"
                raise RuntimeError(msg)
            self._start = message
            # A head whose length is known goes with the body, and to send that is the checkpoint of both: one more
            # takes as long as writing the head.
            if not any(name.lower() == b"content-length" for name, _ in message["headers"]):
                # It may be long until there is a body, and who waits for it wants to know that it was let in.
                await self._send_body(b"", more=message["status"] not in _BODILESS)
                self._over = False
        elif kind == "http.response.body":
            if self._start is None or self._over:
                msg = "a body belongs between the beginning of an answer and its end"
                raise RuntimeError(msg)
            await self._send_body(bytes(message.get("body", b"")), more=message.get("more_body", False))
        else:
            msg = f"an answer has no {kind}"
            raise RuntimeError(msg)

    async def _send_body(self, body: bytes, *, more: bool) -> None:
        data = b"" if self._begun else self._head_of_answer(body, more=more)
        self._begun = True
        self._over = not more
        if self.head.method != "HEAD" and self._start["status"] not in _BODILESS:
            if not self._chunks:
                data += body
            else:
                if body:
                    data += b"%x\r\n%b\r\n" % (len(body), body)
                if not more:
                    data += b"0\r\n\r\n"
        if data:
            await self.wire.send(data)
        else:
            await trio.lowlevel.checkpoint()

    def _head_of_answer(self, body: bytes, *, more: bool) -> bytes:
        status = self._start["status"]
        lines = [b"HTTP/1.1 %d %b" % (status, REASONS.get(status, "Other").encode()), b"date: " + self.dates.now()]
        has_length = False
        for name, value in self._start["headers"]:
            has_length = has_length or name.lower() == b"content-length"
            lines.append(b"%b: %b" % (name, value))
        if not has_length and status not in _BODILESS:
            if not more:
                lines.append(b"content-length: %d" % len(body))
            elif self.head.minor:
                self._chunks = True
                lines.append(b"transfer-encoding: chunked")
            else:
                self.stays = False
        if not self.stays or (not self._body.over and self._waits):
            self.stays = False
            lines.append(b"connection: close")
        data = b"\r\n".join(lines)
        if data.count(b"\n") != len(lines) - 1 or data.count(b"\r") != len(lines) - 1 or b"\0" in data:
            msg = "a header field can't have line ends"
            raise ValueError(msg)
        return data + b"\r\n\r\n"

    # -- the whole --------------------------------------------------------------------------------------------------

    async def run(self, app: Any, scope: dict[str, Any]) -> bool:
        """Let an application answer; return whether another request may follow."""
        try:
            await app(scope, self.receive, self.send)
        except Exception:
            if not self._refused:
                _log.exception("answering %s %s", self.head.method, self.head.path)
            await self.refuse(self._refused or 500)
            return False
        if self._refused:
            await self.refuse(self._refused)
            return False
        if not self._over:
            if not self.wire.gone:
                _log.error("no end of the answer to %s %s", self.head.method, self.head.path)
            await self.refuse(500)
            return False
        return self.stays and not self.wire.gone and await self._drained()

    async def refuse(self, status: int) -> None:
        """Answer with a status alone, unless an answer was begun: that is cut off."""
        if self._begun:
            await trio.lowlevel.checkpoint()
            return
        self._refused = 0
        self._start = {"status": status, "headers": [(b"content-length", b"0")]}
        self._over = self._begun = False
        self.stays = False
        await self._send_body(b"", more=False)

    async def _drained(self) -> bool:
        """Read what is left of the body, if that is little."""
        seen = 0
        while not self._body.over:
            if self.head.length is not None and self._body.left > MAX_DRAINED_BYTES:
                return False
            try:
                data = await self._part()
            except BadRequest:
                return False
            seen += len(data)
            if (not data and not self._body.over) or seen > MAX_DRAINED_BYTES:
                return False
        return True
