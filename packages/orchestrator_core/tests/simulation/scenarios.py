"""What an orchestrator is asked to do while it crashes."""

from __future__ import annotations

from typing import Final

from attrs import evolve
from orchestrion.orchestrator_core import Orchestrator
from orchestrion.shared_types import (
    ContainerConfig,
    Gang,
    Metadata,
    NodeId,
    NodeStatus,
    Placement,
    PortMapping,
    Resources,
    RestartPolicy,
    Toleration,
    UpdateStrategy,
    Volume,
    VolumeMount,
    VolumeScope,
    WorkloadDefinition,
    WorkloadKind,
)

from .crash_points import Scenario, Stage
from .workloads import BROKEN


def _web(*, replicas: int = 2, command: tuple[str, ...] = ("run",)) -> WorkloadDefinition:
    first = ContainerConfig(
        name="server",
        command=command,
        ports=(PortMapping(name="http"),),
        volumes=(VolumeMount(volume="scratch"),),
        resources=Resources(cpu_millicores=100),
        stop_grace_seconds=1.0,
    )
    return WorkloadDefinition(
        metadata=Metadata(name="web"),
        containers=(first, ContainerConfig(name="helper", command=("run",), stop_grace_seconds=1.0)),
        volumes=(Volume(name="scratch", scope=VolumeScope.INSTANCE),),
        replicas=replicas,
        restart=RestartPolicy(initial_delay_seconds=0.2, max_delay_seconds=1.0),
        update=UpdateStrategy(max_surge=1, max_unavailable=0, progress_deadline_seconds=20.0),
    )


_JOB: Final = WorkloadDefinition(
    metadata=Metadata(name="flaky-job"),
    kind=WorkloadKind.BATCH,
    containers=(ContainerConfig(name="worker", command=("exit", "0", "after", "2s")),),
    completions=3,
    parallelism=2,
    retries=5,
    restart=RestartPolicy(initial_delay_seconds=0.2, max_delay_seconds=1.0),
)


async def _nothing(stage: Stage) -> None:
    del stage


async def _deploy(stage: Stage) -> None:
    await stage.ask(lambda o: o.apply([_web()]))


async def _scale(stage: Stage) -> None:
    await stage.ask(lambda o: o.scale("web", 3))
    await stage.settle()
    await stage.ask(lambda o: o.scale("web", 1))


async def _update(stage: Stage) -> None:
    await stage.ask(lambda o: o.apply([_web(command=("run", "trap", "0"))]))


async def _break(stage: Stage) -> None:
    await stage.ask(lambda o: o.apply([_web(command=("exit", "1"))]))


async def _lose_node(stage: Stage) -> None:
    node_id = NodeId("node-0")
    stage.world.containers.kill_node(node_id)
    stage.world.cluster.set_status(node_id, NodeStatus.DOWN)
    await stage.settle()
    stage.world.containers.heal(node_id)
    stage.world.cluster.set_status(node_id, NodeStatus.READY)


async def _drain(stage: Stage) -> None:
    await stage.ask(lambda o: o.drain_node(NodeId("node-0"), reason="repair"))


async def _deploy_tolerant(stage: Stage) -> None:
    placement = Placement(tolerations=(Toleration(key=BROKEN.key, seconds=5.0),))
    await stage.ask(lambda o: o.apply([evolve(_web(replicas=3), placement=placement)]))


async def _taint(stage: Stage) -> None:
    node = stage.world.cluster.get_node(NodeId("node-0"))
    assert node is not None
    stage.world.cluster.update_node(evolve(node, taints=(BROKEN,)))


async def _run_batch(stage: Stage) -> None:
    await stage.ask(lambda o: o.apply([_JOB]))


async def _remove(stage: Stage) -> None:
    """Remove it; a repeat after a crash finds it gone, which is as good."""
    stage.world.trace.add("remove")

    async def remove(orchestrator: Orchestrator) -> None:
        if any(view.definition.metadata.name == "web" for view in await orchestrator.list_workloads()):
            await orchestrator.remove("web")

    await stage.ask(remove)


def _service(name: str, priority: int, cores: int, replicas: int) -> WorkloadDefinition:
    return WorkloadDefinition(
        metadata=Metadata(name=name),
        containers=(
            ContainerConfig(
                name="server",
                command=("run",),
                resources=Resources(cpu_millicores=1000 * cores),
                stop_grace_seconds=1.0,
            ),
        ),
        replicas=replicas,
        priority=priority,
        restart=RestartPolicy(initial_delay_seconds=0.2, max_delay_seconds=1.0),
    )


async def _fill(stage: Stage) -> None:
    await stage.ask(lambda o: o.apply([_service("low", 0, 2, 4)]))


async def _preempt(stage: Stage) -> None:
    await stage.ask(lambda o: o.apply([_service("high", 10, 3, 1)]))


async def _gang(stage: Stage) -> None:
    await stage.ask(lambda o: o.apply([evolve(_service("high", 10, 3, 2), gang=Gang())]))


async def _gang_work(stage: Stage) -> None:
    await stage.ask(lambda o: o.apply([evolve(_JOB, parallelism=None, gang=Gang(minimum=2))]))


def _careful(word: str) -> WorkloadDefinition:
    definition = _service("web", 0, 1, 2)
    container = evolve(definition.containers[0], command=("run", "token", word))
    return evolve(definition, containers=(container,), update=UpdateStrategy(canary=1, progress_deadline_seconds=20.0))


async def _deploy_careful(stage: Stage) -> None:
    await stage.ask(lambda o: o.apply([_careful("old")]))


async def _update_careful(stage: Stage) -> None:
    await stage.ask(lambda o: o.apply([_careful("new")]))


async def _try_out(stage: Stage) -> None:
    await _deploy_careful(stage)
    await stage.settle()
    await _update_careful(stage)


SCENARIOS: Final = (
    Scenario("deploy", _nothing, _deploy),
    Scenario("scale", _deploy, _scale),
    Scenario("update", _deploy, _update),
    Scenario("canary", _deploy_careful, _update_careful),
    Scenario("take-back", _try_out, _deploy_careful),
    Scenario("rollback", _deploy, _break, restarts=True),
    Scenario("node-loss", _deploy, _lose_node),
    Scenario("drain", _deploy, _drain),
    Scenario("batch", _nothing, _run_batch),
    Scenario("removal", _deploy, _remove),
    Scenario("evict", _deploy_tolerant, _taint),
    Scenario("preempt", _fill, _preempt),
    Scenario("gang", _fill, _gang),
    Scenario("gang-work", _nothing, _gang_work),
)
