"""What the tests of this package share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from .core_stage import Stage, staged


def _run_on_a_clock_that_jumps(function: Callable[..., Awaitable[Any]], **options: Any) -> Any:
    options["clock"] = options.get("clock") or MockClock(autojump_threshold=0)
    return trio.run(function, **options)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let every test on a stage run on a clock that jumps: pytest-trio heeds a clock only where the test names it."""
    if "stage" in getattr(item, "fixturenames", ()):
        item.add_marker(pytest.mark.trio(run=_run_on_a_clock_that_jumps), append=False)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """Give an orchestrator at work on three nodes, on a clock that jumps."""
    async with staged() as made:
        yield made
