"""Granting GPUs: which free devices go to which containers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Final

from attrs import frozen
from orchestrion.shared_types import WHOLE_DEVICE, ContainerConfig, Device, GpuRequest

_MAX_STEPS: Final = 10_000
"""So many devices are tried for a node before a way to grant them counts as overlooked."""


@frozen
class DeviceWant:
    """Devices, or a share of one, for one container.

    Attributes:
        container: The container's name.
        request: What it asks for.
    """

    container: str
    request: GpuRequest

    @property
    def count(self) -> int:
        """How many devices, whole or shared."""
        return max(1, self.request.count)

    @property
    def thousandths(self) -> int:
        """How much of each, 1000 for the whole."""
        return self.request.thousandths or WHOLE_DEVICE


@frozen
class Grant:
    """A device, or a share of one, for one container."""

    container: str
    device_id: str
    thousandths: int


def device_wants(containers: Iterable[ContainerConfig]) -> tuple[DeviceWant, ...]:
    """Return what the containers want, in their order."""
    return tuple(DeviceWant(container.name, container.gpu) for container in containers if container.gpu is not None)


def device_matches(device: Device, request: GpuRequest) -> bool:
    """Whether a device has what is asked for, free or not."""
    return (
        device.kind == "gpu"
        and (request.model is None or request.model.casefold() in device.model.casefold())
        and request.memory_bytes <= device.memory_bytes
        and (request.capability is None or _at_least(device.capability, request.capability))
    )


def _at_least(actual: str, least: str) -> bool:
    have, want = _version(actual), _version(least)
    return have is not None and want is not None and want <= have


def _version(text: str) -> tuple[int, ...] | None:
    """Return the parts of a capability as numbers, without zeros at the end, or None for what is not one."""
    try:
        numbers = [int(part) for part in text.split(".")]
    except ValueError:
        return None
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def find_grants(
    wants: Iterable[DeviceWant], devices: Iterable[Device], free: Mapping[str, int]
) -> tuple[Grant, ...] | None:
    """Return grants for all wants together, or None where there is no way.

    A share goes to the fullest device that still has room, so that whole devices stay whole.

    Args:
        wants: What the containers want.
        devices: The node's devices.
        free: Thousandths that are free, by device id.
    """
    by_id = sorted(devices, key=lambda device: device.id)
    choices: list[tuple[DeviceWant, list[Device]]] = []
    for want in wants:
        room = [device for device in by_id if free[device.id] >= want.thousandths]
        fitting = [device for device in room if device_matches(device, want.request)]
        if len(fitting) < want.count:
            return None
        choices.append((want, fitting))
    # What has the least choice goes first, so that a dead end shows early.
    choices.sort(key=lambda choice: (len(choice[1]) - choice[0].count, -choice[0].thousandths))
    return _Search([choice for choice in choices for _ in range(choice[0].count)], free).solve()


class _Search:
    """Tries devices want by want, and goes back where it gets stuck."""

    def __init__(self, wants: list[tuple[DeviceWant, list[Device]]], free: Mapping[str, int]) -> None:
        self._wants = wants
        self._free = dict(free)
        self._total_free = sum(self._free.values())
        self._missing = list(accumulate((want.thousandths for want, _ in reversed(wants)), initial=0))
        self._granted: list[Device] = []

    def solve(self) -> tuple[Grant, ...] | None:
        """Return a grant for each want, or None."""
        open_choices = [self._choices()]
        steps = 0
        while len(self._granted) < len(self._wants):
            device = next(open_choices[-1], None)
            steps += 1
            if device is not None and steps <= _MAX_STEPS + len(self._wants):
                self._grant(device)
                open_choices.append(self._choices())
                continue
            open_choices.pop()
            if not open_choices or device is not None:
                return None
            self._take_back()
        return tuple(
            Grant(want.container, device.id, want.thousandths)
            for (want, _), device in zip(self._wants, self._granted, strict=True)
        )

    def _grant(self, device: Device) -> None:
        want, _ = self._wants[len(self._granted)]
        self._free[device.id] -= want.thousandths
        self._total_free -= want.thousandths
        self._granted.append(device)

    def _take_back(self) -> None:
        device = self._granted.pop()
        want, _ = self._wants[len(self._granted)]
        self._free[device.id] += want.thousandths
        self._total_free += want.thousandths

    def _choices(self) -> Iterator[Device]:
        """Return the devices for the next want, fullest first.

        Of several that are alike and equally full it is just one: the others would lead to the same end.
        """
        position = len(self._granted)
        if position == len(self._wants) or self._missing[len(self._wants) - position] > self._total_free:
            return iter(())
        want, fitting = self._wants[position]
        room = [device for device in fitting if self._free[device.id] >= want.thousandths]
        room.sort(key=lambda device: (self._free[device.id], device.id))
        alike: dict[tuple[int, str, int, str], Device] = {}
        for device in room:
            alike.setdefault((self._free[device.id], device.model, device.memory_bytes, device.capability), device)
        return iter(list(alike.values()))
