"""The machinery that conformance kits are made of: named clauses, a trio runner, a cancellation sweep."""

from ._asserts import explain_asserts
from ._check import BoundCheck, Check, Offer
from ._kit import EXAMPLES, CheckOptions, Kit
from ._mutants import FailedChecks, Mutants
from ._runner import ClockKind, Factory, Runner
from ._sweep import cancellation_sweep

__all__ = [
    "EXAMPLES",
    "BoundCheck",
    "Check",
    "CheckOptions",
    "ClockKind",
    "Factory",
    "FailedChecks",
    "Kit",
    "Mutants",
    "Offer",
    "Runner",
    "cancellation_sweep",
    "explain_asserts",
]
