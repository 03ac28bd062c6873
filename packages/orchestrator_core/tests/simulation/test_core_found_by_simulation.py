"""What the simulation has found, each in its smallest form."""

from __future__ import annotations

import random

import trio
from orchestrion.orchestrator_core._queue import KeyedQueue


async def test_a_key_that_a_cancelled_task_was_about_to_take_is_not_lost() -> None:
    queue = KeyedQueue[str](random.Random(0))
    queue.add("web")
    with trio.CancelScope() as scope:
        scope.cancel()
        await queue.take()
    assert await queue.take() == "web"


async def test_a_key_that_was_taken_and_never_given_back_is_released_for_the_next_to_lead() -> None:
    queue = KeyedQueue[str](random.Random(0))
    queue.add("web")
    await queue.take()
    queue.release("web")
    assert await queue.take() == "web"


async def test_releasing_a_key_that_was_given_back_does_nothing() -> None:
    queue = KeyedQueue[str](random.Random(0))
    queue.add("web")
    queue.done(await queue.take())
    queue.release("web")
    assert queue.idle
