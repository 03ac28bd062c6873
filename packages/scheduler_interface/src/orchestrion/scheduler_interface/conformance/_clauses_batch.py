"""The capability `batch`: several requests in one call, each decided with those before it in place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import trio
from attrs import evolve
from hypothesis import given
from orchestrion.conformance_kit import Runner, cancellation_sweep
from orchestrion.scheduler_interface import (
    AssignNode,
    ClusterView,
    InvalidSchedulingRequest,
    ScheduleDecision,
    SchedulerCapability,
    SchedulingRequest,
    StaticClusterView,
    SupportsBatches,
    node_view,
    placed_instance,
    with_decisions,
    with_instances,
    without_instances,
)
from orchestrion.shared_types import (
    DEFAULT_PRIORITY_CLASS,
    MAX_AMOUNT,
    Device,
    GpuRequest,
    InstanceAffinity,
    InstanceKey,
    Metadata,
    Spread,
    Uid,
    WorkloadDefinition,
)

from ._build import NEIGHBOUR, NO_LABELS, asking, cluster, container, neighbour, node, resources, slot, tcp, workload
from ._kit import KIT, SchedulerUnderTest, abilities_of, asked, decide, expect_unbroken, skip_without
from ._situations import Batch, Situation, batches

BATCH = SchedulerCapability.BATCH

Decisions = list[ScheduleDecision]

_TEN = resources(cpu=10)
_PRIORITY = DEFAULT_PRIORITY_CLASS.value


async def decide_batch(
    subject: SchedulerUnderTest, requests: Sequence[SchedulingRequest], view: ClusterView
) -> list[Decisions]:
    """Ask for the decisions of a batch."""
    scheduler = subject.scheduler
    assert isinstance(scheduler, SupportsBatches), f"{type(scheduler).__name__} is no SupportsBatches"
    return await scheduler.schedule_batch(requests, view)


def _of(number: int, definition: WorkloadDefinition, slots: int = 1, **options: object) -> SchedulingRequest:
    """Return a request for slots of a workload of its own."""
    uid = Uid(f"01900000-0000-7000-8000-0000000001{number:02}")
    metadata = Metadata(name=f"w{number}", uid=uid, generation=1, labels=definition.metadata.labels)
    request = asking(evolve(definition, metadata=metadata), slots)
    return evolve(
        request,
        slots=tuple(InstanceKey(uid, each.index, each.epoch) for each in request.slots),
        **options,  # type: ignore[arg-type] # the fields of a request
    )


def _ten(number: int, slots: int = 1, **options: object) -> SchedulingRequest:
    """Return a request for slots of ten millicores each."""
    return _of(number, workload(container(wants=_TEN)), slots, **options)


async def _expect(
    subject: SchedulerUnderTest,
    requests: Sequence[SchedulingRequest],
    view: ClusterView,
    *expected: list[str | None],
    rule: str,
) -> list[Decisions]:
    """Assert which nodes the slots of each request get; None is a refusal."""
    batch = await decide_batch(subject, requests, view)
    got = [[each.node_id if isinstance(each, AssignNode) else None for each in decisions] for decisions in batch]
    text = "; then ".join(asked(request, view) for request in requests)
    assert got == list(expected), f"asked for {text}: expected {list(expected)}, since {rule}; got {got}: {batch}"
    return batch


def _left(requests: Sequence[SchedulingRequest], made: Sequence[Decisions]) -> SchedulingRequest:
    """Return the request after those that are decided, with the budgets that these leave."""
    request = requests[len(made)]
    spent = Counter(
        key.workload_id
        for decisions in made
        for decision in decisions
        if isinstance(decision, AssignNode)
        for key in decision.victims
    )
    return evolve(request, budgets={uid: budget - spent[uid] for uid, budget in request.budgets.items()})


def _after(view: ClusterView, request: SchedulingRequest, decisions: Decisions) -> StaticClusterView:
    """Return the cluster that decisions make of a view."""
    world = {each.node.id: each for each in view}
    for decision in decisions:
        if isinstance(decision, AssignNode) and decision.slot not in world[decision.node_id].instances:
            room = without_instances(world[decision.node_id], decision.victims)
            world[decision.node_id] = with_instances(room, [placed_instance(request.workload, decision)])
    return StaticClusterView.hypothetical(world.values())


@KIT.clause("BATCH-1", "each-request-has-the-decisions-about-its-slots-in-order", requires=BATCH)
async def _in_order(subject: SchedulerUnderTest) -> None:
    requests = [_ten(3, 2), _ten(1), _ten(2, 3)]
    batch = await decide_batch(subject, requests, cluster(node("n1", room=resources(cpu=40))))
    got = [[each.slot for each in decisions] for decisions in batch]
    wanted = [list(request.slots) for request in requests]
    assert got == wanted, f"asked for the slots {wanted}: the decisions are about {got}"


@KIT.clause("BATCH-1", "a-batch-of-nothing-has-no-decisions", requires=BATCH)
async def _nothing(subject: SchedulerUnderTest) -> None:
    batch = await decide_batch(subject, [], cluster(node()))
    assert batch == [], f"asked for nothing, got {batch}"


@KIT.property_clause("BATCH-2", "a-batch-is-decided-as-its-requests-one-after-the-other", requires=BATCH)
def _one_by_one(run: Runner[SchedulerUnderTest]) -> None:
    async def in_turn(subject: SchedulerUnderTest, batch: Batch) -> list[Decisions]:
        view: ClusterView = batch.view
        made: list[Decisions] = []
        for request in batch.requests:
            made.append(await decide(subject, _left(batch.requests, made), view))
            view = _after(view, request, made[-1])
        return made

    @run.settings()
    @given(batches(abilities_of(run)))
    def example(batch: Batch) -> None:
        expected = run(in_turn, batch)
        got = run(decide_batch, batch.requests, batch.view)
        text = "; then ".join(asked(request, batch.view) for request in batch.requests)
        assert got == expected, f"asked for {text}: one after the other {expected}, together {got}"

    example()


@KIT.clause("BATCH-2", "the-order-is-the-given-one-whatever-the-priorities", requires=BATCH)
async def _as_given(subject: SchedulerUnderTest) -> None:
    view = cluster(node("n1", room=_TEN))
    low, high = _ten(1), _ten(2)
    high = evolve(high, workload=evolve(high.workload, priority=_PRIORITY + 100))
    await _expect(subject, [low, high], view, ["n1"], [None], rule="there is room for one, and the lower is first")
    await _expect(subject, [high, low], view, ["n1"], [None], rule="there is room for one, and the higher is first")


@KIT.clause("BATCH-2", "each-request-says-whether-assignments-are-explained", requires=BATCH)
async def _explained(subject: SchedulerUnderTest) -> None:
    view = cluster(node("n1", room=resources(cpu=40)))
    batch = await decide_batch(subject, [_ten(1), _ten(2, explain=True), _ten(3)], view)
    told = [[each.explanation is not None for each in decisions] for decisions in batch]
    assert told == [[False], [True], [False]], f"the second alone is to be explained; got {batch}"


@KIT.property_clause("BATCH-3", "a-batch-breaks-no-promise-that-a-request-has", requires=BATCH)
def _unbroken(run: Runner[SchedulerUnderTest]) -> None:
    abilities = abilities_of(run)

    @run.settings()
    @given(batches(abilities))
    def example(batch: Batch) -> None:
        requests = [evolve(request, minimum=0) for request in batch.requests]
        view, made = batch.view, list[Decisions]()
        for decisions in run(decide_batch, requests, batch.view):
            left = _left(requests, made)
            expect_unbroken(Situation(request=left, view=view), decisions, abilities, "")
            made.append(decisions)
            view = _after(view, left, decisions)

    example()


@KIT.clause("BATCH-3", "room-that-a-request-has-got-is-taken", requires=BATCH)
async def _room(subject: SchedulerUnderTest) -> None:
    view = cluster(node("n1", room=resources(cpu=30)))
    rule = "there is room for 3, and 2 have got it before"
    await _expect(subject, [_ten(1, 2), _ten(2, 2)], view, ["n1", "n1"], ["n1", None], rule=rule)


@KIT.clause("BATCH-3", "a-port-that-a-request-has-got-is-taken", requires=BATCH)
async def _port(subject: SchedulerUnderTest) -> None:
    definition = workload(container(ports=(tcp(80),)))
    requests = [_of(number, definition) for number in range(3)]
    batch = await decide_batch(subject, requests, cluster(node("n1"), node("n2")))
    got = [each.node_id if isinstance(each, AssignNode) else None for (each,) in batch]
    assert (sorted(map(str, got[:2])), got[2]) == (["n1", "n2"], None), f"each has port 80 once; got {got}"


@KIT.clause("BATCH-3", "a-device-that-a-request-has-got-is-taken", requires=BATCH)
async def _device(subject: SchedulerUnderTest) -> None:
    skip_without(subject, SchedulerCapability.DEVICES)
    view = cluster(node("n1", devices=(Device(id="d0"),)))
    definition = workload(container(gpu=GpuRequest(thousandths=600)))
    rule = "the only device has 400 thousandths left"
    await _expect(subject, [_of(1, definition), _of(2, definition)], view, ["n1"], [None], rule=rule)


@KIT.clause("BATCH-3", "a-spread-counts-the-slots-of-other-requests", requires=BATCH)
async def _spread(subject: SchedulerUnderTest) -> None:
    skip_without(subject, SchedulerCapability.SPREAD)
    whole = asking(workload(container(wants=_TEN), spreads=(Spread(by="node", required=True),)), slots=2)
    parts = [evolve(whole, slots=(each,)) for each in whole.slots]
    batch = await decide_batch(subject, parts, cluster(node("n1"), node("n2")))
    got = sorted(each.node_id for (each,) in batch if isinstance(each, AssignNode))
    assert got == ["n1", "n2"], f"no node may have both slots of the workload; got {batch}"


@KIT.clause("BATCH-3", "who-is-to-be-near-joins-whom-a-request-has-placed", requires=BATCH)
async def _near(subject: SchedulerUnderTest) -> None:
    skip_without(subject, SchedulerCapability.AFFINITY)
    view = cluster(node("n1"), node("n2"), node("n3"))
    first = _of(1, workload(labels={"app": "db"}, select={"node": "n2"}))
    near = workload(labels=NO_LABELS, instance_affinities=(InstanceAffinity(match_labels={"app": "db"}),))
    rule = "the second has to be where the first is"
    await _expect(subject, [first, _of(2, near)], view, ["n2"], ["n2"], rule=rule)
    await _expect(subject, [_of(2, near), first], view, [None], ["n2"], rule="there is nobody yet to be near to")


@KIT.clause("BATCH-4", "whom-a-request-pushes-out-is-gone-for-the-next", requires=BATCH)
async def _gone(subject: SchedulerUnderTest) -> None:
    await _expect_pushed(subject, (None, None), [(1,), (0,)], rule="instance 1 leaves for the first, 0 for the second")


@KIT.clause("BATCH-4", "victims-use-up-the-budgets-of-the-requests-after-them", requires=BATCH)
async def _budgets(subject: SchedulerUnderTest) -> None:
    await _expect_pushed(subject, (1, 1), [(1,), None], rule="one may leave, and did so for the first")
    await _expect_pushed(subject, (None, 1), [(1,), None], rule="one may leave, and did so for the first")
    await _expect_pushed(subject, (1, 2), [(1,), (0,)], rule="two may leave for the second, and one did for the first")


async def _expect_pushed(
    subject: SchedulerUnderTest, budgets: Sequence[int | None], expected: Sequence[tuple[int, ...] | None], *, rule: str
) -> None:
    """Assert which of two neighbours are pushed out for a slot of each of two workloads; None is a refusal."""
    skip_without(subject, SchedulerCapability.PREEMPTION)
    low = [neighbour(index, priority=10, demand=_TEN) for index in range(2)]
    view = cluster(node_view(node("n1", room=resources(cpu=20)), low))
    requests = [
        _ten(number, preempt=True, budgets={} if budget is None else {NEIGHBOUR: budget})
        for number, budget in enumerate(budgets)
    ]
    batch = await decide_batch(subject, requests, view)
    got = [tuple(key.index for key in each.victims) if isinstance(each, AssignNode) else None for (each,) in batch]
    assert got == list(expected), f"budgets {budgets}: expected the victims {expected}, since {rule}; got {batch}"


@KIT.clause("BATCH-5", "a-gang-that-misses-its-minimum-leaves-its-room-to-the-next", requires=BATCH)
async def _gang(subject: SchedulerUnderTest) -> None:
    skip_without(subject, SchedulerCapability.GANG)
    view = cluster(node("n1", room=resources(cpu=20)))
    rule = "there is room for 2 of the gang's 3, and so for the 2 after it"
    await _expect(subject, [_ten(1, 3, minimum=3), _ten(2, 2)], view, [None] * 3, ["n1"] * 2, rule=rule)
    rule = "1 has its place, and there is none for 2 more at once"
    await _expect(subject, [_ten(1), _ten(2, 2, minimum=2), _ten(3)], view, ["n1"], [None] * 2, ["n1"], rule=rule)


@KIT.property_clause("BATCH-6", "after-a-batch-decisions-are-as-if-there-had-been-none", requires=BATCH)
def _traceless(run: Runner[SchedulerUnderTest]) -> None:
    @run.settings()
    @given(batches(abilities_of(run)))
    def example(batch: Batch) -> None:
        first = batch.requests[0]
        later = with_decisions(batch.view, first.workload, run(decide, first, batch.view))

        async def ask_between(subject: SchedulerUnderTest) -> list[Decisions]:
            answers = []
            for view in (batch.view, later):
                await decide_batch(subject, batch.requests, view)
                answers.append(await decide(subject, first, view))
            return answers

        for view, answer in zip((batch.view, later), run(ask_between), strict=True):
            expected = run(decide, first, view)
            assert answer == expected, f"asked for {asked(first, view)}: {expected}, and after a batch {answer}"

    example()


@KIT.property_clause("BATCH-7", "a-cancelled-batch-has-no-effect", requires=BATCH)
def _cancelled(run: Runner[SchedulerUnderTest]) -> None:
    requests = [_ten(1, 2), _ten(2)]
    view = cluster(node("n1", room=resources(cpu=20)), node("n2", room=_TEN))
    expected = run(decide_batch, requests, view)

    async def operation(subject: SchedulerUnderTest) -> None:
        await decide_batch(subject, requests, view)

    async def verify(subject: SchedulerUnderTest, _cancelled: bool) -> None:
        batch = await decide_batch(subject, requests, view)
        assert batch == expected, f"before a call was cancelled: {expected}; after it: {batch}"

    cancellation_sweep(run, operation, verify)


@KIT.clause("BATCH-7", "a-batch-is-a-checkpoint", requires=BATCH)
async def _checkpoint(subject: SchedulerUnderTest) -> None:
    for requests in ([], [_ten(1)]):
        with trio.CancelScope() as scope:
            scope.cancel()
            await decide_batch(subject, requests, cluster(node()))
        assert scope.cancelled_caught, f"a batch of {len(requests)} returned in a cancelled scope"


_ROUNDS: Final = 4
"""Who goes first of several tasks is chance: what is wrong in one order alone is to be found all the same."""


@KIT.clause("BATCH-8", "tasks-with-batches-at-once-get-what-they-would-get-alone", requires=BATCH)
async def _tasks(subject: SchedulerUnderTest) -> None:
    first = cluster(*(node(f"n{number}", room=resources(cpu=20)) for number in range(3)))
    views = [first, first.changed(removed=[next(iter(first)).node.id])]
    batches = [[_ten(number, number + 1), _ten(10 + number, 2)] for number in range(4)]
    pairs = [(batch, views[number % 2]) for number, batch in enumerate(batches)]
    alone = [await decide_batch(subject, batch, view) for batch, view in pairs]
    singles = [await decide(subject, batch[0], view) for batch, view in pairs]
    together: dict[int, list[Decisions]] = {}
    beside: dict[int, list[Decisions]] = {}

    async def ask(number: int) -> None:
        together[number] = await decide_batch(subject, *pairs[number])

    async def ask_one(number: int) -> None:
        batch, view = pairs[number]
        # More than once, since a batch may have several checkpoints.
        beside[number] = [await decide(subject, batch[0], view) for _ in range(4)]

    for _ in range(_ROUNDS):
        async with trio.open_nursery() as nursery:
            for number in range(len(pairs)):
                nursery.start_soon(ask, number)
                nursery.start_soon(ask_one, number)
        for number, expected in enumerate(alone):
            assert together[number] == expected, f"alone: {expected}; while others ask: {together[number]}"
            one = singles[number]
            assert beside[number] == [one] * 4, f"alone: {one}; beside batches: {beside[number]}"


@KIT.clause("BATCH-9", "a-slot-in-two-requests-is-an-error", requires=BATCH)
async def _twice(subject: SchedulerUnderTest) -> None:
    whole = asking(workload(), slots=2)
    await _expect_invalid(subject, [whole, _ten(1), evolve(whole, slots=(slot(2), slot(1)))])
    changed = evolve(whole.workload, metadata=evolve(whole.workload.metadata, generation=2))
    await _expect_invalid(subject, [whole, evolve(whole, workload=changed)])


@KIT.clause("BATCH-9", "a-request-that-would-be-refused-alone-is-an-error", requires=BATCH)
async def _invalid(subject: SchedulerUnderTest) -> None:
    halves = (container("a", resources(memory=MAX_AMOUNT)), container("b", resources(memory=1)))
    for bad in (
        _ten(2, minimum=2),
        evolve(_ten(2), slots=()),
        evolve(_ten(2), slots=(slot(0),)),
        asking(workload(*halves)),
    ):
        await _expect_invalid(subject, [_ten(1), bad])
        await _expect_invalid(subject, [bad, _ten(1)])


async def _expect_invalid(subject: SchedulerUnderTest, requests: Sequence[SchedulingRequest]) -> None:
    try:
        batch = await decide_batch(subject, requests, cluster(node()))
    except InvalidSchedulingRequest:
        return
    raise AssertionError(f"expected InvalidSchedulingRequest, got {batch}")
