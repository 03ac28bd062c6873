"""Documents as plain data that know where each part of them is written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from attrs import field, frozen
from orchestrion.shared_types._errors import Problem

from ._nodes import Mapping, Node, locate, plain
from ._yaml import MAX_BYTES, compose

_PART: Final = re.compile(
    r"""\.?(?P<name>[^.\[\]]+)
    | \[(?P<index>[0-9]+)\]
    | \[(?P<quote>["'])(?P<quoted>(?:[^\\]|\\.)*?)(?P=quote)\]
    | \[(?P<key>[^\]]+)\]""",
    re.VERBOSE,
)
"""A part of a path, in all the ways in which problems write one."""

_UNKNOWN_KEY: Final = re.compile(r"unknown key '([^']+)'")


@frozen(eq=False)
class PlacedDocument:
    """A document as plain data, with the place of each part of it.

    Attributes:
        data: What it says.
        file: The name that problems are reported with.
        line: Where it begins, from 1.
    """

    data: Any
    file: str
    line: int
    _root: Node = field(repr=False)

    def problem(self, message: str, path: str = "") -> Problem:
        """Return a problem with its place: that of what a path leads to, or of the deepest part of it that is there.

        Args:
            message: What is wrong. The key that it says to be unknown is its place.
            path: Where, such as `spec.rules[0].verbs`; empty for the whole.
        """
        parts, key = list(_parts(path)), _UNKNOWN_KEY.match(message)
        if key is not None and parts and parts[-1] == key[1]:
            parts.pop()
        node = locate(self._root, parts)
        if key is not None and isinstance(node, Mapping) and key[1] in node.entries:
            node = node.entries[key[1]][0]
        return Problem(message, path, self.file, node.line, node.column)


def placed_documents(text: bytes | str, *, file: str = "", max_bytes: int = MAX_BYTES) -> list[PlacedDocument]:
    """Return the documents of a text, whatever they are about; empty ones are left out.

    Args:
        text: One or more YAML documents, or JSON; bytes are UTF-8.
        file: The name that problems are reported with.
        max_bytes: A longer text is refused.

    Raises:
        ConfigInvalid: It can't be read, or exceeds a bound of manifests.
    """
    roots = compose(text, file=file, max_bytes=max_bytes)
    return [PlacedDocument(plain(root), file, root.line, root) for root in roots]


def _parts(path: str) -> Iterator[str | int]:
    for found in _PART.finditer(path):
        if found["index"] is not None:
            yield int(found["index"])
        else:
            yield found["name"] or found["key"] or re.sub(r"\\(.)", r"\1", found["quoted"] or "")
