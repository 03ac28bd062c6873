"""How long an orchestrator takes for things."""

from __future__ import annotations

from attrs import define


@define(eq=False)
class Timings:
    """How long things may take; all in seconds.

    Attributes:
        lease: How long a node, or a leader, is believed alive without a word from it.
        skew: By how much two clocks may run apart.
        period: From one full pass to the next.
        poll: How often a runtime is asked that does not announce changes.
    """

    lease: float = 10.0
    skew: float = 2.0
    period: float = 30.0
    poll: float = 1.0
