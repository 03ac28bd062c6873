"""What is left of instances and workloads that are gone, and when nothing is."""

from __future__ import annotations

from collections.abc import Set
from typing import Final

import trio
from attrs import define, field
from orchestrion.orchestrator_core._node.complaints import Complaints
from orchestrion.orchestrator_core._node.containers import ContainerBook
from orchestrion.orchestrator_core._node.volumes import VolumeOwner, VolumeProvider
from orchestrion.orchestrator_core._state.records import WorkloadName
from orchestrion.shared_types import OrchestrationError, VolumeScope

FIRST_RETRY_SECONDS: Final = 0.1
MAX_RETRY_SECONDS: Final = 30.0


@define(eq=False)
class Remains:
    """Removes directories that nobody uses any more, and knows whether anything is left.

    Attributes:
        book: What the runtime has.
        volumes: Removes directories.
        complaints: Takes what fails.
    """

    book: ContainerBook
    volumes: VolumeProvider
    complaints: Complaints
    _due: trio.Event = field(factory=trio.Event)
    _at_work: bool = False
    _changed: trio.Event = field(factory=trio.Event)

    def workload_changed(self, name: WorkloadName) -> None:
        """Note a change of a workload: with the last part of it its shared directories go."""
        record = self.book.world.workloads.get(name)
        if record is None or record.spec is None:
            self._due.set()

    async def sweep(self) -> None:
        """Remove every directory that has no owner; what a former run left behind has none but this.

        Raises:
            OrchestrationError: The provider failed.
        """
        await self.volumes.retain_instances(self._owners)
        await self.volumes.retain_shared(self._shared)

    async def run(self) -> None:
        """Remove shared directories as their workloads go, until cancelled."""
        node_id = self.book.engine.node_id
        delay = FIRST_RETRY_SECONDS
        while True:
            await self._due.wait()
            self._due = trio.Event()
            self._at_work = True
            try:
                await self.volumes.retain_shared(self._shared)
            except OrchestrationError as err:
                self.complaints.say("default", f"node/{node_id}", "VolumesLeft", err.message, delay)
                await trio.sleep(delay)
                delay = min(MAX_RETRY_SECONDS, delay * 2)
                self._due.set()
            else:
                delay = FIRST_RETRY_SECONDS
            finally:
                self._at_work = False
            self.changed()

    def changed(self) -> None:
        """Let those who wait for the end look again."""
        self._changed.set()
        self._changed = trio.Event()

    @property
    def cleared(self) -> bool:
        """Whether nothing is left of instances that are no longer bound here, nor of workloads that are gone."""
        if self._due.is_set() or self._at_work:
            return False
        book = self.book
        bound = book.world.nodes.get(book.engine.node_id, {})
        return all(
            instance.name in bound and book.keys.get(instance.name) == key for key, instance in book.instances.items()
        )

    async def wait_changed(self) -> None:
        """Wait until `cleared` may have changed."""
        await self._changed.wait()

    def _owners(self) -> Set[VolumeOwner]:
        return {
            VolumeOwner(name, record.bound.workload_id)
            for name, record in self.book.world.instances.items()
            if record.bound is not None
        }

    def _shared(self) -> Set[tuple[str, str]]:
        return {
            (workload.name.namespace, volume.name)
            for workload in self.book.world.workloads.values()
            for template in (*workload.templates.values(), *((workload.spec.definition,) if workload.spec else ()))
            for volume in template.volumes
            if volume.scope is VolumeScope.SHARED
        }
