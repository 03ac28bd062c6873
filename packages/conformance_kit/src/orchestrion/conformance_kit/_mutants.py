"""Mutants: implementations that are wrong on purpose, with which a kit is tested."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from ._check import BoundCheck

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

M = TypeVar("M")
K = TypeVar("K")


class Mutants(Generic[M]):
    """The mutants of a test module, each with the clauses that it breaks."""

    def __init__(self) -> None:
        """Begin with none."""
        self._by_clause: dict[str, list[M]] = {}

    @property
    def by_clause(self) -> Mapping[str, list[M]]:
        """The mutants by the clause that they break, both in the order in which they were entered."""
        return self._by_clause

    def breaks(self, *clauses: str) -> Callable[[K], K]:
        """Return a decorator that enters a mutant, a class or what else makes one, as one of these clauses."""

        def enter(mutant: K) -> K:
            for clause in clauses:
                self._by_clause.setdefault(clause, []).append(cast("M", mutant))
            return mutant

        return enter

    def parameters(self) -> list[ParameterSet]:
        """Return (clause, mutant) as parameters for pytest, with ids like `mutant-PUT-3-NeverWrites`."""
        import pytest

        return [
            pytest.param(clause, mutant, id=f"mutant-{clause}-{getattr(mutant, '__name__', mutant)}")
            for clause, mutants in self._by_clause.items()
            for mutant in mutants
        ]


class FailedChecks(Generic[M]):
    """Finds the checks that a mutant fails; each clause of each mutant once."""

    def __init__(
        self,
        checks_of: Callable[[M], Iterable[BoundCheck[Any]]],
        /,
        *,
        errors: type[Exception] | tuple[type[Exception], ...] = AssertionError,
    ) -> None:
        """Take what binds the kit's checks to a mutant.

        Args:
            checks_of: Gives them; with few examples and no shrinking they take little time.
            errors: By what a check may fail. Any other error is the check's own fault, and comes out.
        """
        self._checks_of = checks_of
        self._errors = errors
        self._found: dict[tuple[str, M], frozenset[str]] = {}

    def __call__(self, clause: str, mutant: M) -> frozenset[str]:
        """Return the ids of the clause's checks that the mutant fails; one that is skipped has not failed.

        Raises:
            AssertionError: A check has failed without saying of what.
        """
        key = clause, mutant
        if key not in self._found:
            checks = [check for check in self._checks_of(mutant) if check.check.clause == clause]
            self._found[key] = frozenset(check.id for check in checks if self._fails(check))
        return self._found[key]

    def _fails(self, check: BoundCheck[Any]) -> bool:
        try:
            check()
        except unittest.SkipTest:
            return False
        except Exception as error:
            if not self._is_failure(error):
                raise
            if not str(error):
                msg = f"{check.id} failed without a word"
                raise AssertionError(msg) from error
            return True
        return False

    def _is_failure(self, error: Exception) -> bool:
        # A property that fails in several ways raises all of them at once.
        if isinstance(error, ExceptionGroup):
            return all(self._is_failure(inner) for inner in error.exceptions)
        return isinstance(error, self._errors)
