"""Batch workloads: completions, parallelism, retries, deadlines and their one end."""

from __future__ import annotations

from datetime import timedelta

import pytest
import trio
from attrs import evolve
from orchestrion.orchestrator_core import ChangeAction, WorkloadPhase, trio_time
from orchestrion.shared_types import InstanceState, Resources, RestartPolicy, Retention

from .core_stage import NODE, Stage, batch, container, service


def indexes_started(stage: Stage) -> list[int]:
    return [start.instance.index for start in stage.containers.start_records]


async def test_each_index_succeeds_once(stage: Stage) -> None:
    await stage.apply(batch(completions=5))
    await trio.sleep(100)
    assert sorted(indexes_started(stage)) == [0, 1, 2, 3, 4]
    view = await stage.view("job")
    assert (view.phase, view.succeeded, view.message) == (
        WorkloadPhase.SUCCEEDED,
        5,
        "all 5 completions have succeeded",
    )
    assert view.finished_at is not None


async def test_no_more_run_at_once_than_parallelism_permits(stage: Stage) -> None:
    await stage.apply(batch("job", "exit", "0", "after", "10s", completions=5, parallelism=2))
    most = 0
    for _ in range(31):
        most = max(most, len(stage.running()))
        await trio.sleep(1)
    assert most == 2
    assert (await stage.view("job")).succeeded == 5
    begun = [round(start.at) for start in stage.containers.start_records]
    assert begun == [0, 0, 10, 10, 20]


async def test_instances_know_their_index_and_count(stage: Stage) -> None:
    await stage.apply(batch("job", "run", completions=3))
    told = [(c.config.env_vars["ORCHESTRION_INDEX"], c.config.env_vars["ORCHESTRION_COUNT"]) for c in stage.running()]
    assert told == [("0", "3"), ("1", "3"), ("2", "3")]


async def test_a_failed_index_is_tried_again_as_often_as_retries_say_and_then_the_workload_fails(stage: Stage) -> None:
    policy = RestartPolicy(initial_delay_seconds=1, jitter=0)
    await stage.apply(batch("job", "print", "stderr", "bad input", "exit", "9", retries=2, restart=policy))
    await trio.sleep(60)
    assert [start.instance.epoch for start in stage.containers.start_records] == [1, 2, 3]
    view = await stage.view("job")
    assert (view.phase, view.reason, view.failed) == (WorkloadPhase.FAILED, "index-failed", 3)
    assert view.message == "index 0 failed 3 times; at last: container main ended with code 9: bad input"


async def test_when_an_index_fails_for_good_the_others_are_stopped(stage: Stage) -> None:
    stage.containers.script = None
    await stage.apply(batch("job", "run", completions=3))
    stage.exit(stage.running()[1], 4)
    await trio.sleep(5)
    assert stage.running() == []
    assert (await stage.view("job")).phase is WorkloadPhase.FAILED
    await trio.sleep(500)
    assert len(indexes_started(stage)) == 3


async def test_a_workload_that_misses_its_deadline_fails_and_stops(stage: Stage) -> None:
    await stage.apply(batch("job", "run", deadline_seconds=30))
    await trio.sleep(29)
    assert len(stage.running()) == 1
    await trio.sleep(2)
    assert stage.running() == []
    view = await stage.view("job")
    assert (view.phase, view.reason) == (WorkloadPhase.FAILED, "deadline")


async def test_a_restart_of_the_orchestrator_does_not_lengthen_the_deadline(stage: Stage) -> None:
    await stage.apply(batch("job", "run", deadline_seconds=30))
    await trio.sleep(20)
    await stage.restart()
    await trio.sleep(11)
    assert (await stage.view("job")).phase is WorkloadPhase.FAILED


async def test_the_deadline_does_not_run_while_it_waits_for_room(stage: Stage) -> None:
    node = stage.cluster.get_node(NODE)
    assert node is not None
    full = container("main", "run", resources=Resources(cpu_millicores=node.allocatable.cpu_millicores))
    keep = Retention(terminal_instances=0)
    await stage.apply(service("web", replicas=3, containers=(full,)))
    await stage.apply(batch("job", containers=(full,), deadline_seconds=30, retries=9, retention=keep))
    await trio.sleep(100)
    view = await stage.view("job")
    assert (view.phase, view.started_at) == (WorkloadPhase.PENDING, None)
    await stage.orchestrator.scale("web", 2)
    await trio.sleep(20)
    stage.exit(stage.running("job")[0], 1)
    await trio.sleep(5)
    view = await stage.view("job")
    assert (view.phase, view.failed) == (WorkloadPhase.RUNNING, 1)
    assert view.started_at == trio_time() - timedelta(seconds=25)
    await trio.sleep(6)
    assert (await stage.view("job")).reason == "deadline"


async def test_an_instance_that_was_stopped_is_no_completion(stage: Stage) -> None:
    await stage.apply(batch("job", "run", "trap", "0", completions=2))
    await stage.orchestrator.stop("job")
    await stage.settle()
    view = await stage.view("job")
    assert (view.phase, view.succeeded) == (WorkloadPhase.STOPPED, 0)
    await stage.apply(batch("job", "run", "trap", "0", completions=2))
    assert stage.slots("job") == [(0, 2), (1, 2)]


async def test_completions_survive_the_history_that_is_forgotten(stage: Stage) -> None:
    keep = Retention(terminal_instances=1)
    await stage.apply(batch("job", "exit", "0", "after", "1s", completions=6, parallelism=1, retention=keep))
    await trio.sleep(30)
    assert sorted(indexes_started(stage)) == [0, 1, 2, 3, 4, 5]
    assert len(await stage.ended("job")) == 1
    await stage.restart()
    await trio.sleep(60)
    view = await stage.view("job")
    assert (view.phase, view.succeeded) == (WorkloadPhase.SUCCEEDED, 6)
    assert len(indexes_started(stage)) == 6


