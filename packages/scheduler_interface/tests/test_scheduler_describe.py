"""Explanations in words."""

from __future__ import annotations

import pytest
from orchestrion.scheduler_interface import (
    ChangeKind,
    Explanation,
    PlacementChange,
    Predicate,
    RefusalGroup,
    describe,
    describe_change,
    describe_score,
)
from orchestrion.shared_types import NodeId

MIB = 1024**2


def a_group(
    predicate: Predicate, nodes: int = 1, *, detail: str = "", dimension: str = "", needed: int = 0, best_free: int = 0
) -> RefusalGroup:
    samples = tuple(NodeId(f"n{number}") for number in range(min(nodes, 5)))
    return RefusalGroup(
        predicate=predicate,
        detail=detail,
        node_count=nodes,
        samples=samples,
        dimension=dimension,
        needed=needed,
        best_free=best_free,
    )


def test_groups_are_worded_with_counts_and_margins() -> None:
    memory = a_group(Predicate.RESOURCE, 3, dimension="memory_bytes", needed=1024 * MIB, best_free=512 * MIB)
    taint = a_group(Predicate.TAINT, 2, detail="gpu=only")
    assert describe(Explanation(groups=(memory, taint), nodes_considered=5)) == (
        "3 nodes: memory short by 512 MiB at best; 2 nodes: taint gpu=only"
    )


@pytest.mark.parametrize(
    ("reasons", "end"), [(9, "; 1 node: taint t8"), (10, "; 1 node: taint t7; and 2 more reasons")]
)
def test_of_very_many_reasons_the_first_are_worded(reasons: int, end: str) -> None:
    groups = tuple(a_group(Predicate.TAINT, detail=f"t{number}") for number in range(reasons))
    assert describe(Explanation(groups=groups, nodes_considered=reasons)).endswith(end)


def test_of_very_many_steps_the_first_are_worded() -> None:
    steps = [
        PlacementChange(kind=ChangeKind.TOLERATE_TAINT, node_id=NodeId("n1"), subject=f"t{number}")
        for number in range(20)
    ]
    words = describe_change(steps)
    assert words.startswith("on node n1: tolerate taint t0, tolerate taint t1, ")
    assert words.endswith("tolerate taint t7, and 12 more steps")


def test_nodes_that_fail_a_spread_for_their_own_sake_are_one_group() -> None:
    assert describe(Explanation(groups=(a_group(Predicate.SPREAD, 7, detail="node"),), nodes_considered=7)) == (
        "7 nodes: spread exceeded on the node"
    )


@pytest.mark.parametrize("predicate", list(Predicate))
def test_every_predicate_has_words(predicate: Predicate) -> None:
    group = a_group(predicate, detail="detail", dimension="licence", needed=2, best_free=1)
    assert describe(Explanation(groups=(group,), nodes_considered=1)).startswith("1 node: ")


def test_an_empty_cluster_is_said_to_be_empty() -> None:
    assert describe(Explanation()) == "the cluster has no nodes"


def test_no_refusal_is_said_to_be_none() -> None:
    assert describe(Explanation(nodes_considered=2)) == "no node refuses"


@pytest.mark.parametrize(
    ("dimension", "missing", "words"),
    [
        ("cpu_millicores", 250, "cpu short by 0.25 cores"),
        ("cpu_millicores", 1000, "cpu short by 1 core"),
        ("cpu_millicores", 1500, "cpu short by 1.5 cores"),
        ("memory_bytes", 1, "memory short by 1 bytes"),
        ("memory_bytes", 1536 * MIB, "memory short by 1.5 GiB"),
        ("disk_bytes", 2**62, "disk short by 4 EiB"),
        ("licence", 3, "licence short by 3"),
    ],
)
def test_amounts_are_worded_in_their_units(dimension: str, missing: int, words: str) -> None:
    group = a_group(Predicate.RESOURCE, dimension=dimension, needed=missing)
    assert describe(Explanation(groups=(group,), nodes_considered=1)) == f"1 node: {words} at best"


def test_a_change_is_worded_step_by_step() -> None:
    lower = PlacementChange(
        kind=ChangeKind.LOWER_REQUEST, node_id=NodeId("n1"), subject="memory_bytes", amount=3584 * MIB
    )
    tolerate = PlacementChange(kind=ChangeKind.TOLERATE_TAINT, node_id=NodeId("n1"), subject="gpu")
    assert describe_change([lower, tolerate]) == "on node n1: lower memory to 3.5 GiB, tolerate taint gpu"


def test_a_new_node_is_worded_by_what_it_needs() -> None:
    steps = [
        PlacementChange(kind=ChangeKind.ADD_NODE, subject="cpu_millicores", amount=2000),
        PlacementChange(kind=ChangeKind.ADD_NODE, subject="gpu", amount=1),
    ]
    assert describe_change(steps) == "add a node that has 2 cores cpu, 1 gpu"


def test_no_change_has_no_words() -> None:
    assert describe_change(()) == ""


@pytest.mark.parametrize("kind", list(ChangeKind))
def test_every_kind_of_change_has_words(kind: ChangeKind) -> None:
    assert describe_change([PlacementChange(kind=kind, node_id=NodeId("n1"), subject="x")]).startswith("on node n1: ")


def test_a_weighted_score_is_worded_with_what_each_preference_gave() -> None:
    node_id = NodeId("n1")
    explanation = Explanation(
        scores={node_id: 3338.5},
        parts={node_id: {"balance": 900.0, "binpack": 2436.0, "extra": 2.5}},
        weights={"binpack": 3, "balance": 1},
    )
    assert describe_score(explanation, node_id) == "3338.5 = 812 binpack x 3 + 900 balance x 1 + 2.5 extra"


def test_a_score_of_one_part_or_unknown_ones_is_a_number() -> None:
    node_id, other = NodeId("n1"), NodeId("n2")
    assert describe_score(Explanation(scores={node_id: -5.0}, parts={node_id: {"binpack": -5.0}}), node_id) == "-5"
    assert describe_score(Explanation(scores={node_id: 0.75}), node_id) == "0.75"
    assert describe_score(Explanation(scores={node_id: 0.75}), other) == ""


def test_what_takes_off_a_score_is_worded_so() -> None:
    node_id = NodeId("n1")
    explanation = Explanation(scores={node_id: -7.0}, parts={node_id: {"binpack": -3.0, "node-affinity": -4.0}})
    assert describe_score(explanation, node_id) == "-7 = -4 node-affinity - 3 binpack"
