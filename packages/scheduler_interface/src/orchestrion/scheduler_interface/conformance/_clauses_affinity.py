"""The capability `affinity`: affinities that are required."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from orchestrion.scheduler_interface import ChangeKind, PlacementChange, Predicate, SchedulerCapability, node_view
from orchestrion.shared_types import (
    Expression,
    InstanceAffinity,
    Node,
    NodeAffinity,
    NodeId,
    Operator,
    Topology,
    WorkloadDefinition,
)

from ._build import asking, cluster, container, neighbour, node, one, resources, sibling, workload
from ._kit import KIT, SchedulerUnderTest, expect_node, expect_placed, expect_refused

AFFINITY = SchedulerCapability.AFFINITY

_DB = {"app": "db"}
_WEB = {"app": "web"}


def _in_zone(name: str, zone: str, **attributes: Any) -> Node:
    return node(name, topology=Topology(zone=zone), **attributes)


def _near(by: str = "node", **match_labels: str) -> InstanceAffinity:
    return InstanceAffinity(match_labels=match_labels or _DB, by=by)


def _away(by: str = "node", **match_labels: str) -> InstanceAffinity:
    return InstanceAffinity(match_labels=match_labels or _DB, by=by, anti=True)


def _wanting(*affinities: InstanceAffinity) -> WorkloadDefinition:
    return workload(container(wants=resources(cpu=10)), labels=_WEB, instance_affinities=affinities)


def _on_nodes(*affinities: NodeAffinity) -> WorkloadDefinition:
    return workload(node_affinities=affinities)


_SSD = Expression(key="disk", operator=Operator.IN, values=("ssd",))
_NEW = Expression(key="gen", operator=Operator.GREATER, values=("2",))


@KIT.clause("AFFINITY-1", "a-node-has-to-match-all-expressions", requires=AFFINITY)
async def _all_expressions(subject: SchedulerUnderTest) -> None:
    view = cluster(
        node("n1", labels={"disk": "ssd", "gen": "2"}),
        node("n2", labels={"disk": "hdd", "gen": "3"}),
        node("n3", labels={"disk": "ssd", "gen": "3"}),
    )
    for affinities in (
        (NodeAffinity(expressions=(_SSD, _NEW)),),
        (NodeAffinity(expressions=(_SSD,)), NodeAffinity(expressions=(_NEW,))),
        (NodeAffinity(expressions=(_NEW,)), NodeAffinity(expressions=(_SSD,))),
    ):
        request = asking(_on_nodes(*affinities))
        await expect_node(subject, request, view, "n3")
        await expect_refused(subject, request, view.changed(removed=[NodeId("n3")]), Predicate.NODE_AFFINITY)


@KIT.clause("AFFINITY-1", "a-preferred-affinity-beside-a-required-one-refuses-nothing", requires=AFFINITY)
async def _preferred_beside(subject: SchedulerUnderTest) -> None:
    affinities = (NodeAffinity(expressions=(_NEW,), weight=100), NodeAffinity(expressions=(_SSD,)))
    view = cluster(node("n1", labels={"gen": "3"}), node("n2", labels={"disk": "ssd"}))
    await expect_node(subject, asking(_on_nodes(*affinities)), view, "n2")


@KIT.clause("AFFINITY-2", "instances-of-other-namespaces-are-not-meant", requires=AFFINITY)
async def _namespaces(subject: SchedulerUnderTest) -> None:
    stranger = node_view(node("n1"), [neighbour(0, labels=_DB, namespace="other")])
    request = asking(_wanting(_near()))
    await expect_refused(subject, request, cluster(stranger, node("n2")), Predicate.INSTANCE_AFFINITY)
    await expect_node(subject, asking(_wanting(_away())), cluster(stranger), "n1")
    own = evolve(request.workload, metadata=evolve(request.workload.metadata, namespace="other"))
    await expect_node(subject, evolve(request, workload=own), cluster(stranger, node("n2")), "n1")


@KIT.clause("AFFINITY-2", "an-instance-needs-all-labels", requires=AFFINITY)
async def _all_labels(subject: SchedulerUnderTest) -> None:
    view = cluster(
        node_view(node("n1"), [neighbour(0, labels=_DB), neighbour(1, labels={"tier": "back"})]),
        node_view(node("n2"), [neighbour(2, labels={"app": "db", "tier": "front"})]),
        node_view(node("n3"), [neighbour(3, labels={"tier": "back", "more": "yes", "app": "db"})]),
    )
    await expect_node(subject, asking(_wanting(_near(app="db", tier="back"))), view, "n3")
    without = view.changed(removed=[NodeId("n3")])
    await expect_refused(subject, asking(_wanting(_near(app="db", tier="back"))), without, Predicate.INSTANCE_AFFINITY)
    apart = asking(_wanting(_away(app="db", tier="back"), _away(app="db", tier="front")))
    await expect_node(subject, apart, view, "n1")


@KIT.clause("AFFINITY-3", "without-labels-nobody-is-meant", requires=AFFINITY)
async def _no_labels(subject: SchedulerUnderTest) -> None:
    view = one(node(), neighbour(0, labels=_DB), sibling(9, labels=_WEB))
    nobody = InstanceAffinity(match_labels={})
    await expect_refused(subject, asking(_wanting(nobody)), view, Predicate.INSTANCE_AFFINITY)
    await expect_refused(subject, asking(_wanting(nobody)), one(node()), Predicate.INSTANCE_AFFINITY)
    await expect_node(subject, asking(_wanting(evolve(nobody, anti=True))), view, "n1")


@KIT.clause("AFFINITY-4", "a-node-needs-one-in-its-domain", requires=AFFINITY)
async def _near_by_domain(subject: SchedulerUnderTest) -> None:
    view = cluster(
        _in_zone("n1", "b"),
        _in_zone("n2", "a"),
        node_view(_in_zone("n3", "a", cordoned=True), [neighbour(0, labels=_DB)]),
    )
    await expect_node(subject, asking(_wanting(_near("zone"))), view, "n2")
    await expect_refused(subject, asking(_wanting(_near("node"))), view, Predicate.INSTANCE_AFFINITY)


@KIT.clause("AFFINITY-4", "a-node-without-a-domain-is-refused", requires=AFFINITY)
async def _no_domain(subject: SchedulerUnderTest) -> None:
    view = cluster(node_view(node("n1"), [neighbour(0, labels=_DB)]), node("n2", labels={"row": "a"}))
    for by in ("zone", "row"):
        await expect_refused(subject, asking(_wanting(_near(by))), view, Predicate.INSTANCE_AFFINITY)
    labelled = node_view(node("n3", labels={"row": "a"}), [neighbour(1, labels=_DB)])
    await expect_placed(
        subject,
        asking(_wanting(_near("row")), only_node=NodeId("n2")),
        view.changed(labelled),
        "n2",
        rule="row a has one",
    )


@KIT.clause("AFFINITY-4", "all-required-affinities-have-to-hold", requires=AFFINITY)
async def _all_affinities(subject: SchedulerUnderTest) -> None:
    view = cluster(
        node_view(_in_zone("n1", "a"), [neighbour(0, labels=_DB)]),
        node_view(_in_zone("n2", "b"), [neighbour(1, labels={"app": "cache"})]),
        node_view(_in_zone("n3", "b"), [neighbour(2, labels=_DB)]),
    )
    both = (_near("node"), _near("zone", app="cache"))
    for affinities in (both, both[::-1]):
        await expect_node(subject, asking(_wanting(*affinities)), view, "n3")


@KIT.clause("AFFINITY-4", "all-incarnations-of-the-workload-itself-are-instances", requires=AFFINITY)
async def _joins_itself(subject: SchedulerUnderTest) -> None:
    view = cluster(node("n1"), node_view(node("n2"), [sibling(9, epoch=3, labels=_WEB)]), node("n3"))
    await expect_placed(
        subject,
        asking(_wanting(_near(app="web")), slots=2),
        view,
        "n2",
        "n2",
        rule="an instance of the workload is there",
    )


@KIT.clause("AFFINITY-5", "the-first-of-those-that-want-to-be-together-may-go-anywhere", requires=AFFINITY)
async def _first(subject: SchedulerUnderTest) -> None:
    request = asking(_wanting(_near("zone", app="web")), slots=3)
    room = resources(cpu=20)
    view = cluster(_in_zone("n1", "a", room=room), node("n2", room=room))
    rule = "the others go where the first is, and a node in no zone is near nobody"
    await expect_placed(subject, request, view, "n1", "n1", None, rule=rule)


@KIT.clause("AFFINITY-5", "a-workload-without-the-labels-has-to-wait-for-others", requires=AFFINITY)
async def _not_first(subject: SchedulerUnderTest) -> None:
    view = cluster(node("n1"), node("n2"))
    await expect_refused(subject, asking(_wanting(_near(app="db"))), view, Predicate.INSTANCE_AFFINITY)
    await expect_refused(subject, asking(_wanting(_near(app="web", tier="x"))), view, Predicate.INSTANCE_AFFINITY)


@KIT.clause("AFFINITY-5", "where-there-is-one-already-nobody-is-the-first", requires=AFFINITY)
async def _already_one(subject: SchedulerUnderTest) -> None:
    full = node_view(node("n2", room=resources(cpu=9)), [neighbour(0, labels=_WEB)])
    request = asking(_wanting(_near(app="web")))
    await expect_refused(subject, request, cluster(node("n1"), full), Predicate.INSTANCE_AFFINITY)
    nowhere = node_view(node("n2"), [neighbour(0, labels=_WEB)])
    in_zones = asking(_wanting(_near("zone", app="web")))
    await expect_refused(subject, in_zones, cluster(_in_zone("n1", "a"), nowhere), Predicate.INSTANCE_AFFINITY)
    await expect_node(subject, in_zones, cluster(_in_zone("n1", "a"), node("n2")), "n1")


@KIT.clause("AFFINITY-6", "a-node-keeps-away-from-those-in-its-domain", requires=AFFINITY)
async def _away_by_domain(subject: SchedulerUnderTest) -> None:
    view = cluster(
        node_view(_in_zone("n1", "a"), [neighbour(0, labels=_DB)]),
        _in_zone("n2", "a"),
        _in_zone("n3", "b"),
    )
    await expect_node(subject, asking(_wanting(_away("zone"))), view, "n3")
    without = view.changed(removed=[NodeId("n3")])
    await expect_refused(subject, asking(_wanting(_away("zone"))), without, Predicate.INSTANCE_AFFINITY)
    await expect_node(subject, asking(_wanting(_away("node"))), without, "n2")


@KIT.clause("AFFINITY-6", "slots-that-keep-away-from-each-other-get-a-domain-each", requires=AFFINITY)
async def _apart(subject: SchedulerUnderTest) -> None:
    request = asking(_wanting(_away("zone", app="web")), slots=3)
    taken = node_view(_in_zone("n3", "b"), [sibling(9, labels=_WEB)])
    view = cluster(_in_zone("n1", "a"), taken, _in_zone("n4", "c"))
    rule = "zone b has one already, and each other zone after a slot"
    await expect_placed(subject, request, view, "n1", "n4", None, rule=rule, in_any_order=True)
    old = cluster(node_view(node("n1"), [sibling(9, labels={"app": "old"})]))
    await expect_placed(
        subject, asking(_wanting(_away(app="web")), slots=2), old, "n1", None, rule="an instance has the labels it got"
    )


@KIT.clause("AFFINITY-7", "in-no-domain-there-is-nobody-to-keep-away-from", requires=AFFINITY)
async def _away_without_domain(subject: SchedulerUnderTest) -> None:
    view = cluster(node_view(node("n1"), [neighbour(0, labels=_DB)]))
    for by in ("zone", "row"):
        await expect_node(subject, asking(_wanting(_away(by))), view, "n1")
    rule = "the slots are in no zone, so not in the same"
    await expect_placed(subject, asking(_wanting(_away("zone", app="web")), slots=2), view, "n1", "n1", rule=rule)


@KIT.clause("AFFINITY-8", "those-that-an-affinity-is-about-are-not-bound-by-it", requires=AFFINITY)
async def _one_way(subject: SchedulerUnderTest) -> None:
    shy = _wanting(_away(app="db"))
    await expect_node(subject, asking(shy), one(node()), "n1")
    view = one(node(), sibling(0, labels=_WEB))
    other = evolve(neighbour(0).key, index=1)
    metadata = evolve(shy.metadata, name="db", uid=other.workload_id, labels=_DB)
    unbound = workload(container(wants=resources(cpu=10)))
    request = evolve(asking(unbound), workload=evolve(unbound, metadata=metadata), slots=(other,))
    await expect_node(subject, request, view, "n1")


def _add(subject: str, amount: int) -> PlacementChange:
    return PlacementChange(kind=ChangeKind.ADD_NODE, subject=subject, amount=amount)


@KIT.clause("CHANGE-3", "a-new-node-helps-where-it-may-join-a-domain", requires=AFFINITY)
async def _new_node_joins(subject: SchedulerUnderTest) -> None:
    cpu = _add("cpu_millicores", 10)
    full = node_view(_in_zone("n1", "a", room=resources()), [neighbour(0, labels=_DB)])
    for affinities, expected in (
        ((_near("zone"),), (cpu,)),
        ((_near("node"),), ()),
        ((_near("zone", app="cache"),), ()),
        ((_near("zone", app="web"),), (cpu,)),
        ((_near("zone"), _away("zone", app="db")), ()),
        ((_away("zone"),), (cpu,)),
    ):
        explanation = await expect_refused(subject, asking(_wanting(*affinities)), cluster(full), Predicate.RESOURCE)
        change = explanation.smallest_change
        assert change == expected, f"with {affinities}: expected {expected}, got {change}"
