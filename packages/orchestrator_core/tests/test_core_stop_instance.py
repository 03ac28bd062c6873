"""One instance is stopped because somebody wants it so; its workload replaces it."""

from __future__ import annotations

import pytest
import trio
from orchestrion.orchestrator_core import WorkloadPhase
from orchestrion.shared_types import (
    Disruption,
    InstanceNotFound,
    InstanceState,
    PreconditionFailed,
)

from .core_stage import Stage, batch, daemon, service


async def names(stage: Stage) -> list[str]:
    """Return the instances that have not ended and are to run."""
    return [one.name for one in await stage.instances() if one.status.state is InstanceState.RUNNING]


async def state_of(stage: Stage, name: str) -> tuple[InstanceState, str]:
    for one in await stage.orchestrator.list_instances():
        if one.name == name:
            return one.status.state, one.status.reason
    raise AssertionError(name)


async def test_an_instance_of_a_service_stops_with_its_grace_and_is_replaced(stage: Stage) -> None:
    await stage.apply(service("web", "run", "ignore-term", replicas=2))
    await stage.orchestrator.stop_instance("web.0.1")
    await stage.settle()
    assert (await state_of(stage, "web.0.1"))[0] is InstanceState.TERMINATING
    await trio.sleep(60)
    assert await state_of(stage, "web.0.1") == (InstanceState.SUCCEEDED, "stopped")
    assert len(await names(stage)) == 2
    assert "web.0.1" not in await names(stage)
    view = await stage.view("web")
    assert (view.phase, view.failed) == (WorkloadPhase.HEALTHY, 0)
    told = await stage.orchestrator.events(subject="instance/web.0.1")
    assert [event.message for event in told if event.reason == "Stopping"] == ["it stops: it was deleted"]


async def test_an_index_of_batch_work_is_done_again_and_no_retry_is_used_up(stage: Stage) -> None:
    await stage.apply(batch("job", "run", completions=2, retries=0))
    await stage.orchestrator.stop_instance("job.1")
    await trio.sleep(60)
    assert sorted(await names(stage)) == ["job.0.1", "job.1.2"]
    assert (await stage.view("job")).phase is WorkloadPhase.RUNNING


async def test_an_instance_of_a_daemon_comes_back_on_its_node(stage: Stage) -> None:
    await stage.apply(daemon("agent"))
    before = {one.binding.node_id for one in await stage.instances()}
    name = (await names(stage))[0]
    await stage.orchestrator.stop_instance(name)
    await trio.sleep(60)
    assert name not in await names(stage)
    assert {one.binding.node_id for one in await stage.instances()} == before


async def test_a_disruption_budget_does_not_hold_it_up(stage: Stage) -> None:
    await stage.apply(service("web", replicas=2, disruption=Disruption(max_unavailable=0)))
    await stage.orchestrator.stop_instance("web.0.1")
    await trio.sleep(60)
    assert "web.0.1" not in await names(stage)


async def test_what_stops_or_has_ended_is_left_as_it_is(stage: Stage) -> None:
    await stage.apply(service("web", "run", "ignore-term"), batch("job", "exit", "0"))
    await trio.sleep(1)
    await stage.orchestrator.stop_instance("web.0.1")
    await stage.settle()
    revision = stage.state.revision
    await stage.orchestrator.stop_instance("web.0.1")
    await stage.orchestrator.stop_instance("job.0.1")
    assert stage.state.revision == revision


@pytest.mark.parametrize("name", ["web.7", "web.0.9", "nothing.0", "web", "a.b.c"])
async def test_what_is_not_there_is_not_found(stage: Stage, name: str) -> None:
    await stage.apply(service())
    revision = stage.state.revision
    with pytest.raises(InstanceNotFound):
        await stage.orchestrator.stop_instance(name)
    assert stage.state.revision == revision


async def test_one_that_has_changed_since_is_left(stage: Stage) -> None:
    await stage.apply(service())
    with pytest.raises(PreconditionFailed):
        await stage.orchestrator.stop_instance("web.0.1", expected=1)
    record = next(iter(stage.orchestrator.world.instances.values()))
    await stage.orchestrator.stop_instance("web.0.1", expected=max(record.binding_revision, record.status_revision))
    await trio.sleep(60)
    assert "web.0.1" not in await names(stage)


async def test_an_order_to_stop_outlives_a_crash(stage: Stage) -> None:
    await stage.apply(service("web", "run", "ignore-term"))
    await stage.orchestrator.stop_instance("web.0.1")
    await stage.restart()
    await trio.sleep(60)
    assert await names(stage) == ["web.1.1"]
