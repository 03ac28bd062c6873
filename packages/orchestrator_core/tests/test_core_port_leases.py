"""Who holds a dynamic port: over attempts, restarts of the program, and after the end."""

from __future__ import annotations

import trio
from orchestrion.mocks import MockRuntime
from orchestrion.orchestrator_core import PortTable
from orchestrion.runtime_interface import CreateOptions, PortTaken
from orchestrion.shared_types import ContainerConfig, ContainerId, InstanceState, PortMapping, Protocol, Retention
from trio.testing import MockClock

from .core_stage import NODE, Stage, batch, container, service, staged

TCP = Protocol.TCP
LISTENING = (container("main", ports=(PortMapping(name="http"),)),)


def table(ports: int = 3) -> PortTable:
    return PortTable(range(20_000, 20_000 + ports), probe=lambda _protocol, _port: True)


async def test_a_port_of_another_owner_is_not_adopted() -> None:
    ports = table()
    assert ports.lease("a", TCP) == 20_000
    assert not ports.adopt("b", TCP, 20_000)
    ports.release("b")
    assert ports.lease("a", TCP) == 20_000
    assert ports.lease("c", TCP) == 20_001


async def test_who_adopts_another_port_gives_up_the_first() -> None:
    ports = table()
    ports.lease("a", TCP)
    assert ports.adopt("a", TCP, 20_002)
    assert ports.lease("a", TCP) == 20_002
    ports.release("a")
    assert ports.adopt("b", TCP, 20_000)
    assert ports.adopt("c", TCP, 20_002)


class _TakenPort(MockRuntime):
    """A runtime on whose machine others may hold a port."""

    taken = 0

    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        if any(port.host_port == self.taken for port in config.ports):
            await trio.lowlevel.checkpoint()
            msg = "taken"
            raise PortTaken(msg, ports=(self.taken,))
        return await super().create_container(config, options)


def port_of(stage: Stage, workload: str) -> int:
    (found,) = stage.running(workload)
    port = found.config.ports[0].host_port
    assert port is not None
    return port


async def test_after_a_restart_each_port_belongs_to_what_listens_on_it(autojump_clock: MockClock) -> None:
    async with staged(1) as stage:
        await stage.end()
        stage.runtime_class = _TakenPort
        await stage.start()
        await stage.apply(service("a", containers=LISTENING))
        first = _TakenPort.taken = port_of(stage, "a")
        stage.exit(stage.running("a")[0])
        await trio.sleep(5)
        assert port_of(stage, "a") != first
        _TakenPort.taken = 0
        await trio.sleep(60)
        ports = stage.orchestrator.node_loops[NODE].ports
        for _ in range(98):
            ports.lease(object(), TCP)
        await stage.apply(service("b", containers=LISTENING))
        assert port_of(stage, "b") == first
        await stage.restart()
        ports = stage.orchestrator.node_loops[NODE].ports
        assert not ports.adopt("other", TCP, first)
        assert not ports.adopt("other", TCP, port_of(stage, "a"))
        await stage.orchestrator.remove("a")
        await trio.sleep(30)
        assert not ports.adopt("other", TCP, first)
        await stage.orchestrator.remove("b")
        await trio.sleep(30)
        assert ports.adopt("other", TCP, first)


async def test_what_has_ended_holds_no_port(autojump_clock: MockClock) -> None:
    async with staged(1) as stage:
        listening = (container("main", "exit", "0", ports=(PortMapping(name="http"),)),)
        await stage.apply(batch("job", containers=listening, retention=Retention(terminal_instances=100)))
        (ended,) = await stage.ended("job")
        port = ended.status.containers[0].ports["http"]
        ports = stage.orchestrator.node_loops[NODE].ports
        assert ports.adopt("other", TCP, port)
        await stage.restart()
        ports = stage.orchestrator.node_loops[NODE].ports
        assert ports.adopt("other", TCP, port)


async def test_what_waits_for_a_port_says_so_and_starts_when_one_is_free(autojump_clock: MockClock) -> None:
    async with staged(1) as stage:
        ports = stage.orchestrator.node_loops[NODE].ports
        for number in range(20_000, 20_100):
            ports.adopt(number, TCP, number)
        await stage.apply(service(containers=LISTENING))
        (instance,) = await stage.instances("web")
        assert instance.status.state is InstanceState.PENDING
        assert instance.status.message == "no tcp port from 20000 to 20099 is free"
        ports.release(20_000)
        await trio.sleep(70)
        assert port_of(stage, "web") == 20_000
        (instance,) = await stage.instances("web")
        assert instance.status.message == ""
