"""The packing scheduler decides a batch as one that looks at all nodes does, and is afterwards as it was before."""

from __future__ import annotations

import os

import pytest
import trio
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from orchestrion.scheduler_interface import (
    AssignNode,
    ClusterView,
    FullScanScheduler,
    ScheduleDecision,
    SchedulingRequest,
    StaticClusterView,
    ViewKeeper,
    node_view,
    with_decisions,
)
from orchestrion.scheduler_interface.conformance import Batch, batches
from orchestrion.scheduler_packing import PackingLedger, PackingScheduler
from orchestrion.scheduler_packing._index import Index
from orchestrion.shared_types import GpuRequest, InstanceKey, Node, Placement, Spread

from .packing_builders import a_node, a_workload
from .packing_histories import History, Step, after, follow

SEEDS = int(os.environ.get("ORCHESTRION_SEEDS_OF_ORACLE", "1000")) // 4


def batch_of(steps: list[Step], seed: int) -> list[SchedulingRequest]:
    """Return the requests of some steps, each slot in the first that has it; every other may push out."""
    seen: set[InstanceKey] = set()
    requests = []
    for number, step in enumerate(steps):
        slots = tuple(slot for slot in step.request.slots if slot not in seen)
        seen.update(slots)
        if slots:
            budgets = {steps[0].request.workload.metadata.uid: seed % 3}
            preempt = (seed + number) % 2 == 0
            requests.append(evolve(step.request, slots=slots, preempt=preempt, budgets=budgets))
    return requests


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_every_batch_is_decided_as_by_a_look_at_all_nodes(block: int) -> None:
    async def compare() -> None:
        for seed in range(block, SEEDS, 10):
            history = History(seed)
            view = StaticClusterView(node_view(node) for node in history.nodes)
            keeper, ours, oracle = ViewKeeper(), PackingScheduler(), FullScanScheduler()
            steps = list(history.steps())
            for number, step in enumerate(steps):
                follow(keeper, view)
                batch = batch_of(steps[number:], seed)
                expected = await oracle.schedule_batch(batch, view)
                assert await ours.schedule_batch(batch, keeper.view()) == expected, f"seed {seed}: {batch}"
                alone = await oracle.schedule(step.request, view)
                assert await ours.schedule(step.request, keeper.view()) == alone, f"seed {seed}: {step.request}"
                view = after(with_decisions(view, step.request.workload, alone), step)

    trio.run(compare)


def shown(index: Index) -> object:
    """Return all that an index says of its nodes."""
    fleet = index.fleet
    return (
        [list(column) for column in fleet.free],
        list(fleet.loads),
        list(fleet.gpu),
        list(fleet.ranks),
        {position: set(ports) for position, ports in fleet.ports.items() if ports},
        {position: dict(free) for position, free in index.device_free.items()},
        dict(index.holders),
        list(index.views),
    )


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(batches())
def test_an_index_that_looked_ahead_shows_its_view_again(batch: Batch) -> None:
    scheduler = PackingScheduler()
    scheduler.prepare(batch.view)
    (index,) = scheduler._indexes
    before = shown(index)
    trio.run(scheduler.schedule_batch, batch.requests, batch.view)
    assert scheduler._indexes == [index]
    assert shown(index) == before


class Failing(PackingScheduler):
    """Fails at the second of several requests."""

    def _decide(self, request: SchedulingRequest, view: ClusterView, index: Index) -> list[ScheduleDecision]:
        if request.workload.metadata.name == "w2":
            msg = "the second request"
            raise RuntimeError(msg)
        return super()._decide(request, view, index)


def asking(number: int, cpu: int = 6) -> SchedulingRequest:
    workload = a_workload(number, cpu=cpu, memory=1)
    return SchedulingRequest(workload=workload, slots=(InstanceKey(workload.metadata.uid, 0, 1),))


def test_what_a_batch_took_that_failed_is_free() -> None:
    scheduler, view = Failing(), StaticClusterView([node_view(a_node("n0", 10, 10))])
    first, second = asking(1), asking(2)
    assert first.workload.metadata.name == "w1"
    with pytest.raises(RuntimeError, match="second"):
        trio.run(scheduler.schedule_batch, [first, second], view)
    (decision,) = trio.run(scheduler.schedule, asking(3), view)
    assert isinstance(decision, AssignNode)
    later = view.changed(node_view(a_node("n1", 10, 10)))
    (decision,) = trio.run(scheduler.schedule, asking(3, cpu=10), later)
    assert isinstance(decision, AssignNode)


PLACEMENTS = st.sampled_from(
    [Placement(), Placement(spreads=(Spread(by="zone"),)), Placement(spreads=(Spread(by="node", required=True),))]
)


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[Node], list[SchedulingRequest]]:
    nodes = [
        a_node(f"n{number}", draw(st.integers(1, 30)), 1000, zone=draw(st.sampled_from(["", "a"])), gpus=number % 2)
        for number in range(draw(st.integers(1, 6)))
    ]
    requests = []
    for number in range(draw(st.integers(1, 6))):
        workload = a_workload(
            number,
            cpu=draw(st.integers(0, 9)),
            placement=draw(PLACEMENTS),
            port=draw(st.sampled_from([None, None, 80])),
            gpu=draw(st.sampled_from([None, None, GpuRequest(thousandths=300)])),
        )
        count = draw(st.integers(1, 4))
        slots = tuple(InstanceKey(workload.metadata.uid, index, 1) for index in range(count))
        requests.append(SchedulingRequest(workload=workload, slots=slots, minimum=draw(st.integers(0, count))))
    return nodes, requests


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(streams())
def test_a_ledger_places_what_a_batch_decides(drawn: tuple[list[Node], list[SchedulingRequest]]) -> None:
    nodes, requests = drawn
    view = StaticClusterView(node_view(node) for node in nodes)
    batch = trio.run(PackingScheduler().schedule_batch, requests, view)
    decided = [each if isinstance(each, AssignNode) else None for decisions in batch for each in decisions]
    assert list(PackingLedger(nodes).place(requests)) == decided
