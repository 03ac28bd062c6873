"""The protocol over lines: order, ends, lines that are none."""

from __future__ import annotations

import json
from typing import Any

import trio
from orchestrion.control_plane._mcp.desk import Desk
from orchestrion.control_plane._mcp.messages import MAX_MESSAGE_BYTES
from orchestrion.control_plane._mcp.stdio import END_SECONDS, serve_lines

from .api_stage import Api
from .mcp_stage import START, call, notification, request, told


class Wire:
    """Both ends of a pair of pipes."""

    def __init__(self) -> None:
        self._sends, self._reads = trio.open_memory_channel[bytes](1000)
        self.written = b""

    async def read(self) -> bytes:
        try:
            return await self._reads.receive()
        except trio.EndOfChannel:
            return b""

    async def write(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.written += data

    def send(self, *messages: Any) -> None:
        for message in messages:
            self._sends.send_nowait(json.dumps(message).encode() + b"\n")

    def send_bytes(self, data: bytes) -> None:
        self._sends.send_nowait(data)

    def close(self) -> None:
        self._sends.close()

    @property
    def answers(self) -> dict[Any, Any]:
        assert not self.written or self.written.endswith(b"\n")
        found = [json.loads(line) for line in self.written.splitlines()]
        return {answer["id"]: answer for answer in found}


async def test_messages_are_answered_line_by_line_until_the_input_ends(api: Api) -> None:
    wire = Wire()
    spec = {"containers": [{"name": "main", "command": ["run"]}]}
    wire.send(request("initialize", START, 0), notification("notifications/initialized"))
    wire.send(request("tools/list", None, "a"), call("create_workload", "b", name="web", spec=spec))
    wire.close()
    await serve_lines(Desk(api.orchestrator), wire.read, wire.write)
    assert next(iter(wire.answers)) == 0
    assert wire.answers["a"]["result"]["tools"]
    assert told(wire.answers["b"])["changes"][0]["action"] == "create"


async def test_lines_may_come_in_pieces_and_be_empty(api: Api) -> None:
    wire = Wire()
    for byte in json.dumps(request("ping")).encode():
        wire.send_bytes(bytes([byte]))
    wire.send_bytes(b"\r\n\n  \n")
    wire.send_bytes(json.dumps(request("ping", None, 2)).encode())
    wire.close()
    await serve_lines(Desk(api.orchestrator), wire.read, wire.write)
    assert wire.answers.keys() == {1, 2}


async def test_a_line_that_is_none_or_too_long_is_told_of_and_the_next_one_answered(api: Api) -> None:
    wire = Wire()
    wire.send_bytes(b"{\n")
    for _ in range(5):
        wire.send_bytes(b"x" * MAX_MESSAGE_BYTES)
    wire.send_bytes(b"\n")
    wire.send(request("ping"))
    wire.close()
    await serve_lines(Desk(api.orchestrator), wire.read, wire.write)
    assert len(wire.written.splitlines()) == 3
    assert wire.answers[None]["error"]["code"] == -32700
    assert wire.answers[1]["result"] == {}


async def test_what_is_cancelled_is_not_answered_and_what_hangs_ends_with_the_input(autojump_clock: Any) -> None:
    wire = Wire()
    wire.send(request("initialize", START, 0), call("list_nodes", 1), call("list_nodes", 2))
    wire.send(notification("notifications/cancelled", {"requestId": 1}), request("ping", None, 3))
    wire.close()
    desk: Any = Desk(Hanging())  # type: ignore[arg-type] # as much of a Control as is asked
    await serve_lines(desk, wire.read, wire.write)
    assert wire.answers.keys() == {0, 3}
    assert trio.current_time() == END_SECONDS


class Hanging:
    """A Control that does not answer."""

    async def list_nodes(self) -> Any:
        await trio.sleep_forever()
