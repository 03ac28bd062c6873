"""Whether a node that joins could be where the instances around it let a slot in."""

from __future__ import annotations

from ._candidate import Candidate
from ._needs import Needs
from ._neighbours import Neighbours


def may_join(needs: Needs, candidates: list[Candidate]) -> bool:
    """Whether a new node may be in domains in which all required spreads and affinities to instances hold.

    Args:
        needs: What a slot needs.
        candidates: All nodes of the view.
    """
    # In a domain of its own, a node is within every spread.
    topologies = {affinity.by for affinity in needs.instance_affinities if affinity.weight is None}
    return all(_may_join(by, needs, candidates) for by in topologies)


def _may_join(by: str, needs: Needs, candidates: list[Candidate]) -> bool:
    if not candidates:
        alone = [Neighbours(affinity, {}, needs.labels) for affinity in needs.instance_affinities]
        return all(each.allows("") for each in alone)
    here = [(rule, domain) for each in candidates for rule, domain in each.around if rule.by == by]
    rules = [rule for rule, _ in candidates[0].around if rule.by == by]
    domains = {domain for _, domain in here if domain is not None}
    new = "+".join(["", *domains])
    return any(
        all(rule.would_allow(domain) for rule in rules) for domain in ({new} if by == "node" else {new, *domains})
    )
