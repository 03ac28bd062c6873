"""Where tools do their work: a Control, and the question whether who asks may do it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from attrs import frozen
from orchestrion.control_plane._control import Control
from orchestrion.control_plane._identity.access import Access
from orchestrion.orchestrator_core import WallClock, system_time

Permit = Callable[[Access], None]
"""Raises `Denied` unless who asks may do something."""


def permit_all(_access: Access) -> None:
    """Let everything pass: where whoever answers asks for itself, or who asks owns what there is."""


@frozen
class Desk:
    """What the tools of one session act through.

    Attributes:
        control: Does it.
        permit: Says whether who asks may.
        clock: The wall clock.
    """

    control: Control
    permit: Permit = permit_all
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
        self.permit(Access(verb, resource, namespace or "", name))

    def now(self) -> datetime:
        """Return the time."""
        return self.clock()
