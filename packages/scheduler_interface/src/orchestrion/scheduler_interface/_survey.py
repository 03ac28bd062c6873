"""Looking over a view at the start of a call: who may take a slot, and what is placed already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from orchestrion.shared_types import InstanceAffinity, InstanceKey, NodeId

from ._candidate import Candidate, candidate_of
from ._interface import ClusterView
from ._labels import topology_domain
from ._needs import Needs
from ._neighbours import Neighbours, is_meant
from ._predicates import FIXED_PREDICATES, passes
from ._spread import Tally
from ._types import NodeView, PlacedInstance

Holders = dict[InstanceKey, tuple[NodeId, PlacedInstance]]


def find_holders(slots: Iterable[InstanceKey], view: ClusterView) -> Holders:
    """Return which of the slots the view holds already, and where."""
    wanted = frozenset(slots)
    holders: Holders = {}
    for node in view:
        held = node.instances
        here = [s for s in wanted if s in held] if len(wanted) < len(held) else [s for s in held if s in wanted]
        for slot in here:
            holders[slot] = (node.node.id, held[slot])
    return holders


def candidates_of(needs: Needs, view: ClusterView) -> list[Candidate]:
    """Return the nodes that a slot may go to, ascending by id, with what is around them counted per domain."""
    only = None if needs.only_node is None else view.get(needs.only_node)
    if needs.only_node is not None and not needs.looks_around:
        nodes: Iterable[NodeView] = () if only is None else (only,)
    else:
        nodes = view
    candidates = [candidate_of(node, needs) for node in nodes]
    for candidate in candidates:
        candidate.passes_fixed = passes(FIXED_PREDICATES, needs, candidate)
    if needs.spreads:
        _count_domains(needs, candidates)
    for affinity in needs.instance_affinities:
        _count_neighbours(needs, affinity, candidates)
    return [candidate for candidate in candidates if needs.only_node in (None, candidate.id)]


def _count_domains(needs: Needs, candidates: list[Candidate]) -> None:
    own = [sum(key.workload_id == needs.workload_id for key in candidate.view.instances) for candidate in candidates]
    for spread in needs.spreads:
        domains = [topology_domain(candidate.view.node, spread.by) for candidate in candidates]
        counts: Counter[str | None] = Counter()
        counting = set()
        for candidate, domain, count in zip(candidates, domains, own, strict=True):
            counts[domain] += count
            if candidate.passes_fixed and domain is not None:
                counting.add(domain)
        tally = Tally(spread, counts, counting)
        are_shared = len(set(domains)) < len(domains)
        for candidate, domain in zip(candidates, domains, strict=True):
            if are_shared:
                candidate.shared_domains += ((tally, domain),)
            else:
                candidate.own_domains += ((tally, domain),)


def _count_neighbours(needs: Needs, affinity: InstanceAffinity, candidates: list[Candidate]) -> None:
    domains = [topology_domain(candidate.view.node, affinity.by) for candidate in candidates]
    counts: Counter[str | None] = Counter()
    for candidate, domain in zip(candidates, domains, strict=True):
        instances = candidate.view.instances.values()
        counts[domain] += sum(is_meant(affinity, needs.namespace, instance) for instance in instances)
    neighbours = Neighbours(affinity, counts, needs.labels)
    for candidate, domain in zip(candidates, domains, strict=True):
        candidate.neighbours += ((neighbours, domain),)
