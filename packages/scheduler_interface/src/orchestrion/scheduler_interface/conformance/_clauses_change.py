"""The smallest change places the slot, and nothing smaller does."""

from __future__ import annotations

from hypothesis import given
from orchestrion.conformance_kit import Runner
from orchestrion.scheduler_interface import (
    AssignNode,
    ChangeKind,
    Explanation,
    NoPlacement,
    PlacementChange,
    ScheduleDecision,
    SchedulerCapability,
    SchedulingRequest,
    StaticClusterView,
)
from orchestrion.shared_types import (
    Drain,
    Expression,
    GpuRequest,
    NodeId,
    NodeStatus,
    Operator,
    Spread,
    Taint,
    WorkloadDefinition,
)

from ._build import asking, cluster, container, neighbour, node, one, resources, slot, tcp, workload
from ._changes import apply_change, fewer_steps_that_place, has_ideal_node, joining_node
from ._kit import KIT, SchedulerUnderTest, abilities_of, decide, decide_one
from ._oracle import World, complaints, demand
from ._replay import Step, replay
from ._situations import Situation, situations

Abilities = frozenset[SchedulerCapability]

_FRESH = slot(1000)
"""A slot that no drawn cluster holds."""


async def _expect_change(
    subject: SchedulerUnderTest, definition: WorkloadDefinition, view: StaticClusterView, *steps: PlacementChange
) -> None:
    """Assert that the smallest change is these steps, and that it places the slot."""
    decision = await decide_one(subject, asking(definition), view)
    assert isinstance(decision, NoPlacement), f"expected a refusal, got {decision}"
    found = decision.explanation.smallest_change
    assert set(found) == set(steps), f"expected {steps}, got {found}"
    changed, after = apply_change(found, definition, {each.node.id: each for each in view})
    placed = await decide_one(subject, asking(changed), StaticClusterView(after.values()))
    assert isinstance(placed, AssignNode), f"{found} does not place it: {placed}"


def _on(kind: ChangeKind, subject: str = "", amount: int = 0, node_id: str = "n1") -> PlacementChange:
    return PlacementChange(kind=kind, node_id=NodeId(node_id), subject=subject, amount=amount)


@KIT.clause("CHANGE-1", "a-lower-request-places")
async def _lower(subject: SchedulerUnderTest) -> None:
    definition = workload(container("a", resources(memory=60)), container("b", resources(memory=60)))
    view = one(node(room=resources(memory=100)))
    await _expect_change(subject, definition, view, _on(ChangeKind.LOWER_REQUEST, "memory_bytes", 100))


@KIT.clause("CHANGE-1", "dropping-a-selector-or-an-expression-places")
async def _drop(subject: SchedulerUnderTest) -> None:
    view = one(node(labels={"gen": "1"}))
    definition = workload(select={"disk": "ssd", "gen": "1"})
    await _expect_change(subject, definition, view, _on(ChangeKind.DROP_SELECTOR, "disk"))
    expressions = (
        Expression(key="gen", operator=Operator.GREATER, values=("1",)),
        Expression(key="gen", operator=Operator.NOT_IN, values=("1", "3")),
    )
    definition = workload(expressions=expressions)
    await _expect_change(subject, definition, view, _on(ChangeKind.DROP_EXPRESSION, "gen"))


@KIT.clause("CHANGE-1", "tolerating-a-taint-places")
async def _tolerate(subject: SchedulerUnderTest) -> None:
    view = one(node(taints=(Taint("gpu", "only"),)))
    await _expect_change(subject, workload(), view, _on(ChangeKind.TOLERATE_TAINT, "gpu"))


@KIT.clause("CHANGE-1", "uncordoning-places")
async def _uncordon(subject: SchedulerUnderTest) -> None:
    for drain in (None, Drain(reason="upkeep")):
        view = one(node(cordoned=True, drain=drain))
        await _expect_change(subject, workload(), view, _on(ChangeKind.UNCORDON))


@KIT.clause("CHANGE-1", "freeing-a-port-places")
async def _free_port(subject: SchedulerUnderTest) -> None:
    view = one(node(), neighbour(host_ports=frozenset({tcp(80), tcp(81)})))
    await _expect_change(subject, workload(container(ports=(tcp(80),))), view, _on(ChangeKind.FREE_PORT, "tcp/80"))


