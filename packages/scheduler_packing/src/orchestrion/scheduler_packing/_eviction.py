"""Which instances of a node would have to leave for a slot to fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from orchestrion.scheduler_interface import DeviceWant, NodeView, PlacedInstance, device_matches, find_grants
from orchestrion.scheduler_packing._wanted import Wanted, port_number
from orchestrion.shared_types import WHOLE_DEVICE, InstanceKey

DEVICES: Final = "devices"
"""The dimension of devices, all together, beside those of `Resources`."""
PARTS: Final = 1 << 20
"""Sizes are told in so many parts of a node."""


def size_of(instance: PlacedInstance, view: NodeView) -> int:
    """Return how much of its node an instance takes, added up over all dimensions."""
    allocatable = {**dict(view.node.allocatable.dimensions()), DEVICES: WHOLE_DEVICE * len(view.node.devices)}
    return sum(amount * PARTS // max(1, allocatable.get(name, 0)) for name, amount in amounts_of(instance).items())


def amounts_of(instance: PlacedInstance) -> dict[str, int]:
    """Return what an instance holds, by dimension."""
    return {**dict(instance.demand.dimensions()), DEVICES: sum(instance.device_thousandths.values())}


def evictions(
    wanted: Wanted, view: NodeView, leaving: Sequence[PlacedInstance], most: int
) -> tuple[PlacedInstance, ...] | None:
    """Return few instances without which a slot has room on a node, or None where none were found.

    It is a good answer, not always the best: first what holds ports and the cheapest devices, then what helps most with
    what is short, and in the end none that is not needed.

    Args:
        wanted: What the slot wants.
        view: The node, which suits but for room.
        leaving: The instances there that may leave; of equals the smaller are taken, then those that come first.
        most: How many may leave.
    """
    chosen = _of_ports(wanted, view, leaving)
    if chosen is None:
        return None
    for want in wanted.suitability.devices:
        more = _of_devices(want, view, leaving, chosen)
        if more is None:
            return None
        chosen.update(more)
    if len(chosen) > most:
        return None
    leaving = sorted(leaving, key=lambda each: size_of(each, view))
    while len(chosen) <= most:
        short = _short(wanted, view, chosen.values())
        if not short:
            break
        helps = {each.key: _help(each, short) for each in leaving if each.key not in chosen}
        best = max((each for each in leaving if each.key in helps), key=lambda each: helps[each.key], default=None)
        if best is None or helps[best.key] == 0:
            return None
        chosen[best.key] = best
    for each in sorted(chosen.values(), key=lambda each: -size_of(each, view)):
        fewer = {key: other for key, other in chosen.items() if key != each.key}
        if _has_room(wanted, view, fewer.values()):
            chosen = fewer
    return tuple(chosen.values()) if len(chosen) <= most and _has_room(wanted, view, chosen.values()) else None


Chosen = dict[InstanceKey, PlacedInstance]


def _of_ports(wanted: Wanted, view: NodeView, leaving: Iterable[PlacedInstance]) -> Chosen | None:
    """Return the instances that hold a port that is wanted, or None where one of them has to stay."""
    ports = set(wanted.host_ports)
    holding = {
        key for key, each in view.instances.items() if ports and ports & {port_number(port) for port in each.host_ports}
    }
    found = {each.key: each for each in leaving if each.key in holding}
    return found if len(found) == len(holding) else None


def _of_devices(
    want: DeviceWant, view: NodeView, leaving: Sequence[PlacedInstance], chosen: Mapping[InstanceKey, PlacedInstance]
) -> Chosen | None:
    """Return the instances on those devices that are the cheapest to get, or None where there are too few."""
    free = device_free(view, chosen.values())
    costs: list[tuple[int, int, Chosen]] = []
    for number, device in enumerate(view.node.devices):
        if not device_matches(device, want.request):
            continue
        on_it = [each for each in leaving if each.key not in chosen and device.id in each.device_thousandths]
        on_it.sort(key=lambda each: -each.device_thousandths[device.id])
        here, gone = free[device.id], Chosen()
        for each in on_it:
            if here >= want.thousandths:
                break
            here += each.device_thousandths[device.id]
            gone[each.key] = each
        if here >= want.thousandths:
            costs.append((len(gone), number, gone))
    if len(costs) < want.count:
        return None
    costs.sort(key=lambda cost: cost[:2])
    return {key: each for _, _, gone in costs[: want.count] for key, each in gone.items()}


def device_free(view: NodeView, without: Iterable[PlacedInstance]) -> dict[str, int]:
    """Return what devices have free once some instances are gone."""
    held = Counter(view.device_thousandths)
    for each in without:
        held.subtract(each.device_thousandths)
    return {device.id: max(0, WHOLE_DEVICE - held[device.id]) for device in view.node.devices}


def _short(wanted: Wanted, view: NodeView, without: Iterable[PlacedInstance]) -> dict[str, tuple[int, int]]:
    """Return by dimension how much is short, and how much is wanted; nothing for those that do."""
    held = Counter(dict(view.reserved.dimensions()))
    for each in without:
        held.subtract(dict(each.demand.dimensions()))
    allocatable = dict(view.node.allocatable.dimensions())
    short = {}
    for name, amount in wanted.demand.dimensions():
        missing = held[name] + amount - allocatable.get(name, 0)
        if amount > 0 and missing > 0:
            short[name] = (missing, amount)
    return short


def _help(instance: PlacedInstance, short: Mapping[str, tuple[int, int]]) -> int:
    """Return how much of what is short an instance holds, in parts of what is wanted."""
    held = dict(instance.demand.dimensions())
    return sum(min(missing, held.get(name, 0)) * PARTS // amount for name, (missing, amount) in short.items())


def _has_room(wanted: Wanted, view: NodeView, without: Iterable[PlacedInstance]) -> bool:
    gone = list(without)
    if _short(wanted, view, gone):
        return False
    keys = {each.key for each in gone}
    ports = set(wanted.host_ports)
    if ports and any(
        port_number(port) in ports
        for key, each in view.instances.items()
        if key not in keys
        for port in each.host_ports
    ):
        return False
    wants = wanted.suitability.devices
    return not wants or find_grants(wants, view.node.devices, device_free(view, gone)) is not None
