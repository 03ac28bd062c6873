"""What people are told is what is the case."""

from __future__ import annotations

import trio
from attrs import evolve
from orchestrion.orchestrator_core import ChangeAction, WorkloadPhase
from orchestrion.shared_types import NodeStatus, Placement, Resources, RestartCondition, RestartPolicy

from .core_stage import NODE, Stage, container, daemon, service

NEVER = RestartPolicy(condition=RestartCondition.NEVER, jitter=0.0)


async def test_a_daemon_that_runs_nowhere_is_not_healthy(stage: Stage) -> None:
    await stage.apply(daemon("agent", "exit", "1", restart=NEVER))
    await stage.apply(daemon("big", containers=(container(resources=Resources(cpu_millicores=10**7)),)))
    for name in ("agent", "big"):
        view = await stage.view(name)
        assert view.phase is not WorkloadPhase.HEALTHY
        assert (view.replicas, view.available) == (3, 0)


async def test_a_daemon_is_healthy_without_the_nodes_that_it_may_not_run_on(stage: Stage) -> None:
    node = stage.cluster.get_node(NODE)
    assert node is not None
    stage.cluster.update_node(evolve(node, status=NodeStatus.READY, labels={**node.labels, "disk": "fast"}))
    await stage.settle()
    await stage.apply(daemon(placement=Placement(select={"disk": "fast"})))
    for _ in range(4):
        view = await stage.view("agent")
        assert (view.phase, view.replicas) == (WorkloadPhase.HEALTHY, 1)
        await trio.sleep(25)


async def test_what_was_rolled_back_is_tried_again_when_it_is_applied_again(stage: Stage) -> None:
    await stage.apply(service(replicas=2))
    await trio.sleep(5)
    bad = service("web", "exit", "1", replicas=2)
    await stage.apply(bad)
    await trio.sleep(60)
    assert (await stage.view("web")).reason == "rolled-back"
    (change,) = (await stage.orchestrator.apply([bad])).changes
    assert (change.action, change.generation, change.restarts) == (ChangeAction.UPDATE, 3, True)
    assert [difference.note for difference in change.differences] == ["it was rolled back, and is tried again"]
    await trio.sleep(60)
    view = await stage.view("web")
    assert (view.reason, view.generation, view.available) == ("rolled-back", 1, 2)
