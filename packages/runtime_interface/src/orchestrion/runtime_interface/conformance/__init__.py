"""The conformance kit of `ContainerRuntime`: proves an implementation right, clause by clause.

It needs the extra `[conformance]`. The clause ids are those in the docstrings of the interface.
"""

from __future__ import annotations

from orchestrion.conformance_kit import explain_asserts

explain_asserts(__name__, __path__)

from . import (  # noqa: F401 # they declare checks
    _abilities,
    _cancellation,
    _create,
    _end,
    _histories,
    _logs,
    _status,
    _terminals,
)
from ._behaviour import (
    Behaviour,
    CannotStart,
    CopiesStdin,
    Dies,
    Exits,
    Forks,
    IgnoresSigterm,
    ListensOn,
    NotExecutable,
    Prints,
    PrintsEnvironment,
    Sleeps,
    TellsSize,
    TrapsSigterm,
    Unsupported,
    pattern,
)
from ._bench import KIT
from ._subject import RuntimeUnderTest

__all__ = [
    "CHECK_IDS",
    "KIT",
    "Behaviour",
    "CannotStart",
    "CopiesStdin",
    "Dies",
    "Exits",
    "Forks",
    "IgnoresSigterm",
    "ListensOn",
    "NotExecutable",
    "Prints",
    "PrintsEnvironment",
    "RuntimeUnderTest",
    "Sleeps",
    "TellsSize",
    "TrapsSigterm",
    "Unsupported",
    "checks",
    "conformance_checks",
    "pattern",
]

CHECK_IDS: tuple[str, ...] = KIT.ids
"""The ids of all checks: the clause and the sentence."""

checks = KIT.checks
"""Returns all checks, bound to a runtime; call each. They need no pytest.

The first argument opens a fresh runtime that has no containers, and closes it. The options are those of
`orchestrion.conformance_kit.Kit.checks`; on a real clock a fifth of the examples is drawn, as each takes processes and
time.
"""

conformance_checks = KIT.conformance_checks
"""Returns the same as parameters for `pytest.mark.parametrize`; expected failures are strict."""
