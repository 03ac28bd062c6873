"""Stores that are wrong on purpose: what they derive from, and what the kit says of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import TypeVar
from unittest import SkipTest

import pytest
from _pytest.mark import ParameterSet
from orchestrion.mocks import MemoryState, MemoryStore
from orchestrion.store_interface import (
    StateStore,
)
from orchestrion.store_interface.conformance import StoreUnderTest, checks

__all__ = ["Mutant", "Mutants", "failed_checks"]


class Mutant(MemoryStore):
    """A right store, of which each mutant breaks one thing."""

    make_state: Callable[[], MemoryState] = MemoryState


M = TypeVar("M", bound=type[Mutant])


class Mutants:
    """The mutants of a module, by the clause that they break."""

    def __init__(self) -> None:
        self.by_clause: dict[str, list[type[Mutant]]] = {}

    def breaks(self, *clauses: str) -> Callable[[M], M]:
        """Register a mutant of these clauses."""

        def enter(mutant: M) -> M:
            for clause in clauses:
                self.by_clause.setdefault(clause, []).append(mutant)
            return mutant

        return enter

    def parameters(self) -> list[ParameterSet]:
        return [
            pytest.param(clause, mutant, id=f"mutant-{clause}-{mutant.__name__}")
            for clause, mutants in self.by_clause.items()
            for mutant in mutants
        ]


_FAILED: dict[tuple[str, str], frozenset[str]] = {}


def failed_checks(clause: str, mutant: type[Mutant]) -> frozenset[str]:
    """Return the ids of the clause's checks that a mutant fails; it is found out once."""
    key = clause, mutant.__name__
    if key not in _FAILED:
        _FAILED[key] = frozenset(_find_failed(clause, mutant))
    return _FAILED[key]


def _find_failed(clause: str, mutant: type[Mutant]) -> Iterator[str]:
    @asynccontextmanager
    async def open_store() -> AsyncIterator[StoreUnderTest]:
        state = mutant.make_state()

        async def reopen() -> StateStore:
            return mutant(state)

        yield StoreUnderTest(mutant(state), reopen)

    for check in checks(open_store, examples=5 if mutant is Mutant else 60, shrink=False):
        if check.check.clause == clause and (error := _error_of(check)) is not None:
            assert repr(error) != "AssertionError()", f"{check.id} failed without a word"
            yield check.id


def _error_of(check: Callable[[], None]) -> Exception | None:
    try:
        check()
    except SkipTest:
        raise
    except Exception as error:  # whatever a wrong store raises is a failure of the check
        return error
    return None
