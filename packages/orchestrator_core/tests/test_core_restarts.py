"""Restarts in place: when, how often, and what is seen of the wait."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest
import trio
from orchestrion.orchestrator_core import trio_time
from orchestrion.shared_types import (
    ContainerState,
    ExecProbe,
    HealthCheck,
    InstanceState,
    RestartCondition,
    RestartPolicy,
)

from .core_stage import Stage, batch, container, service

POLICY = RestartPolicy(initial_delay_seconds=1, factor=2, max_delay_seconds=5, jitter=0, reset_after_seconds=60)


def starts(stage: Stage) -> list[float]:
    return [start.at for start in stage.containers.start_records]


async def test_a_container_that_ends_is_started_again_after_a_wait_that_grows_up_to_a_limit(stage: Stage) -> None:
    await stage.apply(service("web", "exit", "1", "after", "1s", restart=POLICY))
    await trio.sleep(40)
    begun = starts(stage)
    gaps = [later - earlier for earlier, later in pairwise(begun)]
    assert gaps[:5] == pytest.approx([2, 3, 5, 6, 6], abs=0.05)
    assert [start.attempt for start in stage.containers.start_records] == list(range(len(begun)))
    assert {start.instance.epoch for start in stage.containers.start_records} == {1}


async def test_the_wait_for_the_next_attempt_can_be_seen(stage: Stage) -> None:
    await stage.apply(service("web", "exit", "3", restart=POLICY))
    (instance,) = await stage.instances("web")
    (status,) = instance.status.containers
    assert status.state is ContainerState.EXITED
    assert status.next_attempt_at is not None
    assert abs(status.next_attempt_at - trio_time() - timedelta(seconds=1)) < timedelta(milliseconds=10)
    (event,) = [e for e in await stage.orchestrator.events(subject="instance/web.0.1") if e.reason == "BackOff"]
    assert event.message == "container main ended with code 3; attempt 1 in 1.0 s"


async def test_a_run_of_some_length_ends_the_row(stage: Stage) -> None:
    await stage.apply(service("web", "exit", "1", "after", "90s", restart=POLICY))
    await trio.sleep(300)
    begun = starts(stage)
    assert [b - a for a, b in pairwise(begun)] == pytest.approx([91, 91, 91], abs=0.05)


async def test_after_the_last_permitted_restart_the_instance_fails_and_is_replaced(stage: Stage) -> None:
    policy = RestartPolicy(max_restarts=2, initial_delay_seconds=1, factor=1, jitter=0)
    await stage.apply(service("web", "exit", "1", "after", "100ms", restart=policy))
    await trio.sleep(5)
    records = [(start.instance.epoch, start.attempt) for start in stage.containers.start_records]
    assert records[:4] == [(1, 0), (1, 1), (1, 2), (2, 0)]
    failed = await stage.instance("web.0.1")
    assert (failed.status.state, failed.status.reason) == (InstanceState.FAILED, "restarts-exhausted")
    assert failed.status.message == "container main ended with code 1, after 2 restarts"


async def test_on_failure_a_success_is_final(stage: Stage) -> None:
    policy = RestartPolicy(condition=RestartCondition.ON_FAILURE, jitter=0)
    await stage.apply(batch("job", "exit", "0", restart=policy))
    await trio.sleep(10)
    assert len(starts(stage)) == 1


async def test_on_failure_a_batch_container_is_started_again_in_place(stage: Stage) -> None:
    policy = RestartPolicy(condition=RestartCondition.ON_FAILURE, initial_delay_seconds=1, jitter=0)
    await stage.apply(batch("job", "exit", "1", restart=policy))
    await trio.sleep(2)
    assert [start.attempt for start in stage.containers.start_records] == [0, 1]
    assert {start.instance.epoch for start in stage.containers.start_records} == {1}


async def test_one_container_restarts_and_its_neighbours_stay(stage: Stage) -> None:
    await stage.apply(service(containers=(container("a"), container("b", "exit", "1", "after", "1s")), restart=POLICY))
    (before,) = (c.container_id for c in stage.running() if c.config.name == "a")
    await trio.sleep(5)
    assert before in stage.ids()
    assert [start.name for start in stage.containers.start_records].count("b") >= 2


async def test_when_one_container_fails_for_good_the_others_are_stopped(stage: Stage) -> None:
    await stage.apply(batch(containers=(container("a"), container("b", "exit", "1", "after", "1s"))))
    await trio.sleep(2)
    assert stage.running() == []
    failed = await stage.instance("job.0.1")
    assert failed.status.state is InstanceState.FAILED
    assert "container b ended with code 1" in failed.status.message


async def test_a_container_that_never_starts_is_tried_again_with_back_off(stage: Stage) -> None:
    await stage.apply(service("web", "fail", "no such program", restart=POLICY))
    (instance,) = await stage.instances("web")
    (status,) = instance.status.containers
    assert status.exit is not None
    assert (status.exit.reason, status.exit.message) == ("start-failed", "no such program")
    assert status.next_attempt_at is not None
    await trio.sleep(1.5)
    (instance,) = await stage.instances("web")
    assert instance.status.containers[0].attempt == 1


async def test_an_unhealthy_container_is_stopped_and_started_again(stage: Stage) -> None:
    check = HealthCheck(probe=ExecProbe(command=("true",)), interval_seconds=1, unhealthy_threshold=2)
    await stage.apply(service(containers=(container(health=check),), restart=POLICY))
    await trio.sleep(5)
    (before,) = stage.ids()
    stage.prober.sick = lambda tried: tried.container_id == before
    await trio.sleep(10)
    (after,) = stage.running()
    assert after.options.attempt == 1
    (instance,) = await stage.instances("web")
    assert instance.status.healthy_since is not None
    assert "Unhealthy" in await stage.event_reasons("instance/web.0.1")


async def test_failures_in_the_start_period_do_not_count(stage: Stage) -> None:
    check = HealthCheck(probe=ExecProbe(command=("true",)), unhealthy_threshold=1, start_period_seconds=20)
    stage.prober.sick = lambda _: trio.current_time() < 15
    await stage.apply(service(containers=(container(health=check),), restart=POLICY))
    await trio.sleep(18)
    assert [start.attempt for start in stage.containers.start_records] == [0]
    (instance,) = await stage.instances("web")
    assert instance.status.healthy_since is not None


async def test_the_last_lines_of_output_tell_why_an_instance_failed(stage: Stage) -> None:
    await stage.apply(batch("job", "print", "stderr", "no disk", "exit", "5"))
    failed = await stage.instance("job.0.1")
    assert failed.status.message == "container main ended with code 5: no disk"


async def test_a_restart_of_the_orchestrator_does_not_shorten_or_repeat_a_wait(stage: Stage) -> None:
    policy = RestartPolicy(initial_delay_seconds=60, jitter=0)
    await stage.apply(service("web", "exit", "1", restart=policy))
    await trio.sleep(30)
    await stage.restart()
    await trio.sleep(25)
    assert len(starts(stage)) == 1
    await trio.sleep(10)
    assert len(starts(stage)) == 2
