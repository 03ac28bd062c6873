"""The machinery that conformance kits are made of: named clauses, a trio runner, a cancellation sweep."""

from ._kit import EXAMPLES, BoundCheck, Check, ClockKind, Factory, Kit, Runner
from ._sweep import cancellation_sweep

__all__ = ["EXAMPLES", "BoundCheck", "Check", "ClockKind", "Factory", "Kit", "Runner", "cancellation_sweep"]
