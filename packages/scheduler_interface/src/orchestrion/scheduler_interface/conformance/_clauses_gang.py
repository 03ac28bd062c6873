"""The capability `gang`: slots of which so many get a place together, or none."""

from __future__ import annotations

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.conformance_kit import Runner
from orchestrion.scheduler_interface import (
    AssignNode,
    GangShortage,
    NoPlacement,
    Predicate,
    ScheduleDecision,
    SchedulerCapability,
    node_view,
)

from ._build import asking, cluster, container, node, resources, sibling, workload
from ._kit import KIT, SchedulerUnderTest, abilities_of, asked, decide, expect_placed
from ._situations import Situation, situations

GANG = SchedulerCapability.GANG

_TEN = resources(cpu=10)


@KIT.clause("GANG-1", "a-gang-that-reaches-its-minimum-is-placed", requires=GANG)
async def _reaches(subject: SchedulerUnderTest) -> None:
    view = cluster(node("n1", room=resources(cpu=20)), node("n2", room=resources(cpu=10)))
    for minimum in (2, 3):
        request = asking(workload(container(wants=_TEN)), slots=3, minimum=minimum)
        rule = f"there is room for 3, and {minimum} have to be placed"
        await expect_placed(subject, request, view, "n1", "n1", "n2", rule=rule, in_any_order=True)


@KIT.clause("GANG-1", "beyond-the-minimum-as-many-are-placed-as-there-is-room-for", requires=GANG)
async def _partly(subject: SchedulerUnderTest) -> None:
    view = cluster(node("n1", room=resources(cpu=30)))
    request = asking(workload(container(wants=_TEN)), slots=5, minimum=2)
    await expect_placed(subject, request, view, *["n1"] * 3, None, None, rule="3 fit, and 2 are enough")


@KIT.clause("GANG-2", "a-gang-that-misses-its-minimum-gets-nothing", requires=GANG)
async def _misses(subject: SchedulerUnderTest) -> None:
    view = cluster(node("n1", room=resources(cpu=20)), node("n2", room=resources(cpu=9)))
    request = asking(workload(container(wants=_TEN)), slots=4, minimum=3)
    await expect_placed(subject, request, view, None, None, None, None, rule="2 fit, and 3 have to be placed")


@KIT.clause("GANG-2", "what-a-gang-did-not-get-is-free-for-the-next", requires=GANG)
async def _leaves_nothing(subject: SchedulerUnderTest) -> None:
    view = cluster(node("n1", room=resources(cpu=20)))
    gang = asking(workload(container(wants=_TEN)), slots=3, minimum=3)
    await expect_placed(subject, gang, view, None, None, None, rule="2 fit, and 3 have to be placed")
    await expect_placed(subject, evolve(gang, minimum=2), view, "n1", "n1", None, rule="nobody holds anything")


@KIT.clause("GANG-3", "slots-that-hold-a-place-stay-and-count", requires=GANG)
async def _stay(subject: SchedulerUnderTest) -> None:
    holding = [sibling(1, demand=_TEN), sibling(7, demand=_TEN)]
    view = cluster(node("n1", room=resources(cpu=10)), node_view(node("n2", room=resources(cpu=20)), holding))
    request = asking(workload(container(wants=_TEN)), slots=3, minimum=2)
    rule = "slot 1 is on n2, and one more fits; slot 7 is none of the gang"
    await expect_placed(subject, request, view, "n1", "n2", None, rule=rule)
    await expect_placed(subject, evolve(request, minimum=3), view, None, "n2", None, rule=rule)


@KIT.clause("GANG-4", "the-refused-are-told-what-the-first-without-a-place-lacked", requires=GANG)
async def _explained(subject: SchedulerUnderTest) -> None:
    view = cluster(node("n1", room=resources(cpu=24)), node("n2", room=resources(cpu=16)), node("n3", cordoned=True))
    request = asking(workload(container(wants=_TEN)), slots=5, minimum=4)
    rule = "3 fit, and 4 have to be placed"
    for decision in await expect_placed(subject, request, view, *[None] * 5, rule=rule):
        assert isinstance(decision, NoPlacement), decision
        groups = {group.predicate: group for group in decision.explanation.groups}
        short = groups.get(Predicate.RESOURCE)
        assert short is not None, f"{rule}: {decision}"
        found = (short.node_count, short.needed, short.best_free)
        assert found == (2, 10, 6), f"after 3 slots the nodes have 4 and 6 left; the explanation says {short}"


