"""The capability `spread`: spreads that are required."""

from __future__ import annotations

from collections import Counter
from typing import Any

from orchestrion.scheduler_interface import (
    AssignNode,
    NoPlacement,
    Predicate,
    ScheduleDecision,
    SchedulerCapability,
    node_view,
)
from orchestrion.shared_types import Node, NodeStatus, Spread, Topology

from ._build import asking, cluster, container, neighbour, node, one, resources, sibling, workload
from ._kit import KIT, SchedulerUnderTest, decide, expect_node, expect_refused

SPREAD = SchedulerCapability.SPREAD


def _in_zone(name: str, zone: str, **attributes: Any) -> Node:
    return node(name, topology=Topology(zone=zone), **attributes)


def _placed(decisions: list[ScheduleDecision]) -> Counter[str]:
    return Counter(str(each.node_id) for each in decisions if isinstance(each, AssignNode))


@KIT.clause("SPREAD-1", "a-node-without-a-domain-is-refused", requires=SPREAD)
async def _no_domain(subject: SchedulerUnderTest) -> None:
    request = asking(workload(spreads=(Spread(by="zone", required=True),)))
    await expect_refused(subject, request, one(node()), Predicate.SPREAD)
    await expect_node(subject, request, cluster(node("n1"), _in_zone("n2", "a")), "n2")


@KIT.clause("SPREAD-1", "any-label-makes-a-domain", requires=SPREAD)
async def _label_domain(subject: SchedulerUnderTest) -> None:
    request = asking(workload(spreads=(Spread(by="row", required=True),)), slots=4)
    view = cluster(node("n1", labels={"row": "a"}), node("n2", labels={"row": "b"}), node("n3"))
    assert _placed(await decide(subject, request, view)) == {"n1": 2, "n2": 2}


@KIT.clause("SPREAD-2", "domains-are-filled-evenly", requires=SPREAD)
async def _evenly(subject: SchedulerUnderTest) -> None:
    view = cluster(_in_zone("n1", "a"), _in_zone("n2", "a"), _in_zone("n3", "b"), _in_zone("n4", "c"))
    request = asking(workload(spreads=(Spread(by="zone", required=True),)), slots=9)
    placed = _placed(await decide(subject, request, view))
    assert placed["n1"] + placed["n2"] == placed["n3"] == placed["n4"] == 3, placed


@KIT.clause("SPREAD-2", "exceeding-the-skew-refuses", requires=SPREAD)
async def _exceeds(subject: SchedulerUnderTest) -> None:
    full = _in_zone("n2", "b", room=resources(cpu=100))
    view = cluster(_in_zone("n1", "a"), full)
    for max_skew in (1, 2, 3):
        spread = Spread(by="zone", max_skew=max_skew, required=True)
        request = asking(workload(container(wants=resources(cpu=101)), spreads=(spread,)), slots=5)
        decisions = await decide(subject, request, view)
        expected = [*[AssignNode] * max_skew, *[NoPlacement] * (5 - max_skew)]
        assert [type(decision) for decision in decisions] == expected, decisions


@KIT.clause("SPREAD-2", "instances-of-the-view-count-and-those-of-others-do-not", requires=SPREAD)
async def _counts_own(subject: SchedulerUnderTest) -> None:
    request = asking(workload(spreads=(Spread(by="node", required=True),)))
    first = node_view(node("n1"), [sibling(7), sibling(8, epoch=3)])
    second = node_view(node("n2"), [neighbour(index) for index in range(5)] + [sibling(9)])
    await expect_node(subject, request, cluster(first, second), "n2")


@KIT.clause("SPREAD-2", "all-required-spreads-have-to-hold", requires=SPREAD)
async def _all_spreads(subject: SchedulerUnderTest) -> None:
    spreads = (Spread(by="zone", required=True), Spread(by="node", required=True))
    full = _in_zone("n2", "a", room=resources())
    view = cluster(_in_zone("n1", "a"), full, _in_zone("n3", "b"))
    for both in (spreads, spreads[::-1]):
        request = asking(workload(container(wants=resources(cpu=1)), spreads=both), slots=3)
        decisions = await decide(subject, request, view)
        assert _placed(decisions) == {"n1": 1, "n3": 1}, decisions
        assert isinstance(decisions[2], NoPlacement), decisions


@KIT.clause("SPREAD-3", "a-domain-that-is-down-or-does-not-match-does-not-count", requires=SPREAD)
async def _ineligible(subject: SchedulerUnderTest) -> None:
    spread = Spread(by="zone", required=True)
    request = asking(workload(select={"disk": "ssd"}, spreads=(spread,)), slots=3)
    ssd = {"disk": "ssd"}
    down = _in_zone("n2", "b", labels=ssd, status=NodeStatus.DOWN)
    view = cluster(_in_zone("n1", "a", labels=ssd), down, _in_zone("n3", "c"))
    assert _placed(await decide(subject, request, view)) == {"n1": 3}


@KIT.clause("SPREAD-3", "a-domain-that-is-full-counts", requires=SPREAD)
async def _full(subject: SchedulerUnderTest) -> None:
    spread = Spread(by="zone", required=True)
    request = asking(workload(container(wants=resources(cpu=10)), spreads=(spread,)), slots=2)
    view = cluster(_in_zone("n1", "a"), _in_zone("n2", "b", room=resources(cpu=9)))
    decisions = await decide(subject, request, view)
    assert [type(decision) for decision in decisions] == [AssignNode, NoPlacement], decisions
