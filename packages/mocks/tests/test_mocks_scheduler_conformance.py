"""The mocks of the scheduler keep every clause of the interface."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from orchestrion.mocks import CursorScheduler, MockScheduler
from orchestrion.scheduler_interface.conformance import SchedulerUnderTest, conformance_checks


@asynccontextmanager
async def open_mock() -> AsyncIterator[SchedulerUnderTest]:
    yield SchedulerUnderTest(MockScheduler())


@asynccontextmanager
async def open_cursor() -> AsyncIterator[SchedulerUnderTest]:
    yield SchedulerUnderTest(CursorScheduler())


@pytest.mark.parametrize("check", conformance_checks(open_mock))
def test_mock_scheduler_conforms(check: Callable[[], None]) -> None:
    check()


@pytest.mark.parametrize("check", conformance_checks(open_cursor))
def test_cursor_scheduler_conforms(check: Callable[[], None]) -> None:
    check()
