"""Placing: what holds a place, and what a placement depends on."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
import trio
from attrs import evolve
from orchestrion.mocks import CursorScheduler, MemoryStore
from orchestrion.orchestrator_core import Unschedulable, WorkloadPhase, trio_time
from orchestrion.orchestrator_core._clock import Deadlines
from orchestrion.orchestrator_core._cluster.workload_plan import plan_workload
from orchestrion.orchestrator_core._state.facts import Facts
from orchestrion.orchestrator_core._state.records import BindingRecord, InstanceName, WorkloadName, WorkloadSpec
from orchestrion.orchestrator_core._state.world import InstanceRecord, WorkloadRecord
from orchestrion.scheduler_interface import ClusterView, ScheduleDecision, SchedulingRequest
from orchestrion.shared_types import Binding, NodeId, Placement, Resources, Uid
from orchestrion.store_interface import Compare, Operation, Revision

from .core_stage import NODE, SECOND, Stage, batch, container, service


class _SlowToReply(MemoryStore):
    """A store that answers late that a binding is written."""

    async def transaction(self, compares: Sequence[Compare], operations: Sequence[Operation], /) -> Revision:
        revision = await super().transaction(compares, operations)
        if any(operation.key.endswith("/binding") for operation in operations):
            await trio.sleep(0.5)
        return revision


async def test_what_ends_before_its_binding_is_known_to_be_written_holds_no_place_for_ever(stage: Stage) -> None:
    await stage.end()
    stage.store_class = _SlowToReply
    await stage.start()
    node = stage.cluster.get_node(NODE)
    assert node is not None
    whole = Resources(cpu_millicores=node.allocatable.cpu_millicores)
    await stage.apply(batch(completions=3, containers=(container("main", "exit", "0", resources=whole),)))
    await trio.sleep(10)
    assert (await stage.view("job")).phase is WorkloadPhase.SUCCEEDED
    assert [view.reserved.cpu_millicores for view in stage.orchestrator.cluster_loop.keeper.view()] == [0, 0, 0]


class _Pondering(CursorScheduler):
    """A scheduler that takes nine seconds."""

    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> list[ScheduleDecision]:
        await trio.sleep(9)
        return await super().schedule(request, view)


async def _let_the_scheduler_ponder(stage: Stage) -> None:
    await stage.end()
    stage.scheduler = _Pondering
    await stage.start()


async def test_a_change_while_the_scheduler_decides_voids_the_decision(stage: Stage) -> None:
    await _let_the_scheduler_ponder(stage)
    await stage.orchestrator.apply([batch("job", "exit", "0", "token", "old")])
    await trio.sleep(5)
    await stage.orchestrator.apply([batch("job", "exit", "0", "token", "new")])
    await trio.sleep(60)
    assert [instance.binding.generation for instance in await stage.orchestrator.list_instances()] == [2]


async def test_a_stop_while_the_scheduler_decides_voids_the_decision(stage: Stage) -> None:
    await _let_the_scheduler_ponder(stage)
    await stage.orchestrator.apply([service()])
    await trio.sleep(5)
    await stage.orchestrator.stop("web")
    await trio.sleep(60)
    assert await stage.orchestrator.list_instances() == []


async def test_a_node_that_comes_is_seen_by_the_next_apply(stage: Stage) -> None:
    stage.orchestrator.refuse_impossible = True
    zoned = service(placement=Placement(select={"zone": "a"}))
    with pytest.raises(Unschedulable):
        await stage.orchestrator.apply([zoned])
    node = stage.cluster.get_node(NODE)
    assert node is not None
    stage.cluster.add_node(evolve(node, id=NodeId("node-zoned"), labels={**node.labels, "zone": "a"}))
    await stage.settle()
    await stage.apply(zoned)
    assert stage.where("web") == ["node-zoned"]


@pytest.mark.slow
async def test_losing_half_of_a_large_cluster_is_planned_in_no_time() -> None:
    """What would take a step for each pair of instances would take minutes."""
    facts = Facts({}, set(), {NODE}, {}, Deadlines(trio_time))
    name = WorkloadName("default", "web")
    definition = service(replicas=30_000)
    record = WorkloadRecord(name, spec=WorkloadSpec(definition=definition, template_generation=1))
    record.templates[1] = definition
    for slot in range(30_000):
        binding = Binding(node_id=NODE if slot % 2 else SECOND, generation=1)
        instance = InstanceName("default", "web", slot, 1)
        record.note(InstanceRecord(instance, BindingRecord(workload_id=Uid("u"), binding=binding)))
    began = time.process_time()
    plan = plan_workload(record, facts)
    assert time.process_time() - began < 2
    assert len(plan.lose) == len(plan.place) == 15_000


class _Counting(CursorScheduler):
    """A scheduler that counts the slots that it is asked for."""

    slots = 0

    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> list[ScheduleDecision]:
        _Counting.slots += len(request.slots)
        return await super().schedule(request, view)


async def test_a_free_place_costs_no_question_for_each_of_those_who_wait(stage: Stage) -> None:
    await stage.end()
    stage.scheduler = lambda: _Counting()
    await stage.start()
    node = stage.cluster.get_node(NODE)
    assert node is not None
    whole = Resources(cpu_millicores=node.allocatable.cpu_millicores)
    one = container("main", "exit", "0", "after", "1s", resources=whole)
    await stage.apply(batch(completions=600, containers=(one,)))
    assert "597 instances have no place" in (await stage.view("job")).message
    asked = _Counting.slots
    await trio.sleep(10.5)
    done = (await stage.view("job")).succeeded
    assert done >= 24
    assert _Counting.slots - asked <= 2 * 60 * (done + 3)
