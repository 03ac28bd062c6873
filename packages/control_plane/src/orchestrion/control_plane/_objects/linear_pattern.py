"""Regular expressions whose matching takes time in proportion to the text: for patterns and texts that strangers write.

An engine that goes back and tries again, as `re` is, can be made to run for years by thirty letters. Here all ways to
match are followed at once (Thompson 1968), and what was found for a set of ways and a letter is kept. The price is that
back references and looking around are refused.

The language is that of ECMA-262, which JSON Schema's patterns are written in: letters, `.`, classes, escapes, groups,
`|`, `*`, `+`, `?`, `{m,n}`, `^` and `$`, by code points.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NoReturn, TypeAlias

from attrs import frozen

MAX_PATTERN_LENGTH: Final = 512
MAX_STATES: Final = 2_000
"""How large a pattern may be once its repetitions are written out."""

_MAX_GROUPS: Final = 32
_MAX_REPEAT: Final = 1_000
_MAX_KEPT: Final = 20_000  # states in all that is kept of a pattern's searches: less than a megabyte

_Ranges: TypeAlias = tuple[tuple[int, int], ...]


@frozen
class _Letter:
    ranges: _Ranges
    negated: bool = False

    def takes(self, code: int) -> bool:
        return any(low <= code <= high for low, high in self.ranges) is not self.negated


@frozen
class _Edge:
    """The start or the end of the text."""

    end: bool


@frozen
class _Sequence:
    parts: tuple[_Node, ...]


@frozen
class _Choice:
    options: tuple[_Node, ...]


@frozen
class _Repeat:
    part: _Node
    least: int
    most: int | None


_Node: TypeAlias = _Letter | _Edge | _Sequence | _Choice | _Repeat


@frozen
class _Fork:
    """Goes on at several places."""

    to: tuple[int, ...]


_State: TypeAlias = _Letter | _Edge | _Fork

_TOP: Final = 0x10FFFF
_DIGITS: Final[_Ranges] = ((48, 57),)
_WORD: Final[_Ranges] = ((48, 57), (65, 90), (95, 95), (97, 122))
_SPACE: Final[_Ranges] = (
    *((9, 13), (32, 32), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029)),
    *((0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF)),
)
_LINE_ENDS: Final[_Ranges] = ((10, 10), (13, 13), (0x2028, 0x2029))
_CLASSES: Final = {"d": _DIGITS, "w": _WORD, "s": _SPACE}
_CONTROLS: Final = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13, "0": 0}
_CODE: Final = re.compile(r"x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|u\{([0-9A-Fa-f]{1,6})\}")
_TIMES: Final = re.compile(r"\{([0-9]{1,9})(,([0-9]{1,9})?)?\}")


class LinearPattern:
    """A pattern that is searched for in texts.

    Attributes:
        text: The pattern as it was written.
        size: Of how many states it is; searching takes time in proportion to this and to the text's length at most.
    """

    def __init__(self, text: str, /) -> None:
        """Read a pattern.

        Raises:
            ValueError: It can't be read, is too large, or needs what can't be done in linear time; says which.
        """
        if len(text) > MAX_PATTERN_LENGTH:
            raise ValueError(f"a pattern has at most {MAX_PATTERN_LENGTH} characters")
        self.text = text
        self._states = _Writer().write(_Parser(text).parse())
        self.size = len(self._states)
        self._start = self._closed([0], at_start=False)
        self._kept: dict[tuple[frozenset[int], str], frozenset[int]] = {}

    def search(self, text: str, /) -> bool:
        """Return whether the pattern is found anywhere in a text."""
        end = self.size
        ways = self._closed([0], at_start=True)
        kept = self._kept
        for letter in text:
            if end in ways:
                return True
            following = kept.get((ways, letter))
            if following is None:
                following = self._after(ways, letter)
                if len(kept) * self.size >= _MAX_KEPT:
                    kept.clear()
                kept[ways, letter] = following
            ways = following
        return end in self._closed(ways, at_start=not text, at_end=True)

    def _after(self, ways: frozenset[int], letter: str) -> frozenset[int]:
        """Return where the ways lead by a letter, with those that begin after it."""
        code = ord(letter)
        states = self._states
        led = [
            at + 1 for at in ways if at < self.size and isinstance(state := states[at], _Letter) and state.takes(code)
        ]
        return self._closed(led, at_start=False) | self._start

    def _closed(self, ways: Iterable[int], *, at_start: bool, at_end: bool = False) -> frozenset[int]:
        """Return all states that are reached without a letter."""
        found: set[int] = set()
        left = list(ways)
        while left:
            at = left.pop()
            if at in found:
                continue
            found.add(at)
            state = self._states[at] if at < self.size else None
            if isinstance(state, _Fork):
                left.extend(state.to)
            elif isinstance(state, _Edge) and (at_end if state.end else at_start):
                left.append(at + 1)
        return frozenset(found)


@lru_cache(maxsize=128)  # more than one schema has, so that no check reads a pattern twice
def linear_pattern(text: str, /) -> LinearPattern:
    """Return a pattern, which is read once while it is in use.

    Raises:
        ValueError: As `LinearPattern` says.
    """
    return LinearPattern(text)


class _Writer:
    """Writes a pattern's states in a row: after a letter or an edge comes the next one; the end is past the last."""

    def __init__(self) -> None:
        self._states: list[_State] = []
        self._steps = 0

    def write(self, node: _Node) -> tuple[_State, ...]:
        self._write(node)
        return tuple(self._states)

    def _write(self, node: _Node) -> None:
        # Steps are counted too: nothing, repeated often enough, has no states but takes for ever.
        self._steps += 1
        if len(self._states) > MAX_STATES or self._steps > 10 * MAX_STATES:
            raise ValueError(f"with its repetitions written out, the pattern has more than {MAX_STATES:,} parts")
        match node:
            case _Sequence(parts):
                for part in parts:
                    self._write(part)
            case _Choice(options):
                self._write_choice(options)
            case _Repeat(part, least, most):
                for _ in range(least):
                    self._write(part)
                self._write_more(part, None if most is None else most - least)
            case _:
                self._states.append(node)

    def _write_choice(self, options: tuple[_Node, ...]) -> None:
        exits = []
        for option in options[:-1]:
            fork = self._gap()
            self._write(option)
            exits.append(self._gap())
            self._states[fork] = _Fork((fork + 1, len(self._states)))
        self._write(options[-1])
        for at in exits:
            self._states[at] = _Fork((len(self._states),))

    def _write_more(self, part: _Node, times: int | None) -> None:
        if times is None:
            fork = self._gap()
            self._write(part)
            self._states.append(_Fork((fork,)))
            self._states[fork] = _Fork((fork + 1, len(self._states)))
            return
        forks = []
        for _ in range(times):
            forks.append(self._gap())
            self._write(part)
        for at in forks:
            self._states[at] = _Fork((at + 1, len(self._states)))

    def _gap(self) -> int:
        self._states.append(_Fork(()))
        return len(self._states) - 1


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._groups = 0

    def parse(self) -> _Node:
        node = self._choice()
        if self._at < len(self._text):
            self._fail("there is a ')' without its '('")
        return node

    def _fail(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (at {self._at + 1} of the pattern)")

    def _next(self, text: str) -> bool:
        """Return whether some text comes next, and pass it."""
        found = self._text.startswith(text, self._at)
        self._at += len(text) if found else 0
        return found

    def _take(self) -> str:
        if self._at == len(self._text):
            self._fail("the pattern ends too early")
        self._at += 1
        return self._text[self._at - 1]

    def _choice(self) -> _Node:
        options = [self._sequence()]
        while self._next("|"):
            options.append(self._sequence())
        return options[0] if len(options) == 1 else _Choice(tuple(options))

    def _sequence(self) -> _Node:
        parts: list[_Node] = []
        while self._at < len(self._text) and self._text[self._at] not in "|)":
            parts.append(self._repeated())
        return _Sequence(tuple(parts))

    def _repeated(self) -> _Node:
        node = self._atom()
        if self._next("*"):
            least, most = 0, None
        elif self._next("+"):
            least, most = 1, None
        elif self._next("?"):
            least, most = 0, 1
        elif found := _TIMES.match(self._text, self._at):
            least = int(found[1])
            most = int(found[3]) if found[3] else None if found[2] else least
            if max(least, most or 0) > _MAX_REPEAT:
                self._fail(f"nothing can be repeated more than {_MAX_REPEAT:,} times")
            if most is not None and most < least:
                self._fail("the numbers of a repetition are out of order")
            self._at = found.end()
        else:
            return node
        if isinstance(node, _Edge):
            self._fail("'^' and '$' can't be repeated")
        self._next("?")  # how much is taken first makes no difference to whether there is a match
        return _Repeat(node, least, most)

    def _atom(self) -> _Node:
        letter = self._take()
        if letter in "*+?{":
            self._at -= 1
            self._fail(f"there is nothing that {letter!r} repeats; for the character, write '\\{letter}'")
        if letter in "]}":
            self._at -= 1
            self._fail(f"for the character, write '\\{letter}'")
        match letter:
            case "^" | "$":
                return _Edge(letter == "$")
            case ".":
                return _Letter(_LINE_ENDS, negated=True)
            case "(":
                return self._group()
            case "[":
                return self._class()
            case "\\":
                return _Letter(self._escape(in_class=False))
            case _:
                return _Letter(((ord(letter), ord(letter)),))

    def _group(self) -> _Node:
        if self._next("?") and not self._next(":"):
            self._fail("looking around and other groups with '(?' can't be done in linear time; only '(?:' can")
        self._groups += 1
        if self._groups > _MAX_GROUPS:
            self._fail(f"groups are nested more than {_MAX_GROUPS} levels deep")
        node = self._choice()
        if not self._next(")"):
            self._fail("a ')' is missing")
        self._groups -= 1
        return node

    def _class(self) -> _Node:
        negated = self._next("^")
        ranges: list[tuple[int, int]] = []
        while not self._next("]"):
            low = self._class_part()
            if self._text.startswith("-", self._at) and not self._text.startswith("-]", self._at):
                self._at += 1
                high = self._class_part()
                if len(low) != 1 or len(high) != 1 or low[0][0] != low[0][1] or high[0][0] != high[0][1]:
                    self._fail("a range is from one character to another")
                if low[0][0] > high[0][0]:
                    self._fail("the characters of a range are out of order")
                ranges.append((low[0][0], high[0][0]))
            else:
                ranges.extend(low)
        return _Letter(tuple(ranges), negated)

    def _class_part(self) -> _Ranges:
        letter = self._take()
        return self._escape(in_class=True) if letter == "\\" else ((ord(letter), ord(letter)),)

    def _escape(self, *, in_class: bool) -> _Ranges:
        if found := _CODE.match(self._text, self._at):
            self._at = found.end()
            code = int(found[1] or found[2] or found[3], 16)
            if code > _TOP:
                self._fail("there is no such character")
            return ((code, code),)
        letter = self._take()
        if letter in _CLASSES:
            return _CLASSES[letter]
        if letter.lower() in _CLASSES:
            return _others(_CLASSES[letter.lower()])
        if letter in _CONTROLS:
            return ((_CONTROLS[letter],) * 2,)
        if in_class and letter == "b":
            return ((8, 8),)
        if letter.isalnum():
            self._fail(f"'\\{letter}' is not known here; back references and boundaries can't be used")
        return ((ord(letter), ord(letter)),)


def _others(ranges: _Ranges) -> _Ranges:
    """Return the characters that sorted ranges leave out."""
    lows = (0, *(high + 1 for _, high in ranges))
    highs = (*(low - 1 for low, _ in ranges), _TOP)
    return tuple((low, high) for low, high in zip(lows, highs, strict=True) if low <= high)
