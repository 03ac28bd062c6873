"""A sweep cancels at each checkpoint in turn, so it finds what is torn between two of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from attrs import define
from orchestrion.conformance_kit import Runner, cancellation_sweep


@define
class Pair:
    """The subject: two numbers that should be equal."""

    first: int = 0
    second: int = 0

    async def set_torn(self, value: int) -> None:
        await trio.lowlevel.checkpoint()
        self.first = value
        await trio.lowlevel.checkpoint()
        self.second = value

    async def set_whole(self, value: int) -> None:
        await trio.lowlevel.checkpoint()
        self.first = self.second = value
        await trio.lowlevel.checkpoint()

    async def set_shielded(self, value: int) -> None:
        with trio.CancelScope(shield=True):
            await self.set_torn(value)


@asynccontextmanager
async def open_pair() -> AsyncIterator[Pair]:
    yield Pair()


RUN = Runner(open_pair, "mock", 1)


async def assert_whole(pair: Pair, cancelled: bool) -> None:
    assert pair.first == pair.second
    assert cancelled or pair.first == 7


def test_a_torn_update_is_found() -> None:
    async def operation(pair: Pair) -> None:
        await pair.set_torn(7)

    with pytest.raises(AssertionError):
        cancellation_sweep(RUN, operation, assert_whole)


def test_a_whole_update_is_cancelled_at_each_of_its_checkpoints() -> None:
    seen: list[tuple[int, bool]] = []

    async def operation(pair: Pair) -> None:
        await pair.set_whole(7)

    async def verify(pair: Pair, cancelled: bool) -> None:
        seen.append((pair.first, cancelled))
        await assert_whole(pair, cancelled)

    assert cancellation_sweep(RUN, operation, verify) == 2
    assert seen == [(0, True), (7, True), (7, False)]


def test_what_is_shielded_is_not_cancelled() -> None:
    async def operation(pair: Pair) -> None:
        await pair.set_shielded(7)

    async def verify(pair: Pair, cancelled: bool) -> None:
        assert not cancelled
        await assert_whole(pair, cancelled)

    assert cancellation_sweep(RUN, operation, verify) == 2


def test_preparing_and_verifying_are_not_cancelled() -> None:
    async def prepare(pair: Pair) -> None:
        await pair.set_torn(1)

    async def operation(pair: Pair) -> None:
        assert (pair.first, pair.second) == (1, 1)
        await trio.lowlevel.checkpoint()

    async def verify(pair: Pair, cancelled: bool) -> None:
        await pair.set_torn(2)
        assert (pair.first, pair.second) == (2, 2)

    assert cancellation_sweep(RUN, operation, verify, prepare=prepare) == 1


def test_waiting_is_a_checkpoint_too() -> None:
    async def operation(pair: Pair) -> None:
        await trio.sleep(10)
        await pair.set_whole(7)

    assert cancellation_sweep(RUN, operation, assert_whole) == 3


def test_an_operation_without_a_checkpoint_is_refused() -> None:
    async def operation(pair: Pair) -> None:
        pair.first = pair.second = 7

    with pytest.raises(AssertionError, match="the operation returned without a checkpoint"):
        cancellation_sweep(RUN, operation, assert_whole)


def test_an_endless_operation_is_swept_up_to_the_bound() -> None:
    async def operation(pair: Pair) -> None:
        while True:
            await trio.lowlevel.checkpoint()

    async def verify(pair: Pair, cancelled: bool) -> None:
        assert cancelled

    assert cancellation_sweep(RUN, operation, verify, max_steps=5) == 5


def test_an_error_of_the_operation_comes_out() -> None:
    async def operation(pair: Pair) -> None:
        await trio.lowlevel.checkpoint()
        raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        cancellation_sweep(RUN, operation, assert_whole)


def test_an_operation_that_swallows_cancellation_counts_as_done() -> None:
    async def operation(pair: Pair) -> None:
        with trio.move_on_after(1):
            await trio.sleep(5)
        await pair.set_shielded(7)

    assert cancellation_sweep(RUN, operation, assert_whole) >= 2
