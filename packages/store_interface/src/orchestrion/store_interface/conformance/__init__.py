"""The conformance kit of `StateStore`: proves an implementation right, clause by clause.

It needs the extra `[conformance]`. The clause ids are those in the docstrings of the interface.
"""

from __future__ import annotations

from orchestrion.conformance_kit import explain_asserts

explain_asserts(__name__, __path__)

from . import _cancellation, _histories, _leases, _lifecycle, _reads, _watches, _writes  # noqa: F401 # they declare checks
from ._strategies import few_keys, histories, keys, prefixes, values
from ._subject import KIT, StoreUnderTest

__all__ = [
    "CHECK_IDS",
    "KIT",
    "StoreUnderTest",
    "checks",
    "conformance_checks",
    "few_keys",
    "histories",
    "keys",
    "prefixes",
    "values",
]

CHECK_IDS: tuple[str, ...] = KIT.ids
"""The ids of all checks: the clause and the sentence."""

checks = KIT.checks
"""Returns all checks, bound to a store; call each. They need no pytest.

The first argument opens a fresh, empty store; leaving its context releases everything, also what `reopen` opened. The
options are those of `orchestrion.conformance_kit.Kit.checks`.
"""

conformance_checks = KIT.conformance_checks
"""Returns the same as parameters for `pytest.mark.parametrize`; expected failures are strict."""
