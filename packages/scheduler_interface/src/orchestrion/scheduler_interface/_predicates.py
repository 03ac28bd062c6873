"""The predicates: each says for what reasons a node can't take a slot, and what change would remedy that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from attrs import frozen
from orchestrion.shared_types import NodeStatus

from ._candidate import Candidate
from ._devices import find_grants
from ._labels import (
    REFUSING_EFFECTS,
    domain_text,
    expression_matches,
    expression_text,
    label_text,
    neighbours_text,
    selector_matches,
)
from ._needs import Needs
from ._types import ChangeKind, PlacementChange, Predicate


@frozen(kw_only=True)
class Reason:
    """Why a node can't take a slot.

    Attributes:
        detail: What exactly, as `RefusalGroup.detail` has it.
        dimension: The resource that is short, or empty.
        needed: How much of it is asked for.
        free: How much of it the node has free.
        remedy: The step that would do away with this reason; None where there is none.
    """

    predicate: Predicate
    detail: str = ""
    dimension: str = ""
    needed: int = 0
    free: int = 0
    remedy: PlacementChange | None = None


Reasons = Iterator[Reason]
Check = Callable[[Needs, Candidate], Reasons]


def _status(_needs: Needs, candidate: Candidate) -> Reasons:
    status = candidate.view.node.status
    if status is not NodeStatus.READY:
        yield Reason(predicate=Predicate.NODE_STATUS, detail=status.value)


def _cordon(_needs: Needs, candidate: Candidate) -> Reasons:
    if candidate.view.node.cordoned:
        remedy = PlacementChange(kind=ChangeKind.UNCORDON, node_id=candidate.id)
        yield Reason(predicate=Predicate.CORDONED, remedy=remedy)


def _conditions(_needs: Needs, candidate: Candidate) -> Reasons:
    for condition in candidate.view.node.conditions:
        if condition.active:
            yield Reason(predicate=Predicate.NODE_CONDITION, detail=condition.type)


def _drivers(needs: Needs, candidate: Candidate) -> Reasons:
    for driver in needs.drivers:
        if driver not in candidate.view.node.drivers:
            remedy = PlacementChange(kind=ChangeKind.ENABLE_DRIVER, node_id=candidate.id, subject=driver)
            yield Reason(predicate=Predicate.DRIVER, detail=driver, remedy=remedy)


def _selectors(needs: Needs, candidate: Candidate) -> Reasons:
    for key, value in needs.select:
        if not selector_matches(candidate.view.node, key, value):
            remedy = PlacementChange(kind=ChangeKind.DROP_SELECTOR, node_id=candidate.id, subject=key)
            yield Reason(predicate=Predicate.SELECTOR, detail=label_text(key, value), remedy=remedy)


def _expressions(needs: Needs, candidate: Candidate) -> Reasons:
    for expression in needs.expressions:
        if not expression_matches(candidate.view.node.labels, expression):
            remedy = PlacementChange(kind=ChangeKind.DROP_EXPRESSION, node_id=candidate.id, subject=expression.key)
            yield Reason(predicate=Predicate.EXPRESSION, detail=expression_text(expression), remedy=remedy)


def _taints(needs: Needs, candidate: Candidate) -> Reasons:
    for taint in candidate.view.node.taints:
        if taint.effect in REFUSING_EFFECTS and taint not in needs.tolerated:
            remedy = PlacementChange(kind=ChangeKind.TOLERATE_TAINT, node_id=candidate.id, subject=taint.key)
            yield Reason(predicate=Predicate.TAINT, detail=label_text(taint.key, taint.value), remedy=remedy)


def _node_affinities(needs: Needs, candidate: Candidate) -> Reasons:
    for affinity in needs.node_affinities:
        for expression in affinity.expressions:
            if not expression_matches(candidate.view.node.labels, expression):
                yield Reason(predicate=Predicate.NODE_AFFINITY, detail=expression_text(expression))


def _unsupported(needs: Needs, _candidate: Candidate) -> Reasons:
    for words in needs.unsupported:
        yield Reason(predicate=Predicate.UNSUPPORTED, detail=words)


def _host_ports(needs: Needs, candidate: Candidate) -> Reasons:
    for protocol, number in needs.host_ports:
        if (protocol, number) in candidate.host_ports:
            text = f"{protocol.value}/{number}"
            remedy = PlacementChange(kind=ChangeKind.FREE_PORT, node_id=candidate.id, subject=text)
            yield Reason(predicate=Predicate.HOST_PORT, detail=text, remedy=remedy)


def _resources(needs: Needs, candidate: Candidate) -> Reasons:
    for dimension, needed, free in zip(needs.dimensions, needs.demand, candidate.free, strict=True):
        if needed > free:
            lower = PlacementChange(kind=ChangeKind.LOWER_REQUEST, node_id=candidate.id, subject=dimension, amount=free)
            yield Reason(
                predicate=Predicate.RESOURCE,
                dimension=dimension,
                needed=needed,
                free=free,
                remedy=lower if free > 0 else None,
            )


def _devices(needs: Needs, candidate: Candidate) -> Reasons:
    if candidate.grants(needs) is not None:
        return
    alone = [
        f"of container {want.container}"
        for want in needs.devices
        if find_grants([want], candidate.view.node.devices, candidate.device_free) is None
    ]
    for detail in alone or ["of all containers together"]:
        yield Reason(predicate=Predicate.DEVICE, detail=detail)


def _spreads(_needs: Needs, candidate: Candidate) -> Reasons:
    for tally, domain in (*candidate.own_domains, *candidate.shared_domains):
        if not tally.allows(domain):
            yield Reason(predicate=Predicate.SPREAD, detail=domain_text(tally.spread.by, domain))


def _neighbours(_needs: Needs, candidate: Candidate) -> Reasons:
    for neighbours, domain in candidate.neighbours:
        if not neighbours.allows(domain):
            words = neighbours_text(neighbours.affinity, domain_text(neighbours.by, domain))
            yield Reason(predicate=Predicate.INSTANCE_AFFINITY, detail=words)


FIXED_PREDICATES: Final[tuple[tuple[Predicate, Check], ...]] = (
    (Predicate.NODE_STATUS, _status),
    (Predicate.CORDONED, _cordon),
    (Predicate.NODE_CONDITION, _conditions),
    (Predicate.DRIVER, _drivers),
    (Predicate.SELECTOR, _selectors),
    (Predicate.EXPRESSION, _expressions),
    (Predicate.TAINT, _taints),
    (Predicate.NODE_AFFINITY, _node_affinities),
    (Predicate.UNSUPPORTED, _unsupported),
)
"""What no placement changes: looked at once per node and call."""

ROOM_PREDICATES: Final[tuple[tuple[Predicate, Check], ...]] = (
    (Predicate.HOST_PORT, _host_ports),
    (Predicate.RESOURCE, _resources),
    (Predicate.DEVICE, _devices),
)
"""What a node may lose by a placement on it, and never gains."""

AROUND_PREDICATES: Final[tuple[tuple[Predicate, Check], ...]] = (
    (Predicate.SPREAD, _spreads),
    (Predicate.INSTANCE_AFFINITY, _neighbours),
)
"""What each placement anywhere may change, either way."""

PREDICATES: Final = (*FIXED_PREDICATES, *ROOM_PREDICATES, *AROUND_PREDICATES)


def passes(checks: tuple[tuple[Predicate, Check], ...], needs: Needs, candidate: Candidate) -> bool:
    """Whether a node passes all of these predicates."""
    return all(next(check(needs, candidate), None) is None for _, check in checks)


def reasons(needs: Needs, candidate: Candidate) -> list[Reason]:
    """Return all reasons why a node can't take a slot; empty if it can."""
    return [reason for _, check in PREDICATES for reason in check(needs, candidate)]
