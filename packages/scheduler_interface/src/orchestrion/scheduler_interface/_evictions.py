"""What a slot would push out to get a node: the rule of `SchedulerCapability.PREEMPTION`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from attrs import evolve, frozen
from orchestrion.shared_types import InstanceKey, Node, NodeId, Uid

from ._candidate import Candidate, candidate_of
from ._interface import ClusterView
from ._needs import Needs, needs_of
from ._neighbours import is_meant
from ._predicates import AROUND_PREDICATES, ROOM_PREDICATES, passes
from ._survey import candidates_of
from ._types import AssignNode, PlacedInstance, ScheduleDecision, SchedulerCapability, SchedulingRequest
from ._view import without_instances

PutBackKey = tuple[int, int, int, InstanceKey]

_WHOLE: Final = 1000


@frozen
class Eviction:
    """Instances that have to be gone for a slot to get a node.

    Attributes:
        node_id: The node.
        victims: One or more, ascending by key.
    """

    node_id: NodeId
    victims: tuple[PlacedInstance, ...]

    @property
    def rank(self) -> tuple[int, int, int]:
        """How bad it is, lower is better: the highest priority, how many, and the longest grace in seconds."""
        return (
            max(victim.priority for victim in self.victims),
            len(self.victims),
            max(victim.grace_seconds for victim in self.victims),
        )

    @property
    def keys(self) -> tuple[InstanceKey, ...]:
        """The keys of the victims, ascending."""
        return tuple(victim.key for victim in self.victims)


def find_evictions(
    request: SchedulingRequest, view: ClusterView, /, *, capabilities: frozenset[SchedulerCapability]
) -> tuple[Eviction, ...]:
    """Return what one more slot of a request would push out on each node that would then do, ascending by node id.

    It is for a view in which no node passes. Where slots of the request have got their nodes already, show it the view
    after that (`with_decisions`), and the budgets that are left (`budgets_after`).

    Args:
        request: The request; which slots it lists makes no difference, nor whether it says `preempt`.
        view: The cluster.
        capabilities: What the scheduler is able to do.

    Raises:
        InvalidSchedulingRequest: The request is outside what the interface allows.
    """
    needs = needs_of(request, capabilities)
    found = (eviction_on(request, needs, candidate) for candidate in candidates_of(needs, view))
    return tuple(eviction for eviction in found if eviction is not None)


def budgets_after(budgets: Mapping[Uid, int], decisions: Iterable[ScheduleDecision], /) -> dict[Uid, int]:
    """Return what is left of budgets after the victims of decisions."""
    spent = Counter(
        key.workload_id for decision in decisions if isinstance(decision, AssignNode) for key in decision.victims
    )
    return {workload_id: budget - spent[workload_id] for workload_id, budget in budgets.items()}


def put_back_key(instance: PlacedInstance, node: Node, /) -> PutBackKey:
    """Return what instances of a node that may be pushed out are put back by, the lowest first.

    These are the highest priority, the smallest size, the longest grace and the lowest key.
    """
    demand, total = instance.demand, node.allocatable
    size = max(
        part * _WHOLE // whole if whole else 0
        for part, whole in (
            (demand.cpu_millicores, total.cpu_millicores),
            (demand.memory_bytes, total.memory_bytes),
            (demand.disk_bytes, total.disk_bytes),
        )
    )
    return (-instance.priority, size, -instance.grace_seconds, instance.key)


def within_budgets(ordered: Iterable[PlacedInstance], budgets: Mapping[Uid, int], /) -> list[PlacedInstance]:
    """Return those of the instances that may be pushed out: of each workload as many as its budget allows, the last.

    Args:
        ordered: Instances by `put_back_key`.
        budgets: By workload; absent allows all.
    """
    several = list(ordered)
    left = dict(budgets)
    allowed = []
    for instance in reversed(several):
        workload_id = instance.key.workload_id
        if workload_id in left:
            left[workload_id] -= 1
        if left.get(workload_id, 0) >= 0:
            allowed.append(instance)
    return allowed[::-1]


def eviction_on(request: SchedulingRequest, needs: Needs, candidate: Candidate) -> Eviction | None:
    """Return what has to leave a node for a slot, or None where the node will not do, whoever leaves.

    Args:
        request: The request, with the budgets that are left.
        needs: What the slot needs.
        candidate: The node, as the slots before it left it. Nobody is placed there that its view does not have.
    """
    if not candidate.passes_fixed:
        return None
    wanted = [affinity for affinity in needs.instance_affinities if affinity.weight is None and not affinity.anti]
    lower = (
        instance
        for instance in candidate.view.instances.values()
        if instance.priority < request.workload.priority
        and instance.key.workload_id != needs.workload_id
        and not any(is_meant(affinity, needs.namespace, instance) for affinity in wanted)
    )
    ordered = sorted(lower, key=lambda instance: put_back_key(instance, candidate.view.node))
    allowed = within_budgets(ordered, request.budgets)
    if not allowed or not _passes_without(needs, candidate, allowed):
        return None
    gone = list(allowed)
    for instance in allowed:
        others = [each for each in gone if each is not instance]
        if _passes_without(needs, candidate, others):
            gone = others
    return Eviction(candidate.id, tuple(sorted(gone, key=lambda instance: instance.key)))


def _passes_without(needs: Needs, candidate: Candidate, gone: list[PlacedInstance]) -> bool:
    after = candidate_of(without_instances(candidate.view, {instance.key for instance in gone}), needs)
    after = evolve(
        after,
        own_domains=candidate.own_domains,
        shared_domains=candidate.shared_domains,
        neighbours=tuple(
            (neighbours.without(domain, gone, needs.namespace), domain) for neighbours, domain in candidate.neighbours
        ),
    )
    return passes((*ROOM_PREDICATES, *AROUND_PREDICATES), needs, after)
