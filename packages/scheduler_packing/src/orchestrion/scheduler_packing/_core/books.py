"""Who holds a place where, kept by the scheduler itself: deciding and committing in one go."""

from __future__ import annotations

from typing import Any, Final, final

from librt.vecs import append, vec
from mypy_extensions import i64, mypyc_attr
from orchestrion.scheduler_packing._core.fleet import Fleet
from orchestrion.scheduler_packing._core.order import MAX_NODES, POSITION_BITS, Order
from orchestrion.scheduler_packing._core.placing import NOWHERE, Shape, first_fitting, room, take
from orchestrion.scheduler_packing._core.search import BELOW_ALL, Field
from orchestrion.scheduler_packing._core.terms import Term

MAX_EPOCHS: Final = 1 << 31
"""Epochs are less than this."""
_INDEX_BITS: Final = 31
_MAX_INDEXES: Final = 1 << _INDEX_BITS
"""Of an index so many bits are the lowest of an incarnation's number: tables tell numbers apart by these first."""
MAX_LOTS: Final = 1 << 16
"""What so many workloads want is remembered by identity; those met first are forgotten first."""
NOBODY: Final = -1
"""The number of no incarnation."""
NO_PORTS: Final[list[int]] = []
NO_TERMS: Final[list[Term]] = []
_MOST: Final = (1 << 62) - 1


@final
@mypyc_attr(acyclic=True)
class Places:
    """Where the incarnations of one workload id hold places: the lot's number, and below it a position, by number.

    Most hold one, which takes no table.

    Attributes:
        users: How many lots have it.
    """

    def __init__(self) -> None:
        self.users: int = 0
        self._number: int = NOBODY
        self._where: int = 0
        self._others: dict[int, int] | None = None

    def get(self, number: int) -> int:
        """Return where an incarnation holds a place, or -1."""
        if self._number == number:
            return self._where
        others = self._others
        if others is None:
            return NOWHERE
        where = others.get(number)
        return NOWHERE if where is None else where

    def put(self, number: int, where: int) -> None:
        """Note where an incarnation holds a place that held none."""
        if self._number == NOBODY:
            self._number = number
            self._where = where
            return
        others = self._others
        if others is None:
            others = {}
            self._others = others
        others[number] = where

    def pop(self, number: int) -> int:
        """Forget an incarnation, and return where it held a place, or -1."""
        if self._number == number:
            self._number = NOBODY
            return self._where
        others = self._others
        if others is None:
            return NOWHERE
        where = others.pop(number, None)
        return NOWHERE if where is None else where

    def table(self) -> dict[int, int]:
        """Return all places as a table, for many to be looked up and noted in it while nothing else notes any."""
        others = self._others
        if others is None:
            others = {}
            self._others = others
        if self._number != NOBODY:
            others[self._number] = self._where
            self._number = NOBODY
        return others

    def all_of(self) -> list[int]:
        """Return where all hold places."""
        found: list[int] = []
        if self._number != NOBODY:
            found.append(self._where)
        if self._others is not None:
            found.extend(self._others.values())
        return found


@final
@mypyc_attr(acyclic=True)
class Lot:
    """What the slots of one workload want, and how many of them hold a place.

    Attributes:
        workload: The workload, which is told by its identity.
        wanted: What the maker of the lot noted about it; None for one that was taken in here.
        is_possible: Whether there is such a node at all, however empty.
        uid: Its id.
        shape: What a slot takes.
        order: The nodes that may take one; None where more is to be looked at than room and terms.
        field: Where a slot may go beside that, where something else binds it than room.
        counted_by: The terms that count the workload's instances.
        held: The places of its id's incarnations.
        number: Which lot this is.
        count: How many hold a place.
        is_current: Whether it is still found by its workload.
    """

    def __init__(self, workload: Any, wanted: Any, uid: str, shape: Shape, order: Order | None, held: Places) -> None:
        self.workload: Any = workload
        self.wanted: Any = wanted
        self.is_possible: bool = True
        self.uid: str = uid
        self.shape: Shape = shape
        self.order: Order | None = order
        self.field: Field | None = None
        self.counted_by: list[Term] = NO_TERMS
        self.held: Places = held
        self.number: int = 0
        self.count: i64 = 0
        self.is_current: bool = True


