"""What sleeps is woken by every change that makes room for it, whatever came before; and by little else."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from random import Random

import pytest
import trio
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from orchestrion.scheduler_interface import (
    Explanation,
    FullScanScheduler,
    NodeView,
    NoPlacement,
    SchedulingQueue,
    SchedulingRequest,
    StaticClusterView,
    cluster_changes,
    node_view,
)
from orchestrion.scheduler_interface.conformance import Situation, situations
from orchestrion.scheduler_interface.conformance._suiting import flaws
from orchestrion.shared_types import InstanceKey, WorkloadDefinition

EXAMPLES = int(os.environ.get("ORCHESTRION_WAKE_EXAMPLES", "60"))
STEPS = 12

State = NodeView | None


def states_of(view: NodeView, workload: WorkloadDefinition, random: Random) -> Iterator[State]:
    """Yield what a node may be like: as it is, absent, emptier, and flawed in one way or two."""
    yield from (view, view, None)
    ways = flaws(workload)
    flawed = [random.choice(ways)(view) for _ in range(4)]
    yield from flawed
    yield from (random.choice(ways)(each) for each in flawed[:2])
    for each in (view, *flawed[:2]):
        kept = [placed for placed in each.instances.values() if random.random() < 0.5]
        yield node_view(each.node, kept)
        yield node_view(view.node, each.instances.values())


def histories(situation: Situation, random: Random) -> Iterator[StaticClusterView]:
    """Yield how a cluster changes, one node at a time, among states of which many have room."""
    pools = {each.node.id: list(states_of(each, situation.request.workload, random)) for each in situation.view}
    now = {node_id: random.choice(pool[2:]) for node_id, pool in pools.items()}
    for _ in range(STEPS):
        yield StaticClusterView(each for each in now.values() if each is not None)
        node_id = random.choice(list(pools))
        now[node_id] = random.choice(pools[node_id])


def first_refusal(request: SchedulingRequest, view: StaticClusterView) -> Explanation | None:
    """Return why not all of a request could be placed, or None where it could."""
    decisions = trio.run(FullScanScheduler().schedule, request, view)
    return next((each.explanation for each in decisions if isinstance(each, NoPlacement)), None)


def follow(request: SchedulingRequest, views: Iterator[StaticClusterView], *, knows: bool) -> Iterator[bool]:
    """Let a queue follow a history, check that no place is missed, and yield for each try whether it was worth it."""
    queue = SchedulingQueue[str](first_backoff_seconds=0.0, max_backoff_seconds=0.0, flush_seconds=1e9)
    queue.add("it", now=0.0)
    before = StaticClusterView()
    for number, view in enumerate(views):
        for node_id in sorted({each.node.id for each in (*before, *view)}):
            for change in cluster_changes(before.get(node_id), view.get(node_id)):
                queue.wake(change, float(number))
        refusal = first_refusal(request, view)
        if queue.take("it", float(number), look=view.get):
            yield refusal is None
            if refusal is None:
                return
            queue.failed("it", refusal, float(number), request=request if knows else None)
        else:
            assert refusal is not None, f"it was left asleep: {request}\n{before}\n{view}"
        before = view


def asks_around(request: SchedulingRequest) -> bool:
    placement = request.workload.placement
    return any(spread.required for spread in placement.spreads) or any(
        affinity.weight is None for affinity in placement.instance_affinities
    )


def one_slot(request: SchedulingRequest) -> SchedulingRequest:
    """Return the request for one slot that is placed nowhere."""
    return evolve(request, slots=(InstanceKey(request.workload.metadata.uid, 100, 1),), minimum=0, explain=False)


def gang(request: SchedulingRequest) -> SchedulingRequest:
    """Return the request for two slots, or none."""
    uid = request.workload.metadata.uid
    slots = (InstanceKey(uid, 100, 1), InstanceKey(uid, 101, 1))
    return evolve(request, slots=slots, minimum=2, explain=False)


def pushing(request: SchedulingRequest) -> SchedulingRequest:
    """Return the request for one slot that goes before all that is placed."""
    return evolve(one_slot(request), workload=evolve(request.workload, priority=10), preempt=True)


@pytest.mark.slow
@pytest.mark.parametrize("knows", [True, False], ids=["with the request", "without the request"])
@pytest.mark.parametrize("shaped", [one_slot, gang, pushing], ids=["a slot", "a gang", "a slot that preempts"])
def test_whenever_there_is_a_place_it_is_awake(
    shaped: Callable[[SchedulingRequest], SchedulingRequest], *, knows: bool
) -> None:
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(situations(min_nodes=1), st.integers(0, 2**32))
    def check(situation: Situation, seed: int) -> None:
        for _ in follow(shaped(situation.request), histories(situation, Random(seed)), knows=knows):
            pass

    check()


@pytest.mark.slow
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(situations(min_nodes=1), st.integers(0, 2**32))
def test_where_only_nodes_themselves_matter_it_is_tried_only_when_there_is_a_place(
    situation: Situation, seed: int
) -> None:
    request = one_slot(situation.request)
    if asks_around(request):
        return
    _, *later = [True, *follow(request, histories(situation, Random(seed)), knows=True)]
    # The first try is that of a newcomer.
    assert all(later[1:])
