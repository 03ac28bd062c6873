"""Sends requests over many connections without waiting for answers, and says at the end what was answered."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from typing import Any

import trio

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r]*\r\n((?:[^\r]+\r\n)*)\r\n")
_AHEAD = 20
"""How many requests are sent at once, before any answer."""


class Flood:
    """What was sent, and what came back."""

    def __init__(self, port: int, request: bytes) -> None:
        self.port = port
        self.request = request
        self.sent = 0
        self.answers = Counter[str]()
        self.silent = 0
        self.heard = 0
        """How many connections were answered at least once."""

    async def connection(self) -> None:
        """Send for as long as the server takes it, and begin again where it no longer does."""
        while True:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", self.port)
            except OSError:
                await trio.sleep(0.01)
                continue
            async with stream, trio.open_nursery() as nursery:
                nursery.start_soon(self._receive, stream, nursery.cancel_scope)
                try:
                    while True:
                        await stream.send_all(self.request * _AHEAD)
                        self.sent += _AHEAD
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    nursery.cancel_scope.cancel()

    async def _receive(self, stream: trio.SocketStream, scope: trio.CancelScope) -> None:
        rest, heard = b"", False
        try:
            while data := await stream.receive_some(65536):
                rest += data
                self.heard += not heard
                heard = True
                end = 0
                for match in _STATUS.finditer(rest):
                    status = match[1].decode()
                    self.answers[status] += 1
                    if status in ("429", "503") and b"retry-after:" not in match[2].lower():
                        self.silent += 1
                    end = match.end()
                rest = rest[end:] if end else rest[-4096:]
        except trio.BrokenResourceError:
            pass
        scope.cancel()


async def main(order: dict[str, Any]) -> None:
    """Flood for some seconds, from when all connections were answered once, or have waited long enough for that."""
    flood = Flood(order["port"], order["request"].encode("latin-1"))
    async with trio.open_nursery() as nursery:
        for _ in range(order["connections"]):
            nursery.start_soon(flood.connection)
        with trio.move_on_after(order["patience"]):
            while flood.heard < order["connections"]:
                await trio.sleep(0.01)
        sys.stdout.write("it is at its height\n")
        sys.stdout.flush()
        await trio.sleep(order["seconds"])
        nursery.cancel_scope.cancel()
    sys.stdout.write(json.dumps({"sent": flood.sent, "answers": flood.answers, "silent": flood.silent}))


if __name__ == "__main__":
    trio.run(main, json.loads(sys.argv[1]))
