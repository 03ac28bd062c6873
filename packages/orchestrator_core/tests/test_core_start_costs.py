"""What a start costs: calls to the runtime, plans and writes are bounded by what is started."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from orchestrion.mocks import MockRuntime
from orchestrion.orchestrator_core._node.loop import NodeLoop
from orchestrion.orchestrator_core._node.plan import InstanceFacts, InstancePlan, plan_instance
from orchestrion.runtime_interface import ContainerHint, CreateOptions, RuntimeCapability
from orchestrion.shared_types import ContainerConfig, ContainerId, ContainerStatus, NodeId, WorkloadDefinition

from .core_stage import Stage, batch, container, service

COUNT = Counter[str]()


class _Counting(MockRuntime):
    """A runtime that counts the calls."""

    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        COUNT["creations"] += 1
        return await super().create_container(config, options)

    async def get_container_status(self, container_id: ContainerId, /) -> ContainerStatus:
        COUNT["questions"] += 1
        return await super().get_container_status(container_id)


class _Silent(_Counting):
    """A runtime that announces nothing."""

    @property
    def capabilities(self) -> frozenset[RuntimeCapability]:
        return super().capabilities - {RuntimeCapability.EVENTS}


async def _count(stage: Stage, monkeypatch: pytest.MonkeyPatch, runtime: type[MockRuntime]) -> None:
    def counted(facts: InstanceFacts) -> InstancePlan:
        COUNT["plans"] += 1
        return plan_instance(facts)

    monkeypatch.setattr(f"{NodeLoop.__module__}.plan_instance", counted)
    await stage.end()
    stage.runtime_class = runtime
    await stage.start()
    COUNT.clear()


@pytest.mark.parametrize("runtime", [_Counting, _Silent])
async def test_a_start_takes_one_question_and_two_plans(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, runtime: type[MockRuntime]
) -> None:
    await _count(stage, monkeypatch, runtime)
    began = trio.current_time()
    await stage.apply(service(replicas=30))
    assert len(stage.running("web")) == 30
    # One says what is to be started, the other what has become of that.
    assert COUNT == {"creations": 30, "questions": 30, "plans": 60}
    assert trio.current_time() == began


async def test_a_container_beside_others_takes_one_question_more(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    await _count(stage, monkeypatch, _Counting)
    await stage.apply(service(replicas=10, containers=(container("a"), container("b"), container("c"))))
    assert COUNT == {"creations": 30, "questions": 30, "plans": 20}


@pytest.mark.parametrize(
    "job",
    [
        batch("job", "exit", "0", "after", "1s", completions=30),
        pytest.param(batch("job", completions=30), id="ended at once"),
    ],
)
async def test_a_run_to_its_end_takes_two_questions_and_three_plans_at_most(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, job: WorkloadDefinition
) -> None:
    await _count(stage, monkeypatch, _Counting)
    await stage.apply(job)
    await trio.sleep(5)
    assert (await stage.view("job")).succeeded == 30
    assert COUNT["creations"] == 30
    assert COUNT["questions"] <= 60
    assert COUNT["plans"] <= 90


class _Mute(_Counting):
    """A runtime that says that it announces, and does not."""

    @asynccontextmanager
    async def watch_containers(self, node_id: NodeId, /) -> AsyncIterator[AsyncIterator[ContainerHint]]:
        async with super().watch_containers(node_id):
            send, receive = trio.open_memory_channel[ContainerHint](0)
            with send:
                yield receive.__aiter__()


async def test_what_is_announced_too_late_is_not_waited_for(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    await _count(stage, monkeypatch, _Mute)
    began = trio.current_time()
    await stage.orchestrator.apply([service(replicas=30)])
    await trio.sleep(0.2)
    assert len(stage.running("web")) == 30
    assert COUNT["questions"] == 30
    assert (await stage.view("web")).available == 30
    assert trio.current_time() - began < 1
