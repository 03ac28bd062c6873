"""The kit is tested by mutants: schedulers that are wrong on purpose, each of which must fail its own clause."""

from __future__ import annotations

import unittest
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar, TypeVar

import pytest
import trio
from attrs import evolve
from orchestrion.conformance_kit import EXAMPLES
from orchestrion.scheduler_interface import (
    AssignNode,
    ChangeKind,
    ClusterView,
    Explanation,
    NodeView,
    NoPlacement,
    PlacementChange,
    Predicate,
    ScheduleDecision,
    SchedulerCapability,
    SchedulingRequest,
    SimpleScheduler,
    StaticClusterView,
    demand_of,
    drivers_of,
)
from orchestrion.scheduler_interface.conformance import CHECK_IDS, SchedulerUnderTest, checks
from orchestrion.shared_types import (
    MAX_AMOUNT,
    Expression,
    GpuRequest,
    InstanceKey,
    Node,
    NodeId,
    NodeStatus,
    Operator,
    Placement,
    PortMapping,
    Protocol,
    Resources,
    Spread,
    Taint,
    TaintEffect,
    Toleration,
    Topology,
    WorkloadDefinition,
)

Decisions = list[ScheduleDecision]


class Mutant(SimpleScheduler):
    """The reference, but what it is asked and what it answers are tampered with."""

    def before(self, request: SchedulingRequest, view: ClusterView) -> tuple[SchedulingRequest, ClusterView]:
        return self.request(request), StaticClusterView(self.views(request, view), revision=view.revision)

    def request(self, request: SchedulingRequest) -> SchedulingRequest:
        return evolve(request, workload=self.workload(request.workload))

    def workload(self, workload: WorkloadDefinition) -> WorkloadDefinition:
        return evolve(workload, placement=self.placement(workload.placement))

    def placement(self, placement: Placement) -> Placement:
        return placement

    def views(self, request: SchedulingRequest, view: ClusterView) -> Iterable[NodeView]:
        return [self.view(request, each) for each in view]

    def view(self, request: SchedulingRequest, view: NodeView) -> NodeView:
        return evolve(view, node=self.node(request, view.node))

    def node(self, request: SchedulingRequest, node: Node) -> Node:
        return node

    def after(self, request: SchedulingRequest, view: ClusterView, decisions: Decisions) -> Decisions:
        return [self.decision(request, view, decision) for decision in decisions]

    def decision(self, request: SchedulingRequest, view: ClusterView, decision: ScheduleDecision) -> ScheduleDecision:
        if decision.explanation is None:
            return decision
        if isinstance(decision, AssignNode):
            return evolve(decision, explanation=self.assigned(decision.explanation))
        return evolve(decision, explanation=self.refused(self.assigned(decision.explanation)))

    def assigned(self, explanation: Explanation) -> Explanation:
        return explanation

    def refused(self, explanation: Explanation) -> Explanation:
        return explanation

    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> Decisions:
        asked, seen = self.before(request, view)
        return self.after(request, view, await super().schedule(asked, seen))


MutantKind = type[Mutant]
MUTANTS: dict[str, tuple[str, MutantKind]] = {}

M = TypeVar("M", bound=MutantKind)


def fails(clause: str) -> Callable[[M], M]:
    """Register a mutant that must fail this clause."""

    def register(kind: M) -> M:
        MUTANTS[f"{clause}-{kind.__name__}"] = (clause, kind)
        return kind

    return register


# Calls


@fails("DECIDE-1")
class AnswersBackwards(Mutant):
    def after(self, request: SchedulingRequest, view: ClusterView, decisions: Decisions) -> Decisions:
        return decisions[::-1]


@fails("DECIDE-1")
class ForgetsRefusals(Mutant):
    def after(self, request: SchedulingRequest, view: ClusterView, decisions: Decisions) -> Decisions:
        return [decision for decision in decisions if isinstance(decision, AssignNode)]


@fails("DECIDE-2")
class HopesForNodes(Mutant):
    def decision(self, request: SchedulingRequest, view: ClusterView, decision: ScheduleDecision) -> ScheduleDecision:
        return AssignNode(slot=decision.slot, node_id=NodeId("n99")) if len(view) == 0 else decision


@fails("DECIDE-3")
class NeverExplainsAssignments(Mutant):
    def decision(self, request: SchedulingRequest, view: ClusterView, decision: ScheduleDecision) -> ScheduleDecision:
        return evolve(decision, explanation=None) if isinstance(decision, AssignNode) else decision


@fails("REFUSE-1")
class AcceptsNoSlots(Mutant):
    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> Decisions:
        return await super().schedule(request, view) if request.slots else []


