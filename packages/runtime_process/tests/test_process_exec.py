"""What commands in a container write: nothing that somebody reads is lost, and what nobody reads is in no way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing
from orchestrion.runtime_interface import ExecOutput, ExecSession, LogStream
from orchestrion.runtime_process import ProcessRuntime

SIZE = 3_000_000
PRINTS = ["sh", "-c", f"head -c {SIZE} /dev/zero; echo end >&2; exit 3"]


@asynccontextmanager
async def running(harness: Any, runtime: ProcessRuntime, command: list[str]) -> AsyncIterator[ExecSession]:
    """Run a command in a container of its own."""
    container_id = await runtime.create_container(harness.SLEEPS, harness.options())
    with trio.fail_after(harness.PATIENCE_SECONDS):
        async with runtime.exec_in_container(container_id, command) as session:
            yield session


def bytes_of(pieces: list[ExecOutput], stream: LogStream) -> int:
    """Return how many bytes of a stream there are."""
    return sum(len(piece.data) for piece in pieces if piece.stream is stream)


async def test_a_slow_reader_gets_every_byte(harness: Any, runtime: ProcessRuntime) -> None:
    async with running(harness, runtime, PRINTS) as session, trio.open_nursery() as nursery:
        nursery.start_soon(session.wait)
        outputs = session.output()
        pieces = [await anext(outputs)]
        # The command goes as far as it can: then it waits for the reader.
        await trio.testing.wait_all_tasks_blocked(0.05)
        pieces += [piece async for piece in outputs]
        assert bytes_of(pieces, LogStream.STDOUT) == SIZE
        assert bytes_of(pieces, LogStream.STDERR) == 4
        assert (await session.wait()).code == 3


async def test_a_reader_that_comes_late_gets_every_byte(harness: Any, runtime: ProcessRuntime) -> None:
    async with running(harness, runtime, PRINTS) as session:
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert bytes_of([piece async for piece in session.output()], LogStream.STDOUT) == SIZE


async def test_a_command_ends_although_nobody_reads(harness: Any, runtime: ProcessRuntime) -> None:
    async with running(harness, runtime, PRINTS) as session:
        assert (await session.wait()).code == 3
        kept = bytes_of([piece async for piece in session.output()], LogStream.STDOUT)
        assert 1 << 20 <= kept < SIZE, "what was kept is the beginning"


async def test_a_command_ends_although_its_reader_went_away(harness: Any, runtime: ProcessRuntime) -> None:
    async with running(harness, runtime, PRINTS) as session:
        async for _ in session.output():
            break
        assert (await session.wait()).code == 3


async def test_a_command_whose_reader_leaves_while_somebody_waits_ends(harness: Any, runtime: ProcessRuntime) -> None:
    async with running(harness, runtime, PRINTS) as session, trio.open_nursery() as nursery:
        outputs = session.output()
        await anext(outputs)
        nursery.start_soon(session.wait)
        await trio.testing.wait_all_tasks_blocked(0.05)
        del outputs


async def test_leaving_ends_a_command_that_waits_for_its_reader(harness: Any, runtime: ProcessRuntime) -> None:
    async with running(harness, runtime, ["cat", "/dev/zero"]) as session:
        outputs = session.output()
        await anext(outputs)
        await trio.testing.wait_all_tasks_blocked(0.05)
