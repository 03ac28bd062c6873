"""Refusals of who is not known, summed up by where they come from: who can be anybody is to fill no disk."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import trio
from attrs import define, evolve, field
from orchestrion.control_plane._identity.audit_records import AuditRecord
from orchestrion.control_plane._limits import source_of

WINDOW_SECONDS: Final = 60.0
"""For how long refusals of one source are summed up."""

MAX_SOURCES: Final = 4096
"""Of how many sources it is known apart; of more, all others count as one."""

_OTHERS: Final = ""


@define(eq=False)
class _Window:
    """What came from a source since it was last told of: how many, and the latest."""

    ends: float
    record: AuditRecord
    count: int = 0


@define(eq=False)
class Refusals:
    """Says which refusals are put on record at once, and sums up the others.

    The first from a source is told at once. Those that follow are counted, and told as one when a window has passed;
    as long as they go on, one of them is told in each.

    Attributes:
        window_seconds: How long a window is.
        limit: Of how many sources it is known apart, at least 1.
        clock: A monotonic clock, in seconds.
    """

    window_seconds: float = WINDOW_SECONDS
    limit: int = MAX_SOURCES
    clock: Callable[[], float] = trio.current_time
    _windows: OrderedDict[str, _Window] = field(factory=OrderedDict, init=False)
    """By source; that which ends first is first."""

    def take(self, record: AuditRecord, /) -> bool:
        """Return whether a refusal is to be put on record now; if not, it is counted."""
        source = source_of(record.source)
        if source not in self._windows and len(self._windows) >= self.limit:
            source = _OTHERS
        window = self._windows.get(source)
        if window is None:
            self._windows[source] = _Window(self.clock() + self.window_seconds, record)
            return True
        window.record = record
        window.count += 1
        return False

    def due(self, *, all_of_them: bool = False) -> list[AuditRecord]:
        """Return a record of each source whose window has passed, and begin another one where something came in it.

        Args:
            all_of_them: Also of those whose window has not passed: nothing more is to come.
        """
        now, found = self.clock(), list[AuditRecord]()
        while self._windows:
            source, window = next(iter(self._windows.items()))
            if window.ends > now and not all_of_them:
                break
            del self._windows[source]
            if window.count:
                found.append(_summed_up(window))
                if not all_of_them:
                    self._windows[source] = _Window(now + self.window_seconds, window.record)
        return found


def _summed_up(window: _Window) -> AuditRecord:
    many = "1 more came" if window.count == 1 else f"{window.count:,} more came"
    reason = f"{many} from there since the last that is on record; this is the latest: {window.record.reason}"
    return evolve(window.record, count=window.count, reason=reason)
