"""Views of a cluster that are kept up to date change by change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import partial
from itertools import count
from typing import Final, TypeVar

from attrs import define, evolve, field
from immutabledict import immutabledict
from orchestrion.shared_types import MAX_AMOUNT, InstanceKey, Node, NodeId, NodeStatus, Resources

from ._kept import History, KeptView, NodeChange, State, Table
from ._types import EMPTY, HostPort, NodeView, PlacedInstance
from ._view import node_view

K = TypeVar("K", bound=Hashable)

_DRAFTS: Final = count(1)
_KEEPERS: Final = count(1)

_change: Final[Callable[[tuple[NodeId, PlacedInstance, PlacedInstance | None]], NodeChange]] = partial(
    tuple.__new__, NodeChange
)
"""As `NodeChange` with arguments, in half the time."""

_NONE_EXTENDED: Final = Resources().extended
_NO_DEVICES: Final = EMPTY
_SPAN: Final = 1_000_000_000
"""More than a draft ever has revisions. They are below 0, and those of each draft its own."""
_KEPT_SPAN: Final = 1_000_000_000_000
"""More than a keeper ever has revisions. Those of each keeper are its own, so that nobody who has seen the views of one
takes those of another for what came of them."""


@define(eq=False)
class Place:
    """A node in the making: what is placed there, in a form that is cheap to change.

    Attributes:
        node_id: Which node.
        node: What it is like; None for one that is not there.
        leased: Whether its loop is at work.
        instances: What is placed there.
        shown: Its state in the latest view; None where that does not have it.
        is_renewed: Whether the node itself has changed since.
    """

    node_id: NodeId
    node: Node | None = None
    leased: bool = False
    instances: dict[InstanceKey, PlacedInstance] = field(factory=dict)
    shown: State | None = None
    is_renewed: bool = False
    _cpu: int = 0
    _memory: int = 0
    _disk: int = 0
    _extended: Counter[str] | None = None
    _ports: Counter[HostPort] | None = None
    _devices: Counter[str] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nobody has to remember it."""
        return self.node is None and not self.leased and not self.instances

    def count(self, placed: PlacedInstance, sign: int) -> None:
        """Count in what an instance holds, with 1, or out, with -1."""
        demand = placed.demand
        self._cpu += sign * demand.cpu_millicores
        self._memory += sign * demand.memory_bytes
        self._disk += sign * demand.disk_bytes
        # Most hold neither; the empty mapping that those have is told without a look into it.
        if demand.extended is not _NONE_EXTENDED and demand.extended:
            self._extended = _counted(self._extended, demand.extended.items(), sign)
        if placed.host_ports:
            self._ports = _counted(self._ports, ((port, 1) for port in placed.host_ports), sign)
        if placed.device_thousandths is not _NO_DEVICES and placed.device_thousandths:
            self._devices = _counted(self._devices, placed.device_thousandths.items(), sign)

    def build(self, node: Node) -> NodeView:
        """Return a view of what it is like now."""
        extended = self._extended
        reserved = Resources(
            cpu_millicores=min(MAX_AMOUNT, self._cpu),
            memory_bytes=min(MAX_AMOUNT, self._memory),
            disk_bytes=min(MAX_AMOUNT, self._disk),
            extended={name: min(MAX_AMOUNT, extended[name]) for name in sorted(extended)} if extended else {},
        )
        return NodeView(
            node=node,
            reserved=reserved,
            host_ports=frozenset(self._ports or ()),
            device_thousandths=self._devices or {},
            instances=immutabledict(self.instances),
        )

    def show(self) -> State | None:
        """Return its latest state; None for a node that is not there."""
        before = self.shown
        if before is not None and not self.is_renewed:
            return before
        self.is_renewed = False
        if before is not None:
            before.end()
        node = self.node
        if node is not None and not self.leased and node.status is NodeStatus.READY:
            node = evolve(node, status=NodeStatus.UNKNOWN)
        self.shown = None if node is None else State(node, self)
        return self.shown


def _counted(totals: Counter[K] | None, amounts: Iterable[tuple[K, int]], sign: int) -> Counter[K]:
    counted: Counter[K] = Counter() if totals is None else totals
    for name, amount in amounts:
        total = counted[name] + sign * amount
        if total:
            counted[name] = total
        else:
            del counted[name]
    return counted


