"""How a start goes when not everything answers."""

from __future__ import annotations

import pytest
import trio
from orchestrion.mocks import Fault, FaultKind, MockRuntime, ScriptedFaults
from orchestrion.runtime_interface import RuntimeUnavailable
from orchestrion.shared_types import ContainerId, ContainerStatus, NodeId

from .core_stage import NODE, SECOND, THIRD, Stage, daemon, service


@pytest.mark.parametrize("nth", [1, 2])
async def test_a_start_outlives_a_lease_that_is_not_granted_at_first(stage: Stage, nth: int) -> None:
    await stage.end()
    stage.store_faults = ScriptedFaults({("grant_lease", nth): Fault(FaultKind.FAIL)})
    with trio.fail_after(60):
        await stage.start()
    await stage.apply(service(replicas=3))
    assert len(stage.running("web")) == 3


class _Broken(MockRuntime):
    """A runtime of which one node fails, or does not answer."""

    hangs = False

    async def init_node(self, node_id: NodeId, /) -> None:
        if node_id == SECOND:
            if self.hangs:
                await trio.sleep_forever()
            await trio.lowlevel.checkpoint()
            msg = "the engine is down"
            raise RuntimeUnavailable(msg)
        await super().init_node(node_id)


class _Hanging(_Broken):
    hangs = True


@pytest.mark.parametrize("kind", [_Broken, _Hanging])
async def test_a_start_does_not_wait_for_a_node_whose_engine_is_broken(stage: Stage, kind: type[_Broken]) -> None:
    await stage.end()
    stage.runtime_class = kind
    with trio.fail_after(60):
        await stage.start()
    await stage.apply(daemon())
    assert stage.where("agent") == [NODE, THIRD]


async def test_a_start_does_not_wait_for_a_node_that_is_removed_meanwhile(stage: Stage) -> None:
    await stage.end()
    stage.runtime_class = _Hanging
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.start)
        await trio.sleep(1)
        stage.cluster.remove_node(SECOND)
    assert trio.current_time() - began < 2


class _Asked(MockRuntime):
    questions = 0

    async def get_container_status(self, container_id: ContainerId, /) -> ContainerStatus:
        _Asked.questions += 1
        return await super().get_container_status(container_id)


async def test_an_announcement_of_what_is_known_asks_nothing(stage: Stage) -> None:
    await stage.end()
    stage.runtime_class = _Asked
    await stage.start()
    _Asked.questions = 0
    await stage.apply(service(replicas=5))
    await trio.sleep(1)
    assert len(stage.running("web")) == 5
    assert _Asked.questions == 5
