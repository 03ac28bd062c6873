"""Schedulers that give too much, too little, or what is taken: each fails the clause that it breaks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import pytest
from attrs import evolve
from orchestrion.scheduler_interface import (
    AssignNode,
    ClusterView,
    NodeView,
    NoPlacement,
    Predicate,
    ScheduleDecision,
    SchedulingRequest,
    demand_of,
)
from orchestrion.shared_types import (
    GpuRequest,
    InstanceKey,
    Node,
    NodeStatus,
    Placement,
    Resources,
    Spread,
    WorkloadDefinition,
)

from .scheduler_mutants import Decisions, Mutant, MutantKind, Mutants, failed_checks

MUTANTS = Mutants()


# Devices


class RewritesGpus(Mutant):
    def gpu(self, gpu: GpuRequest) -> GpuRequest:
        return gpu

    def workload(self, workload: WorkloadDefinition) -> WorkloadDefinition:
        rewritten = (each if each.gpu is None else evolve(each, gpu=self.gpu(each.gpu)) for each in workload.containers)
        return evolve(workload, containers=tuple(rewritten))


@MUTANTS.breaks("DEVICE-1")
class GrantsOneDevice(RewritesGpus):
    def gpu(self, gpu: GpuRequest) -> GpuRequest:
        return evolve(gpu, count=min(1, gpu.count))


@MUTANTS.breaks("DEVICE-1")
@MUTANTS.breaks("SAFE-3")
class IgnoresWhoHoldsDevices(Mutant):
    def view(self, request: SchedulingRequest, view: NodeView) -> NodeView:
        return evolve(view, device_thousandths={})


@MUTANTS.breaks("DEVICE-1")
class GrantsSharedDevicesWhole(Mutant):
    def view(self, request: SchedulingRequest, view: NodeView) -> NodeView:
        held = {device_id: share for device_id, share in view.device_thousandths.items() if share > 500}
        return evolve(view, device_thousandths=held)


@MUTANTS.breaks("DEVICE-1")
class TakesAnyDeviceForAGpu(Mutant):
    def node(self, request: SchedulingRequest, node: Node) -> Node:
        return evolve(node, devices=tuple(evolve(each, kind="gpu") for each in node.devices))


@MUTANTS.breaks("DEVICE-2")
class GrantsWholeDevicesForShares(RewritesGpus):
    def gpu(self, gpu: GpuRequest) -> GpuRequest:
        return evolve(gpu, count=1, thousandths=0) if gpu.thousandths else gpu


@MUTANTS.breaks("DEVICE-2")
class ForgetsToSayTheShare(Mutant):
    def decision(self, request: SchedulingRequest, view: ClusterView, decision: ScheduleDecision) -> ScheduleDecision:
        return evolve(decision, device_thousandths={}) if isinstance(decision, AssignNode) else decision


@MUTANTS.breaks("DEVICE-3")
class LooksAtTheBestDeviceOfTheNode(Mutant):
    """Any GPU of the node, and not the free one, has to match."""

    def node(self, request: SchedulingRequest, node: Node) -> Node:
        models = " ".join(device.model for device in node.devices)
        memory = max((device.memory_bytes for device in node.devices), default=0)
        return evolve(node, devices=tuple(evolve(each, model=models, memory_bytes=memory) for each in node.devices))


@MUTANTS.breaks("DEVICE-3")
class IgnoresCapabilities(RewritesGpus):
    def gpu(self, gpu: GpuRequest) -> GpuRequest:
        return evolve(gpu, capability=None)


@MUTANTS.breaks("DEVICE-4")
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


@MUTANTS.breaks("SPREAD-1")
class PutsNodesWithoutAZoneInOne(Mutant):
    def node(self, request: SchedulingRequest, node: Node) -> Node:
        return evolve(node, topology=evolve(node.topology, zone=node.topology.zone or "nowhere"))


@MUTANTS.breaks("SPREAD-1")
class KnowsFourTopologies(RewritesSpreads):
    def spread(self, spread: Spread) -> Spread | None:
        return spread if spread.by in ("node", "rack", "zone", "region") else None


@MUTANTS.breaks("SPREAD-2")
class AllowsOneMore(RewritesSpreads):
    def spread(self, spread: Spread) -> Spread:
        return evolve(spread, max_skew=spread.max_skew + 1)


@MUTANTS.breaks("SPREAD-2")
class CountsNeighbours(Mutant):
    def view(self, request: SchedulingRequest, view: NodeView) -> NodeView:
        uid = request.workload.metadata.uid
        keys = {evolve(key, workload_id=uid, index=key.index + 50): each for key, each in view.instances.items()}
        return evolve(view, instances={**view.instances, **keys})


@MUTANTS.breaks("SPREAD-2")
class KeepsOneSpread(Mutant):
    def placement(self, placement: Placement) -> Placement:
        return evolve(placement, spreads=placement.spreads[:1])


@MUTANTS.breaks("SPREAD-3")
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


@MUTANTS.breaks("SPREAD-3")
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


@MUTANTS.breaks("SAFE-1")
class OverCommitsResources(FallsBack):
    for_want_of = Predicate.RESOURCE


@MUTANTS.breaks("SAFE-2")
class GivesPortsTwice(FallsBack):
    for_want_of = Predicate.HOST_PORT


@MUTANTS.breaks("SAFE-3")
class OverCommitsDevices(FallsBack):
    for_want_of = Predicate.DEVICE


@MUTANTS.breaks("SAFE-4")
class PlacesOnCordonedNodes(FallsBack):
    for_want_of = Predicate.CORDONED


@MUTANTS.breaks("SAFE-1")
class DecidesEachSlotAlone(Mutant):
    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> Decisions:
        return [
            decision
            for slot in request.slots
            for decision in await super(Mutant, self).schedule(evolve(request, slots=(slot,)), view)
        ]


@MUTANTS.breaks("FULL-1")
class GivesUpAfterTwoNodes(Mutant):
    def views(self, request: SchedulingRequest, view: ClusterView) -> Iterable[NodeView]:
        return list(view)[:2]


@MUTANTS.breaks("STAY-1")
class MovesWhatIsCordoned(Mutant):
    def views(self, request: SchedulingRequest, view: ClusterView) -> Iterable[NodeView]:
        return [evolve(each, instances={}) if each.node.cordoned else each for each in view]


@MUTANTS.breaks("STAY-1")
class ForgetsWhatASlotHolds(Mutant):
    def decision(self, request: SchedulingRequest, view: ClusterView, decision: ScheduleDecision) -> ScheduleDecision:
        if isinstance(decision, AssignNode) and any(decision.slot in each.instances for each in view):
            return evolve(decision, device_thousandths={})
        return decision


@MUTANTS.breaks("STAY-1")
class GuessesWhichContainerHasWhat(Mutant):
    def decision(self, request: SchedulingRequest, view: ClusterView, decision: ScheduleDecision) -> ScheduleDecision:
        if isinstance(decision, AssignNode) and any(decision.slot in each.instances for each in view):
            first = request.workload.containers[0].name
            return evolve(decision, devices={first: tuple(decision.device_thousandths)})
        return decision


@MUTANTS.breaks("STAY-2")
class TakesRoomForWhatStays(Mutant):
    def view(self, request: SchedulingRequest, view: NodeView) -> NodeView:
        demand = demand_of(request.workload)
        again = sum(slot in view.instances for slot in request.slots)
        return evolve(view, reserved=sum([demand] * again, view.reserved))


@MUTANTS.breaks("STAY-3")
class TakesEpochsForOne(Mutant):
    def decision(self, request: SchedulingRequest, view: ClusterView, decision: ScheduleDecision) -> ScheduleDecision:
        for each in view:
            if any(key.index == decision.slot.index for key in each.instances):
                return assign(decision.slot, each)
        return decision


@pytest.mark.parametrize(("clause", "kind"), MUTANTS.parameters())
def test_the_kit_kills(clause: str, kind: MutantKind) -> None:
    assert failed_checks(clause, kind)