@define(eq=False)
class ViewKeeper:
    """Keeps what is placed where, and makes views of it, each at the price of what has changed since the one before.

    A node without a lease has no loop at work; it is shown as Unknown, so that nothing is placed there.

    Every method is idempotent: an instance key holds one place, the latest that was put, and what is the case already
    is no change. Not for several threads at once.

    Views of different keepers of a process have different revisions, and know nothing of each other's changes.
    """

    _places: dict[NodeId, Place] = field(factory=dict)
    _where: dict[InstanceKey, Place] = field(factory=dict)
    _dirty: dict[NodeId, Place] = field(factory=dict)
    _history: History = field(factory=lambda: History(next(_KEEPERS) * _KEPT_SPAN), init=False)
    _current: KeptView = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Begin with the view of no nodes."""
        before = self._history.before
        self._current = KeptView(before, Table(), self._history, before)

    def set_node(self, node: Node) -> None:
        """Note a node as it is now."""
        place = self._place(node.id)
        if place.node is not node and place.node != node:
            place.node = node
            self._renew(place)

    def remove_node(self, node_id: NodeId) -> None:
        """Note that a node is gone; what is placed there is remembered, in case it comes back."""
        place = self._places.get(node_id)
        if place is not None and place.node is not None:
            place.node = None
            self._renew(place)

    def set_leased(self, node_id: NodeId, leased: bool) -> None:
        """Note whether a node's loop is at work; of a node that is not known, too."""
        known = self._places.get(node_id)
        if leased != (known is not None and known.leased):
            place = self._place(node_id)
            place.leased = leased
            self._renew(place)

    def put(self, node_id: NodeId, placed: PlacedInstance) -> None:
        """Note that an instance holds a place on a node, known or not, and on no other."""
        key = placed.key
        place = self._places.get(node_id) or self._place(node_id)
        held = self._where.setdefault(key, place)
        before: PlacedInstance | None = None
        if held is not place:
            self._leave(held, key)
            self._where[key] = place
        else:
            before = place.instances.get(key)
            if before is not None and before == placed:
                return
        self._note(place, _change((node_id, placed, before)))
        if before is not None:
            place.count(before, -1)
        place.instances[key] = placed
        place.count(placed, 1)

    def remove(self, key: InstanceKey) -> None:
        """Note that an instance holds no place any more."""
        place = self._where.pop(key, None)
        if place is not None:
            self._leave(place, key)

    def holds(self, key: InstanceKey) -> bool:
        """Whether an instance holds a place."""
        return key in self._where

    @property
    def remembered(self) -> int:
        """How many nodes and places are remembered."""
        return len(self._places) + len(self._where)

    def view(self) -> KeptView:
        """Return the view as of now, the same one again where nothing has changed."""
        history, current = self._history, self._current
        revision = history.before + len(history.changes)
        if revision == current.revision:
            return current
        table = current.table
        if self._dirty:
            table = table.changed({node_id: place.show() for node_id, place in self._dirty.items()})
            self._dirty.clear()
        self._history = history = history.cut()
        self._current = current = KeptView(revision, table, history, revision)
        return current

    def _note(self, place: Place, change: NodeChange) -> None:
        """Note that an instance is about to change."""
        history = self._history
        changes = history.changes
        changes.append(change)
        shown = place.shown
        if shown is not None and shown.note(history.before + len(changes), change):
            self._dirty[place.node_id] = place

    def _leave(self, place: Place, key: InstanceKey) -> None:
        left = place.instances[key]
        self._note(place, NodeChange(place.node_id, None, left))
        del place.instances[key]
        place.count(left, -1)
        self._forget_if_empty(place)

    def _place(self, node_id: NodeId) -> Place:
        place = self._places.get(node_id)
        if place is None:
            place = self._places[node_id] = Place(node_id)
        return place

    def _renew(self, place: Place) -> None:
        place.is_renewed = True
        self._history.changes.append(NodeChange(place.node_id))
        self._dirty[place.node_id] = place
        self._forget_if_empty(place)

    def _forget_if_empty(self, place: Place) -> None:
        if place.is_empty:
            del self._places[place.node_id]


class Draft:
    """What is placed where, as it might be, beginning with a view.

    Nobody may think of its views as later or earlier states of the real cluster: their revisions are below 0.
    """

    def __init__(self, view: KeptView) -> None:
        """Begin with a view."""
        self._table = view.table
        self._as_of = view.as_of
        self._history = History(-next(_DRAFTS) * _SPAN)

    def view(self) -> KeptView:
        """Return the view as of now."""
        history = self._history
        return KeptView(history.before + len(history.changes), self._table, history, self._as_of)

    def put(self, node_id: NodeId, placed: Iterable[PlacedInstance]) -> None:
        """Put instances that hold no place on a node; no effect where there is no such node."""
        state = self._table.get(node_id)
        if state is not None:
            instances = state.view(self._as_of).instances
            self._set(node_id, state.node, {**instances, **{one.key: one for one in placed}})

    def remove(self, node_id: NodeId, key: InstanceKey) -> None:
        """Take an instance from a node, if it is there."""
        state = self._table.get(node_id)
        if state is not None and key in state.view(self._as_of).instances:
            instances = state.view(self._as_of).instances
            self._set(node_id, state.node, {other: placed for other, placed in instances.items() if other != key})

    def replace(self, node_id: NodeId, view: NodeView | None) -> None:
        """Show a node like this from now on; None takes it away."""
        before = self._table.get(node_id)
        state = None if view is None else State(view.node, None, view)
        self._table = self._table.changed({node_id: state})
        self._history.changes.extend(_told(node_id, None if before is None else before.view(self._as_of), view))

    def _set(self, node_id: NodeId, node: Node, instances: dict[InstanceKey, PlacedInstance]) -> None:
        self.replace(node_id, node_view(node, instances.values()))


def _told(node_id: NodeId, before: NodeView | None, after: NodeView | None) -> Iterator[NodeChange]:
    """Tell change by change how a node has become what it is; who only hears of the node takes no instance over."""
    if before is None or after is None:
        if before is not after:
            yield NodeChange(node_id)
        return
    for key, left in before.instances.items():
        arrived = after.instances.get(key)
        if arrived is not left and arrived != left:
            yield NodeChange(node_id, arrived, left)
    for key, arrived in after.instances.items():
        if key not in before.instances:
            yield NodeChange(node_id, arrived)
    if after.node is not before.node and after.node != before.node:
        yield NodeChange(node_id)
