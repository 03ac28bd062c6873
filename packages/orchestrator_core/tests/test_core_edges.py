"""Where the core meets this machine: probes over real sockets, directories, and several runtimes as one."""

from __future__ import annotations

import errno
import shutil
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
from attrs import evolve
from orchestrion.mocks import ContainerWorld, MockRuntime
from orchestrion.orchestrator_core import DirectoryVolumes, NetworkProber, NoVolumes, RoutingRuntime, VolumeOwner
from orchestrion.orchestrator_core._node.health_checks import HealthChecks
from orchestrion.orchestrator_core._state.records import InstanceName
from orchestrion.runtime_interface import (
    ConfigUnsupported,
    CreateOptions,
    ExecSession,
    RuntimeUnavailable,
    VolumeSource,
)
from orchestrion.shared_types import (
    ContainerHealth,
    ContainerId,
    ContainerState,
    ContainerStatus,
    ExecProbe,
    HealthCheck,
    HttpProbe,
    InstanceKey,
    NodeId,
    RuntimeFailure,
    TcpProbe,
    Uid,
    Volume,
    VolumeScope,
)
from trio.testing import MockClock

from .core_stage import container, service

NODE = NodeId("node-1")


def status_with(port: int) -> ContainerStatus:
    return ContainerStatus(name="main", state=ContainerState.RUNNING, ports={"http": port}, address="127.0.0.1")


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[int]:
    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            if answer:
                await stream.receive_some(8192)
                await stream.send_all(answer)

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""),
        (b"HTTP/1.0 204 No Content\r\n\r\n", ""),
        (b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", ""),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "HTTP status 404"),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "HTTP status 503"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", ""),
    ],
)
async def test_an_http_probe_takes_200_to_399_for_healthy(answer: bytes, expected: str) -> None:
    async with answering(answer) as port:
        check = HealthCheck(probe=HttpProbe(port="http", path="/health"))
        assert await NetworkProber(MockRuntime()).try_once(check, status_with(port)) == expected


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000])
async def test_what_speaks_no_http_is_unhealthy(answer: bytes) -> None:
    async with answering(answer) as port:
        check = HealthCheck(probe=HttpProbe(port="http"))
        assert await NetworkProber(MockRuntime()).try_once(check, status_with(port)) != ""


async def test_a_tcp_probe_wants_a_connection() -> None:
    prober, check = NetworkProber(MockRuntime()), HealthCheck(probe=TcpProbe(port="http"))
    async with answering(b"") as port:
        assert await prober.try_once(check, status_with(port)) == ""
    assert "failed" in await prober.try_once(check, status_with(port))


async def test_a_port_that_the_container_does_not_have_is_named() -> None:
    check = HealthCheck(probe=TcpProbe(port="admin"))
    assert await NetworkProber(MockRuntime()).try_once(check, status_with(1)) == "the container has no port 'admin'"


def options(name: str, node_id: NodeId = NODE) -> CreateOptions:
    return CreateOptions(
        node_id=node_id, instance=InstanceKey(Uid(name), 0, 1), attempt=0, namespace="default", workload=name
    )


@pytest.mark.parametrize(("command", "expected"), [(("exit", "0"), ""), (("exit", "3"), "the command ended with 3")])
async def test_an_exec_probe_runs_a_command_in_the_container(command: tuple[str, ...], expected: str) -> None:
    runtime = MockRuntime()
    await runtime.init_node(NODE)
    container_id = await runtime.create_container(container(), options("web"))
    status = await runtime.get_container_status(container_id)
    check = HealthCheck(probe=ExecProbe(command=command))
    assert await NetworkProber(runtime).try_once(check, status) == expected


class _Grouped(MockRuntime):
    """A runtime whose commands have tasks of their own, so that what goes wrong comes in groups."""

    failure: Exception = RuntimeUnavailable("the engine is down")

    @asynccontextmanager
    async def exec_in_container(
        self, container_id: ContainerId, command: Sequence[str], /
    ) -> AsyncIterator[ExecSession]:
        async with trio.open_nursery() as nursery, super().exec_in_container(container_id, command) as session:
            nursery.start_soon(self._fail)
            yield session

    async def _fail(self) -> None:
        await trio.sleep(1)
        raise self.failure


