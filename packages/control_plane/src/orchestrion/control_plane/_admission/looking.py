"""The objects that say what is admitted, as they are now, read once each time they change.

For what is written together with some of them, these are as they will be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from attrs import define, field
from orchestrion.control_plane._history.event import Item
from orchestrion.control_plane._history.history import History
from orchestrion.control_plane._history.projection import ObjectName
from orchestrion.control_plane._objects.document import Document
from orchestrion.control_plane._objects.kinds import Kind
from orchestrion.control_plane._service.intent import TOGETHER

T = TypeVar("T")

MAX_READ: Final = 10_000
"""How many objects are remembered, those that are gone too."""


@define(eq=False)
class Looked(Generic[T]):
    """The objects of a kind, as what they stand for.

    Attributes:
        history: Shows them as they are now.
        kind: Which kind.
        read: From a document to what it stands for; what it refuses is not to be stored.
    """

    history: History
    kind: Kind
    read: Callable[[Document], T]
    _read: dict[ObjectName, tuple[Item | Document, T]] = field(factory=dict, init=False)

    def one(self, namespace: str, name: str) -> T | None:
        """Return one, or None where there is none."""
        known = ObjectName(self.kind.plural, namespace, name)
        given: Item | Document | None = TOGETHER.get().get(known) or self.history.get(known)
        if given is None:
            return None
        found = self._read.get(known)
        if found is None or found[0] is not given:
            if len(self._read) >= MAX_READ:
                self._read.clear()  # it is only saved work
            document = given if isinstance(given, Document) else given.document
            found = self._read[known] = (given, self.read(document))
        return found[1]

    def names(self, namespace: str = "") -> list[str]:
        """Return the names of all of a namespace, or of a cluster-wide kind, in their order."""
        together = TOGETHER.get()
        names = self.history.within(self.kind.plural, namespace)
        if together:
            names = {*names, *(each.name for each in together if each[:2] == (self.kind.plural, namespace))}
        return sorted(names)

    def all(self, namespace: str = "") -> list[T]:
        """Return all of a namespace, or of a cluster-wide kind, by name."""
        found = [self.one(namespace, name) for name in self.names(namespace)]
        return [one for one in found if one is not None]
