"""JSON patches (RFC 6902, pointers RFC 6901): applied as a whole or not at all, and made from a difference."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

from attrs import define
from orchestrion.shared_types import ConfigInvalid, PreconditionFailed, Problem

from .json_values import MAX_DEPTH, MAX_NODES, MAX_TEXT, JsonObject, equal, measure, text_size, words

T = TypeVar("T")

MAX_OPERATIONS: Final = 1_000

Pointer = tuple[str, ...]

_INDEX = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)
_BAD_ESCAPE = re.compile(r"~(?![01])")
_SHOWN = 200
_NOTHING: Final[Any] = object()


class _Refused(Exception):
    """Why an operation can't be done; who knows its number adds it."""


def parse_pointer(text: str, /) -> Pointer:
    """Return the parts of a JSON pointer; the empty pointer, which is the whole document, has none.

    Raises:
        ConfigInvalid: It does not start with `/`, has a `~` that is neither `~0` nor `~1`, or is too long.
    """
    try:
        return _parsed(text)
    except _Refused as err:
        raise ConfigInvalid((Problem(str(err)),)) from None


def pointer_text(parts: Sequence[str], /) -> str:
    """Return the JSON pointer that has these parts."""
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)


def apply_patch(document: Any, operations: Any, /) -> Any:
    """Return `document` with the operations of a JSON patch applied in their order.

    Either all of them are applied or none; neither argument is changed; the result may share parts with both.

    Args:
        document: Any JSON value.
        operations: The patch: at most `MAX_OPERATIONS` objects with `op`, `path` and, as the operation wants, `value`
            or `from`. Members that mean nothing are passed over, as the RFC says.

    Raises:
        ConfigInvalid: The patch has a wrong form, an operation names what is not there, or the result would be too
            large or too deep. The problem's path is the operation's number from 0, its message has the pointer.
        PreconditionFailed: The value that a `test` names is another one.
    """
    if not isinstance(operations, list):
        raise ConfigInvalid((Problem(f"a JSON patch is a list of operations, not {words(operations)}"),))
    if len(operations) > MAX_OPERATIONS:
        raise ConfigInvalid((Problem(f"a JSON patch has at most {MAX_OPERATIONS:,} operations"),))
    # Copies share what they copy, so that a patch could double a document with each operation and hardly cost memory,
    # until the result is written out.
    room = _Room(MAX_NODES - measure(document)[0], MAX_TEXT - text_size(document, enough=MAX_TEXT))
    for number, operation in enumerate(operations):
        try:
            document = _applied(document, operation, room)
        except _Refused as err:
            raise ConfigInvalid((Problem(f"{_named(operation)}{err}", f"[{number}]"),)) from None
        except _Differs as err:
            raise PreconditionFailed(
                f"[{number}]: {_named(operation)}{err}", remedy="Read the object again, then decide."
            ) from None
    return document


def make_patch(before: Any, after: Any, /) -> list[JsonObject]:
    """Return the operations (add, remove, replace) that make `after` of `before`; none where they are equal.

    Objects are compared member by member. Lists are compared item by item between their common start and end, so that
    one item more or fewer is one operation. The patch is right, and small for small changes, but not the smallest.
    """
    return list(_differences(before, after, ()))


class _Differs(Exception):
    """A test found another value."""


def _named(operation: Any) -> str:
    """Return `replace /spec/replicas: `, as much of it as the operation says."""
    if not isinstance(operation, dict):
        return ""
    said = [operation.get("op"), operation.get("path")]
    text = " ".join(part for part in said if isinstance(part, str))
    return f"{text[:_SHOWN]}: " if text else ""


@define
class _Room:
    """By how much a document may still grow.

    Attributes:
        values: In values.
        text: In characters of texts.
    """

    values: int
    text: int

    def take(self, value: Any, path: Pointer) -> None:
        """Take the room for a value at a place."""
        self.values -= _grown(value, path, self.values)
        self.text -= text_size(value, enough=max(self.text, 0))
        if self.text < 0:
            raise _Refused(f"the texts of the document would have more than {MAX_TEXT:,} characters")


def _applied(document: Any, operation: Any, room: _Room) -> Any:
    """Return the document after one operation."""
    if not isinstance(operation, dict):
        raise _Refused(f"an operation is an object, not {words(operation)}")
    path = _pointer_in(operation, "path")
    match operation.get("op"):
        case "add":
            value = _value_in(operation)
            room.take(value, path)
            return _added(document, path, value)
        case "remove":
            return _removed(document, path)[0]
        case "replace":
            value = _value_in(operation)
            room.take(value, path)
            return _replaced(document, path, value)
        case "move":
            source = _pointer_in(operation, "from")
            if path == source:
                _found(document, source)
                return document
            if path[: len(source)] == source:
                raise _Refused(f"{pointer_text(source)!r:.200} can't be moved into itself")
            document, value = _removed(document, source)
            _grown(value, path, MAX_NODES)
            return _added(document, path, value)
        case "copy":
            value = _found(document, _pointer_in(operation, "from"))
            room.take(value, path)
            return _added(document, path, value)
        case "test":
            found = _found(document, path)
            if not equal(found, _value_in(operation)):
                raise _Differs("the value there is another one")
            return document
        case None:
            raise _Refused("`op` is missing")
        case other:
            raise _Refused(f"unknown operation {other!r:.80}; known: add, copy, move, remove, replace, test")


