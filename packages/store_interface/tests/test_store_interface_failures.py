"""A check that fails says what is wrong, and what to do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from orchestrion.store_interface.conformance import StoreUnderTest, checks

from .store_mutants import Mutant
from .test_store_mutants_leases import GoesByAnotherClock
from .test_store_mutants_lifecycle import CutsOffAllWhoAreBehind


def failures(mutant: type[Mutant], *clauses: str) -> list[str]:
    """Return what those checks of these clauses say that a mutant fails."""

    @asynccontextmanager
    async def open_store() -> AsyncIterator[StoreUnderTest]:
        yield StoreUnderTest(mutant(mutant.make_state()))

    texts = []
    for check in checks(open_store, examples=60, shrink=False):
        if check.check.clause in clauses and not check.check.needs:
            try:
                check()
            except AssertionError as error:
                texts.append(str(error))
    return texts


def test_a_store_that_goes_by_another_clock_is_told_of_it() -> None:
    texts = failures(GoesByAnotherClock, "LEASE-2", "LEASE-3", "KEEP-1", "KEEP-2")
    assert len(texts) >= 5
    assert all("trio.current_time()" in text and 'clock="real"' in text for text in texts)


def test_a_watch_that_is_cut_off_for_nothing_is_told_why_it_should_not_be() -> None:
    texts = failures(CutsOffAllWhoAreBehind, "COMPACT-3")
    assert len(texts) == 2
    assert all("cut a watch off" in text for text in texts)
