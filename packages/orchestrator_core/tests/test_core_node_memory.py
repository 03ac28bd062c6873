"""A node loop forgets what has come and gone."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import attrs
import pytest
import trio
from orchestrion.orchestrator_core._node.loop import NodeLoop
from orchestrion.orchestrator_core._node.ports import PortTable
from orchestrion.orchestrator_core._state.records import InstanceName, binding_key
from orchestrion.shared_types import (
    HealthCheck,
    PortMapping,
    Protocol,
    RestartPolicy,
    Retention,
    TcpProbe,
    UpdateStrategy,
)
from trio.testing import MockClock

from .core_stage import NODE, SECOND, Stage, batch, container, service, staged

PARTS = ("orchestrion.orchestrator_core._node", "orchestrion.orchestrator_core._queue")


def tables(part: Any, path: str = "loop") -> Iterator[tuple[str, int]]:
    """Iterate over the number of entries of every table of a node loop and of its parts."""
    for field in attrs.fields(type(part)):
        value = getattr(part, field.name)
        where = f"{path}.{field.name}"
        if isinstance(value, dict | set | deque | list):
            yield where, len(value)
        elif type(value).__module__.startswith(PARTS) and attrs.has(type(value)):
            yield from tables(value, where)


def entries(loop: NodeLoop) -> Mapping[str, int]:
    # Ports that were released rest for a while; others are leased meanwhile.
    return {where: count for where, count in tables(loop) if count and not where.endswith("._resting")}


@pytest.mark.slow
async def test_after_a_thousand_instances_nothing_of_them_is_remembered(autojump_clock: MockClock) -> None:
    async with staged(1) as stage:
        loop = stage.orchestrator.node_loops[NODE]
        before = entries(loop)
        assert len(list(tables(loop))) > 20
        gone = Retention(terminal_instances=0, attempts=0)
        ports = (PortMapping(name="http"),)
        done = (container("main", "exit", "0"),)
        once = RestartPolicy(max_restarts=1, initial_delay_seconds=0.01, jitter=0.0)
        await stage.apply(batch(completions=990, parallelism=40, containers=done, retention=gone))
        sick = HealthCheck(probe=TcpProbe(port="http"), interval_seconds=1, unhealthy_threshold=1)
        stage.prober.sick = lambda _container: True
        checked = (container("main", ports=ports, health=sick),)
        strategy = UpdateStrategy(rollback=False)
        await stage.apply(service(replicas=5, containers=checked, retention=gone, update=strategy, restart=once))
        await trio.sleep(100)
        for container_id in stage.ids():
            stage.containers.vanish(container_id)
        await trio.sleep(10)
        started = {record.instance for record in stage.containers.start_records}
        assert len(started) >= 1000
        for name in ("job", "web"):
            await stage.orchestrator.remove(name)
        await trio.sleep(120)
        assert stage.orchestrator.world.workloads == {}
        assert entries(loop) == before
        assert [owner for owner in loop.deadlines._ends if isinstance(owner, InstanceName)] == []


async def test_a_node_that_left_is_forgotten_with_its_loop(stage: Stage) -> None:
    await stage.apply(service(replicas=3))
    stage.containers.kill_node(SECOND)
    stage.cluster.remove_node(SECOND)
    await trio.sleep(120)
    orchestrator = stage.orchestrator
    assert SECOND not in orchestrator.node_loops
    assert SECOND not in orchestrator._nodes._scopes
    assert orchestrator._nodes._leaving == {}
    assert [node.id for node in await orchestrator.list_nodes()] == [node.id for node in stage.cluster.list_nodes()]


async def test_ports_that_have_rested_are_forgotten(autojump_clock: MockClock) -> None:
    ports = PortTable(range(20_000, 20_100), probe=lambda _protocol, _port: True)
    for owner in range(50):
        ports.lease(owner, Protocol.TCP)
    for owner in range(49):
        ports.release(owner)
    await trio.sleep(timedelta(minutes=1).total_seconds())
    ports.release(49)
    assert len(ports._resting) == 1


async def test_what_is_left_of_a_workload_that_was_made_anew_unseen_is_removed(stage: Stage) -> None:
    await stage.apply(service())
    ((name, record),) = stage.orchestrator.world.instances.items()
    assert record.bound is not None
    former = record.key
    # A node whose watch was held up sees neither the end of the one nor that of its binding, but the other's at once.
    anew = attrs.evolve(record.bound, workload_id=stage.uid())
    await stage.orchestrator.store.transaction((), [stage.orchestrator.world.put(binding_key(name), anew)])
    await trio.sleep(60)
    left = [each for each in stage.containers.containers.values() if each.options.instance == former]
    assert left == []
