"""Where tools do their work: a Control, and the question whether who asks may do it."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from attrs import field, frozen
from orchestrion.control_plane._control import Control
from orchestrion.control_plane._identity.access import Access
from orchestrion.orchestrator_core import WallClock, system_time
from orchestrion.shared_types import OrchestrationError


class Watcher(Protocol):
    """Says what who asks may do, and hears what becomes of it."""

    def permit(self, access: Access, /) -> None:
        """Let something be done.

        Raises:
            Denied: Who asks may not.
        """
        ...

    def may(self, access: Access, /) -> bool:
        """Say whether something may be done, which is not to be done now."""
        ...

    def tries(self) -> None:
        """Hear that what was permitted is only tried."""
        ...

    def failed(self, error: OrchestrationError, /) -> None:
        """Hear that what was permitted failed."""
        ...


class Unwatched:
    """Where whoever answers watches itself, or who asks owns what there is."""

    def permit(self, _access: Access, /) -> None:
        """Do nothing."""

    def may(self, _access: Access, /) -> bool:
        """Return True."""
        return True

    def tries(self) -> None:
        """Do nothing."""

    def failed(self, _error: OrchestrationError, /) -> None:
        """Do nothing."""


@frozen
class Desk:
    """What the tools of one session act through.

    Attributes:
        control: Does it.
        watcher: Says whether who asks may.
        clock: The wall clock.
    """

    control: Control
    watcher: Watcher = field(factory=Unwatched)
    clock: WallClock = system_time

    def check(self, verb: str, resource: str, namespace: str | None = "", name: str = "") -> None:
        """Make sure that who asks may do something.

        Args:
            verb: What.
            resource: With what.
            namespace: Where; None or empty is everywhere, or nowhere for what is cluster-wide.
            name: With which one; empty is none in particular.

        Raises:
            Denied: They may not.
        """
        self.watcher.permit(Access(verb, resource, namespace or "", name))

    def may(self, verb: str, resource: str, namespace: str = "") -> bool:
        """Say whether who asks may do something."""
        return self.watcher.may(Access(verb, resource, namespace))

    def now(self) -> datetime:
        """Return the time."""
        return self.clock()
