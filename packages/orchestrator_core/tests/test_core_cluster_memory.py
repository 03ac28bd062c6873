"""A cluster loop and its world forget what has come and gone."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import pytest
import trio
from attrs import evolve
from orchestrion.orchestrator_core._queue import MAX_SUPERSEDED
from orchestrion.shared_types import NodeId, PortMapping, RestartPolicy, Retention, UpdateStrategy
from trio.testing import MockClock

from .core_stage import NODE, Stage, after, batch, container, daemon, service, staged

COUNT = 200
AT_ONCE = 40
BOUNDED = {
    "loop.store",
    "loop.cluster",
    "loop.scheduler",
    "loop.world._own_writes",
}
"""Not of the loop, or bounded in another way."""


def tables(part: Any, path: str = "loop") -> Iterator[tuple[str, int]]:
    """Iterate over the number of entries of every table of a cluster loop and of its parts."""
    for field in attrs.fields(type(part)):
        value, where = getattr(part, field.name), f"{path}.{field.name}"
        if where in BOUNDED or where.endswith(("_listeners", ".history", ".recorder")):
            continue
        if isinstance(value, dict | set | deque | list):
            yield where, len(value)
        elif type(value).__module__.startswith("orchestrion.orchestrator_core") and attrs.has(type(value)):
            yield from tables(value, where)


async def entries(stage: Stage) -> Mapping[str, int]:
    """Count once all is done that is to be done now: a pass over everything may be due at this very moment."""
    await stage.settle()
    orchestrator = stage.orchestrator
    orchestrator.cluster_loop.keeper.view()
    counts = dict(tables(orchestrator.cluster_loop))
    counts["loop.pending._waiting"] = len(orchestrator.cluster_loop.pending._waiting)  # no attrs class
    for where in [where for where in counts if where.endswith("queue._later")]:
        # A few superseded times stay until they come.
        assert counts.pop(where) <= 2 * counts[where.replace("_later", "_due")] + MAX_SUPERSEDED
    return {where: count for where, count in counts.items() if count}


async def come_and_go(stage: Stage, start: int) -> None:
    """Let workloads of each kind run, fail, find no place, and wait for others; then remove them all."""
    names = [f"w{n}" for n in range(start, start + AT_ONCE)]
    at_once = RestartPolicy(initial_delay_seconds=1, jitter=0.0)
    slow = UpdateStrategy(min_healthy_seconds=5)
    forms = (
        lambda name: service(name, update=slow),
        lambda name: service(name, containers=(container("main", ports=(PortMapping(name="http", host_port=80),)),)),
        lambda name: service(name, "exit", "1", restart=RestartPolicy(max_restarts=0, jitter=0.0)),
        lambda name: batch(name, "exit", "1", retries=1, deadline_seconds=600, restart=at_once),
        lambda name: service(name, after=after(names[0])),
    )
    await stage.apply(*(forms[n % len(forms)](name) for n, name in enumerate(names)))
    await trio.sleep(10)
    for name in reversed(names):
        await stage.orchestrator.remove(name)
    await trio.sleep(20)


@pytest.mark.slow
async def test_after_hundreds_of_workloads_nothing_of_them_is_remembered(autojump_clock: MockClock) -> None:
    async with staged(2) as stage:
        before = await entries(stage)
        assert len(list(tables(stage.orchestrator.cluster_loop))) > 20
        for start in range(0, COUNT, AT_ONCE):
            await come_and_go(stage, start)
        assert await stage.orchestrator.list_workloads() == []
        assert await entries(stage) == before


@pytest.mark.slow
async def test_after_hundreds_of_nodes_nothing_of_them_is_remembered(autojump_clock: MockClock) -> None:
    async with staged(1) as stage:
        await stage.apply(
            daemon(update=UpdateStrategy(min_healthy_seconds=1), retention=Retention(terminal_instances=0))
        )
        await trio.sleep(60)
        before = await entries(stage)
        template = stage.cluster.get_node(NODE)
        assert template is not None
        for start in range(0, COUNT, AT_ONCE):
            passing = [evolve(template, id=NodeId(f"passing-{n}")) for n in range(start, start + AT_ONCE)]
            for node in passing:
                stage.cluster.add_node(node)
            await trio.sleep(5)
            for node in passing:
                stage.cluster.remove_node(node.id)
            await trio.sleep(20)
        after_all = dict(await entries(stage))
        # The last ones to go are forgotten with the next node that goes.
        assert after_all.pop("loop.lost", 0) <= AT_ONCE
        assert after_all == before
