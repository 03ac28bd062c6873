"""Directories of volumes go with their last user, and never from under a new one."""

from __future__ import annotations

from collections.abc import Callable, Set

import trio
from attrs import define, field
from orchestrion.mocks import MockRuntime
from orchestrion.orchestrator_core import VolumeOwner
from orchestrion.orchestrator_core._state.records import InstanceName
from orchestrion.runtime_interface import VolumeSource
from orchestrion.shared_types import (
    ContainerId,
    Retention,
    RuntimeFailure,
    Uid,
    Volume,
    VolumeMount,
    VolumeScope,
    WorkloadDefinition,
)

from .core_stage import Stage, batch, container, service


@define(eq=False)
class _Remembered:
    """Directories that are only remembered."""

    own: set[VolumeOwner] = field(factory=set)
    shared: set[tuple[str, str]] = field(factory=set)

    async def provide(self, owner: VolumeOwner, template: WorkloadDefinition, /) -> tuple[VolumeSource, ...]:
        await trio.lowlevel.checkpoint()
        for volume in template.volumes:
            if volume.scope is VolumeScope.SHARED:
                self.shared.add((owner.name.namespace, volume.name))
            else:
                self.own.add(owner)
        return tuple(VolumeSource(volume=volume.name, host_path=f"/{volume.name}") for volume in template.volumes)

    async def release(self, owner: VolumeOwner, /) -> None:
        await trio.lowlevel.checkpoint()
        self.own.discard(owner)

    async def retain_instances(self, used: Callable[[], Set[VolumeOwner]], /) -> None:
        await trio.lowlevel.checkpoint()
        self.own &= used()

    async def retain_shared(self, used: Callable[[], Set[tuple[str, str]]], /) -> None:
        await trio.lowlevel.checkpoint()
        self.shared &= used()


async def with_volumes(stage: Stage) -> _Remembered:
    volumes = _Remembered()
    await stage.end()
    stage.options["volumes"] = volumes
    await stage.start()
    return volumes


MOUNTS = (VolumeMount(volume="data"),)


async def test_a_shared_directory_goes_with_a_workload_of_much_history(stage: Stage) -> None:
    volumes = await with_volumes(stage)
    done = (container("main", "exit", "0", volumes=MOUNTS),)
    kept = Retention(terminal_instances=100)
    await stage.apply(batch("job", completions=40, volumes=(Volume(name="data"),), containers=done, retention=kept))
    assert volumes.shared == {("default", "data")}
    await stage.orchestrator.remove("job")
    await trio.sleep(40)
    assert volumes.shared == set()


async def test_what_nobody_uses_after_a_restart_goes(stage: Stage) -> None:
    volumes = await with_volumes(stage)
    volumes.shared.add(("other", "left-over"))
    await stage.restart()
    assert volumes.shared == set()


class _SlowRemoval(MockRuntime):
    """A runtime that takes its time to remove."""

    async def remove_container(self, container_id: ContainerId, /) -> None:
        await trio.sleep(3)
        await super().remove_container(container_id)


async def test_a_workload_that_is_removed_and_applied_again_keeps_its_new_directories(stage: Stage) -> None:
    stage.runtime_class = _SlowRemoval
    volumes = await with_volumes(stage)
    own = (Volume(name="data", scope=VolumeScope.INSTANCE),)
    workload = service(volumes=own, containers=(container(volumes=MOUNTS),))
    await stage.apply(workload)
    (old,) = volumes.own
    await stage.orchestrator.remove("web")
    while stage.orchestrator.world.workloads:
        await trio.sleep(0.1)
    await stage.apply(workload)
    await trio.sleep(10)
    assert len(stage.running("web")) == 1
    (new,) = volumes.own
    assert new.name == old.name
    assert new.workload_id != old.workload_id


async def test_a_shared_directory_has_gone_when_nothing_is_waited_for_any_more(stage: Stage) -> None:
    volumes = await with_volumes(stage)
    done = (container("main", "exit", "0", volumes=MOUNTS),)
    kept = Retention(terminal_instances=100)
    await stage.apply(batch("job", completions=100, volumes=(Volume(name="data"),), containers=done, retention=kept))
    assert volumes.shared == {("default", "data")}
    began = trio.current_time()
    await stage.orchestrator.remove("job")
    while stage.orchestrator.world.workloads:
        await trio.sleep(0.1)
    await stage.orchestrator.wait_cleared()
    assert volumes.shared == set()
    assert trio.current_time() - began < 5


async def test_a_shared_directory_goes_with_a_workload_that_has_no_instances_left(stage: Stage) -> None:
    volumes = await with_volumes(stage)
    mounted = (container(volumes=MOUNTS),)
    await stage.apply(service(volumes=(Volume(name="data"),), containers=mounted))
    await stage.orchestrator.scale("web", 0)
    await trio.sleep(60)
    await stage.restart()
    assert volumes.shared == {("default", "data")}
    await stage.orchestrator.remove("web")
    await stage.settle()
    assert volumes.shared == set()


class _Stubborn(_Remembered):
    """Directories of which the shared ones can't be removed at first."""

    failures = 3

    async def retain_shared(self, used: Callable[[], Set[tuple[str, str]]], /) -> None:
        if self.shared - used() and self.failures:
            self.failures -= 1
            await trio.lowlevel.checkpoint()
            msg = "the disk is busy"
            raise RuntimeFailure(msg)
        await super().retain_shared(used)


async def test_a_shared_directory_that_can_not_be_removed_is_tried_again_and_told_of(stage: Stage) -> None:
    volumes = _Stubborn()
    await stage.end()
    stage.options["volumes"] = volumes
    await stage.start()
    await stage.apply(service(volumes=(Volume(name="data"),), containers=(container(volumes=MOUNTS),)))
    await stage.orchestrator.remove("web")
    while stage.orchestrator.world.workloads:
        await trio.sleep(0.1)
    with trio.fail_after(10):
        await stage.orchestrator.wait_cleared()
    assert volumes.shared == set()
    assert "VolumesLeft" in [event.reason for event in await stage.orchestrator.events()]


class _MuchToRemove(_Remembered):
    """Directories that take a minute to go."""

    async def retain_instances(self, used: Callable[[], Set[VolumeOwner]], /) -> None:
        if self.own - used():
            await trio.sleep(60)
        await super().retain_instances(used)


async def test_what_is_left_of_a_former_run_keeps_nothing_from_starting(stage: Stage) -> None:
    volumes = _MuchToRemove(own={VolumeOwner(InstanceName("default", "gone", 0, 1), Uid("gone"))})
    await stage.end()
    stage.options["volumes"] = volumes
    began = trio.current_time()
    await stage.start()
    await stage.apply(service(volumes=(Volume(name="data"),), containers=(container(volumes=MOUNTS),)))
    assert len(stage.running("web")) == 1
    assert trio.current_time() == began
    assert volumes.own
    await stage.orchestrator.wait_cleared()
    assert not volumes.own
