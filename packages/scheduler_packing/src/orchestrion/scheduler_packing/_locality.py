"""Devices that are near each other: which are, and granting those."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from attrs import frozen
from orchestrion.scheduler_interface import DeviceWant, Grant, find_grants
from orchestrion.scheduler_packing._core.scoring import MOST
from orchestrion.shared_types import WHOLE_DEVICE, Device, Node

NVLINK_LABEL: Final = "nvlink/"
"""A node's label of this and a device's id names the device's NVLink group; devices of one name are linked."""
NUMA_POINTS: Final = MOST // 2


@frozen
class Nearby:
    """Devices for a slot.

    Attributes:
        points: 1000 where all are in one NVLink group, 500 where all hang on one NUMA node, else 0.
        grants: The devices.
    """

    points: int
    grants: tuple[Grant, ...]


def near_grants(wants: tuple[DeviceWant, ...], node: Node, free: Mapping[str, int]) -> Nearby | None:
    """Return devices for a slot, as near each other as can be, or None where there are not enough.

    Of several groups that will do it is the one with the fewest devices that are wholly free, so that large groups stay
    whole, and of those the first by name. Only groups that hold all that is wanted count.

    Args:
        wants: What the containers want.
        node: The node.
        free: Thousandths that are free, by device id.
    """
    anywhere = find_grants(wants, node.devices, free)
    if anywhere is None:
        return None
    if all(want.request.thousandths for want in wants) and device_count(wants) == 1:
        return Nearby(0, anywhere)
    for points, groups in ((MOST, _nvlink_groups(node)), (NUMA_POINTS, _numa_groups(node))):
        for group in _tightest_first(groups, free):
            grants = find_grants(wants, group, free)
            if grants is not None:
                return Nearby(points, grants)
    return Nearby(0, anywhere)


def device_count(wants: Iterable[DeviceWant]) -> int:
    """Return how many devices and shares are wanted."""
    return sum(want.count for want in wants)


def _nvlink_groups(node: Node) -> dict[str, list[Device]]:
    groups: dict[str, list[Device]] = {}
    for device in node.devices:
        name = node.labels.get(NVLINK_LABEL + device.id)
        if name:
            groups.setdefault(name, []).append(device)
    return groups


def _numa_groups(node: Node) -> dict[str, list[Device]]:
    groups: dict[str, list[Device]] = {}
    for device in node.devices:
        if device.numa_node is not None:
            groups.setdefault(f"{device.numa_node:08}", []).append(device)
    return groups


def _tightest_first(groups: Mapping[str, list[Device]], free: Mapping[str, int]) -> Iterable[list[Device]]:
    def rank(name: str) -> tuple[int, str]:
        return sum(free[device.id] == WHOLE_DEVICE for device in groups[name]), name

    return [groups[name] for name in sorted(groups, key=rank)]
