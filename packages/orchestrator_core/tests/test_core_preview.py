"""What `plan` says is what `apply` then does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import trio
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from orchestrion.orchestrator_core import ChangeAction
from orchestrion.scheduler_interface import SimpleScheduler
from orchestrion.shared_types import (
    NodeId,
    Placement,
    PortMapping,
    Resources,
    UpdateStrategy,
    WorkloadDefinition,
    WorkloadInstance,
    WorkloadKind,
)
from trio.testing import MockClock

from .core_stage import NODE, SECOND, Stage, after, batch, container, daemon, service

IN_PLACE = UpdateStrategy(max_surge=0, max_unavailable=1)

Where = list[tuple[str, NodeId]]


async def there(stage: Stage) -> dict[Any, WorkloadInstance]:
    """Return all instances that are remembered, by key."""
    return {instance.key: instance for instance in await stage.orchestrator.list_instances()}


async def foreseen_and_done(stage: Stage, workloads: Sequence[WorkloadDefinition]) -> tuple[Where, Where, list[str]]:
    """Plan and then apply; return where instances were to come, where they came, and what was to have no place."""
    before = await there(stage)
    planned = await stage.orchestrator.plan(workloads)
    assert await there(stage) == before
    result = await stage.orchestrator.apply(workloads)
    await trio.sleep(300)
    assert [(c.name, c.action, c.generation, c.restarts) for c in planned.changes] == [
        (c.name, c.action, c.generation, c.restarts) for c in result.changes
    ]
    came = [
        (instance.name.rpartition(".")[0], instance.binding.node_id)
        for key, instance in (await there(stage)).items()
        if key not in before and instance.binding.desired == "run"
    ]
    foreseen = [(one.instance, one.node_id) for one in planned.placements if one.node_id is not None]
    nowhere = sorted(one.instance for one in planned.placements if one.node_id is None)
    return sorted(foreseen), sorted(came), nowhere


async def use_the_plain_scheduler(stage: Stage) -> None:
    """Let a scheduler decide for which the ids of workloads do not matter: an apply gives them anew."""
    await stage.end()
    stage.scheduler = SimpleScheduler
    await stage.start()


def cores(stage: Stage, share: float) -> Resources:
    """Return a share of a node."""
    node = stage.cluster.get_node(NODE)
    assert node is not None
    return Resources(cpu_millicores=int(node.allocatable.cpu_millicores * share))


def wish(shares: Sequence[float]) -> st.SearchStrategy[dict[str, Any]]:
    """Draw what is wanted of a workload: numbers, the share of a node, and a word that makes a template of its own."""
    return st.fixed_dictionaries(
        {
            "kind": st.sampled_from(["service", "batch", "daemon"]),
            "count": st.integers(1, 5),
            "share": st.sampled_from(shares),
            "token": st.sampled_from(["one", "two"]),
            "surge": st.sampled_from([(1, 0), (0, 1), (2, 1)]),
        }
    )


def made(stage: Stage, name: str, wish: dict[str, Any]) -> WorkloadDefinition:
    """Return the workload that is wished for."""
    containers = (container("main", "run", "token", wish["token"], resources=cores(stage, wish["share"])),)
    surge, unavailable = wish["surge"]
    update = UpdateStrategy(max_surge=surge, max_unavailable=unavailable)
    match wish["kind"]:
        case "service":
            return service(name, replicas=wish["count"], containers=containers, update=update)
        case "batch":
            return batch(name, completions=wish["count"], containers=containers)
        case _:
            return daemon(name, containers=containers, update=update)


def coarse(where: Where) -> Where:
    """Return how many instances of each workload there are, and for daemons on which nodes."""
    return sorted((name.partition(".")[0], node_id if name.startswith("d") else NODE) for name, node_id in where)


async def check_foresight(applied: Sequence[Sequence[dict[str, Any]]], scale: int | None, kind: str | None) -> None:
    """Apply one list of wishes after the other; each workload keeps its name and kind."""
    async with trio.open_nursery() as nursery:
        stage = Stage.build(nursery)
        stage.scheduler = SimpleScheduler
        await stage.start()
        for wishes in applied:
            drawn = [one if kind is None else {**one, "kind": kind} for one in wishes]
            workloads = [made(stage, f"{one['kind'][0]}{place}", one) for place, one in enumerate(drawn)]
            foreseen, came, _ = await foreseen_and_done(stage, workloads)
            if wishes is not applied[0]:
                # Whether the next one starts or the last one ends first is a matter of moments, and decides which of
                # equal slots and nodes is taken.
                foreseen, came = coarse(foreseen), coarse(came)
            assert foreseen == came
            for workload in workloads:
                if scale is not None and workload.kind is WorkloadKind.SERVICE:
                    await stage.orchestrator.scale(workload.metadata.name, scale)
                    await trio.sleep(100)
        nursery.cancel_scope.cancel()


@pytest.mark.slow
@settings(deadline=None, max_examples=25)
@given(
    applied=st.lists(st.tuples(wish([0.1, 0.3, 0.5, 1.0])), min_size=1, max_size=3),
    scale=st.none() | st.integers(0, 4),
    kind=st.sampled_from(["service", "daemon", "batch"]),
)
def test_instances_of_a_workload_come_where_they_were_foreseen_however_little_room_there_is(
    applied: list[tuple[dict[str, Any]]], scale: int | None, kind: str
) -> None:
    trio.run(check_foresight, applied, scale, kind, clock=MockClock(autojump_threshold=0))


@pytest.mark.slow
@settings(deadline=None, max_examples=20)
@given(applied=st.lists(st.lists(wish([0.01]), min_size=1, max_size=4), min_size=1, max_size=2))
def test_instances_of_several_workloads_come_where_they_were_foreseen_where_there_is_room(
    applied: list[list[dict[str, Any]]],
) -> None:
    trio.run(check_foresight, applied, None, None, clock=MockClock(autojump_threshold=0))


async def test_what_scale_has_set_is_foreseen(stage: Stage) -> None:
    await stage.apply(service(replicas=2))
    await stage.orchestrator.scale("web", 4)
    await use_the_plain_scheduler(stage)
    foreseen, came, _ = await foreseen_and_done(stage, [service("web", "run", "token", "new", replicas=2)])
    assert coarse(foreseen) == coarse(came)
    assert len(foreseen) == 4


async def test_the_instances_of_what_was_stopped_are_foreseen(stage: Stage) -> None:
    await use_the_plain_scheduler(stage)
    await stage.apply(service(replicas=2))
    await stage.orchestrator.stop("web")
    await stage.settle()
    foreseen, came, _ = await foreseen_and_done(stage, [service(replicas=2)])
    assert foreseen == came
    assert [name for name, _ in foreseen] == ["web.0", "web.1"]


async def test_an_update_in_place_on_full_nodes_has_a_place(stage: Stage) -> None:
    await use_the_plain_scheduler(stage)
    whole = cores(stage, 1.0)

    def full(token: str) -> WorkloadDefinition:
        one = container("main", "run", "token", token, resources=whole)
        return service(replicas=3, containers=(one,), update=IN_PLACE)

    await stage.apply(full("old"))
    foreseen, came, nowhere = await foreseen_and_done(stage, [full("new")])
    assert coarse(foreseen) == coarse(came)
    assert (len(foreseen), nowhere) == (3, [])


async def test_a_daemon_is_foreseen_on_each_node_where_it_may_run_and_told_where_room_lacks(stage: Stage) -> None:
    await use_the_plain_scheduler(stage)
    for node_id, labels in ((NODE, {"disk": "fast"}), (SECOND, {"disk": "fast", "full": "yes"})):
        node = stage.cluster.get_node(node_id)
        assert node is not None
        stage.cluster.update_node(evolve(node, labels=labels))
    await stage.settle()
    whole = container(resources=cores(stage, 1.0))
    await stage.apply(service(containers=(whole,), placement=Placement(select={"full": "yes"})))
    small = container(resources=cores(stage, 0.1), ports=(PortMapping(name="p", host_port=9100),))
    agent = daemon(containers=(small,), placement=Placement(select={"disk": "fast"}))
    planned = await stage.orchestrator.plan([agent])
    assert [(one.instance, one.node_id) for one in planned.placements] == [("agent.0", NODE), ("agent.1", None)]
    assert planned.placements[1].text.startswith("not on node node-00001: cpu short by")


async def test_what_comes_after_batch_work_is_foreseen_once_that_has_succeeded(stage: Stage) -> None:
    await use_the_plain_scheduler(stage)
    whole = cores(stage, 1.0)
    train = batch("train", completions=3, containers=(container("main", "exit", "0", "after", "5s", resources=whole),))
    serve = service("serve", replicas=3, containers=(container(resources=whole),), after=after("train"))
    foreseen, came, nowhere = await foreseen_and_done(stage, [train, serve])
    assert foreseen == came
    assert nowhere == []


async def test_what_waits_for_others_that_are_not_applied_is_noted(stage: Stage) -> None:
    await stage.apply(batch("train", "run"))
    planned = await stage.orchestrator.plan([service(after=after("train"))])
    assert planned.placements == ()
    assert planned.changes[0].note == "waits for train succeeded"


async def test_an_apply_of_the_same_has_nothing_to_foresee(stage: Stage) -> None:
    whole = container(resources=cores(stage, 1.0))
    await stage.apply(service(replicas=5, containers=(whole,)))
    planned = await stage.orchestrator.plan([service(replicas=5, containers=(whole,))])
    assert (planned.changes[0].action, planned.placements) == (ChangeAction.UNCHANGED, ())
