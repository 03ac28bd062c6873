"""Wording explanations for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from attrs import evolve
from orchestrion.shared_types import NodeId

from ._types import ChangeKind, Explanation, PlacementChange, Predicate, RefusalGroup

_REASONS: Final[Mapping[Predicate, str]] = {
    Predicate.NODE_STATUS: "status {}",
    Predicate.CORDONED: "cordoned",
    Predicate.NODE_CONDITION: "condition {}",
    Predicate.OTHER_NODE: "not the node that is asked for",
    Predicate.DRIVER: "can't run driver {}",
    Predicate.SELECTOR: "not {}",
    Predicate.EXPRESSION: "not {}",
    Predicate.HOST_PORT: "port {} is taken",
    Predicate.DEVICE: "no free GPUs for the request {}",
    Predicate.NODE_AFFINITY: "not {}",
    Predicate.INSTANCE_AFFINITY: "neighbours do not suit: {}",
    Predicate.SPREAD: "spread exceeded in {}",
    Predicate.UNSUPPORTED: "the scheduler does not support: {}",
}
"""Why nodes refuse, with the group's detail; other predicates are told by their name."""

_STEPS: Final[Mapping[ChangeKind, str]] = {
    ChangeKind.DROP_SELECTOR: "drop selector {}",
    ChangeKind.DROP_EXPRESSION: "drop expression on {}",
    ChangeKind.TOLERATE_TAINT: "tolerate taint {}",
    ChangeKind.UNCORDON: "uncordon it",
    ChangeKind.FREE_PORT: "free port {}",
    ChangeKind.ENABLE_DRIVER: "enable driver {}",
}
"""What to do, with the step's subject."""

MAX_WORDED: Final = 8
"""So many reasons or steps are worded where there are more; one more is worded rather than counted."""

_BINARY_UNITS: Final = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def describe(explanation: Explanation, /) -> str:
    """Return an explanation's groups in one line.

    For example "3 nodes: memory short by 512 MiB at best; 2 nodes: taint gpu=only", and before that, of a gang, such as
    "gang of 8: 5 could be placed, 6 needed; ". Of very many, those with the most nodes are worded, and the others
    counted.
    """
    gang = explanation.gang
    if gang is not None:
        could = f"gang of {gang.slots}: {gang.places or 'none'} could be placed, {gang.minimum} needed"
        return f"{could}; {describe(evolve(explanation, gang=None))}"
    if not explanation.groups:
        return "the cluster has no nodes" if explanation.nodes_considered == 0 else "no node refuses"
    words = [
        f"{group.node_count} {'node' if group.node_count == 1 else 'nodes'}: {_reason(group)}"
        for group in explanation.groups[: MAX_WORDED + 1]
    ]
    return "; ".join(_first_of(words, len(explanation.groups), "reasons"))


def describe_change(steps: Iterable[PlacementChange], /) -> str:
    """Return the steps of a change in one line, or "" for none.

    For example "on node n1: lower memory to 3.5 GiB, tolerate taint gpu".
    """
    listed = tuple(steps)
    words = ", ".join(_first_of([_step(step) for step in listed[: MAX_WORDED + 1]], len(listed), "steps"))
    if not listed or listed[0].node_id is None:
        return words and f"add a node that has {words}"
    return f"on node {listed[0].node_id}: {words}"


def describe_score(explanation: Explanation, node_id: NodeId, /) -> str:
    """Return what a node scored in one line, or "" where it has no score.

    For example "3336 = 812 binpack x 3 + 900 balance", or the number alone where its parts are not told.
    """
    score = explanation.scores.get(node_id)
    if score is None:
        return ""
    parts = explanation.parts.get(node_id, {})
    weights = explanation.weights
    if len(parts) < 2 and not weights:
        return number(score)
    words = [
        f"{number(part / weights[name])} {name} x {weights[name]}" if name in weights else f"{number(part)} {name}"
        for name, part in sorted(parts.items(), key=lambda each: (-abs(each[1]), each[0]))
    ]
    return f"{number(score)} = {' + '.join(words) or 0}".replace("+ -", "- ")


def number(value: float, /) -> str:
    """Return a number of points as people write it."""
    return f"{value:.0f}" if value == int(value) else f"{value:.6g}"


def _first_of(words: list[str], number: int, of_what: str) -> list[str]:
    """Return words for all that there are, or for the first of them and how many more there are."""
    if number == len(words):
        return words
    return [*words[:MAX_WORDED], f"and {number - MAX_WORDED} more {of_what}"]


def _reason(group: RefusalGroup) -> str:
    if group.predicate is Predicate.RESOURCE:
        missing = quantity(group.dimension, group.needed - group.best_free)
        return f"{_resource(group.dimension)} short by {missing} at best"
    if group.predicate is Predicate.SPREAD and group.detail == "node":
        return "spread exceeded on the node"
    words = _REASONS.get(group.predicate, group.predicate.value.replace("-", " ") + " {}")
    return words.format(group.detail).rstrip()


def _step(step: PlacementChange) -> str:
    resource, amount = _resource(step.subject), quantity(step.subject, step.amount)
    if step.kind is ChangeKind.ADD_NODE:
        return f"{amount} {resource}" if step.subject else "room"
    if step.kind is ChangeKind.LOWER_REQUEST:
        return f"lower {resource} to {amount}"
    return _STEPS[step.kind].format(step.subject)


def _resource(dimension: str) -> str:
    return {"cpu_millicores": "cpu", "memory_bytes": "memory", "disk_bytes": "disk"}.get(dimension, dimension)


def quantity(dimension: str, amount: int, /) -> str:
    """Return an amount of a resource as people write it: "1.5 cores", "512 MiB", or the number."""
    match dimension:
        case "cpu_millicores":
            cores = f"{amount / 1000:.3f}".rstrip("0").rstrip(".")
            return f"{cores} {'core' if amount == 1000 else 'cores'}"
        case "memory_bytes" | "disk_bytes":
            return _bytes(amount)
        case _:
            return str(amount)


def _bytes(amount: int) -> str:
    if amount < 1024:
        return f"{amount} bytes"
    power = min((amount.bit_length() - 1) // 10, len(_BINARY_UNITS))
    return f"{amount / 1024**power:.1f}".removesuffix(".0") + f" {_BINARY_UNITS[power - 1]}"
