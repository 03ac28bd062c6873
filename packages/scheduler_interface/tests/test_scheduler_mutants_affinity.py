"""Schedulers that keep affinities in wrong ways: each fails the clause that it breaks."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from attrs import evolve
from orchestrion.scheduler_interface import (
    AssignNode,
    ChangeKind,
    ClusterView,
    Explanation,
    NodeView,
    NoPlacement,
    PlacementChange,
    ScheduleDecision,
    SchedulingRequest,
    has_labels,
    is_meant,
    topology_domain,
)
from orchestrion.shared_types import InstanceAffinity, NodeAffinity, NodeId, Placement

from .scheduler_mutants import AbleMutant, Decisions, Mutant, MutantKind, Mutants, failed_checks

MUTANTS = Mutants()


class RewritesAffinities(AbleMutant):
    """What is required of neighbours is another thing, or nothing."""

    def affinity(self, affinity: InstanceAffinity) -> InstanceAffinity | None:
        return affinity

    def placement(self, placement: Placement) -> Placement:
        rewritten = (self.affinity(each) if each.weight is None else each for each in placement.instance_affinities)
        return evolve(placement, instance_affinities=tuple(each for each in rewritten if each is not None))


class RewritesNodeAffinities(AbleMutant):
    def affinity(self, affinity: NodeAffinity) -> NodeAffinity:
        return affinity

    def placement(self, placement: Placement) -> Placement:
        return evolve(placement, node_affinities=tuple(self.affinity(each) for each in placement.node_affinities))


@MUTANTS.breaks("SAFE-4")
class IgnoresNodeAffinities(AbleMutant):
    def placement(self, placement: Placement) -> Placement:
        return evolve(placement, node_affinities=())


@MUTANTS.breaks("AFFINITY-1")
class LooksAtTheFirstExpression(RewritesNodeAffinities):
    def affinity(self, affinity: NodeAffinity) -> NodeAffinity:
        return evolve(affinity, expressions=affinity.expressions[:1]) if affinity.weight is None else affinity


@MUTANTS.breaks("AFFINITY-1")
class KeepsOneNodeAffinity(AbleMutant):
    def placement(self, placement: Placement) -> Placement:
        return evolve(placement, node_affinities=placement.node_affinities[:1])


@MUTANTS.breaks("AFFINITY-1")
class RequiresWhatIsPreferred(RewritesNodeAffinities):
    def affinity(self, affinity: NodeAffinity) -> NodeAffinity:
        return evolve(affinity, weight=None)


@MUTANTS.breaks("AFFINITY-2")
class LooksIntoAllNamespaces(AbleMutant):
    def view(self, request: SchedulingRequest, view: NodeView) -> NodeView:
        here = request.workload.metadata.namespace
        return evolve(view, instances={key: evolve(each, namespace=here) for key, each in view.instances.items()})


@MUTANTS.breaks("AFFINITY-2")
class LooksIntoTheDefaultNamespace(AbleMutant):
    def request(self, request: SchedulingRequest) -> SchedulingRequest:
        metadata = evolve(request.workload.metadata, namespace="default")
        return evolve(request, workload=evolve(request.workload, metadata=metadata))


@MUTANTS.breaks("AFFINITY-2")
class MatchesOneLabel(RewritesAffinities):
    def affinity(self, affinity: InstanceAffinity) -> InstanceAffinity:
        return evolve(affinity, match_labels=dict(sorted(affinity.match_labels.items())[:1]))


@MUTANTS.breaks("AFFINITY-3")
class MatchesEverybodyWithoutLabels(AbleMutant):
    """Who matches nothing is about all instances."""

    def placement(self, placement: Placement) -> Placement:
        marked = (
            each if each.match_labels else evolve(each, match_labels={"any": ""})
            for each in placement.instance_affinities
        )
        return evolve(placement, instance_affinities=tuple(marked))

    def view(self, request: SchedulingRequest, view: NodeView) -> NodeView:
        marked = {key: evolve(each, labels={**each.labels, "any": ""}) for key, each in view.instances.items()}
        return evolve(view, instances=marked)


@MUTANTS.breaks("AFFINITY-3")
class DropsAffinitiesWithoutLabels(RewritesAffinities):
    def affinity(self, affinity: InstanceAffinity) -> InstanceAffinity | None:
        return affinity if affinity.match_labels else None


@MUTANTS.breaks("AFFINITY-4")
class LooksAtNodesAlone(RewritesAffinities):
    def affinity(self, affinity: InstanceAffinity) -> InstanceAffinity:
        return evolve(affinity, by="node")


@MUTANTS.breaks("AFFINITY-4")
class PutsNodesWithoutADomainInOne(AbleMutant):
    def views(self, request: SchedulingRequest, view: ClusterView) -> Iterable[NodeView]:
        keys = {each.by for each in request.workload.placement.instance_affinities}
        for each in view:
            missing = {key: "nowhere" for key in keys if topology_domain(each.node, key) is None}
            yield evolve(each, node=evolve(each.node, labels={**each.node.labels, **missing}))


@MUTANTS.breaks("AFFINITY-4")
class KeepsOneAffinity(AbleMutant):
    def placement(self, placement: Placement) -> Placement:
        return evolve(placement, instance_affinities=placement.instance_affinities[:1])


@MUTANTS.breaks("AFFINITY-4")
class LooksAtNodesThatTakeWork(AbleMutant):
    """What cordoned nodes hold is overlooked."""

    def views(self, request: SchedulingRequest, view: ClusterView) -> Iterable[NodeView]:
        for each in view:
            own = {key: held for key, held in each.instances.items() if key in request.slots}
            yield evolve(each, instances=own) if each.node.cordoned else each


@MUTANTS.breaks("AFFINITY-4")
class OverlooksOtherIncarnations(AbleMutant):
    def view(self, request: SchedulingRequest, view: NodeView) -> NodeView:
        uid = request.workload.metadata.uid
        seen = {k: each for k, each in view.instances.items() if k.workload_id != uid or k in request.slots}
        return evolve(view, instances=seen)


@MUTANTS.breaks("AFFINITY-5")
class LeavesTheFirstWaiting(RewritesAffinities):
    def request(self, request: SchedulingRequest) -> SchedulingRequest:
        metadata = evolve(request.workload.metadata, labels={})
        return evolve(request, workload=evolve(request.workload, metadata=metadata))


@MUTANTS.breaks("AFFINITY-5")
class WaitsForNobody(AbleMutant):
    """Where there is nobody to join, whoever asks is the first."""

    def before(self, request: SchedulingRequest, view: ClusterView) -> tuple[SchedulingRequest, ClusterView]:
        workload = request.workload
        held = [instance for each in view for instance in each.instances.values()]
        joinable = tuple(
            affinity
            for affinity in workload.placement.instance_affinities
            if affinity.anti or any(is_meant(affinity, workload.metadata.namespace, each) for each in held)
        )
        placement = evolve(workload.placement, instance_affinities=joinable)
        return super().before(evolve(request, workload=evolve(workload, placement=placement)), view)


@MUTANTS.breaks("AFFINITY-5")
class LooksForTheFirstAmongDomains(AbleMutant):
    """Instances on nodes that are in no domain are no reason to wait."""

    def views(self, request: SchedulingRequest, view: ClusterView) -> Iterable[NodeView]:
        keys = {each.by for each in request.workload.placement.instance_affinities}
        for each in view:
            own = {key: held for key, held in each.instances.items() if key in request.slots}
            is_outside = any(topology_domain(each.node, key) is None for key in keys)
            yield evolve(each, instances=own) if is_outside else each


@MUTANTS.breaks("AFFINITY-6")
@MUTANTS.breaks("SAFE-4")
class KeepsAwayFromNobody(RewritesAffinities):
    def affinity(self, affinity: InstanceAffinity) -> InstanceAffinity | None:
        return None if affinity.anti else affinity


@MUTANTS.breaks("AFFINITY-6")
class KeepsAwayFromNodesAlone(RewritesAffinities):
    def affinity(self, affinity: InstanceAffinity) -> InstanceAffinity:
        return evolve(affinity, by="node") if affinity.anti else affinity


@MUTANTS.breaks("AFFINITY-6")
class ForgetsTheSlotsBefore(AbleMutant):
    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> Decisions:
        decisions: Decisions = []
        for slot in request.slots:
            decisions += await super().schedule(evolve(request, slots=(slot,)), view)
        return decisions


@MUTANTS.breaks("AFFINITY-6")
class LooksAtTheLabelsOfToday(AbleMutant):
    """Instances of the workload count as having the labels that it has now."""

    def view(self, request: SchedulingRequest, view: NodeView) -> NodeView:
        metadata = request.workload.metadata
        relabelled = {
            key: evolve(each, labels=metadata.labels) if key.workload_id == metadata.uid else each
            for key, each in view.instances.items()
        }
        return evolve(view, instances=relabelled)


@MUTANTS.breaks("AFFINITY-7")
class WantsADomainToKeepAwayIn(AbleMutant):
    def views(self, request: SchedulingRequest, view: ClusterView) -> Iterable[NodeView]:
        required = [each.by for each in request.workload.placement.instance_affinities if each.anti]
        return [each for each in view if all(topology_domain(each.node, by) is not None for by in required)]


@MUTANTS.breaks("AFFINITY-7")
class SharesTheWantOfADomain(PutsNodesWithoutADomainInOne):
    """Nodes that are in no domain are in the same one."""


@MUTANTS.breaks("AFFINITY-8")
class TakesAffinitiesForMutual(AbleMutant):
    """Whoever was once kept away from is kept away in turn."""

    def __init__(self) -> None:
        self._shy: list[InstanceAffinity] = []

    def before(self, request: SchedulingRequest, view: ClusterView) -> tuple[SchedulingRequest, ClusterView]:
        asked, seen = super().before(request, view)
        metadata, placement = request.workload.metadata, request.workload.placement
        own = placement.instance_affinities
        avoided = any(has_labels(each, metadata.labels) for each in self._shy)
        self._shy += [evolve(each) for each in own if each.anti]
        if avoided:
            mutual = InstanceAffinity(match_labels={"app": "web"}, anti=True)
            placement = evolve(placement, instance_affinities=(*own, mutual))
        return evolve(asked, workload=evolve(asked.workload, placement=placement)), seen


class Proposes(AbleMutant):
    def proposed(self, request: SchedulingRequest, explanation: Explanation) -> tuple[PlacementChange, ...]:
        return explanation.smallest_change

    def decision(self, request: SchedulingRequest, view: ClusterView, decision: ScheduleDecision) -> ScheduleDecision:
        if not isinstance(decision, NoPlacement) or not request.workload.placement.instance_affinities:
            return decision
        told = decision.explanation
        return evolve(decision, explanation=evolve(told, smallest_change=self.proposed(request, told)))


@MUTANTS.breaks("CHANGE-3")
class AddsNodesThatHelpNobody(Proposes):
    """A new node is proposed even where the workload would have nobody to join there."""

    def proposed(self, request: SchedulingRequest, explanation: Explanation) -> tuple[PlacementChange, ...]:
        return explanation.smallest_change or (PlacementChange(kind=ChangeKind.ADD_NODE),)


@MUTANTS.breaks("CHANGE-3")
class AddsNoNodeToADomain(Proposes):
    """What has to join others is never helped by a new node."""

    def proposed(self, request: SchedulingRequest, explanation: Explanation) -> tuple[PlacementChange, ...]:
        together = any(not each.anti for each in request.workload.placement.instance_affinities)
        adds = any(step.kind is ChangeKind.ADD_NODE for step in explanation.smallest_change)
        return () if together and adds else explanation.smallest_change


@MUTANTS.breaks("EXPLAIN-2")
class ConcealsAffinities(AbleMutant):
    def assigned(self, explanation: Explanation) -> Explanation:
        told = tuple(group for group in explanation.groups if "affinity" not in group.predicate)
        return evolve(explanation, groups=told)


@MUTANTS.breaks("FULL-1")
@MUTANTS.breaks("PREFER-1")
class RequiresPreferredNeighbours(AbleMutant):
    def placement(self, placement: Placement) -> Placement:
        affinities = tuple(evolve(each, weight=None) for each in placement.instance_affinities)
        return evolve(placement, instance_affinities=affinities)


@MUTANTS.breaks("ABLE-2")
class IgnoresNeighboursItCanNotKeep(Mutant):
    def placement(self, placement: Placement) -> Placement:
        return evolve(placement, instance_affinities=())


@MUTANTS.breaks("SAFE-4")
class PlacesNextToAnybody(AbleMutant):
    """Where a slot is refused for its neighbours alone, it is placed all the same."""

    def decision(self, request: SchedulingRequest, view: ClusterView, decision: ScheduleDecision) -> ScheduleDecision:
        if isinstance(decision, NoPlacement):
            for group in decision.explanation.groups:
                if group.predicate == "instance-affinity":
                    return AssignNode(slot=decision.slot, node_id=NodeId(group.samples[0]))
        return decision


@pytest.mark.parametrize(("clause", "kind"), MUTANTS.parameters())
def test_the_kit_kills(clause: str, kind: MutantKind) -> None:
    assert failed_checks(clause, kind)
