"""A client of the Model Context Protocol, made of plain messages."""

from __future__ import annotations

import json
from typing import Any

from attrs import define, field

from .api_stage import Answer, Client

START = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}


def request(method: str, params: Any = None, request_id: Any = 1) -> dict[str, Any]:
    message: dict[str, Any] = {"jsonrpc": "2.0", "id": request_id, "method": method}
    return message if params is None else message | {"params": params}


def notification(method: str, params: Any = None) -> dict[str, Any]:
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    return message if params is None else message | {"params": params}


def call(tool: str, request_id: Any = 1, /, **arguments: Any) -> dict[str, Any]:
    return request("tools/call", {"name": tool, "arguments": arguments}, request_id)


def told(answer: Any) -> Any:
    """Return what a tool gave, which must not be a refusal."""
    result = answer["result"]
    assert not result["isError"], result
    return json.loads(result["content"][0]["text"])


def refusal(answer: Any) -> str:
    """Return why a tool did not do it."""
    result = answer["result"]
    assert result["isError"], result
    return str(result["content"][0]["text"])


@define(eq=False)
class HttpClient:
    """A session over HTTP."""

    client: Client
    headers: dict[str, str] = field(factory=dict)

    async def begin(self, version: str = "2025-11-25") -> Any:
        answer = await self.post(request("initialize", START | {"protocolVersion": version}))
        assert answer.status == 200, answer.body
        self.headers["mcp_session_id"] = answer.headers["mcp-session-id"]
        assert (await self.post(notification("notifications/initialized"))).status == 202
        return answer.json["result"]

    async def post(self, message: Any, **headers: str) -> Answer:
        given = {"accept": "application/json, text/event-stream"} | self.headers | headers
        return await self.client.ask("POST", "/mcp", message, **given)

    async def ask(self, message: Any) -> Any:
        answer = await self.post(message)
        assert answer.status == 200, answer.body
        return answer.json
