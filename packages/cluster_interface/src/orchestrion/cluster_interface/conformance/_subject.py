"""What the kit needs of an implementation beyond the interface."""

from __future__ import annotations

import unittest
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import trio
from attrs import Factory, define, evolve
from orchestrion.cluster_interface import ClusterManager
from orchestrion.shared_types import Node, NodeId


@define(kw_only=True)
class ClusterUnderTest:
    """A fresh cluster and a manager of it.

    The cluster may have nodes from the beginning. What a helper does has happened when it returns: `list_nodes` shows
    it. Helpers may be called before the manager is initialised, too. A check whose helper is None is skipped by name.

    Attributes:
        manager: Not yet initialised: the kit does that, because what holds before belongs to the contract.
        add_node: Adds exactly this node; the kit gives a fresh id, and no orders.
        update_node: Makes the node of that id exactly this one; the kit never changes orders by it.
        remove_node: Removes the node of that id.
        touch: Makes one change of one node, which a stream must give. None takes one made of `add_node` and
            `update_node`.
        reopen: Lets go of the manager, as a close or a crash would, and returns another one of the same cluster, not
            yet initialised. The factory closes it in the end.
        patience_seconds: How long an event may take to come after what it is about.
        many_changes: How many changes the kit makes while a reader does not read. Choose more than the implementation
            keeps for a reader, so that it has to fall behind.
    """

    manager: ClusterManager
    add_node: Callable[[Node], Awaitable[None]] | None = None
    update_node: Callable[[Node], Awaitable[None]] | None = None
    remove_node: Callable[[NodeId], Awaitable[None]] | None = None
    touch: Callable[[], Awaitable[None]] | None = Factory(lambda self: _default_touch(self), takes_self=True)
    reopen: Callable[[], Awaitable[ClusterManager]] | None = None
    patience_seconds: float = 10.0
    many_changes: int = 200

    async def add(self, node: Node) -> None:
        """Call `add_node`, which the check has named as needed."""
        assert self.add_node is not None
        await self.add_node(node)

    async def update(self, node: Node) -> None:
        """Call `update_node`, which the check has named as needed."""
        assert self.update_node is not None
        await self.update_node(node)

    async def remove(self, node_id: NodeId) -> None:
        """Call `remove_node`, which the check has named as needed."""
        assert self.remove_node is not None
        await self.remove_node(node_id)

    async def change_something(self) -> None:
        """Call `touch`, which the check has named as needed."""
        assert self.touch is not None
        await self.touch()

    async def open_anew(self) -> ClusterManager:
        """Call `reopen`, which the check has named as needed, and initialise what it returns."""
        assert self.reopen is not None
        manager = await self.reopen()
        await manager.initialize()
        return manager

    async def some_node(self) -> Node:
        """Return a node of the initialised manager; where there is none, add one."""
        nodes = await self.manager.list_nodes()
        if nodes:
            return nodes[0]
        if self.add_node is None:
            msg = "the cluster has no node, and the factory gives no add_node"
            raise unittest.SkipTest(msg)
        node = plain_node("kit-0")
        await self.add_node(node)
        return node

    async def happens(self, event: trio.Event) -> bool:
        """Wait for `event` up to `patience_seconds`; return whether it came."""
        with trio.move_on_after(self.patience_seconds):
            await event.wait()
        return event.is_set()

    @contextmanager
    def patience(self, sentence: str) -> Iterator[None]:
        """Let what is inside take `patience_seconds`.

        Raises:
            AssertionError: It took longer; the text is `sentence`.
        """
        with trio.move_on_after(self.patience_seconds) as scope:
            yield
        assert not scope.cancelled_caught, f"{sentence} (waited for {self.patience_seconds} s)"


def plain_node(name: str, **labels: str) -> Node:
    """Return a node of that id and name that has nothing."""
    return Node(id=NodeId(name), name=name, labels=labels)


async def nodes_by_id(manager: ClusterManager) -> dict[NodeId, Node]:
    """Return what the manager lists."""
    return {node.id: node for node in await manager.list_nodes()}


async def together(*functions: Callable[[], Awaitable[None]]) -> None:
    """Run all at once.

    Raises:
        AssertionError: One or more of them failed.
    """
    failures: list[str] = []

    async def run(function: Callable[[], Awaitable[None]]) -> None:
        try:
            await function()
        except Exception as err:  # whatever it is, the check has failed, and all failures are told together
            failures.append(repr(err))

    async with trio.open_nursery() as nursery:
        for function in functions:
            nursery.start_soon(run, function)
    assert not failures, f"{len(failures)} of {len(functions)} tasks at once failed: {'; '.join(sorted(set(failures)))}"


@asynccontextmanager
async def background(function: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Run `function` beside what is inside, and cancel it at the end."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(function)
        yield
        nursery.cancel_scope.cancel()


def _default_touch(subject: ClusterUnderTest) -> Callable[[], Awaitable[None]] | None:
    add, update = subject.add_node, subject.update_node
    if add is None or update is None:
        return None
    node = plain_node("kit-touched", touches="0")
    count = 0

    async def touch() -> None:
        nonlocal count
        count += 1
        if count == 1:
            await add(node)
        else:
            await update(evolve(node, labels={"touches": str(count)}))

    return touch