@final
class Books:
    """The places of a fleet, by incarnation.

    Attributes:
        fleet: The nodes.
        plain: The nodes that suit plain processes that want nothing but room; None where these, too, are for `make`.
            Workloads of nothing else are taken in here, all others by `make`.
        lots: What workloads want, by number; None where a number is unused.
        fresh: The slots that `place` gave a place when it was last called, and that had none before.
    """

    def __init__(self, fleet: Fleet, make: Any, released: Any) -> None:
        """Open empty books.

        Args:
            fleet: The nodes.
            make: Called with a workload; makes its lot.
            released: Called with the key and position of each place that was given up, of lots without an order.
        """
        self.fleet: Fleet = fleet
        self.plain: Order | None = None
        self.fresh: list[Any] = []
        self._plain_placement: Any = None
        self._make: Any = make
        self._released: Any = released
        self._known: dict[Any, Lot] = {}
        # Their identities in the order in which they were met, from `_oldest` round to the one before it.
        self._met: list[Any] = []
        self._oldest: int = 0
        self._nothing: Any = None
        self.lots: list[Lot | None] = []
        self._unused: list[int] = []
        self._held: dict[str, Places] = {}

    def lot_of(self, workload: Any) -> Lot:
        """Return what the slots of a workload want."""
        # As an object: a number would be made one for each look into a table.
        identity: Any = id(workload)
        known = self._known.get(identity)
        if known is not None:
            return known
        lot = self._plain_lot(workload)
        if lot is None:
            lot = self._make(workload)
        self._remember(lot, identity)
        return lot

    def held_of(self, uid: str) -> Places:
        """Return an id's places."""
        return self._held.setdefault(uid, Places())

    def _plain_lot(self, workload: Any) -> Lot | None:
        """Return the lot of a workload that asks for cpu, memory and disk alone, or None where it asks for more."""
        plain = self.plain
        if plain is None:
            return None
        placement = workload.placement
        if placement is not self._plain_placement:
            if not is_plain(placement):
                return None
            self._plain_placement = placement
        cpu: int = 0
        memory: int = 0
        disk: int = 0
        containers = workload.containers
        if not isinstance(containers, tuple):
            return None
        for container in containers:
            resources = container.resources
            extended = resources.extended
            if (
                container.ports
                or container.gpu is not None
                or container.driver is not None
                or container.image is not None
            ):
                return None
            # Most have the same empty mapping, whose length takes longer to ask for than all the rest.
            if extended is not self._nothing:
                if extended:
                    return None
                self._nothing = extended
            cpu += resources.cpu_millicores
            memory += resources.memory_bytes
            disk += resources.disk_bytes
        if cpu > _MOST or memory > _MOST or disk > _MOST:
            return None
        amounts = vec[i64]([cpu, memory, disk])
        uid: str = workload.metadata.uid
        return Lot(workload, None, uid, Shape(amounts, 0, NO_PORTS), plain, self.held_of(uid))

    def _make_again(self, lot: Lot) -> Lot:
        """Let the maker look at a workload that was taken in here."""
        made: Lot = self._make(lot.workload)
        lot.wanted = made.wanted
        return lot

    def _remember(self, lot: Lot, identity: Any) -> None:
        lot.held.users += 1
        if len(self._met) < MAX_LOTS:
            self._met.append(identity)
        else:
            oldest = self._known.pop(self._met[self._oldest])
            self._met[self._oldest] = identity
            self._oldest = (self._oldest + 1) % MAX_LOTS
            oldest.is_current = False
            self._forget_unused(oldest)
        if self._unused:
            lot.number = self._unused.pop()
            self.lots[lot.number] = lot
        else:
            lot.number = len(self.lots)
            self.lots.append(lot)
        self._known[identity] = lot

    def _forget_unused(self, lot: Lot) -> None:
        if lot.count == 0 and not lot.is_current:
            self.lots[lot.number] = None
            self._unused.append(lot.number)
            lot.held.users -= 1
            if lot.held.users == 0:
                self._held.pop(lot.uid, None)

    def place(self, requests: Any, careful: Any) -> vec[i64]:
        """Give every slot of every request a place, one after the other, and keep them.

        Args:
            requests: The requests, in order.
            careful: Called with a request, its lot and the positions so far where there is more to look at than room;
                returns the positions with those of the request's slots.

        Returns:
            A position for each slot, in order; -1 where no node has room, or less than the request's minimum has.

        Raises:
            ValueError: A slot is not the workload's, has too high an epoch, or there are fewer than the minimum.
        """
        placed = vec[i64]()
        self.fresh = []
        for request in requests:
            minimum: i64 = request.minimum
            begun: i64 = 0
            known: i64 = 0
            if minimum != 0:
                check_minimum(request, minimum)
                begun = len(placed)
                known = len(self.fresh)
            lot = self.lot_of(request.workload)
            order = lot.order
            if order is None or request.only_node is not None:
                if lot.wanted is None:
                    lot = self._make_again(lot)
                placed = careful(request, lot, placed)
            elif lot.field is not None:
                placed = self._place_bound(request.slots, lot, lot.field, placed)
            else:
                slots = request.slots
                if len(slots) == 1:
                    placed = append(placed, self._place_one(slots[0], lot, order))
                else:
                    placed = self._place_plain(slots, lot, order, placed)
            if minimum > 1:
                self._keep_minimum(request.slots, minimum, placed, begun, known)
        return placed

    def _keep_minimum(self, slots: Any, minimum: i64, placed: vec[i64], begun: i64, known: i64) -> None:
        """Take the places of a request's slots away again that they did not have before, if they are too few.

        Args:
            slots: The slots.
            minimum: How many have to hold a place.
            placed: The positions so far, those of the slots last; put right here.
            begun: How many of them are those of requests before.
            known: How many of `fresh` are.
        """
        at: i64 = begun
        end: i64 = len(placed)
        number: i64 = 0
        while at < end:
            if placed[at] >= 0:
                number += 1
            at += 1
        if number >= minimum:
            return
        self.release(self.fresh[known:])
        del self.fresh[known:]
        at = begun
        for slot in slots:
            placed[at] = self.position_of(slot)
            at += 1

    def _place_one(self, slot: Any, lot: Lot, order: Order) -> i64:
        """Give the only slot of a request a place; return its position, or -1."""
        owner = slot.workload_id
        if owner is not lot.uid and owner != lot.uid:
            raise ValueError(f"slot {slot} does not belong to the workload whose uid is {lot.uid}")
        number = number_of(slot)
        held = lot.held
        where = held.get(number)
        if where >= 0:
            return where & MAX_NODES
        order.catch_up()
        rank: i64 = first_fitting(self.fleet, order, lot.shape, -1)
        if rank < 0:
            return NOWHERE
        position: i64 = rank & MAX_NODES
        self._take(lot, position, 1)
        held.put(number, (lot.number << POSITION_BITS) + position)
        self.fresh.append(slot)
        return position

    def _place_plain(self, slots: Any, lot: Lot, order: Order, placed: vec[i64]) -> vec[i64]:
        fleet = self.fleet
        shape = lot.shape
        uid = lot.uid
        fresh = self.fresh
        tag: int = lot.number << POSITION_BITS
        position: i64 = NOWHERE
        # The lot and `position`, as they are noted: one object for all slots that go to one node.
        here: Any = NOWHERE
        left: i64 = 0
        used: i64 = 0
        asked: i64 = len(slots)
        is_full = False
        many: dict[int, Any] = lot.held.table()
        size: i64 = len(many)
        for slot in slots:
            owner = slot.workload_id
            if owner is not uid and owner != uid:
                self._settle(lot, position, used)
                raise ValueError(f"slot {slot} does not belong to the workload whose uid is {uid}")
            epoch: int = slot.epoch
            if epoch >= MAX_EPOCHS:
                self._settle(lot, position, used)
                raise too_high(slot)
            index: int = slot.index
            number: int = number_from(index, epoch)
            where: int = NOWHERE
            is_noted = False
            if left > 0:
                # One look into the table finds the place or notes it; which of them, its size says.
                known = many.setdefault(number, here)
                if len(many) > size:
                    size += 1
                    is_noted = True
                else:
                    where = known
            else:
                known = many.get(number)
                if known is not None:
                    where = known
            asked -= 1
            if where >= 0:
                placed = append(placed, where & MAX_NODES)
                continue
            if left == 0 and not is_full:
                self._settle(lot, position, used)
                used = 0
                order.catch_up()
                rank: i64 = first_fitting(fleet, order, shape, -1)
                if rank < 0:
                    is_full = True
                    position = NOWHERE
                else:
                    position = rank & MAX_NODES
                    here = tag + position
                    left = 1
                    if asked > 0 and order.keeps_first:
                        left = room(fleet, shape, position, asked + 1)
            if is_full:
                placed = append(placed, NOWHERE)
                continue
            left -= 1
            used += 1
            if not is_noted:
                many[number] = here
                size += 1
            fresh.append(slot)
            placed = append(placed, position)
        self._settle(lot, position, used)
        return placed

    def _place_bound(self, slots: Any, lot: Lot, field: Field, placed: vec[i64]) -> vec[i64]:
        held = lot.held
        tag: int = lot.number << POSITION_BITS
        is_full = False
        for slot in slots:
            if slot.workload_id != lot.uid:
                raise ValueError(f"slot {slot} does not belong to the workload whose uid is {lot.uid}")
            number = number_of(slot)
            where = held.get(number)
            position: i64 = NOWHERE
            if where >= 0:
                position = where & MAX_NODES
            elif not is_full:
                position = field.best(self.fleet, lot.shape, BELOW_ALL, NOWHERE)
                if position < 0:
                    is_full = True
                else:
                    self._take(lot, position, 1)
                    held.put(number, tag + position)
                    self.fresh.append(slot)
            placed = append(placed, position)
        return placed

    def _settle(self, lot: Lot, position: i64, used: i64) -> None:
        if used > 0:
            self._take(lot, position, used)

    def _take(self, lot: Lot, position: i64, number: i64) -> None:
        take(self.fleet, lot.shape, position, number)
        lot.count += number
        for term in lot.counted_by:
            term.add(position, number)

    def count_into(self, lot: Lot, term: Term) -> None:
        """Have a term count the places of a lot, those that it has and those to come."""
        lot.counted_by = [*lot.counted_by, term]
        for where in lot.held.all_of():
            if where >> POSITION_BITS == lot.number:
                term.add(where & MAX_NODES, 1)

    def hold(self, lot: Lot, key: Any, position: i64) -> None:
        """Give an incarnation a place that was chosen outside."""
        number = number_of(key)
        self._take(lot, position, 1)
        self.fresh.append(key)
        lot.held.put(number, (lot.number << POSITION_BITS) + position)

    def position_of(self, key: Any) -> i64:
        """Return where an incarnation holds a place, or -1."""
        held = self._held.get(key.workload_id)
        if held is None or key.epoch >= MAX_EPOCHS:
            return NOWHERE
        where = held.get(number_of(key))
        return where & MAX_NODES if where >= 0 else NOWHERE

    def release(self, keys: Any) -> i64:
        """Give up the places of some incarnations; those that hold none are passed over. Return how many held one."""
        released: i64 = 0
        for key in keys:
            held = self._held.get(key.workload_id)
            if held is None or key.epoch >= MAX_EPOCHS:
                continue
            where = held.pop(number_of(key))
            if where < 0:
                continue
            lot = self.lots[where >> POSITION_BITS]
            if lot is None:
                raise AssertionError(f"{key} holds a place of a lot that was forgotten")
            self._take(lot, where & MAX_NODES, -1)
            released += 1
            if lot.order is None:
                self._released(key, where & MAX_NODES)
            self._forget_unused(lot)
        return released


