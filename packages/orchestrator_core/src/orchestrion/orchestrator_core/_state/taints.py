"""Taints that end what runs: which do, since when, and when they end an instance."""

from __future__ import annotations

from typing import Final
from weakref import ref

from attrs import evolve, frozen
from orchestrion.orchestrator_core._state.facts import Facts
from orchestrion.orchestrator_core._state.world import InstanceRecord
from orchestrion.scheduler_interface import is_tolerated
from orchestrion.shared_types import Node, Taint, TaintEffect, Toleration, WorkloadDefinition


@frozen(kw_only=True)
class Eviction:
    """That an instance has to leave its node.

    Attributes:
        taint: Why: the taint, as people write it.
        left_seconds: In how many seconds; 0 is now.
        tolerated_seconds: How long the taint is tolerated in all; 0 is not at all.
    """

    taint: str
    left_seconds: float
    tolerated_seconds: float


def taint_text(taint: Taint) -> str:
    """Return a taint as people write it, such as "gpu=broken:NoExecute"."""
    return f"{taint.key}={taint.value}:{taint.effect}" if taint.value else f"{taint.key}:{taint.effect}"


def evicting_taints(node: Node | None) -> tuple[Taint, ...]:
    """Return a node's taints that end what does not tolerate them."""
    if node is None:
        return ()
    return tuple(taint for taint in node.taints if taint.effect is TaintEffect.NO_EXECUTE)


def eviction_of(instance: InstanceRecord, template: WorkloadDefinition | None, facts: Facts) -> Eviction | None:
    """Return when an instance has to leave its node because of a taint, or None while nothing makes it leave.

    What tolerates a taint for a time may stay for that time from when the taint was first seen, the longest of the
    times that its tolerations give; of several taints the first to end it counts. As long as nobody has noted when a
    taint was first seen, its time has not begun.
    """
    if instance.bound is None or template is None:
        return None
    node_id = instance.bound.binding.node_id
    soonest: Eviction | None = None
    for taint in evicting_taints(facts.nodes.get(node_id)):
        seconds = _tolerated_seconds(taint, template.placement.tolerations)
        if seconds is None:
            continue
        text = taint_text(taint)
        left = seconds
        seen = facts.taints.get(node_id)
        since = seen.seen.get(text) if seen is not None else None
        if since is not None and seconds > 0:
            left = facts.deadlines.remaining(("evict", instance.name, text), since, seconds)
        if soonest is None or left < soonest.left_seconds:
            soonest = Eviction(taint=text, left_seconds=left, tolerated_seconds=seconds)
    return soonest


def _tolerated_seconds(taint: Taint, tolerations: tuple[Toleration, ...]) -> float | None:
    """Return for how long a taint is tolerated: None for ever, 0 not at all."""
    longest = 0.0
    for toleration in tolerations:
        if is_tolerated(taint, (toleration,)):
            if toleration.seconds is None:
                return None
            longest = max(longest, toleration.seconds)
    return longest


_placed_as: Final[dict[int, tuple[ref[WorkloadDefinition], WorkloadDefinition]]] = {}


def for_new_work(template: WorkloadDefinition) -> WorkloadDefinition:
    """Return a template as it is placed: tolerations for a time let what runs stay, and nothing new come.

    Otherwise what has just been evicted might be placed on the same node, again and again. For one template it is the
    same object for as long as that lives, so that schedulers may remember by it what they have worked out.
    """
    tolerations = template.placement.tolerations
    if all(toleration.seconds is None for toleration in tolerations):
        return template
    key = id(template)
    known = _placed_as.get(key)
    if known is not None:
        return known[1]
    kept = tuple(lasting for toleration in tolerations for lasting in _lasting(toleration))
    made = evolve(template, placement=evolve(template.placement, tolerations=kept))
    # An id is given anew once its object is gone; so is what is known by it.
    _placed_as[key] = ref(template, lambda _gone: _placed_as.pop(key, None)), made
    return made


def _lasting(toleration: Toleration) -> tuple[Toleration, ...]:
    """Return what a toleration still tolerates of what it tolerates for ever: seconds mean nothing but NoExecute."""
    if toleration.seconds is None:
        return (toleration,)
    effects = tuple(TaintEffect) if toleration.effect is None else (toleration.effect,)
    return tuple(
        evolve(toleration, effect=effect, seconds=None) for effect in effects if effect is not TaintEffect.NO_EXECUTE
    )
