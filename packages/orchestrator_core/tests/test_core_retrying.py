"""Back-offs whose waits somebody ends: the next try comes at once, and counts against no limit."""

from __future__ import annotations

import pytest
import trio
from orchestrion.orchestrator_core import WorkloadPhase
from orchestrion.shared_types import (
    InstanceNotFound,
    InstanceState,
    RestartCondition,
    RestartPolicy,
    UpdateStrategy,
    WorkloadNotFound,
)

from .core_stage import Stage, batch, daemon, service

SLOW = RestartPolicy(initial_delay_seconds=100, factor=2, max_delay_seconds=1000, jitter=0, reset_after_seconds=10_000)
NEVER = RestartPolicy(
    condition=RestartCondition.NEVER,
    initial_delay_seconds=100,
    factor=2,
    max_delay_seconds=1000,
    jitter=0,
    reset_after_seconds=10_000,
)


def starts(stage: Stage) -> int:
    return len(stage.containers.start_records)


async def test_a_restart_is_not_waited_for_and_the_next_wait_is_as_long_as_this_one_was(stage: Stage) -> None:
    await stage.apply(service("web", "exit", "1", restart=SLOW))
    await trio.sleep(1)
    assert await stage.orchestrator.retry("web") == ["web.0.1"]
    await trio.sleep(1)
    assert [start.attempt for start in stage.containers.start_records] == [0, 1]
    await trio.sleep(97)
    assert starts(stage) == 2
    await trio.sleep(5)
    assert starts(stage) == 3


async def test_whoever_asks_again_and_again_uses_up_no_restart(stage: Stage) -> None:
    policy = RestartPolicy(max_restarts=2, initial_delay_seconds=100, factor=1, jitter=0, reset_after_seconds=10_000)
    await stage.apply(service("web", "exit", "1", restart=policy))
    for attempt in range(5):
        await trio.sleep(1)
        (instance,) = await stage.instances("web")
        assert (instance.status.containers[0].attempt, instance.key.epoch) == (attempt, 1)
        assert await stage.orchestrator.retry("web") == ["web.0.1"]
    await trio.sleep(1)
    (instance,) = await stage.instances("web")
    assert (instance.status.containers[0].attempt, instance.status.containers[0].restarts_in_row) == (5, 0)


async def test_what_is_asked_twice_is_done_once(stage: Stage) -> None:
    await stage.apply(service("web", "exit", "1", restart=SLOW))
    await trio.sleep(1)
    await stage.orchestrator.retry("web")
    assert await stage.orchestrator.retry("web") == []
    await trio.sleep(1)
    assert starts(stage) == 2


async def test_a_failed_instance_of_a_service_is_replaced_at_once(stage: Stage) -> None:
    await stage.apply(service("web", "exit", "1", restart=NEVER, replicas=2))
    await trio.sleep(1)
    begun = starts(stage)
    (retried,) = await stage.orchestrator.retry("web")
    assert retried.startswith("web.")
    await trio.sleep(1)
    assert starts(stage) == begun + 2
    await trio.sleep(50)
    assert starts(stage) == begun + 2


async def test_a_canary_that_has_failed_is_tried_again_at_once(stage: Stage) -> None:
    update = UpdateStrategy(canary=1)
    await stage.apply(service("web", "run", restart=NEVER, replicas=2, update=update))
    await trio.sleep(20)
    await stage.apply(service("web", "exit", "1", restart=NEVER, replicas=2, update=update))
    await trio.sleep(1)
    begun = starts(stage)
    await trio.sleep(50)
    assert starts(stage) == begun
    assert await stage.orchestrator.retry("web") == ["web.2.1"]
    await trio.sleep(1)
    assert starts(stage) == begun + 1


async def test_an_index_of_batch_work_is_done_again_at_once_and_others_wait(stage: Stage) -> None:
    await stage.apply(batch("job", "exit", "1", completions=2, parallelism=2, retries=5, restart=NEVER))
    await trio.sleep(1)
    assert starts(stage) == 2
    assert await stage.orchestrator.retry("job.1") == ["job.1.1"]
    await trio.sleep(1)
    assert sorted(start.instance.index for start in stage.containers.start_records) == [0, 1, 1]
    assert (await stage.view("job")).phase is not WorkloadPhase.FAILED


async def test_a_daemon_comes_back_at_once_on_each_of_its_nodes(stage: Stage) -> None:
    await stage.apply(daemon("agent", "exit", "1", restart=NEVER))
    await trio.sleep(1)
    begun = starts(stage)
    retried = await stage.orchestrator.retry("agent")
    assert len(retried) == begun > 0
    await trio.sleep(1)
    assert starts(stage) == 2 * begun


async def test_what_does_not_wait_is_left_as_it_is(stage: Stage) -> None:
    await stage.apply(service("web", "run"), batch("job", "exit", "1", retries=0, restart=NEVER))
    await trio.sleep(60)
    begun = starts(stage)
    assert await stage.orchestrator.retry("web") == []
    assert await stage.orchestrator.retry("web.0") == []
    assert await stage.orchestrator.retry("job") == []
    await trio.sleep(60)
    assert starts(stage) == begun
    assert [one.status.state for one in await stage.instances("web")] == [InstanceState.RUNNING]


async def test_what_is_stopped_is_not_tried_again(stage: Stage) -> None:
    await stage.apply(service("web", "exit", "1", restart=NEVER))
    await trio.sleep(1)
    await stage.orchestrator.stop("web")
    assert await stage.orchestrator.retry("web") == []


async def test_who_did_it_can_be_seen_and_what_is_not_there_is_told(stage: Stage) -> None:
    await stage.apply(service("web", "exit", "1", restart=SLOW))
    await trio.sleep(1)
    await stage.orchestrator.retry("web.0")
    (event,) = [e for e in await stage.orchestrator.events(subject="instance/web.0.1") if e.reason == "Retried"]
    assert event.message == "the next try is not waited for: web.0.1"
    with pytest.raises(WorkloadNotFound):
        await stage.orchestrator.retry("nobody")
    with pytest.raises(InstanceNotFound):
        await stage.orchestrator.retry("web.7")
