"""Whether who began something that lasts may still have it: rights and proofs end while streams are open."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import trio
from attrs import define, field, frozen
from orchestrion.shared_types import OrchestrationError

STANDING: Final = "orchestrion.standing"
"""Where in a request's scope is what says whether it may go on, a `Standing`; nowhere if it always may."""

LOOK_SECONDS: Final = 5.0
"""How often it is asked at the least. Of what other programs change not all is told."""

_LATE_SECONDS: Final = 0.01
"""By how much it is asked after a proof has ended: no two clocks go quite alike."""


@define(eq=False)
class Changes:
    """Tells that proofs or rights may have ended, to whatever lasts and has been begun with some."""

    _waiting: set[trio.CancelScope] = field(init=False, factory=set)

    def tell(self) -> None:
        """Cut short all that waits."""
        for scope in list(self._waiting):
            scope.cancel()

    @contextmanager
    def awake(self, seconds: float) -> Iterator[None]:
        """Cut short what waits inside once there is a change, or after so many seconds."""
        with trio.move_on_after(seconds) as scope:
            self._waiting.add(scope)
            try:
                yield
            finally:
                self._waiting.remove(scope)


def _no_end() -> float:
    return math.inf


@frozen(eq=False)
class Standing:
    """Says whether something that lasts may go on.

    Attributes:
        check: Raises `Unauthenticated` or `Denied` once who asked may no longer have what was begun. It asks nobody.
        changes: Tells when it is worth asking.
        seconds_left: Says for how many seconds more what was shown is good; infinite without end.
    """

    check: Callable[[], None]
    changes: Changes = field(factory=Changes)
    seconds_left: Callable[[], float] = _no_end

    def __call__(self) -> None:
        """Make sure that it may go on.

        Raises:
            OrchestrationError: It may not.
        """
        self.check()

    @contextmanager
    def awake(self, seconds: float = LOOK_SECONDS) -> Iterator[None]:
        """Cut short what waits inside once it is to be asked again, after so many seconds at the latest."""
        left = self.seconds_left()
        with self.changes.awake(min(seconds, left + _LATE_SECONDS) if left > 0 else seconds):
            yield


always: Final = Standing(lambda: None)
"""Lets it go on."""


def standing_of(scope: Any) -> Standing:
    """Return what says whether a request may go on."""
    found: Standing = scope.get(STANDING, always)
    return found


@define(eq=False)
class Refusal:
    """Why something that lasts had to end.

    Attributes:
        standing: Says whether it may go on.
        error: Why not; None while it may.
    """

    standing: Standing
    error: OrchestrationError | None = None

    async def end(self, scope: trio.CancelScope) -> None:
        """Cancel a scope once what is inside may not go on."""
        while True:
            try:
                self.standing()
            except OrchestrationError as err:
                self.error = err
                break
            with self.standing.awake():
                await trio.sleep_forever()
        scope.cancel()

    def check(self) -> None:
        """Raise the error, if it had to end."""
        if self.error is not None:
            raise self.error
