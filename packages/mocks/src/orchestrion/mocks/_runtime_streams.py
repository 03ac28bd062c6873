"""What a mock runtime gives bit by bit: logs and hints."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import trio
from attrs import define, field
from orchestrion.runtime_interface import ContainerHint, LogChunk, LogStream
from orchestrion.shared_types import ContainerId

from ._runtime_engine import MockEngine
from ._runtime_records import MockContainer, MockNode

HINTS_KEPT: Final = 256
"""Hints kept for a reader that is slow; one more, and it gets a single hint about nothing in particular."""

FOLLOW_BYTES: Final = 65536
"""The most bytes of a chunk."""


@define(eq=False)
class LogFollower:
    """One reader of a log, from an offset to the end.

    Attributes:
        engine: The world that the container is in.
        container: Whose log.
        stream: Which output.
        check: Raises what keeps the program from being answered.
        offset: Where the next chunk begins.
        finished: Whether the last chunk was given.
    """

    engine: MockEngine
    container: MockContainer
    stream: LogStream
    check: Callable[[], None]
    offset: int
    finished: bool = False

    def __aiter__(self) -> LogFollower:
        return self

    async def __anext__(self) -> LogChunk:
        await trio.lowlevel.checkpoint()
        container = self.container
        node = self.engine.nodes[container.options.node_id]
        log = container.log(self.stream, self.engine.log_budget_bytes)
        while True:
            self.check()
            self.engine.advance(node)
            if self.finished or container.removed:
                raise StopAsyncIteration
            chunk = log.read(self.stream, self.offset, FOLLOW_BYTES, ended=container.ended)
            if chunk.data or chunk.gap_bytes or chunk.final:
                self.offset = chunk.offset + len(chunk.data)
                self.finished = chunk.final
                return chunk
            await self.engine.wait(container.changed, node)


@define(eq=False)
class HintReader:
    """One reader of a node's hints.

    Attributes:
        engine: The world that the node is in.
        node: Whose containers.
        check: Raises what keeps the program from being answered.
        copies: Says how often the next hint is to be given.
        hints: Those not yet read.
    """

    engine: MockEngine
    node: MockNode
    check: Callable[[], None]
    copies: Callable[[], int]
    hints: deque[ContainerId | None] = field(factory=deque)

    def hint(self, container_id: ContainerId | None) -> None:
        """Take note of a change."""
        for _ in range(self.copies()):
            if len(self.hints) >= HINTS_KEPT:
                self.hints.clear()
                container_id = None
            self.hints.append(container_id)

    def __aiter__(self) -> HintReader:
        return self

    async def __anext__(self) -> ContainerHint:
        await trio.lowlevel.checkpoint()
        while True:
            self.check()
            self.engine.advance(self.node)
            if self.hints:
                container_id = self.hints.popleft()
                container = None if container_id is None else self.engine.containers.get(container_id)
                status = None if container is None else container.summary().status
                return ContainerHint(container_id=container_id, status=status)
            await self.engine.wait(self.node.changed, self.node)
