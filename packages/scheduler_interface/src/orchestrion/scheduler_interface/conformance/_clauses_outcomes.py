"""The capability `outcomes`: what became of earlier instances bears on where the next ones go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.conformance_kit import Runner
from orchestrion.scheduler_interface import (
    AssignNode,
    InstanceOutcome,
    NoPlacement,
    OutcomeKind,
    ScheduleDecision,
    SchedulerCapability,
    SupportsOutcomes,
    node_view,
)
from orchestrion.shared_types import MAX_AMOUNT, InstanceKey, NodeId

from ._build import NEIGHBOUR, asking, cluster, container, node, resources, workload
from ._kit import KIT, SchedulerUnderTest, abilities_of, decide, expect_unbroken
from ._situations import Situation, situations

T = TypeVar("T")
Outcomes = Sequence[InstanceOutcome]

OUTCOMES = SchedulerCapability.OUTCOMES

_NODES = ("n1", "n2", "n3")
_BEGIN = 1.7e9
_MANY = 3000
_SLACK_BYTES = 4096


def outcome(
    number: int = 0, node_id: str = "n1", kind: OutcomeKind = OutcomeKind.START_FAILED, at: float = 0.0
) -> InstanceOutcome:
    """Return an outcome of the instance of a number, a moment after others began."""
    return InstanceOutcome(
        slot=InstanceKey(NEIGHBOUR, number, 1),
        kind=kind,
        node_id=NodeId(node_id),
        workload=evolve(workload(container(wants=resources(cpu=100)))),
        at_seconds=_BEGIN + at,
        around=node_view(node(node_id)),
    )


_Drawn = list[tuple[int, str, OutcomeKind, float]]


def _drawn() -> st.SearchStrategy[_Drawn]:
    """Draw what outcomes are made of."""
    drawn = st.tuples(
        st.integers(0, 40),
        st.sampled_from(["n0", *_NODES]),
        st.sampled_from(OutcomeKind),
        st.integers(-600, 60).map(float),
    )
    return st.lists(drawn, max_size=40)


def _told(drawn: _Drawn) -> list[InstanceOutcome]:
    return [outcome(*each) for each in drawn]


def _able(subject: SchedulerUnderTest) -> SupportsOutcomes:
    scheduler = subject.scheduler
    assert isinstance(scheduler, SupportsOutcomes), f"{type(scheduler).__name__} is no SupportsOutcomes"
    return scheduler


async def _tell(subject: SchedulerUnderTest, outcomes: Outcomes, at: float = 60.0) -> None:
    _able(subject).observe(outcomes, now_seconds=_BEGIN + at)


async def _answers(subject: SchedulerUnderTest) -> list[list[ScheduleDecision]]:
    """Return where slots go on nodes that differ in nothing, and on nodes of which one is fuller."""
    request = asking(workload(container(wants=resources(cpu=100))), slots=4)
    alike = cluster(*map(node, _NODES))
    uneven = cluster(node("n1", room=resources(cpu=300)), node("n2", room=resources(cpu=800)), node("n3"))
    return [await decide(subject, request, view) for view in (alike, uneven)]


def _failing(*node_ids: str, count: int = 40) -> list[InstanceOutcome]:
    """Return so many failed starts on each of these nodes, and as many on the others that succeeded."""
    return [
        outcome(
            number * len(_NODES) + position,
            node_id,
            OutcomeKind.START_FAILED if node_id in node_ids else OutcomeKind.STARTED,
            at=float(number),
        )
        for number in range(count)
        for position, node_id in enumerate(_NODES)
    ]


@KIT.property_clause("OUTCOME-1", "who-is-told-the-same-decides-the-same", requires=OUTCOMES)
def _same(run: Runner[SchedulerUnderTest]) -> None:
    @run.settings()
    @given(_drawn())
    def example(drawn: _Drawn) -> None:
        told = _told(drawn)

        async def answer(subject: SchedulerUnderTest) -> list[list[ScheduleDecision]]:
            await _tell(subject, told)
            return await _answers(subject)

        first, second = run(answer), run(answer)
        assert first == second, f"told of {drawn}: {first}, and another one {second}"

    example()


@KIT.clause("OUTCOME-1", "between-decisions-that-nothing-is-told-nothing-changes", requires=OUTCOMES)
async def _constant(subject: SchedulerUnderTest) -> None:
    await _tell(subject, _failing("n1"))
    first, second = await _answers(subject), await _answers(subject)
    assert first == second, f"expected the same decisions twice, got {first} and {second}"


@KIT.property_clause("OUTCOME-2", "being-told-again-makes-no-difference", requires=OUTCOMES)
def _again(run: Runner[SchedulerUnderTest]) -> None:
    @run.settings()
    @given(_drawn(), st.integers(1, 3), st.booleans())
    def example(drawn: _Drawn, times: int, backwards: bool) -> None:
        told = _told(drawn)

        async def answer(subject: SchedulerUnderTest, again: int) -> list[list[ScheduleDecision]]:
            await _tell(subject, told)
            for _ in range(again):
                await _tell(subject, told[::-1] if backwards else told)
            return await _answers(subject)

        once, often = run(answer, 0), run(answer, times)
        assert once == often, f"told of {drawn}: {once}; told {times} times more: {often}"

    example()


@KIT.property_clause("OUTCOME-3", "outcomes-refuse-nothing-and-permit-nothing", requires=OUTCOMES)
def _preferences(run: Runner[SchedulerUnderTest]) -> None:
    abilities = abilities_of(run)

    @run.settings()
    @given(situations(abilities), _drawn())
    def example(situation: Situation, drawn: _Drawn) -> None:
        async def answer(subject: SchedulerUnderTest) -> list[ScheduleDecision]:
            await _tell(subject, _told(drawn))
            return await decide(subject, situation.request, situation.view)

        expect_unbroken(situation, run(answer), abilities, "SAFE", "FULL", "FIT", "STAY", "DECIDE")

    example()


@KIT.clause("OUTCOME-3", "a-node-on-which-all-failed-is-taken-where-there-is-no-other", requires=OUTCOMES)
async def _nowhere_else(subject: SchedulerUnderTest) -> None:
    await _tell(subject, _failing("n1"))
    request = asking(workload(container(wants=resources(cpu=100))), slots=3)
    decisions = await decide(subject, request, cluster(node("n1"), node("n2", cordoned=True)))
    got = [decision.node_id for decision in decisions if isinstance(decision, AssignNode)]
    assert got == [NodeId("n1")] * 3, f"expected n1 three times, got {decisions}"


@KIT.clause("OUTCOME-4", "what-is-remembered-does-not-grow-for-ever", requires=OUTCOMES)
async def _bounded(subject: SchedulerUnderTest) -> None:
    sizes = []
    for start in (0, _MANY, 2 * _MANY):
        kinds = (OutcomeKind.STARTED, OutcomeKind.START_FAILED, OutcomeKind.RELEASED)
        told = [
            outcome(10**6 + number, _NODES[number % 3], kinds[number % 3], at=number)
            for number in range(start, start + _MANY)
        ]
        await _tell(subject, told, at=start + _MANY)
        sizes.append(len(_able(subject).remembered()))
    text = f"after each {_MANY} outcomes what is remembered has {sizes} bytes"
    assert sizes[2] <= sizes[1] + _SLACK_BYTES, text


@KIT.clause("OUTCOME-5", "nothing-that-it-is-told-raises", requires=OUTCOMES)
async def _total(subject: SchedulerUnderTest) -> None:
    odd = [
        evolve(outcome(), around=None),
        outcome(1, "of which nobody knows"),
        evolve(outcome(2), attempt=10**9),
        evolve(outcome(3), at_seconds=-1e12),
        evolve(outcome(4), at_seconds=1e12),
        evolve(outcome(5), workload=workload(*[container(name, resources(cpu=MAX_AMOUNT)) for name in ("a", "b")])),
        evolve(outcome(6), workload=workload()),
    ]
    everything = [evolve(each, kind=kind) for each in odd for kind in OutcomeKind]
    able = _able(subject)
    for told in ([], everything, everything[::-1], iter(everything)):
        for now in (_BEGIN, -_BEGIN):
            try:
                able.observe(told, now_seconds=now)
            except Exception as err:
                msg = f"told of odd outcomes at {now}, it raised {err!r}"
                raise AssertionError(msg) from err
    await _answers(subject)


@KIT.clause("OUTCOME-6", "preparing-changes-no-decision", requires=OUTCOMES)
async def _prepared(subject: SchedulerUnderTest) -> None:
    _able(subject).prepare()
    await _tell(subject, _failing("n1"))
    before = await _answers(subject)
    _able(subject).prepare()
    after = await _answers(subject)
    assert before == after, f"expected the same decisions after it, got {before} and {after}"


@KIT.property_clause("OUTCOME-7", "the-number-of-lessons-tells-what-is-to-be-kept-anew", requires=OUTCOMES)
def _numbered(run: Runner[SchedulerUnderTest]) -> None:
    @run.settings()
    @given(_drawn())
    def example(drawn: _Drawn) -> None:
        told = _told(drawn)

        async def tell_each(subject: SchedulerUnderTest) -> None:
            able = _able(subject)
            for each in told:
                number, kept = able.lessons, able.remembered()
                await _tell(subject, [each])
                if able.remembered() != kept:
                    assert able.lessons != number, (
                        f"{each.kind} has changed what is remembered, and {number} has stayed"
                    )

        run(tell_each)

    example()


@KIT.property_clause("OUTCOME-8", "who-recalls-decides-as-who-remembered", requires=OUTCOMES)
def _recalled(run: Runner[SchedulerUnderTest]) -> None:
    @run.settings()
    @given(_drawn(), _drawn())
    def example(drawn: _Drawn, later: _Drawn) -> None:
        told = _told(drawn)
        _compare(
            run,
            lambda able: None,
            lambda able: able.observe([*told, *_failing("n1")], now_seconds=_BEGIN + 60.0),
            [*_told(later), *told],
        )

    example()


@KIT.property_clause("OUTCOME-8", "what-was-learned-before-is-replaced", requires=OUTCOMES)
def _replaced(run: Runner[SchedulerUnderTest]) -> None:
    _compare(
        run,
        lambda able: able.observe(_failing("n2", "n3"), now_seconds=_BEGIN),
        lambda able: able.observe(_failing("n1"), now_seconds=_BEGIN),
        [],
    )


def _compare(
    run: Runner[SchedulerUnderTest],
    before: Callable[[SupportsOutcomes], None],
    learn: Callable[[SupportsOutcomes], None],
    later: Outcomes,
) -> None:
    """Compare one that has learned and goes on with one that recalls that and goes on."""

    async def teach(subject: SchedulerUnderTest) -> tuple[bytes, list[list[list[ScheduleDecision]]]]:
        learn(_able(subject))
        data = _able(subject).remembered()
        return data, await go_on(subject)

    async def recall(subject: SchedulerUnderTest) -> list[list[list[ScheduleDecision]]]:
        before(_able(subject))
        _able(subject).recall(data)
        return await go_on(subject)

    async def go_on(subject: SchedulerUnderTest) -> list[list[list[ScheduleDecision]]]:
        first = await _answers(subject)
        await _tell(subject, later)
        return [first, await _answers(subject)]

    data, expected = run(teach)
    got = run(recall)
    assert got == expected, f"expected the decisions {expected}, got {got}"


@KIT.clause("OUTCOME-9", "what-is-no-memory-is-refused-and-changes-nothing", requires=OUTCOMES)
async def _damaged(subject: SchedulerUnderTest) -> None:
    await _tell(subject, _failing("n1"))
    data, before = _able(subject).remembered(), await _answers(subject)
    for damaged in (b"", b"null", b"[]", b"{}", b"\xff\xfe", data[: len(data) // 2], b'{"schema": -1}'):
        try:
            _able(subject).recall(damaged)
        except ValueError:
            pass
        else:
            msg = f"expected ValueError for {damaged[:80]!r}"
            raise AssertionError(msg)
        assert await _answers(subject) == before, f"after {damaged[:80]!r} it decides otherwise"
    assert not any(isinstance(each, NoPlacement) for answers in before for each in answers), f"refused: {before}"
