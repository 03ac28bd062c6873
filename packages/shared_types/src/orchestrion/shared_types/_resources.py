"""Amounts of what a node has and a container asks for: integers, so that no comparison depends on rounding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from attrs import Attribute, field, frozen, validators
from immutabledict import immutabledict

from ._mappings import EMPTY, unchanging

MAX_AMOUNT: Final = 2**62 - 1
"""The largest amount of anything. Two of them still add up within 64 bits, which compiled code relies on."""

_amount = [validators.instance_of(int), validators.ge(0), validators.le(MAX_AMOUNT)]

_FIXED: Final = frozenset({"cpu_millicores", "memory_bytes", "disk_bytes"})


def _without_zeros(amounts: Mapping[str, int]) -> Mapping[str, int]:
    if type(amounts) is immutabledict and 0 not in amounts.values():
        return amounts
    return unchanging({name: amount for name, amount in amounts.items() if amount != 0})


def _extended(_instance: object, attribute: Attribute[Mapping[str, int]], value: Mapping[str, int]) -> None:
    for name, amount in value.items():
        if not name:
            msg = f"{attribute.name}: a resource needs a name"
            raise ValueError(msg)
        if name in _FIXED:
            msg = f"{attribute.name}.{name}: that is no extended resource, it has a field of its own"
            raise ValueError(msg)
        if not isinstance(amount, int) or not 0 <= amount <= MAX_AMOUNT:
            msg = f"{attribute.name}.{name} must be a whole number from 0 to {MAX_AMOUNT}, not {amount!r}"
            raise ValueError(msg)


@frozen(kw_only=True)
class Resources:
    """An amount of each resource; what is not named is 0.

    Attributes:
        cpu_millicores: Thousandths of a core.
        memory_bytes: Bytes of memory.
        disk_bytes: Bytes of disk.
        extended: Any other countable resource, by name. A name with amount 0 equals an absent one and is dropped.

    All amounts are whole numbers from 0 to `MAX_AMOUNT`.
    """

    cpu_millicores: int = field(default=0, validator=_amount)
    memory_bytes: int = field(default=0, validator=_amount)
    disk_bytes: int = field(default=0, validator=_amount)
    extended: Mapping[str, int] = field(
        default=EMPTY,
        converter=_without_zeros,
        validator=_extended,
    )

    def __add__(self, other: Resources) -> Resources:
        """Return the sum, dimension by dimension.

        Raises:
            ValueError: A sum exceeds `MAX_AMOUNT`.
        """
        if not self.extended and not other.extended:
            extended: Mapping[str, int] = self.extended
        else:
            names = self.extended.keys() | other.extended.keys()
            extended = {name: self.extended.get(name, 0) + other.extended.get(name, 0) for name in sorted(names)}
        return Resources(
            cpu_millicores=self.cpu_millicores + other.cpu_millicores,
            memory_bytes=self.memory_bytes + other.memory_bytes,
            disk_bytes=self.disk_bytes + other.disk_bytes,
            extended=extended,
        )

    def __sub__(self, other: Resources) -> Resources:
        """Return the difference, dimension by dimension, never below 0."""
        names = sorted(self.extended.keys())
        return Resources(
            cpu_millicores=max(0, self.cpu_millicores - other.cpu_millicores),
            memory_bytes=max(0, self.memory_bytes - other.memory_bytes),
            disk_bytes=max(0, self.disk_bytes - other.disk_bytes),
            extended={name: max(0, self.extended[name] - other.extended.get(name, 0)) for name in names},
        )

    def dimensions(self) -> Iterator[tuple[str, int]]:
        """Yield (name, amount) of cpu, memory and disk, then of the extended resources by name."""
        yield "cpu_millicores", self.cpu_millicores
        yield "memory_bytes", self.memory_bytes
        yield "disk_bytes", self.disk_bytes
        yield from sorted(self.extended.items())

    def fits_in(self, free: Resources) -> bool:
        """Whether no dimension exceeds that of `free`."""
        return (
            self.cpu_millicores <= free.cpu_millicores
            and self.memory_bytes <= free.memory_bytes
            and self.disk_bytes <= free.disk_bytes
            and all(amount <= free.extended.get(name, 0) for name, amount in self.extended.items())
        )


WHOLE_DEVICE: Final = 1000
"""Thousandths in one device."""


@frozen(kw_only=True)
class GpuRequest:
    """GPUs that a container asks for: whole devices, or a share of one.

    Attributes:
        count: Whole devices, >= 0. Exactly one of `count` and `thousandths` is above 0.
        thousandths: A share of one device, 0 to 999 thousandths.
        model: The device's model must contain this text, without regard to case; None accepts any.
        memory_bytes: Least memory of each device.
        capability: Least compute capability of each device, such as "8.0", compared part by part as numbers; None
            accepts any.
    """

    count: int = field(default=0, validator=_amount)
    thousandths: int = field(default=0, validator=[*_amount, validators.lt(WHOLE_DEVICE)])
    model: str | None = None
    memory_bytes: int = field(default=0, validator=_amount)
    capability: str | None = field(default=None, validator=validators.optional(validators.matches_re(r"\d+(\.\d+)*")))

    def __attrs_post_init__(self) -> None:
        if (self.count > 0) == (self.thousandths > 0):
            msg = "ask for whole devices (count) or for a share of one (thousandths), not for both and not for neither"
            raise ValueError(msg)
