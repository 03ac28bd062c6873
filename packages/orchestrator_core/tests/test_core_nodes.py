"""Nodes that are lost, come back, are drained, join and leave."""

from __future__ import annotations

from datetime import timedelta

import trio
from attrs import evolve
from orchestrion.mocks import mock_nodes
from orchestrion.orchestrator_core import WorkloadPhase, trio_time
from orchestrion.shared_types import InstanceState, NodeId, UpdateStrategy

from .core_stage import NODE, SECOND, THIRD, Stage, batch, container, daemon, service


async def test_what_ran_on_a_lost_node_is_replaced_with_a_higher_epoch_after_lease_and_skew(stage: Stage) -> None:
    await stage.apply(service())
    (node_id,) = stage.where("web")
    stage.down(node_id)
    await trio.sleep(9)
    assert stage.running() == []
    await trio.sleep(6)
    (replacement,) = stage.running()
    assert replacement.options.instance.epoch == 2
    assert replacement.options.node_id != node_id
    assert (await stage.instance("web.0.1")).status.state is InstanceState.LOST
    assert "Lost" in await stage.event_reasons("instance/web.0.1")


async def test_the_old_epoch_is_stopped_when_a_lost_node_comes_back(stage: Stage) -> None:
    await stage.apply(service())
    (node_id,) = stage.where("web")
    stage.down(node_id, killed=False)
    await trio.sleep(20)
    assert stage.slots("web") == [(0, 1), (0, 2)]
    stage.back(node_id)
    await trio.sleep(1)
    assert stage.slots("web") == [(0, 2)]
    assert (await stage.instance("web.0.1")).status.state is InstanceState.LOST


async def test_a_node_that_comes_back_before_its_lease_ends_keeps_what_it_runs(stage: Stage) -> None:
    await stage.apply(service())
    before = stage.ids()
    (node_id,) = stage.where("web")
    stage.down(node_id, killed=False)
    await trio.sleep(6)
    stage.back(node_id)
    await trio.sleep(60)
    assert stage.ids() == before


async def test_nothing_is_lost_while_the_orchestrator_is_away(stage: Stage) -> None:
    await stage.apply(service(replicas=3))
    before = stage.ids()
    await stage.end()
    await trio.sleep(3600)
    await stage.start()
    await trio.sleep(60)
    assert stage.ids() == before
    assert len(stage.containers.start_records) == 3


async def test_what_ended_while_the_orchestrator_was_away_is_noticed(stage: Stage) -> None:
    await stage.apply(batch("job", "exit", "0", "after", "1m"))
    await stage.end()
    await trio.sleep(120)
    await stage.start()
    await stage.settle()
    assert (await stage.view("job")).phase is WorkloadPhase.SUCCEEDED
    assert len(stage.containers.start_records) == 1


async def test_draining_a_node_starts_replacements_before_it_stops_what_runs(stage: Stage) -> None:
    strategy = UpdateStrategy(min_healthy_seconds=5)
    await stage.apply(service(update=strategy))
    await trio.sleep(10)
    (node_id,) = stage.where("web")
    await stage.orchestrator.drain_node(node_id, reason="new kernel")
    await trio.sleep(3)
    assert stage.slots("web") == [(0, 1), (1, 1)]
    await trio.sleep(4)
    assert stage.slots("web") == [(1, 1)]
    assert node_id not in stage.where("web")


async def test_without_a_deadline_a_drained_instance_without_a_replacement_stays(stage: Stage) -> None:
    await stage.apply(service())
    for node_id in (NODE, SECOND, THIRD):
        await stage.orchestrator.drain_node(node_id, reason="move")
    await trio.sleep(3600)
    assert stage.slots("web") == [(0, 1)]


async def test_at_its_deadline_a_drained_instance_is_stopped_without_a_replacement(stage: Stage) -> None:
    await stage.apply(service())
    deadline = trio_time() + timedelta(seconds=100)
    for node_id in (NODE, SECOND, THIRD):
        await stage.orchestrator.drain_node(node_id, reason="move", deadline=deadline)
    await trio.sleep(99)
    assert stage.slots("web") == [(0, 1)]
    await trio.sleep(2)
    assert stage.running() == []
    await stage.orchestrator.uncordon_node(NODE)
    await stage.settle()
    assert stage.slots("web") == [(0, 2)]


