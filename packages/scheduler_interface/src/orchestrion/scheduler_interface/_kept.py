"""Views of a cluster that share what has not changed between them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, final, runtime_checkable

from attrs import field, frozen
from orchestrion.shared_types import InstanceKey, Node, NodeId

from ._types import EMPTY, NodeView, PlacedInstance
from ._view import node_view

if TYPE_CHECKING:
    from ._keeper import Place

MAX_CHANGES: Final = 20_000
"""Changes that are remembered for `changes_since` at least; at most twice as many."""

PAGE: Final = 64
"""Nodes whose states are copied together when one of them changes."""

MAX_UNDONE: Final = 32
"""So many changes of a node, or as many as it holds instances, are undone at most to work out an earlier view of it."""


class NodeChange(NamedTuple):
    """What has changed on a node: an instance arrived, left, or is otherwise, or the node itself has changed.

    Attributes:
        node_id: Which node; it need not be in the view.
        arrived: An instance that the node holds from then on; None for none.
        left: What the node held instead, with the same key, or what has left it; None for none. Where both are None,
            the node itself came, went or changed.
    """

    node_id: NodeId
    arrived: PlacedInstance | None = None
    left: PlacedInstance | None = None


@runtime_checkable
class SupportsNodeChanges(Protocol):
    """A `ClusterView` that tells change by change how it came out of an earlier one."""

    def node_changes_since(self, revision: int, /) -> Sequence[NodeChange] | None:
        """Return all changes after `revision` and up to this view's, in their order.

        An instance that is on another node than before has left the one and then arrived on the other.

        None where that is no longer known, or `revision` is above this view's: look at everything.
        """
        ...


@final
class State:
    """What a node is like in some successive views. A view of it is made when somebody asks for it.

    It is what the keeper's place says now, or at the end of the state said, but for the changes of instances after the
    revision that is asked for; these are logged and undone.

    Attributes:
        node: The node.
        place: Where the keeper has it, while this is its latest state.
        instances: What the place held at the end, for one that is not the latest.
        revisions: Which revision each change since the beginning has made, ascending.
        changes: The changes.
        made: The view of it that was made last.
    """

    __slots__ = ("_counted", "changes", "instances", "made", "node", "place", "revisions")

    def __init__(self, node: Node, place: Place | None, made: NodeView | None = None) -> None:
        self.node = node
        self.place = place
        self.instances: Mapping[InstanceKey, PlacedInstance] = EMPTY
        self.revisions: list[int] = []
        self.changes: list[NodeChange] = []
        self.made = made
        # How many of the changes the view that was made has in it.
        self._counted = 0

    def view(self, revision: int) -> NodeView:
        """Return the node's view as of a revision."""
        revisions = self.revisions
        counted = len(revisions)
        if counted and revisions[-1] > revision:
            counted = bisect_right(revisions, revision)
        made = self.made
        if made is None or counted != self._counted:
            place = self.place
            if place is not None and counted == len(revisions):
                made = place.build(self.node)
            else:
                made = node_view(self.node, self._instances(counted).values())
            self.made = made
            self._counted = counted
        return made

    def _instances(self, counted: int) -> dict[InstanceKey, PlacedInstance]:
        """Return what the node held after so many of the changes."""
        instances = dict(self.instances if self.place is None else self.place.instances)
        for change in reversed(self.changes[counted:]):
            if change.arrived is not None:
                del instances[change.arrived.key]
            if change.left is not None:
                instances[change.left.key] = change.left
        return instances

    def note(self, revision: int, change: NodeChange) -> bool:
        """Note that an instance of the latest state is about to change.

        Returns:
            Whether another state, which is now the latest, has to be shown instead.
        """
        place = self.place
        size = len(self.revisions)
        # Who undoes as much as there is, or a little, loses no more than a few times what a view costs anyway.
        if place is None or size < MAX_UNDONE or size < len(place.instances):
            self.revisions.append(revision)
            self.changes.append(change)
            return False
        self.end()
        later = place.shown = State(self.node, place)
        later.note(revision, change)
        return True

    def end(self) -> None:
        """Note that the place will be what another state says."""
        if self.place is not None:
            self.instances = self.place.instances.copy()
            self.place = None


