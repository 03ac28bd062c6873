"""Who holds a place where, kept by the scheduler itself: deciding and committing in one go."""

from __future__ import annotations

from typing import Any, Final, final

from librt.vecs import append, vec
from mypy_extensions import i64
from orchestrion.scheduler_packing._core.fleet import CPU, DISK, MEMORY, PLAIN_DIMENSIONS, Fleet, zeros
from orchestrion.scheduler_packing._core.order import MAX_NODES, POSITION_BITS, Order
from orchestrion.scheduler_packing._core.placing import NOWHERE, Shape, first_fitting, room, take

MAX_EPOCHS: Final = 1 << 31
"""An incarnation is kept as one number: its index, and below it its epoch, each less than this."""
MAX_LOTS: Final = 1 << 16
"""What so many workloads want is remembered by identity; those met first are forgotten first."""
_MOST: Final = (1 << 62) - 1


@final
class Lot:
    """What the slots of one workload want, and how many of them hold a place.

    Attributes:
        workload: The workload, which is told by its identity.
        uid: Its id.
        shape: What a slot takes.
        order: The nodes that may take one; None where only the owner of the books can tell.
        held: The places of its id's incarnations, by number: the lot's number, and below it a position.
        number: Which lot this is.
        count: How many hold a place.
        is_current: Whether it is still found by its workload.
    """

    def __init__(self, workload: Any, uid: str, shape: Shape, order: Order | None, held: dict[int, int]) -> None:
        self.workload: Any = workload
        self.uid: str = uid
        self.shape: Shape = shape
        self.order: Order | None = order
        self.held: dict[int, int] = held
        self.number: int = 0
        self.count: i64 = 0
        self.is_current: bool = True


