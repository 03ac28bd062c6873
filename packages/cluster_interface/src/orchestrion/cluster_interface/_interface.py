"""The interface of a cluster manager, and its optional abilities.

The ids in brackets name clauses: the conformance kit has one or more checks for each.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol, runtime_checkable

from orchestrion.shared_types import Node, NodeId

from ._types import ClusterCapability, ClusterEvent


class ClusterManager(Protocol):
    """Knows the nodes of a cluster and tells when they change.

    **Consistency.** `get_node` and `list_nodes` show at least all that a stream of the same manager has given [VIEW-1].

    **Cancellation.** `initialize` is *indeterminate* and may be repeated [CANCEL-1]; queries have no effect [CANCEL-2];
    waiting for an event can be cancelled and loses none [CANCEL-3]; `aclose` is *closing*: it is closed afterwards in
    any case [CANCEL-4]. Every method is a checkpoint, and so is each step of an iteration [CHECKPOINT-1].

    **Concurrency.** Any number of tasks may call any methods at once [CONC-1]; each stream has one reader.

    **Errors.** Every method but `initialize` and `aclose` raises `NotInitialized` before `initialize` has succeeded
    [ERR-1], and every method but `aclose` raises `ClusterClosed` after `aclose` [ERR-2]; a stream raises them on
    entering. Each method can raise `ClusterUnavailable`; a stream that raises it has ended, and another may be opened.
    """

    @property
    def capabilities(self) -> frozenset[ClusterCapability]:
        """The optional abilities that this manager has; constant, also before `initialize` and after `aclose` [CAP-1].

        For each it also implements the Protocol of that name [CAP-2].
        """
        ...

    async def initialize(self) -> None:
        """Connect and learn the nodes.

        **Effect.** On return `list_nodes` gives all nodes that exist [INIT-1]. **Idempotency.** A repeat changes
        nothing [INIT-2].
        """
        ...

    async def get_node(self, node_id: NodeId, /) -> Node | None:
        """Return the node as it is now [GET-1], or None where there is none of that id [GET-2]."""
        ...

    async def list_nodes(self) -> list[Node]:
        """Return all nodes as they are now [LIST-1], ascending by id, each once [LIST-2].

        The list is the caller's own: changing it changes nothing else [LIST-3].
        """
        ...

    def subscribe_to_events(self) -> AbstractAsyncContextManager[AsyncIterator[ClusterEvent]]:
        """Follow the nodes.

        The first event is a `Snapshot` of all nodes [EVENTS-1]. Each later one is a change, with a higher revision
        than the one before [EVENTS-2]. Applied to the snapshot, they give every node states that it really had, in
        their order [EVENTS-3], and in the end the state that the cluster has [EVENTS-4].

        Changes of one node that the reader has not yet taken may be merged into one; for the reader it is then as if
        what lies between had not been, and the kinds fit that: a node that it does not have is added, one that it has
        is updated, with a difference, or removed [EVENTS-5].

        A reader that falls behind gets `Resync`, and then a new `Snapshot` of no lower revision, on the same stream
        [EVENTS-6]; it delays nobody [EVENTS-7]. Any number of streams may be open, each gives everything, and leaving
        one leaves the others as they are [EVENTS-8]. When the manager is closed, the iteration ends with
        `ClusterClosed`, and a reader that waits is woken by it [EVENTS-9].
        """
        ...

    async def aclose(self) -> None:
        """Let go of the cluster: later and waiting calls raise `ClusterClosed`.

        Closing twice succeeds [CLOSE-1], and so does closing what was never initialised [CLOSE-2]. The cluster itself
        stays as it is [CLOSE-3].
        """
        ...


@runtime_checkable
class SupportsCordon(Protocol):
    """`ClusterCapability.CORDON`: work can be kept off a node, and moved away from it.

    Orders survive restarts of the manager [CORDON-4]. An order shows on return; it is a change of the node like any
    other for streams, and changes nothing else of it [CORDON-5].

    **Cancellation.** Orders are *indeterminate*: the whole order has effect or nothing of it, and repeating it is safe
    [CORDON-6].
    """

    async def cordon_node(self, node_id: NodeId, /) -> None:
        """Keep new work off a node: `cordoned` becomes true [CORDON-1].

        A node that is cordoned stays as it is, with its drain if it has one [CORDON-2].

        Raises:
            NodeNotFound: No such node [CORDON-3].
        """
        ...

    async def drain_node(self, node_id: NodeId, /, *, reason: str, deadline: datetime | None = None) -> None:
        """Order everything off a node: `cordoned` becomes true and `drain` is set [DRAIN-1].

        A repeat replaces reason and deadline [DRAIN-2].

        Args:
            node_id: Which node.
            reason: One line for people, not empty.
            deadline: From then on (UTC) instances are stopped without waiting for replacements; None waits for ever.

        Raises:
            NodeNotFound: No such node [DRAIN-3].
            ConfigInvalid: The reason is blank, has several lines or can't be encoded in UTF-8, or the deadline has no
                time zone; nothing has changed [DRAIN-4].
        """
        ...

    async def uncordon_node(self, node_id: NodeId, /) -> None:
        """Let work on the node again: `cordoned` becomes false and `drain` None [UNCORDON-1]. Idempotent [UNCORDON-2].

        Raises:
            NodeNotFound: No such node [UNCORDON-3].
        """
        ...
