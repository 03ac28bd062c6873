"""SqliteStore keeps what StateStore promises, also across restarts and crashes."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from orchestrion.conformance_kit import BoundCheck
from orchestrion.store_interface import StateStore
from orchestrion.store_interface.conformance import StoreUnderTest, conformance_checks
from orchestrion.store_sqlite import open_store

# The kit opens thousands of stores; where files are in memory none of them waits for a disk, and nothing else differs.
IN_MEMORY = Path("/dev/shm")
PARENT = IN_MEMORY if os.access(IN_MEMORY, os.W_OK) else None


def restart(directory: Path, _generation: int) -> Path:
    """The next store opens what this one has closed."""
    return directory


def crash(directory: Path, generation: int) -> Path:
    """The next store opens what the disk held at this moment, before anything was closed."""
    after = directory.with_name(f"after-crash-{generation}")
    shutil.copytree(directory, after)
    return after


def factory(end: Callable[[Path, int], Path]) -> Callable[[], AbstractAsyncContextManager[StoreUnderTest]]:
    @asynccontextmanager
    async def open_subject() -> AsyncIterator[StoreUnderTest]:
        with TemporaryDirectory(dir=PARENT) as parent:
            directory = Path(parent) / "state"
            generation = 0
            async with AsyncExitStack() as stack:

                async def reopen() -> StateStore:
                    nonlocal directory, generation
                    generation += 1
                    directory = end(directory, generation)
                    await stack.aclose()
                    return await stack.enter_async_context(open_store(directory))

                yield StoreUnderTest(await stack.enter_async_context(open_store(directory)), reopen)

    return open_subject


@pytest.mark.slow  # some open a store for each of many examples
@pytest.mark.parametrize("check", conformance_checks(factory(restart), clock="real"))
def test_conformance(check: BoundCheck[StoreUnderTest]) -> None:
    check()


REOPENING = [
    parameter
    for parameter in conformance_checks(factory(crash), clock="real")
    if "reopen" in parameter.values[0].check.needs  # type: ignore[union-attr]  # pytest types its parameters as objects
]


@pytest.mark.slow  # as above
@pytest.mark.parametrize("check", REOPENING)
def test_conformance_when_reopened_after_a_crash(check: BoundCheck[StoreUnderTest]) -> None:
    check()