@frozen(eq=False)
class Table:
    """States of nodes by id. It never changes; a changed copy shares all pages on which nothing is different.

    Attributes:
        places: The place of each node, ascending by id.
        pages: States by place, `PAGE` at a time.
    """

    places: Mapping[NodeId, int] = field(factory=dict)
    pages: list[list[State]] = field(factory=list)

    @classmethod
    def of(cls, states: Mapping[NodeId, State]) -> Table:
        """Return the table of these states."""
        ids = sorted(states)
        ordered = [states[node_id] for node_id in ids]
        pages = [ordered[start : start + PAGE] for start in range(0, len(ordered), PAGE)]
        return cls({node_id: place for place, node_id in enumerate(ids)}, pages)

    def get(self, node_id: NodeId) -> State | None:
        """Return a node's state, or None where there is none."""
        place = self.places.get(node_id)
        return None if place is None else self.pages[place // PAGE][place % PAGE]

    def in_order(self) -> Iterator[State]:
        """Yield the states, ascending by id."""
        return chain.from_iterable(self.pages)

    def changed(self, states: Mapping[NodeId, State | None]) -> Table:
        """Return the table with these states instead; None takes away a node, or is about one that is not there."""
        places = self.places
        pages = self.pages.copy()
        own: set[int] = set()
        for node_id, state in states.items():
            place = places.get(node_id)
            if place is None or state is None:
                if place is None and state is None:
                    continue
                return self._rebuilt(states)
            page = place // PAGE
            if page not in own:
                own.add(page)
                pages[page] = pages[page].copy()
            pages[page][place % PAGE] = state
        return Table(places, pages)

    def _rebuilt(self, states: Mapping[NodeId, State | None]) -> Table:
        after: dict[NodeId, State | None] = dict(zip(self.places, self.in_order(), strict=True))
        after.update(states)
        return Table.of({node_id: state for node_id, state in after.items() if state is not None})


@frozen(eq=False)
class History:
    """What each revision has changed. It is shared by views, and only grows.

    Attributes:
        before: The revision before the first change that is known.
        changes: The change of each later revision.
    """

    before: int = 0
    changes: list[NodeChange] = field(factory=list)

    def cut(self) -> History:
        """Return what is to be gone on with: the latest `MAX_CHANGES`, once there are twice as many."""
        surplus = len(self.changes) - MAX_CHANGES
        return self if surplus < MAX_CHANGES else History(self.before + surplus, self.changes[surplus:])


@final
class KeptView:
    """A `ClusterView` that tells every change since earlier ones of the same keeper; the keeper makes it.

    Views of nodes are made when they are asked for.

    Attributes:
        revision: Higher is later.
        table: The states of its nodes.
        as_of: The keeper's revision by which the table is read; that of a draft's views is the one it began with.
    """

    __slots__ = ("__weakref__", "_history", "as_of", "revision", "table")

    def __init__(self, revision: int, table: Table, history: History, as_of: int) -> None:
        self.revision = revision
        self.table = table
        self.as_of = as_of
        self._history = history

    def __len__(self) -> int:
        return len(self.table.places)

    def __iter__(self) -> Iterator[NodeView]:
        return (state.view(self.as_of) for state in self.table.in_order())

    def get(self, node_id: NodeId, /) -> NodeView | None:
        """Return one node, or None where there is none of that id."""
        state = self.table.get(node_id)
        return None if state is None else state.view(self.as_of)

    def changes_since(self, revision: int, /) -> frozenset[NodeId] | None:
        """Return the ids of the nodes that have changed after `revision`, or None where that is no longer known."""
        changes = self.node_changes_since(revision)
        return None if changes is None else frozenset(change.node_id for change in changes)

    def node_changes_since(self, revision: int, /) -> Sequence[NodeChange] | None:
        """Return all changes after `revision`, or None where they are no longer known."""
        history, latest = self._history, self.revision
        before = history.before
        return history.changes[revision - before : latest - before] if before <= revision <= latest else None
