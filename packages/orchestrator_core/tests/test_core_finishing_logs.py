"""Who follows output gets all of it though the orchestrator is about to end, and then an end."""

from __future__ import annotations

import trio
from orchestrion.orchestrator_core import LogQuery

from .core_stage import Stage, batch, service

FOLLOW = LogQuery(subject="web", follow=True)


async def _read(stage: Stage, query: LogQuery, found: list[bytes], pause: float = 0.0) -> None:
    async with stage.orchestrator.logs(query) as records:
        async for record in records:
            found.append(record.data)
            await trio.sleep(pause)


async def test_what_goes_on_is_followed_to_what_there_is_when_the_end_comes(stage: Stage) -> None:
    await stage.apply(service("web", "print-at", "1s", "stdout", "early", "print-at", "9s", "stdout", "late"))
    found = list[bytes]()
    with trio.fail_after(8):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_read, stage, FOLLOW, found)
            await trio.sleep(5)
            stage.orchestrator.finish_logs()
    assert found == [b"early"]


async def test_a_reader_that_is_behind_gets_all_that_was_written_by_then_and_nothing_twice(stage: Stage) -> None:
    prints = [word for n in range(1, 9) for word in ("print-at", f"{n}s", "stdout", f"{n}\n")]
    await stage.apply(service("web", *prints))
    found = list[bytes]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_read, stage, FOLLOW, found, 20.0)
        await trio.sleep(5.5)
        stage.orchestrator.finish_logs()
    assert b"".join(found) == b"1\n2\n3\n4\n5\n"


async def test_who_begins_to_follow_then_gets_what_there_is_and_an_end(stage: Stage) -> None:
    await stage.apply(service("web", "print", "stdout", "hello"), batch("job", "print", "stdout", "done"))
    stage.orchestrator.finish_logs()
    found = list[bytes]()
    with trio.fail_after(1):
        await _read(stage, FOLLOW, found)
        await _read(stage, LogQuery(subject="job", follow=True), found)
    assert found == [b"hello", b"done"]


async def test_who_waits_for_a_first_instance_gets_an_end(stage: Stage) -> None:
    await stage.apply(service("web", replicas=0))
    found = list[bytes]()
    with trio.fail_after(2):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_read, stage, FOLLOW, found)
            await trio.sleep(1)
            stage.orchestrator.finish_logs()
    assert found == []
