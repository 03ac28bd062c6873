"""Kinds that users define: as objects, from which they come and with which they go."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

from attrs import define, evolve
from orchestrion.control_plane._history.event import EventType, Item, ObjectEvent
from orchestrion.control_plane._history.history import History
from orchestrion.control_plane._history.projection import ObjectName
from orchestrion.control_plane._identity.principals import OWN_RESOURCES
from orchestrion.control_plane._objects.document import Document
from orchestrion.control_plane._objects.kinds import CUSTOM_KIND, Kind, KindRegistry
from orchestrion.control_plane._objects.proposal import checked_spec, read_document
from orchestrion.control_plane._objects.specs import CustomKindSpec
from orchestrion.shared_types import ConfigInvalid, Conflict, Problem, structure

TAKEN: Final = (
    "apply",
    "built-in",
    "can-i",
    "certificates",
    "cluster",
    "create",
    "keys",
    "plan",
    "rights",
    "sealingkeys",
    "status",
    "tokens",
    "watch",
    "whoami",
)
"""What stands in paths where the plurals of kinds do."""


@define(eq=False)
class CustomKinds:
    """Knows which kinds may be defined, and defines them.

    Attributes:
        kinds: The kinds that there are.
        history: Shows the objects that define some of them.
    """

    kinds: KindRegistry
    history: History

    def with_defined(self, parts: Iterable[tuple[str, Any]]) -> KindRegistry:
        """Return the kinds that there are once some are defined, or defined anew.

        Args:
            parts: By the name of the object that defines a kind what is said of it.

        Raises:
            ConfigInvalid: One can't be defined so.
            Conflict: There is another one of its names.
        """
        kinds = self.kinds.copy()
        for name, part in parts:
            before = self.history.get(ObjectName(CUSTOM_KIND.plural, "", name))
            document = read_document(part, CUSTOM_KIND, "", name)
            if before is not None:
                # Of what is there a manager may say a part.
                document = evolve(document, spec={**before.document.spec, **document.spec})
            spec = check_kind(kinds, document, None if before is None else before.document)
            # What is not there yet can't be looked for: it is written together with what is of the kind.
            kinds.define(spec, "" if before is None else name)
        return kinds

    def check(self, kind: Kind, document: Document, before: Document | None) -> None:
        """Make sure that an object can be so: a kind can be defined so, and keeps its names.

        Raises:
            ConfigInvalid: It can't.
            Conflict: There is another one of these names.
        """
        if kind is CUSTOM_KIND:
            check_kind(self.kinds, document, before)

    def note(self, event: ObjectEvent) -> None:
        """Take notice of a kind that comes, changes or goes."""
        if event.kind != CUSTOM_KIND.plural:
            return
        if event.type is EventType.DELETED:
            self.kinds.forget(custom_kind_of(event.item.document).kind)
        else:
            self.define(event.item)

    def define(self, item: Item) -> None:
        """Let there be the kind that an object defines."""
        with suppress(ConfigInvalid):  # written by another version, whose schemas were others
            self.kinds.define(custom_kind_of(item.document), item.document.metadata.name)


def check_kind(kinds: KindRegistry, document: Document, before: Document | None = None) -> CustomKindSpec:
    """Return the kind that an object defines, once it is sure that it can be defined so, and keeps its names.

    Args:
        kinds: The kinds that there are.
        document: The object.
        before: How it is; None where it is new.

    Raises:
        ConfigInvalid: It can't.
        Conflict: There is another one of these names.
    """
    spec = custom_kind_of(document)
    former = None if before is None else custom_kind_of(before)
    if former is not None and _names_of(spec) != _names_of(former):
        text = "the names of a kind, and whether it is in namespaces, stay as they are"
        raise ConfigInvalid((Problem(text, path="spec"),), remedy="Define another kind.")
    # Imported here: most servers never need it, and a start is not to wait for it.
    from orchestrion.control_plane._objects.schema_check import read_schema

    read_schema(dict(spec.schema), at="spec.schema")
    if spec.plural in TAKEN:
        raise ConfigInvalid((Problem(f"{spec.plural!r} is a path of the server's own", path="spec.plural"),))
    if spec.plural in OWN_RESOURCES:
        text = f"rules mean something of the server's own by {spec.plural!r}"
        raise ConfigInvalid((Problem(text, path="spec.plural"),), remedy="Choose another name.")
    if kinds.clashes(spec, "" if former is None else former.kind):
        msg = f"there is a kind {spec.kind!r} or {spec.plural!r} already"
        raise Conflict(msg, remedy="Choose other names.")
    return spec


def custom_kind_of(document: Document) -> CustomKindSpec:
    """Return the kind that an object defines.

    Raises:
        ConfigInvalid: It defines none.
    """
    return structure(checked_spec(CUSTOM_KIND, document.spec), CustomKindSpec)


def _names_of(spec: CustomKindSpec) -> tuple[str, str, bool]:
    return spec.kind, spec.plural, spec.namespaced
