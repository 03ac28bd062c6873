"""Whether who began something that lasts may still have it: rights and proofs end while streams are open."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import trio
from attrs import define
from orchestrion.shared_types import OrchestrationError

STANDING: Final = "orchestrion.standing"
"""Where in a request's scope is what says whether it may go on, a `Standing`; nowhere if it always may."""

LOOK_SECONDS: Final = 5.0
"""How often it is asked. A proof ends by the clock too, of which nothing tells."""

Standing = Callable[[], None]
"""Raises `Unauthenticated` or `Denied` once who asked may no longer have what was begun."""


def always() -> None:
    """Let it go on."""


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
        while self.error is None:
            await trio.sleep(LOOK_SECONDS)
            try:
                self.standing()
            except OrchestrationError as err:
                self.error = err
        scope.cancel()

    def check(self) -> None:
        """Raise the error, if it had to end."""
        if self.error is not None:
            raise self.error
