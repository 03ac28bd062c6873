"""What selectors, expressions and tolerations mean: the rules of the interface for a single label or taint."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from orchestrion.shared_types import Expression, InstanceAffinity, Node, Operator, Taint, TaintEffect, Toleration

REFUSING_EFFECTS: Final = frozenset({TaintEffect.NO_SCHEDULE, TaintEffect.NO_EXECUTE})
"""The effects of taints that keep new instances off, unless they are tolerated."""

_WHOLE_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,1000}")


def topology_domain(node: Node, by: str, /) -> str | None:
    """Return the domain that a node is in, or None where it is in none.

    Args:
        node: The node.
        by: "node", "rack", "zone" or "region" for the node's name or topology, and where that is empty, as for any
            other word, the node's label of that key.
    """
    return _topology(node, by) or node.labels.get(by)


def selector_matches(node: Node, key: str, value: str, /) -> bool:
    """Whether a node has a label of that key and value, or a topology or name."""
    return node.labels.get(key) == value or (value != "" and _topology(node, key) == value)


def _topology(node: Node, by: str) -> str:
    match by:
        case "node":
            return node.name
        case "rack":
            return node.topology.rack
        case "zone":
            return node.topology.zone
        case "region":
            return node.topology.region
        case _:
            return ""


def expression_matches(labels: Mapping[str, str], expression: Expression, /) -> bool:
    """Whether labels match an expression."""
    value = labels.get(expression.key)
    match expression.operator:
        case Operator.IN:
            return value in expression.values
        case Operator.NOT_IN:
            return value not in expression.values
        case Operator.EXISTS:
            return value is not None
        case Operator.DOES_NOT_EXIST:
            return value is None
        case Operator.GREATER:
            return _compare(value, expression.values[0]) > 0
        case Operator.LESS:
            return _compare(value, expression.values[0]) < 0


def _compare(value: str | None, bound: str) -> int:
    """Return 1 for greater, -1 for less, and 0 for equal or where one of them is not a whole number."""
    if value is None or not _WHOLE_NUMBER.fullmatch(value) or not _WHOLE_NUMBER.fullmatch(bound):
        return 0
    number, limit = int(value), int(bound)
    return (number > limit) - (number < limit)


def is_tolerated(taint: Taint, tolerations: Iterable[Toleration], /) -> bool:
    """Whether one of the tolerations matches a taint, for whatever time."""
    return any(
        toleration.key in ("", taint.key)
        and toleration.value in (None, taint.value)
        and toleration.effect in (None, taint.effect)
        for toleration in tolerations
    )


class Tolerated:
    """The taints that some tolerations match, each found at once however many tolerations there are."""

    def __init__(self, tolerations: Iterable[Toleration]) -> None:
        """Sort out what is tolerated."""
        self._all = frozenset((each.key, each.value, each.effect) for each in tolerations)

    def __contains__(self, taint: Taint) -> bool:
        """Whether one of the tolerations matches a taint, for whatever time."""
        tolerated = self._all
        if not tolerated:
            return False
        key, value, effect = taint.key, taint.value, taint.effect
        return (
            (key, None, None) in tolerated
            or (key, value, None) in tolerated
            or (key, None, effect) in tolerated
            or (key, value, effect) in tolerated
            or ("", None, None) in tolerated
            or ("", value, None) in tolerated
            or ("", None, effect) in tolerated
            or ("", value, effect) in tolerated
        )


def label_text(key: str, value: str, /) -> str:
    """Return a label or taint as people write it."""
    return f"{key}={value}" if value else key


def domain_text(by: str, domain: str | None, /) -> str:
    """Return a topology domain as people write it, "none" where a node is in none; no node by name.

    A group of nodes that fail for their own sake is one, however many names there are.
    """
    return by if by == "node" else label_text(by, "none" if domain is None else domain)


def neighbours_text(affinity: InstanceAffinity, where: str, /) -> str:
    """Return what an affinity to instances misses or minds in a domain, of which `where` is the text."""
    labels = ", ".join(label_text(key, value) for key, value in sorted(affinity.match_labels.items()))
    place = "on the node" if affinity.by == "node" else f"in {where}"
    # One that matches nothing keeps nobody away.
    return f"{labels} {place}" if affinity.anti else f"no {labels or 'labels to match'} {place}"


def expression_text(expression: Expression, /) -> str:
    """Return an expression as people write it."""
    return " ".join(filter(None, (expression.key, str(expression.operator), ", ".join(expression.values))))
