"""Engines that can't be made ready, and calls that never return."""

from __future__ import annotations

import pytest
import trio
from orchestrion.mocks import MockRuntime
from orchestrion.orchestrator_core._node.engine import Slots
from orchestrion.runtime_interface import ContainerSummary, CreateOptions, RuntimeUnavailable
from orchestrion.shared_types import (
    ContainerConfig,
    ContainerId,
    ContainerStatus,
    ExitStatus,
    InstanceState,
    NodeId,
    NodeStatus,
)
from trio.testing import MockClock, wait_all_tasks_blocked

from .core_stage import NODE, SECOND, THIRD, Stage, batch, daemon, service, staged


class _NeverReady(MockRuntime):
    """A runtime whose engine on the second node can't be made ready, or does not answer."""

    broken = True
    hangs = False

    async def init_node(self, node_id: NodeId, /) -> None:
        if node_id == SECOND and type(self).broken:
            if self.hangs:
                await trio.sleep_forever()
            await trio.lowlevel.checkpoint()
            msg = "the engine is down"
            raise RuntimeUnavailable(msg)
        await super().init_node(node_id)


class _NeverAnswers(_NeverReady):
    hangs = True


@pytest.fixture(params=[_NeverReady, _NeverAnswers])
async def broken(stage: Stage, request: pytest.FixtureRequest) -> Stage:
    kind: type[_NeverReady] = request.param
    kind.broken = True
    await stage.end()
    stage.runtime_class = kind
    await stage.start()
    await trio.sleep(60)
    return stage


async def test_a_node_whose_engine_is_not_ready_gets_no_work(broken: Stage) -> None:
    await broken.apply(daemon(), service(replicas=5))
    await trio.sleep(120)
    assert broken.where("agent") == [NODE, THIRD]
    assert SECOND not in broken.where("web")
    assert len(broken.running("web")) == 5


async def test_people_are_told_that_an_engine_is_not_ready_and_why(broken: Stage) -> None:
    await trio.sleep(3600)
    nodes = {node.id: node for node in await broken.orchestrator.list_nodes()}
    assert nodes[NODE].status is NodeStatus.READY
    assert nodes[SECOND].status is NodeStatus.NOT_READY
    (condition,) = nodes[SECOND].conditions
    assert condition.active
    assert "engine" in condition.reason
    told = await broken.orchestrator.events(subject=f"node/{SECOND}")
    assert told[0].reason == "RuntimeUnavailable"
    assert "next try in" in told[0].message
    assert len(told) <= 30
    for other in (NODE, THIRD):
        await broken.orchestrator.cordon_node(other)
    await broken.apply(service())
    (explained,) = await broken.orchestrator.explain("web")
    assert "condition EngineUnavailable" in explained.text


async def test_a_node_takes_work_once_its_engine_is_ready(broken: Stage) -> None:
    await broken.apply(daemon())
    type(broken.runtime).broken = False  # type: ignore[attr-defined] # the fixture's runtime
    await trio.sleep(60)
    assert broken.where("agent") == [NODE, SECOND, THIRD]
    assert [node.status for node in await broken.orchestrator.list_nodes()] == [NodeStatus.READY] * 3


class _Hanging(MockRuntime):
    """A runtime of which some calls about some workloads never return."""

    calls: frozenset[str] = frozenset()

    async def _pass(self, call: str, workload: str) -> None:
        if f"{call} {workload}" in type(self).calls:
            await trio.sleep_forever()

    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        await self._pass("create", options.workload)
        return await super().create_container(config, options)

    async def stop_container(self, container_id: ContainerId, /, *, grace_seconds: float) -> None:
        await self._pass("stop", self._workload(container_id))
        await super().stop_container(container_id, grace_seconds=grace_seconds)

    async def remove_container(self, container_id: ContainerId, /) -> None:
        await self._pass("remove", self._workload(container_id))
        await super().remove_container(container_id)

    async def get_container_status(self, container_id: ContainerId, /) -> ContainerStatus:
        await self._pass("status", self._workload(container_id))
        return await super().get_container_status(container_id)

    async def list_containers(self, node_id: NodeId, /) -> list[ContainerSummary]:
        await self._pass("list", "all")
        return await super().list_containers(node_id)

    def _workload(self, container_id: ContainerId) -> str:
        found = self.world.containers.get(container_id)
        return "" if found is None else found.options.workload


def hang(*calls: str) -> None:
    _Hanging.calls = frozenset(calls)


@pytest.fixture
async def alone(stage: Stage) -> Stage:
    """Give a stage with one node whose runtime can hang."""
    hang()
    await stage.end()
    for node_id in (SECOND, THIRD):
        stage.cluster.remove_node(node_id)
    stage.runtime_class = _Hanging
    await stage.start()
    return stage


