"""The shapes that are made of others: lists, tables, alternatives and records.

Each reads, writes and describes itself, so that the three can't differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs
from orchestrion.shared_types._finding import Path
from orchestrion.shared_types._suggest import unknown

from ._nodes import Mapping as MappingNode
from ._nodes import Node, Scalar
from ._nodes import Sequence as SequenceNode
from ._scalars import Text
from ._shape import INVALID, UNSET, Reader, Schema, Shape, kind_of


class ListOf(Shape):
    """A list; reads as a tuple."""

    kinds = frozenset({"list"})

    def __init__(self, item: Shape, *, words: str = "a list", least: int = 0) -> None:
        self._item = item
        self._least = least
        self.words = words

    def read(self, node: Node, path: Path, reader: Reader) -> Any:
        """See `Shape`."""
        if not isinstance(node, SequenceNode):
            return self.refuse(node, path, reader)
        if len(node.items) < self._least:
            return reader.fail(node, path, f"{self.words} of at least {self._least} is wanted, not an empty one")
        read = self._item.read
        values = [read(item, (*path, index), reader) for index, item in enumerate(node.items) if not reader.is_full()]
        return INVALID if any(value is INVALID for value in values) else tuple(values)

    def write(self, value: Any) -> Any:
        """See `Shape`."""
        return [self._item.write(item) for item in value]

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        """See `Shape`."""
        schema: Schema = {"type": "array", "items": self._item.schema(definitions)}
        if self._least:
            schema["minItems"] = self._least
        return schema


class Table(Shape):
    """A mapping whose keys the author chooses; reads as a dict.

    Args:
        key: What keys look like.
        item: What values look like.
        words: What is wanted, in words.
    """

    kinds = frozenset({"mapping"})

    def __init__(self, key: Text, item: Shape, *, words: str = "a mapping") -> None:
        self._key = key
        self._item = item
        self.words = words

    def read(self, node: Node, path: Path, reader: Reader) -> Any:
        """See `Shape`."""
        if not isinstance(node, MappingNode):
            return self.refuse(node, path, reader)
        values: dict[str, Any] = {}
        good = True
        for key, (place, item) in node.entries.items():
            if reader.is_full():
                return INVALID
            here = (*path, key)
            # A key is a text whatever it looks like: `8080: x` and `true: x` have the keys that they show.
            name = self._key.read(Scalar(key, key, place.line, place.column), here, reader)
            values[key] = self._item.read(item, here, reader)
            good = good and name is not INVALID and values[key] is not INVALID
        return values if good else INVALID

    def write(self, value: Any) -> Any:
        """See `Shape`."""
        return {key: self._item.write(item) for key, item in value.items()}

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        """See `Shape`."""
        schema: Schema = {"type": "object", "additionalProperties": self._item.schema(definitions)}
        names = {key: value for key, value in self._key.schema(definitions).items() if key != "type"}
        return {**schema, "propertyNames": names} if names else schema


class Mapped(Shape):
    """Another shape, whose values stand for other values.

    Args:
        shape: What is written.
        up: From its value to the one that is read; ValueError and ConfigInvalid are reported.
        down: The way back.
    """

    def __init__(self, shape: Shape, up: Callable[[Any], Any], down: Callable[[Any], Any] | None = None) -> None:
        self.shape = shape
        self._up = up
        self._down = down
        self.words = shape.words
        self.kinds = shape.kinds

    def read(self, node: Node, path: Path, reader: Reader) -> Any:
        """See `Shape`."""
        value = self.shape.read(node, path, reader)
        return INVALID if value is INVALID else reader.build(node, path, lambda: self._up(value))

    def write(self, value: Any) -> Any:
        """See `Shape`."""
        return self.shape.write(value if self._down is None else self._down(value))

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        """See `Shape`."""
        return self.shape.schema(definitions)


class Forms(Shape):
    """One of several shapes of different kinds.

    Args:
        shapes: No two have a kind in common.
        choose: Which of them (by place) a value is written as; None writes all as the last.
    """

    def __init__(self, *shapes: Shape, choose: Callable[[Any], int] | None = None) -> None:
        self.shapes = shapes
        self._choose = choose
        self._by_kind = {kind: shape for shape in shapes for kind in shape.kinds}
        self.kinds = frozenset(self._by_kind)
        self.words = " or ".join(dict.fromkeys(shape.words for shape in reversed(shapes) if shape.words != "nothing"))

    def read(self, node: Node, path: Path, reader: Reader) -> Any:
        """See `Shape`."""
        shape = self._by_kind.get(kind_of(node))
        return self.refuse(node, path, reader) if shape is None else shape.read(node, path, reader)

    def write(self, value: Any) -> Any:
        """See `Shape`."""
        return self.shapes[-1 if self._choose is None else self._choose(value)].write(value)

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        """See `Shape`."""
        return {"anyOf": [shape.schema(definitions) for shape in self.shapes]}


@attrs.frozen
class Field:
    """A key of a record.

    Attributes:
        key: As it is written.
        shape: What its value looks like.
        about: What it means, for the reference and the schema.
        attribute: The name of the attribute that it becomes; empty is the key.
        required: Whether it must be there.
        default: What absence means, where the class does not say.
    """

    key: str
    shape: Shape
    about: str
    attribute: str = ""
    required: bool = False
    default: Any = UNSET

    @property
    def target(self) -> str:
        """The name of the attribute that it becomes."""
        return self.attribute or self.key


class Record(Shape):
    """A mapping whose keys are known.

    Args:
        name: What it is called in the schema and the reference.
        fields: Its keys, in the order in which they are written.
        make: Makes the value of the attributes that are there; ValueError and ConfigInvalid are reported.
        kind: The attrs class that has the defaults.
        split: Takes a value apart into attributes; None takes those of the class.
        one_of: Keys of which exactly one must be there.
        about: What it is, for the reference.
        example: YAML, for the reference.
    """

    kinds = frozenset({"mapping"})

    def __init__(
        self,
        name: str,
        fields: Sequence[Field],
        make: Callable[..., Any],
        *,
        kind: type | None = None,
        split: Callable[[Any], Mapping[str, Any]] | None = None,
        one_of: Sequence[str] = (),
        about: str = "",
        example: str = "",
    ) -> None:
        self.name = name
        self.fields = tuple(fields)
        self.one_of = tuple(one_of)
        self.about = about
        self.example = example
        self.words = "a mapping"
        self._make = make
        self._split = split
        self._by_key = {field.key: field for field in self.fields}
        self._required = [field.key for field in self.fields if field.required]
        defaults = _defaults(kind) if kind is not None else {}
        self.defaults = {
            field.key: defaults.get(field.target, UNSET) if field.default is UNSET else field.default
            for field in self.fields
        }

    def read(self, node: Node, path: Path, reader: Reader) -> Any:
        """See `Shape`."""
        if not isinstance(node, MappingNode):
            return self.refuse(node, path, reader)
        values: dict[str, Any] = {}
        good = True
        for key, (place, item) in node.entries.items():
            if reader.is_full():
                return INVALID
            field = self._by_key.get(key)
            if field is None:
                good = self.read_other(key, place, item, path, reader, values) and good
                continue
            value = field.shape.read(item, (*path, key), reader)
            if value is INVALID:
                good = False
            else:
                values[field.target] = value
        for key in self._required:
            if key not in node.entries:
                reader.fail(node, path, f"{key} is missing; {key} is {self._by_key[key].shape.words}")
                good = False
        if self.one_of and sum(key in node.entries for key in self.one_of) != 1:
            reader.fail(node, path, f"exactly one of {', '.join(self.one_of)} is wanted")
            good = False
        good = self.check(node, path, reader) and good
        return reader.build(node, path, lambda: self._make(**values)) if good else INVALID

    def read_other(
        self, key: str, place: Scalar, _item: Node, path: Path, reader: Reader, _values: dict[str, Any]
    ) -> bool:
        """Read a key that is not of the fields, or report it and return False."""
        reader.fail(place, (*path, key), unknown("key", key, self._by_key))
        return False

    def check(self, _node: MappingNode, _path: Path, _reader: Reader) -> bool:
        """Return whether the keys go together, after reporting those that do not."""
        return True

    def write(self, value: Any) -> Any:
        """See `Shape`."""
        attributes = None if self._split is None else self._split(value)
        plain: dict[str, Any] = {}
        for field in self.fields:
            part = getattr(value, field.target) if attributes is None else attributes.get(field.target, UNSET)
            if part is UNSET or (part == self.defaults[field.key] and not field.required):
                continue
            plain[field.key] = field.shape.write(part)
        return plain

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        """See `Shape`."""
        if self.name not in definitions:
            definitions[self.name] = {}  # taken, should a record ever contain itself
            definitions[self.name] = self._described(definitions)
        return {"$ref": f"#/$defs/{self.name}"}

    def _described(self, definitions: dict[str, Schema]) -> Schema:
        properties = {}
        for field in self.fields:
            described = {**field.shape.schema(definitions), "description": field.about}
            default = self.defaults[field.key]
            if default is not UNSET and default is not None:
                described["default"] = field.shape.write(default)
            properties[field.key] = described
        schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
        if self.about:
            schema["description"] = self.about
        if self._required:
            schema["required"] = list(self._required)
        if self.one_of:
            schema["oneOf"] = [{"required": [key]} for key in self.one_of]
        return schema


def _defaults(kind: type) -> dict[str, Any]:
    found = {}
    for one in attrs.fields(kind):
        default = one.default
        if isinstance(default, attrs.Factory):  # type: ignore[arg-type] # a class at run time, a function to checkers
            default = default.factory()
        found[one.name] = UNSET if default is attrs.NOTHING else default
    return found


def records_in(shape: Shape) -> Iterable[Record]:
    """Yield all records that a shape is made of, each once, those that contain others first."""
    seen: dict[int, None] = {}

    def walk(one: Shape) -> Iterable[Record]:
        if id(one) in seen:
            return
        seen[id(one)] = None
        match one:
            case Record():
                yield one
                for field in one.fields:
                    yield from walk(field.shape)
            case Forms():
                for inner in one.shapes:
                    yield from walk(inner)
            case Mapped():
                yield from walk(one.shape)
            case ListOf() | Table():
                yield from walk(one._item)  # noqa: SLF001 # of the same module
            case _:
                return

    return walk(shape)
