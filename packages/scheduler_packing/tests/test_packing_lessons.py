"""Scores that follow from what became of earlier placements: learned ones, and the history of nodes."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from orchestrion.scheduler_interface import (
    AssignNode,
    NodeView,
    PlacedInstance,
    SchedulingRequest,
    StaticClusterView,
    node_view,
)
from orchestrion.scheduler_packing import Learned, NodeHistory, PackingScheduler, Profile
from orchestrion.scheduler_packing._learned import LESSON, MAX_HISTORY, MAX_WEIGHT, features_of, sigmoid
from orchestrion.scheduler_packing._wanted import wanted_of
from orchestrion.shared_types import (
    ContainerConfig,
    InstanceKey,
    Metadata,
    Node,
    NodeId,
    Resources,
    Uid,
    WorkloadDefinition,
)

from .packing_histories import History
from .packing_naive import Case, features

UID = Uid("01900000-0000-7000-8000-000000000001")
SMALL = WorkloadDefinition(
    metadata=Metadata(name="small", uid=UID),
    containers=(ContainerConfig(name="main", resources=Resources(cpu_millicores=100)),),
)


def holding(name: str, cpu: int) -> NodeView:
    """A node of 1000 millicores of which so many are taken."""
    room = Resources(cpu_millicores=1000, memory_bytes=1000)
    key = InstanceKey(Uid(f"other-{name}"), 0, 1)
    other = PlacedInstance(key=key, namespace="default", workload="other", demand=Resources(cpu_millicores=cpu))
    return node_view(Node(id=NodeId(name), name=name, capacity=room, allocatable=room), [other])


CLUSTER = StaticClusterView([holding("busy", 800), holding("calm", 100)])


def chosen(scheduler: PackingScheduler) -> NodeId | None:
    request = SchedulingRequest(workload=SMALL, slots=(InstanceKey(UID, 0, 1),))
    (decision,) = trio.run(scheduler.schedule, request, CLUSTER)
    return decision.node_id if isinstance(decision, AssignNode) else None


def teach(learned: Learned, times: int) -> None:
    """Instances fare badly on busy nodes, and well on calm ones."""
    for each in range(times):
        busy = each % 2 == 0
        learned.observe(SMALL, holding("any", 800 if busy else 100), 0 if busy else 1000)


def loss(weights: tuple[int, ...]) -> float:
    """The cross entropy of what was taught."""
    total = 0.0
    for cpu, outcome in ((800, 0), (100, 1000)):
        logit = sum(map(int.__mul__, weights, features_of(wanted_of(SMALL), holding("any", cpu))))
        likely = sigmoid(logit if outcome else -logit) / 1000
        total -= math.log(likely)
    return total


LEARNED = Profile(name="mine", weights={"learned": 1})
PAST = Profile(name="mine", weights={"node-history": 1})


# -- learned


def test_where_instances_fared_well_they_are_placed() -> None:
    learned = Learned()
    scheduler = PackingScheduler(profile=LEARNED, learned=learned)
    assert chosen(scheduler) == "busy"
    teach(learned, LESSON)
    assert chosen(scheduler) == "calm"


def test_decisions_change_with_a_lesson_and_not_before() -> None:
    learned = Learned()
    scheduler = PackingScheduler(profile=LEARNED, learned=learned)
    teach(learned, LESSON - 1)
    assert chosen(scheduler) == "busy"
    assert learned.observe(SMALL, holding("any", 100), 1000)
    assert chosen(scheduler) == "calm"


def test_every_lesson_lessens_the_loss() -> None:
    learned, losses = Learned(), [loss(Learned().weights)]
    for _ in range(6):
        teach(learned, LESSON)
        losses.append(loss(learned.weights))
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] / 2


def test_weights_stay_within_bounds() -> None:
    extreme = [MAX_WEIGHT, *[-MAX_WEIGHT] * 7]
    learned = Learned.of_value({**Learned().to_value(), "weights": extreme})
    for _ in range(LESSON):
        learned.observe(SMALL, holding("any", 800), 1000)
    assert learned.weights[0] == MAX_WEIGHT
    assert learned.weights[1:] != tuple(extreme[1:])


def test_history_stays_within_bounds() -> None:
    learned = Learned()
    teach(learned, MAX_HISTORY + LESSON)
    assert len(learned.to_value()["history"]) == MAX_HISTORY


def test_what_is_kept_as_a_value_goes_on_as_if_it_had_never_ended() -> None:
    learned = Learned()
    teach(learned, LESSON + 5)
    again = Learned.of_value(json.loads(json.dumps(learned.to_value())))
    teach(learned, LESSON)
    teach(again, LESSON)
    assert again.weights == learned.weights
    assert again.to_value() == learned.to_value()


@pytest.mark.parametrize("seed", range(5))
def test_features_are_what_they_are_documented_to_be(seed: int) -> None:
    history = History(seed)
    view = StaticClusterView(node_view(node) for node in history.nodes)
    for step in history.steps():
        for node in view:
            case = Case(step.request.workload, step.request.slots[0], node, view)
            if all(asked <= free for free, _, asked in case.free_and_all()):
                assert list(features_of(wanted_of(step.request.workload), node)) == features(case)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "of schema 1"),
        ({"weights": [0] * 7}, "8 numbers are needed"),
        ({"weights": [MAX_WEIGHT + 1] + [0] * 7}, "has to be a whole number, -262144 to 262144"),
        ({"weights": [0.5] * 8}, "has to be a whole number"),
        ({"history": [[0] * 8]}, "9 numbers are needed"),
        ({"history": [[1001] * 9]}, "0 to 1000"),
        ({"history": [[0] * 9] * (MAX_HISTORY + 1)}, "at most 512 observations"),
        ({"history": None}, "at most 512 observations"),
        ({"pending": LESSON}, "0 to 31"),
    ],
)
def test_a_value_that_is_none_of_a_learned_score_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Learned.of_value({**Learned().to_value(), **change})


@pytest.mark.parametrize("outcome", [-1, 1001, True, 0.5])
def test_an_outcome_out_of_range_is_refused(outcome: int) -> None:
    with pytest.raises(ValueError, match="0 to 1000"):
        Learned().observe(SMALL, holding("any", 0), outcome)


# -- the history of nodes


def scores(history: NodeHistory, at_seconds: float) -> dict[NodeId, int]:
    history.publish(at_seconds=at_seconds)
    return dict(history.lesson)


def test_a_node_that_failed_lately_is_passed_over() -> None:
    history = NodeHistory()
    scheduler = PackingScheduler(profile=PAST, history=history)
    assert chosen(scheduler) == "busy"
    history.failed(NodeId("busy"), at_seconds=0)
    assert chosen(scheduler) == "busy"
    assert history.publish(at_seconds=0)
    assert chosen(scheduler) == "calm"


def test_a_failure_counts_half_with_every_half_life() -> None:
    history = NodeHistory(half_life_seconds=60)
    history.failed(NodeId("n"), at_seconds=100)
    assert [scores(history, at)[NodeId("n")] for at in (100, 160, 220)] == [500, 666, 800]


def test_what_is_long_past_is_forgotten() -> None:
    history = NodeHistory(half_life_seconds=60)
    history.failed(NodeId("n"), at_seconds=0)
    assert scores(history, 601) == {}
    assert history.to_value()["failures"] == []


def test_publishing_what_changes_no_score_says_so() -> None:
    history = NodeHistory()
    history.failed(NodeId("n"), at_seconds=0)
    assert [history.publish(at_seconds=0), history.publish(at_seconds=0)] == [True, False]


@settings(max_examples=30)
@given(times=st.lists(st.integers(0, 3000), min_size=1, max_size=6), data=st.data())
def test_failures_may_be_noted_in_any_order(times: list[int], data: st.DataObject) -> None:
    one, other = NodeHistory(), NodeHistory()
    for at in times:
        one.failed(NodeId("n"), at_seconds=at)
    for at in data.draw(st.permutations(times), label="in another order"):
        other.failed(NodeId("n"), at_seconds=at)
    assert abs(scores(one, 3000).get(NodeId("n"), 1000) - scores(other, 3000).get(NodeId("n"), 1000)) <= 1


def test_many_failures_count_up_to_a_bound() -> None:
    history = NodeHistory()
    for _ in range(5000):
        history.failed(NodeId("n"), at_seconds=0)
    assert scores(history, 0) == {"n": 0}
    assert scores(history, 600 * 30) == {}


def test_a_history_that_is_kept_as_a_value_scores_the_same() -> None:
    history = NodeHistory(half_life_seconds=50)
    history.failed(NodeId("a"), at_seconds=3)
    history.failed(NodeId("b"), at_seconds=4.5)
    again = NodeHistory.of_value(json.loads(json.dumps(history.to_value())))
    assert scores(again, 90) == scores(history, 90)


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 0},
        {"half_life_seconds": 0},
        {"failures": [["n", 1]]},
        {"failures": [["n", 1, math.nan]]},
        {"failures": 1},
    ],
)
def test_a_value_that_is_none_of_a_history_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no value of a node history"):
        NodeHistory.of_value({**NodeHistory().to_value(), **change})


def test_times_and_half_lives_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="has to be positive"):
        NodeHistory(half_life_seconds=0)
    with pytest.raises(ValueError, match="no moment"):
        NodeHistory().failed(NodeId("n"), at_seconds=math.inf)


@pytest.mark.parametrize(
    ("weights", "given", "message"),
    [
        ({"learned": 1}, {}, "'learned', which says nothing without learned="),
        ({"node-history": 1}, {}, "'node-history', which says nothing without history="),
        ({"binpack": 1}, {"learned": Learned()}, "no use for learned=: it does not weigh 'learned'"),
        ({"node-history": 0}, {"history": NodeHistory()}, "no use for history="),
    ],
)
def test_a_profile_and_what_it_is_given_go_together(
    weights: dict[str, int], given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        PackingScheduler(profile=Profile(name="mine", weights=weights), **given)
