"""What happened, for people and programs to read afterwards."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from enum import StrEnum

from attrs import frozen

from ._ids import Uid


class EventSeverity(StrEnum):
    """Whether somebody should look."""

    NORMAL = "Normal"
    WARNING = "Warning"


@frozen(kw_only=True)
class Event:
    """One thing that happened to one object.

    Attributes:
        uid: Orders events: a later event of the same writer has a later uid.
        namespace: The object's namespace.
        subject: The object as `kind/name`, such as "workload/web" or "instance/web.0.1".
        reason: A stable word, such as "Placed", "Started", "BackOff".
        message: One line for people.
        severity: Whether somebody should look.
        at: When it happened (UTC).
    """

    uid: Uid
    namespace: str
    subject: str
    reason: str
    message: str
    severity: EventSeverity = EventSeverity.NORMAL
    at: datetime

    def is_of(self, types: Collection[str], /) -> bool:
        """Whether its severity or its reason is one of some words, in any case; of none it always is."""
        return not types or not {self.severity.value.lower(), self.reason.lower()}.isdisjoint(map(str.lower, types))
