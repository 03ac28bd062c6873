"""A node that the cluster manager does not see: it is fenced, not forgotten, and takes part again when it is back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from orchestrion.shared_types import InstanceState, NodeId, NodeStatus

from .core_stage import NODE, SECOND, THIRD, Stage, service


@asynccontextmanager
async def never_two_live(stage: Stage, workload: str) -> AsyncIterator[None]:
    """Check all the time that no slot of a workload runs twice."""

    async def look() -> None:
        while True:
            slots = [slot for slot, _ in stage.slots(workload)]
            assert len(slots) == len(set(slots))
            await trio.sleep(0.1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        yield
        nursery.cancel_scope.cancel()


async def placed(stage: Stage) -> NodeId:
    await stage.apply(service())
    (node_id,) = stage.where("web")
    return node_id


async def test_what_runs_out_of_sight_is_stopped_before_others_take_its_place(stage: Stage) -> None:
    node_id = await placed(stage)
    await trio.sleep(60)
    stage.cluster.set_status(node_id, NodeStatus.UNKNOWN)
    async with never_two_live(stage, "web"):
        began = trio.current_time()
        while stage.running("web"):
            await trio.sleep(0.1)
        stopped = trio.current_time() - began
        while not stage.running("web"):
            await trio.sleep(0.1)
        assert stopped <= 8.1
        assert trio.current_time() - began >= stopped + stage.timings.skew
    (running,) = stage.running("web")
    assert running.options.node_id != node_id
    assert running.options.instance.epoch == 2
    assert (await stage.instance("web.0.1")).status.state is InstanceState.LOST
    assert "LeaseLost" in await stage.event_reasons(f"node/{node_id}")


async def test_a_node_that_is_in_sight_again_before_its_lease_ends_keeps_what_it_runs(stage: Stage) -> None:
    node_id = await placed(stage)
    before = stage.ids()
    for _ in range(10):
        stage.cluster.set_status(node_id, NodeStatus.UNKNOWN)
        await trio.sleep(5)
        stage.cluster.set_status(node_id, NodeStatus.READY)
        await trio.sleep(3)
    assert stage.ids() == before
    assert (await stage.instance("web.0.1")).status.state is InstanceState.RUNNING


async def test_a_node_that_is_in_sight_again_takes_work_again(stage: Stage) -> None:
    node_id = await placed(stage)
    others = {NODE, SECOND, THIRD} - {node_id}
    stage.cluster.set_status(node_id, NodeStatus.UNKNOWN)
    await trio.sleep(60)
    for other in others:
        await stage.orchestrator.cordon_node(other)
    stage.cluster.set_status(node_id, NodeStatus.READY)
    await stage.settle()
    await stage.apply(service("more"))
    assert stage.where("more") == [node_id]
    assert (await stage.instance("more.0.1")).status.state is InstanceState.RUNNING


async def test_out_of_sight_nothing_is_started_and_what_ends_is_reported(stage: Stage) -> None:
    node_id = await placed(stage)
    stage.cluster.set_status(node_id, NodeStatus.UNKNOWN)
    stage.exit(stage.running("web")[0])
    await trio.sleep(4)
    assert stage.running() == []
    (container,) = (await stage.instance("web.0.1")).status.containers
    assert container.exit is not None
    stage.cluster.set_status(node_id, NodeStatus.READY)
    await trio.sleep(1)
    assert stage.slots("web") == [(0, 1)]


async def test_a_node_that_has_left_the_cluster_stops_what_it_can_reach(stage: Stage) -> None:
    node_id = await placed(stage)
    async with never_two_live(stage, "web"):
        stage.cluster.remove_node(node_id)
        await trio.sleep(20)
    assert stage.slots("web") == [(0, 2)]
    await trio.sleep(60)
    assert node_id not in stage.orchestrator.node_loops


async def test_a_node_that_left_and_is_back_at_once_goes_on(stage: Stage) -> None:
    node_id = await placed(stage)
    before = stage.ids()
    node = stage.cluster.get_node(node_id)
    assert node is not None
    stage.cluster.remove_node(node_id)
    await trio.sleep(3)
    stage.cluster.add_node(node)
    await trio.sleep(120)
    assert stage.ids() == before
    assert node_id in stage.orchestrator.node_loops


async def test_a_node_that_is_out_of_sight_at_a_start_is_fenced_too(stage: Stage) -> None:
    node_id = await placed(stage)
    await stage.end()
    stage.cluster.set_status(node_id, NodeStatus.UNKNOWN)
    with trio.fail_after(5):
        await stage.start()
    assert stage.slots("web") == [(0, 1)]
    async with never_two_live(stage, "web"):
        await trio.sleep(20)
    assert stage.slots("web") == [(0, 2)]


async def test_what_can_not_be_reached_is_complained_about_ever_more_rarely(stage: Stage) -> None:
    await stage.apply(service(replicas=9))
    node_id = stage.where("web")[0]
    stage.down(node_id, killed=False)
    await trio.sleep(3600)
    reasons = await stage.event_reasons(f"node/{node_id}")
    assert 1 <= reasons.count("RuntimeUnavailable") <= 25
    assert "Retry" not in [event.reason for event in await stage.orchestrator.events()]
    stage.back(node_id)
    await trio.sleep(5)
    assert {epoch for _, epoch in stage.slots("web")} <= {1, 2}
    assert len(stage.running("web")) == 9


async def test_nobody_waits_for_the_remains_on_a_node_out_of_sight(stage: Stage) -> None:
    node_id = await placed(stage)
    stage.down(node_id, killed=False)
    await trio.sleep(20)
    await stage.orchestrator.remove("web")
    with trio.fail_after(60):
        await stage.orchestrator.wait_cleared()
