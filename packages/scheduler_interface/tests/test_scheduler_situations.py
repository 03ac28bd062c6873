"""What the kit draws is worth asking: mostly clusters with a place, next to nodes that only look like one."""

from __future__ import annotations

from collections import Counter

import pytest
import trio
from hypothesis import Phase, given, seed, settings
from orchestrion.scheduler_interface import AssignNode, FullScanScheduler, SchedulerCapability, SimpleScheduler
from orchestrion.scheduler_interface.conformance import Situation, crowded_situations, situations
from orchestrion.scheduler_interface.conformance._oracle import complaints
from orchestrion.scheduler_interface.conformance._situations import near_misses, suiting_nodes

Abilities = frozenset[SchedulerCapability]

of_all_abilities = pytest.mark.parametrize(
    "abilities", [SimpleScheduler().capabilities, FullScanScheduler().capabilities], ids=["simple", "full-scan"]
)


def reasons(situation: Situation, abilities: Abilities) -> list[frozenset[tuple[str, str]]]:
    """Return why each node refuses the first slot."""
    request, world = situation.request, {view.node.id: view for view in situation.view}
    return [complaints(request.workload, node_id, world, abilities, request.only_node) for node_id in world]


@pytest.mark.slow
@of_all_abilities
def test_most_situations_have_a_place(abilities: Abilities) -> None:
    placeable: list[bool] = []

    @seed(1)
    @settings(max_examples=200, database=None, deadline=None, phases=[Phase.generate])
    @given(situations(abilities))
    def draw(situation: Situation) -> None:
        placeable.append(frozenset() in reasons(situation, abilities))

    draw()
    assert sum(placeable) / len(placeable) >= 0.6


@of_all_abilities
def test_a_near_miss_fails_one_predicate(abilities: Abilities) -> None:
    exactly_one: list[bool] = []

    @seed(1)
    @settings(max_examples=40, database=None, deadline=None, phases=[Phase.generate])
    @given(suiting_nodes(abilities))
    def draw(situation: Situation) -> None:
        if reasons(situation, abilities) == [frozenset()]:
            exactly_one.extend(
                len(failed) == 1 for near in near_misses(situation) for failed in reasons(near, abilities)
            )

    draw()
    assert sum(exactly_one) / len(exactly_one) >= 0.9


@pytest.mark.slow
def test_in_many_crowded_situations_somebody_has_to_leave() -> None:
    pushed: Counter[str] = Counter()

    @seed(1)
    @settings(max_examples=150, database=None, deadline=None, phases=[Phase.generate])
    @given(crowded_situations())
    def draw(situation: Situation) -> None:
        decisions = trio.run(FullScanScheduler().schedule, situation.request, situation.view)
        first = next(iter(decisions))
        if isinstance(first, AssignNode):
            pushed["somebody" if first.victims else "nobody"] += 1
            several = len({each.victims for each in decisions if isinstance(each, AssignNode) and each.victims})
            pushed["by several slots"] += several > 1
        else:
            pushed["refused"] += 1

    draw()
    assert pushed["somebody"] >= 60, pushed
    assert min(pushed["refused"], pushed["nobody"], pushed["by several slots"]) >= 5, pushed
