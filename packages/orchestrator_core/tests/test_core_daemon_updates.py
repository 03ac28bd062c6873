"""Daemons: updates that do not go well."""

from __future__ import annotations

import trio
from attrs import evolve
from orchestrion.mocks import CursorScheduler
from orchestrion.scheduler_interface import ClusterView, ScheduleDecision, SchedulingRequest
from orchestrion.shared_types import (
    Placement,
    PortMapping,
    Resources,
    RestartCondition,
    RestartPolicy,
    UpdateStrategy,
)

from .core_stage import NODE, Stage, container, daemon, service

IN_PLACE = UpdateStrategy(max_surge=0, max_unavailable=1)
NEVER = RestartPolicy(condition=RestartCondition.NEVER, jitter=0.0)


async def test_a_template_that_does_not_work_takes_a_daemon_off_no_more_nodes_than_permitted(stage: Stage) -> None:
    await stage.apply(daemon(update=IN_PLACE))
    await stage.apply(daemon("agent", "exit", "1", update=IN_PLACE, restart=NEVER))
    for _ in range(60):
        await trio.sleep(60)
        assert len(stage.running("agent")) >= 2


async def test_a_daemon_with_a_static_port_is_updated_in_place(stage: Stage) -> None:
    ports = (PortMapping(name="p", host_port=9100),)
    await stage.apply(daemon(containers=(container("main", "run", "token", "old", ports=ports),)))
    await trio.sleep(5)
    await stage.apply(daemon(containers=(container("main", "run", "token", "new", ports=ports),)))
    for _ in range(30):
        await trio.sleep(1)
        assert len(stage.running("agent")) >= 2
    await trio.sleep(300)
    assert [running.behaviour.token for running in stage.running("agent")] == ["new"] * 3


class _Counting(CursorScheduler):
    """A scheduler that counts what it is asked."""

    asked = 0

    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> list[ScheduleDecision]:
        _Counting.asked += 1
        return await super().schedule(request, view)


async def test_a_node_that_a_daemon_may_not_run_on_is_asked_once(stage: Stage) -> None:
    await stage.end()
    stage.scheduler = lambda: _Counting()
    await stage.start()
    await stage.apply(daemon(placement=Placement(select={"disk": "fast"})))
    asked = _Counting.asked
    await trio.sleep(600)
    assert _Counting.asked == asked
    node = stage.cluster.get_node(NODE)
    assert node is not None
    stage.cluster.update_node(evolve(node, labels={**node.labels, "disk": "fast"}))
    await stage.settle()
    assert stage.where("agent") == [NODE]


async def test_a_daemon_gets_the_room_that_others_leave(stage: Stage) -> None:
    node = stage.cluster.get_node(NODE)
    assert node is not None
    whole = (container(resources=Resources(cpu_millicores=node.allocatable.cpu_millicores)),)
    await stage.apply(service(replicas=1, containers=whole))
    await stage.apply(daemon(containers=whole))
    assert len(stage.running("agent")) == 2
    await stage.orchestrator.remove("web")
    await trio.sleep(1)
    assert len(stage.running("agent")) == 3


async def test_a_daemon_of_the_same_name_is_another_one(stage: Stage) -> None:
    await stage.apply(daemon(placement=Placement(select={"disk": "fast"})))
    await stage.orchestrator.remove("agent")
    await trio.sleep(1)
    await stage.apply(daemon())
    assert len(stage.running("agent")) == 3
