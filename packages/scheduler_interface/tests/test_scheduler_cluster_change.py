"""What has changed between two views of a node, and what refusals that can end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import trio
from attrs import evolve, frozen
from orchestrion.scheduler_interface import (
    HELPED_BY,
    AssignNode,
    ClusterChangeKind,
    FullScanScheduler,
    NodeView,
    NoPlacement,
    Predicate,
    SchedulingRequest,
    StaticClusterView,
    cluster_changes,
    node_view,
)
from orchestrion.scheduler_interface.conformance._build import (
    asking,
    cluster,
    container,
    neighbour,
    node,
    resources,
    sibling,
    tcp,
    workload,
)
from orchestrion.shared_types import (
    Device,
    Expression,
    GpuRequest,
    InstanceAffinity,
    Node,
    NodeAffinity,
    NodeCondition,
    NodeId,
    NodeStatus,
    Operator,
    Spread,
    Taint,
    TaintEffect,
    Topology,
)

Kind = ClusterChangeKind


@frozen
class Witness:
    """A change that ends a refusal."""

    predicate: Predicate
    kind: ClusterChangeKind
    request: SchedulingRequest
    before: StaticClusterView
    after: StaticClusterView


GOOD = node("n1")
TAINTED = evolve(GOOD, taints=(Taint("gpu", "", TaintEffect.NO_SCHEDULE),))
SICK = evolve(GOOD, conditions=(NodeCondition(type="DiskPressure", active=True),))
OTHER_DRIVER = evolve(GOOD, drivers=frozenset({"docker"}))
LABELLED = evolve(GOOD, labels={"disk": "ssd"})
SMALL = evolve(GOOD, allocatable=resources(cpu=1))
WITH_GPU = evolve(GOOD, devices=(Device(id="d0", kind="gpu"),))

ANYWHERE = asking(workload())
SSD = Expression(key="disk", operator=Operator.EXISTS)
HUNGRY = asking(workload(container(wants=resources(cpu=600))))
LISTENING = asking(workload(container(ports=(tcp(80),))))
DRAWING = asking(workload(container(gpu=GpuRequest(count=1))))
TO_BE_WITH_DB = asking(
    workload(labels={"app": "db"}, instance_affinities=(InstanceAffinity(match_labels={"app": "db"}, by="zone"),))
)
APART = asking(workload(instance_affinities=(InstanceAffinity(match_labels={"app": "db"}, by="node", anti=True),)))
EVENLY = asking(workload(spreads=(Spread(by="zone", max_skew=1, required=True),)))

A = evolve(node("na"), topology=Topology(zone="a"))
B = evolve(node("nb"), topology=Topology(zone="b"), drivers=frozenset({"process"}))
EMPTY_BUT_FULL = evolve(B, allocatable=resources())
"""A node that counts for spreads, and has no room for what asks for any."""
EVENLY_AND_HUNGRY = asking(
    workload(container(wants=resources(cpu=600)), spreads=(Spread(by="zone", max_skew=1, required=True),))
)
DB = neighbour(labels={"app": "db"})


def alone(
    predicate: Predicate, bad: Node, request: SchedulingRequest = ANYWHERE, good: Node = GOOD
) -> Iterator[tuple[Predicate, ClusterChangeKind, SchedulingRequest, StaticClusterView, StaticClusterView]]:
    """Yield that a node which fails becomes a good one, and that a good one comes."""
    (change,) = cluster_changes(node_view(bad), node_view(good))
    yield predicate, change.kind, request, cluster(bad), cluster(good)
    came = evolve(good, id=NodeId("n2"), name="n2")
    yield predicate, Kind.NODE_ADDED, request, cluster(bad), cluster(bad, came)


def around() -> Iterator[tuple[Predicate, ClusterChangeKind, SchedulingRequest, StaticClusterView, StaticClusterView]]:
    """Yield what helps requests that look at what is placed elsewhere."""
    affinity = Predicate.INSTANCE_AFFINITY
    stranger = evolve(A, status=NodeStatus.DOWN)
    holds_db = node_view(stranger, [DB])
    waits = TO_BE_WITH_DB
    yield (
        affinity,
        Kind.NODE_ADDED,
        waits,
        cluster(holds_db, B),
        cluster(holds_db, B, evolve(A, id=NodeId("nc"), name="nc")),
    )
    yield affinity, Kind.NODE_REMOVED, waits, cluster(holds_db, B), cluster(B)
    yield affinity, Kind.NODE_LABELS, waits, cluster(holds_db, B), cluster(holds_db, evolve(B, topology=A.topology))
    yield (
        affinity,
        Kind.INSTANCE_ADDED,
        waits,
        cluster(holds_db, B),
        cluster(holds_db, node_view(B, [neighbour(1, labels={"app": "db"})])),
    )
    yield affinity, Kind.INSTANCE_REMOVED, APART, cluster(node_view(A, [DB])), cluster(A)

    spread = Predicate.SPREAD
    skewed = node_view(A, [sibling(7)])
    before = cluster(skewed, EMPTY_BUT_FULL)
    hungry = EVENLY_AND_HUNGRY
    yield spread, Kind.NODE_ADDED, hungry, before, cluster(skewed, EMPTY_BUT_FULL, evolve(B, id=NodeId("nc"), name="c"))
    yield spread, Kind.NODE_REMOVED, hungry, before, cluster(skewed)
    yield spread, Kind.INSTANCE_ADDED, hungry, before, cluster(skewed, node_view(EMPTY_BUT_FULL, [sibling(8)]))
    yield spread, Kind.INSTANCE_REMOVED, hungry, before, cluster(A, EMPTY_BUT_FULL)
    for closed in (
        evolve(EMPTY_BUT_FULL, status=NodeStatus.DOWN),
        evolve(EMPTY_BUT_FULL, cordoned=True),
        evolve(EMPTY_BUT_FULL, conditions=SICK.conditions),
        evolve(EMPTY_BUT_FULL, drivers=frozenset({"docker"})),
        evolve(EMPTY_BUT_FULL, topology=Topology()),
        evolve(EMPTY_BUT_FULL, taints=TAINTED.taints),
    ):
        (change,) = cluster_changes(node_view(EMPTY_BUT_FULL), node_view(closed))
        yield spread, change.kind, hungry, before, cluster(skewed, closed)


def room() -> Iterator[tuple[Predicate, ClusterChangeKind, SchedulingRequest, StaticClusterView, StaticClusterView]]:
    """Yield what makes room by an end."""
    for predicate, request, holder in (
        (Predicate.RESOURCE, HUNGRY, neighbour(demand=resources(cpu=600))),
        (Predicate.HOST_PORT, LISTENING, neighbour(host_ports=frozenset({tcp(80)}))),
        (Predicate.DEVICE, DRAWING, neighbour(device_thousandths={"d0": 1000})),
    ):
        held, freed = node_view(WITH_GPU, [holder]), node_view(WITH_GPU)
        yield predicate, Kind.INSTANCE_REMOVED, request, cluster(held), cluster(freed)
        came = evolve(WITH_GPU, id=NodeId("n2"), name="n2")
        yield predicate, Kind.NODE_ADDED, request, cluster(held), cluster(held, came)


WITNESSES = [
    Witness(*each)
    for each in (
        *alone(Predicate.NODE_STATUS, evolve(GOOD, status=NodeStatus.DOWN)),
        *alone(Predicate.CORDONED, evolve(GOOD, cordoned=True)),
        *alone(Predicate.NODE_CONDITION, SICK),
        *alone(Predicate.DRIVER, OTHER_DRIVER),
        *alone(Predicate.SELECTOR, GOOD, asking(workload(select={"disk": "ssd"})), LABELLED),
        *alone(Predicate.EXPRESSION, GOOD, asking(workload(expressions=(SSD,))), LABELLED),
        *alone(
            Predicate.NODE_AFFINITY,
            GOOD,
            asking(workload(node_affinities=(NodeAffinity(expressions=(SSD,)),))),
            LABELLED,
        ),
        *alone(Predicate.TAINT, TAINTED),
        *alone(Predicate.RESOURCE, SMALL, HUNGRY),
        *alone(Predicate.DEVICE, GOOD, DRAWING, WITH_GPU),
        *room(),
        *around(),
    )
]
BY_PAIR = {(each.predicate, each.kind): each for each in WITNESSES}

ONLY_NODE = (Predicate.OTHER_NODE, Kind.NODE_ADDED)


def test_each_pair_of_the_table_has_a_witness_or_is_told_apart_here() -> None:
    """The pairs without one are those of a changed request, and the only node that joins."""
    pairs = {(predicate, kind) for predicate, kinds in HELPED_BY.items() for kind in kinds}
    assert pairs - {(predicate, Kind.REQUEST_CHANGED) for predicate in Predicate} - {ONLY_NODE} == set(BY_PAIR)


def test_every_predicate_is_in_the_table() -> None:
    assert set(HELPED_BY) == set(Predicate)


@pytest.mark.parametrize("pair", sorted(BY_PAIR), ids=" ".join)
def test_a_change_of_the_table_ends_a_refusal_for_that_reason(pair: tuple[Predicate, ClusterChangeKind]) -> None:
    witness = BY_PAIR[pair]
    (refused,) = trio.run(FullScanScheduler().schedule, witness.request, witness.before)
    (placed,) = trio.run(FullScanScheduler().schedule, witness.request, witness.after)
    ids = {each.node.id for view in (witness.before, witness.after) for each in view}
    changes = [
        change.kind
        for node_id in ids
        for change in cluster_changes(witness.before.get(node_id), witness.after.get(node_id))
    ]
    assert isinstance(refused, NoPlacement)
    assert witness.predicate in {group.predicate for group in refused.explanation.groups}
    assert isinstance(placed, AssignNode)
    assert changes == [witness.kind]


def test_the_only_node_that_will_do_can_join() -> None:
    request = evolve(ANYWHERE, only_node=NodeId("n2"))
    (refused,) = trio.run(FullScanScheduler().schedule, request, cluster(GOOD))
    came = evolve(GOOD, id=NodeId("n2"), name="n2")
    (placed,) = trio.run(FullScanScheduler().schedule, request, cluster(GOOD, came))
    assert isinstance(refused, NoPlacement)
    assert {group.predicate for group in refused.explanation.groups} == {Predicate.OTHER_NODE}
    assert isinstance(placed, AssignNode)


def test_a_node_that_stays_as_it_is_has_not_changed() -> None:
    assert cluster_changes(node_view(GOOD, [DB]), node_view(evolve(GOOD), [evolve(DB)])) == ()
    assert cluster_changes(None, None) == ()


def test_an_instance_that_is_not_what_it_was_is_gone_and_new() -> None:
    before, after = neighbour(demand=resources(cpu=1)), neighbour(demand=resources(cpu=2))
    gone, new = cluster_changes(node_view(GOOD, [before]), node_view(GOOD, [after]))
    assert (gone.kind, gone.instances) == (Kind.INSTANCE_REMOVED, (before,))
    assert (new.kind, new.instances) == (Kind.INSTANCE_ADDED, (after,))


def test_a_node_that_goes_takes_its_instances_along() -> None:
    (change,) = cluster_changes(node_view(GOOD, [DB]), None)
    assert (change.kind, change.node, change.instances) == (Kind.NODE_REMOVED, None, (DB,))


def test_two_nodes_are_not_one_that_has_changed() -> None:
    one: NodeView = node_view(GOOD)
    with pytest.raises(ValueError, match="are not one node"):
        cluster_changes(one, node_view(A))
