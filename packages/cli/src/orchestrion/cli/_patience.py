"""Following on where a server is restarted: it is waited for, and then asked for what comes after what was seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio
from attrs import define, field
from orchestrion.control_plane import HttpControl
from orchestrion.shared_types import Closed, NetworkFailure, OrchestrationError, Unavailable

from ._output import note

OUTAGES: Final = (NetworkFailure, Unavailable, Closed)
"""What a follower is told where the server goes away in the middle."""

RESUME_SECONDS: Final = 60.0
"""How long a server is waited for that was there before."""

ENDED_SECONDS: Final = 20.0
"""How long one is waited for that has ended in good order, and may only be started anew."""

_ANSWER_SECONDS: Final = 3.0
"""How long it may take to say that it is there."""

_PAUSE_SECONDS: Final = 0.1
"""Between two questions whether it is there."""


@define(eq=False)
class Patience:
    """Waits for a server that was there, on behalf of all that one command follows.

    **Concurrency.** Any number of tasks; one of them asks, and the others wait for it.

    Attributes:
        control: Who is waited for.
        seconds: How long, from when it was missed first.
        ended: Says whether it has ended in good order: then it is waited for no longer than `ENDED_SECONDS`.
    """

    control: HttpControl
    seconds: float = RESUME_SECONDS
    ended: Callable[[], bool] = lambda: False
    _lock: trio.Lock = field(factory=trio.Lock)
    _missed_at: float | None = None
    _told: bool = False

    def met(self) -> None:
        """Note that it has given what was asked for: what comes after that is another outage."""
        self._missed_at, self._told = None, False

    async def wait(self, error: OrchestrationError | None = None) -> bool:
        """Wait until the server answers, and return whether it was away; that is said once on stderr.

        Args:
            error: What it was missed by; None where it has ended what was followed in good order.

        Raises:
            OrchestrationError: It has not come back: `error`, or why it was not reached the last time.
        """
        async with self._lock:
            away = self._missed_at is not None
            if self._missed_at is None:
                self._missed_at = trio.current_time()
            else:
                await trio.sleep(_PAUSE_SECONDS)  # it has answered, and then not given what was asked for
            while True:
                failure = await self._failure()
                if failure is None and not self._is_over():
                    return away
                if self._is_over():
                    raise error or failure or self.control.peer.unreachable()
                self._tell()
                away = True
                await trio.sleep(_PAUSE_SECONDS)

    def _is_over(self) -> bool:
        return self._missed_at is not None and trio.current_time() >= self._missed_at + self._seconds()

    def _seconds(self) -> float:
        return min(ENDED_SECONDS, self.seconds) if self.ended() else self.seconds

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            note(f"the server does not answer; waiting up to {self._seconds():g} s for it to come back")

    async def answers(self) -> bool:
        """Whether the server answers now."""
        return await self._failure() is None

    async def _failure(self) -> OrchestrationError | None:
        with trio.move_on_after(_ANSWER_SECONDS):
            try:
                await self.control.ping()
            except OUTAGES as err:
                return err
            return None
        return self.control.peer.unreachable()
