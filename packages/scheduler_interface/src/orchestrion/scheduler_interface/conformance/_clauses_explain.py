"""Explanations are true and complete."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from math import isclose

from orchestrion.conformance_kit import Runner
from orchestrion.scheduler_interface import (
    AssignNode,
    Explanation,
    NoPlacement,
    Predicate,
    ScheduleDecision,
    SchedulerCapability,
    node_view,
)
from orchestrion.shared_types import NodeId, NodeStatus, Taint

from ._build import asking, cluster, container, neighbour, node, resources, tcp, workload
from ._kit import KIT, SchedulerUnderTest, decide_one, expect_placed, expect_refused, for_all_situations
from ._oracle import complaints, demand, free
from ._replay import Step, replay
from ._situations import Situation

Abilities = frozenset[SchedulerCapability]
Examine = Callable[[Situation, Step, Explanation, Abilities], None]

MAX_SAMPLES = 5


def _for_all_explanations(run: Runner[SchedulerUnderTest], examine: Examine, *, refusals_only: bool = False) -> None:
    def examine_all(situation: Situation, decisions: list[ScheduleDecision], abilities: Abilities) -> None:
        for step in replay(situation.request, situation.view, decisions, abilities):
            explanation = step.decision.explanation
            refused = isinstance(step.decision, NoPlacement)
            if explanation is not None and step.held_by is None and (refused or not refusals_only):
                examine(situation, step, explanation, abilities)

    for_all_situations(run, examine_all)


def _claims(explanation: Explanation) -> set[tuple[NodeId, Predicate, str]]:
    return {(node_id, group.predicate, group.dimension) for group in explanation.groups for node_id in group.samples}


def _facts(situation: Situation, step: Step, abilities: Abilities) -> set[tuple[NodeId, Predicate, str]]:
    request = situation.request
    return {
        (node_id, predicate, dimension)
        for node_id in step.world
        for predicate, dimension in complaints(request.workload, node_id, step.world, abilities, request.only_node)
    }


@KIT.property_clause("EXPLAIN-1", "groups-name-only-nodes-that-fail-for-their-reason")
def _groups_are_true(run: Runner[SchedulerUnderTest]) -> None:
    def examine(situation: Situation, step: Step, explanation: Explanation, abilities: Abilities) -> None:
        wrong = _claims(explanation) - _facts(situation, step, abilities)
        assert not wrong, f"not true: {wrong}"

    _for_all_explanations(run, examine)


@KIT.property_clause("EXPLAIN-1", "counts-and-samples-agree")
def _counts_agree(run: Runner[SchedulerUnderTest]) -> None:
    def examine(_situation: Situation, _step: Step, explanation: Explanation, _abilities: Abilities) -> None:
        for group in explanation.groups:
            in_order = list(group.samples) == sorted(set(group.samples))
            assert in_order, f"samples are ascending by id, each once: {group}"
            enough = len(group.samples) == min(group.node_count, MAX_SAMPLES)
            assert enough, f"samples are all nodes, or {MAX_SAMPLES} where there are more: {group}"
        keys = Counter((group.predicate, group.detail, group.dimension) for group in explanation.groups)
        assert set(keys.values()) <= {1}, f"groups that are not apart: {keys}"

    _for_all_explanations(run, examine)


@KIT.clause("EXPLAIN-1", "of-many-nodes-the-first-are-samples")
async def _first_samples(subject: SchedulerUnderTest) -> None:
    small = [node(f"n{number:02}", room=resources(cpu=9)) for number in range(9)]
    closed = [node(f"m{number:02}", cordoned=True) for number in range(7)]
    request = asking(workload(container(wants=resources(cpu=10))))
    explanation = await expect_refused(subject, request, cluster(*small, *closed), Predicate.RESOURCE)
    found = {group.predicate: (group.node_count, group.samples) for group in explanation.groups}
    assert found == {
        Predicate.RESOURCE: (9, ("n00", "n01", "n02", "n03", "n04")),
        Predicate.CORDONED: (7, ("m00", "m01", "m02", "m03", "m04")),
    }, explanation


@KIT.property_clause("EXPLAIN-2", "every-reason-of-every-node-is-told")
def _groups_are_complete(run: Runner[SchedulerUnderTest]) -> None:
    def examine(situation: Situation, step: Step, explanation: Explanation, abilities: Abilities) -> None:
        missing = _facts(situation, step, abilities) - _claims(explanation)
        assert not missing, f"not told: {missing}"

    _for_all_explanations(run, examine)


@KIT.clause("EXPLAIN-2", "each-taint-and-each-port-is-a-reason-of-its-own")
async def _each_its_own(subject: SchedulerUnderTest) -> None:
    tainted = node(taints=(Taint("gpu", "only"), Taint("old")))
    holding = neighbour(host_ports=frozenset({tcp(80), tcp(443)}))
    request = asking(workload(container(ports=(tcp(80), tcp(443)))))
    explanation = await expect_refused(subject, request, cluster(node_view(tainted, [holding])), Predicate.TAINT)
    kinds = Counter(group.predicate for group in explanation.groups)
    assert kinds == {Predicate.TAINT: 2, Predicate.HOST_PORT: 2}, explanation


@KIT.property_clause("EXPLAIN-3", "needed-and-best-free-are-right")
def _amounts_are_right(run: Runner[SchedulerUnderTest]) -> None:
    def examine(situation: Situation, step: Step, explanation: Explanation, _abilities: Abilities) -> None:
        for group in explanation.groups:
            if group.predicate is Predicate.RESOURCE:
                needed = demand(situation.request.workload)[group.dimension]
                best = max(free(step.world[node_id], group.dimension) for node_id in group.samples)
                text = f"{group.dimension}: {needed} asked for and {best} free at best on {', '.join(group.samples)}"
                assert (group.needed, group.best_free) == (needed, best), f"{text}; the group says {group}"
            else:
                amounts = (group.dimension, group.needed, group.best_free)
                assert amounts == ("", 0, 0), f"only groups of {Predicate.RESOURCE} have amounts: {group}"

    _for_all_explanations(run, examine)


@KIT.clause("EXPLAIN-3", "best-free-is-the-best-of-all-nodes-and-after-the-slots-before")
async def _best_of_all(subject: SchedulerUnderTest) -> None:
    sizes = [node(f"n{number}", room=resources(cpu=number)) for number in range(9)]
    request = asking(workload(container(wants=resources(cpu=10))))
    explanation = await expect_refused(subject, request, cluster(*sizes), Predicate.RESOURCE)
    _expect_amounts(explanation, 10, 8, "nodes have 0 to 8 free, of which 5 may be samples")
    twice = asking(workload(container(wants=resources(cpu=5))), slots=2)
    rule = "the first slot leaves 3 of 8"
    decisions = await expect_placed(subject, twice, cluster(node(room=resources(cpu=8))), "n1", None, rule=rule)
    if decisions[1].explanation is not None:
        _expect_amounts(decisions[1].explanation, 5, 3, rule)


def _expect_amounts(explanation: Explanation, needed: int, best_free: int, rule: str) -> None:
    found = [(group.needed, group.best_free) for group in explanation.groups]
    assert found == [(needed, best_free)], (
        f"expected one group with {needed} needed and {best_free} free at best, since {rule}; got {explanation.groups}"
    )


@KIT.property_clause("EXPLAIN-4", "groups-with-most-nodes-come-first")
def _order(run: Runner[SchedulerUnderTest]) -> None:
    def examine(_situation: Situation, _step: Step, explanation: Explanation, _abilities: Abilities) -> None:
        order = [(-g.node_count, g.predicate.value, g.detail, g.dimension) for g in explanation.groups]
        assert order == sorted(order), f"(-node_count, predicate, detail, dimension) are not ascending: {order}"

    _for_all_explanations(run, examine)


@KIT.clause("EXPLAIN-5", "other-nodes-than-the-only-one-fail-for-nothing-else")
async def _others_fail_once(subject: SchedulerUnderTest) -> None:
    nodes = [node(f"n{number}", cordoned=True, status=NodeStatus.DOWN) for number in range(8)]
    request = asking(workload(), only_node=NodeId("n2"))
    explanation = await expect_refused(subject, request, cluster(*nodes), Predicate.OTHER_NODE)
    found = {group.predicate: (group.node_count, group.samples) for group in explanation.groups}
    assert found == {
        Predicate.OTHER_NODE: (7, ("n0", "n1", "n3", "n4", "n5")),
        Predicate.CORDONED: (1, ("n2",)),
        Predicate.NODE_STATUS: (1, ("n2",)),
    }, explanation


@KIT.property_clause("EXPLAIN-6", "all-nodes-of-the-view-are-considered")
def _considered(run: Runner[SchedulerUnderTest]) -> None:
    def examine(situation: Situation, decisions: list[ScheduleDecision], _abilities: Abilities) -> None:
        for decision in decisions:
            if decision.explanation is not None:
                told = decision.explanation.nodes_considered
                assert told == len(situation.view), f"the view has {len(situation.view)} nodes, told are {told}"

    for_all_situations(run, examine)


@KIT.property_clause("EXPLAIN-7", "the-closest-fail-for-the-fewest-reasons")
def _closest(run: Runner[SchedulerUnderTest]) -> None:
    def examine(situation: Situation, _step: Step, explanation: Explanation, _abilities: Abilities) -> None:
        reasons = Counter(node_id for group in explanation.groups for node_id in group.samples)
        only = situation.request.only_node
        eligible = [node_id for node_id in reasons if only in (None, node_id)]
        expected = sorted(eligible, key=lambda node_id: (reasons[node_id], node_id))[:3]
        closest = list(explanation.closest)
        assert closest == expected, f"the closest are {expected}, by number of groups and id; told are {closest}"

    _for_all_explanations(run, examine, refusals_only=True)


@KIT.clause("EXPLAIN-7", "an-assignment-has-no-closest-nodes")
async def _no_closest(subject: SchedulerUnderTest) -> None:
    view = cluster(node("n1", cordoned=True), node("n2"))
    decision = await decide_one(subject, asking(workload(), explain=True), view)
    assert decision.explanation is not None, f"asked for an explanation, got {decision}"
    assert decision.explanation.closest == (), f"an assignment with closest nodes: {decision}"


@KIT.property_clause("EXPLAIN-8", "the-chosen-node-has-the-highest-score")
def _scores(run: Runner[SchedulerUnderTest]) -> None:
    def examine(situation: Situation, step: Step, explanation: Explanation, abilities: Abilities) -> None:
        scores = explanation.scores
        if isinstance(step.decision, NoPlacement):
            assert not scores, f"a refusal with scores: {scores}"
        elif scores and isinstance(step.decision, AssignNode):
            chosen = scores.get(step.decision.node_id)
            assert chosen == max(scores.values()), f"node {step.decision.node_id!r} was chosen, and scores {scores}"
            assert len(scores) <= 2, f"scores of others than the chosen node and the runner-up: {scores}"
            request = situation.request
            for node_id in scores:
                failed = complaints(request.workload, node_id, step.world, abilities, request.only_node)
                assert not failed, f"node {node_id!r} was scored and fails {failed}"

    _for_all_explanations(run, examine)


@KIT.clause("EXPLAIN-8", "scores-if-there-are-any-tell-the-choice")
async def _scores_of_two(subject: SchedulerUnderTest) -> None:
    request = asking(workload(container(wants=resources(cpu=50))), explain=True)
    for rooms in ((100, 1000), (1000, 100)):
        view = cluster(*(node(f"n{number}", room=resources(cpu=room)) for number, room in enumerate(rooms)))
        decision = await decide_one(subject, request, view)
        assert isinstance(decision, AssignNode), decision
        assert decision.explanation is not None
        scores = decision.explanation.scores
        assert not scores or scores[decision.node_id] == max(scores.values()), decision


@KIT.property_clause("EXPLAIN-9", "parts-add-up-to-the-scores")
def _parts(run: Runner[SchedulerUnderTest]) -> None:
    def examine(_situation: Situation, _step: Step, explanation: Explanation, _abilities: Abilities) -> None:
        scores, parts = explanation.scores, explanation.parts
        assert not parts or parts.keys() == scores.keys(), f"parts of {sorted(parts)}, scores of {sorted(scores)}"
        for node_id, names in parts.items():
            total = sum(names.values())
            alike = isclose(total, scores[node_id], rel_tol=1e-9, abs_tol=1e-6)
            assert alike, f"node {node_id!r}: the parts {names} add up to {total}, not to {scores[node_id]}"

    _for_all_explanations(run, examine)


@KIT.property_clause("EXPLAIN-10", "weights-are-positive")
def _weights(run: Runner[SchedulerUnderTest]) -> None:
    def examine(_situation: Situation, _step: Step, explanation: Explanation, _abilities: Abilities) -> None:
        wrong = {name: weight for name, weight in explanation.weights.items() if weight <= 0}
        assert not wrong, f"weights that no part can have been multiplied by: {wrong}"

    _for_all_explanations(run, examine)
