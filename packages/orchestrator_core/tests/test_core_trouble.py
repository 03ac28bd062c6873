"""A workload that lacks instances says what is wrong with which, and when it is tried again."""

from __future__ import annotations

from datetime import datetime

import trio
from orchestrion.orchestrator_core import WorkloadPhase, WorkloadView
from orchestrion.shared_types import (
    HealthCheck,
    PortMapping,
    RestartCondition,
    RestartPolicy,
    TcpProbe,
    WorkloadInstance,
)

from .core_stage import Stage, batch, container, service

HTTP = (PortMapping(name="http"),)
ALWAYS = RestartPolicy(condition=RestartCondition.ALWAYS, initial_delay_seconds=10, max_delay_seconds=100, jitter=0.0)
NEVER = RestartPolicy(condition=RestartCondition.NEVER, initial_delay_seconds=10, max_delay_seconds=100, jitter=0.0)


def due_of(instance: WorkloadInstance) -> list[datetime]:
    return [each.next_attempt_at for each in instance.status.containers if each.next_attempt_at is not None]


def due(instance: WorkloadInstance) -> str:
    (at,) = due_of(instance)
    return f"{at:%H:%M:%S} UTC"


def told(view: WorkloadView) -> tuple[WorkloadPhase, str, str]:
    return view.phase, view.reason, view.message


async def test_a_first_restart_is_told_with_how_the_container_ended(stage: Stage) -> None:
    await stage.apply(service("web", "exit", "3", "after", "1s", restart=ALWAYS))
    await trio.sleep(2)
    view = await stage.view("web")
    when = due(await stage.instance("web.0.1"))
    assert told(view) == (
        WorkloadPhase.DEGRADED,
        "restarting",
        f"web.0.1: container main ended with code 3; tried again at {when}",
    )


async def test_a_service_that_crashes_again_and_again_says_so(stage: Stage) -> None:
    await stage.apply(service("web", "exit", "3", "after", "1s", replicas=2, restart=ALWAYS))
    await trio.sleep(13)
    view = await stage.view("web")
    when = due(await stage.instance("web.0.1"))
    first = f"web.0.1: container main ended with code 3 (attempt 1); tried again at {when}"
    message = f"{first}; 1 other instance is in trouble too"
    assert told(view) == (WorkloadPhase.DEGRADED, "crash-loop", message)


async def test_an_instance_that_waits_for_a_restart_says_so_and_does_not_count_as_running(stage: Stage) -> None:
    await stage.apply(service("web", "exit", "3", "after", "1s", restart=ALWAYS))
    await trio.sleep(0.5)
    assert ((await stage.view("web")).running, (await stage.instance("web.0.1")).status.reason) == (1, "")
    seen = list[tuple[str, str]]()
    for _ in range(2):
        while not (waiting := await stage.instance("web.0.1")).status.reason:
            await trio.sleep(1)
        seen.append((waiting.status.reason, waiting.status.message))
        assert (await stage.view("web")).running == 0
        assert waiting.status.message.endswith(f" at {due(waiting)}")
        while (await stage.instance("web.0.1")).status.reason:
            await trio.sleep(1)
        assert (await stage.view("web")).running == 1
    assert [(reason, message.partition(" at ")[0]) for reason, message in seen] == [
        ("restarting", "container main ended with code 3; attempt 1"),
        ("crash-loop", "container main ended with code 3; attempt 2"),
    ]


async def test_of_several_containers_that_wait_the_one_is_told_that_fails_most(stage: Stage) -> None:
    both = (container("a", "exit", "1", "after", "40s"), container("b", "exit", "2", "after", "1s"))
    await stage.apply(service(containers=both, restart=ALWAYS))
    while len(due_of(waiting := await stage.instance("web.0.1"))) < 2:
        await trio.sleep(0.5)
    assert (waiting.status.reason, waiting.status.message.partition(";")[0]) == (
        "crash-loop",
        "container b ended with code 2",
    )


async def test_a_service_whose_failed_instances_are_replaced_says_why_and_when(stage: Stage) -> None:
    await stage.apply(service("web", "exit", "3", "after", "1s", restart=NEVER))
    await trio.sleep(2)
    view = await stage.view("web")
    assert (view.phase, view.reason) == (WorkloadPhase.DEGRADED, "failing")
    (instance,) = await stage.orchestrator.list_instances()
    assert instance.status.finished_at is not None
    ended = instance.status.finished_at
    due = ended.replace(microsecond=0).timestamp() + 10
    promised = view.message.removeprefix("web.0.1 failed: container main ended with code 3; tried again at ")
    assert promised == f"{ended.fromtimestamp(due, ended.tzinfo):%H:%M:%S} UTC"
    await trio.sleep(9.5)
    assert [one.name for one in await stage.orchestrator.list_instances()] == ["web.0.1", "web.0.2"]


async def test_a_batch_workload_at_work_says_what_is_tried_again(stage: Stage) -> None:
    await stage.apply(batch("job", "exit", "4", "after", "1s", retries=3, restart=NEVER))
    await trio.sleep(2)
    view = await stage.view("job")
    assert (view.phase, view.reason) == (WorkloadPhase.RUNNING, "failing")
    assert view.message.startswith("job.0.1 failed: container main ended with code 4; tried again at ")


async def test_nothing_is_promised_of_a_batch_workload_that_has_failed(stage: Stage) -> None:
    seen = list[str]()
    async with stage.orchestrator.watch() as updates:
        await stage.apply(batch("job", "exit", "4", "after", "1s", restart=NEVER))
        async for update in updates:
            if update.workload is not None:
                seen.append(update.workload.message)
                if update.workload.phase is WorkloadPhase.FAILED:
                    break
    assert not any("tried again" in message for message in seen)


async def test_what_is_unhealthy_is_told_with_what_the_check_said(stage: Stage) -> None:
    stage.prober.sick = lambda _container: True
    check = HealthCheck(probe=TcpProbe(port="http"), interval_seconds=1, start_period_seconds=0)
    await stage.apply(service(containers=(container(health=check, ports=HTTP),), restart=ALWAYS))
    await trio.sleep(8)
    view = await stage.view("web")
    assert view.phase is WorkloadPhase.DEGRADED
    assert "sick by order of the test" in view.message


async def test_a_workload_that_only_starts_is_in_no_trouble(stage: Stage) -> None:
    check = HealthCheck(probe=TcpProbe(port="http"), interval_seconds=100)
    stage.prober.sick = lambda _container: True
    await stage.apply(service(containers=(container(health=check, ports=HTTP),)))
    assert told(await stage.view("web")) == (WorkloadPhase.PROGRESSING, "", "")


async def test_what_was_mended_is_healthy_without_a_word(stage: Stage) -> None:
    await stage.apply(service("web", "exit", "3", "after", "1s", restart=NEVER))
    await trio.sleep(2)
    await stage.apply(service())
    await trio.sleep(60)
    assert told(await stage.view("web")) == (WorkloadPhase.HEALTHY, "", "")


async def test_a_run_that_begins_says_nothing_of_the_one_that_ended(stage: Stage) -> None:
    job = batch("job")
    await stage.apply(job)
    await trio.sleep(2)
    assert (await stage.view("job")).message == "it has succeeded"
    await stage.orchestrator.apply([job], rerun=True)
    view = await stage.orchestrator.get_workload("job")
    assert told(view) == (WorkloadPhase.PENDING, "", "")