@fails("REFUSE-2")
class AcceptsSlotsTwice(Mutant):
    def request(self, request: SchedulingRequest) -> SchedulingRequest:
        return evolve(request, slots=tuple(dict.fromkeys(request.slots)))


@fails("REFUSE-3")
class AcceptsStrangers(Mutant):
    def request(self, request: SchedulingRequest) -> SchedulingRequest:
        uid = request.workload.metadata.uid
        return evolve(request, slots=tuple(evolve(slot, workload_id=uid) for slot in request.slots[:1]))


@fails("REFUSE-4")
class DoesNotAddUp(Mutant):
    def workload(self, workload: WorkloadDefinition) -> WorkloadDefinition:
        return evolve(workload, containers=workload.containers[:1])


@fails("ABLE-1")
class GrowsAbilities(Mutant):
    def __init__(self) -> None:
        self._asked = False

    @property
    def capabilities(self) -> frozenset[SchedulerCapability]:
        return frozenset(SchedulerCapability) if self._asked else super().capabilities

    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> Decisions:
        self._asked = True
        return await super().schedule(request, view)


@fails("ABLE-2")
class IgnoresAffinities(Mutant):
    def placement(self, placement: Placement) -> Placement:
        return evolve(placement, node_affinities=(), instance_affinities=())


@fails("ABLE-2")
class ConcealsAbilities(Mutant):
    """It grants devices and keeps spreads, and says that it does not."""

    capabilities: ClassVar[frozenset[SchedulerCapability]] = frozenset()


@fails("PREFER-1")
class TakesPreferencesForRequirements(Mutant):
    def placement(self, placement: Placement) -> Placement:
        preferred = [expression for each in placement.node_affinities for expression in each.expressions]
        return evolve(placement, expressions=(*placement.expressions, *preferred))


@fails("PREFER-1")
class RequiresEverySpread(Mutant):
    def placement(self, placement: Placement) -> Placement:
        return evolve(placement, spreads=tuple(evolve(spread, required=True) for spread in placement.spreads))


@fails("CANCEL-1")
class ReservesBeforeItDecides(Mutant):
    def __init__(self) -> None:
        self._reserved: set[NodeId] = set()

    def views(self, request: SchedulingRequest, view: ClusterView) -> Iterable[NodeView]:
        free = [each for each in view if each.node.id not in self._reserved]
        self._reserved.update(each.node.id for each in free[:1])
        return free

    def after(self, request: SchedulingRequest, view: ClusterView, decisions: Decisions) -> Decisions:
        self._reserved.clear()
        return decisions


@fails("CANCEL-2")
class CanNotBeCancelled(Mutant):
    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> Decisions:
        decisions: Decisions = []
        with trio.CancelScope(shield=True):
            decisions += await super().schedule(request, view)
        return decisions


@fails("TASKS-1")
class KeepsTheRequestInItself(Mutant):
    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> Decisions:
        self._request = request
        await trio.lowlevel.checkpoint()
        return await super().schedule(self._request, view)


# Predicates


@fails("FIT-1")
@fails("SAFE-4")
class TrustsUnknownNodes(Mutant):
    def node(self, request: SchedulingRequest, node: Node) -> Node:
        return evolve(node, status=NodeStatus.READY) if node.status is NodeStatus.UNKNOWN else node


@fails("FIT-1")
class TrustsNoNode(Mutant):
    def node(self, request: SchedulingRequest, node: Node) -> Node:
        return evolve(node, status=NodeStatus.NOT_READY)


@fails("FIT-2")
@fails("SAFE-4")
class IgnoresCordons(Mutant):
    def node(self, request: SchedulingRequest, node: Node) -> Node:
        return evolve(node, cordoned=False, drain=None)


@fails("FIT-3")
@fails("SAFE-4")
class IgnoresConditions(Mutant):
    def node(self, request: SchedulingRequest, node: Node) -> Node:
        return evolve(node, conditions=())


@fails("FIT-3")
class TakesAnyConditionForAFault(Mutant):
    def node(self, request: SchedulingRequest, node: Node) -> Node:
        return evolve(node, conditions=tuple(evolve(each, active=True) for each in node.conditions))


@fails("FIT-4")
@fails("SAFE-4")
class IgnoresTheOnlyNode(Mutant):
    def request(self, request: SchedulingRequest) -> SchedulingRequest:
        return evolve(request, only_node=None)


@fails("FIT-5")
class IsContentWithOneDriver(Mutant):
    def node(self, request: SchedulingRequest, node: Node) -> Node:
        wanted = drivers_of(request.workload)
        return evolve(node, drivers=node.drivers | wanted) if node.drivers & wanted else node


