"""Plain JSON data: what equality means there, how large and how deep it is, and how a place in it is written.

A value is a dict with text keys, a list, text, an int, a float, a bool or None. Values are never changed in place here,
so that results may share parts with what they were made from.
"""

from __future__ import annotations

import re
from typing import Any, Final

from orchestrion.shared_types import ConfigInvalid, Problem

JsonObject = dict[str, Any]

MAX_DEPTH: Final = 64
"""How deeply dicts and lists may be nested in an object; no manifest comes near, and recursion stays within bounds."""

MAX_NODES: Final = 200_000
"""How many values an object may have, those inside lists and dicts counted too."""

MAX_TEXT: Final = 4 * 1024 * 1024
"""How many characters the texts of an object may have together while it is being changed."""

_PLAIN = re.compile(r"[\w$-]+", re.ASCII)


def equal(left: Any, right: Any) -> bool:
    """Return whether two values are the same to JSON: true is no 1, but 1.0 is."""
    if isinstance(left, dict):
        return (
            isinstance(right, dict)
            and left.keys() == right.keys()
            and all(equal(value, right[key]) for key, value in left.items())
        )
    if isinstance(left, list):
        return isinstance(right, list) and len(left) == len(right) and all(map(equal, left, right))
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def measure(value: Any, /, *, enough: int = MAX_NODES) -> tuple[int, int]:
    """Return how many values there are in `value`, itself counted, and how deeply they are nested (0 for a scalar).

    Counting ends soon after `enough` values or `MAX_DEPTH` levels: what is beyond a limit need not be known exactly.
    """
    count, depth = 0, 0
    level = [value]
    while level:
        count += len(level)
        if count > enough or depth > MAX_DEPTH:
            break
        below: list[Any] = []
        nested = False
        for item in level:
            if isinstance(item, dict):
                nested = True
                below.extend(item.values())
            elif isinstance(item, list):
                nested = True
                below.extend(item)
            if len(below) > enough:
                break
        depth += nested
        level = below
    return count, depth


def text_size(value: Any, /, *, enough: int) -> int:
    """Return how many characters the texts in `value` have together, keys too; counting ends soon after `enough`."""
    size = 0
    left = [value]
    while left and size <= enough:
        item = left.pop()
        if isinstance(item, str):
            size += len(item)
        elif isinstance(item, dict):
            size += sum(map(len, item))
            left.extend(item.values())
        elif isinstance(item, list):
            left.extend(item)
    return size


def check_size(value: Any, what: str, /) -> None:
    """Refuse a value that is too large or too deep to be worked on.

    Raises:
        ConfigInvalid: It has more than `MAX_NODES` values or more than `MAX_DEPTH` levels.
    """
    count, depth = measure(value)
    if depth > MAX_DEPTH:
        raise ConfigInvalid((Problem(f"{what} is nested more than {MAX_DEPTH} levels deep"),))
    if count > MAX_NODES:
        raise ConfigInvalid((Problem(f"{what} has more than {MAX_NODES:,} values"),))


def place(*parts: str | int) -> str:
    """Return a place in a document as people read it: `spec.ports[0]`, `metadata.labels["a.b/c"]`."""
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN.fullmatch(part):
            text += f".{part}" if text else part
        else:
            quoted = part[:80].replace("\\", "\\\\").replace('"', '\\"')
            text += f'["{quoted}"]'
    return text


def words(value: Any, /) -> str:
    """Return what sort of value it is, as a sentence names it."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list():
            return "a list"
        case _:
            return "an object"