async def test_a_batch_instance_on_a_drained_node_may_finish_until_the_deadline(stage: Stage) -> None:
    await stage.apply(batch("job", "exit", "0", "after", "50s"), batch("long", "exit", "0", "after", "5m"))
    for node_id in set(stage.where("job") + stage.where("long")):
        await stage.orchestrator.drain_node(node_id, reason="move", deadline=trio_time() + timedelta(seconds=60))
    await trio.sleep(59)
    assert (await stage.view("job")).phase is WorkloadPhase.SUCCEEDED
    await trio.sleep(2)
    assert [start.instance.epoch for start in stage.containers.start_records] == [1, 1, 2]
    await trio.sleep(400)
    assert (await stage.view("long")).phase is WorkloadPhase.SUCCEEDED


async def test_a_cordoned_node_takes_nothing_new_and_keeps_what_runs(stage: Stage) -> None:
    await stage.apply(service("a", replicas=1))
    (node_id,) = stage.where("a")
    for other in {NODE, SECOND, THIRD} - {node_id}:
        await stage.orchestrator.cordon_node(other)
    await stage.apply(service("b", replicas=4))
    assert set(stage.where("b")) == {node_id}
    await stage.orchestrator.uncordon_node(SECOND)
    await stage.orchestrator.cordon_node(node_id)
    await stage.orchestrator.scale("b", 5)
    await stage.settle()
    assert stage.where("a") == [node_id]


async def test_a_daemon_runs_on_every_node_and_on_those_that_join(stage: Stage) -> None:
    await stage.apply(daemon())
    assert stage.where("agent") == [NODE, SECOND, THIRD]
    stage.cluster.add_node(mock_nodes(4)[3])
    await stage.settle()
    assert stage.where("agent") == [NODE, SECOND, THIRD, NodeId("node-00003")]
    view = await stage.view("agent")
    assert (view.phase, view.replicas, view.available) == (WorkloadPhase.HEALTHY, 4, 4)


async def test_a_daemon_leaves_a_node_that_is_drained_and_returns(stage: Stage) -> None:
    await stage.apply(daemon())
    await stage.orchestrator.drain_node(SECOND, reason="move")
    await stage.settle()
    assert stage.where("agent") == [NODE, THIRD]
    await stage.orchestrator.uncordon_node(SECOND)
    await stage.settle()
    assert stage.where("agent") == [NODE, SECOND, THIRD]


async def test_a_daemon_is_updated_a_few_nodes_at_a_time(stage: Stage) -> None:
    strategy = UpdateStrategy(max_surge=0, max_unavailable=1, min_healthy_seconds=10)
    await stage.apply(daemon(update=strategy))
    await trio.sleep(20)
    await stage.apply(evolve(daemon(update=strategy), containers=(container("main", "run", "token", "new"),)))
    await trio.sleep(5)
    assert [running.behaviour.token for running in stage.running()].count("new") == 1
    await trio.sleep(60)
    assert [running.behaviour.token for running in stage.running()] == ["new"] * 3
    assert stage.where("agent") == [NODE, SECOND, THIRD]


async def test_a_daemon_that_fails_on_a_node_is_replaced_there(stage: Stage) -> None:
    await stage.apply(daemon())
    stage.containers.vanish(stage.ids()[0])
    await trio.sleep(60)
    assert stage.where("agent") == [NODE, SECOND, THIRD]


async def test_a_node_that_leaves_the_cluster_for_good_loses_its_instances(stage: Stage) -> None:
    await stage.apply(service(), daemon())
    (node_id,) = stage.where("web")
    stage.containers.kill_node(node_id)
    stage.cluster.remove_node(node_id)
    await trio.sleep(20)
    assert stage.slots("web") == [(0, 2)]
    assert len(stage.running("agent")) == 2
