"""A node that loses its lease stops what it runs, whatever else hangs."""

from __future__ import annotations

import trio
from orchestrion.mocks import MemoryStore, MockRuntime
from orchestrion.runtime_interface import CreateOptions
from orchestrion.shared_types import ContainerConfig, ContainerId
from orchestrion.store_interface import LeaseId, StoreUnavailable
from trio.testing import MockClock

from .core_stage import Stage, service, staged


class _HungCreates(MockRuntime):
    """A runtime that never answers who creates containers of one workload, and starts them all the same."""

    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        if options.workload == "slow":
            await trio.sleep_forever()
        made = await super().create_container(config, options)
        if options.workload == "lost-reply":
            await trio.sleep_forever()
        return made


class _CutStore(MemoryStore):
    """A store that may be out of reach for leases."""

    cut = False

    async def keep_alive(self, lease: LeaseId, /) -> None:
        if type(self).cut:
            await trio.lowlevel.checkpoint()
            raise StoreUnavailable("cut")
        await super().keep_alive(lease)

    async def grant_lease(self, ttl_seconds: float, /) -> LeaseId:
        if type(self).cut:
            await trio.lowlevel.checkpoint()
            raise StoreUnavailable("cut")
        return await super().grant_lease(ttl_seconds)


async def lose_the_lease(stage: Stage, *, hung: int) -> None:
    _CutStore.cut = False
    await stage.end()
    stage.runtime_class, stage.store_class = _HungCreates, _CutStore
    await stage.start()
    await stage.apply(service("slow", replicas=hung))
    await stage.apply(service("ok", replicas=3), service("lost-reply", replicas=2))
    await trio.sleep(3)
    _CutStore.cut = True
    await trio.sleep(30)
    _CutStore.cut = False


async def test_creates_that_hang_do_not_keep_a_lost_lease_from_stopping_the_others(autojump_clock: MockClock) -> None:
    async with staged(1) as stage:
        await lose_the_lease(stage, hung=14)
        assert stage.running() == []


async def test_creates_that_hung_are_tried_again_once_there_is_a_lease_again(autojump_clock: MockClock) -> None:
    async with staged(1) as stage:
        await lose_the_lease(stage, hung=2)
        await trio.sleep(60)
        assert len(stage.running("ok")) == 3
        assert len(stage.running("lost-reply")) == 2


async def test_starts_that_hang_do_not_keep_others_from_being_stopped(autojump_clock: MockClock) -> None:
    async with staged(1) as stage:
        await stage.end()
        stage.runtime_class = _HungCreates
        await stage.start()
        await stage.apply(service("ok", replicas=3))
        await stage.apply(service("slow", replicas=20))
        await stage.orchestrator.stop("ok")
        await trio.sleep(20)
        assert stage.running() == []
