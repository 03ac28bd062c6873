"""What has ended is shown to the end of its output."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
import trio
from orchestrion.cli._display import PlainDisplay
from orchestrion.cli._up import _Applied, _Outputs
from orchestrion.orchestrator_core import ApplyResult, LogQuery, LogRecord
from orchestrion.runtime_interface import LogStream
from orchestrion.shared_types import ContainerConfig, Metadata, WorkloadDefinition, WorkloadKind
from trio.testing import MockClock

JOB = WorkloadDefinition(
    metadata=Metadata(name="job"), kind=WorkloadKind.BATCH, containers=(ContainerConfig(name="main", command=("x",)),)
)


class _Slow:
    """A Control that takes ten seconds for each line of output, and after those it has none, or waits for ever."""

    def __init__(self, lines: int, *, ends: bool) -> None:
        self._lines = lines
        self._ends = ends

    @asynccontextmanager
    async def logs(self, query: LogQuery, /) -> AsyncIterator[AsyncIterator[LogRecord]]:
        yield self._records(query)

    async def _records(self, query: LogQuery) -> AsyncIterator[LogRecord]:
        for number in range(self._lines):
            await trio.sleep(10)
            line = b"%d\n" % number
            name = f"{query.subject}.0.1"
            yield LogRecord(
                instance=name, container="main", attempt=0, stream=LogStream.STDOUT, offset=2 * number, data=line
            )
        if not self._ends:
            await trio.sleep_forever()


async def _show(control: Any) -> None:
    outputs = _Outputs(control.logs, PlainDisplay(lambda: datetime.now(UTC)), "batch")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outputs.show, _Applied((JOB,), ApplyResult(changes=()), (), datetime.now(UTC)))
        await outputs.finish()
        nursery.cancel_scope.cancel()


async def test_output_that_takes_long_is_shown_to_its_end(
    capsys: pytest.CaptureFixture[str], autojump_clock: MockClock
) -> None:
    await _show(_Slow(9, ends=True))
    assert capsys.readouterr().out.splitlines() == [f"job.0 | {number}" for number in range(9)]
    assert trio.current_time() == 90


async def test_output_that_never_ends_is_not_waited_for_for_ever(
    capsys: pytest.CaptureFixture[str], autojump_clock: MockClock
) -> None:
    await _show(_Slow(2, ends=False))
    assert capsys.readouterr().out.splitlines() == ["job.0 | 0", "job.0 | 1"]
    assert trio.current_time() == 50
