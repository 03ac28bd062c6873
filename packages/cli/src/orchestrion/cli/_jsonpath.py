"""Templates with paths into JSON values: a small, exact part of what is called JSONPath elsewhere.

A template is text with expressions in braces. What an expression finds is written one after the other with a space
between: a text as it is, all else as JSON. What is not there is nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any, Final, NamedTuple, NoReturn

from orchestrion.shared_types import ConfigInvalid, Problem

_NAME: Final = re.compile(r"[\w-]+")
_NUMBER: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_SPACE: Final = re.compile(r"\s*")
_OPERATORS: Final = ("==", "!=", "<=", ">=", "<", ">")
_WORDS: Final = {"true": True, "false": False, "null": None}
_MAX_RANGES: Final = 20
_MAX_DIGITS: Final = 1000
"""Far more than any value has; Python itself refuses to read numbers of some thousands of digits."""

Step = Callable[[Any, Any], Iterable[Any]]
"""From the whole value and one in it to those that a step from there leads to."""


class Path(NamedTuple):
    """Where something is.

    Attributes:
        from_root: Whether it begins at the whole value, whatever surrounds it.
        steps: How it goes on from there.
    """

    from_root: bool
    steps: Sequence[Step]

    def found(self, root: Any, here: Any) -> list[Any]:
        """Return what is there."""
        values = [root if self.from_root else here]
        for step in self.steps:
            values = [found for value in values for found in step(root, value)]
        return values


class Range(NamedTuple):
    """What is written once for each of several values.

    Attributes:
        path: Where they are.
        parts: What is written, by paths from each of them.
    """

    path: Path
    parts: Sequence[Part]


Part = str | Path | Range


class Template(NamedTuple):
    """A template that was understood."""

    parts: Sequence[Part]

    def text(self, value: Any, /) -> str:
        """Return what it comes to for a value."""
        return "".join(_written(self.parts, value, value))


def _written(parts: Sequence[Part], root: Any, here: Any) -> Iterator[str]:
    for part in parts:
        if isinstance(part, str):
            yield part
        elif isinstance(part, Path):
            yield " ".join(map(_plain, part.found(root, here)))
        else:
            for each in part.path.found(root, here):
                yield from _written(part.parts, root, each)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@cache
def template(text: str, /) -> Template:
    """Return the template that a text stands for.

    Raises:
        ConfigInvalid: It is none; the problem tells the character at which it ceases to be one.
    """
    return Template(_Reader(text).parts(()))


class _Reader:
    """Reads a template from its beginning to its end."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def parts(self, ranges: Sequence[int]) -> list[Part]:
        """Read up to the end, or that of the innermost of the ranges that began at these places."""
        found = list[Part]()
        while self._at < len(self._text):
            if self._text[self._at] == "}":
                self._fail("a brace is closed that was not opened")
            if self._text[self._at] != "{":
                end = min((place for brace in "{}" if (place := self._text.find(brace, self._at)) >= 0), default=None)
                found.append(self._text[self._at : end])
                self._at = len(self._text) if end is None else end
                continue
            began = self._at
            self._at += 1
            self._skip()
            if self._word("end"):
                self._close()
                if not ranges:
                    self._fail("there is no range that ends here", began)
                return found
            if self._word("range"):
                if len(ranges) == _MAX_RANGES:
                    self._fail(f"ranges are nested more than {_MAX_RANGES} deep", began)
                path = self._path()
                self._close()
                found.append(Range(path, self.parts((*ranges, began))))
            elif self._text[self._at : self._at + 1] in ("'", '"'):
                found.append(self._quoted())
                self._close()
            else:
                found.append(self._path())
                self._close()
        if ranges:
            self._fail("this range has no {end}", ranges[-1])
        return found

    # -- expressions ------------------------------------------------------------------------------------------------

    def _path(self) -> Path:
        self._skip()
        began = self._at
        start = self._text[self._at : self._at + 1]
        if start in ("$", "@"):
            self._at += 1
        steps = list[Step]()
        while (next_ := self._text[self._at : self._at + 1]) in (".", "["):
            self._at += 1
            if next_ == "[":
                steps.append(self._bracket())
                continue
            if self._text[self._at : self._at + 1] == ".":
                self._fail("`..` is not known here: say the whole path", self._at - 1)
            if self._text[self._at : self._at + 1] == "*":
                self._at += 1
                steps.append(_all)
                continue
            name = _NAME.match(self._text, self._at)
            if name is None:
                if not steps and self._text[self._at : self._at + 1] in ("}", "", " "):
                    continue  # `{.}` is the value itself
                self._fail("a name is wanted behind the dot: letters, digits, _ and -; others stand in ['...']")
            self._at = name.end()
            steps.append(_named(name[0], is_first=start != "@" and not steps))
        if self._at == began:
            self._fail("a path is wanted, such as .metadata.name; or 'text', range, end")
        return Path(start == "$", steps)

    def _bracket(self) -> Step:
        """Read a step whose bracket was opened."""
        self._skip()
        step: Step
        here = self._text[self._at : self._at + 1]
        if here == "*":
            self._at += 1
            step = _all
        elif here in ("'", '"'):
            step = _named(self._quoted(), is_first=False)
        elif here == "?":
            self._at += 1
            step = self._filter()
        else:
            number = _NUMBER.match(self._text, self._at)
            if number is None or not re.fullmatch("-?[0-9]{1,9}", number[0]):
                self._fail("a number, *, 'name' or ?(...) is wanted in the bracket")
            self._at = number.end()
            step = _nth(int(number[0]))
        self._skip()
        if self._text[self._at : self._at + 1] in (":", ","):
            self._fail("slices and several in one bracket are not known here")
        self._take("]", "the bracket is not closed")
        return step

    def _filter(self) -> Step:
        self._take("(", "a filter is ?(...)")
        left = self._operand()
        self._skip()
        operator = next((each for each in _OPERATORS if self._text.startswith(each, self._at)), None)
        right: Path | None = None
        if operator is not None:
            self._at += len(operator)
            right = self._operand()
        self._skip()
        if self._text.startswith(("&&", "||", "=~"), self._at):
            self._fail("&&, || and =~ are not known here: one comparison is")
        self._take(")", "==, !=, <, <=, >, >= or the end of the filter is wanted")
        return _where(left, operator, right)

    def _operand(self) -> Path:
        self._skip()
        if self._text[self._at : self._at + 1] in ("'", '"'):
            return _constant(self._quoted())
        number = _NUMBER.match(self._text, self._at)
        if number is not None:
            if len(number[0]) > _MAX_DIGITS:
                self._fail(f"a number has at most {_MAX_DIGITS} digits")
            self._at = number.end()
            return _constant(json.loads(number[0]) if not re.match("-?0[0-9]", number[0]) else float(number[0]))
        for word, value in _WORDS.items():
            if self._word(word):
                return _constant(value)
        if self._text[self._at : self._at + 1] not in ("@", "$"):
            self._fail("@..., a 'text', a number, true, false or null is wanted")
        return self._path()

    def _quoted(self) -> str:
        quote, began = self._text[self._at], self._at
        found = re.compile(rf"{quote}((?:[^\\{quote}]|\\.)*){quote}", re.DOTALL).match(self._text, began)
        if found is None:
            self._fail("this text has no end", began)
        self._at = found.end()
        escapes = {"n": "\n", "t": "\t", "r": "\r"}
        return re.sub(r"\\(.)", lambda one: escapes.get(one[1], one[1]), found[1], flags=re.DOTALL)

    # -- characters -------------------------------------------------------------------------------------------------

    def _skip(self) -> None:
        space = _SPACE.match(self._text, self._at)
        self._at = self._at if space is None else space.end()

    def _word(self, word: str) -> bool:
        found = _NAME.match(self._text, self._at)
        if found is None or found[0] != word:
            return False
        self._at = found.end()
        return True

    def _close(self) -> None:
        self._skip()
        self._take("}", "the brace is not closed here")

    def _take(self, wanted: str, message: str) -> None:
        self._skip()
        if not self._text.startswith(wanted, self._at):
            self._fail(message)
        self._at += len(wanted)

    def _fail(self, message: str, at: int | None = None) -> NoReturn:
        place = self._at if at is None else at
        shown = self._text[max(0, place - 20) : place + 20]
        near = f"before {shown[min(place, 20) :]!r}" if place < len(self._text) else "at the end"
        problem = Problem(f"{message} (character {place + 1}, {near})", path="-o jsonpath")
        raise ConfigInvalid((problem,), remedy="-o jsonpath='{.metadata.name}', or see docs/cli.md for what is known")


