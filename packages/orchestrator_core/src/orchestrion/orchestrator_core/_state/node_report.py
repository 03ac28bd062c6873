"""What a node reports of itself: conditions, for how long they are believed, and what comes of them."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Final
from urllib.parse import quote

from attrs import evolve, field, frozen, validators
from orchestrion.shared_types import Node, NodeCondition, NodeId, Taint

REPORTS_PREFIX: Final = "/report/default/"

MAX_CONDITIONS: Final = 64
MAX_TEXT: Final = 1024
MIN_HEARTBEAT_SECONDS: Final = 1.0
MAX_HEARTBEAT_SECONDS: Final = 86_400.0


class ConditionStatus(StrEnum):
    """Whether a reported condition holds."""

    TRUE = "true"
    """It holds: the node gets no new work."""
    FALSE = "false"
    """It does not hold."""
    UNKNOWN = "unknown"
    """Nobody knows, who reports included; it counts as if it did not hold."""


@frozen(kw_only=True)
class ReportedCondition:
    """A fault that a node looks for, and whether it found it.

    Attributes:
        type: What it is, such as "ClockSkew"; 1 to 1024 characters.
        status: Whether it holds.
        reason: Why, in a word, for programs; at most 1024 characters.
        message: Why, in a line, for people; at most 1024 characters.
        since: Since when it is so (UTC); None where that is not known.
        taint: What the node is tainted with while the condition holds; None for no taint.
    """

    type: str = field(validator=[validators.min_len(1), validators.max_len(MAX_TEXT)])
    status: ConditionStatus
    reason: str = field(default="", validator=validators.max_len(MAX_TEXT))
    message: str = field(default="", validator=validators.max_len(MAX_TEXT))
    since: datetime | None = None
    taint: Taint | None = None


@frozen(kw_only=True)
class Heartbeat:
    """How often who reports is going to be heard.

    Attributes:
        seconds: For so long after each report it is believed; 1 to 86 400.
    """

    seconds: float = field(validator=[validators.ge(MIN_HEARTBEAT_SECONDS), validators.le(MAX_HEARTBEAT_SECONDS)])


@frozen(kw_only=True)
class NodeReport:
    """What a node reports, as it is on record. When it was last heard is not: see `silent_since`.

    Attributes:
        conditions: At most 64; types are unique.
        heartbeat: For how long the report is believed; None is until the next one.
        silent_since: Since when it is out of date (UTC), because the heartbeat stayed away; None while it is believed.
    """

    conditions: tuple[ReportedCondition, ...] = field(default=(), validator=validators.max_len(MAX_CONDITIONS))
    heartbeat: Heartbeat | None = None
    silent_since: datetime | None = None


def report_key(node_id: NodeId) -> str:
    """Return the key of what a node reports."""
    return f"{REPORTS_PREFIX}{quote(node_id, safe='')}"


def reported(node: Node, report: NodeReport | None) -> Node:
    """Return a node with what it reports, besides what the cluster manager tells, which goes first.

    A condition that holds is a fault, as those of the cluster manager are; its taint goes before one of the same key
    and effect. What is out of date is unknown, and has no effect.
    """
    if report is None or not report.conditions:
        return node
    known = {condition.type for condition in node.conditions}
    conditions = sorted((each for each in report.conditions if each.type not in known), key=lambda each: each.type)
    taints = {(taint.key, taint.effect): taint for taint in node.taints}
    for each in conditions:
        if each.taint is not None and each.status is ConditionStatus.TRUE and report.silent_since is None:
            taints[each.taint.key, each.taint.effect] = each.taint
    shown = tuple([_shown(each, report.silent_since) for each in conditions])
    return evolve(node, conditions=(*node.conditions, *shown), taints=tuple(taints.values()))


def _shown(condition: ReportedCondition, silent_since: datetime | None) -> NodeCondition:
    if silent_since is not None:
        text = f"not heard of since {silent_since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}; it was {condition.status} then"
        return NodeCondition(type=condition.type, active=False, unknown=True, reason=text, since=silent_since)
    return NodeCondition(
        type=condition.type,
        active=condition.status is ConditionStatus.TRUE,
        unknown=condition.status is ConditionStatus.UNKNOWN,
        reason=": ".join(text for text in (condition.reason, condition.message) if text),
        since=condition.since,
    )
