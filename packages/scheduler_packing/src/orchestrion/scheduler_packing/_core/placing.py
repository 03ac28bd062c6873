"""Finding places for the slots of one request, and taking them."""

from __future__ import annotations

from typing import Final, final

from librt.vecs import append, vec
from mypy_extensions import i64, mypyc_attr
from orchestrion.scheduler_packing._core.fleet import CPU, DISK, MEMORY, Fleet
from orchestrion.scheduler_packing._core.order import MAX_NODES, Order

NOWHERE: Final = -1


@final
@mypyc_attr(acyclic=True)
class Shape:
    """What one slot takes of a node.

    Attributes:
        amounts: How much of each resource of the fleet, in its order; may be shorter.
        gpu: How many thousandths of devices.
        ports: Static host ports, as one number each.
        is_plain: Whether it takes nothing but cpu and memory.
    """

    def __init__(self, amounts: vec[i64], gpu: i64, ports: list[int]) -> None:
        self.amounts: vec[i64] = amounts
        self.gpu: i64 = gpu
        self.ports: list[int] = ports
        plain = gpu == 0 and len(ports) == 0
        at: i64 = DISK
        end: i64 = len(amounts)
        while at < end:
            if amounts[at] != 0:
                plain = False
            at += 1
        self.is_plain: bool = plain


def fits(fleet: Fleet, shape: Shape, position: i64) -> bool:
    """Whether a node has what one more slot takes, devices apart: of those it has the sum."""
    at: i64 = 0
    end: i64 = len(shape.amounts)
    while at < end:
        if fleet.free[at][position] < shape.amounts[at]:
            return False
        at += 1
    if fleet.gpu[position] < shape.gpu:
        return False
    if shape.ports and position in fleet.ports:
        taken = fleet.ports[position]
        for port in shape.ports:
            if port in taken:
                return False
    return True


def room(fleet: Fleet, shape: Shape, position: i64, most: i64) -> i64:
    """Return how many slots a node has room for, at most `most`; the shape takes no devices."""
    if shape.ports:
        return 1 if fits(fleet, shape, position) else 0
    number: i64 = most
    at: i64 = 0
    end: i64 = len(shape.amounts)
    while at < end:
        amount: i64 = shape.amounts[at]
        if amount > 0:
            here: i64 = fleet.free[at][position] // amount
            if here < number:
                number = here
        at += 1
    return number


def take(fleet: Fleet, shape: Shape, position: i64, number: i64) -> None:
    """Take what `number` slots take of a node; a negative number gives it back."""
    at: i64 = 0
    end: i64 = len(shape.amounts)
    while at < end:
        amount: i64 = shape.amounts[at]
        if amount != 0:
            fleet.free[at][position] -= amount * number
        at += 1
    fleet.gpu[position] -= shape.gpu * number
    fleet.loads[position] += number
    if shape.ports:
        if position not in fleet.ports:
            fleet.ports[position] = set()
        taken = fleet.ports[position]
        for port in shape.ports:
            if number > 0:
                taken.add(port)
            else:
                taken.discard(port)
    fleet.touch(position)


def first_fitting(fleet: Fleet, order: Order, shape: Shape, after: i64) -> i64:
    """Return the lowest rank above `after` whose node has room for one slot, devices apart, or -1."""
    cpu: i64 = shape.amounts[CPU]
    memory: i64 = shape.amounts[MEMORY]
    rank: i64 = order.first(cpu, memory, after)
    if shape.is_plain:
        return rank
    while rank >= 0 and not fits(fleet, shape, rank & MAX_NODES):
        rank = order.first(cpu, memory, rank)
    return rank


def place_alike(fleet: Fleet, order: Order, shape: Shape, number: i64, placed: vec[i64]) -> vec[i64]:
    """Take places for slots that are bound by nothing but room, one after the other.

    Args:
        fleet: All nodes.
        order: Those that may take a slot, the best first.
        shape: What a slot takes; no devices.
        number: How many slots.
        placed: Where positions are appended, one for each slot that found a place; the others, which come last, have
            none.
    """
    left: i64 = number
    while left > 0:
        order.catch_up()
        rank = first_fitting(fleet, order, shape, -1)
        if rank < 0:
            return placed
        position: i64 = rank & MAX_NODES
        here: i64 = 1
        # A node that was the first with room stays that as long as it has room: what is placed on it moves it only
        # forward, past nodes that had none.
        if order.keeps_first:
            here = room(fleet, shape, position, left)
        take(fleet, shape, position, here)
        left -= here
        while here > 0:
            placed = append(placed, position)
            here -= 1
    return placed
