"""What the simulation has found, each in its smallest form."""

from __future__ import annotations

import random

import pytest
import trio
from attrs import define, evolve
from orchestrion.mocks import Fault, FaultKind
from orchestrion.orchestrator_core._queue import KeyedQueue
from orchestrion.orchestrator_core._state.records import WorkloadName
from orchestrion.shared_types import (
    ContainerConfig,
    Metadata,
    Placement,
    RestartCondition,
    RestartPolicy,
    Retention,
    WorkloadDefinition,
    WorkloadKind,
)

from .crash_points import CrashPoint, Stage, begin
from .runner import run_repeatably
from .trace import Trace


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


def _service(name: str, *commands: tuple[str, ...]) -> WorkloadDefinition:
    """A service whose instances fail with their first container, with no waits and no history."""
    return WorkloadDefinition(
        metadata=Metadata(name=name),
        containers=tuple(ContainerConfig(name=f"c{n}", command=command) for n, command in enumerate(commands)),
        restart=RestartPolicy(
            condition=RestartCondition.NEVER, initial_delay_seconds=0.0, max_delay_seconds=0.0, reset_after_seconds=20.0
        ),
        retention=Retention(terminal_instances=0),
    )


@define(eq=False)
class _LostReply(CrashPoint):
    """Loses the reply of one call."""

    def draw(self, who: str, place: str, method: str) -> Fault | None:
        self.calls += method == "create_container"
        return Fault(FaultKind.FAIL_AFTER) if method == "create_container" and self.calls == self.at else None


async def _play_for(seconds: float, definition: WorkloadDefinition, point: CrashPoint) -> Stage:
    async with trio.open_nursery() as nursery:
        stage = begin(nursery, point)
        await stage.ask(lambda o: o.apply([definition]))
        await trio.sleep(seconds)
        stage.world.trace.raise_if_violated()
        nursery.cancel_scope.cancel()
    return stage


def test_what_fails_at_once_is_replaced_ever_more_slowly_even_without_waits_and_history() -> None:
    point = CrashPoint(random.Random(1), Trace(), {})
    stage = run_repeatably(1, _play_for, 60.0, _service("web", ("exit", "1")), point)
    assert 3 <= len(stage.world.containers.start_records) <= 70


@pytest.mark.parametrize("at", [1, 2])
def test_a_container_whose_creation_got_no_reply_ends_with_its_instance(at: int) -> None:
    point = _LostReply(random.Random(1), Trace(), {}, at=at)
    stage = run_repeatably(1, _play_for, 30.0, _service("web", ("exit", "1"), ("run",)), point)
    live = [container for container in stage.world.containers.containers.values() if container.live]
    assert len({container.options.instance for container in live}) <= 1


def _daemon(**select: str) -> WorkloadDefinition:
    return WorkloadDefinition(
        metadata=Metadata(name="watcher"),
        kind=WorkloadKind.DAEMON,
        containers=(ContainerConfig(name="c0", command=("run",), stop_grace_seconds=1.0),),
        placement=Placement(select=select),
    )


async def _narrow_a_daemon(point: CrashPoint) -> set[str]:
    async with trio.open_nursery() as nursery:
        stage = begin(nursery, point)
        await stage.ask(lambda o: o.apply([_daemon()]))
        await stage.settle()
        await stage.ask(lambda o: o.apply([_daemon(node="node-1")]))
        await stage.settle()
        nursery.cancel_scope.cancel()
    return {container.options.node_id for container in stage.world.containers.containers.values() if container.live}


def test_a_daemon_leaves_nodes_that_its_new_template_may_not_run_on_and_is_updated_on_the_others() -> None:
    assert run_repeatably(1, _narrow_a_daemon, CrashPoint(random.Random(1), Trace(), {})) == {"node-1"}


def test_a_template_without_instances_does_not_count_as_rolled_out() -> None:
    async def play_it(point: CrashPoint) -> int:
        async with trio.open_nursery() as nursery:
            stage = begin(nursery, point)
            await stage.ask(lambda o: o.apply([evolve(_service("web", ("run",)), replicas=0)]))
            await stage.settle()
            orchestrator = stage.server.orchestrator
            assert orchestrator is not None
            progress = orchestrator.world.workloads[WorkloadName("default", "web")].progress
            nursery.cancel_scope.cancel()
        return 0 if progress is None else progress.stable_generation

    assert run_repeatably(1, play_it, CrashPoint(random.Random(1), Trace(), {})) == 0
