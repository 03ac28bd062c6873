"""Selectors: which objects a list or a watch is about, by their labels (`app=web,tier in (a,b),!old`) or their fields.

Requirements are separated by commas, and all of them have to hold. A selector without any holds for everything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn, TypeAlias

from attrs import evolve, field, frozen
from orchestrion.shared_types import ConfigInvalid, Problem

from .field_paths import FieldPaths, Filled
from .kinds import Kind

MAX_SELECTOR_LENGTH: Final = 4_096
"""The longest selector, in characters."""

Labels: TypeAlias = Mapping[str, str]

_ABSENT: Final[Any] = object()
_AROUND: Final = 40
_MAX_PROBLEMS: Final = 10

# A key may have a prefix: a domain, then a slash. What is longer than labels can be selects nothing, and is no error.
_KEY = re.compile(r"[A-Za-z0-9](?:[\w.-]*/)?[\w.-]*", re.ASCII)
_VALUE = re.compile(r"[\w.-]*", re.ASCII)
_SPACE = re.compile(r"[ \t]*")
_FIELD = re.compile(r"[A-Za-z_][\w$-]*(?:\.[\w$/-]+)*", re.ASCII)
_FIELD_VALUE = re.compile(r"(?:[^\\,=!]|\\[\\,=!])*")
_ESCAPED = re.compile(r"\\(.)")
_LABEL_MAPS: Final = (("metadata", "labels"), ("metadata", "annotations"))


@frozen
class LabelSelector:
    """What is asked of labels.

    Attributes:
        text: The selector as it was written.
    """

    text: str
    _requirements: tuple[Callable[[Labels], bool], ...] = field(repr=False, eq=False)

    def matches(self, labels: Labels, /) -> bool:
        """Return whether labels meet all requirements."""
        for holds in self._requirements:  # noqa: SIM110 (a generator takes three times as long)
            if not holds(labels):
                return False
        return True


@frozen
class FieldSelector:
    """What is asked of fields.

    Attributes:
        text: The selector as it was written.
    """

    text: str
    _requirements: tuple[tuple[tuple[str, ...], str, bool, Filled | None], ...] = field(repr=False)

    def of_kind(self, kind: Kind, /) -> FieldSelector:
        """Return the same for objects of a kind: what they leave out is what their kind has there.

        Raises:
            ConfigInvalid: No object of the kind can have a field that is asked of them.
        """
        paths, problems = FieldPaths(kind), dict[str, Problem]()
        requirements: list[tuple[tuple[str, ...], str, bool, Filled | None]] = []
        for path, wanted, equals, _ in self._requirements:
            try:
                requirements.append((path, wanted, equals, paths.filled(path)))
            except ValueError as err:
                name = ".".join(path)[:80]
                problems.setdefault(name, Problem(str(err), file="field selector", path=name))
            if len(problems) == _MAX_PROBLEMS:
                break
        if problems:
            raise ConfigInvalid(tuple(problems.values()))
        return evolve(self, requirements=tuple(requirements))

    def matches(self, document: Mapping[str, Any], /) -> bool:
        """Return whether a document meets all requirements."""
        for path, wanted, equals, filled in self._requirements:
            found = document
            for index, key in enumerate(path):
                # Asked for by its attribute, for speed: what has no such method is a scalar or a list.
                get = getattr(found, "get", None)
                found = _ABSENT if get is None else get(key, _ABSENT)
                if found is _ABSENT:
                    if get is not None and filled is not None and filled.holds(document, index):
                        found = filled.value
                    break
            if (_text_of(found) == wanted) is not equals:
                return False
        return True


def parse_label_selector(text: str, /) -> LabelSelector:
    """Return a selector of labels.

    A requirement is `key=value` (or `==`), `key!=value`, `key in (a,b)`, `key notin (a,b)`, `key` (is there) or `!key`
    (is not there). `!=` and `notin` hold too where there is no such label.

    Raises:
        ConfigInvalid: It can't be read, or is too long; the problem says where, in its column and by a caret.
    """
    reader = _Reader(text, "label selector")
    requirements: list[Callable[[Labels], bool]] = []
    while reader.wants_more(bool(requirements)):
        requirements.append(_label_requirement(reader))
    return LabelSelector(text, tuple(requirements))


def parse_field_selector(text: str, /) -> FieldSelector:
    r"""Return a selector of fields.

    A requirement is `path=value` (or `==`) or `path!=value`, where a path has dots: `metadata.name`, `status.phase`;
    after `metadata.labels` and `metadata.annotations` all the rest is one key. Numbers, true and false are compared as
    JSON writes them. What is not there, or is null, a list or an object, equals nothing, the empty text too. In a value
    `\` goes before `,`, `=`, `!` and `\`.

    Raises:
        ConfigInvalid: It can't be read, or is too long; the problem says where, in its column and by a caret.
    """
    reader = _Reader(text, "field selector")
    requirements: list[tuple[tuple[str, ...], str, bool, Filled | None]] = []
    while reader.wants_more(bool(requirements)):
        path = reader.read(_FIELD, "a field such as metadata.name is wanted")
        operator = reader.operator("==", "=", "!=")
        if operator is None:
            reader.fail("'=' or '!=' is wanted")
        value = reader.read(_FIELD_VALUE, "a value is wanted").rstrip(" \t")
        requirements.append((_path(path), _ESCAPED.sub(r"\1", value), operator != "!=", None))
    return FieldSelector(text, tuple(requirements))


class _Reader:
    """Reads a selector from left to right."""

    def __init__(self, text: str, what: str) -> None:
        self._text = text
        self._what = what
        self._at = 0
        if len(text) > MAX_SELECTOR_LENGTH:
            self._at = MAX_SELECTOR_LENGTH
            self.fail(f"a selector has at most {MAX_SELECTOR_LENGTH:,} characters")

    def wants_more(self, begun: bool) -> bool:
        """Return whether a requirement follows, past the comma that separates it from the one before."""
        self._skip()
        if self._at == len(self._text):
            return False
        if begun and self.operator(",") is None:
            self.fail("',' is wanted between requirements")
        return True

    def operator(self, *operators: str) -> str | None:
        """Return the first of some operators that comes next, and pass it; None where none does."""
        for operator in operators:
            if self._text.startswith(operator, self._at):
                self._at += len(operator)
                self._skip()
                return operator
        return None

    def word(self, *known: str) -> str | None:
        """Return the word that comes next, and pass it, where it is one of those known."""
        found = _VALUE.match(self._text, self._at)
        if found is None or found[0] not in known:
            return None
        self._at = found.end()
        self._skip()
        return found[0]

    def read(self, pattern: re.Pattern[str], wanted: str) -> str:
        """Return what matches a pattern, and pass it."""
        found = pattern.match(self._text, self._at)
        if found is None:
            self.fail(wanted)
        self._at = found.end()
        self._skip()
        return found[0]

    def fail(self, message: str) -> NoReturn:
        """Refuse the selector where reading has come to."""
        start = max(0, self._at - _AROUND)
        shown = "".join(letter if letter.isprintable() else "?" for letter in self._text[start : self._at + _AROUND])
        caret = " " * (self._at - start) + "^"
        raise ConfigInvalid((Problem(f"{message}\n  {shown}\n  {caret}", file=self._what, column=self._at + 1),))

    def _skip(self) -> None:
        space = _SPACE.match(self._text, self._at)
        if space is not None:
            self._at = space.end()


def _label_requirement(reader: _Reader) -> Callable[[Labels], bool]:
    if reader.operator("!") is not None:
        key = reader.read(_KEY, "the key of a label is wanted")
        return lambda labels: key not in labels
    key = reader.read(_KEY, "the key of a label is wanted")
    operator = reader.operator("==", "=", "!=") or reader.word("in", "notin")
    match operator:
        case "=" | "==":
            value = reader.read(_VALUE, "a value is wanted")
            return lambda labels: labels.get(key) == value
        case "!=":
            value = reader.read(_VALUE, "a value is wanted")
            return lambda labels: labels.get(key) != value
        case "in":
            values = _values(reader)
            return lambda labels: labels.get(key) in values
        case "notin":
            values = _values(reader)
            return lambda labels: labels.get(key) not in values
        case _:
            return lambda labels: key in labels


def _values(reader: _Reader) -> frozenset[str]:
    if reader.operator("(") is None:
        reader.fail("'(' is wanted before the values")
    values = [reader.read(_VALUE, "a value is wanted")]
    while reader.operator(",") is not None:
        values.append(reader.read(_VALUE, "a value is wanted"))
    if reader.operator(")") is None:
        reader.fail("',' or ')' is wanted after a value")
    return frozenset(values)


def _path(text: str) -> tuple[str, ...]:
    parts = text.split(".")
    if tuple(parts[:2]) in _LABEL_MAPS and len(parts) > 2:
        return (parts[0], parts[1], ".".join(parts[2:]))
    return tuple(parts)


def _text_of(value: Any) -> str | None:
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case _:
            return None
