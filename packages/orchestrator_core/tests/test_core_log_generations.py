"""Output of a workload is that of instances that run or are of its newest generation, unless more is asked for."""

from __future__ import annotations

import trio
from attrs import evolve
from orchestrion.orchestrator_core import LogQuery
from orchestrion.shared_types import UpdateStrategy, WorkloadDefinition

from .core_stage import Stage, container, service


async def written(stage: Stage, query: LogQuery) -> list[tuple[str, bytes]]:
    async with stage.orchestrator.logs(query) as records:
        return [(record.instance, record.data) async for record in records]


def printing(text: str) -> WorkloadDefinition:
    main = container("main", "print", "stdout", f"{text}\n")
    return service(containers=(main,), update=UpdateStrategy(max_surge=1))


FIRST, SECOND = ("web.0.1", b"first\n"), ("web.1.1", b"second\n")


async def test_what_a_newer_generation_has_replaced_is_left_out(stage: Stage) -> None:
    await stage.apply(printing("first"))
    await trio.sleep(5)
    assert await written(stage, LogQuery(subject="web")) == [FIRST]
    await stage.apply(printing("second"))
    await trio.sleep(60)
    assert await written(stage, LogQuery(subject="web")) == [SECOND]
    assert await written(stage, LogQuery(subject="web", replaced=True)) == [FIRST, SECOND]
    assert await written(stage, LogQuery(subject="web", also=("web.0.1", "web.7.1"))) == [FIRST, SECOND]
    assert await written(stage, LogQuery(subject="web.0.1")) == [FIRST]


async def test_what_still_runs_is_there_whatever_its_generation(stage: Stage) -> None:
    await stage.apply(printing("first"))
    await trio.sleep(5)
    await stage.orchestrator.pause("web")
    await stage.apply(printing("second"))
    await trio.sleep(60)
    assert await written(stage, LogQuery(subject="web")) == [FIRST]


async def test_who_follows_sees_an_older_generation_to_its_end(stage: Stage) -> None:
    await stage.apply(printing("first"))
    await trio.sleep(5)
    async with stage.orchestrator.logs(LogQuery(subject="web", follow=True)) as records:
        assert (await anext(records)).data == b"first\n"
        await stage.apply(printing("second"))
        with trio.fail_after(60):
            assert (await anext(records)).data == b"second\n"


async def test_where_nothing_of_the_newest_generation_was_there_yet_what_was_last_is_told(stage: Stage) -> None:
    for text in ("first", "second"):
        await stage.apply(printing(text))
        await trio.sleep(60)
    await stage.orchestrator.scale("web", 0)
    await trio.sleep(60)
    await stage.apply(printing("third"))
    await trio.sleep(60)
    assert await written(stage, LogQuery(subject="web")) == [SECOND]


async def test_what_has_ended_and_is_of_the_newest_generation_is_told(stage: Stage) -> None:
    failing = evolve(printing("first"), containers=(container("main", "print", "stdout", "first\n", "exit", "1"),))
    await stage.apply(failing)
    await trio.sleep(5)
    await stage.orchestrator.stop("web")
    await trio.sleep(60)
    assert (await written(stage, LogQuery(subject="web")))[0] == FIRST
