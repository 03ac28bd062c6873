"""What `FullScanScheduler` prefers, term by term: each costs so many points, and the fewest win."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from attrs import evolve
from orchestrion.scheduler_interface import (
    FULL_WEIGHT,
    LEVELS,
    STEP_POINTS,
    AssignNode,
    FullScanScheduler,
    NodeView,
    PlacedInstance,
    SchedulingRequest,
    StaticClusterView,
    budgets_after,
    describe,
    find_evictions,
    has_labels,
    is_meant,
    node_view,
)
from orchestrion.shared_types import (
    MAX_AMOUNT,
    ContainerConfig,
    Device,
    Expression,
    InstanceAffinity,
    InstanceKey,
    Metadata,
    Node,
    NodeAffinity,
    NodeId,
    Operator,
    Placement,
    Resources,
    Spread,
    Taint,
    TaintEffect,
    Toleration,
    Topology,
    Uid,
    WorkloadDefinition,
)

WEB = Uid("01900000-0000-7000-8000-000000000001")
DB = Uid("01900000-0000-7000-8000-000000000002")
DISLIKED = (Taint("old", "", TaintEffect.PREFER_NO_SCHEDULE),)
SSD = (Expression(key="disk", operator=Operator.IN, values=("ssd",)),)


def held(index: int = 0, uid: Uid = DB, **attributes: Any) -> PlacedInstance:
    return PlacedInstance(
        **{"key": InstanceKey(uid, index, 1), "namespace": "default", "workload": "any", **attributes}
    )


def a_node(name: str, *instances: PlacedInstance, cpu: int = 1000, memory: int = 0, **attributes: Any) -> NodeView:
    room = Resources(cpu_millicores=cpu, memory_bytes=memory)
    return node_view(Node(id=NodeId(name), name=name, capacity=room, allocatable=room, **attributes), instances)


def a_request(
    slots: int = 1, cpu: int = 100, labels: Mapping[str, str] | None = None, **placement: Any
) -> SchedulingRequest:
    workload = WorkloadDefinition(
        metadata=Metadata(name="web", uid=WEB, labels=labels or {}),
        containers=(ContainerConfig(name="main", resources=Resources(cpu_millicores=cpu)),),
        placement=Placement(**placement),
    )
    keys = tuple(InstanceKey(WEB, 100 + index, 1) for index in range(slots))
    return SchedulingRequest(workload=workload, slots=keys, explain=True)


async def placed(request: SchedulingRequest, *nodes: NodeView) -> list[str]:
    decisions = await FullScanScheduler().schedule(request, StaticClusterView(nodes))
    return [str(decision.node_id) for decision in decisions if isinstance(decision, AssignNode)]


async def points(request: SchedulingRequest, node: NodeView) -> int:
    """Return what a node that is alone costs."""
    (decision,) = await FullScanScheduler().schedule(request, StaticClusterView([node]))
    assert decision.explanation is not None
    return -int(decision.explanation.scores[node.node.id])


async def dearer(request: SchedulingRequest, node: NodeView, than: NodeView) -> int:
    """Return by how much a node is dearer than another."""
    return await points(request, node) - await points(request, than)


async def test_a_disliked_taint_costs_a_step_and_a_tolerated_one_nothing() -> None:
    tainted, clean = a_node("n1", taints=DISLIKED), a_node("n2")
    assert await dearer(a_request(), tainted, than=clean) == STEP_POINTS
    assert await dearer(a_request(tolerations=(Toleration(key="old"),)), tainted, than=clean) == 0
    assert await placed(a_request(), tainted, clean) == ["n2"]


async def test_each_disliked_taint_costs_a_step() -> None:
    two = a_node("n1", taints=(*DISLIKED, Taint("slow", "", TaintEffect.PREFER_NO_SCHEDULE)))
    assert await dearer(a_request(), two, than=a_node("n2")) == 2 * STEP_POINTS


@pytest.mark.parametrize(("weight", "cost"), [(FULL_WEIGHT, STEP_POINTS), (1, 20_971), (50, STEP_POINTS // 2)])
async def test_a_preferred_node_affinity_that_does_not_hold_costs_its_weight(weight: int, cost: int) -> None:
    request = a_request(node_affinities=(NodeAffinity(expressions=SSD, weight=weight),))
    assert await dearer(request, a_node("n1"), than=a_node("n2", labels={"disk": "ssd"})) == cost


async def test_preferred_neighbours_that_are_not_there_cost_the_weight() -> None:
    request = a_request(instance_affinities=(InstanceAffinity(match_labels={"app": "db"}, weight=50),))
    beside, alone = a_node("n1", held(labels={"app": "db"})), a_node("n2", held(1))
    assert await dearer(request, alone, than=beside) == STEP_POINTS // 2
    assert await placed(request, alone, beside) == ["n1"]


async def test_neighbours_to_keep_away_from_cost_the_weight() -> None:
    request = a_request(instance_affinities=(InstanceAffinity(match_labels={"app": "db"}, anti=True, weight=50),))
    beside, alone = a_node("n1", held(labels={"app": "db"})), a_node("n2", held(1))
    assert await dearer(request, beside, than=alone) == STEP_POINTS // 2
    assert await placed(request, beside, alone) == ["n2"]


async def test_the_first_that_prefers_its_own_kind_misses_nobody() -> None:
    request = a_request(
        labels={"app": "web"},
        instance_affinities=(InstanceAffinity(match_labels={"app": "web"}, by="zone", weight=100),),
    )
    inside, outside = a_node("n1", topology=Topology(zone="a")), a_node("n2")
    assert await dearer(request, outside, than=inside) == STEP_POINTS


@pytest.mark.parametrize("required", [False, True])
async def test_each_sibling_in_the_domain_costs_a_step_for_each_spread(required: bool) -> None:
    zone = Topology(zone="a")
    spreads = (Spread(by="zone", max_skew=9, required=required), Spread(by="node", max_skew=9, required=required))
    two = a_node("n1", held(1, WEB), held(2, WEB), topology=zone)
    none = a_node("n2", held(3), topology=zone)
    assert await dearer(a_request(spreads=spreads), two, than=none) == 4 * STEP_POINTS
    assert await placed(a_request(spreads=spreads), two, none) == ["n2"]


async def test_nodes_in_no_domain_count_as_one() -> None:
    outside = [a_node("n1", held(1, WEB), cpu=500), a_node("n2", held(2), cpu=500)]
    inside = a_node("n3", held(3), topology=Topology(zone="a"))
    assert await placed(a_request(), *outside, inside) == ["n1"]
    assert await placed(a_request(spreads=(Spread(by="zone"),)), *outside, inside) == ["n3"]


async def test_the_node_with_the_least_left_is_taken() -> None:
    used = [held(number, demand=Resources(cpu_millicores=cpu)) for number, cpu in enumerate((100, 899, 500))]
    nodes = [a_node(f"n{number}", each) for number, each in enumerate(used)]
    assert await placed(a_request(slots=2), *nodes) == ["n1", "n2"]
    assert await dearer(a_request(), nodes[0], than=nodes[1]) == 799


async def test_memory_and_devices_that_are_left_count_as_cpu_does() -> None:
    plain = a_node("n1", held())
    assert await dearer(a_request(), a_node("n2", held(), memory=7), than=plain) == 7
    devices = (Device(id="d0"), Device(id="d1"))
    shared = a_node("n3", held(device_thousandths={"d0": 300}), devices=devices)
    assert await dearer(a_request(), shared, than=plain) == 1700


async def test_an_idle_node_costs_as_much_as_all_of_a_resource() -> None:
    assert await dearer(a_request(), a_node("n1"), than=a_node("n2", held())) == LEVELS
    assert await placed(a_request(), a_node("n1", cpu=100), a_node("n2", held(), cpu=1000)) == ["n2"]


@pytest.mark.parametrize("most", [LEVELS - 1, LEVELS, 3 * LEVELS, MAX_AMOUNT])
async def test_amounts_are_told_apart_by_the_largest_node(most: int) -> None:
    left = await points(a_request(), a_node("n1", held(), cpu=most))
    assert LEVELS // 2 <= left < LEVELS
    shift = max(0, most.bit_length() - 18)
    assert left == most >> shift


async def test_differences_below_a_level_are_none() -> None:
    most = 4 * LEVELS
    nodes = [a_node("n1", held(1), cpu=1007), a_node("n2", held(2), cpu=1000), a_node("n3", held(3), cpu=most)]
    assert await placed(a_request(), *nodes) == ["n1"]


async def test_one_dislike_outweighs_whatever_is_left() -> None:
    full = a_node("n1", held(), cpu=100, taints=DISLIKED)
    devices = tuple(Device(id=f"d{each}") for each in range(9))
    assert await placed(a_request(), full, a_node("n2", cpu=MAX_AMOUNT, memory=MAX_AMOUNT, devices=devices)) == ["n2"]


async def test_of_equals_the_lowest_id_is_taken() -> None:
    assert await placed(a_request(), a_node("n2"), a_node("n1")) == ["n1"]


async def test_an_explained_assignment_names_the_runner_up() -> None:
    nodes = [a_node("n1", held(1)), a_node("n2"), a_node("n3", held(2), cpu=900), a_node("n4", cordoned=True)]
    (decision,) = await FullScanScheduler().schedule(a_request(), StaticClusterView(nodes))
    assert decision.explanation is not None
    assert decision.explanation.scores == {"n3": -900.0, "n1": -1000.0}


@pytest.mark.parametrize(
    ("affinity", "words"),
    [
        (InstanceAffinity(match_labels={"app": "web", "tier": "x"}), "no app=web, tier=x on the node"),
        (InstanceAffinity(match_labels={"app": "web"}, by="zone"), "no app=web in zone=none"),
        (InstanceAffinity(match_labels={}), "no labels to match on the node"),
        (InstanceAffinity(match_labels={"app": "db"}, anti=True), "app=db on the node"),
    ],
)
async def test_a_refusal_names_the_neighbours_that_do_not_suit(affinity: InstanceAffinity, words: str) -> None:
    view = StaticClusterView([a_node("n1", held(labels={"app": "db"}))])
    (decision,) = await FullScanScheduler().schedule(a_request(instance_affinities=(affinity,)), view)
    assert decision.explanation is not None
    assert describe(decision.explanation) == f"1 node: neighbours do not suit: {words}"


async def test_a_refusal_names_the_expression_of_an_affinity() -> None:
    request = a_request(node_affinities=(NodeAffinity(expressions=SSD),))
    (decision,) = await FullScanScheduler().schedule(request, StaticClusterView([a_node("n1")]))
    assert decision.explanation is not None
    assert describe(decision.explanation) == f"1 node: not disk {Operator.IN} ssd"


def test_an_affinity_is_about_instances_of_the_namespace_with_all_labels() -> None:
    affinity = InstanceAffinity(match_labels={"app": "db", "tier": "back"})
    labels = {"app": "db", "tier": "back", "more": "yes"}
    assert is_meant(affinity, "default", held(labels=labels))
    assert not is_meant(affinity, "other", held(labels=labels))
    assert not is_meant(affinity, "default", held(labels={"app": "db"}))


def test_an_affinity_without_labels_matches_nothing() -> None:
    assert not has_labels(InstanceAffinity(match_labels={}), {"app": "db"})
    assert not has_labels(InstanceAffinity(match_labels={}), {})


def low(index: int, cpu: int = 1000, **attributes: Any) -> PlacedInstance:
    return held(index, priority=10, demand=Resources(cpu_millicores=cpu), **attributes)


async def test_of_nodes_with_equal_victims_the_one_that_is_disliked_least_is_taken() -> None:
    nodes = [a_node("n1", low(1), taints=DISLIKED), a_node("n2", low(2)), a_node("n3", low(3))]

    assert await placed(evolve(a_request(), preempt=True), *nodes) == ["n2"]
    assert await placed(evolve(a_request(), preempt=True, only_node=NodeId("n1")), *nodes) == ["n1"]


async def test_a_neighbour_is_disliked_until_it_is_gone() -> None:
    away = (InstanceAffinity(match_labels={"app": "db"}, anti=True, weight=1),)
    nodes = [a_node("n1", low(1, labels={"app": "db"})), a_node("n2", low(2))]
    request = evolve(a_request(cpu=500, instance_affinities=away), preempt=True)

    assert await placed(request, *nodes) == ["n2"]


async def test_what_a_slot_would_push_out_is_told_node_by_node() -> None:
    stays = held(3, priority=2**31 - 1, demand=Resources(cpu_millicores=950))
    full = [a_node("n1", low(1, cpu=400), low(2, cpu=600)), a_node("n2", stays)]
    request = evolve(a_request(cpu=500), budgets={DB: 1})
    capabilities = FullScanScheduler().capabilities

    found = find_evictions(request, StaticClusterView(full), capabilities=capabilities)

    assert [(each.node_id, each.keys, each.rank) for each in found] == [("n1", (InstanceKey(DB, 2, 1),), (10, 1, 0))]
    assert find_evictions(evolve(request, budgets={DB: 0}), StaticClusterView(full), capabilities=capabilities) == ()


async def test_budgets_are_less_by_the_victims_of_decisions() -> None:
    decisions = await FullScanScheduler().schedule(
        evolve(a_request(2, cpu=1000), preempt=True), StaticClusterView([a_node("n1", low(1)), a_node("n2", low(2))])
    )

    assert budgets_after({DB: 5, WEB: 1}, decisions) == {DB: 3, WEB: 1}