async def probed(runtime: MockRuntime) -> str:
    await runtime.init_node(NODE)
    container_id = await runtime.create_container(container(), options("web"))
    status = await runtime.get_container_status(container_id)
    return await NetworkProber(runtime).try_once(HealthCheck(probe=ExecProbe(command=("run",))), status)


async def test_what_fails_in_a_task_of_an_exec_probe_is_a_failed_try(autojump_clock: MockClock) -> None:
    assert await probed(_Grouped()) == "the engine is down"


async def test_a_fault_of_the_program_in_a_task_of_an_exec_probe_is_not_hidden(autojump_clock: MockClock) -> None:
    runtime = _Grouped()
    runtime.failure = ZeroDivisionError("mine")
    with pytest.RaisesGroup(ZeroDivisionError):
        await probed(runtime)


class _RaisingProber:
    """A prober that raises, alone or in a group; in a group also when its time is over."""

    late = False
    raised = RuntimeUnavailable("out of reach")

    async def try_once(self, _check: HealthCheck, _status: ContainerStatus, /) -> str:
        if not self.late:
            await trio.lowlevel.checkpoint()
            raise self.raised
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._fail_late)
        return ""

    async def _fail_late(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise self.raised


class _LateProber(_RaisingProber):
    late = True


@pytest.mark.parametrize("prober", [_RaisingProber(), _LateProber()])
async def test_a_prober_that_raises_has_failed(autojump_clock: MockClock, prober: _RaisingProber) -> None:
    checks = HealthChecks(prober)
    check = HealthCheck(probe=TcpProbe(port="http"), unhealthy_threshold=1)
    changed = trio.Event()
    one = ContainerId("one")
    async with trio.open_nursery() as nursery:
        checks.start(check, ContainerHealth.UNCHECKED, "", one, lambda: status_with(1), changed.set, nursery)
        await changed.wait()
        assert checks.unhealthy[one] == "unhealthy: out of reach"
        nursery.cancel_scope.cancel()


async def test_routing_hands_containers_to_the_runtime_of_their_node_and_driver() -> None:
    processes, images, far = ContainerWorld(), ContainerWorld(), ContainerWorld()
    routed = RoutingRuntime(
        {"process": MockRuntime(processes), "docker": MockRuntime(images)},
        {NodeId("far"): {"process": MockRuntime(far)}},
    )
    for node_id in (NODE, NodeId("far")):
        await routed.init_node(node_id)
    made = [
        await routed.create_container(container(), options("a")),
        await routed.create_container(container("main", "run", image="nginx"), options("b")),
        await routed.create_container(container(), options("c", NodeId("far"))),
    ]
    assert [len(world.containers) for world in (processes, images, far)] == [1, 1, 1]
    listed = {summary.container_id for summary in await routed.list_containers(NODE)}
    assert listed == set(made[:2])
    for container_id in made:
        await routed.stop_container(container_id, grace_seconds=0)
        assert (await routed.get_container_status(container_id)).state is ContainerState.EXITED
        await routed.remove_container(container_id)
    assert [len(world.containers) for world in (processes, images, far)] == [0, 0, 0]
    with pytest.raises(ConfigUnsupported):
        await routed.create_container(container("main", "run", image="x"), options("d", NodeId("far")))
    await routed.aclose()


VOLUMES = (Volume(name="shared"), Volume(name="own", scope=VolumeScope.INSTANCE))
WEB, NEW_WEB = Uid("01890000-0000-7000-8000-000000000001"), Uid("01890000-0000-7000-8000-000000000002")
FIRST, SECOND = (VolumeOwner(InstanceName("default", "web", slot, 1), WEB) for slot in (0, 1))


async def test_shared_directories_are_shared_and_own_ones_are_not(tmp_path: Path) -> None:
    volumes = DirectoryVolumes(tmp_path)
    template = service(volumes=VOLUMES)
    first = {source.volume: Path(source.host_path) for source in await volumes.provide(FIRST, template)}
    second = {source.volume: Path(source.host_path) for source in await volumes.provide(SECOND, template)}
    assert first["shared"] == second["shared"]
    assert first["own"] != second["own"]
    assert all(path.is_dir() for path in (*first.values(), *second.values()))
    (first["shared"] / "kept").touch()
    await volumes.release(FIRST)
    await volumes.release(FIRST)
    assert not first["own"].exists()
    assert second["own"].is_dir()
    assert (first["shared"] / "kept").exists()
    await volumes.retain_shared(lambda: {("default", "shared")})
    assert first["shared"].is_dir()
    await volumes.retain_shared(lambda: {("nowhere", "shared")})
    assert not first["shared"].exists()
    await volumes.retain_shared(set)


async def test_directories_of_instances_that_are_forgotten_go(tmp_path: Path) -> None:
    volumes = DirectoryVolumes(tmp_path)
    (one,) = await volumes.provide(FIRST, service(volumes=VOLUMES[1:]))
    (other,) = await volumes.provide(SECOND, service(volumes=VOLUMES[1:]))
    await volumes.retain_instances(lambda: {SECOND})
    assert not Path(one.host_path).exists()
    assert Path(other.host_path).is_dir()


async def test_a_workload_of_the_same_name_gets_directories_of_its_own(tmp_path: Path) -> None:
    volumes = DirectoryVolumes(tmp_path)
    (old,) = await volumes.provide(FIRST, service(volumes=VOLUMES[1:]))
    (new,) = await volumes.provide(evolve(FIRST, workload_id=NEW_WEB), service(volumes=VOLUMES[1:]))
    await volumes.release(FIRST)
    assert not Path(old.host_path).exists()
    assert Path(new.host_path).is_dir()


async def test_a_sweep_asks_what_is_used_once_nothing_is_being_made(tmp_path: Path) -> None:
    volumes = DirectoryVolumes(tmp_path)
    made = list[VolumeSource]()

    async def provide() -> None:
        made.extend(await volumes.provide(FIRST, service(volumes=VOLUMES)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(provide)
        await trio.testing.wait_all_tasks_blocked()
        await volumes.retain_instances(lambda: {FIRST} if made else set())
        await volumes.retain_shared(lambda: {("default", "shared")} if made else set())
    assert all(Path(source.host_path).is_dir() for source in made)


async def test_a_directory_that_can_not_be_made_is_a_failure_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RuntimeFailure, match="can't be made"):
        await DirectoryVolumes(tmp_path / "file").provide(FIRST, service(volumes=VOLUMES))


async def test_without_volumes_nothing_is_made(tmp_path: Path) -> None:
    assert await DirectoryVolumes(tmp_path / "root").provide(FIRST, service()) == ()
    assert not (tmp_path / "root").exists()
    assert [source.volume for source in await NoVolumes().provide(FIRST, service(volumes=VOLUMES))] == ["shared", "own"]


async def test_a_directory_that_takes_long_to_go_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volumes = DirectoryVolumes(tmp_path)
    (old,) = await volumes.provide(FIRST, service(volumes=VOLUMES[:1]))
    (Path(old.host_path) / "much").touch()
    begun, may_end = trio.Event(), threading.Event()
    remove = shutil.rmtree

    def slowly(path: Path, *, ignore_errors: bool) -> None:
        trio.from_thread.run_sync(begun.set)
        may_end.wait()
        remove(path, ignore_errors=ignore_errors)

    monkeypatch.setattr(shutil, "rmtree", slowly)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(volumes.retain_shared, set)
        try:
            await begun.wait()
            with trio.fail_after(10):
                (new,) = await volumes.provide(FIRST, service(volumes=VOLUMES[:1]))
        finally:
            may_end.set()
    assert new == old
    assert [path.name for path in Path(new.host_path).parent.iterdir()] == ["shared"]
    assert list(Path(new.host_path).iterdir()) == []


async def test_a_removal_that_was_cut_short_is_ended(tmp_path: Path) -> None:
    left = tmp_path / "default" / "shared" / ".removed-before"
    (left / "much").mkdir(parents=True)
    await DirectoryVolumes(tmp_path).retain_shared(lambda: {("default", "shared")})
    assert not left.exists()


async def test_a_directory_that_can_not_be_renamed_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volumes = DirectoryVolumes(tmp_path)
    (source,) = await volumes.provide(FIRST, service(volumes=VOLUMES[:1]))
    (Path(source.host_path) / "much").touch()

    def busy(_path: Path, _target: Path) -> None:
        raise OSError(errno.EBUSY, "busy")

    monkeypatch.setattr(Path, "rename", busy)
    await volumes.retain_shared(set)
    assert list(Path(source.host_path).parent.iterdir()) == []
