"""The conformance kit of `StateStore`: proves an implementation right, clause by clause.

It needs the extra `[conformance]`. The clause ids are those in the docstrings of the interface.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from orchestrion.conformance_kit import BoundCheck, ClockKind, Factory

from . import _cancellation, _histories, _leases, _lifecycle, _reads, _watches, _writes  # noqa: F401 # they declare checks
from ._strategies import few_keys, histories, keys, prefixes, values
from ._subject import KIT, StoreUnderTest

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

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


def checks(
    factory: Factory[StoreUnderTest],
    /,
    *,
    capabilities: Iterable[str] | None = None,
    expected_failures: Mapping[str, str] | None = None,
    clock: ClockKind = "mock",
    examples: int | None = None,
    deadline_seconds: float = 120.0,
    shrink: bool = True,
) -> list[BoundCheck[StoreUnderTest]]:
    """Return all checks, bound to an implementation; call each. They need no pytest.

    Args:
        factory: Opens a fresh, empty store; leaving its context releases everything, also what `reopen` opened.
        capabilities: Stores have none to declare; there for symmetry with the other kits.
        expected_failures: Reasons by check id or clause id: these checks are known to fail.
        clock: "mock" jumps over waiting; "real" is for a store that waits for threads, files or sockets.
        examples: Examples per property; None takes the profile's.
        deadline_seconds: The longest time of a single run.
        shrink: Whether a property that fails looks for the simplest example.

    Raises:
        ValueError: An expected failure names no check.
    """
    return KIT.checks(
        factory,
        capabilities=capabilities,
        expected_failures=expected_failures,
        clock=clock,
        examples=examples,
        deadline_seconds=deadline_seconds,
        shrink=shrink,
    )


def conformance_checks(
    factory: Factory[StoreUnderTest],
    /,
    *,
    capabilities: Iterable[str] | None = None,
    expected_failures: Mapping[str, str] | None = None,
    clock: ClockKind = "mock",
    examples: int | None = None,
    deadline_seconds: float = 120.0,
    shrink: bool = True,
) -> list[ParameterSet]:
    """Return all checks as parameters for `pytest.mark.parametrize`; expected failures are strict.

    It takes what `checks` takes.
    """
    return KIT.conformance_checks(
        factory,
        capabilities=capabilities,
        expected_failures=expected_failures,
        clock=clock,
        examples=examples,
        deadline_seconds=deadline_seconds,
        shrink=shrink,
    )
