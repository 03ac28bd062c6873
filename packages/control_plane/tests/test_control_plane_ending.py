"""Output that was written is given to its end, also by a server that is about to end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from orchestrion.control_plane import HttpControl, _server, _streams, serve_control
from orchestrion.orchestrator_core import LogQuery, LogRecord
from orchestrion.runtime_interface import LogStream

QUERY = LogQuery(subject="web", follow=True)


def record(number: int, size: int = 1) -> LogRecord:
    return LogRecord(
        instance="w.0.1", container="c", attempt=0, stream=LogStream.STDOUT, offset=number, data=b"x" * size
    )


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections get next to no time at the end, so that only what waits on purpose is waited for."""
    monkeypatch.setattr(_server, "GRACE_SECONDS", 0.01)
    monkeypatch.setattr(_streams, "_LAST_WORDS_SECONDS", 0.01)


class Gate:
    """A Control that gives one record, another when a test says so, and then an end or nothing any more."""

    def __init__(self, fake: Any, *, ends: bool) -> None:
        self._fake = fake
        self._ends = ends
        self.open = trio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fake, name)

    @asynccontextmanager
    async def logs(self, _query: LogQuery, /) -> AsyncIterator[AsyncIterator[LogRecord]]:
        yield self._records()

    async def _records(self) -> AsyncIterator[LogRecord]:
        yield record(0)
        await self.open.wait()
        yield record(1)
        if not self._ends:
            await trio.sleep_forever()


async def test_output_that_takes_longer_than_all_else_is_given_to_its_end(fake: Any, socket_path: Path) -> None:
    ending, gate = trio.Event(), Gate(fake, ends=True)
    over = trio.Event()

    async def serve(*, task_status: trio.TaskStatus[None]) -> None:
        await serve_control(gate, socket_path, ending=ending, task_status=task_status)
        over.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(serve)
        async with HttpControl(socket_path).logs(QUERY) as records:
            assert await anext(records) == record(0)
            ending.set()
            with trio.move_on_after(0.1):
                await over.wait()
            assert not over.is_set()
            gate.open.set()
            assert [one async for one in records] == [record(1)]
        await over.wait()


async def test_output_of_which_nothing_comes_is_not_waited_for_for_ever(
    fake: Any, socket_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_streams, "QUIET_SECONDS", 0.05)
    ending, gate = trio.Event(), Gate(fake, ends=False)
    gate.open.set()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve_control, gate, socket_path, ending=ending))
        async with HttpControl(socket_path).logs(QUERY) as records:
            assert await anext(records) == record(0)
            ending.set()
            assert [one async for one in records] == [record(1)]


async def test_a_reader_that_takes_nothing_is_not_waited_for_for_ever(
    fake: Any, socket_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_streams, "QUIET_SECONDS", 0.02)
    monkeypatch.setattr(_streams, "STALLED_SECONDS", 0.05)
    ending = trio.Event()
    fake.records = [record(0, 100_000)] * 100
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve_control, fake, socket_path, ending=ending))
        async with HttpControl(socket_path).logs(QUERY) as records:
            await anext(records)
            began = trio.current_time()
            ending.set()
            with trio.fail_after(10):
                while fake.open_streams:
                    await fake.stream_closed.wait()
            assert trio.current_time() - began >= 0.05