@fails("FIT-5")
@fails("SAFE-4")
class IgnoresDrivers(Mutant):
    def node(self, request: SchedulingRequest, node: Node) -> Node:
        return evolve(node, drivers=node.drivers | drivers_of(request.workload))


@fails("FIT-5")
class IgnoresImages(Mutant):
    def workload(self, workload: WorkloadDefinition) -> WorkloadDefinition:
        return evolve(workload, containers=tuple(evolve(each, image=None) for each in workload.containers))


@fails("FIT-6")
@fails("SAFE-4")
class LooksAtOneSelector(Mutant):
    def placement(self, placement: Placement) -> Placement:
        return evolve(placement, select=dict(sorted(placement.select.items())[:1]))


@fails("FIT-6")
class DoesNotSelectByTopology(Mutant):
    def node(self, request: SchedulingRequest, node: Node) -> Node:
        return evolve(node, topology=Topology())


@fails("FIT-6")
class DoesNotSelectTopologyByLabel(Mutant):
    def node(self, request: SchedulingRequest, node: Node) -> Node:
        return evolve(node, labels={key: value for key, value in node.labels.items() if key != "zone"})


@fails("FIT-6")
@fails("SAFE-4")
class IgnoresSelectors(Mutant):
    def placement(self, placement: Placement) -> Placement:
        return evolve(placement, select={})


@fails("FIT-7")
@fails("SAFE-4")
class IgnoresExpressions(Mutant):
    def placement(self, placement: Placement) -> Placement:
        return evolve(placement, expressions=())


class RewritesExpressions(Mutant):
    def expression(self, expression: Expression) -> Expression | None:
        return expression

    def placement(self, placement: Placement) -> Placement:
        rewritten = (self.expression(expression) for expression in placement.expressions)
        return evolve(placement, expressions=tuple(each for each in rewritten if each is not None))


@fails("FIT-7")
@fails("SAFE-4")
class LooksAtTheFirstValue(RewritesExpressions):
    def expression(self, expression: Expression) -> Expression:
        return evolve(expression, values=expression.values[:1])


@fails("FIT-7")
@fails("SAFE-4")
class IgnoresExistence(RewritesExpressions):
    def expression(self, expression: Expression) -> Expression | None:
        return expression if expression.values else None


@fails("FIT-7")
class ComparesText(Mutant):
    def node(self, request: SchedulingRequest, node: Node) -> Node:
        expressions = request.workload.placement.expressions

        def read(key: str, value: str) -> str:
            bounds = [each.values[0] for each in expressions if each.key == key and each.values]
            return value if not bounds else "1000" if value > bounds[0] else "0"

        numeric = any(each.operator is Operator.GREATER for each in expressions)
        return evolve(node, labels={key: read(key, value) for key, value in node.labels.items()}) if numeric else node


@fails("FIT-7")
class ComparesFractions(Mutant):
    def node(self, request: SchedulingRequest, node: Node) -> Node:
        numeric = any(each.operator is Operator.LESS for each in request.workload.placement.expressions)
        cut = {key: value.split(".")[0] for key, value in node.labels.items()}
        return evolve(node, labels=cut) if numeric else node


@fails("FIT-8")
@fails("SAFE-4")
class IgnoresNoExecute(Mutant):
    def node(self, request: SchedulingRequest, node: Node) -> Node:
        return evolve(node, taints=tuple(each for each in node.taints if each.effect is not TaintEffect.NO_EXECUTE))


@fails("FIT-8")
@fails("SAFE-4")
class IgnoresTaints(Mutant):
    def node(self, request: SchedulingRequest, node: Node) -> Node:
        return evolve(node, taints=())


@fails("FIT-8")
class LooksAtOneTaint(Mutant):
    def node(self, request: SchedulingRequest, node: Node) -> Node:
        return evolve(node, taints=node.taints[:1])


class RewritesTolerations(Mutant):
    def toleration(self, toleration: Toleration) -> Toleration | None:
        return toleration

    def placement(self, placement: Placement) -> Placement:
        rewritten = (self.toleration(toleration) for toleration in placement.tolerations)
        return evolve(placement, tolerations=tuple(each for each in rewritten if each is not None))


@fails("FIT-8")
class ToleratesAnyValue(RewritesTolerations):
    def toleration(self, toleration: Toleration) -> Toleration:
        return evolve(toleration, value=None)


@fails("FIT-8")
class ToleratesAnyEffect(RewritesTolerations):
    def toleration(self, toleration: Toleration) -> Toleration:
        return evolve(toleration, effect=None)


