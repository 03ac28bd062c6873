"""What people are told is what is the case."""

from __future__ import annotations

import trio
from attrs import evolve
from orchestrion.orchestrator_core import ChangeAction, WorkloadPhase
from orchestrion.shared_types import NodeStatus, Placement, Resources, RestartCondition, RestartPolicy

from .core_stage import NODE, SECOND, THIRD, Stage, container, daemon, service

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


async def test_a_daemon_is_told_why_it_is_not_on_a_node(stage: Stage) -> None:
    for node_id, labels in ((NODE, {"disk": "fast", "old": "yes"}), (SECOND, {}), (THIRD, {"disk": "fast"})):
        node = stage.cluster.get_node(node_id)
        assert node is not None
        stage.cluster.update_node(evolve(node, labels=labels))
    await stage.settle()
    node = stage.cluster.get_node(NODE)
    assert node is not None
    whole = container(resources=Resources(cpu_millicores=node.allocatable.cpu_millicores))
    await stage.apply(service(containers=(whole,), placement=Placement(select={"old": "yes"})))
    small = container(resources=Resources(cpu_millicores=1000))
    await stage.apply(daemon(containers=(small,), placement=Placement(select={"disk": "fast"})))
    placed, *refused = await stage.orchestrator.explain("agent")
    assert (placed.instance, placed.node_id) == ("agent.2.1", THIRD)
    assert [(one.instance, one.node_id, one.text) for one in refused] == [
        ("agent.0", None, "not on node node-00000: cpu short by 1 core at best"),
        ("agent.1", None, "not on node node-00001: not disk=fast"),
    ]
    view = await stage.view("agent")
    assert (view.phase, view.reason, view.replicas, view.available) == (WorkloadPhase.PENDING, "unplaceable", 2, 1)
    assert await stage.event_reasons("workload/agent") == ["Created", "Unplaceable"]
    await stage.orchestrator.remove("web")
    await trio.sleep(5)
    assert stage.where("agent") == [NODE, THIRD]
    assert len(await stage.orchestrator.explain("agent")) == 3
