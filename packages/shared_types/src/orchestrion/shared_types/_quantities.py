"""Amounts as people write them: cores, bytes and durations, in exact arithmetic."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from typing import Final

from ._container import MAX_SECONDS
from ._errors import ConfigInvalid, Problem
from ._resources import MAX_AMOUNT

# [0-9] and not \d, which takes the digits of every script; bounded, so that no text makes a number of a million digits.
NUMBER: Final = r"\+?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][-+]?[0-9]{1,3})?"

_CPU_UNITS: Final = {"": 1000, "m": 1}
_BYTE_UNITS: Final = {
    "": 1,
    **{letter: 1000**power for power, letter in enumerate("kMGTP", 1)},
    **{f"{letter}i": 1024**power for power, letter in enumerate("KMGTP", 1)},
}
_DURATION_UNITS: Final = {
    "d": Fraction(86400),
    "h": Fraction(3600),
    "m": Fraction(60),
    "s": Fraction(1),
    "ms": Fraction(1, 1000),
}

CPU_PATTERN: Final = f"{NUMBER}m?"
"""What a text for cores looks like; not every match is a whole number of millicores."""

BYTES_PATTERN: Final = f"{NUMBER}(?:[kMGTP]|[KMGTP]i)?"
"""What a text for bytes looks like; not every match is a whole number of bytes."""

DURATION_PATTERN: Final = f"(?:{NUMBER}|(?:{NUMBER}d)?(?:{NUMBER}h)?(?:{NUMBER}m)?(?:{NUMBER}s)?(?:{NUMBER}ms)?)"
"""What a text for a duration looks like."""

_AMOUNT = re.compile(rf"(?P<sign>-?)(?P<number>{NUMBER})(?P<unit>[^0-9]*)")
_PART = re.compile(rf"(?P<number>{NUMBER})(?P<unit>[a-zA-Zµ]*)")

Quantity = str | int | float | Decimal
"""A float stands for the shortest decimal number that reads back as it: 0.1 is a tenth."""


def parse_cpu(value: Quantity) -> int:
    """Return the millicores of cores such as `0.5`, `"500m"` or `2`.

    Raises:
        ConfigInvalid: It is no such amount, is negative, exceeds `MAX_AMOUNT`, or has a fraction of a millicore.
    """
    return _whole(value, "an amount of cores such as 0.5, 500m or 2", _CPU_UNITS, "a millicore")


def parse_bytes(value: Quantity) -> int:
    """Return the bytes of an amount such as `"256Mi"`, `"1.5G"` or `1024`.

    k, M, G, T and P are powers of 1000; Ki, Mi, Gi, Ti and Pi are powers of 1024.

    Raises:
        ConfigInvalid: It is no such amount, is negative, exceeds `MAX_AMOUNT`, or has a fraction of a byte.
    """
    return _whole(value, "an amount of bytes such as 256Mi, 1.5G or 1024", _BYTE_UNITS, "a byte")


def parse_duration(value: Quantity) -> float:
    """Return the seconds of a duration such as `"500ms"`, `"2m"`, `"1h30m"` or `1.5`; a plain number is seconds.

    Units are d, h, m, s and ms, the longer before the shorter.

    Raises:
        ConfigInvalid: It is no such duration, is negative, or exceeds `MAX_SECONDS`.
    """
    wanted = "a duration such as 1s, 500ms, 2m or 1h30m"
    text = _text(value, wanted)
    if text.startswith("-"):
        raise _invalid(f"{wanted} is wanted; {text!r:.80} is negative")
    seconds = Fraction(0)
    order = list(_DURATION_UNITS)
    done, last = 0, -1
    while done < len(text):
        part = _PART.match(text, done)
        if part is None:
            raise _invalid(f"{wanted} is wanted, not {text!r:.80}")
        unit = part["unit"]
        if unit == "" and done == 0 and part.end() == len(text):
            unit = "s"
        if unit not in _DURATION_UNITS:
            raise _invalid(f"{wanted} is wanted, not {text!r:.80}; units are {', '.join(order)}")
        if order.index(unit) <= last:
            raise _invalid(f"{wanted} is wanted, not {text!r:.80}; each unit once, the longer before the shorter")
        last = order.index(unit)
        seconds += _exact(part["number"], text, wanted) * _DURATION_UNITS[unit]
        done = part.end()
    if not text:
        raise _invalid(f"{wanted} is wanted, not an empty text")
    if seconds > MAX_SECONDS:
        raise _invalid(f"{text!r:.80} is longer than a year; the longest duration is {format_duration(MAX_SECONDS)}")
    return float(seconds)


def format_cpu(millicores: int) -> str:
    """Return millicores (>= 0) as `parse_cpu` reads them: `"2"` or `"1500m"`."""
    return str(millicores // 1000) if millicores % 1000 == 0 else f"{millicores}m"


def format_bytes(amount: int) -> str:
    """Return bytes (>= 0) as `parse_bytes` reads them, exactly, in the unit that needs the fewest characters."""
    best = str(amount)
    for unit, size in _BYTE_UNITS.items():
        if amount and amount % size == 0:
            best = min(best, f"{amount // size}{unit}", key=len)
    return best


def format_duration(seconds: float) -> str:
    """Return seconds (>= 0) as `parse_duration` reads them, exactly: `"1h30m"`, `"1.5s"` or `"500ms"`."""
    if seconds != int(seconds):
        # The shortest decimal that reads back as the same float; thousandths are moved in decimal, never in binary.
        exact = Decimal(repr(seconds))
        thousandths = exact * 1000
        if exact < 1 and thousandths == int(thousandths):
            return f"{int(thousandths)}ms"
        return f"{exact}s".replace("E", "e")
    rest = int(seconds)
    text = ""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def _whole(value: Quantity, wanted: str, units: dict[str, int], smallest: str) -> int:
    text = _text(value, wanted)
    found = _AMOUNT.fullmatch(text)
    if found is None:
        raise _invalid(f"{wanted} is wanted, not {text!r:.80}")
    unit = found["unit"]
    if unit not in units:
        raise _invalid(f"{wanted} is wanted, not {text!r:.80}; {_unit_hint(unit, units)}")
    amount = _exact(found["number"], text, wanted) * units[unit]
    if found["sign"]:
        raise _invalid(f"{wanted} is wanted; {text!r:.80} is negative")
    if amount.denominator != 1:
        raise _invalid(f"{text!r:.80} has a fraction of {smallest}; write a multiple of {smallest}")
    if amount > MAX_AMOUNT:
        raise _invalid(f"{text!r:.80} is more than can be counted ({MAX_AMOUNT} is the most)")
    return int(amount)


def _unit_hint(unit: str, units: dict[str, int]) -> str:
    if unit == "m":
        return "m is a thousandth; M is a million, Mi is 1024 * 1024"
    stem = unit.strip().lower().removesuffix("b").removesuffix("i")
    near = [known for known in units if known and known.lower().removesuffix("i") == stem]
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"units are {', '.join(known for known in units if known)}"


def _text(value: Quantity, wanted: str) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float, Decimal)):
        raise _invalid(f"{wanted} is wanted, not {value!r:.80}")
    if isinstance(value, int) and value.bit_length() > 128:
        raise _invalid(f"{wanted} is wanted, not a number of {value.bit_length()} bits")
    return repr(value) if isinstance(value, float) else str(value)


def _exact(number: str, text: str, wanted: str) -> Fraction:
    decimal = Decimal(number)
    if decimal and decimal.adjusted() > 40:
        raise _invalid(f"{wanted} is wanted; {text!r:.80} is too large")
    return Fraction(decimal)


def _invalid(message: str) -> ConfigInvalid:
    return ConfigInvalid((Problem(message),))