@fails("FIT-8")
class WantsTolerationsForEver(RewritesTolerations):
    def toleration(self, toleration: Toleration) -> Toleration | None:
        return toleration if toleration.seconds is None else None


@fails("FIT-9")
class TakesDislikeForRefusal(Mutant):
    def node(self, request: SchedulingRequest, node: Node) -> Node:
        return evolve(node, taints=tuple(Taint(each.key, each.value) for each in node.taints))


class RewritesPorts(Mutant):
    def port(self, port: PortMapping) -> PortMapping:
        return port

    def workload(self, workload: WorkloadDefinition) -> WorkloadDefinition:
        return evolve(
            workload,
            containers=tuple(
                evolve(each, ports=tuple(self.port(port) for port in each.ports)) for each in workload.containers
            ),
        )


@fails("FIT-10")
@fails("SAFE-2")
class IgnoresPorts(RewritesPorts):
    def port(self, port: PortMapping) -> PortMapping:
        return evolve(port, host_port=None)


@fails("FIT-10")
class TakesContainerPortsForHostPorts(RewritesPorts):
    def port(self, port: PortMapping) -> PortMapping:
        return evolve(port, host_port=port.host_port or port.container_port)


@fails("FIT-10")
class IgnoresProtocols(RewritesPorts):
    def port(self, port: PortMapping) -> PortMapping:
        return evolve(port, protocol=Protocol.TCP)

    def view(self, request: SchedulingRequest, view: NodeView) -> NodeView:
        return evolve(view, host_ports=frozenset((Protocol.TCP, number) for _, number in view.host_ports))


class RewritesDemand(Mutant):
    def demand(self, resources: Resources) -> Resources:
        return resources

    def workload(self, workload: WorkloadDefinition) -> WorkloadDefinition:
        demand_of(workload)  # which is refused, if it is above what can be counted
        return evolve(
            workload,
            containers=tuple(evolve(each, resources=self.demand(each.resources)) for each in workload.containers),
        )


@fails("FIT-11")
@fails("SAFE-1")
class ForgetsCpu(RewritesDemand):
    def demand(self, resources: Resources) -> Resources:
        return evolve(resources, cpu_millicores=0)


@fails("FIT-11")
@fails("SAFE-1")
class ForgetsMemory(RewritesDemand):
    def demand(self, resources: Resources) -> Resources:
        return evolve(resources, memory_bytes=0)


@fails("FIT-11")
@fails("SAFE-1")
class ForgetsDisk(RewritesDemand):
    def demand(self, resources: Resources) -> Resources:
        return evolve(resources, disk_bytes=0)


@fails("FIT-11")
@fails("SAFE-1")
class ForgetsExtendedResources(RewritesDemand):
    def demand(self, resources: Resources) -> Resources:
        return evolve(resources, extended={})


@fails("FIT-11")
@fails("SAFE-1")
class LooksAtTheFirstContainer(RewritesDemand):
    def workload(self, workload: WorkloadDefinition) -> WorkloadDefinition:
        first, *others = super().workload(workload).containers
        return evolve(workload, containers=(first, *(evolve(each, resources=Resources()) for each in others)))


@fails("FIT-11")
@fails("SAFE-1")
class ForgetsWhatIsReserved(Mutant):
    def view(self, request: SchedulingRequest, view: NodeView) -> NodeView:
        return evolve(view, reserved=Resources())


@fails("FIT-11")
class LooksAtTheCapacity(Mutant):
    def node(self, request: SchedulingRequest, node: Node) -> Node:
        return evolve(node, allocatable=node.capacity)


@fails("FIT-12")
class WantsOneMore(RewritesDemand):
    def demand(self, resources: Resources) -> Resources:
        cpu = resources.cpu_millicores
        return evolve(resources, cpu_millicores=min(MAX_AMOUNT, cpu + (cpu > 0)))


