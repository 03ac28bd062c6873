"""Shapes that many parts of a manifest share."""

from __future__ import annotations

from typing import Any, Final

from orchestrion.shared_types._finding import NAME_RULE
from orchestrion.shared_types._quantities import (
    BYTES_PATTERN,
    CPU_PATTERN,
    DURATION_PATTERN,
    format_bytes,
    format_cpu,
    format_duration,
    parse_bytes,
    parse_cpu,
    parse_duration,
)
from orchestrion.shared_types._workload import (
    MAX_SLOTS,
)

from ._scalars import Amount, Text, Whole
from ._shapes import Table

_NAME_PATTERN: Final = "[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"

NAME = Text(f"a name ({NAME_RULE})", pattern=_NAME_PATTERN)
VARIABLE = Text("a variable's name (a letter or _, then letters, digits and _)", pattern="[A-Za-z_][A-Za-z0-9_]*")
KEY = Text("a text", empty=False)
ANY = Text("a text", numbers=True)
TEXT = Text("a text", empty=False)
LABELS = Table(KEY, ANY, words="a mapping of texts")
DURATION = Amount("a duration such as 1s, 500ms or 2m", DURATION_PATTERN, parse_duration, format_duration)
POSITIVE = Amount(
    "a duration such as 1s, 500ms or 2m", DURATION_PATTERN, parse_duration, format_duration, positive=True
)
CPU = Amount("an amount of cores such as 0.5 or 500m", CPU_PATTERN, parse_cpu, format_cpu)
BYTES = Amount("an amount of bytes such as 256Mi or 1.5G", BYTES_PATTERN, parse_bytes, format_bytes)
COUNT = Whole(0, MAX_SLOTS)
POSITIVE_COUNT = Whole(1, MAX_SLOTS)
PORT_NUMBER = Whole(1, 65535, "a port's number")
WEIGHT = Whole(1, 100)


def is_but(value: Any, kind: type, **only: str) -> bool:
    """Whether `value` differs from a default `kind` in nothing but the attributes that `only` names."""
    return bool(value == kind(**{name: getattr(value, attribute) for name, attribute in only.items()}))
