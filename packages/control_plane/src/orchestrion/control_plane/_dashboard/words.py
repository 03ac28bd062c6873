"""Amounts and times as people read them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

NO_NAMES: Final[Mapping[str, str]] = MappingProxyType({})

_LONG_WORD: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]{11,}[0-9A-Za-z]")
"""What may be the id of a node; a shorter one could be part of any text, and is read as easily as a name."""

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


def named(text: str, names: Mapping[str, str]) -> str:
    """Return a text in which nodes are called by their names.

    Args:
        text: Has ids of nodes in it, perhaps.
        names: What people call nodes, by id.
    """
    return _LONG_WORD.sub(lambda found: names.get(found[0]) or found[0], text)


def until(then: datetime, now: datetime) -> str:
    """Return how soon something is, in its largest unit: `in 26 s`."""
    return f"in {age(now, then)}" if then > now else "now"


def share(part: int, whole: int) -> int:
    """Return what part of a whole is, in percent, 0 to 100; 0 of nothing."""
    return 0 if whole <= 0 else max(0, min(100, round(100 * part / whole)))
