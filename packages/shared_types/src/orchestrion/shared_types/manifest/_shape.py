"""What a shape is, and what collects the problems while one is read."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final

from orchestrion.shared_types._errors import ConfigInvalid, Problem
from orchestrion.shared_types._finding import Path, path_text
from orchestrion.shared_types._priority import PRIORITY_CLASSES, PriorityClass

from ._nodes import Mapping as MappingNode
from ._nodes import Node
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
        classes: The priority classes that may be named.
        passes_on: Whether others may be named too, which whoever runs it knows.
    """

    def __init__(
        self, file: str = "", folder: str | None = None, classes: Collection[PriorityClass] | None = PRIORITY_CLASSES
    ) -> None:
        self.file = file
        self.folder = folder
        self.classes = PRIORITY_CLASSES if classes is None else classes
        self.passes_on = classes is None
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
