"""Health checks: what they refer to, and what a restart of the program knows of them."""

from __future__ import annotations

import trio
from attrs import evolve
from orchestrion.mocks import MockRuntime
from orchestrion.runtime_interface import RuntimeUnavailable
from orchestrion.shared_types import (
    ContainerId,
    ExecProbe,
    HealthCheck,
    HttpProbe,
    PortMapping,
)

from .core_stage import Stage, container, service

CHECK = HealthCheck(probe=ExecProbe(command=("true",)), interval_seconds=1, unhealthy_threshold=2)


async def test_references_in_a_health_check_are_replaced_before_and_after_a_restart(stage: Stage) -> None:
    command = HealthCheck(probe=ExecProbe(command=("test", "${PORT_HTTP}", "${ORCHESTRION_INSTANCE}")))
    path = HealthCheck(probe=HttpProbe(port="side", path="/${ORCHESTRION_INDEX}"))
    ports = (PortMapping(name="http"),)
    containers = (
        container("a", ports=ports, health=command),
        container("b", ports=(PortMapping(name="side"),), health=path),
    )
    await stage.apply(service(containers=containers))
    first, _ = stage.running("web")
    completed = ("test", str(first.config.ports[0].host_port), "web.0.1")
    wanted = {
        evolve(command, probe=ExecProbe(command=completed)),
        evolve(path, probe=HttpProbe(port="side", path="/0")),
    }

    assert stage.prober.tried == wanted
    stage.prober.tried.clear()
    await stage.restart()
    assert stage.prober.tried == wanted


class _Unstoppable(MockRuntime):
    """A runtime that can't stop anything."""

    async def stop_container(self, container_id: ContainerId, /, *, grace_seconds: float) -> None:
        await trio.lowlevel.checkpoint()
        msg = "the engine is busy"
        raise RuntimeUnavailable(msg)


async def test_what_was_given_up_before_a_restart_is_stopped_after_it(stage: Stage) -> None:
    await stage.end()
    stage.runtime_class = _Unstoppable
    await stage.start()
    await stage.apply(service(containers=(container(health=CHECK),)))
    await trio.sleep(5)
    (before,) = stage.ids()
    stage.prober.sick = lambda tried: tried.container_id == before
    await trio.sleep(8)
    assert stage.ids() == [before]
    await stage.end()
    stage.runtime_class = MockRuntime
    await stage.start()
    await trio.sleep(10)
    (after,) = stage.running()
    assert after.options.attempt == 1
    (instance,) = await stage.instances("web")
    assert instance.status.healthy_since is not None
