"""`PackingScheduler` keeps every clause of the interface with the profile "gpu", too."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from orchestrion.scheduler_interface.conformance import SchedulerUnderTest, conformance_checks
from orchestrion.scheduler_packing import Mix, PackingScheduler
from orchestrion.shared_types import ContainerConfig, GpuRequest, Metadata, Resources, Uid, WorkloadDefinition


@asynccontextmanager
async def open_by_what_is_placed() -> AsyncIterator[SchedulerUnderTest]:
    yield SchedulerUnderTest(PackingScheduler(profile="gpu"))


@asynccontextmanager
async def open_by_a_mix() -> AsyncIterator[SchedulerUnderTest]:
    mix = Mix()
    for cpu, gpu, count in (
        (1000, GpuRequest(count=1), 20),
        (500, GpuRequest(thousandths=300), 30),
        (2000, GpuRequest(count=2, model="a"), 10),
        (1500, None, 4),
    ):
        container = ContainerConfig(name="main", resources=Resources(cpu_millicores=cpu), gpu=gpu)
        mix.observe(WorkloadDefinition(metadata=Metadata(name="w", uid=Uid(f"w{cpu}")), containers=(container,)), count)
    yield SchedulerUnderTest(PackingScheduler(profile="gpu", mix=mix))


@pytest.mark.parametrize("check", conformance_checks(open_by_what_is_placed))
def test_it_conforms_with_what_is_placed_for_a_sample(check: Callable[[], None]) -> None:
    check()


@pytest.mark.slow
@pytest.mark.parametrize("check", conformance_checks(open_by_a_mix))
def test_it_conforms_with_a_mix_that_its_owner_feeds(check: Callable[[], None]) -> None:
    check()
