"""The conformance kit of `ClusterManager`: proves an implementation right, clause by clause.

It needs the extra `[conformance]`. The clause ids are those in the docstrings of the interface.
"""

from __future__ import annotations

from orchestrion.conformance_kit import explain_asserts

explain_asserts(__name__, __path__)

from . import _calls, _cancellation, _cordon, _events, _histories  # noqa: F401 # importing them declares their checks
from ._kit import KIT
from ._reader import Reader, open_reader
from ._strategies import histories, node_ids, nodes
from ._subject import ClusterUnderTest

__all__ = [
    "CHECK_IDS",
    "KIT",
    "ClusterUnderTest",
    "Reader",
    "checks",
    "conformance_checks",
    "histories",
    "node_ids",
    "nodes",
    "open_reader",
]

CHECK_IDS: tuple[str, ...] = KIT.ids
"""The ids of all checks: the clause and the sentence."""

checks = KIT.checks
"""Returns all checks, bound to a cluster manager; call each. They need no pytest.

The first argument opens a fresh subject, whose manager is not yet initialised; leaving its context releases everything.
The options are those of `orchestrion.conformance_kit.Kit.checks`.
"""

conformance_checks = KIT.conformance_checks
"""Returns the same as parameters for `pytest.mark.parametrize`; expected failures are strict."""
