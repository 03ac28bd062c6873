"""What fails behind a stream reaches its reader as one plain error, and never ends the orchestrator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
import trio
from orchestrion.mocks import MockRuntime
from orchestrion.orchestrator_core import LogQuery, RoutingRuntime
from orchestrion.runtime_interface import ContainerHint, RuntimeUnavailable
from orchestrion.shared_types import ContainerId, ContainerStatus, NodeId
from trio.testing import MockClock

from .core_stage import NODE, Stage, service


async def test_an_error_in_the_body_of_a_watch_of_several_runtimes_is_plain() -> None:
    runtime = RoutingRuntime({"process": MockRuntime(), "oci": MockRuntime()})
    await runtime.init_node(NODE)
    with pytest.raises(RuntimeUnavailable, match="from the body"):
        async with runtime.watch_containers(NODE):
            raise RuntimeUnavailable("from the body")


class _Deaf(MockRuntime):
    """A runtime whose watch fails: at its start, or after a second."""

    wait: float

    @asynccontextmanager
    async def watch_containers(self, node_id: NodeId, /) -> AsyncIterator[AsyncIterator[ContainerHint]]:
        if not self.wait:
            raise RuntimeUnavailable("the watch failed")
        yield self._fail()

    async def _fail(self) -> AsyncIterator[ContainerHint]:
        await trio.sleep(self.wait)
        for message in ("the watch failed",):
            raise RuntimeUnavailable(message)
        yield ContainerHint(container_id=None)


class _DeafAtOnce(_Deaf):
    wait = 0.0


class _DeafLater(_Deaf):
    wait = 1.0


async def _read(hints: AbstractAsyncContextManager[AsyncIterator[object]]) -> None:
    async with hints as items:
        async for _ in items:
            pass


@pytest.mark.parametrize("kind", [_DeafAtOnce, _DeafLater])
async def test_an_error_of_one_of_several_watches_is_plain(autojump_clock: MockClock, kind: type[_Deaf]) -> None:
    runtime = RoutingRuntime({"process": MockRuntime(), "oci": kind()})
    await runtime.init_node(NODE)
    with pytest.raises(RuntimeUnavailable, match="the watch failed"):
        await _read(runtime.watch_containers(NODE))


class _Flaky(MockRuntime):
    """A runtime that is asked for a status in vain once, and whose watch has a task of its own."""

    failures = 0

    async def get_container_status(self, container_id: ContainerId, /) -> ContainerStatus:
        if type(self).failures:
            type(self).failures -= 1
            await trio.lowlevel.checkpoint()
            raise RuntimeUnavailable("the engine is busy")
        return await super().get_container_status(container_id)

    @asynccontextmanager
    async def watch_containers(self, node_id: NodeId, /) -> AsyncIterator[AsyncIterator[ContainerHint]]:
        async with trio.open_nursery() as nursery, super().watch_containers(node_id) as hints:
            yield hints
            nursery.cancel_scope.cancel()


async def test_a_passing_error_within_a_watch_that_has_tasks_does_not_end_the_orchestrator(stage: Stage) -> None:
    await stage.end()
    stage.runtime_class = _Flaky
    await stage.start()
    await stage.apply(service(replicas=2))
    _Flaky.failures = 1
    stage.exit(stage.running("web")[0])
    await trio.sleep(60)
    assert _Flaky.failures == 0
    assert len(stage.running("web")) == 2


@pytest.mark.parametrize("follow", [False, True])
async def test_an_error_of_the_engine_reaches_a_reader_of_logs_as_it_is(stage: Stage, *, follow: bool) -> None:
    await stage.apply(service("web", "print", "stdout", "hello", "run", replicas=3))
    for container in stage.running("web"):
        stage.containers.partition(container.options.node_id)
    with pytest.raises(RuntimeUnavailable):
        await _read(stage.orchestrator.logs(LogQuery(subject="web", follow=follow)))


async def test_an_error_of_a_reader_of_logs_stays_as_it_is(stage: Stage) -> None:
    await stage.apply(service("web", "print", "stdout", "hello", "run"))
    with pytest.raises(RuntimeError, match="mine"):
        async with stage.orchestrator.logs(LogQuery(subject="web", follow=True)):
            raise RuntimeError("mine")
