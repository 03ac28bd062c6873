"""`PackingScheduler` keeps every clause of the interface."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from orchestrion.scheduler_interface.conformance import SchedulerUnderTest, conformance_checks
from orchestrion.scheduler_packing import PackingScheduler, Profile


@asynccontextmanager
async def open_scheduler() -> AsyncIterator[SchedulerUnderTest]:
    yield SchedulerUnderTest(PackingScheduler())


@asynccontextmanager
async def open_with_a_profile_of_ones_own() -> AsyncIterator[SchedulerUnderTest]:
    weights = {"binpack": 2, "balance": 1, "topology-spread": 3, "instance-affinity": 2, "gpu-locality": 1}
    yield SchedulerUnderTest(PackingScheduler(profile=Profile(name="mine", weights=weights, ties="round-robin")))


@pytest.mark.slow
@pytest.mark.parametrize("check", conformance_checks(open_with_a_profile_of_ones_own))
def test_it_conforms_with_a_profile_of_ones_own(check: Callable[[], None]) -> None:
    check()


@pytest.mark.parametrize("check", conformance_checks(open_scheduler))
def test_the_packing_scheduler_conforms(check: Callable[[], None]) -> None:
    check()
