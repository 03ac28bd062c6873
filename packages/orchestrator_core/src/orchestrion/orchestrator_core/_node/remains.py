"""What is left of instances that are gone, and when nothing is."""

from __future__ import annotations

from collections.abc import Set

import trio
from attrs import define, field
from orchestrion.orchestrator_core._node.complaints import Complaints
from orchestrion.orchestrator_core._node.containers import ContainerBook
from orchestrion.orchestrator_core._node.shared_volumes import (
    FIRST_RETRY_SECONDS,
    MAX_RETRY_SECONDS,
    shared_volumes,
)
from orchestrion.orchestrator_core._node.volumes import VolumeOwner, VolumeProvider
from orchestrion.shared_types import OrchestrationError


@define(eq=False)
class Remains:
    """Knows whether anything is left on a node of what is gone.

    Attributes:
        book: What the runtime has.
        volumes: Removes directories.
        complaints: Takes what fails.
    """

    book: ContainerBook
    volumes: VolumeProvider
    complaints: Complaints
    _due: trio.Event = field(factory=trio.Event)
    _swept: bool = True
    _changed: trio.Event = field(factory=trio.Event)

    def sweep_soon(self) -> None:
        """Let every directory be removed that has no owner; what a former run left behind has none but this."""
        self._swept = False
        self._due.set()

    async def run(self) -> None:
        """Remove such directories whenever that is due, until cancelled; what fails is tried again."""
        delay = FIRST_RETRY_SECONDS
        while True:
            await self._due.wait()
            self._due = trio.Event()
            try:
                await self.volumes.retain_instances(self._owners)
                await self.volumes.retain_shared(lambda: shared_volumes(self.book.world))
            except OrchestrationError as err:
                subject = f"node/{self.book.engine.node_id}"
                self.complaints.say("default", subject, "VolumesLeft", err.message, delay)
                await trio.sleep(delay)
                delay = min(MAX_RETRY_SECONDS, delay * 2)
                self._due.set()
            else:
                delay = FIRST_RETRY_SECONDS
                self._swept = not self._due.is_set()
                self.changed()

    def changed(self) -> None:
        """Let those who wait for the end look again."""
        self._changed.set()
        self._changed = trio.Event()

    async def wait_changed(self) -> None:
        """Wait until `cleared` may have changed."""
        await self._changed.wait()

    @property
    def cleared(self) -> bool:
        """Whether nothing is left of instances that are no longer bound here."""
        if not self._swept:
            return False
        book = self.book
        bound = book.world.nodes.get(book.engine.node_id, {})
        return all(
            instance.name in bound and book.keys.get(instance.name) == key for key, instance in book.instances.items()
        )

    def _owners(self) -> Set[VolumeOwner]:
        return {
            VolumeOwner(name, record.bound.workload_id)
            for name, record in self.book.world.instances.items()
            if record.bound is not None
        }
