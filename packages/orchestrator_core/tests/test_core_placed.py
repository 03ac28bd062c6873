"""Why a slot is where it is, in words."""

from __future__ import annotations

import pytest
from orchestrion.orchestrator_core._control.placed import place_words
from orchestrion.scheduler_interface import Explanation, Predicate, RefusalGroup
from orchestrion.shared_types import NodeId

GROUPS = (RefusalGroup(predicate=Predicate.CORDONED, node_count=2, samples=(NodeId("b"),)),)


@pytest.mark.parametrize(
    ("groups", "stays", "words"),
    [
        ((), True, "it was placed there, and stays"),
        ((), False, "it fits there"),
        (GROUPS, False, "it fits there, and not on 2 nodes: cordoned"),
        (GROUPS, True, "it fits there, and not on 2 nodes: cordoned"),
    ],
)
def test_a_place_is_told_as_what_it_is(groups: tuple[RefusalGroup, ...], stays: bool, words: str) -> None:
    assert place_words(Explanation(nodes_considered=3, groups=groups), stays=stays) == words
