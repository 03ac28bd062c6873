"""The parts of a document, each with its place, before anything is made of them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence as AnySequence
from typing import Any, Final

# The core schema of YAML 1.2.2, section 10.3.2. In particular `no`, `on`, `1:30` and `0b1` are texts.
_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_FLAGS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_DECIMAL: Final = re.compile(r"[-+]?[0-9]+")
_OCTAL: Final = re.compile(r"0o[0-7]+")
_HEXADECIMAL: Final = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INFINITE: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)")
_NOT_A_NUMBER: Final = frozenset({".nan", ".NaN", ".NAN"})
_FIRST: Final = frozenset("+-.0123456789~nNtTfF")
_MOST_DIGITS: Final = 300

Plain = None | bool | int | float | str | list[Any] | dict[str, Any]


def resolve(text: str) -> bool | int | float | str | None:
    """Return what an unquoted scalar stands for in the core schema of YAML 1.2.

    A number of more digits than any that is meant stays a text, because reading it could take minutes.
    """
    if text == "":
        return None
    if text[0] not in _FIRST or len(text) > _MOST_DIGITS:
        return text
    if text in _NULL:
        return None
    if text in _FLAGS:
        return _FLAGS[text]
    if _DECIMAL.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _OCTAL.fullmatch(text):
        return int(text[2:], 8)
    if _HEXADECIMAL.fullmatch(text):
        return int(text[2:], 16)
    if _INFINITE.fullmatch(text):
        return float(text.replace(".", ""))
    return float("nan") if text in _NOT_A_NUMBER else text


class Scalar:
    """A text, number, flag or nothing.

    Attributes:
        text: As it is written, without quotes.
        value: What it stands for.
        line: From 1.
        column: From 1.
    """

    __slots__ = ("column", "line", "text", "value")
    size = 1

    def __init__(self, text: str, value: bool | int | float | str | None, line: int, column: int) -> None:
        self.text = text
        self.value = value
        self.line = line
        self.column = column

    @property
    def length(self) -> int:
        """How many characters it is written with."""
        return len(self.text)

    @property
    def words(self) -> str:
        """What it is, for an error message."""
        match self.value:
            case None:
                return "nothing"
            case bool():
                kind = "true or false"
            case int():
                kind = "a whole number"
            case float():
                kind = "a number"
            case _:
                return f"the text {self.text!r:.80}"
        return f"{kind} ({self.text:.80})"


class Sequence:
    """A list."""

    __slots__ = ("column", "items", "length", "line", "size")
    words = "a list"

    def __init__(self, line: int, column: int) -> None:
        self.items: list[Node] = []
        self.line = line
        self.column = column
        self.size = 1
        self.length = 0


class Mapping:
    """A mapping; `entries` has the key's own node with each value, so that errors can point to the key."""

    __slots__ = ("column", "entries", "length", "line", "merged", "size")
    words = "a mapping"

    def __init__(self, line: int, column: int) -> None:
        self.entries: dict[str, tuple[Scalar, Node]] = {}
        self.merged: list[Mapping] = []
        self.line = line
        self.column = column
        self.size = 1
        self.length = 0


Node = Scalar | Sequence | Mapping


def node_of(value: Plain) -> Node:
    """Return what stands for plain data; its place in a text is not known, which line 0 says."""
    match value:
        case dict():
            mapping = Mapping(0, 0)
            mapping.entries = {key: (Scalar(key, key, 0, 0), node_of(item)) for key, item in value.items()}
            return mapping
        case list():
            sequence = Sequence(0, 0)
            sequence.items = [node_of(item) for item in value]
            return sequence
        case _:
            return Scalar(value if isinstance(value, str) else json.dumps(value), value, 0, 0)


def plain(node: Node) -> Plain:
    """Return the plain data that a node stands for."""
    match node:
        case Scalar():
            return node.value
        case Sequence():
            return [plain(item) for item in node.items]
        case Mapping():
            return {key: plain(value) for key, (_, value) in node.entries.items()}


def locate(root: Node, path: AnySequence[str | int]) -> Node:
    """Return the node at `path`, or the deepest that is there.

    A name in a path also finds the item of a list that is that text or has it as `name` or `volume`: compact forms
    have lists where the full ones have mappings.
    """
    node = root
    for part in path:
        found = _child(node, part)
        if found is None:
            return node
        node = found
    return node


def _child(node: Node, part: str | int) -> Node | None:
    match node, part:
        case Mapping(), str() if part in node.entries:
            return node.entries[part][1]
        case Sequence(), int() if part < len(node.items):
            return node.items[part]
        case Sequence(), str():
            return next((item for item in node.items if _is_named(item, part)), None)
        case _:
            return None


def _is_named(item: Node, name: str) -> bool:
    match item:
        case Scalar():
            return item.text == name
        case Mapping():
            given = [item.entries[key][1] for key in ("name", "volume") if key in item.entries]
            return any(isinstance(value, Scalar) and value.text == name for value in given)
        case _:
            return False
