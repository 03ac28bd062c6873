"""What containers ask for, in the names and units of quotas and limit ranges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from orchestrion.control_plane._objects.specs import Amount, amount_of
from orchestrion.shared_types import WHOLE_DEVICE, ContainerConfig, GpuRequest, Resources, format_bytes, format_cpu

CPU: Final = "cpu"
MEMORY: Final = "memory"
DISK: Final = "disk"
GPUS: Final = "gpus"
"""In thousandths of a device here; whole devices where people write them."""

INSTANCES: Final = "instances"
WORKLOADS: Final = "workloads"

Amounts = Mapping[str, int]


def resources_of(resources: Resources, gpu: GpuRequest | None = None) -> dict[str, int]:
    """Return amounts by name; what is 0 is left out."""
    amounts = dict(resources.extended)
    amounts[CPU] = resources.cpu_millicores
    amounts[MEMORY] = resources.memory_bytes
    amounts[DISK] = resources.disk_bytes
    amounts[GPUS] = gpu.count * WHOLE_DEVICE + gpu.thousandths if gpu is not None else 0
    return {name: amount for name, amount in amounts.items() if amount}


def requests_of(container: ContainerConfig) -> dict[str, int]:
    """Return what a container asks for."""
    return resources_of(container.resources, container.gpu)


def sum_of(containers: tuple[ContainerConfig, ...]) -> dict[str, int]:
    """Return what one instance of these containers asks for."""
    total = Counter[str]()
    for container in containers:
        total.update(requests_of(container))
    return dict(total)


def limits_of(amounts: Mapping[str, Amount]) -> dict[str, int]:
    """Return amounts as people write them, each in the unit that is counted in here.

    Raises:
        ValueError: One is none.
        ConfigInvalid: One is none.
    """
    return {name: amount_of(name, amount) * (WHOLE_DEVICE if name == GPUS else 1) for name, amount in amounts.items()}


def written(name: str, amount: int) -> str:
    """Return an amount as people write it."""
    if name == CPU:
        return format_cpu(amount)
    if name in (MEMORY, DISK):
        return format_bytes(amount)
    if name == GPUS:
        return f"{amount / WHOLE_DEVICE:g}"
    return str(amount)