@KIT.clause("CHANGE-1", "enabling-a-driver-places")
async def _enable_driver(subject: SchedulerUnderTest) -> None:
    definition = workload(container(driver="docker"))
    await _expect_change(subject, definition, one(node()), _on(ChangeKind.ENABLE_DRIVER, "docker"))


@KIT.clause("CHANGE-1", "several-steps-together-place")
async def _several(subject: SchedulerUnderTest) -> None:
    definition = workload(container(wants=resources(cpu=10), driver="docker"), select={"disk": "ssd"})
    view = one(node(room=resources(cpu=5), cordoned=True))
    steps = (
        _on(ChangeKind.ENABLE_DRIVER, "docker"),
        _on(ChangeKind.DROP_SELECTOR, "disk"),
        _on(ChangeKind.LOWER_REQUEST, "cpu_millicores", 5),
        _on(ChangeKind.UNCORDON),
    )
    await _expect_change(subject, definition, view, *steps)


@KIT.clause("CHANGE-2", "the-node-that-needs-the-fewest-steps-is-named")
async def _fewest(subject: SchedulerUnderTest) -> None:
    view = cluster(
        node("n1", cordoned=True, taints=(Taint("old"),)),
        node("n2", status=NodeStatus.DOWN),
        node("n3", taints=(Taint("gpu"),)),
        node("n4", cordoned=True, drivers=frozenset()),
    )
    await _expect_change(subject, workload(), view, _on(ChangeKind.TOLERATE_TAINT, "gpu", node_id="n3"))


@KIT.clause("CHANGE-3", "a-new-node-is-the-change-where-nothing-else-helps")
async def _add_node(subject: SchedulerUnderTest) -> None:
    definition = workload(container(wants=resources(cpu=10, licence=2)), select={"disk": "ssd"})
    steps = (
        PlacementChange(kind=ChangeKind.ADD_NODE, subject="cpu_millicores", amount=10),
        PlacementChange(kind=ChangeKind.ADD_NODE, subject="licence", amount=2),
    )
    await _expect_change(subject, definition, cluster(), *steps)
    await _expect_change(subject, definition, one(node(status=NodeStatus.DOWN)), *steps)
    # A request that were lowered to nothing would not be the same workload.
    await _expect_change(subject, definition, one(node(room=resources(cpu=10))), *steps)


@KIT.clause("CHANGE-3", "a-workload-that-asks-for-nothing-needs-any-new-node")
async def _add_any_node(subject: SchedulerUnderTest) -> None:
    await _expect_change(subject, workload(), cluster(), PlacementChange(kind=ChangeKind.ADD_NODE))


@KIT.clause("CHANGE-3", "a-new-node-brings-the-devices", requires=SchedulerCapability.DEVICES)
async def _add_devices(subject: SchedulerUnderTest) -> None:
    definition = workload(
        container("a", gpu=GpuRequest(count=2, model="A100")), container("b", gpu=GpuRequest(thousandths=500))
    )
    step = PlacementChange(kind=ChangeKind.ADD_NODE, subject="gpu", amount=3)
    await _expect_change(subject, definition, one(node()), step)


@KIT.clause("CHANGE-3", "a-new-node-does-not-help-a-slot-that-wants-a-certain-one")
async def _no_new_node(subject: SchedulerUnderTest) -> None:
    view = cluster(node("n1", status=NodeStatus.DOWN), node("n2"))
    for only in ("n1", "n9"):
        decision = await decide_one(subject, asking(workload(), only_node=NodeId(only)), view)
        assert isinstance(decision, NoPlacement), decision
        assert decision.explanation.smallest_change == (), decision


@KIT.clause("CHANGE-1", "with-a-required-spread-a-lower-request-places", requires=SchedulerCapability.SPREAD)
async def _lower_with_spread(subject: SchedulerUnderTest) -> None:
    definition = workload(container(wants=resources(cpu=10)), spreads=(Spread(by="node", required=True),))
    view = cluster(node("n1", room=resources(cpu=9)), node("n2", cordoned=True))
    await _expect_change(subject, definition, view, _on(ChangeKind.LOWER_REQUEST, "cpu_millicores", 9))