async def test_creations_that_hang_do_not_keep_others_from_starting(alone: Stage) -> None:
    hang("create slow")
    await alone.apply(service("slow", replicas=40))
    await trio.sleep(1)
    await alone.apply(service("ok", replicas=3))
    await trio.sleep(30)
    assert len(alone.running("ok")) == 3


async def test_a_creation_that_hangs_is_told_and_repeated(alone: Stage) -> None:
    hang("create slow")
    await alone.apply(service("slow"))
    await trio.sleep(65)
    status = (await alone.instance("slow.0.1")).status
    assert status.state is InstanceState.PENDING
    assert "has not answered for 60 s" in status.message
    hang()
    await trio.sleep(130)
    status = (await alone.instance("slow.0.1")).status
    assert (status.state, status.message) == (InstanceState.RUNNING, "")
    assert len(alone.containers.start_records) == 1


async def test_a_stop_that_hangs_is_told_and_repeated(alone: Stage) -> None:
    await alone.apply(service("slow"), service("ok", replicas=30))
    hang("stop slow")
    await alone.orchestrator.stop("slow")
    await alone.orchestrator.stop("ok")
    await trio.sleep(60)
    assert alone.running("ok") == []
    status = (await alone.instance("slow.0.1")).status
    assert status.state is InstanceState.TERMINATING
    assert "has not answered for 40 s" in status.message
    hang()
    await trio.sleep(60)
    assert alone.running() == []
    assert (await alone.instance("slow.0.1")).status.state is InstanceState.SUCCEEDED


async def test_removals_that_hang_do_not_keep_others_from_being_removed(alone: Stage) -> None:
    await alone.apply(service("slow", replicas=40), service("ok", replicas=3))
    hang("remove slow")
    await alone.orchestrator.remove("slow")
    await trio.sleep(1)
    await alone.orchestrator.remove("ok")
    await trio.sleep(60)
    left = {container.options.workload for container in alone.containers.containers.values()}
    assert left == {"slow"}
    hang()
    with trio.fail_after(120):
        await alone.orchestrator.wait_cleared()
    assert alone.containers.containers == {}


async def test_a_question_that_hangs_does_not_keep_the_end_of_others_from_being_seen(alone: Stage) -> None:
    await alone.apply(service("slow", replicas=2), batch("job", "exit", "0", "after", "10s"))
    hang("status slow")
    for container in alone.running("slow"):
        alone.exit(container)
    await trio.sleep(11)
    assert (await alone.instance("job.0.1")).status.state is InstanceState.SUCCEEDED
    await trio.sleep(25)
    assert "has not answered" in (await alone.instance("slow.0.1")).status.message
    hang()
    await trio.sleep(60)
    assert len(alone.running("slow")) == 2
    assert (await alone.instance("slow.0.1")).status.message == ""


async def test_a_list_that_hangs_at_first_does_not_keep_the_node_away_for_ever(alone: Stage) -> None:
    await alone.apply(service("ok"))
    await alone.end()
    hang("list all")
    await alone.start()
    await trio.sleep(5)
    hang()
    await trio.sleep(40)
    assert len(alone.running("ok")) == 1


async def test_one_container_of_which_nothing_can_be_learned_does_not_keep_a_node_from_being_taken_up(
    alone: Stage,
) -> None:
    await alone.apply(service("slow"), service("ok"))
    await alone.end()
    for container in alone.running("ok"):
        alone.containers.exit(container.container_id, ExitStatus(code=1))
    hang("status slow")
    await alone.start()
    await trio.sleep(10)
    assert len(alone.running("ok")) == 1


async def test_what_takes_long_gives_its_place_to_others(autojump_clock: MockClock) -> None:
    slots = Slots(2, seconds=5.0)
    began = list[float]()

    async def work(seconds: float) -> None:
        place = await slots.take()
        began.append(trio.current_time())
        await trio.sleep(seconds)
        slots.give_back(place)

    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        for seconds in (100.0, 100.0, 1.0, 1.0, 1.0):
            nursery.start_soon(work, seconds)
            await wait_all_tasks_blocked()
    assert [round(at - start) for at in sorted(began)] == [0, 0, 5, 5, 6]


async def test_who_hangs_does_not_keep_a_lost_lease_from_stopping_the_others(autojump_clock: MockClock) -> None:
    async with staged(1) as stage:
        hang()
        await stage.end()
        stage.runtime_class = _Hanging
        await stage.start()
        await stage.apply(service("slow", replicas=20), service("ok", replicas=20))
        hang("stop slow", "status slow")
        stage.cluster.set_status(NODE, NodeStatus.UNKNOWN)
        await trio.sleep(10)
        assert stage.running("ok") == []
