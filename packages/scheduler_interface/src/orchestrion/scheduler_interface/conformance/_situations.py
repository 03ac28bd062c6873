"""Situations: a request, and a cluster of which most nodes could take it, or but for one thing could."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from attrs import evolve, frozen
from hypothesis import strategies as st
from orchestrion.scheduler_interface import (
    NodeView,
    SchedulerCapability,
    SchedulingRequest,
    StaticClusterView,
    node_view,
)
from orchestrion.shared_types import (
    DEFAULT_PRIORITY_CLASS,
    MAX_AMOUNT,
    InstanceKey,
    Metadata,
    NodeId,
    Uid,
    WorkloadDefinition,
)

from ._build import NEIGHBOUR, WORKLOAD, neighbour, resources, with_amount
from ._oracle import demand
from ._strategies import ALL, BOOLEANS, DB, EPOCHS, UP_TO_THREE, draw_node_view, draw_workload, rarely
from ._suiting import flaws, suited


@frozen(kw_only=True)
class Situation:
    """A request and the cluster that it is about."""

    request: SchedulingRequest
    view: StaticClusterView


_SLOT_INDICES = st.lists(st.integers(0, 14), min_size=1, max_size=5, unique=True)
_ANY_NUMBER = st.integers(0, 59)
_ROOMS = st.sampled_from((1, 1, 2, -1))
_ONLY_NODE = rarely(st.sampled_from("SFSA?"), "", times=10)
"""The request names the first node of that kind alone, or one that is not there."""
_SHAPES = (
    *("FS", "SFF", "FSF", "FFS", "FFSFF", "SAF", "FAS", "AFSFA", "FSFSF", "FAFS", "SFSF", "SS", "SF", "S") * 2,
    *("FF", "AAA", ""),
)
"""Of which nodes a cluster is made: S suits the workload, F would but for one thing, A is any. The first counts as the
simplest."""


@cache
def _shapes(min_nodes: int) -> st.SearchStrategy[str]:
    return st.sampled_from([shape for shape in _SHAPES if len(shape) >= min_nodes])


def _draw_situation_node(
    draw: st.DrawFn, position: int, kind: str, workload: WorkloadDefinition, *, huge: bool
) -> NodeView:
    view = draw_node_view(draw, f"n{position}", position, huge=huge)
    if kind == "A":
        return view
    view = suited(view, workload, draw(_ROOMS))
    if kind == "F":
        possible = flaws(workload)
        view = possible[(draw(_ANY_NUMBER) + 5 * position) % len(possible)](view)
    return view


def _draw_slots(draw: st.DrawFn, view: StaticClusterView) -> tuple[InstanceKey, ...]:
    slots = [InstanceKey(WORKLOAD, index, draw(EPOCHS)) for index in draw(_SLOT_INDICES)]
    held = [key for each in view for key in each.instances if key.workload_id == WORKLOAD]
    stays = draw(BOOLEANS)
    if held and stays:
        slots.insert(draw(UP_TO_THREE), held[draw(_ANY_NUMBER) % len(held)])
    return tuple(dict.fromkeys(slots))


@st.composite
def situations(
    draw: st.DrawFn,
    abilities: frozenset[SchedulerCapability] = ALL,
    *,
    min_nodes: int = 0,
    huge: bool = False,
) -> Situation:
    """Draw a cluster and a request of up to six slots, some of which may be placed already.

    Most nodes suit the workload, with room for a slot or two, or would but for one thing: in most situations there is
    a place, and next to it one that looks like it.
    """
    workload = draw_workload(draw, abilities, huge=huge)
    shape = draw(_shapes(min_nodes))
    view = StaticClusterView(
        _draw_situation_node(draw, position, kind, workload, huge=huge) for position, kind in enumerate(shape)
    )
    slots = _draw_slots(draw, view)
    kind = draw(_ONLY_NODE)
    only_node = NodeId(f"n{shape.find(kind)}") if kind else None
    request = SchedulingRequest(workload=workload, slots=slots, only_node=only_node, explain=draw(BOOLEANS))
    return Situation(request=request, view=view)


_BUDGETS = st.sampled_from((None, None, None, 2, 1, 0))


def _crowded(view: NodeView, position: int, workload: WorkloadDefinition) -> NodeView:
    """Return a node that holds two more, of low priority, and no more than that or one instance of the workload."""
    wanted = demand(workload)
    fillers = []
    for index in range(2):
        amounts = resources()
        for dimension, amount in list(wanted.items())[index:]:
            amounts = with_amount(amounts, dimension, min(amount, 1 + index))
        fillers.append(
            neighbour(
                2000 + 10 * position + index,
                priority=10 + 10 * ((position + index) % 2),
                grace_seconds=10 * (position % 3),
                demand=amounts,
            )
        )
    full = node_view(view.node, [*view.instances.values(), *fillers])
    room, reserved = view.node.allocatable, dict(full.reserved.dimensions())
    for dimension, amount in wanted.items():
        room = with_amount(room, dimension, min(MAX_AMOUNT, max(amount, reserved.get(dimension, 0))))
    return evolve(full, node=evolve(full.node, capacity=room, allocatable=room))


@st.composite
def crowded_situations(draw: st.DrawFn, abilities: frozenset[SchedulerCapability] = ALL) -> Situation:
    """Draw a cluster on which most nodes have no room, and a request of slots that may push out instances."""
    drawn = draw(situations(abilities))
    request = drawn.request
    if not demand(request.workload):
        first, *others = request.workload.containers
        asking = evolve(first, resources=resources(cpu=2))
        request = evolve(request, workload=evolve(request.workload, containers=(asking, *others)))
    view = StaticClusterView(_crowded(each, position, request.workload) for position, each in enumerate(drawn.view))
    budget = draw(_BUDGETS)
    budgets = {} if budget is None else {NEIGHBOUR: budget}
    return Situation(request=evolve(request, preempt=True, budgets=budgets), view=view)


OTHER = Uid("01900000-0000-7000-8000-000000000003")


@frozen(kw_only=True)
class Batch:
    """Several requests and the cluster that they are about."""

    requests: tuple[SchedulingRequest, ...]
    view: StaticClusterView


@cache
def _any_situation(abilities: frozenset[SchedulerCapability]) -> st.SearchStrategy[Situation]:
    return st.one_of(situations(abilities), crowded_situations(abilities))


_HIGHER = st.integers(0, 1)
_PARTS = st.integers(0, 5)


@st.composite
def batches(draw: st.DrawFn, abilities: frozenset[SchedulerCapability] = ALL) -> Batch:
    """Draw a cluster and up to three requests: a workload's slots in two parts, and another's before, between or after.

    The other one may have a higher priority, so that it may push out what the first ones get.
    """
    situation = draw(_any_situation(abilities))
    whole = situation.request
    cut = draw(_PARTS)
    requests = [
        evolve(whole, slots=part, minimum=min(len(part), draw(UP_TO_THREE)), explain=draw(BOOLEANS))
        for part in (whole.slots[:cut], whole.slots[cut:])
        if part
    ]
    other = evolve(
        draw_workload(draw, abilities, huge=False),
        metadata=Metadata(name="other", uid=OTHER, generation=1, labels=DB),
        priority=DEFAULT_PRIORITY_CLASS.value + draw(_HIGHER),
    )
    slots = tuple(InstanceKey(OTHER, index, 1) for index in range(1 + draw(UP_TO_THREE)))
    budgets = {**whole.budgets, WORKLOAD: draw(UP_TO_THREE)} if draw(BOOLEANS) else whole.budgets
    asking = SchedulingRequest(workload=other, slots=slots, preempt=draw(BOOLEANS), budgets=budgets)
    requests.insert(min(len(requests), draw(UP_TO_THREE)), asking)
    return Batch(requests=tuple(requests), view=situation.view)


@st.composite
def suiting_nodes(draw: st.DrawFn, abilities: frozenset[SchedulerCapability] = ALL) -> Situation:
    """Draw a workload and a cluster of one node that suits it, and ask for a slot."""
    workload = draw_workload(draw, abilities, huge=False)
    view = suited(draw_node_view(draw, "n0", 0, huge=False), workload, draw(_ROOMS))
    request = SchedulingRequest(workload=workload, slots=(InstanceKey(WORKLOAD, 100, 1),))
    return Situation(request=request, view=StaticClusterView([view]))


def near_misses(situation: Situation) -> Iterator[Situation]:
    """Return a situation again and again, each time with one other thing that keeps the slot off every node."""
    request = situation.request
    for flaw in flaws(request.workload):
        yield evolve(situation, view=StaticClusterView(flaw(view) for view in situation.view))
    yield evolve(situation, request=evolve(request, only_node=NodeId("elsewhere")))