@KIT.clause("CHANGE-4", "an-assignment-needs-no-change")
async def _no_change(subject: SchedulerUnderTest) -> None:
    view = cluster(node("n1", cordoned=True), node("n2"))
    decision = await decide_one(subject, asking(workload(), explain=True), view)
    assert decision.explanation is not None
    assert decision.explanation.smallest_change == ()


def _refusals(
    situation: Situation, decisions: list[ScheduleDecision], abilities: Abilities
) -> list[tuple[Step, Explanation]]:
    """Return the first refusal that is true; those after it differ in nothing."""
    steps = replay(situation.request, situation.view, decisions, abilities)
    refused = [
        (step, step.decision.explanation)
        for step in steps
        if isinstance(step.decision, NoPlacement) and step.held_by is None and not step.broken
    ]
    return refused[:1]


@KIT.property_clause("CHANGE-1", "the-change-places-the-slot-in-any-cluster")
def _places(run: Runner[SchedulerUnderTest]) -> None:
    abilities = abilities_of(run)

    async def examine(subject: SchedulerUnderTest, situation: Situation) -> None:
        request = situation.request
        decisions = await decide(subject, request, situation.view)
        for step, explanation in _refusals(situation, decisions, abilities):
            change = explanation.smallest_change
            if not change or (_adds_node(change) and not has_ideal_node(request.workload)):
                continue
            changed, after = apply_change(change, request.workload, step.world)
            again = SchedulingRequest(workload=changed, slots=(_FRESH,), only_node=request.only_node)
            view = StaticClusterView(after.values())
            placed = await decide_one(subject, again, view)
            assert isinstance(placed, AssignNode), f"{change} does not place it: {placed}"
            if change[0].node_id is not None:
                left = complaints(changed, change[0].node_id, after, abilities, request.only_node)
                assert not left, f"after {change} its node still fails {left}"

    @run.settings()
    @given(situations(abilities))
    def example(situation: Situation) -> None:
        run(examine, situation)

    example()


def _adds_node(change: tuple[PlacementChange, ...]) -> bool:
    return any(step.kind is ChangeKind.ADD_NODE for step in change)


@KIT.property_clause("CHANGE-2", "no-fewer-steps-place-the-slot")
def _smallest(run: Runner[SchedulerUnderTest]) -> None:
    abilities = abilities_of(run)

    @run.settings()
    @given(situations(abilities))
    def example(situation: Situation) -> None:
        request = situation.request
        decisions = run(decide, request, situation.view)
        for step, explanation in _refusals(situation, decisions, abilities):
            change = explanation.smallest_change
            every = 100
            fewer = len(change) - 1 if change and not _adds_node(change) else every
            found = fewer_steps_that_place(fewer, request.workload, step.world, abilities, request.only_node)
            assert found is None, f"{found} would do, and the smallest change is {change}"

    example()


@KIT.property_clause("CHANGE-3", "a-new-node-is-proposed-exactly-where-nothing-else-helps")
def _new_node_last(run: Runner[SchedulerUnderTest]) -> None:
    abilities = abilities_of(run)

    @run.settings()
    @given(situations(abilities))
    def example(situation: Situation) -> None:
        request = situation.request
        decisions = run(decide, request, situation.view)
        for step, explanation in _refusals(situation, decisions, abilities):
            helped = _is_helped(request, step.world, abilities)
            proposed = _adds_node(explanation.smallest_change)
            unsupported = any(group.predicate.value == "unsupported" for group in explanation.groups)
            expected = not helped and not unsupported and request.only_node is None
            expected = expected and joining_node(request.workload, step.world, demand(request.workload)) is not None
            # Without nodes nobody can be seen to fail for want of an ability.
            if step.world:
                assert proposed == expected, explanation

    example()


def _is_helped(request: SchedulingRequest, world: World, abilities: Abilities) -> bool:
    found = fewer_steps_that_place(100, request.workload, world, abilities, request.only_node)
    return found is not None
