"""The same question gets the same answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.conformance_kit import Runner
from orchestrion.scheduler_interface import (
    ClusterView,
    NodeView,
    PlacedInstance,
    ScheduleDecision,
    StaticClusterView,
    ViewKeeper,
)
from orchestrion.shared_types import NodeId, WorkloadDefinition

from ._build import asking, cluster, container, neighbour, node, resources, workload
from ._kit import KIT, SchedulerUnderTest, abilities_of, decide
from ._situations import Situation, situations
from ._strategies import node_views

V = TypeVar("V")


@KIT.property_clause("SAME-1", "equal-views-and-requests-get-equal-decisions")
def _same_content(run: Runner[SchedulerUnderTest]) -> None:
    @run.settings()
    @given(situations(abilities_of(run)))
    def example(situation: Situation) -> None:
        async def ask_twice(subject: SchedulerUnderTest) -> None:
            first = await decide(subject, situation.request, situation.view)
            copy = StaticClusterView([evolve(each) for each in situation.view], revision=situation.view.revision)
            again = await decide(subject, evolve(situation.request), copy)
            assert again == first, f"of a view: {first}; of an equal one: {again}"

        run(ask_twice)

    example()


@KIT.clause("SAME-1", "among-nodes-alike-the-choice-is-the-same-for-an-equal-view")
async def _same_among_alike(subject: SchedulerUnderTest) -> None:
    alike = [node(f"n{number}") for number in range(4)]
    request = asking(workload(container(wants=resources(cpu=100))))
    first, *others = [await decide(subject, request, cluster(*alike)) for _ in range(3)]
    for other in others:
        assert other == first, f"asked for the same three times: got {first}, and later {other}"


@KIT.property_clause("SAME-2", "the-order-of-calls-makes-no-difference")
def _same_order(run: Runner[SchedulerUnderTest]) -> None:
    small, large = (workload(container(wants=resources(cpu=amount))) for amount in (100, 700))
    view = cluster(*(node(f"n{number}") for number in range(5)))
    requests = [asking(small), asking(large, slots=3), asking(small, slots=7), asking(large)]

    async def ask(subject: SchedulerUnderTest, order: tuple[int, ...]) -> dict[int, list[ScheduleDecision]]:
        return {number: await decide(subject, requests[number], view) for number in order}

    expected = run(ask, (0, 1, 2, 3))
    for order in ((3, 2, 1, 0), (2, 0, 3, 1), (1, 1, 1, 0, 2, 3)):
        assert run(ask, order) == expected, f"in the order {order}"


@KIT.property_clause("SAME-3", "the-order-of-mappings-makes-no-difference")
def _same_mappings(run: Runner[SchedulerUnderTest]) -> None:
    @run.settings()
    @given(situations(abilities_of(run)))
    def example(situation: Situation) -> None:
        expected = run(decide, situation.request, situation.view)
        request = evolve(situation.request, workload=_workload_backwards(situation.request.workload))
        view = StaticClusterView([_view_backwards(each) for each in situation.view], revision=situation.view.revision)
        backwards = run(decide, request, view)
        assert backwards == expected, f"expected {expected}; with every mapping backwards: {backwards}"

    example()


@KIT.property_clause("SAME-3", "nodes-that-differ-in-the-order-of-labels-are-alike")
def _same_labels(run: Runner[SchedulerUnderTest]) -> None:
    forward = {"disk": "ssd", "gen": "2"}
    nodes = [node("n1", labels=forward), node("n2", labels=_backwards(forward)), node("n3", labels=forward)]
    mirrored = [evolve(each, labels=_backwards(each.labels)) for each in nodes]
    request = asking(workload(container(wants=resources(cpu=100)), select=forward))
    assert run(decide, request, cluster(*mirrored)) == run(decide, request, cluster(*nodes))


@KIT.property_clause("SAME-4", "what-was-seen-before-makes-no-difference")
def _same_history(run: Runner[SchedulerUnderTest]) -> None:
    """A cluster changes; a scheduler that saw all of it decides as one that sees only the last view."""

    @run.settings()
    @given(situations(abilities_of(run), min_nodes=1), st.data())
    def example(situation: Situation, data: st.DataObject) -> None:
        history = _draw_history(situation.view, situation.request.workload, data)

        async def ask_through(subject: SchedulerUnderTest) -> list[list[ScheduleDecision]]:
            return [await decide(subject, situation.request, view) for view in history]

        for view, decisions in zip(history, run(ask_through), strict=True):
            assert decisions == run(decide, situation.request, view), f"at revision {view.revision}"

    example()


@KIT.property_clause("SAME-4", "a-view-whose-history-is-unknown-is-read-anew")
def _same_without_history(run: Runner[SchedulerUnderTest]) -> None:
    request = asking(workload(container(wants=resources(cpu=1000))), slots=2)
    before = cluster(node("n1"), node("n2"), node("n3"))
    after = StaticClusterView(cluster(node("n2"), node("n4"), node("n5", cordoned=True)))

    async def ask_both(subject: SchedulerUnderTest) -> list[list[ScheduleDecision]]:
        return [await decide(subject, request, view) for view in (before, after, before)]

    alone = [run(decide, request, view) for view in (before, after, before)]
    assert run(ask_both) == alone


@KIT.property_clause("SAME-4", "clusters-whose-nodes-have-the-same-ids-are-told-apart")
def _same_nodes_of_another(run: Runner[SchedulerUnderTest]) -> None:
    """A cluster is kept anew, as after a restart: what the scheduler saw of the first says nothing about the second."""
    request = asking(workload(container(wants=resources(cpu=900))), slots=2)
    names = ("n1", "n2", "n3")
    views: list[ClusterView] = []
    # Each has gone through one more change than the one before, as a later state would have.
    for number, busy in enumerate(names):
        keeper = ViewKeeper()
        for name in names:
            keeper.set_node(node(name))
            keeper.set_leased(NodeId(name), True)
        for index in range(number + 1):
            keeper.put(NodeId(busy), neighbour(index, demand=resources(cpu=900 // (number + 1))))
        views.append(keeper.view())

    async def ask_all(subject: SchedulerUnderTest) -> list[list[ScheduleDecision]]:
        return [await decide(subject, request, view) for view in views]

    for number, (view, decisions) in enumerate(zip(views, run(ask_all), strict=True)):
        expected = run(decide, request, view)
        assert decisions == expected, f"view {number}: expected {expected}; after those before it: {decisions}"


def _draw_history(
    first: StaticClusterView, definition: WorkloadDefinition, data: st.DataObject
) -> list[StaticClusterView]:
    history = [first]
    for _ in range(data.draw(st.integers(1, 3), label="changes")):
        latest = history[-1]
        position = data.draw(st.integers(0, 6), label="position")
        ids = [each.node.id for each in latest]
        if position < len(ids) and data.draw(st.booleans(), label="remove"):
            history.append(latest.changed(removed=[ids[position]]))
        else:
            # Beyond the positions that the first view may have, so that no instance is drawn in two places.
            drawn = data.draw(node_views(f"n{position}", position=20 + 10 * len(history) + position), label="node")
            history.append(latest.changed(drawn))
    if data.draw(st.booleans(), label="look back"):
        history.append(first)
    return history


def _view_backwards(view: NodeView) -> NodeView:
    return evolve(
        view,
        node=evolve(view.node, labels=_backwards(view.node.labels)),
        device_thousandths=_backwards(view.device_thousandths),
        instances={key: _instance_backwards(instance) for key, instance in reversed(list(view.instances.items()))},
    )


def _instance_backwards(instance: PlacedInstance) -> PlacedInstance:
    return evolve(
        instance,
        labels=_backwards(instance.labels),
        device_thousandths=_backwards(instance.device_thousandths),
    )


def _workload_backwards(definition: WorkloadDefinition) -> WorkloadDefinition:
    placement = definition.placement
    affinities = (evolve(each, match_labels=_backwards(each.match_labels)) for each in placement.instance_affinities)
    return evolve(
        definition,
        metadata=evolve(definition.metadata, labels=_backwards(definition.metadata.labels)),
        placement=evolve(placement, select=_backwards(placement.select), instance_affinities=tuple(affinities)),
    )


def _backwards(mapping: Mapping[str, V]) -> dict[str, V]:
    return dict(reversed(list(mapping.items())))
