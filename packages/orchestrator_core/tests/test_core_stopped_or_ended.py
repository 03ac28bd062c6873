"""What was stopped has not ended by itself, whatever the clocks say; what is lost gets no grace; a removal is whole."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
import trio
from attrs import evolve
from orchestrion.mocks import ClusterWorld, ContainerWorld, MemoryState, MemoryStore, mock_nodes
from orchestrion.orchestrator_core import ChangeAction, WorkloadPhase, trio_time
from orchestrion.orchestrator_core._clock import Deadlines
from orchestrion.orchestrator_core._cluster import writing
from orchestrion.orchestrator_core._node.plan import InstanceFacts, plan_instance
from orchestrion.orchestrator_core._state.records import BindingRecord, InstanceName, WorkloadName
from orchestrion.shared_types import (
    Binding,
    ContainerId,
    ContainerState,
    ContainerStatus,
    DesiredState,
    InstanceStatus,
    from_json,
)
from orchestrion.store_interface import Compare, Delete, Operation, Put, Revision, StoreUnavailable
from trio.testing import MockClock

from .core_stage import NODE, Stage, batch, service


@pytest.mark.parametrize("behind", [-5, 0, 5])
async def test_drained_work_is_not_complete_whatever_the_clock_of_its_node_says(
    autojump_clock: MockClock, behind: int
) -> None:
    async with trio.open_nursery() as nursery:
        containers = ContainerWorld(now=lambda: trio_time() - timedelta(seconds=behind))
        stage = Stage(ClusterWorld(mock_nodes(2)), containers, MemoryState(), nursery)
        await stage.start()
        await stage.apply(batch("job", "trap", "0", "term-takes", "2s", "run"))
        await trio.sleep(20)
        (instance,) = await stage.instances("job")
        deadline = trio_time() + timedelta(seconds=1)
        await stage.orchestrator.drain_node(instance.binding.node_id, reason="repair", deadline=deadline)
        await trio.sleep(20)
        assert stage.slots("job") == [(0, 2)]
        assert (await stage.instance("job.0.1")).status.reason == "stopped"
        nursery.cancel_scope.cancel()


async def test_work_that_ended_before_its_node_was_drained_is_complete_whatever_its_clock_says(
    autojump_clock: MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        containers = ContainerWorld(now=lambda: trio_time() + timedelta(seconds=60))
        stage = Stage(ClusterWorld(mock_nodes(2)), containers, MemoryState(), nursery)
        await stage.start()
        await stage.apply(batch("job", "exit", "0", "after", "20s"))
        (instance,) = await stage.instances("job")
        await stage.end()
        await trio.sleep(30)
        await stage.start()
        await stage.orchestrator.drain_node(instance.binding.node_id, reason="repair", deadline=trio_time())
        await trio.sleep(20)
        assert (await stage.view("job")).phase is WorkloadPhase.SUCCEEDED
        assert len(stage.containers.start_records) == 1
        nursery.cancel_scope.cancel()


async def test_what_is_lost_gets_no_grace() -> None:
    running = ContainerStatus(
        name="main", state=ContainerState.RUNNING, container_id=ContainerId("c"), started_at=trio_time()
    )
    binding = Binding(node_id=NODE, generation=1)
    facts = InstanceFacts(
        name=InstanceName("default", "web", 0, 1),
        binding=evolve(binding, desired=DesiredState.STOP, stop_at=trio_time(), lost_at=trio_time()),
        template=service(),
        status=InstanceStatus(),
        containers=[running],
        unhealthy={},
        fenced=frozenset(),
        deadlines=Deadlines(trio_time),
    )
    assert plan_instance(facts).stop == [(ContainerId("c"), 0.0)]


class _NeverForgets(MemoryStore):
    """A store that fails just when a specification is to go."""

    async def transaction(self, compares: Sequence[Compare], operations: Sequence[Operation], /) -> Revision:
        if any(isinstance(operation, Delete) and operation.key.endswith("/spec") for operation in operations):
            await trio.lowlevel.checkpoint()
            raise StoreUnavailable("cut")
        return await super().transaction(compares, operations)


@pytest.mark.parametrize("chunk", range(4, 8))
async def test_a_removal_that_a_crash_cuts_short_is_taken_up_and_starts_nothing(
    stage: Stage, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "CHUNK", chunk)
    await stage.end()
    stage.store_class = _NeverForgets
    await stage.start()
    await stage.apply(service())
    await stage.orchestrator.remove("web")
    await trio.sleep(20)
    await stage.end()
    stage.store_class = MemoryStore
    starts = len(stage.containers.start_records)
    await stage.start()
    await trio.sleep(10)
    assert len(stage.containers.start_records) == starts
    assert not stage.orchestrator.world.workloads


@pytest.mark.parametrize("code", ["0", "1"])
async def test_what_has_ended_stays_as_it_ended_when_everything_is_stopped(stage: Stage, code: str) -> None:
    await stage.apply(service("web"), batch("job", "exit", code))
    before = await stage.view("job")
    await stage.orchestrator.stop_all()
    await stage.orchestrator.stop("job")
    assert await stage.view("job") == before
    assert (await stage.view("web")).phase is WorkloadPhase.STOPPED
    assert stage.orchestrator.world.workloads[WorkloadName("default", "job")].control.stopped is False
    job, web = (await stage.orchestrator.apply([batch("job", "exit", code), service("web")])).changes
    assert (job.action, web.action) == (ChangeAction.UNCHANGED, ChangeAction.UPDATE)


async def test_what_succeeds_at_the_moment_of_the_stop_has_succeeded(stage: Stage) -> None:
    await stage.apply(batch("job", "run"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.orchestrator.stop, "job")
        stage.exit(stage.running("job")[0], 0)
    await trio.sleep(5)
    view = await stage.view("job")
    assert (view.phase, view.message) == (WorkloadPhase.SUCCEEDED, "it has succeeded")
    (change,) = (await stage.orchestrator.apply([batch("job", "run")])).changes
    assert (change.action, change.differences) == (ChangeAction.UNCHANGED, ())


class _NeverStops(MemoryStore):
    """A store that fails just when a binding is to say that its instance stops."""

    async def transaction(self, compares: Sequence[Compare], operations: Sequence[Operation], /) -> Revision:
        puts = [operation for operation in operations if isinstance(operation, Put)]
        bindings = [from_json(put.value, BindingRecord).binding for put in puts if put.key.endswith("/binding")]
        if any(binding.desired is DesiredState.STOP for binding in bindings):
            await trio.lowlevel.checkpoint()
            raise StoreUnavailable("cut")
        return await super().transaction(compares, operations)


async def _stop_on_record(stage: Stage, remove: bool) -> None:
    """Let a service that runs be stopped or removed, without its binding saying so."""
    await stage.end()
    stage.store_class = _NeverStops
    await stage.start()
    await stage.apply(service())
    await trio.sleep(100)
    await (stage.orchestrator.remove("web") if remove else stage.orchestrator.stop("web"))
    await stage.settle()


def _kill(stage: Stage) -> None:
    (running,) = stage.running("web")
    stage.exit(running, 137)


@pytest.mark.parametrize("remove", [False, True])
async def test_what_is_killed_between_its_stop_and_its_binding_is_not_started_again(stage: Stage, remove: bool) -> None:
    await _stop_on_record(stage, remove)
    _kill(stage)
    await trio.sleep(300)
    assert len(stage.containers.start_records) == 1
    await stage.end()
    stage.store_class = MemoryStore
    await stage.start()
    assert await stage.instances() == []
    await trio.sleep(100)
    assert len(stage.containers.start_records) == 1


async def test_the_next_owner_does_not_start_what_was_killed_between_its_stop_and_its_binding(stage: Stage) -> None:
    await _stop_on_record(stage, remove=False)
    await stage.end()
    _kill(stage)
    await trio.sleep(300)
    await stage.start()
    await trio.sleep(300)
    assert len(stage.containers.start_records) == 1


async def test_what_was_killed_after_its_stop_runs_again_at_once_when_it_is_applied_again(stage: Stage) -> None:
    await _stop_on_record(stage, remove=False)
    _kill(stage)
    await trio.sleep(100)
    before = trio.current_time()
    await stage.apply(service())
    assert (stage.slots("web"), trio.current_time()) == ([(0, 1)], before)


async def test_what_is_stopped_twice_and_applied_twice_runs(stage: Stage) -> None:
    await _stop_on_record(stage, remove=False)
    _kill(stage)
    await trio.sleep(100)
    await stage.apply(service())
    await stage.orchestrator.stop("web")
    _kill(stage)
    await trio.sleep(300)
    assert stage.running() == []
    await stage.apply(service())
    assert stage.slots("web") == [(0, 1)]
