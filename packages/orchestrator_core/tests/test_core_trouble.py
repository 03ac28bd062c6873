"""A workload that lacks instances says what is wrong with which, and when it is tried again."""

from __future__ import annotations

import trio
from orchestrion.orchestrator_core import WorkloadPhase, WorkloadView
from orchestrion.shared_types import HealthCheck, PortMapping, RestartCondition, RestartPolicy, TcpProbe

from .core_stage import Stage, batch, container, service

HTTP = (PortMapping(name="http"),)
ALWAYS = RestartPolicy(condition=RestartCondition.ALWAYS, initial_delay_seconds=10, max_delay_seconds=100, jitter=0.0)
NEVER = RestartPolicy(condition=RestartCondition.NEVER, initial_delay_seconds=10, max_delay_seconds=100, jitter=0.0)


def told(view: WorkloadView) -> tuple[WorkloadPhase, str, str]:
    return view.phase, view.reason, view.message


async def test_a_first_restart_is_told_with_how_the_container_ended(stage: Stage) -> None:
    await stage.apply(service("web", "exit", "3", "after", "1s", restart=ALWAYS))
    await trio.sleep(2)
    assert told(await stage.view("web")) == (
        WorkloadPhase.DEGRADED,
        "restarting",
        "web.0.1: container main ended with code 3",
    )


async def test_a_service_that_crashes_again_and_again_says_so(stage: Stage) -> None:
    await stage.apply(service("web", "exit", "3", "after", "1s", replicas=2, restart=ALWAYS))
    await trio.sleep(13)
    assert told(await stage.view("web")) == (
        WorkloadPhase.DEGRADED,
        "crash-loop",
        "web.0.1: container main ended with code 3 (attempt 1); 1 other instance is in trouble too",
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
