"""Slots for several nodes are decided as a batch, where the scheduler is able to, and bound together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import trio
from attrs import evolve
from orchestrion.mocks import CursorScheduler
from orchestrion.orchestrator_core._cluster.decisions import NoDecision, TimedScheduler
from orchestrion.scheduler_interface import (
    ClusterView,
    FullScanScheduler,
    ScheduleDecision,
    Scheduler,
    SchedulerCapability,
    SchedulingRequest,
    StaticClusterView,
)
from orchestrion.shared_types import InstanceAffinity, Placement, Resources, Topology
from trio.testing import MockClock

from .core_stage import NODE, SECOND, THIRD, Stage, container, daemon, service, staged

Batch = list[list[ScheduleDecision]]


def revisions(stage: Stage, name: str) -> list[int]:
    """Return the revisions by which a workload's instances were bound."""
    instances = stage.orchestrator.world.instances.items()
    return [record.binding_revision for instance, record in instances if instance.workload == name]


@pytest.mark.parametrize(("scheduler", "transactions"), [(FullScanScheduler, 1), (CursorScheduler, 3)])
async def test_a_daemons_slots_are_bound_at_once_where_they_are_decided_at_once(
    scheduler: Callable[[], Scheduler], transactions: int, autojump_clock: MockClock
) -> None:
    async with staged(3, scheduler=scheduler) as stage:
        await stage.apply(daemon())
        assert sorted(stage.where("agent")) == [NODE, SECOND, THIRD]
        assert len(set(revisions(stage, "agent"))) == transactions


async def test_nodes_without_room_for_a_daemon_are_told_apart_from_those_with_room(autojump_clock: MockClock) -> None:
    async with staged(3, scheduler=FullScanScheduler) as stage:
        whole = (container("main", resources=Resources(cpu_millicores=4000)),)
        await stage.apply(service("full", containers=whole))
        (full,) = stage.where("full")
        await stage.apply(daemon(containers=(container("main", resources=Resources(cpu_millicores=1000)),)))
        assert sorted(stage.where("agent")) == sorted({NODE, SECOND, THIRD} - {full})
        (lacking,) = [one for one in await stage.orchestrator.explain("agent") if one.node_id is None]
        assert lacking.text.startswith(f"not on node {full}: cpu short by 1 core")


async def test_a_daemons_slots_see_each_other(autojump_clock: MockClock) -> None:
    apart = InstanceAffinity(match_labels={"app": "agent"}, by="zone", anti=True)
    async with staged(3, scheduler=FullScanScheduler) as stage:
        for node_id in (NODE, SECOND, THIRD):
            node = stage.cluster.get_node(node_id)
            assert node is not None
            zone = "b" if node_id == THIRD else "a"
            stage.cluster.update_node(evolve(node, topology=Topology(zone=zone)))
        await stage.settle()
        agent = daemon(placement=Placement(instance_affinities=(apart,)))
        await stage.apply(evolve(agent, metadata=evolve(agent.metadata, labels={"app": "agent"})))
        found = stage.where("agent")
        assert len(found) == 2
        assert THIRD in found


async def test_a_daemon_pushes_out_on_each_node_by_itself(autojump_clock: MockClock) -> None:
    async with staged(3, scheduler=FullScanScheduler) as stage:
        whole = (container("main", resources=Resources(cpu_millicores=4000), stop_grace_seconds=0.0),)
        await stage.apply(service("low", replicas=2, containers=whole, priority=0, preempts=False))
        await stage.apply(daemon(containers=whole, priority=100))
        await trio.sleep(10)
        assert sorted(stage.where("agent")) == [NODE, SECOND, THIRD]
        assert stage.running("low") == []


class Faulty(FullScanScheduler):
    """Answers batches wrongly until it is mended."""

    def __init__(self, fault: Callable[[Batch], Batch]) -> None:
        super().__init__()
        self.fault = fault
        self.mended = False

    async def schedule_batch(self, requests: Sequence[SchedulingRequest], view: ClusterView, /) -> Batch:
        batch = await super().schedule_batch(requests, view)
        return batch if self.mended else self.fault(batch)


def short(batch: Batch) -> Batch:
    """Leave out the last request."""
    return batch[:-1]


def backwards(batch: Batch) -> Batch:
    """Answer the requests in another order."""
    return batch[::-1]


def raising(_batch: Batch) -> Batch:
    """Raise what no scheduler may."""
    raise KeyError("a slip")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (short, "answered 2 of the 3 requests of a batch"),
        (backwards, "was not asked about it"),
        (raising, "the scheduler failed: KeyError: 'a slip'"),
    ],
)
async def test_a_batch_that_is_answered_wrongly_places_nothing_and_is_asked_again(
    fault: Callable[[Batch], Batch], words: str, autojump_clock: MockClock
) -> None:
    scheduler = Faulty(fault)
    async with staged(3, scheduler=lambda: scheduler) as stage:
        await stage.apply(daemon())
        assert stage.where("agent") == []
        events = await stage.orchestrator.events(subject="workload/agent")
        assert any(words in event.message for event in events)
        scheduler.mended = True
        await trio.sleep(60)
        assert len(stage.running("agent")) == 3


class Boastful:
    """Declares batches, and has no method for them."""

    capabilities = FullScanScheduler().capabilities

    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> list[ScheduleDecision]:
        return await FullScanScheduler().schedule(request, view)


async def test_a_scheduler_that_says_so_and_has_no_method_is_asked_node_by_node(autojump_clock: MockClock) -> None:
    assert SchedulerCapability.BATCH not in TimedScheduler(Boastful(), 10.0).capabilities
    async with staged(3, scheduler=Boastful) as stage:
        await stage.apply(daemon())
        assert len(stage.running("agent")) == 3


async def test_a_batch_has_as_long_as_one_request(autojump_clock: MockClock) -> None:
    class Hanging(FullScanScheduler):
        async def schedule_batch(self, requests: Sequence[SchedulingRequest], view: ClusterView, /) -> Batch:
            await trio.sleep_forever()
            raise AssertionError

    began = trio.current_time()
    with pytest.raises(NoDecision):
        await TimedScheduler(Hanging(), 10.0).schedule_batch([], StaticClusterView())
    assert trio.current_time() == pytest.approx(began + 10.0)
