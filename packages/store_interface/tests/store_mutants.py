"""Stores that are wrong on purpose: what they derive from, and what the kit says of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from orchestrion import conformance_kit
from orchestrion.conformance_kit import BoundCheck, FailedChecks
from orchestrion.mocks import MemoryState, MemoryStore
from orchestrion.store_interface import (
    StateStore,
)
from orchestrion.store_interface.conformance import StoreUnderTest, checks

__all__ = ["Mutant", "Mutants", "failed_checks"]


class Mutant(MemoryStore):
    """A right store, of which each mutant breaks one thing."""

    make_state: Callable[[], MemoryState] = MemoryState


def _checks_of(mutant: type[Mutant]) -> list[BoundCheck[StoreUnderTest]]:
    @asynccontextmanager
    async def open_store() -> AsyncIterator[StoreUnderTest]:
        state = mutant.make_state()

        async def reopen() -> StateStore:
            return mutant(state)

        yield StoreUnderTest(mutant(state), reopen)

    return checks(open_store, examples=5 if mutant is Mutant else 60, shrink=False)


Mutants = conformance_kit.Mutants[type[Mutant]]

failed_checks = FailedChecks(_checks_of, errors=Exception)  # whatever a wrong store raises is a failure of the check