def _pointer_in(operation: JsonObject, member: str) -> Pointer:
    text = operation.get(member, _NOTHING)
    if text is _NOTHING:
        raise _Refused(f"`{member}` is missing")
    if not isinstance(text, str):
        raise _Refused(f"`{member}` is a JSON pointer, a text, not {words(text)}")
    return _parsed(text)


def _value_in(operation: JsonObject) -> Any:
    value = operation.get("value", _NOTHING)
    if value is _NOTHING:
        raise _Refused("`value` is missing; to set null, write it")
    return value


def _parsed(text: str) -> Pointer:
    if not text:
        return ()
    if text[0] != "/":
        raise _Refused(f"a JSON pointer is empty or starts with '/': {text!r:.80}")
    if _BAD_ESCAPE.search(text):
        raise _Refused(f"in a JSON pointer '~' is written '~0' and '/' is written '~1': {text!r:.80}")
    # One more than the nesting: the last part may name a scalar at the deepest level.
    if text.count("/") > MAX_DEPTH + 1:
        raise _Refused(f"a JSON pointer has at most {MAX_DEPTH + 1} parts")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in text[1:].split("/"))


def _grown(value: Any, path: Pointer, room: int) -> int:
    count, depth = measure(value, enough=max(room, 0))
    if count > room:
        raise _Refused(f"the document would have more than {MAX_NODES:,} values")
    if depth + len(path) > MAX_DEPTH:
        raise _Refused(f"the document would be nested more than {MAX_DEPTH} levels deep")
    return count


def _at(holder: Any, part: str, path: Pointer, *, end: bool = False) -> Any:
    """Return the key or index that a pointer's part is in its holder; with `end`, one past the last is one too."""
    if isinstance(holder, dict):
        if part not in holder and not end:
            raise _Refused(f"there is no member {part!r:.80}{_inside(path)}")
        return part
    if not isinstance(holder, list):
        raise _Refused(f"{words(holder)} has nothing inside{_inside(path)}")
    if part == "-" and end:
        return len(holder)
    if not _INDEX.fullmatch(part):
        raise _Refused(f"{part!r:.80} is no index of a list{_inside(path)}")
    if int(part) >= len(holder) + end:
        raise _Refused(f"the list has {len(holder)} items, so that there is no {part}{_inside(path)}")
    return int(part)


def _inside(path: Pointer) -> str:
    return f" at {pointer_text(path)!r:.200}" if path else " at the top"


def _found(document: Any, path: Pointer) -> Any:
    for number, part in enumerate(path):
        document = document[_at(document, part, path[:number])]
    return document


def _edited(document: Any, path: Pointer, edit: Callable[[Any, str, Pointer], T]) -> tuple[Any, T]:
    """Return the document in which what holds the last part was edited, and what the edit gave.

    Only what is on the way is copied.
    """
    holders = [document]
    keys: list[Any] = []
    for number, part in enumerate(path[:-1]):
        keys.append(_at(holders[-1], part, path[:number]))
        holders.append(holders[-1][keys[-1]])
    holder = holders.pop()
    changed = holder.copy() if isinstance(holder, dict | list) else holder
    given = edit(changed, path[-1], path[:-1])
    while holders:
        outer = holders.pop().copy()
        outer[keys.pop()] = changed
        changed = outer
    return changed, given


def _added(document: Any, path: Pointer, value: Any) -> Any:
    if not path:
        return value

    def edit(holder: Any, part: str, inside: Pointer) -> None:
        key = _at(holder, part, inside, end=True)
        if isinstance(holder, list):
            holder.insert(key, value)
        else:
            holder[key] = value

    return _edited(document, path, edit)[0]


def _removed(document: Any, path: Pointer) -> tuple[Any, Any]:
    if not path:
        raise _Refused("the whole document can't be removed; delete the object")

    def edit(holder: Any, part: str, inside: Pointer) -> Any:
        key = _at(holder, part, inside)
        return holder.pop(key)

    return _edited(document, path, edit)


def _replaced(document: Any, path: Pointer, value: Any) -> Any:
    if not path:
        return value

    def edit(holder: Any, part: str, inside: Pointer) -> None:
        holder[_at(holder, part, inside)] = value

    return _edited(document, path, edit)[0]


def _differences(before: Any, after: Any, path: Pointer) -> Iterator[JsonObject]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in before:
            if key not in after:
                yield {"op": "remove", "path": pointer_text((*path, key))}
        for key, value in after.items():
            if key in before:
                yield from _differences(before[key], value, (*path, key))
            else:
                yield {"op": "add", "path": pointer_text((*path, key)), "value": value}
    elif isinstance(before, list) and isinstance(after, list):
        yield from _list_differences(before, after, path)
    elif not equal(before, after):
        yield {"op": "replace", "path": pointer_text(path), "value": after}


def _list_differences(before: list[Any], after: list[Any], path: Pointer) -> Iterator[JsonObject]:
    shorter = min(len(before), len(after))
    start = 0
    while start < shorter and equal(before[start], after[start]):
        start += 1
    end = 0
    while end < shorter - start and equal(before[-1 - end], after[-1 - end]):
        end += 1
    common = min(len(before), len(after)) - end
    for index in range(start, common):
        yield from _differences(before[index], after[index], (*path, str(index)))
    for index in reversed(range(common, len(before) - end)):
        yield {"op": "remove", "path": pointer_text((*path, str(index)))}
    for index in range(common, len(after) - end):
        yield {"op": "add", "path": pointer_text((*path, str(index))), "value": after[index]}
