"""Schedulers that push out the wrong instances: each fails the clause that it breaks."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import pytest
from attrs import evolve
from orchestrion.scheduler_interface import (
    AssignNode,
    ClusterView,
    Eviction,
    Explanation,
    FullScanScheduler,
    NodeView,
    NoPlacement,
    ScheduleDecision,
    SchedulerCapability,
    SchedulingRequest,
    find_evictions,
    node_view,
    with_decisions,
)
from orchestrion.shared_types import InstanceKey, Node, Placement, Uid, WorkloadDefinition

from .scheduler_mutants import AbleMutant, Decisions, Mutant, MutantKind, Mutants, failed_checks

MUTANTS = Mutants()

STRANGER = Uid("01900000-0000-7000-8000-00000000ffff")


@MUTANTS.breaks("ABLE-3")
class RefusesWhoMayPush(Mutant):
    def decision(self, request: SchedulingRequest, view: ClusterView, decision: ScheduleDecision) -> ScheduleDecision:
        return NoPlacement(slot=decision.slot, explanation=Explanation()) if request.preempt else decision


@MUTANTS.breaks("ABLE-3")
class PushesOutWithoutSayingSo(AbleMutant):
    capabilities: ClassVar[frozenset[SchedulerCapability]] = frozenset(SchedulerCapability) - {
        SchedulerCapability.PREEMPTION
    }


@MUTANTS.breaks("PREEMPT-1")
class PushesOutUnasked(AbleMutant):
    def request(self, request: SchedulingRequest) -> SchedulingRequest:
        return evolve(request, preempt=True)


@MUTANTS.breaks("PREEMPT-1")
class RatherPushesOut(AbleMutant):
    """Idle nodes are kept idle."""

    def view(self, request: SchedulingRequest, view: NodeView) -> NodeView:
        is_idle = request.preempt and not view.instances
        return evolve(view, node=evolve(view.node, cordoned=True)) if is_idle else view


@MUTANTS.breaks("PREEMPT-2")
class PushesOutEquals(AbleMutant):
    def workload(self, workload: WorkloadDefinition) -> WorkloadDefinition:
        return evolve(workload, priority=workload.priority + 1)


@MUTANTS.breaks("PREEMPT-3")
class PushesOutItsOwn(AbleMutant):
    """What holds no slot of the request is anybody's."""

    def view(self, request: SchedulingRequest, view: NodeView) -> NodeView:
        def renamed(key: InstanceKey) -> InstanceKey:
            is_own = key.workload_id == request.workload.metadata.uid and key not in request.slots
            return evolve(key, workload_id=STRANGER) if is_own else key

        instances = [evolve(each, key=renamed(key)) for key, each in view.instances.items()]
        return node_view(view.node, instances)

    def decision(self, request: SchedulingRequest, view: ClusterView, decision: ScheduleDecision) -> ScheduleDecision:
        if not isinstance(decision, AssignNode):
            return decision
        own = request.workload.metadata.uid
        keys = [evolve(key, workload_id=own) if key.workload_id == STRANGER else key for key in decision.victims]
        return evolve(decision, victims=tuple(sorted(keys)))


@MUTANTS.breaks("PREEMPT-4")
class PushesOutItsCompany(AbleMutant):
    def before(self, request: SchedulingRequest, view: ClusterView) -> tuple[SchedulingRequest, ClusterView]:
        placement: Placement = request.workload.placement
        if request.preempt:
            affinities = tuple(each for each in placement.instance_affinities if each.anti)
            placement = evolve(placement, instance_affinities=affinities)
        return evolve(request, workload=evolve(request.workload, placement=placement)), view


@MUTANTS.breaks("PREEMPT-5")
class IgnoresBudgets(AbleMutant):
    def request(self, request: SchedulingRequest) -> SchedulingRequest:
        return evolve(request, budgets={})


