"""What a command writes, over a socket: nothing is lost, and what nobody reads keeps the command waiting."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any, cast

import pytest
import trio
from orchestrion.control_plane._exec_client import open_exec
from orchestrion.control_plane._peer import Peer
from orchestrion.control_plane._wire import ExecRequest
from orchestrion.runtime_interface import ExecSession, TerminalSession, TerminalSize
from orchestrion.shared_types import ConfigInvalid, Denied, NetworkFailure
from trio.testing import memory_stream_pair, wait_all_tasks_blocked
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, RejectConnection, RejectData, TextMessage

KEPT_BYTES = 1_048_576
MANY_BYTES = 6 * KEPT_BYTES
COMMAND = ("print", str(MANY_BYTES))
QUIET_SECONDS = 0.02
"""Bytes that are on their way through a socket have no task that could be waited for."""


async def read_all(session: ExecSession) -> bytes:
    return b"".join([item.data async for item in session.output()])


async def test_a_late_reader_gets_every_byte(fake: Any, socket_path: Path, serving: Any, text_of: Any) -> None:
    async with serving(fake, socket_path) as control, control.exec("web.0", COMMAND) as session:
        await wait_all_tasks_blocked(QUIET_SECONDS)
        assert fake.sessions[0].written < MANY_BYTES, "the command did not wait"
        assert await read_all(session) == text_of(MANY_BYTES)
        assert (await session.wait()).code == 0


async def test_a_slow_reader_gets_every_byte_also_while_somebody_waits(
    fake: Any, socket_path: Path, serving: Any, text_of: Any
) -> None:
    got = b""
    async with serving(fake, socket_path) as control, control.exec("web.0", COMMAND) as session:
        reader = session.output()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.wait)
            await wait_all_tasks_blocked(QUIET_SECONDS)
            async for item in reader:
                got += item.data
                if len(got) < KEPT_BYTES // 2:
                    await wait_all_tasks_blocked()
    assert got == text_of(MANY_BYTES)


async def test_where_somebody_waits_and_nobody_reads_the_beginning_is_kept(
    fake: Any, socket_path: Path, serving: Any, text_of: Any
) -> None:
    async with serving(fake, socket_path) as control, control.exec("web.0", COMMAND) as session:
        assert (await session.wait()).code == 0
        got = await read_all(session)
    assert KEPT_BYTES <= len(got) < MANY_BYTES
    assert got == text_of(len(got))


async def test_a_reader_that_comes_back_finds_no_gap(fake: Any, socket_path: Path, serving: Any, text_of: Any) -> None:
    async with serving(fake, socket_path) as control, control.exec("web.0", COMMAND) as session:
        with trio.move_on_after(0):
            await session.wait()
        first = await anext(session.output())
        gc.collect()
        await wait_all_tasks_blocked(QUIET_SECONDS)
        with trio.move_on_after(QUIET_SECONDS):
            await session.wait()
        got = first.data + await read_all(session)
    assert len(got) >= KEPT_BYTES
    assert got == text_of(len(got))


async def test_a_reader_that_goes_lets_the_command_end(fake: Any, socket_path: Path, serving: Any) -> None:
    async with serving(fake, socket_path) as control, control.exec("web.0", COMMAND) as session:
        reader = session.output()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.wait)
            await wait_all_tasks_blocked(QUIET_SECONDS)
            assert fake.sessions[0].written < MANY_BYTES
            del reader
            gc.collect()
        assert fake.sessions[0].written == MANY_BYTES


class Slow:
    """A server that takes what is sent to it only when told to."""

    host = "here"

    def __init__(self) -> None:
        self.server, self.client = memory_stream_pair()
        self.takes = trio.Event()
        self.protocol = WSConnection(ConnectionType.SERVER)

    def credentials(self, *_: object) -> dict[str, str]:
        return {}

    async def connect(self) -> trio.abc.Stream:
        return self.client

    async def tell(self, *events: Any) -> None:
        await self.server.send_all(b"".join(self.protocol.send(each) for each in events))

    async def begin(self) -> None:
        self.protocol.receive_data(bytes(await self.server.receive_some()))
        await self.tell(AcceptConnection(), TextMessage("{}"))


async def test_input_that_waits_to_be_sent_when_the_command_ends_is_dropped() -> None:
    peer = Slow()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.begin)
        request = ExecRequest(instance="web.0", command=("read",))
        async with open_exec(cast("Peer", peer), request) as session:
            peer.client.send_stream.send_all_hook = peer.takes.wait
            nursery.start_soon(session.send_stdin, b"in time")
            await wait_all_tasks_blocked()
            nursery.start_soon(session.close_stdin)
            await wait_all_tasks_blocked()
            await peer.tell(TextMessage('{"exit": {"code": 3}}'), CloseConnection(1000))
            assert (await session.wait()).code == 3
            await wait_all_tasks_blocked()
            peer.takes.set()


async def test_what_is_left_unread_does_not_keep_anybody_from_leaving(
    fake: Any, socket_path: Path, serving: Any
) -> None:
    async with serving(fake, socket_path) as control:
        async with control.exec("web.0", COMMAND):
            await wait_all_tasks_blocked(QUIET_SECONDS)
        await fake.exec_killed.wait()


async def test_a_command_at_a_terminal_has_its_size_and_every_later_one(
    fake: Any, socket_path: Path, serving: Any
) -> None:
    first, then = TerminalSize(rows=31, columns=97), TerminalSize(rows=13, columns=41)
    async with (
        serving(fake, socket_path) as control,
        control.exec("web.0", ("vi",), terminal=first) as session,
    ):
        outputs = session.output()
        assert isinstance(session, TerminalSession)
        assert (await anext(outputs)).data == b"vi"
        await session.resize(then)
        await session.send_stdin(b"x")
        assert (await anext(outputs)).data == b"X"
        assert fake.sessions[0].sizes == [first, then]
        await session.close_stdin()
        assert (await session.wait()).code == 7
        await session.resize(first)
        assert fake.sessions[0].sizes == [first, then]


@pytest.mark.parametrize("text", ["{}", "nonsense", '{"resize": {"rows": 0, "columns": 1}}', '{"resize": 7}', ""])
async def test_what_is_no_size_ends_the_command(text: str, fake: Any, socket_path: Path, serving: Any) -> None:
    async with (
        serving(fake, socket_path) as control,
        control.exec("web.0", ("vi",), terminal=TerminalSize()) as session,
    ):
        await session._send(TextMessage(text))
        with pytest.raises(ConfigInvalid):
            await session.wait()
        await fake.exec_killed.wait()


async def test_a_command_without_a_terminal_has_no_size(fake: Any, socket_path: Path, serving: Any) -> None:
    async with serving(fake, socket_path) as control, control.exec("web.0", ("cat",)) as session:
        assert not isinstance(session, TerminalSession)
        await session._send(TextMessage('{"resize": {"rows": 1, "columns": 1}}'))
        with pytest.raises(ConfigInvalid):
            await session.wait()


async def test_a_command_whose_connection_is_closed_with_a_reason_says_it() -> None:
    peer = Slow()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.begin)
        async with open_exec(cast("Peer", peer), ExecRequest(instance="web.0", command=("read",))) as session:
            await peer.tell(CloseConnection(1008, "a proxy lets nobody stay for so long"))
            with pytest.raises(NetworkFailure, match="while a command ran: a proxy lets nobody stay for so long"):
                await session.wait()


@pytest.mark.parametrize(
    ("body", "error", "said"),
    [
        (b'{"codes": ["denied"], "detail": "user:eve may not exec"}', Denied, "user:eve may not exec"),
        (b'{"detail": "the proxy says no"}', Denied, "who can't show that they may"),
        (b"<html>no</html>", Denied, "who can't show that they may"),
        (b"[]", Denied, "who can't show that they may"),
    ],
)
async def test_who_is_refused_a_command_is_told_what_the_server_said(
    body: bytes, error: type[Exception], said: str
) -> None:
    peer = Slow()

    async def refuse() -> None:
        peer.protocol.receive_data(bytes(await peer.server.receive_some()))
        headers = [(b"content-length", b"%d" % len(body))]
        await peer.tell(
            RejectConnection(status_code=403, headers=headers, has_body=True), RejectData(body, body_finished=True)
        )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(refuse)
        with pytest.raises(error, match=said):
            async with open_exec(cast("Peer", peer), ExecRequest(instance="web.0", command=("read",))):
                raise AssertionError
