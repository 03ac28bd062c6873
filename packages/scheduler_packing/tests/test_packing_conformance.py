"""`PackingScheduler` keeps every clause of the interface."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from orchestrion.scheduler_interface.conformance import SchedulerUnderTest, conformance_checks
from orchestrion.scheduler_packing import PackingScheduler


@asynccontextmanager
async def open_scheduler() -> AsyncIterator[SchedulerUnderTest]:
    yield SchedulerUnderTest(PackingScheduler())


@pytest.mark.parametrize("check", conformance_checks(open_scheduler))
def test_the_packing_scheduler_conforms(check: Callable[[], None]) -> None:
    check()