@KIT.clause("GANG-5", "the-refused-are-told-how-many-there-is-room-for", requires=GANG)
async def _counted(subject: SchedulerUnderTest) -> None:
    holding = [sibling(1, demand=_TEN)]
    view = cluster(node("n1", room=resources(cpu=20)), node_view(node("n2", room=resources(cpu=10)), holding))
    request = asking(workload(container(wants=_TEN)), slots=5, minimum=4)
    rule = "slot 1 is on n2, 2 more fit, and 4 have to be placed"
    found = await expect_placed(subject, request, view, None, "n2", None, None, None, rule=rule)
    for decision in found:
        gang = decision.explanation.gang if decision.explanation is not None else None
        expected = GangShortage(slots=5, minimum=4, places=3) if isinstance(decision, NoPlacement) else None
        assert gang == expected, f"{rule}: expected {expected}, got {gang}"


@KIT.clause("GANG-5", "who-is-refused-beyond-the-minimum-is-told-of-no-gang", requires=GANG)
async def _not_for_the_others(subject: SchedulerUnderTest) -> None:
    view = cluster(node("n1", room=resources(cpu=20)))
    for minimum in (0, 1, 2):
        request = asking(workload(container(wants=_TEN)), slots=3, minimum=minimum)
        found = await expect_placed(subject, request, view, "n1", "n1", None, rule=f"2 fit, and {minimum} are enough")
        gangs = [each.explanation.gang for each in found if each.explanation is not None]
        assert not any(gangs), f"a minimum of {minimum} is reached; got {gangs}"
    alone = asking(workload(container(wants=resources(cpu=30))), slots=1, minimum=1)
    (refused,) = await expect_placed(subject, alone, view, None, rule="one is no gang")
    assert refused.explanation is None or refused.explanation.gang is None, f"one is no gang; got {refused}"


@KIT.property_clause("GANG-1", "a-minimum-that-is-reached-makes-no-difference", requires=GANG)
def _reached(run: Runner[SchedulerUnderTest]) -> None:
    _compare(run, is_reached=True)


@KIT.property_clause("GANG-2", "below-the-minimum-nobody-gets-a-place", requires=GANG)
def _not_reached(run: Runner[SchedulerUnderTest]) -> None:
    _compare(run, is_reached=False)


def _compare(run: Runner[SchedulerUnderTest], *, is_reached: bool) -> None:
    """Ask for drawn slots with a minimum and without."""

    @run.settings()
    @given(situations(abilities_of(run)), st.integers(0, 6))
    def example(situation: Situation, drawn: int) -> None:
        request, view = situation.request, situation.view
        plain = run(decide, request, view)
        placed = sum(isinstance(decision, AssignNode) for decision in plain)
        minimum = drawn % (placed + 1) if is_reached else placed + 1 + drawn % max(1, len(plain) - placed)
        if minimum <= len(plain):
            together = run(decide, evolve(request, minimum=minimum), view)
            expected = plain if is_reached or minimum < 2 else _refused(situation, plain)
            text = f"asked for {asked(request, view)}; {placed} have a place, and {minimum} are wanted"
            together = [_uncounted(decision) for decision in together]
            assert together == expected, f"{text}: expected {expected}, got {together}"

    example()


def _uncounted(decision: ScheduleDecision) -> ScheduleDecision:
    """Return a decision without what it says of its gang."""
    if isinstance(decision, AssignNode):
        return decision
    return evolve(decision, explanation=evolve(decision.explanation, gang=None))


def _refused(situation: Situation, plain: list[ScheduleDecision]) -> list[ScheduleDecision]:
    explanation = next(decision.explanation for decision in plain if isinstance(decision, NoPlacement))
    held = {key for each in situation.view for key in each.instances}
    return [
        decision if decision.slot in held else NoPlacement(slot=decision.slot, explanation=explanation)
        for decision in plain
    ]
