"""Reading objects: one as it is now, or pages of many as they were at one revision."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from typing import Any, Final

from attrs import define, frozen
from orchestrion.control_plane._history.event import Item
from orchestrion.control_plane._history.history import History
from orchestrion.control_plane._history.projection import ObjectName, place_of, read_object
from orchestrion.control_plane._objects.kinds import Kind
from orchestrion.control_plane._objects.stored import OBJECT_PREFIX, collection_key
from orchestrion.shared_types import ConfigInvalid, NotFound, Problem
from orchestrion.store_interface import Entry, Revision, StateStore

DEFAULT_LIMIT: Final = 500
MAX_LIMIT: Final = 1_000

Selection = Callable[[Item], bool]
"""Says whether an object is wanted."""


@frozen
class Page:
    """Some objects of a kind, as they were at one revision.

    Attributes:
        items: By namespace and name as the store has their keys: `a-b` may come before `a`.
        revision: Of which revision all pages of the list are.
        last_key: Where the next page goes on; empty where there is none.
    """

    items: tuple[Item, ...]
    revision: int
    last_key: str


@frozen
class PageStart:
    """Where a page begins.

    Attributes:
        after: The page before's `last_key`; empty is the beginning.
        revision: The page before's revision; None is now.
    """

    after: str = ""
    revision: int | None = None


NO_PAGE: Final = PageStart()


@define(eq=False)
class Reader:
    """Reads objects.

    Attributes:
        store: Where they are.
        history: Shows them as they are now.
        status_of: Tells of workloads what is not stored but derived.
    """

    store: StateStore
    history: History
    status_of: Callable[[str, str], Mapping[str, Any] | None]

    def get(self, kind: Kind, namespace: str, name: str) -> Item:
        """Return an object as it is now.

        Raises:
            NotFound: There is none of that name.
        """
        item = self.history.get(ObjectName(kind.plural, namespace, name))
        if item is None:
            raise no_such(kind, namespace, name)
        return item

    async def list(
        self,
        kind: Kind,
        namespace: str | None,
        *,
        limit: int = DEFAULT_LIMIT,
        wanted: Selection | None = None,
        start: PageStart = NO_PAGE,
    ) -> Page:
        """Return a page of objects.

        Args:
            kind: Which kind.
            namespace: Only of this namespace; None is all.
            limit: How many at most, 1 to `MAX_LIMIT`.
            wanted: Which of them; None is all.
            start: Where it begins.

        Raises:
            ConfigInvalid: The limit is out of range.
            RevisionCompacted: The revision is no longer kept.
        """
        if not 1 <= limit <= MAX_LIMIT:
            raise ConfigInvalid((Problem(f"{limit} is not between 1 and {MAX_LIMIT}", path="limit"),))
        prefix = _prefix(kind, namespace)
        found = list[Item]()
        found_key = ""
        if start.revision is None:
            # As of what all see: the store itself may be in the middle of what is written as one. And whoever follows
            # from there is so told of all that is derived after it was looked at here.
            await self.history.wait_for((await self.store.get(prefix)).revision)
        revision = Revision(self.history.revision if start.revision is None else start.revision)
        last = start.after
        while True:
            listed = await self.store.list(
                prefix, limit=(limit + 1) * _KEYS_EACH, start_after=last or None, at_revision=revision
            )
            revision = listed.revision
            groups = list(_grouped(listed.entries))
            if listed.more:
                groups.pop()  # The rest of it may be beyond the limit.
            for name, parts, last in groups:
                item = read_object(name, parts, self.status_of) if name is not None else None
                if item is None or (wanted is not None and not wanted(item)):
                    continue
                if len(found) == limit:
                    return Page(tuple(found), revision, found_key)
                found.append(item)
                found_key = last
            if not listed.more:
                return Page(tuple(found), revision, "")


_KEYS_EACH: Final = 3
"""The most keys that an object has; a page of what is asked for has room for two objects, so that one is whole."""


def _prefix(kind: Kind, namespace: str | None) -> str:
    own = _OWN_PREFIXES.get(kind.plural)
    if own is None:
        return collection_key(kind, namespace)
    return own if namespace is None else f"{own}{namespace}/"


_OWN_PREFIXES: Final = {"workloads": "/workload/", "instances": "/instance/", "events": "/event/"}


def _grouped(entries: tuple[Entry, ...]) -> Iterator[tuple[ObjectName | None, dict[str, Entry], str]]:
    """Give the keys of each object together, and the last of them; None names what is part of no object."""

    def folder(entry: Entry) -> str:
        return entry.key if entry.key.startswith(_ONE_KEY_EACH) else entry.key.rpartition("/")[0]

    for _, together in groupby(entries, key=folder):
        parts = dict[str, Entry]()
        name: ObjectName | None = None
        for entry in together:
            last = entry.key
            place = place_of(entry.key)
            if place is not None:
                name, part = place
                parts[part] = entry
        yield name, parts, last


_ONE_KEY_EACH: Final = (OBJECT_PREFIX, "/event/")


def no_such(kind: Kind, namespace: str, name: str) -> NotFound:
    """Return the error for an object that does not exist."""
    where = f" in namespace {namespace!r}" if kind.namespaced else ""
    return NotFound(
        f"there is no {kind.name} {name!r:.80}{where}", remedy=f"See what there is: orchestrion get {kind.plural}"
    )
