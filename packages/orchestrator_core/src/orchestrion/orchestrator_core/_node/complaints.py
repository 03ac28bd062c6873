"""Events about what keeps failing: each trouble is told at once, and then ever more rarely."""

from __future__ import annotations

from typing import Final

import trio
from attrs import define, field, frozen
from orchestrion.orchestrator_core._state.events import EventRecorder
from orchestrion.shared_types import EventSeverity

FIRST_PAUSE_SECONDS: Final = 1.0
MAX_PAUSE_SECONDS: Final = 300.0

QUIET_SECONDS: Final = 60.0
"""What was not complained about for so long after it could have been is told at once again."""


@frozen
class _Said:
    message: str
    again_at: float
    pause: float


@define(eq=False)
class Complaints:
    """Remembers what was said about whom.

    Attributes:
        recorder: Takes events.
    """

    recorder: EventRecorder
    _said: dict[tuple[str, str], _Said] = field(factory=dict)

    @property
    def any(self) -> bool:
        """Whether anything is remembered."""
        return bool(self._said)

    def say(self, namespace: str, subject: str, reason: str, message: str, retry_seconds: float) -> None:
        """Record that something has failed and is tried again, unless the same was recorded a short while ago."""
        now = trio.current_time()
        known = self._said.get((namespace, subject))
        pause = FIRST_PAUSE_SECONDS
        if known is not None and known.message == message:
            if now < known.again_at:
                return
            if now < known.again_at + QUIET_SECONDS:
                pause = min(MAX_PAUSE_SECONDS, known.pause * 2)
        self._said[namespace, subject] = _Said(message, now + pause, pause)
        text = f"{message}; next try in {retry_seconds:.1f} s"
        self.recorder.record(namespace, subject, reason, text, EventSeverity.WARNING)

    def forget(self, namespace: str, subject: str) -> None:
        """Note that all is well again, or that there is no such subject any more."""
        self._said.pop((namespace, subject), None)
