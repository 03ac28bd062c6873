"""The interface of a cluster manager, and its optional abilities."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol, runtime_checkable

from orchestrion.shared_types import Node, NodeId

from ._types import ClusterCapability, ClusterEvent


class ClusterManager(Protocol):
    """Knows the nodes of a cluster and tells when they change.

    **Consistency.** `get_node` and `list_nodes` show at least all that a stream of the same manager has given.

    **Cancellation.** `initialize` is *indeterminate* and may be repeated; queries have no effect; `aclose` is *closing*.
    Every method is a checkpoint.

    **Concurrency.** Any number of tasks may call any methods at once; each stream has one reader.

    **Errors.** Each method can raise `ClusterUnavailable`, `NotInitialized` before `initialize` has succeeded, and
    `ClusterClosed` after `aclose`.
    """

    @property
    def capabilities(self) -> frozenset[ClusterCapability]:
        """The optional abilities that this manager has; constant. For each it also implements the Protocol of that name."""
        ...

    async def initialize(self) -> None:
        """Connect and learn the nodes.

        **Effect.** On return `list_nodes` gives all nodes that exist. **Idempotency.** A repeat changes nothing.
        """
        ...

    async def get_node(self, node_id: NodeId, /) -> Node | None:
        """Return the node as it is now, or None where there is none of that id."""
        ...

    async def list_nodes(self) -> list[Node]:
        """Return all nodes as they are now, ascending by id, each once."""
        ...

    def subscribe_to_events(self) -> AbstractAsyncContextManager[AsyncIterator[ClusterEvent]]:
        """Follow the nodes.

        The first event is a `Snapshot`. Each later one is a change, in the order in which they happened, with a higher
        revision than the one before; applying them to the snapshot always gives a state that the cluster really had, and
        every change is given at last. Changes of one node that the reader has not yet taken may be merged into the last
        one. A reader that falls behind gets `Resync`, and then a new `Snapshot`, on the same stream; it delays nobody.
        The iteration ends with `ClusterClosed` when the manager is closed. Any number of streams may be open.
        """
        ...

    async def aclose(self) -> None:
        """Let go of the cluster: later and waiting calls raise `ClusterClosed`. Closing twice succeeds."""
        ...


@runtime_checkable
class SupportsCordon(Protocol):
    """`ClusterCapability.CORDON`: work can be kept off a node, and moved away from it. Orders survive restarts."""

    async def cordon_node(self, node_id: NodeId, /) -> None:
        """Keep new work off a node: `cordoned` becomes true. A node that is cordoned stays as it is.

        Raises:
            NodeNotFound: No such node.
        """
        ...

    async def drain_node(self, node_id: NodeId, /, *, reason: str, deadline: datetime | None = None) -> None:
        """Order everything off a node: `cordoned` becomes true and `drain` is set; a repeat replaces reason and deadline.

        Args:
            node_id: Which node.
            reason: One line for people, not empty.
            deadline: From then on (UTC) instances are stopped without waiting for replacements; None waits for ever.

        Raises:
            NodeNotFound: No such node.
        """
        ...

    async def uncordon_node(self, node_id: NodeId, /) -> None:
        """Let work on the node again: `cordoned` becomes false and `drain` None. Idempotent.

        Raises:
            NodeNotFound: No such node.
        """
        ...