@final
class Books:
    """The places of a fleet, by incarnation.

    `orders` has, by the identity of a placement, the placement and the nodes that it suits for plain processes:
    workloads that ask for nothing else are taken in here, all others by `make`.
    """

    def __init__(self, fleet: Fleet, make: Any) -> None:
        """Open empty books.

        Args:
            fleet: The nodes.
            make: Called with a workload; makes its lot.
        """
        self.fleet: Fleet = fleet
        self.orders: dict[int, tuple[Any, Order]] = {}
        self._make: Any = make
        self._lots: dict[int, Lot] = {}
        self._numbered: list[Lot | None] = []
        self._unused: list[int] = []
        self._held: dict[str, dict[int, int]] = {}

    def lot_of(self, workload: Any) -> Lot:
        """Return what the slots of a workload want."""
        known = self._lots.get(id(workload))
        if known is not None:
            return known
        lot = self._plain_lot(workload)
        if lot is None:
            lot = self._make(workload)
        self._remember(lot)
        return lot

    def held_of(self, uid: str) -> dict[int, int]:
        """Return the table of an id's places."""
        held = self._held.get(uid)
        if held is None:
            held = {}
            self._held[uid] = held
        return held

    def _plain_lot(self, workload: Any) -> Lot | None:
        """Return the lot of a workload that asks for cpu, memory and disk alone, or None where it asks for more."""
        known = self.orders.get(id(workload.placement))
        if known is None:
            return None
        cpu: int = 0
        memory: int = 0
        disk: int = 0
        for container in workload.containers:
            resources = container.resources
            if (
                resources.extended
                or container.ports
                or container.gpu is not None
                or container.driver is not None
                or container.image is not None
            ):
                return None
            cpu += resources.cpu_millicores
            memory += resources.memory_bytes
            disk += resources.disk_bytes
        if cpu > _MOST or memory > _MOST or disk > _MOST:
            return None
        amounts = zeros(PLAIN_DIMENSIONS)
        amounts[CPU] = cpu
        amounts[MEMORY] = memory
        amounts[DISK] = disk
        uid: str = workload.metadata.uid
        return Lot(workload, uid, Shape(amounts, 0, []), known[1], self.held_of(uid))

    def _remember(self, lot: Lot) -> None:
        if len(self._lots) >= MAX_LOTS:
            for identity in self._lots:
                oldest = self._lots.pop(identity)
                oldest.is_current = False
                self._forget_unused(oldest)
                break
        if self._unused:
            lot.number = self._unused.pop()
            self._numbered[lot.number] = lot
        else:
            lot.number = len(self._numbered)
            self._numbered.append(lot)
        self._lots[id(lot.workload)] = lot

    def _forget_unused(self, lot: Lot) -> None:
        if lot.count == 0 and not lot.is_current:
            self._numbered[lot.number] = None
            self._unused.append(lot.number)
            if not lot.held:
                self._held.pop(lot.uid, None)

    def place(self, requests: Any, careful: Any) -> vec[i64]:
        """Give every slot of every request a place, one after the other, and keep them.

        Args:
            requests: The requests, in order.
            careful: Called with a request, its lot and the positions so far where there is more to look at than room;
                returns the positions with those of the request's slots.

        Returns:
            A position for each slot, in order; -1 where no node has room.
        """
        placed = vec[i64]()
        for request in requests:
            lot = self.lot_of(request.workload)
            order = lot.order
            if order is None or request.only_node is not None:
                placed = careful(request, lot, placed)
            else:
                placed = self._place_plain(request.slots, lot, order, placed)
        return placed

    def _place_plain(self, slots: Any, lot: Lot, order: Order, placed: vec[i64]) -> vec[i64]:
        fleet = self.fleet
        shape = lot.shape
        held = lot.held
        uid = lot.uid
        tag: int = lot.number << POSITION_BITS
        position: i64 = NOWHERE
        left: i64 = 0
        used: i64 = 0
        asked: i64 = len(slots)
        is_full = False
        for slot in slots:
            if slot.workload_id != uid:
                self._settle(lot, position, used)
                raise ValueError(f"slot {slot} does not belong to the workload whose uid is {uid}")
            number: int = slot.index * MAX_EPOCHS + slot.epoch
            where = held.get(number)
            asked -= 1
            if where is not None:
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
                    left = 1
                    if asked > 0 and order.fullest_first:
                        left = room(fleet, shape, position, asked + 1)
            if is_full:
                placed = append(placed, NOWHERE)
                continue
            left -= 1
            used += 1
            held[number] = tag + position
            placed = append(placed, position)
        self._settle(lot, position, used)
        return placed

    def _settle(self, lot: Lot, position: i64, used: i64) -> None:
        if used > 0:
            take(self.fleet, lot.shape, position, used)
            lot.count += used

    def note(self, lot: Lot, index: int, epoch: int, position: i64) -> None:
        """Keep a place that was taken outside."""
        lot.held[index * MAX_EPOCHS + epoch] = (lot.number << POSITION_BITS) + position
        lot.count += 1

    def position_of(self, key: Any) -> i64:
        """Return where an incarnation holds a place, or -1."""
        held = self._held.get(key.workload_id)
        if held is None:
            return NOWHERE
        where = held.get(key.index * MAX_EPOCHS + key.epoch)
        if where is None:
            return NOWHERE
        return where & MAX_NODES

    def release(self, keys: Any) -> i64:
        """Give up the places of some incarnations; those that hold none are passed over. Return how many held one."""
        fleet = self.fleet
        released: i64 = 0
        for key in keys:
            held = self._held.get(key.workload_id)
            if held is None:
                continue
            where = held.pop(key.index * MAX_EPOCHS + key.epoch, None)
            if where is None:
                continue
            lot = self._numbered[where >> POSITION_BITS]
            if lot is None:
                raise AssertionError(f"{key} holds a place of a lot that was forgotten")
            take(fleet, lot.shape, where & MAX_NODES, -1)
            lot.count -= 1
            released += 1
            self._forget_unused(lot)
        return released
