"""The conformance kit of `ClusterManager`: proves an implementation right, clause by clause.

It needs the extra `[conformance]`. The clause ids are those in the docstrings of the interface.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from orchestrion.conformance_kit import BoundCheck, CheckOptions, Factory

from . import _calls, _cancellation, _cordon, _events, _histories  # noqa: F401 # importing them declares their checks
from ._kit import KIT
from ._reader import Reader, open_reader
from ._strategies import histories, node_ids, nodes
from ._subject import ClusterUnderTest

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

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


def checks(
    factory: Factory[ClusterUnderTest], /, **options: Unpack[CheckOptions]
) -> list[BoundCheck[ClusterUnderTest]]:
    """Return all checks, bound to an implementation; call each. They need no pytest.

    Args:
        factory: Opens a fresh subject, whose manager is not yet initialised; leaving its context releases everything.
        **options: Those of `orchestrion.conformance_kit.Kit.checks`: capabilities, expected failures, clock, examples.

    Raises:
        ValueError: An expected failure names no check.
    """
    return KIT.checks(factory, **options)


def conformance_checks(factory: Factory[ClusterUnderTest], /, **options: Unpack[CheckOptions]) -> list[ParameterSet]:
    """Return all checks as parameters for `pytest.mark.parametrize`; expected failures are strict.

    It takes what `checks` takes.
    """
    return KIT.conformance_checks(factory, **options)
