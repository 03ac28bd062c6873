"""`FullScanScheduler` keeps every clause of the interface."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from orchestrion.scheduler_interface import FullScanScheduler
from orchestrion.scheduler_interface.conformance import SchedulerUnderTest, conformance_checks


@asynccontextmanager
async def open_scheduler() -> AsyncIterator[SchedulerUnderTest]:
    yield SchedulerUnderTest(FullScanScheduler())


@pytest.mark.parametrize("check", conformance_checks(open_scheduler))
def test_full_scan_scheduler_conforms(check: Callable[[], None]) -> None:
    check()
