"""What a command writes, over a socket: nothing is lost, and what nobody reads keeps the command waiting."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
import trio
from orchestrion.runtime_interface import ExecSession, TerminalSession, TerminalSize
from orchestrion.shared_types import ConfigInvalid
from trio.testing import wait_all_tasks_blocked
from wsproto.events import TextMessage

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
