"""What is free on a node, from its view into the columns of the core."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrion.scheduler_interface import NodeView
from orchestrion.scheduler_packing._core.fleet import CPU, DISK, MEMORY, PLAIN_DIMENSIONS, Fleet
from orchestrion.scheduler_packing._wanted import port_number
from orchestrion.shared_types import MAX_AMOUNT, WHOLE_DEVICE


def fill(
    fleet: Fleet, names: Sequence[str], device_free: dict[int, dict[str, int]], position: int, view: NodeView
) -> None:
    """Take over what is free on a node.

    Args:
        fleet: The columns.
        names: The resources in the order of their columns.
        device_free: Free thousandths of each device, for nodes that have any, by position.
        position: The node's.
        view: What it holds.
    """
    allocatable, reserved = view.node.allocatable, view.reserved
    columns = fleet.free
    columns[CPU][position] = max(0, allocatable.cpu_millicores - reserved.cpu_millicores)
    columns[MEMORY][position] = max(0, allocatable.memory_bytes - reserved.memory_bytes)
    columns[DISK][position] = max(0, allocatable.disk_bytes - reserved.disk_bytes)
    for at in range(PLAIN_DIMENSIONS, len(names)):
        name = names[at]
        columns[at][position] = max(0, allocatable.extended.get(name, 0) - reserved.extended.get(name, 0))
    if view.node.devices:
        free = {
            device.id: max(0, WHOLE_DEVICE - view.device_thousandths.get(device.id, 0)) for device in view.node.devices
        }
        device_free[position] = free
        fleet.gpu[position] = sum(free.values())
    else:
        device_free.pop(position, None)
        fleet.gpu[position] = 0
    if view.host_ports:
        fleet.ports[position] = {port_number(port) for port in view.host_ports}
    else:
        fleet.ports.pop(position, None)
    fleet.loads[position] = len(view.instances)
    fleet.touch(position)


def is_overdrawn(view: NodeView) -> bool:
    """Whether more is reserved on a node than there is, or than can be counted."""
    allocatable, reserved = view.node.allocatable, view.reserved
    return any(
        here > there or here == MAX_AMOUNT
        for here, there in (
            (reserved.cpu_millicores, allocatable.cpu_millicores),
            (reserved.memory_bytes, allocatable.memory_bytes),
            (reserved.disk_bytes, allocatable.disk_bytes),
        )
    )
