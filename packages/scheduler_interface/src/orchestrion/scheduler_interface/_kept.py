"""Views of a cluster that share what has not changed between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, final, runtime_checkable

from attrs import field, frozen
from orchestrion.shared_types import InstanceKey, Node, NodeId

from ._types import NodeView, PlacedInstance
from ._view import node_view

if TYPE_CHECKING:
    from ._keeper import Place

MAX_CHANGES: Final = 20_000
"""Changes that are remembered for `changes_since` at least; at most twice as many."""

PAGE: Final = 64
"""Nodes whose states are copied together when one of them changes."""

MAX_UNDONE: Final = 32
"""Changes of a node that are undone, and later states that are gone back from, to work out an earlier state of it."""


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
    """What a node was like in one or several views. Its view is made when somebody asks for it.

    As long as it is the node's latest, it is what the keeper's place says now, but for changes since it was shown;
    afterwards it is what the next state was, but for the changes in between.

    Attributes:
        node: The node.
        place: Where the keeper has it, while this is its latest state.
        undo: For each change since, latest last: which instance, and what was there before; none for a state whose view
            was made.
        newer: The next state, for one that is not the latest and whose view was not made.
        depth: How many states before it lean on it.
        made: Its view, once that was made; it needs no other state then.
    """

    __slots__ = ("depth", "made", "newer", "node", "place", "undo")

    def __init__(self, node: Node, place: Place | None, made: NodeView | None = None) -> None:
        self.node = node
        self.place = place
        self.undo: list[tuple[InstanceKey, PlacedInstance | None]] = []
        self.newer: State | None = None
        self.depth = 0
        self.made = made

    def view(self) -> NodeView:
        """Return the node's view."""
        made = self.made
        if made is None:
            place = self.place
            if place is not None and not self.undo:
                made = place.build(self.node)
            else:
                made = node_view(self.node, self._instances().values())
            self.made = made
            self.newer = None
            self.undo = []
        return made

    def _instances(self) -> dict[InstanceKey, PlacedInstance]:
        later: list[State] = []
        state = self
        while state.made is None and state.newer is not None:
            later.append(state)
            state = state.newer
        if state.made is not None:
            instances = dict(state.made.instances)
        elif state.place is not None:
            instances = dict(state.place.instances)
            later.append(state)
        for each in reversed(later):
            for key, before in reversed(each.undo):
                if before is None:
                    del instances[key]
                else:
                    instances[key] = before
        return instances

    def note(self, key: InstanceKey, before: PlacedInstance | None) -> None:
        """Note that an instance of the latest state is about to change."""
        if self.made is None:
            if len(self.undo) >= MAX_UNDONE:
                self.view()
            else:
                self.undo.append((key, before))

    def supersede(self, node: Node) -> State:
        """Return the next state, of what the place says now."""
        place = self.place
        later = State(node, place)
        if self.made is None and self.depth >= MAX_UNDONE:
            self.view()
        if self.made is None:
            later.depth = self.depth + 1
            self.newer = later
        self.place = None
        return later


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

    def between(self, earlier: int, later: int) -> list[NodeChange] | None:
        """Return the changes after one revision, up to another; None where they are not known."""
        before = self.before
        return self.changes[earlier - before : later - before] if before <= earlier <= later else None

    def cut(self) -> History:
        """Return what is to be gone on with: the latest `MAX_CHANGES`, once there are twice as many."""
        surplus = len(self.changes) - MAX_CHANGES
        return self if surplus < MAX_CHANGES else History(self.before + surplus, self.changes[surplus:])


@final
class KeptView:
    """A `ClusterView` that tells every change since earlier ones of the same keeper; the keeper makes it.

    Views of nodes are made when they are asked for.
    """

    __slots__ = ("__weakref__", "_history", "_revision", "_table")

    def __init__(self, revision: int, table: Table, history: History) -> None:
        self._revision = revision
        self._table = table
        self._history = history

    @property
    def revision(self) -> int:
        """Higher is later."""
        return self._revision

    @property
    def table(self) -> Table:
        """The states of its nodes."""
        return self._table

    def __len__(self) -> int:
        return len(self._table.places)

    def __iter__(self) -> Iterator[NodeView]:
        return (state.view() for state in self._table.in_order())

    def get(self, node_id: NodeId, /) -> NodeView | None:
        """Return one node, or None where there is none of that id."""
        state = self._table.get(node_id)
        return None if state is None else state.view()

    def changes_since(self, revision: int, /) -> frozenset[NodeId] | None:
        """Return the ids of the nodes that have changed after `revision`, or None where that is no longer known."""
        changes = self._history.between(revision, self._revision)
        return None if changes is None else frozenset(change.node_id for change in changes)

    def node_changes_since(self, revision: int, /) -> Sequence[NodeChange] | None:
        """Return all changes after `revision`, or None where they are no longer known."""
        return self._history.between(revision, self._revision)
