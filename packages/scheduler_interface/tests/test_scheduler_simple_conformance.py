"""`SimpleScheduler` keeps every clause of the interface."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from orchestrion.scheduler_interface import SimpleScheduler
from orchestrion.scheduler_interface.conformance import SchedulerUnderTest, conformance_checks


@asynccontextmanager
async def open_scheduler() -> AsyncIterator[SchedulerUnderTest]:
    yield SchedulerUnderTest(SimpleScheduler())


@pytest.mark.parametrize("check", conformance_checks(open_scheduler))
def test_simple_scheduler_conforms(check: Callable[[], None]) -> None:
    check()
