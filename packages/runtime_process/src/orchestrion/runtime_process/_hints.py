"""Telling readers which containers changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import trio
from orchestrion.runtime_interface import ContainerHint, RuntimeClosed
from orchestrion.shared_types import ContainerId, ContainerStatus, NodeId

StatusOf = Callable[[ContainerId], ContainerStatus | None]

MAX_WAITING = 1024


class HintReader:
    """One reader's hints. Those about the same container are merged, so that what waits is bounded."""

    def __init__(self, node_id: NodeId, status_of: StatusOf) -> None:
        self.node_id = node_id
        self._status_of = status_of
        self._waiting: dict[ContainerId | None, None] = {}
        self._changed = trio.Event()
        self._closed = False

    def tell(self, container_id: ContainerId) -> None:
        """Add a hint."""
        if None in self._waiting:
            return
        if len(self._waiting) >= MAX_WAITING:
            self._waiting = {None: None}
        else:
            self._waiting[container_id] = None
        self._changed.set()

    def close(self) -> None:
        """Let the reader learn that the runtime was closed."""
        self._closed = True
        self._changed.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ContainerHint:
        await trio.lowlevel.checkpoint()
        while not self._waiting:
            if self._closed:
                msg = "the runtime was closed"
                raise RuntimeClosed(msg)
            self._changed = trio.Event()
            await self._changed.wait()
        container_id = next(iter(self._waiting))
        del self._waiting[container_id]
        status = None if container_id is None else self._status_of(container_id)
        return ContainerHint(container_id=container_id, status=status)


class Hints:
    """All readers."""

    def __init__(self, status_of: StatusOf) -> None:
        """Start without readers.

        Args:
            status_of: What a container is like now; None where there is none of that id.
        """
        self._status_of = status_of
        self._readers: set[HintReader] = set()

    def add(self, node_id: NodeId) -> HintReader:
        """Return a new reader, which gets hints from now on."""
        reader = HintReader(node_id, self._status_of)
        self._readers.add(reader)
        return reader

    def discard(self, reader: HintReader) -> None:
        """Let go of a reader."""
        self._readers.discard(reader)

    def tell(self, node_id: NodeId, container_id: ContainerId) -> None:
        """Tell the readers of a node that a container has changed."""
        for reader in self._readers:
            if reader.node_id == node_id:
                reader.tell(container_id)

    def close(self) -> None:
        """Let all readers learn that the runtime was closed."""
        for reader in self._readers:
            reader.close()
