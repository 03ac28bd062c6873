"""What is left of instances that are gone, and when nothing is."""

from __future__ import annotations

from collections.abc import Set

import trio
from attrs import define, field
from orchestrion.orchestrator_core._node.containers import ContainerBook
from orchestrion.orchestrator_core._node.shared_volumes import shared_volumes
from orchestrion.orchestrator_core._node.volumes import VolumeOwner, VolumeProvider


@define(eq=False)
class Remains:
    """Knows whether anything is left on a node of what is gone.

    Attributes:
        book: What the runtime has.
        volumes: Removes directories.
    """

    book: ContainerBook
    volumes: VolumeProvider
    _changed: trio.Event = field(factory=trio.Event)

    async def sweep(self) -> None:
        """Remove every directory that has no owner; what a former run left behind has none but this.

        Raises:
            OrchestrationError: The provider failed.
        """
        await self.volumes.retain_instances(self._owners)
        await self.volumes.retain_shared(lambda: shared_volumes(self.book.world))

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
