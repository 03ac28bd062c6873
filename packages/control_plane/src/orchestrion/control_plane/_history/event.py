"""What happened to an object, encoded once for all who follow it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property, lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple

from orchestrion.control_plane._objects.document import Document, decoded
from orchestrion.shared_types import ConfigInvalid, Problem

NO_LABELS: Final[Mapping[str, str]] = {}

ALL_SEEN: Final = 10**9
"""As a number of events: all of a revision."""


class Position(NamedTuple):
    """A place between events: all that came before is known.

    Attributes:
        revision: The store's revision.
        seen: How many events of that revision are known.
        refreshed: Up to which mark what is derived is known; 0 is only as it was when the revision came.
    """

    revision: int
    seen: int
    refreshed: int = 0

    def __str__(self) -> str:
        if self.refreshed:
            return f"{self.revision}-{self.refreshed}"
        return f"{self.revision}.{self.seen}" if self.seen < ALL_SEEN else str(self.revision)


def parse_position(text: str) -> Position:
    """Return the position that `revision` (all of it known), `revision.count` or `revision-mark` stands for.

    Raises:
        ConfigInvalid: It is none.
    """
    numbers = _POSITION.fullmatch(text)
    if numbers is None:
        raise _no_position(text)
    revision, count, mark = numbers.groups()
    return Position(int(revision), ALL_SEEN if count is None else int(count), int(mark or 0))


_POSITION: Final = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,18})|-([0-9]{1,18}))?")


def _no_position(text: str) -> ConfigInvalid:
    problem = Problem(f"{text!r:.80} is no position of a watch, such as 120 or 120.1", path="since")
    return ConfigInvalid((problem,), remedy="Use the id of an event, or the revision of a list, as it was given.")


class EventType(StrEnum):
    """What happened."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"
    """Nothing: it only says up to where all is known."""


TAG_BYTES: Final = 8
"""How much of a tag is of the content: who would find two of the same could write the workload as well."""

_MAX_READ: Final = 4_096
"""Of how many objects the documents are kept once they were read; of very many objects that would be most memory."""


class Item:
    """An object as it is now, encoded.

    Attributes:
        data: The document as JSON.
        revision: The store's revision of its last write.
        labels: What selects it.
        derived: Whether there is more in it than what was written at that revision, as a workload's status.
    """

    __slots__ = ("data", "derived", "labels", "revision")

    def __init__(
        self, data: bytes, revision: int, labels: Mapping[str, str] = NO_LABELS, *, derived: bool = False
    ) -> None:
        """Take what is known."""
        self.data = data
        self.revision = revision
        self.labels = labels
        self.derived = derived

    @property
    def tag(self) -> str:
        """What tells it from the same object at any other time: its revision and, where that can't, its content."""
        if not self.derived:
            return str(self.revision)
        return f"{self.revision}-{blake2b(self.data, digest_size=TAG_BYTES).hexdigest()}"

    @property
    def document(self) -> Document:
        """The document, read when it is asked for."""
        return _document_of(self)


@lru_cache(maxsize=_MAX_READ)
def _document_of(item: Item) -> Document:
    return decoded(item.data)


class ObjectEvent:
    """One thing that happened to one object.

    Attributes:
        position: Where who has seen it is; None where that is no other place than before.
        type: What happened.
        kind: The kind's plural.
        namespace: The object's namespace, or empty.
        name: Its name.
        item: The object; for DELETED as it last was.
        before: As it was before, or None.
    """

    def __init__(
        self,
        position: Position | None,
        type_: EventType,
        kind: str,
        namespace: str,
        name: str,
        item: Item,
        before: Item | None,
    ) -> None:
        """Take what is known."""
        self.position = position
        self.type = type_
        self.kind = kind
        self.namespace = namespace
        self.name = name
        self.item = item
        self.before = before

    @cached_property
    def line(self) -> bytes:
        """It as a line of NDJSON."""
        return line(self.type, self.position, self.item.data)

    @cached_property
    def message(self) -> bytes:
        """It as a server-sent event."""
        return message(self.type, self.position, self.item.data)

    def as_type(self, type_: EventType, item: Item) -> ObjectEvent:
        """Return it as somebody sees it whose selection the object has come into, or has left."""
        if type_ is self.type and item is self.item:
            return self
        return ObjectEvent(self.position, type_, self.kind, self.namespace, self.name, item, self.before)


def line(type_: EventType, position: Position | None, data: bytes) -> bytes:
    """Return an event as a line of NDJSON."""
    given = b"" if position is None else b',"id":"%b"' % str(position).encode()
    return b'{"type":"%b"%b,"object":%b}\n' % (type_.encode(), given, data)


def message(type_: EventType, position: Position | None, data: bytes) -> bytes:
    """Return an event as a server-sent event; JSON has no line ends of its own."""
    given = b"" if position is None else b"id: %b\n" % str(position).encode()
    return b"event: %b\n%bdata: %b\n\n" % (type_.encode(), given, data)


def bookmark(position: Position) -> bytes:
    """Return the object of a bookmark as JSON."""
    return b'{"metadata":{"revision":%d}}' % position.revision