def count_placed(positions: vec[i64]) -> i64:
    """Return how many positions are those of nodes."""
    number: i64 = 0
    at: i64 = 0
    end: i64 = len(positions)
    while at < end:
        if positions[at] >= 0:
            number += 1
        at += 1
    return number


def is_plain(placement: Any) -> bool:
    """Whether a placement says nothing."""
    return not (
        placement.select
        or placement.spreads
        or placement.tolerations
        or placement.expressions
        or placement.node_affinities
        or placement.instance_affinities
    )


def check_minimum(request: Any, minimum: i64) -> None:
    """Raise ValueError where a request has fewer slots than are to be placed together."""
    size: i64 = len(request.slots)
    if minimum < 0 or minimum > size:
        name = request.workload.metadata.name
        raise ValueError(f"{minimum} of the {size} slots of workload {name!r} are to be placed together")


def too_high(key: Any) -> ValueError:
    """Return the error about an epoch that is too high."""
    return ValueError(f"the epoch of {key} is not below {MAX_EPOCHS}")


def number_of(key: Any) -> int:
    """Return an incarnation of a workload as one number.

    Raises:
        ValueError: Its epoch is too high.
    """
    epoch: int = key.epoch
    if epoch >= MAX_EPOCHS:
        raise too_high(key)
    index: int = key.index
    return number_from(index, epoch)


def number_from(index: int, epoch: int) -> int:
    """Return an index and an epoch below `MAX_EPOCHS` as one number, which no other two have."""
    if index < _MAX_INDEXES:
        low: i64 = index
        high: i64 = epoch
        return (high << _INDEX_BITS) + low
    above = index // _MAX_INDEXES
    return (above * MAX_EPOCHS + epoch) * _MAX_INDEXES + index % _MAX_INDEXES
