"""What nodes report of themselves is part of them, beside what the cluster manager and people say."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.orchestrator_core import (
    ConditionStatus,
    NodeMarks,
    NodeReport,
    ReportedCondition,
    marks_key,
    report_key,
    reported,
)
from orchestrion.shared_types import Node, NodeCondition, Placement, Taint, TaintEffect, from_json, to_json

from .core_stage import NODE, SECOND, Stage, service

LATER = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SLOW = ReportedCondition(type="SlowDisk", status=ConditionStatus.TRUE)
AWAY = Taint("disk", "slow", TaintEffect.NO_EXECUTE)
HERE = Placement(select={"node": NODE})

types = st.sampled_from(["A", "B", "C"])
taints = st.builds(Taint, st.sampled_from(["a", "b"]), st.sampled_from(["", "x"]), st.sampled_from(TaintEffect))
several_taints = st.lists(taints, unique_by=lambda taint: (taint.key, taint.effect)).map(tuple)
conditions = st.lists(
    st.builds(
        ReportedCondition,
        type=types,
        status=st.sampled_from(ConditionStatus),
        reason=st.sampled_from(["", "why"]),
        message=st.sampled_from(["", "for people"]),
        taint=st.none() | taints,
    ),
    unique_by=lambda condition: condition.type,
).map(tuple)
reports = st.builds(NodeReport, conditions=conditions, silent_since=st.none() | st.just(LATER))
told_conditions = st.lists(
    st.builds(NodeCondition, type=types, active=st.booleans()), unique_by=lambda condition: condition.type
).map(tuple)


@given(told_conditions, several_taints, reports)
def test_a_report_adds_to_what_is_told_and_changes_nothing_of_it(
    told: tuple[NodeCondition, ...], tainted: tuple[Taint, ...], report: NodeReport
) -> None:
    node = Node(id=NODE, name="one", conditions=told, taints=tainted)
    found = reported(node, report)
    assert found.conditions[: len(told)] == told
    by_type = {condition.type: condition for condition in found.conditions}
    assert set(by_type) == {each.type for each in told} | {each.type for each in report.conditions}
    assert len(by_type) == len(found.conditions)
    assert len({(taint.key, taint.effect) for taint in found.taints}) == len(found.taints)
    assert evolve(found, conditions=told, taints=tainted) == node
    assert from_json(to_json(report), NodeReport) == report


@given(reports)
def test_only_what_holds_and_is_believed_has_an_effect(report: NodeReport) -> None:
    found = reported(Node(id=NODE, name="one"), report)
    holding = [
        each for each in report.conditions if each.status is ConditionStatus.TRUE and report.silent_since is None
    ]
    assert {each.type for each in found.conditions if each.active} == {each.type for each in holding}
    places = {(each.taint.key, each.taint.effect) for each in holding if each.taint is not None}
    assert {(taint.key, taint.effect) for taint in found.taints} == places
    if report.silent_since is not None:
        assert all(each.unknown and each.since == LATER for each in found.conditions)


def test_a_condition_is_not_both_active_and_unknown() -> None:
    with pytest.raises(ValueError, match="not unknown"):
        NodeCondition(type="A", active=True, unknown=True)


async def test_a_report_has_its_effect_at_once_and_after_a_restart_and_until_it_is_gone(stage: Stage) -> None:
    await stage.apply(service(placement=HERE))
    assert stage.where("web") == [NODE]
    store = stage.orchestrator.store
    await store.put(report_key(NODE), to_json(NodeReport(conditions=(evolve(SLOW, taint=AWAY),))))
    await stage.settle()
    assert stage.where("web") == []
    await stage.restart()
    (node,) = [each for each in await stage.orchestrator.list_nodes() if each.id == NODE]
    assert [each.type for each in node.conditions if each.active] == ["SlowDisk"]
    assert stage.where("web") == []
    await stage.orchestrator.store.delete(report_key(NODE))
    await stage.settle()
    assert stage.where("web") == [NODE]


async def test_what_people_say_of_a_taint_goes_before_what_the_node_reports(stage: Stage) -> None:
    store = stage.orchestrator.store
    await store.put(report_key(SECOND), to_json(NodeReport(conditions=(evolve(SLOW, taint=AWAY),))))
    await store.put(marks_key(SECOND), to_json(NodeMarks(taints=(evolve(AWAY, value="tolerated"),))))
    await stage.settle()
    (node,) = [each for each in await stage.orchestrator.list_nodes() if each.id == SECOND]
    assert node.taints == (evolve(AWAY, value="tolerated"),)
