"""The shared directories of volumes: they go with the last part of their workload."""

from __future__ import annotations

from collections.abc import Set
from typing import Final

import trio
from attrs import define, field
from orchestrion.orchestrator_core._node.complaints import Complaints
from orchestrion.orchestrator_core._node.volumes import VolumeProvider
from orchestrion.orchestrator_core._state.records import WorkloadName
from orchestrion.orchestrator_core._state.world import World
from orchestrion.shared_types import OrchestrationError, VolumeScope

FIRST_RETRY_SECONDS: Final = 0.1
MAX_RETRY_SECONDS: Final = 30.0


def shared_volumes(world: World) -> Set[tuple[str, str]]:
    """Return the shared volumes of all workloads, by namespace and name."""
    return {
        (workload.name.namespace, volume.name)
        for workload in world.workloads.values()
        for template in (*workload.templates.values(), *((workload.spec.definition,) if workload.spec else ()))
        for volume in template.volumes
        if volume.scope is VolumeScope.SHARED
    }


@define(eq=False)
class SharedVolumes:
    """Removes shared directories as their workloads go; one for each `VolumeProvider`, whatever nodes use it.

    Attributes:
        world: The mirror of the store.
        volumes: Removes directories.
        complaints: Takes what fails.
    """

    world: World
    volumes: VolumeProvider
    complaints: Complaints
    _due: trio.Event = field(factory=trio.Event)
    _idle: trio.Event = field(factory=trio.Event)

    def __attrs_post_init__(self) -> None:
        self._idle.set()
        self.world.on_workload(self._workload_changed)

    def _workload_changed(self, name: WorkloadName) -> None:
        record = self.world.workloads.get(name)
        if (record is None or record.spec is None) and not self._due.is_set():
            self._due.set()
            if self._idle.is_set():
                self._idle = trio.Event()

    async def wait_idle(self) -> None:
        """Wait until no directory is left of workloads that have gone so far."""
        await self._idle.wait()

    async def run(self) -> None:
        """Remove directories until cancelled; what fails is tried again."""
        delay = FIRST_RETRY_SECONDS
        while True:
            await self._due.wait()
            self._due = trio.Event()
            try:
                await self.volumes.retain_shared(lambda: shared_volumes(self.world))
            except OrchestrationError as err:
                self.complaints.say("default", "cluster/default", "VolumesLeft", err.message, delay)
                await trio.sleep(delay)
                delay = min(MAX_RETRY_SECONDS, delay * 2)
                self._due.set()
            else:
                delay = FIRST_RETRY_SECONDS
                if not self._due.is_set():
                    self._idle.set()