@MUTANTS.breaks("PREEMPT-5")
class TakesOverdrawnBudgetsForNone(AbleMutant):
    def request(self, request: SchedulingRequest) -> SchedulingRequest:
        return evolve(request, budgets={uid: budget for uid, budget in request.budgets.items() if budget >= 0})


@MUTANTS.breaks("PREEMPT-5")
class EndsOnlyWhoHasABudget(AbleMutant):
    def before(self, request: SchedulingRequest, view: ClusterView) -> tuple[SchedulingRequest, ClusterView]:
        if not request.budgets:
            return request, view
        others = {key.workload_id for each in view for key in each.instances}
        return evolve(request, budgets={**dict.fromkeys(others, 0), **request.budgets}), view


class SlotBySlot(AbleMutant):
    """Asks for each slot on its own, after those before it."""

    def carried_out(self, decision: ScheduleDecision) -> ScheduleDecision:
        return decision

    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> Decisions:
        decisions: Decisions = []
        for slot in request.slots:
            decisions += await super().schedule(evolve(request, slots=(slot,), minimum=0), view)
            view = with_decisions(view, request.workload, [self.carried_out(decisions[-1])])
        return decisions


@MUTANTS.breaks("PREEMPT-5")
class HasABudgetForEachSlot(SlotBySlot):
    pass


@MUTANTS.breaks("PREEMPT-9")
class ForgetsWhomItPushedOut(SlotBySlot):
    def carried_out(self, decision: ScheduleDecision) -> ScheduleDecision:
        return evolve(decision, victims=()) if isinstance(decision, AssignNode) else decision


@MUTANTS.breaks("PREEMPT-6")
class PushesOutForResourcesAlone(AbleMutant):
    """Ports that are held and neighbours that are unwanted refuse as if nobody could leave."""

    def decision(self, request: SchedulingRequest, view: ClusterView, decision: ScheduleDecision) -> ScheduleDecision:
        asks = request.workload.placement.instance_affinities or any(
            each.ports or each.gpu for each in request.workload.containers
        )
        if isinstance(decision, AssignNode) and decision.victims and asks:
            return NoPlacement(slot=decision.slot, explanation=Explanation())
        return decision


@MUTANTS.breaks("PREEMPT-6")
class PushesOutForClosedNodes(AbleMutant):
    def node(self, request: SchedulingRequest, node: Node) -> Node:
        return evolve(node, cordoned=False, drain=None)


@MUTANTS.breaks("PREEMPT-7")
class EmptiesTheNode(AbleMutant):
    def decision(self, request: SchedulingRequest, view: ClusterView, decision: ScheduleDecision) -> ScheduleDecision:
        if not isinstance(decision, AssignNode) or not decision.victims:
            return decision
        node = view.get(decision.node_id)
        assert node is not None
        lower = [key for key, each in node.instances.items() if each.priority < request.workload.priority]
        return evolve(decision, victims=tuple(sorted(lower)))


@MUTANTS.breaks("PREEMPT-7")
class TakesAllLowerPrioritiesForEqual(AbleMutant):
    def view(self, request: SchedulingRequest, view: NodeView) -> NodeView:
        least = min((each.priority for each in view.instances.values()), default=0)
        instances = [
            evolve(each, priority=least) if each.priority < request.workload.priority else each
            for each in view.instances.values()
        ]
        return node_view(view.node, instances)


@MUTANTS.breaks("PREEMPT-7")
class IgnoresSizes(AbleMutant):
    """Takes other graces, by which the larger are put back first."""

    def view(self, request: SchedulingRequest, view: NodeView) -> NodeView:
        whole = view.node.allocatable
        room = evolve(whole, cpu_millicores=max(1, whole.cpu_millicores) * 2000, memory_bytes=whole.memory_bytes * 2000)
        # On a node of that size all instances are equally small; one more holds what there is not.
        missing = evolve(
            room,
            cpu_millicores=room.cpu_millicores - whole.cpu_millicores,
            memory_bytes=room.memory_bytes - whole.memory_bytes,
            disk_bytes=0,
            extended={},
        )
        holder = InstanceKey(STRANGER, 0, 1)
        if not view.instances:
            return view
        stays = evolve(next(iter(view.instances.values())), key=holder, priority=2**31 - 1, demand=missing, labels={})
        stays = evolve(stays, host_ports=frozenset(), device_thousandths={})
        return node_view(evolve(view.node, capacity=room, allocatable=room), [*view.instances.values(), stays])