async def test_failures_survive_the_history_that_is_forgotten(stage: Stage) -> None:
    keep = Retention(terminal_instances=0)
    policy = RestartPolicy(initial_delay_seconds=0.1, max_delay_seconds=0.1, jitter=0)
    await stage.apply(batch("job", "exit", "9", retries=4, retention=keep, restart=policy))
    await trio.sleep(60)
    assert [start.instance.epoch for start in stage.containers.start_records] == [1, 2, 3, 4, 5]
    assert (await stage.view("job")).failed == 5


@pytest.mark.parametrize("code", ["0", "9"])
async def test_what_has_ended_is_left_alone_when_the_same_is_applied_again(stage: Stage, code: str) -> None:
    await stage.apply(batch("job", "exit", code))
    before = await stage.view("job")
    for ask in (stage.orchestrator.apply, stage.orchestrator.plan):
        (change,) = (await ask([batch("job", "exit", code)])).changes
        assert (change.action, change.restarts) == (ChangeAction.UNCHANGED, False)
        assert change.note == f"{'it failed' if code == '9' else 'it has succeeded'}, and is left as it ended"
    await trio.sleep(60)
    assert len(indexes_started(stage)) == 1
    assert await stage.view("job") == before


@pytest.mark.parametrize("code", ["0", "9"])
async def test_what_has_ended_is_left_alone_when_only_its_metadata_changes(stage: Stage, code: str) -> None:
    await stage.apply(batch("job", "exit", code))
    before = batch("job", "exit", code)
    metadata = evolve(before.metadata, labels={"team": "a"}, annotations={"note": "b"})
    (change,) = (await stage.orchestrator.apply([evolve(before, metadata=metadata)])).changes
    assert (change.action, change.generation, change.restarts) == (ChangeAction.UPDATE, 2, False)
    await trio.sleep(60)
    assert len(indexes_started(stage)) == 1
    assert (await stage.view("job")).definition.metadata.labels == {"team": "a"}


@pytest.mark.parametrize("code", ["0", "9"])
async def test_what_has_ended_runs_again_where_that_is_asked_for(stage: Stage, code: str) -> None:
    await stage.apply(batch("job", "exit", code))
    for ask in (stage.orchestrator.plan, stage.orchestrator.apply):
        (change,) = (await ask([batch("job", "exit", code)], rerun=True)).changes
        assert (change.action, change.generation, change.restarts) == (ChangeAction.UPDATE, 2, True)
    await trio.sleep(5)
    assert len(indexes_started(stage)) == 2


async def test_what_is_at_work_goes_on_when_what_has_ended_is_to_run_again(stage: Stage) -> None:
    jobs = [batch("done"), batch("busy", "exit", "0", "after", "10s")]
    await stage.apply(*jobs)
    done, busy = (await stage.orchestrator.apply(jobs, rerun=True)).changes
    assert (done.restarts, busy.action) == (True, ChangeAction.UNCHANGED)
    await trio.sleep(20)
    assert len(indexes_started(stage)) == 3


async def test_what_has_failed_runs_again_with_a_changed_definition(stage: Stage) -> None:
    await stage.apply(batch("job", "exit", "9"))
    await stage.apply(batch("job", "exit", "9", retries=1))
    await trio.sleep(60)
    assert len(indexes_started(stage)) == 3
    await stage.apply(batch("job", "exit", "0", retries=1))
    await trio.sleep(5)
    assert (await stage.view("job")).phase is WorkloadPhase.SUCCEEDED


async def test_what_has_succeeded_never_runs_again(stage: Stage) -> None:
    await stage.apply(batch("job", completions=2))
    assert (await stage.view("job")).phase is WorkloadPhase.SUCCEEDED
    revision = (await stage.orchestrator.apply([batch("job", completions=2)])).revision
    assert revision == 0
    await stage.restart()
    await trio.sleep(3600)
    assert len(indexes_started(stage)) == 2


async def test_a_new_template_runs_all_indexes_anew(stage: Stage) -> None:
    await stage.apply(batch(completions=2))
    await stage.apply(batch("job", "exit", "0", "token", "new", completions=2))
    await trio.sleep(5)
    assert stage.containers.starts_of("new") == 2
    assert (await stage.view("job")).phase is WorkloadPhase.SUCCEEDED


async def test_an_index_whose_node_is_lost_runs_on_another(stage: Stage) -> None:
    await stage.apply(batch("job", "exit", "0", "after", "30s"))
    (node_id,) = stage.where("job")
    stage.down(node_id)
    await trio.sleep(60)
    view = await stage.view("job")
    assert (view.phase, view.failed) == (WorkloadPhase.SUCCEEDED, 0)
    assert [start.instance.epoch for start in stage.containers.start_records] == [1, 2]


@pytest.mark.parametrize("kill", [True, False])
async def test_an_exit_that_nobody_hinted_at_is_found_by_the_periodic_pass(stage: Stage, kill: bool) -> None:
    workload = batch("job", "run") if kill else service("job")
    await stage.apply(workload)
    (running,) = stage.running()
    node = stage.containers.node(running.options.node_id)
    held, node.listeners[:] = list(node.listeners), []
    stage.exit(running, 0)
    node.listeners[:] = held
    await trio.sleep(31)
    if kill:
        assert (await stage.instance("job.0.1")).status.state is InstanceState.SUCCEEDED
    else:
        await trio.sleep(5)
        assert stage.running()[0].options.attempt == 1
