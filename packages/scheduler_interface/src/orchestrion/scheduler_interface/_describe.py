"""Wording explanations for people."""

from __future__ import annotations

from collections.abc import Iterable

from ._types import ChangeKind, Explanation, PlacementChange, Predicate, RefusalGroup

_BINARY_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def describe(explanation: Explanation, /) -> str:
    """Return an explanation's groups in one line.

    For example "3 nodes: memory short by 512 MiB at best; 2 nodes: taint gpu=only".
    """
    if not explanation.groups:
        return "the cluster has no nodes" if explanation.nodes_considered == 0 else "no node refuses"
    return "; ".join(
        f"{group.node_count} {'node' if group.node_count == 1 else 'nodes'}: {_reason(group)}"
        for group in explanation.groups
    )


def describe_change(steps: Iterable[PlacementChange], /) -> str:
    """Return the steps of a change in one line, or "" for none.

    For example "on node n1: lower memory to 3.5 GiB, tolerate taint gpu".
    """
    listed = tuple(steps)
    words = ", ".join(_step(step) for step in listed)
    if not listed or listed[0].node_id is None:
        return words and f"add a node that has {words}"
    return f"on node {listed[0].node_id}: {words}"


def _reason(group: RefusalGroup) -> str:
    match group.predicate:
        case Predicate.NODE_STATUS:
            return f"status {group.detail}"
        case Predicate.CORDONED:
            return "cordoned"
        case Predicate.NODE_CONDITION:
            return f"condition {group.detail}"
        case Predicate.OTHER_NODE:
            return "not the node that is asked for"
        case Predicate.DRIVER:
            return f"can't run driver {group.detail}"
        case Predicate.SELECTOR:
            return f"not {group.detail}"
        case Predicate.EXPRESSION:
            return f"not {group.detail}"
        case Predicate.HOST_PORT:
            return f"port {group.detail} is taken"
        case Predicate.RESOURCE:
            missing = quantity(group.dimension, group.needed - group.best_free)
            return f"{_resource(group.dimension)} short by {missing} at best"
        case Predicate.DEVICE:
            return f"no free GPUs for the request {group.detail}"
        case Predicate.SPREAD:
            return f"spread exceeded in {group.detail}"
        case Predicate.UNSUPPORTED:
            return f"the scheduler does not support: {group.detail}"
        case _:
            return f"{group.predicate.value.replace('-', ' ')} {group.detail}".rstrip()


def _step(step: PlacementChange) -> str:
    match step.kind:
        case ChangeKind.LOWER_REQUEST:
            return f"lower {_resource(step.subject)} to {quantity(step.subject, step.amount)}"
        case ChangeKind.DROP_SELECTOR:
            return f"drop selector {step.subject}"
        case ChangeKind.DROP_EXPRESSION:
            return f"drop expression on {step.subject}"
        case ChangeKind.TOLERATE_TAINT:
            return f"tolerate taint {step.subject}"
        case ChangeKind.UNCORDON:
            return "uncordon it"
        case ChangeKind.FREE_PORT:
            return f"free port {step.subject}"
        case ChangeKind.ENABLE_DRIVER:
            return f"enable driver {step.subject}"
        case ChangeKind.ADD_NODE:
            return f"{quantity(step.subject, step.amount)} {_resource(step.subject)}" if step.subject else "room"


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
