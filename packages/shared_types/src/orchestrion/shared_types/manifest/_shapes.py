"""The shapes that parts of a manifest have. Each reads, writes and describes itself, so that the three can't differ."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import EnumType
from typing import Any, Final

import attrs
from orchestrion.shared_types._check import Path, path_text
from orchestrion.shared_types._errors import ConfigInvalid, Problem
from orchestrion.shared_types._suggest import nearest, unknown

from ._nodes import Mapping as MappingNode
from ._nodes import Node, Scalar
from ._nodes import Sequence as SequenceNode

Schema = dict[str, Any]

INVALID: Final[Any] = object()
"""Read in place of what is wrong; what is wrong was reported."""

UNSET: Final[Any] = object()
"""The default of a field whose class says it."""

MAX_PROBLEMS: Final = 50


class Reader:
    """Collects problems while a document is read.

    Attributes:
        file: The document's name, or empty.
        folder: Where relative paths start, absolute; None where none may be used.
    """

    def __init__(self, file: str = "", folder: str | None = None) -> None:
        self.file = file
        self.folder = folder
        self.problems: list[Problem] = []

    def is_full(self) -> bool:
        """Whether more problems were found than anybody reads; what follows need not be looked at."""
        return len(self.problems) > MAX_PROBLEMS

    def fail(self, node: Node, path: Path, message: str) -> Any:
        """Report a problem and return `INVALID`."""
        self.problems.append(Problem(message, path_text(path), self.file, node.line, node.column))
        return INVALID

    def build(self, node: Node, path: Path, make: Callable[[], Any]) -> Any:
        """Return what `make` returns; what it refuses is reported."""
        try:
            return make()
        except ConfigInvalid as err:
            return self.fail(node, path, err.problems[0].message)
        except (ValueError, TypeError) as err:
            return self.fail(node, path, str(err.args[0]) if err.args else type(err).__name__)


class Shape:
    """What a part may look like.

    Attributes:
        words: The shape in words, after "... is wanted".
        kinds: The kinds of nodes that it reads: null, scalar, list, mapping.
    """

    words = "a value"
    kinds = frozenset({"scalar"})

    def read(self, node: Node, path: Path, reader: Reader) -> Any:
        """Return the value that a node stands for, or `INVALID` after reporting why it stands for none."""
        raise TypeError

    def write(self, value: Any) -> Any:
        """Return the plain data that reads as `value`."""
        raise TypeError

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        """Return the JSON Schema of what is read; named parts are added to `definitions`."""
        raise TypeError

    def refuse(self, node: Node, path: Path, reader: Reader) -> Any:
        """Report that a node is not of this shape."""
        hint = "; write a value, or leave the key out" if node.words == "nothing" else ""
        return reader.fail(node, path, f"{self.words} is wanted, not {node.words}{hint}")


def kind_of(node: Node) -> str:
    """Return which of null, scalar, list and mapping a node is."""
    match node:
        case MappingNode():
            return "mapping"
        case SequenceNode():
            return "list"
        case _:
            return "null" if node.value is None else "scalar"


class Nothing(Shape):
    """Nothing, where a key says enough."""

    words = "nothing"
    kinds = frozenset({"null"})

    def read(self, node: Node, path: Path, reader: Reader) -> Any:
        """See `Shape`."""
        return None

    def write(self, value: Any) -> Any:
        """See `Shape`."""
        return None

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        """See `Shape`."""
        return {"type": "null"}


class Text(Shape):
    """A text.

    Args:
        words: What is wanted, in words.
        pattern: What it must match as a whole, or None for anything.
        numbers: True also takes numbers and true or false, as they are written.
        empty: Whether it may be empty.
    """

    def __init__(
        self, words: str = "a text", *, pattern: str | None = None, numbers: bool = False, empty: bool = True
    ) -> None:
        self.words = words
        self.pattern = pattern
        self._compiled = None if pattern is None else re.compile(pattern)
        self._numbers = numbers
        self._empty = empty

    def read(self, node: Node, path: Path, reader: Reader) -> Any:
        """See `Shape`."""
        if not isinstance(node, Scalar) or node.value is None:
            return self.refuse(node, path, reader)
        if not isinstance(node.value, str) and not self._numbers:
            return reader.fail(node, path, f"{self.words} is wanted, not {node.words}; put it in quotes")
        text = node.text
        if not text and not self._empty:
            return reader.fail(node, path, f"{self.words} is wanted, not an empty text")
        if "\0" in text:
            return reader.fail(node, path, f"{text!r:.80} has a zero character, which no program can be given")
        if self._compiled is not None and self._compiled.fullmatch(text) is None:
            return reader.fail(node, path, f"{text!r:.80} is not {self.words}")
        return text

    def write(self, value: Any) -> Any:
        """See `Shape`."""
        return value

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        """See `Shape`."""
        schema: Schema = {"type": ["string", "number", "boolean"] if self._numbers else "string"}
        if self.pattern is not None:
            schema["pattern"] = f"^(?:{self.pattern})$"
        if not self._empty:
            schema["minLength"] = 1
        return schema


class Word(Shape):
    """One of the values of an enum."""

    def __init__(self, kind: EnumType) -> None:
        self._kind = kind
        self._choices = [str(member.value) for member in kind]  # type: ignore[var-annotated] # members of any enum
        self.words = f"one of {', '.join(self._choices)}"

    def read(self, node: Node, path: Path, reader: Reader) -> Any:
        """See `Shape`."""
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            return self.refuse(node, path, reader)
        if node.value in self._choices:
            return self._kind(node.value)
        guess = nearest(node.value, self._choices)
        hint = f"; did you mean {guess!r}?" if guess else ""
        return reader.fail(node, path, f"{self.words} is wanted, not {node.value!r:.80}{hint}")

    def write(self, value: Any) -> Any:
        """See `Shape`."""
        return value.value

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        """See `Shape`."""
        return {"enum": self._choices}


class Flag(Shape):
    """True or false."""

    words = "true or false"

    def read(self, node: Node, path: Path, reader: Reader) -> Any:
        """See `Shape`."""
        if isinstance(node, Scalar) and isinstance(node.value, bool):
            return node.value
        return self.refuse(node, path, reader)

    def write(self, value: Any) -> Any:
        """See `Shape`."""
        return value

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        """See `Shape`."""
        return {"type": "boolean"}


class Whole(Shape):
    """A whole number of a range, both ends included."""

    def __init__(self, low: int, high: int, words: str = "a whole number") -> None:
        self._low = low
        self._high = high
        self.words = f"{words} from {low} to {high}"

    def read(self, node: Node, path: Path, reader: Reader) -> Any:
        """See `Shape`."""
        value = node.value if isinstance(node, Scalar) else None
        if type(value) is not int or not self._low <= value <= self._high:
            return self.refuse(node, path, reader)
        return value

    def write(self, value: Any) -> Any:
        """See `Shape`."""
        return value

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        """See `Shape`."""
        return {"type": "integer", "minimum": self._low, "maximum": self._high}


class Real(Shape):
    """A number of a range, both ends included."""

    def __init__(self, low: float, high: float) -> None:
        self._low = low
        self._high = high
        self.words = f"a number from {low:g} to {high:g}"

    def read(self, node: Node, path: Path, reader: Reader) -> Any:
        """See `Shape`."""
        value = node.value if isinstance(node, Scalar) else None
        if not isinstance(value, int | float) or isinstance(value, bool) or not self._low <= value <= self._high:
            return self.refuse(node, path, reader)
        return float(value)

    def write(self, value: Any) -> Any:
        """See `Shape`."""
        return value

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        """See `Shape`."""
        return {"type": "number", "minimum": self._low, "maximum": self._high}


class Amount(Shape):
    """A quantity: a number, or a text with a unit.

    Args:
        words: What is wanted, in words.
        pattern: What a text must match as a whole.
        parse: Reads a text; raises ConfigInvalid.
        form: Writes a value so that `parse` reads it.
        positive: Whether 0 is refused.
    """

    def __init__(
        self,
        words: str,
        pattern: str,
        parse: Callable[[str], Any],
        form: Callable[[Any], str],
        *,
        positive: bool = False,
    ) -> None:
        self.words = words
        self._pattern = pattern
        self._compiled = re.compile(pattern)
        self._parse = parse
        self._form = form
        self._positive = positive

    def read(self, node: Node, path: Path, reader: Reader) -> Any:
        """See `Shape`."""
        value = node.value if isinstance(node, Scalar) else None
        if not isinstance(node, Scalar) or value is None or isinstance(value, bool):
            return self.refuse(node, path, reader)
        # The text of a number is exact where the number itself is not.
        text = str(value) if isinstance(value, int) else node.text
        if isinstance(value, float) and not math.isfinite(value):
            return self.refuse(node, path, reader)
        amount = reader.build(node, path, lambda: self._parse(text))
        if amount is not INVALID and self._positive and amount == 0:
            return reader.fail(node, path, f"{self.words} above 0 is wanted, not {node.text!r:.80}")
        return amount

    def write(self, value: Any) -> Any:
        """See `Shape`."""
        text = self._form(value)
        return int(text) if text.isdigit() and len(text) < 16 else text  # exact in every reader of JSON

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        """See `Shape`."""
        bound = {"exclusiveMinimum": 0} if self._positive else {"minimum": 0}
        return {"type": ["string", "number"], "pattern": f"^(?:{self._pattern})$", **bound}


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