@MUTANTS.breaks("PREEMPT-7")
class IgnoresGraces(AbleMutant):
    def view(self, request: SchedulingRequest, view: NodeView) -> NodeView:
        return node_view(view.node, [evolve(each, grace_seconds=0) for each in view.instances.values()])


@MUTANTS.breaks("PREEMPT-7")
class NamesVictimsBackwards(AbleMutant):
    def decision(self, request: SchedulingRequest, view: ClusterView, decision: ScheduleDecision) -> ScheduleDecision:
        return evolve(decision, victims=decision.victims[::-1]) if isinstance(decision, AssignNode) else decision


class ChoosesBy(AbleMutant):
    """Ranks nodes in its own way."""

    rank: Callable[[Eviction], tuple[int, ...]]

    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> Decisions:
        decisions = await super().schedule(request, view)
        first = decisions[0]
        if len(decisions) > 1 or not isinstance(first, AssignNode) or not first.victims:
            return decisions
        evictions = find_evictions(request, view, capabilities=self.capabilities)
        best = min(evictions, key=lambda each: (type(self).rank(each), each.node_id))
        return await super().schedule(evolve(request, only_node=best.node_id), view)


@MUTANTS.breaks("PREEMPT-8")
class TakesTheFirstNode(ChoosesBy):
    @staticmethod
    def rank(_eviction: Eviction) -> tuple[int, ...]:
        return ()


@MUTANTS.breaks("PREEMPT-8")
class PushesOutTheFewest(ChoosesBy):
    @staticmethod
    def rank(eviction: Eviction) -> tuple[int, ...]:
        return (len(eviction.victims),)


@MUTANTS.breaks("PREEMPT-8")
class PushesOutTheQuickest(ChoosesBy):
    @staticmethod
    def rank(eviction: Eviction) -> tuple[int, ...]:
        highest, number, grace = eviction.rank
        return (highest, grace, number)


@MUTANTS.breaks("PREEMPT-8")
class DoesNotLookAtGraces(ChoosesBy):
    @staticmethod
    def rank(eviction: Eviction) -> tuple[int, ...]:
        return eviction.rank[:2]


@MUTANTS.breaks("PREEMPT-10")
class PushesOutForAGangThatIsRefused(AbleMutant):
    def request(self, request: SchedulingRequest) -> SchedulingRequest:
        return evolve(request, minimum=0) if request.preempt else request


@MUTANTS.breaks("PREEMPT-11")
class ExplainsTheNodeWithoutItsVictims(AbleMutant):
    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> Decisions:
        decisions = await super().schedule(request, view)
        return [
            evolve(each, explanation=evolve(each.explanation, groups=each.explanation.groups[:1]))
            if isinstance(each, AssignNode) and each.victims and each.explanation is not None
            else each
            for each in decisions
        ]


@MUTANTS.breaks("PREEMPT-11")
class TellsWhatNeedNotChange(AbleMutant):
    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> Decisions:
        decisions = await super().schedule(request, view)
        alone = await FullScanScheduler().schedule(evolve(request, preempt=False, minimum=0), view)
        refused = next((each.explanation for each in alone if isinstance(each, NoPlacement)), None)
        return [
            evolve(each, explanation=refused)
            if isinstance(each, AssignNode) and each.victims and request.explain
            else each
            for each in decisions
        ]


@pytest.mark.parametrize(("clause", "kind"), MUTANTS.parameters())
def test_the_kit_kills(clause: str, kind: MutantKind) -> None:
    assert failed_checks(clause, kind)
