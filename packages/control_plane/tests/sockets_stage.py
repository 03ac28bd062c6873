"""Websockets to an ASGI application, without a network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import trio


class Socket:
    """A websocket to an ASGI application, with messages prepared."""

    def __init__(
        self,
        app: Any,
        path: str,
        headers: Mapping[str, str],
        first: Any,
        stays: float = 5,
        extensions: Mapping[str, Any] | None = None,
    ) -> None:
        self._app = app
        self._path = path
        self._headers = headers
        self._stays = stays
        self._extensions = dict(extensions or {})
        self._messages: list[dict[str, Any]] = [
            {"type": "websocket.connect"},
            {"type": "websocket.receive", "text": json.dumps(first), "bytes": None},
        ]
        self.sent: list[dict[str, Any]] = []

    def say(self, message: str | bytes) -> None:
        """Prepare another message."""
        text, data = (message, None) if isinstance(message, str) else (None, message)
        self._messages.append({"type": "websocket.receive", "text": text, "bytes": data})

    def say_nothing(self) -> None:
        """Prepare to connect, and to say nothing."""
        del self._messages[1:]

    async def run(self, seconds: float = 30) -> None:
        """Serve it to its end, or until the client has had enough of waiting."""
        path, _, query = self._path.partition("?")
        scope = {
            "type": "websocket",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "ws",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in self._headers.items()],
            "client": ("127.0.0.1", 1),
            "server": ("test", 80),
            "extensions": self._extensions,
            "subprotocols": [
                name.strip() for name in self._headers.get("sec-websocket-protocol", "").split(",") if name.strip()
            ],
            "state": {},
        }
        with trio.move_on_after(seconds):
            await self._app(scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        if self._messages:
            return self._messages.pop(0)
        await trio.sleep(self._stays)
        return {"type": "websocket.disconnect", "code": 1000}

    async def _send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    @property
    def accepted(self) -> bool:
        """Whether it was taken."""
        return "websocket.accept" in [each["type"] for each in self.sent]

    @property
    def said(self) -> list[Any]:
        """What the server said in texts."""
        return [json.loads(each["text"]) for each in self.sent if each.get("text")]
