"""`schedule_in_turn`: a batch for schedulers that know of none."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given, settings
from orchestrion.scheduler_interface import (
    AssignNode,
    ClusterView,
    FullScanScheduler,
    InvalidSchedulingRequest,
    ScheduleDecision,
    SchedulerCapability,
    SchedulingRequest,
    SimpleScheduler,
    StaticClusterView,
    SupportsBatches,
    node_view,
    schedule_in_turn,
)
from orchestrion.scheduler_interface.conformance import Batch, batches
from orchestrion.shared_types import (
    ContainerConfig,
    InstanceKey,
    Metadata,
    Node,
    NodeId,
    Resources,
    Uid,
    WorkloadDefinition,
)

ALL_BUT_BATCHES = FullScanScheduler().capabilities - {SchedulerCapability.BATCH}
ROOM = Resources(cpu_millicores=1000)


class OneByOne:
    """The scheduler with all abilities but that one; it notes of which views it was asked."""

    def __init__(self) -> None:
        self.seen: list[ClusterView] = []

    @property
    def capabilities(self) -> frozenset[SchedulerCapability]:
        return ALL_BUT_BATCHES

    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> list[ScheduleDecision]:
        self.seen.append(view)
        return await FullScanScheduler().schedule(request, view)


def asking(name: str, slots: int = 1, cpu: int = 600) -> SchedulingRequest:
    uid = Uid(f"uid-{name}")
    container = ContainerConfig(name="main", command=("serve",), resources=Resources(cpu_millicores=cpu))
    workload = WorkloadDefinition(metadata=Metadata(name=name, uid=uid), containers=(container,))
    return SchedulingRequest(workload=workload, slots=tuple(InstanceKey(uid, index, 1) for index in range(slots)))


def cluster(*names: str) -> StaticClusterView:
    return StaticClusterView(
        node_view(Node(id=NodeId(name), name=name, capacity=ROOM, allocatable=ROOM)) for name in names
    )


def test_who_has_no_batches_does_not_say_so() -> None:
    assert SchedulerCapability.BATCH not in SimpleScheduler().capabilities
    assert not isinstance(SimpleScheduler(), SupportsBatches)
    assert isinstance(FullScanScheduler(), SupportsBatches)


def test_a_scheduler_without_batches_sees_what_it_has_decided_before() -> None:
    batch = trio.run(schedule_in_turn, SimpleScheduler(), [asking("a"), asking("b"), asking("c")], cluster("n1", "n2"))
    got = [[each.node_id if isinstance(each, AssignNode) else None for each in decisions] for decisions in batch]
    assert got == [["n1"], ["n2"], [None]]


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(batches(ALL_BUT_BATCHES))
def test_in_turn_requests_are_decided_as_in_a_batch(batch: Batch) -> None:
    expected = trio.run(FullScanScheduler().schedule_batch, batch.requests, batch.view)
    assert trio.run(schedule_in_turn, OneByOne(), batch.requests, batch.view) == expected


def test_no_view_but_the_first_may_be_taken_for_a_state_of_the_cluster() -> None:
    scheduler, view = OneByOne(), cluster("n1")
    trio.run(schedule_in_turn, scheduler, [asking("a", cpu=1), asking("b", cpu=1), asking("c", cpu=1)], view)
    first, *others = scheduler.seen
    assert first is view
    assert len({each.revision for each in others}) == 2
    assert all(each.revision < 0 for each in others)


def test_a_batch_with_a_bad_request_is_not_begun() -> None:
    scheduler = OneByOne()
    good = asking("a", slots=2)
    twice = SchedulingRequest(workload=good.workload, slots=good.slots[1:])
    with pytest.raises(InvalidSchedulingRequest, match="two requests"):
        trio.run(schedule_in_turn, scheduler, [good, twice], cluster("n1"))
    assert not scheduler.seen