# -- steps ----------------------------------------------------------------------------------------------------------


def _all(_root: Any, value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _named(name: str, *, is_first: bool) -> Step:
    def step(root: Any, value: Any) -> Iterable[Any]:
        if isinstance(value, dict):
            return (value[name],) if name in value else ()
        # What gives several gives a list of them, which elsewhere is under `items`.
        return (value,) if is_first and name == "items" and value is root and isinstance(value, list) else ()

    return step


def _nth(number: int) -> Step:
    def step(_root: Any, value: Any) -> Iterable[Any]:
        return (value[number],) if isinstance(value, list) and -len(value) <= number < len(value) else ()

    return step


def _constant(value: Any) -> Path:
    return Path(False, (lambda _root, _value: (value,),))


def _where(left: Path, operator: str | None, right: Path | None) -> Step:
    def step(root: Any, value: Any) -> Iterable[Any]:
        for each in _all(root, value):
            found = left.found(root, each)
            if operator is None or right is None:
                fits = bool(found)
            else:
                fits = any(_compared(operator, one, other) for one in found for other in right.found(root, each))
            if fits:
                yield each

    return step


def _compared(operator: str, one: Any, other: Any) -> bool:
    same = type(one) is type(other) or (_is_number(one) and _is_number(other))
    if operator in ("==", "!="):
        return (same and one == other) is (operator == "==")
    if not same or not (isinstance(one, str) or _is_number(one)):
        return False
    less: bool = one < other
    if operator in ("<", ">="):
        return less is (operator == "<")
    return (less or one == other) is (operator == "<=")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
