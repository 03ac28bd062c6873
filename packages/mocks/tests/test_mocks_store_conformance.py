"""MemoryStore keeps what StateStore promises."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from orchestrion.conformance_kit import BoundCheck
from orchestrion.mocks import MemoryState, MemoryStore
from orchestrion.store_interface import StateStore
from orchestrion.store_interface.conformance import StoreUnderTest, conformance_checks


@asynccontextmanager
async def open_store() -> AsyncIterator[StoreUnderTest]:
    state = MemoryState()

    async def reopen() -> StateStore:
        return MemoryStore(state)

    yield StoreUnderTest(MemoryStore(state), reopen)


@pytest.mark.parametrize("check", conformance_checks(open_store))
def test_conformance(check: BoundCheck[StoreUnderTest]) -> None:
    check()
