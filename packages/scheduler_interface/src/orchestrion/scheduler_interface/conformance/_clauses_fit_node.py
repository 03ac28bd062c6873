"""Predicates about what a node is, each alone."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from orchestrion.scheduler_interface import Predicate
from orchestrion.shared_types import (
    Drain,
    Expression,
    NodeCondition,
    NodeId,
    NodeStatus,
    Operator,
    Taint,
    TaintEffect,
    Toleration,
    Topology,
)

from ._build import asking, cluster, container, node, one, workload
from ._kit import KIT, SchedulerUnderTest, expect_node, expect_refused

_STRICT = (TaintEffect.NO_SCHEDULE, TaintEffect.NO_EXECUTE)


@KIT.clause("FIT-1", "a-ready-node-takes-work")
async def _ready(subject: SchedulerUnderTest) -> None:
    await expect_node(subject, asking(workload()), one(node(status=NodeStatus.READY)), "n1")


@KIT.clause("FIT-1", "a-node-of-any-other-status-takes-none")
async def _not_ready(subject: SchedulerUnderTest) -> None:
    for status in NodeStatus:
        if status is not NodeStatus.READY:
            await expect_refused(subject, asking(workload()), one(node(status=status)), Predicate.NODE_STATUS)


@KIT.clause("FIT-2", "a-cordoned-node-takes-none")
async def _cordoned(subject: SchedulerUnderTest) -> None:
    view = cluster(node("n1", cordoned=True), node("n2"))
    await expect_node(subject, asking(workload()), view, "n2")
    await expect_refused(subject, asking(workload()), one(node(cordoned=True)), Predicate.CORDONED)


@KIT.clause("FIT-2", "a-node-that-is-drained-takes-none")
async def _drained(subject: SchedulerUnderTest) -> None:
    drained = node(cordoned=True, drain=Drain(reason="upkeep"))
    await expect_refused(subject, asking(workload()), one(drained), Predicate.CORDONED)


@KIT.clause("FIT-3", "a-node-with-an-active-condition-takes-none")
async def _active_condition(subject: SchedulerUnderTest) -> None:
    conditions = (NodeCondition(type="Fine", active=False), NodeCondition(type="DiskPressure", active=True))
    await expect_refused(subject, asking(workload()), one(node(conditions=conditions)), Predicate.NODE_CONDITION)


@KIT.clause("FIT-3", "a-condition-that-is-not-active-refuses-nothing")
async def _inactive_condition(subject: SchedulerUnderTest) -> None:
    conditions = (NodeCondition(type="DiskPressure", active=False),)
    await expect_node(subject, asking(workload()), one(node(conditions=conditions)), "n1")


@KIT.clause("FIT-4", "only-the-node-that-is-named-takes-the-slot")
async def _only_node(subject: SchedulerUnderTest) -> None:
    view = cluster(node("n1"), node("n2"), node("n3"))
    for name in ("n1", "n2", "n3"):
        await expect_node(subject, asking(workload(), only_node=NodeId(name)), view, name)


@KIT.clause("FIT-4", "a-slot-for-a-node-that-is-not-there-is-refused")
async def _only_node_unknown(subject: SchedulerUnderTest) -> None:
    request = asking(workload(), only_node=NodeId("n9"))
    await expect_refused(subject, request, cluster(node("n1"), node("n2")), Predicate.OTHER_NODE)


@KIT.clause("FIT-4", "the-node-that-is-named-still-has-to-pass")
async def _only_node_passes(subject: SchedulerUnderTest) -> None:
    view = cluster(node("n1", cordoned=True), node("n2"))
    await expect_refused(subject, asking(workload(), only_node=NodeId("n1")), view, Predicate.CORDONED)


@KIT.clause("FIT-5", "a-node-needs-the-drivers-of-all-containers")
async def _drivers(subject: SchedulerUnderTest) -> None:
    both = workload(container("a", driver="process"), container("b", driver="docker"))
    view = cluster(
        node("n1", drivers=frozenset({"process"})),
        node("n2", drivers=frozenset({"docker"})),
        node("n3", drivers=frozenset({"docker", "process", "slurm"})),
    )
    await expect_node(subject, asking(both), view, "n3")
    await expect_refused(subject, asking(both), view.changed(removed=[NodeId("n3")]), Predicate.DRIVER)


@KIT.clause("FIT-5", "an-image-without-a-driver-wants-docker")
async def _default_driver(subject: SchedulerUnderTest) -> None:
    image = workload(evolve(container(), image="registry/web:1", command=()))
    await expect_refused(subject, asking(image), one(node()), Predicate.DRIVER)
    await expect_node(subject, asking(image), one(node(drivers=frozenset({"docker"}))), "n1")


@KIT.clause("FIT-6", "a-node-needs-all-labels-that-are-selected")
async def _selectors(subject: SchedulerUnderTest) -> None:
    wanted = workload(select={"disk": "ssd", "gen": "2"})
    view = cluster(
        node("n1", labels={"disk": "ssd"}),
        node("n2", labels={"disk": "hdd", "gen": "2"}),
        node("n3", labels={"gen": "2", "disk": "ssd", "more": "yes"}),
    )
    await expect_node(subject, asking(wanted), view, "n3")
    await expect_refused(subject, asking(wanted), view.changed(removed=[NodeId("n3")]), Predicate.SELECTOR)


@KIT.clause("FIT-6", "selectors-match-topology-and-name")
async def _topology_selectors(subject: SchedulerUnderTest) -> None:
    view = cluster(
        node("n1", topology=Topology(region="eu", zone="a", rack="r1"), name="alpha"),
        node("n2", topology=Topology(region="us", zone="b", rack="r2"), name="beta"),
    )
    second = {"region": "us", "zone": "b", "rack": "r2", "node": "beta"}
    for key, value in second.items():
        await expect_node(subject, asking(workload(select={key: value})), view, "n2")
        absent = asking(workload(select={key: "elsewhere"}))
        await expect_refused(subject, absent, view, Predicate.SELECTOR)


@KIT.clause("FIT-6", "selectors-on-topology-match-labels-too")
async def _topology_labels(subject: SchedulerUnderTest) -> None:
    view = cluster(node("n1"), node("n2", labels={"zone": "a"}, topology=Topology(zone="b")))
    await expect_node(subject, asking(workload(select={"zone": "a"})), view, "n2")
    await expect_node(subject, asking(workload(select={"zone": "b"})), view, "n2")


@KIT.clause("FIT-6", "a-topology-that-is-unknown-matches-nothing")
async def _unknown_topology(subject: SchedulerUnderTest) -> None:
    await expect_refused(subject, asking(workload(select={"zone": ""})), one(node()), Predicate.SELECTOR)


async def _expect_expression(
    subject: SchedulerUnderTest, operator: Operator, values: tuple[str, ...], matches: dict[str | None, bool]
) -> None:
    """Assert which values of the label match; None is a node without it."""
    request = asking(workload(expressions=(Expression(key="gen", operator=operator, values=values),)))
    for value, expected in matches.items():
        view = one(node(labels={} if value is None else {"gen": value}))
        if expected:
            await expect_node(subject, request, view, "n1")
        else:
            await expect_refused(subject, request, view, Predicate.EXPRESSION)


@KIT.clause("FIT-7", "in-matches-one-of-its-values")
async def _in(subject: SchedulerUnderTest) -> None:
    await _expect_expression(subject, Operator.IN, ("1", "2"), {"1": True, "2": True, "3": False, None: False})


@KIT.clause("FIT-7", "not-in-matches-other-values-and-no-label")
async def _not_in(subject: SchedulerUnderTest) -> None:
    await _expect_expression(subject, Operator.NOT_IN, ("1", "2"), {"1": False, "2": False, "3": True, None: True})


@KIT.clause("FIT-7", "exists-matches-any-value")
async def _exists(subject: SchedulerUnderTest) -> None:
    await _expect_expression(subject, Operator.EXISTS, (), {"1": True, "": True, None: False})


@KIT.clause("FIT-7", "does-not-exist-matches-no-label")
async def _does_not_exist(subject: SchedulerUnderTest) -> None:
    await _expect_expression(subject, Operator.DOES_NOT_EXIST, (), {"1": False, "": False, None: True})


@KIT.clause("FIT-7", "gt-compares-whole-numbers")
async def _greater(subject: SchedulerUnderTest) -> None:
    matches = {"9": False, "10": False, "11": True, "100": True, "-11": False, "11.5": False, "x": False, None: False}
    await _expect_expression(subject, Operator.GREATER, ("10",), matches)


@KIT.clause("FIT-7", "lt-compares-whole-numbers")
async def _less(subject: SchedulerUnderTest) -> None:
    matches = {"9": True, "10": False, "11": False, "-100": True, "9.5": False, "": False, None: False}
    await _expect_expression(subject, Operator.LESS, ("10",), matches)


@KIT.clause("FIT-7", "all-expressions-have-to-match")
async def _all_expressions(subject: SchedulerUnderTest) -> None:
    expressions = (
        Expression(key="gen", operator=Operator.GREATER, values=("1",)),
        Expression(key="gen", operator=Operator.LESS, values=("4",)),
        Expression(key="disk", operator=Operator.EXISTS),
    )
    request = asking(workload(expressions=expressions))
    view = cluster(
        node("n1", labels={"gen": "2"}),
        node("n2", labels={"gen": "4", "disk": "ssd"}),
        node("n3", labels={"gen": "3", "disk": "ssd"}),
    )
    await expect_node(subject, request, view, "n3")
    await expect_refused(subject, request, view.changed(removed=[NodeId("n3")]), Predicate.EXPRESSION)


@KIT.clause("FIT-8", "a-taint-that-is-not-tolerated-refuses")
async def _taints(subject: SchedulerUnderTest) -> None:
    for effect in _STRICT:
        view = one(node(taints=(Taint("gpu", "only", effect),)))
        await expect_refused(subject, asking(workload()), view, Predicate.TAINT)


@KIT.clause("FIT-8", "a-toleration-matches-by-key-value-and-effect")
async def _tolerations(subject: SchedulerUnderTest) -> None:
    cases: list[tuple[dict[str, Any], bool]] = [
        ({}, True),
        ({"key": "gpu"}, True),
        ({"key": "gpu", "value": "only"}, True),
        ({"value": "only"}, True),
        ({"key": "gpu", "value": "only", "effect": TaintEffect.NO_SCHEDULE}, True),
        ({"effect": TaintEffect.NO_SCHEDULE}, True),
        ({"key": "gp"}, False),
        ({"key": "gpu", "value": ""}, False),
        ({"key": "gpu", "value": "other"}, False),
        ({"key": "gpu", "effect": TaintEffect.NO_EXECUTE}, False),
        ({"key": "only"}, False),
    ]
    view = one(node(taints=(Taint("gpu", "only", TaintEffect.NO_SCHEDULE),)))
    for attributes, tolerated in cases:
        request = asking(workload(tolerations=(Toleration(**attributes),)))
        if tolerated:
            await expect_node(subject, request, view, "n1")
        else:
            await expect_refused(subject, request, view, Predicate.TAINT)


@KIT.clause("FIT-8", "every-taint-has-to-be-tolerated")
async def _every_taint(subject: SchedulerUnderTest) -> None:
    view = one(node(taints=(Taint("gpu", "only"), Taint("old", "", TaintEffect.NO_EXECUTE))))
    one_of_them = asking(workload(tolerations=(Toleration(key="gpu"),)))
    await expect_refused(subject, one_of_them, view, Predicate.TAINT)
    both = asking(workload(tolerations=(Toleration(key="old"), Toleration(key="gpu"))))
    await expect_node(subject, both, view, "n1")


@KIT.clause("FIT-8", "a-taint-that-is-tolerated-for-a-time-refuses-nothing")
async def _tolerated_for_a_time(subject: SchedulerUnderTest) -> None:
    view = one(node(taints=(Taint("old", "", TaintEffect.NO_EXECUTE),)))
    request = asking(workload(tolerations=(Toleration(key="old", seconds=5.0),)))
    await expect_node(subject, request, view, "n1")


@KIT.clause("FIT-9", "prefer-no-schedule-refuses-nothing")
async def _prefer_no_schedule(subject: SchedulerUnderTest) -> None:
    view = one(node(taints=(Taint("old", "", TaintEffect.PREFER_NO_SCHEDULE),)))
    await expect_node(subject, asking(workload()), view, "n1")