@fails("FIT-12")
class RoundsToFloats(RewritesDemand):
    def demand(self, resources: Resources) -> Resources:
        memory = resources.memory_bytes
        return evolve(resources, memory_bytes=memory if memory < 2**52 else memory // 1024 * 1024)


@fails("FIT-13")
class ShunsShrunkNodes(Mutant):
    def views(self, request: SchedulingRequest, view: ClusterView) -> Iterable[NodeView]:
        return [each for each in view if each.reserved.fits_in(each.node.allocatable)]


# Devices


class RewritesGpus(Mutant):
    def gpu(self, gpu: GpuRequest) -> GpuRequest:
        return gpu

    def workload(self, workload: WorkloadDefinition) -> WorkloadDefinition:
        rewritten = (each if each.gpu is None else evolve(each, gpu=self.gpu(each.gpu)) for each in workload.containers)
        return evolve(workload, containers=tuple(rewritten))


@fails("DEVICE-1")
class GrantsOneDevice(RewritesGpus):
    def gpu(self, gpu: GpuRequest) -> GpuRequest:
        return evolve(gpu, count=min(1, gpu.count))


@fails("DEVICE-1")
@fails("SAFE-3")
class IgnoresWhoHoldsDevices(Mutant):
    def view(self, request: SchedulingRequest, view: NodeView) -> NodeView:
        return evolve(view, device_thousandths={})


@fails("DEVICE-1")
class GrantsSharedDevicesWhole(Mutant):
    def view(self, request: SchedulingRequest, view: NodeView) -> NodeView:
        held = {device_id: share for device_id, share in view.device_thousandths.items() if share > 500}
        return evolve(view, device_thousandths=held)


@fails("DEVICE-1")
class TakesAnyDeviceForAGpu(Mutant):
    def node(self, request: SchedulingRequest, node: Node) -> Node:
        return evolve(node, devices=tuple(evolve(each, kind="gpu") for each in node.devices))


@fails("DEVICE-2")
class GrantsWholeDevicesForShares(RewritesGpus):
    def gpu(self, gpu: GpuRequest) -> GpuRequest:
        return evolve(gpu, count=1, thousandths=0) if gpu.thousandths else gpu


@fails("DEVICE-2")
class ForgetsToSayTheShare(Mutant):
    def decision(self, request: SchedulingRequest, view: ClusterView, decision: ScheduleDecision) -> ScheduleDecision:
        return evolve(decision, device_thousandths={}) if isinstance(decision, AssignNode) else decision


@fails("DEVICE-3")
class LooksAtTheBestDeviceOfTheNode(Mutant):
    """Any GPU of the node, and not the free one, has to match."""

    def node(self, request: SchedulingRequest, node: Node) -> Node:
        models = " ".join(device.model for device in node.devices)
        memory = max((device.memory_bytes for device in node.devices), default=0)
        return evolve(node, devices=tuple(evolve(each, model=models, memory_bytes=memory) for each in node.devices))


@fails("DEVICE-3")
class IgnoresCapabilities(RewritesGpus):
    def gpu(self, gpu: GpuRequest) -> GpuRequest:
        return evolve(gpu, capability=None)


@fails("DEVICE-4")
class ComparesCapabilitiesAsText(Mutant):
    def node(self, request: SchedulingRequest, node: Node) -> Node:
        wanted = [each.gpu.capability for each in request.workload.containers if each.gpu and each.gpu.capability]
        return evolve(
            node,
            devices=tuple(
                evolve(each, capability="999" if wanted and each.capability >= wanted[0] else "0")
                for each in node.devices
            ),
        )


# Spreads


class RewritesSpreads(Mutant):
    def spread(self, spread: Spread) -> Spread | None:
        return spread

    def placement(self, placement: Placement) -> Placement:
        rewritten = (self.spread(spread) for spread in placement.spreads)
        return evolve(placement, spreads=tuple(each for each in rewritten if each is not None))


@fails("SPREAD-1")
class PutsNodesWithoutAZoneInOne(Mutant):
    def node(self, request: SchedulingRequest, node: Node) -> Node:
        return evolve(node, topology=evolve(node.topology, zone=node.topology.zone or "nowhere"))


@fails("SPREAD-1")
class KnowsFourTopologies(RewritesSpreads):
    def spread(self, spread: Spread) -> Spread | None:
        return spread if spread.by in ("node", "rack", "zone", "region") else None


@fails("SPREAD-2")
class AllowsOneMore(RewritesSpreads):
    def spread(self, spread: Spread) -> Spread:
        return evolve(spread, max_skew=spread.max_skew + 1)


@fails("SPREAD-2")
class CountsNeighbours(Mutant):
    def view(self, request: SchedulingRequest, view: NodeView) -> NodeView:
        uid = request.workload.metadata.uid
        keys = {evolve(key, workload_id=uid, index=key.index + 50): each for key, each in view.instances.items()}
        return evolve(view, instances={**view.instances, **keys})


@fails("SPREAD-2")
class KeepsOneSpread(Mutant):
    def placement(self, placement: Placement) -> Placement:
        return evolve(placement, spreads=placement.spreads[:1])


@fails("SPREAD-3")
class CountsDomainsThatAreDown(Mutant):
    """It sees nodes that are down as nodes that are merely full."""

    def view(self, request: SchedulingRequest, view: NodeView) -> NodeView:
        if view.node.status is NodeStatus.READY:
            return view
        return evolve(view, node=evolve(view.node, status=NodeStatus.READY, allocatable=Resources()))

    def workload(self, workload: WorkloadDefinition) -> WorkloadDefinition:
        first, *others = workload.containers
        more = evolve(first.resources, extended={})
        return evolve(workload, containers=(evolve(first, resources=evolve(more, cpu_millicores=1)), *others))


@fails("SPREAD-3")
class LeavesOutFullDomains(Mutant):
    def views(self, request: SchedulingRequest, view: ClusterView) -> Iterable[NodeView]:
        return [each for each in view if demand_of(request.workload).fits_in(each.free)]


# Safety, and slots that are placed already


def assign(slot: InstanceKey, view: NodeView) -> AssignNode:
    return AssignNode(slot=slot, node_id=view.node.id)


class FallsBack(Mutant):
    """Where a slot is refused for just this reason, it is placed all the same."""

    for_want_of: ClassVar[Predicate]

    def decision(self, request: SchedulingRequest, view: ClusterView, decision: ScheduleDecision) -> ScheduleDecision:
        if isinstance(decision, NoPlacement):
            for group in decision.explanation.groups:
                if group.predicate is self.for_want_of:
                    return AssignNode(slot=decision.slot, node_id=group.samples[0])
        return decision


@fails("SAFE-1")
class OverCommitsResources(FallsBack):
    for_want_of = Predicate.RESOURCE


@fails("SAFE-2")
class GivesPortsTwice(FallsBack):
    for_want_of = Predicate.HOST_PORT


@fails("SAFE-3")
class OverCommitsDevices(FallsBack):
    for_want_of = Predicate.DEVICE


@fails("SAFE-4")
class PlacesOnCordonedNodes(FallsBack):
    for_want_of = Predicate.CORDONED


@fails("SAFE-1")
class DecidesEachSlotAlone(Mutant):
    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> Decisions:
        return [
            decision
            for slot in request.slots
            for decision in await super(Mutant, self).schedule(evolve(request, slots=(slot,)), view)
        ]


@fails("FULL-1")
class GivesUpAfterTwoNodes(Mutant):
    def views(self, request: SchedulingRequest, view: ClusterView) -> Iterable[NodeView]:
        return list(view)[:2]


@fails("STAY-1")
class MovesWhatIsCordoned(Mutant):
    def views(self, request: SchedulingRequest, view: ClusterView) -> Iterable[NodeView]:
        return [evolve(each, instances={}) if each.node.cordoned else each for each in view]


@fails("STAY-1")
class ForgetsWhatASlotHolds(Mutant):
    def decision(self, request: SchedulingRequest, view: ClusterView, decision: ScheduleDecision) -> ScheduleDecision:
        if isinstance(decision, AssignNode) and any(decision.slot in each.instances for each in view):
            return evolve(decision, device_thousandths={})
        return decision


@fails("STAY-1")
class GuessesWhichContainerHasWhat(Mutant):
    def decision(self, request: SchedulingRequest, view: ClusterView, decision: ScheduleDecision) -> ScheduleDecision:
        if isinstance(decision, AssignNode) and any(decision.slot in each.instances for each in view):
            first = request.workload.containers[0].name
            return evolve(decision, devices={first: tuple(decision.device_thousandths)})
        return decision


@fails("STAY-2")
class TakesRoomForWhatStays(Mutant):
    def view(self, request: SchedulingRequest, view: NodeView) -> NodeView:
        demand = demand_of(request.workload)
        again = sum(slot in view.instances for slot in request.slots)
        return evolve(view, reserved=sum([demand] * again, view.reserved))


@fails("STAY-3")
class TakesEpochsForOne(Mutant):
    def decision(self, request: SchedulingRequest, view: ClusterView, decision: ScheduleDecision) -> ScheduleDecision:
        for each in view:
            if any(key.index == decision.slot.index for key in each.instances):
                return assign(decision.slot, each)
        return decision


# Sameness


class Prefers(Mutant):
    """Gives single slots another node that passes, for reasons of its own."""

    def ranked(self, request: SchedulingRequest, views: list[NodeView]) -> list[NodeView]:
        return views

    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> Decisions:
        for each in self.ranked(request, list(view)):
            found = await super().schedule(request, StaticClusterView([each]))
            if all(isinstance(decision, AssignNode) for decision in found):
                return found
        return await super().schedule(request, view)


@fails("SAME-1")
class GoesByTheObject(Prefers):
    def __init__(self) -> None:
        self._first: ClusterView | None = None

    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> Decisions:
        if self._first is None:
            self._first = view
        self._is_first = view is self._first
        return await super().schedule(request, view)

    def ranked(self, request: SchedulingRequest, views: list[NodeView]) -> list[NodeView]:
        return views[::-1] if self._is_first else views


@fails("SAME-2")
class TakesTurns(Prefers):
    def __init__(self) -> None:
        self._calls = 0

    def ranked(self, request: SchedulingRequest, views: list[NodeView]) -> list[NodeView]:
        self._calls += 1
        start = self._calls % max(1, len(views))
        return views[start:] + views[:start]


@fails("SAME-3")
class GoesByTheOrderOfLabels(Prefers):
    def ranked(self, request: SchedulingRequest, views: list[NodeView]) -> list[NodeView]:
        def first(labels: Mapping[str, Any]) -> str:
            return next(iter(labels), "")

        return sorted(views, key=lambda each: (first(each.node.labels), each.node.id))


@fails("SAME-4")
class KeepsWhatItSawFirst(Mutant):
    def __init__(self) -> None:
        self._known: dict[NodeId, Node] = {}

    def node(self, request: SchedulingRequest, node: Node) -> Node:
        return self._known.setdefault(node.id, node)


@fails("SAME-4")
class TrustsOldIndices(Mutant):
    def __init__(self) -> None:
        self._ids: list[NodeId] | None = None

    def views(self, request: SchedulingRequest, view: ClusterView) -> Iterable[NodeView]:
        self._ids = self._ids or [each.node.id for each in view]
        return [each for node_id in self._ids if (each := view.get(node_id)) is not None]


# Explanations


@fails("EXPLAIN-1")
class BlamesEveryNode(Mutant):
    def after(self, request: SchedulingRequest, view: ClusterView, decisions: Decisions) -> Decisions:
        ids = tuple(each.node.id for each in view)

        def blame(explanation: Explanation | None) -> Explanation | None:
            if explanation is None:
                return None
            return evolve(
                explanation,
                groups=tuple(evolve(each, node_count=len(ids), samples=ids[:5]) for each in explanation.groups),
            )

        return [
            evolve(decision, explanation=blame(decision.explanation))
            if isinstance(decision, AssignNode)
            else evolve(decision, explanation=blame(decision.explanation) or decision.explanation)
            for decision in decisions
        ]


@fails("EXPLAIN-1")
class CountsSamples(Mutant):
    def assigned(self, explanation: Explanation) -> Explanation:
        groups = tuple(evolve(each, node_count=len(each.samples)) for each in explanation.groups)
        return evolve(explanation, groups=groups)


@fails("EXPLAIN-2")
class TellsTheFirstReason(Mutant):
    def assigned(self, explanation: Explanation) -> Explanation:
        return evolve(explanation, groups=explanation.groups[:1])


@fails("EXPLAIN-2")
class TellsOneReasonPerPredicate(Mutant):
    def assigned(self, explanation: Explanation) -> Explanation:
        by_predicate = {(group.predicate, group.dimension): group for group in explanation.groups}
        return evolve(explanation, groups=tuple(by_predicate.values()))


@fails("EXPLAIN-3")
class TellsTheFirstFree(Mutant):
    def assigned(self, explanation: Explanation) -> Explanation:
        return evolve(explanation, groups=tuple(evolve(each, best_free=0) for each in explanation.groups))


@fails("EXPLAIN-3")
class AsksForMore(Mutant):
    def assigned(self, explanation: Explanation) -> Explanation:
        return evolve(explanation, groups=tuple(evolve(each, needed=each.needed + 1) for each in explanation.groups))


@fails("EXPLAIN-4")
class TellsTheRarestFirst(Mutant):
    def assigned(self, explanation: Explanation) -> Explanation:
        return evolve(explanation, groups=explanation.groups[::-1])


@fails("EXPLAIN-5")
class LooksAtOtherNodesToo(Mutant):
    def decision(self, request: SchedulingRequest, view: ClusterView, decision: ScheduleDecision) -> ScheduleDecision:
        if request.only_node is None or not isinstance(decision, NoPlacement):
            return decision
        told = decision.explanation
        groups = tuple(evolve(group, node_count=len(view)) for group in told.groups)
        return evolve(decision, explanation=evolve(told, groups=groups))


@fails("EXPLAIN-6")
class ConsidersNothing(Mutant):
    def assigned(self, explanation: Explanation) -> Explanation:
        return evolve(explanation, nodes_considered=0)


@fails("EXPLAIN-7")
class NamesTheFirstAsClosest(Mutant):
    def refused(self, explanation: Explanation) -> Explanation:
        return evolve(explanation, closest=tuple(sorted(explanation.closest, reverse=True)))


@fails("EXPLAIN-8")
class ScoresTheOthers(Mutant):
    def assigned(self, explanation: Explanation) -> Explanation:
        return evolve(explanation, scores={node_id: -score for node_id, score in explanation.scores.items()})


@fails("EXPLAIN-8")
class ScoresRefusals(Mutant):
    def refused(self, explanation: Explanation) -> Explanation:
        return evolve(explanation, scores={NodeId("n0"): 1.0})


# Changes


@fails("CHANGE-1")
class LowersTooLittle(Mutant):
    def refused(self, explanation: Explanation) -> Explanation:
        lower = ChangeKind.LOWER_REQUEST
        steps = (evolve(step, amount=step.amount + (step.kind is lower)) for step in explanation.smallest_change)
        return evolve(explanation, smallest_change=tuple(steps))


@fails("CHANGE-1")
class ForgetsTheLastStep(Mutant):
    def refused(self, explanation: Explanation) -> Explanation:
        return evolve(explanation, smallest_change=explanation.smallest_change[:1])


@fails("CHANGE-2")
class ProposesNothing(Mutant):
    def refused(self, explanation: Explanation) -> Explanation:
        return evolve(explanation, smallest_change=())


@fails("CHANGE-2")
class ProposesTooMuch(Mutant):
    def refused(self, explanation: Explanation) -> Explanation:
        steps = explanation.smallest_change
        more = [evolve(step, kind=ChangeKind.UNCORDON, subject="", amount=0) for step in steps[:1]]
        return evolve(explanation, smallest_change=(*steps, *more))


@fails("CHANGE-3")
class NeverAddsNodes(Mutant):
    def refused(self, explanation: Explanation) -> Explanation:
        steps = tuple(step for step in explanation.smallest_change if step.kind is not ChangeKind.ADD_NODE)
        return evolve(explanation, smallest_change=steps)


@fails("CHANGE-3")
class AddsNodesAtOnce(Mutant):
    def refused(self, explanation: Explanation) -> Explanation:
        steps = tuple(evolve(step, kind=ChangeKind.ADD_NODE, node_id=None) for step in explanation.smallest_change)
        return evolve(explanation, smallest_change=steps)


@fails("CHANGE-4")
class ProposesChangesAnyway(Mutant):
    def decision(self, request: SchedulingRequest, view: ClusterView, decision: ScheduleDecision) -> ScheduleDecision:
        if isinstance(decision, AssignNode) and decision.explanation is not None:
            step = PlacementChange(kind=ChangeKind.UNCORDON, node_id=NodeId("n1"))
            return evolve(decision, explanation=evolve(decision.explanation, smallest_change=(step,)))
        return decision


# The test


def broken_by(error: BaseException) -> bool:
    """Whether a check failed by an assertion; hypothesis gathers several different ones in a group."""
    if isinstance(error, BaseExceptionGroup):
        return all(broken_by(each) for each in error.exceptions)
    return isinstance(error, AssertionError)


def failed_checks(kind: MutantKind, clause: str) -> list[str]:
    @asynccontextmanager
    async def open_mutant() -> AsyncIterator[SchedulerUnderTest]:
        yield SchedulerUnderTest(kind())

    failed = []
    for check in checks(open_mutant, examples=EXAMPLES["ci"], shrink=False):
        if check.check.clause == clause and (error := error_of(check)) is not None:
            assert broken_by(error), f"{check.id} did not fail but broke: {error!r}"
            failed.append(check.id)
    return failed


def error_of(check: Callable[[], None]) -> Exception | None:
    try:
        check()
    except unittest.SkipTest:
        return None
    except Exception as error:
        return error
    return None


@pytest.mark.parametrize(("clause", "kind"), MUTANTS.values(), ids=[f"mutant-{name}" for name in MUTANTS])
def test_the_kit_kills(clause: str, kind: MutantKind) -> None:
    assert failed_checks(kind, clause) != []


def test_every_clause_has_a_mutant() -> None:
    clauses = {"-".join(check_id.split("-")[:2]) for check_id in CHECK_IDS}
    assert clauses - {clause for clause, _ in MUTANTS.values()} == set()


@pytest.mark.slow
def test_the_unchanged_base_is_no_mutant() -> None:
    assert [failed_checks(Mutant, clause) for clause in ("SAFE-1", "EXPLAIN-2", "CHANGE-2")] == [[], [], []]
