"""Amounts and times as people read them."""

from __future__ import annotations

from datetime import datetime
from typing import Final

_UNITS: Final = ("KiB", "MiB", "GiB", "TiB", "PiB")


def cores(millicores: int) -> str:
    """Return thousandths of a core as cores: `1.5`."""
    return f"{millicores / 1000:.3f}".rstrip("0").rstrip(".")


def size(amount: int) -> str:
    """Return bytes with three digits or so: `1.5 GiB`."""
    if amount < 1024:
        return f"{amount} B"
    power = min((amount.bit_length() - 1) // 10, len(_UNITS))
    return f"{amount / 1024**power:.1f}".removesuffix(".0") + f" {_UNITS[power - 1]}"


def amount(dimension: str, value: int) -> str:
    """Return an amount of a resource, by the name that `Resources.dimensions` has for it."""
    if dimension in ("cpu", "cpu_millicores"):
        return cores(value)
    if dimension in ("memory", "disk", "memory_bytes", "disk_bytes"):
        return size(value)
    return str(value)


def age(then: datetime | None, now: datetime) -> str:
    """Return how long ago something was, in its largest unit: `3 min`; empty where it is not known."""
    if then is None:
        return ""
    seconds = max(0.0, (now - then).total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"


def stamp(then: datetime | None) -> str:
    """Return a time for programs to read, to the second (UTC); empty where it is not known."""
    return "" if then is None else then.strftime("%Y-%m-%dT%H:%M:%SZ")


def share(part: int, whole: int) -> int:
    """Return what part of a whole is, in percent, 0 to 100; 0 of nothing."""
    return 0 if whole <= 0 else max(0, min(100, round(100 * part / whole)))
