"""The shapes of texts, words, numbers and quantities."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from enum import EnumType
from typing import Any

from orchestrion.shared_types._finding import Path
from orchestrion.shared_types._ids import is_name
from orchestrion.shared_types._priority import PRIORITY_CLASSES, find_priority_class
from orchestrion.shared_types._suggest import nearest

from ._nodes import Node, Scalar
from ._shape import INVALID, Reader, Schema, Shape


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


class ClassName(Shape):
    """The name of one of the reader's priority classes; reads as the class, or as the name where that is passed on."""

    words = "the name of a priority class"

    def read(self, node: Node, path: Path, reader: Reader) -> Any:
        """See `Shape`."""
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            return self.refuse(node, path, reader)
        name = node.value
        if reader.passes_on and is_name(name) and all(each.name != name for each in reader.classes):
            return name
        return reader.build(node, path, lambda: find_priority_class(name, reader.classes))

    def write(self, value: Any) -> Any:
        """See `Shape`."""
        return value if isinstance(value, str) else value.name

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        """See `Shape`."""
        # No enum: the loader may be given other classes than the standard ones.
        return {"type": "string", "minLength": 1, "examples": [each.name for each in PRIORITY_CLASSES]}


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
        if not isinstance(node, Scalar) or type(value) is not int:
            return self.refuse(node, path, reader)
        if not self._low <= value <= self._high:
            return reader.fail(node, path, f"{self.words} is wanted, not {node.text:.80}")
        return value

    def write(self, value: Any) -> Any:
        """See `Shape`."""
        return value

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        """See `Shape`."""
        return {"type": "integer", "minimum": self._low, "maximum": self._high}


class CountOrShare(Shape):
    """A whole number from 0 on, or a percentage; reads as an int or as the text of the percentage."""

    _PATTERN = "(?:100|[1-9]?[0-9])%"

    def __init__(self, high: int) -> None:
        self._high = high
        self.words = f"a whole number from 0 to {high} or a percentage from 0% to 100%"

    def read(self, node: Node, path: Path, reader: Reader) -> Any:
        """See `Shape`."""
        value = node.value if isinstance(node, Scalar) else None
        if isinstance(value, str) and re.fullmatch(self._PATTERN, value):
            return value
        if not isinstance(node, Scalar) or type(value) is not int:
            return self.refuse(node, path, reader)
        if not 0 <= value <= self._high:
            return reader.fail(node, path, f"{self.words} is wanted, not {node.text:.80}")
        return value

    def write(self, value: Any) -> Any:
        """See `Shape`."""
        return value

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        """See `Shape`."""
        return {"type": ["integer", "string"], "minimum": 0, "maximum": self._high, "pattern": f"^{self._PATTERN}$"}


class CountOrAll(Shape):
    """A whole number of a range, both ends included, or `all`; reads as an int or as the text."""

    ALL = "all"

    def __init__(self, low: int, high: int) -> None:
        self._low = low
        self._high = high
        self.words = f"{self.ALL} or a whole number from {low} to {high}"

    def read(self, node: Node, path: Path, reader: Reader) -> Any:
        """See `Shape`."""
        value = node.value if isinstance(node, Scalar) else None
        if value == self.ALL:
            return value
        if not isinstance(node, Scalar) or type(value) is not int:
            return self.refuse(node, path, reader)
        if not self._low <= value <= self._high:
            return reader.fail(node, path, f"{self.words} is wanted, not {node.text:.80}")
        return value

    def write(self, value: Any) -> Any:
        """See `Shape`."""
        return value

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        """See `Shape`."""
        return {"anyOf": [{"const": self.ALL}, {"type": "integer", "minimum": self._low, "maximum": self._high}]}


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
