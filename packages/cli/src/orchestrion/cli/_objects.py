"""Asking for objects, as plain data."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import quote

import trio
from attrs import Factory, define, field, frozen
from orchestrion.control_plane import ApiClient, HttpControl
from orchestrion.shared_types import Compacted, ConfigInvalid, Denied, NotFound, OrchestrationError, Problem

from ._kinds import BUILT_IN, KindName, known_kind
from ._named import instance_meant, node_meant, node_names, workload_of
from ._patience import OUTAGES, Patience
from ._places import Place, namespace_of, namespaces_of
from ._reach import reach_owner
from ._where import Where

Data = Mapping[str, Any]
"""An object, or something else, as it is on the wire."""

_PAGE: Final = 500
_RETRY_SECONDS: Final = 1.0
_OBJECT: Final[Mapping[str, type]] = {"metadata": Mapping}
_LIST: Final[Mapping[str, type]] = {"items": list, "metadata": Mapping}
MERGE_PATCH: Final = "application/merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"


@frozen
class Objects:
    """The objects of an orchestrator, in the namespace that a command is about.

    Attributes:
        control: Who else can be asked.
        api: Who is asked for objects.
        namespace: The one namespace that the command is about.
        looked_at: The namespace whose objects are listed; None is all.
        patience: Waits for who is asked where that goes away in the middle of what is followed.
    """

    control: HttpControl
    api: ApiClient
    namespace: str
    looked_at: str | None
    patience: Patience = field(default=Factory(lambda self: Patience(self.control), takes_self=True), kw_only=True)

    async def kind(self, text: str, /) -> KindName:
        """Return the kind that a text means, also one that users have defined.

        Raises:
            NotFound: There is none.
        """
        found = known_kind(text)
        if found is not None:
            return found
        try:
            reply = await self.api.ask("GET", "/api/v1")
            defined = [
                KindName(one["name"], one["kind"], bool(one["namespaced"])) for one in reply.data.get("resources", ())
            ]
        except (Denied, NotFound, AttributeError, KeyError):
            defined = []
        found = known_kind(text, defined)
        if found is None:
            msg = f"there is no kind {text!r:.100}"
            raise NotFound(msg, remedy="`orchestrion get --help` names the kinds that there always are.")
        return found

    def path(self, kind: KindName, name: str, /) -> str:
        """Return the path of an object."""
        if not name:
            raise ConfigInvalid((Problem("the name of an object is not empty"),))
        return f"{kind.collection(quote(self.namespace, safe=''))}/{quote(name, safe='')}"

    async def get(self, kind: KindName, name: str, /) -> Data:
        """Return one object.

        Nodes and instances are found by less than their whole names as well; see `meant`.

        Raises:
            NotFound: There is none of that name.
            ConfigInvalid: There are several that may be meant.
        """
        return await self._asked("GET", kind, name)

    async def _asked(
        self,
        method: str,
        kind: KindName,
        name: str,
        data: Any = None,
        /,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Data:
        """Ask about one object, and, where there is none of that name, about the one that is meant by it."""
        path = self.path(kind, name)
        try:
            answer: Data = (await self.api.ask(method, path, data, query=query, headers=headers, expects=_OBJECT)).data
        except NotFound:
            whole = await self._meant(kind, name)
            if whole in ("", name):
                raise
            path = self.path(kind, whole)
            answer = (await self.api.ask(method, path, data, query=query, headers=headers, expects=_OBJECT)).data
        return answer

    async def _meant(self, kind: KindName, name: str) -> str:
        """Return the whole name of what is meant, or nothing."""
        if kind.kind not in ("Node", "Instance"):
            return ""
        workload = workload_of(name) if kind.kind == "Instance" else ""
        labels = f"orchestrion/workload={workload}" if workload else None
        try:
            items = (await self.list(kind, labels=labels)).items
        except (Denied, NotFound):
            return ""
        return self.meant(kind, items, name)

    def meant(self, kind: KindName, items: Iterable[Data], name: str, /) -> str:
        """Return the whole name of what is meant by a name, or nothing where that is none of some objects.

        Nodes are called by their names or by the beginning of their ids, instances by their slots (the latest there),
        or by their workloads where these have one alone.

        Raises:
            ConfigInvalid: There are several that may be meant.
        """
        if kind.kind == "Node":
            node = node_meant(items, name, node_names)
            return "" if node is None else node_names(node)[0]
        if kind.kind == "Instance":
            workload = workload_of(name)
            own = [one for one in items if workload_of(str(one["metadata"]["name"])) == workload]
            here = [one for one in own if one["metadata"].get("namespace") == self.namespace]
            return instance_meant(here, name) if workload else ""
        return next((name for one in items if one["metadata"]["name"] == name), "")

    async def get_also_built_in(self, kind: KindName, name: str, /) -> Data:
        """Return one object, or what is built in under that name.

        Raises:
            NotFound: There is neither.
        """
        try:
            return await self.get(kind, name)
        except NotFound:
            for item in await self.built_in(kind):
                if item["metadata"]["name"] == name:
                    return item
            raise

    async def built_in(self, kind: KindName, /) -> Sequence[Data]:
        """Return what is there of a kind from the start, and is no object; a server that knows of none has none."""
        if kind.kind not in BUILT_IN:
            return ()
        try:
            items = (await self.api.ask("GET", "/api/v1/built-in", expects={"items": list})).data["items"]
        except NotFound:
            return ()
        return [item for item in items if item["kind"] == kind.kind]

    async def list(self, kind: KindName, /, *, labels: str | None = None, fields: str | None = None) -> Listed:
        """Return all objects of a kind, as they were at one revision."""
        query = {"limit": _PAGE, "label_selector": labels, "field_selector": fields}
        items, token = list[Data](), None
        while True:
            reply = await self.api.ask("GET", self.collection(kind), query={**query, "continue": token}, expects=_LIST)
            items += reply.data["items"]
            metadata = reply.data["metadata"]
            token = metadata.get("continue")
            if not token:
                return Listed(items, int(metadata["revision"]))

    def collection(self, kind: KindName, /) -> str:
        """Return the path of the objects that are looked at."""
        return kind.collection(None if self.looked_at is None else quote(self.looked_at, safe=""))

    async def watch(
        self,
        kind: KindName,
        since: str | None,
        /,
        *,
        labels: str | None = None,
        fields: str | None = None,
        known: Iterable[Data] = (),
    ) -> AsyncGenerator[tuple[str, Data], None]:
        """Follow objects of a kind for ever: give what happened (ADDED, MODIFIED, DELETED) and the object.

        Where the connection is cut or the server is restarted, it goes on from where it was, with nothing left out and
        nothing given twice. Close the iterator to end it.

        Args:
            kind: Which kind.
            since: The revision after which it begins; None gives all that there is first.
            labels: A label selector.
            fields: A field selector.
            known: What there was at `since`.

        Raises:
            NetworkFailure: Nobody answers, or nobody for so long that it is given up.
        """
        query = {"watch": "true", "label_selector": labels, "field_selector": fields}
        seen, begun = _Seen(known), since is not None
        while True:
            error: OrchestrationError | None = None
            seen.begin(lists=since is None)
            try:
                async with self.api.lines(self.collection(kind), query={**query, "since": since}) as lines:
                    begun = True
                    self.patience.met()
                    async for event in lines:
                        since = event.get("id", since)
                        for what, item in seen.take(event["type"], event["object"], listed="id" in event):
                            yield what, item
            except Compacted:
                since = None
                continue
            except OUTAGES as err:
                if not begun:
                    raise
                error = err
            if not await self.patience.wait(error) and error is None:
                await trio.sleep(_RETRY_SECONDS)

    async def create(self, kind: KindName, document: Data, /, *, dry_run: bool = False) -> Data:
        """Make an object, and return it."""
        namespace = str(document.get("metadata", {}).get("namespace") or self.namespace)
        path = kind.collection(quote(namespace, safe=""))
        data: Data = (
            await self.api.ask("POST", path, dict(document), query={"dry_run": dry_run}, expects=_OBJECT)
        ).data
        return data

    async def replace(self, kind: KindName, name: str, document: Data, /) -> Data:
        """Replace an object that is still as the document's revision says, and return it."""
        revision = document.get("metadata", {}).get("revision")
        headers = {} if revision is None else {"if-match": f'"{revision}"'}
        return await self._asked("PUT", kind, name, dict(document), headers=headers)

    async def patch(self, kind: KindName, name: str, patch: Any, media_type: str, /, *, dry_run: bool = False) -> Data:
        """Change parts of an object, and return it."""
        headers = {"content-type": media_type}
        return await self._asked("PATCH", kind, name, patch, query={"dry_run": dry_run}, headers=headers)

    async def delete(self, kind: KindName, name: str, /, *, dry_run: bool = False) -> Data:
        """Remove an object, or begin to, and return it as it was."""
        return await self._asked("DELETE", kind, name, query={"dry_run": dry_run})

    async def order(self, kind: KindName, name: str, what: str, data: Any = None, /, **query: bool) -> Any:
        """Have something done with an object, such as `cordon`, and return the answer.

        Args:
            kind: The object's kind.
            name: Its name.
            what: What is to be done.
            data: What that takes; None is nothing.
            query: Parameters; what is False is left out.
        """
        given = {key: value for key, value in query.items() if value}
        path = f"{self.path(kind, name)}/{what}"
        return (await self.api.ask("POST", path, data if data is not None else {}, query=given)).data


def _by_uid(items: Iterable[Data]) -> dict[str, Data]:
    return {str(item["metadata"]["uid"]): item for item in items}


@define(eq=False)
class _Seen:
    """What a watch has given, so that of what is listed anew only that is given which has changed since."""

    _known: dict[str, Data] = field(converter=_by_uid)
    _listed: set[str] | None = None

    def begin(self, *, lists: bool) -> None:
        """Begin to take in: a list of all that there is, up to the first event that has a place, or changes alone."""
        self._listed = set() if lists else None

    def take(self, what: str, item: Data, *, listed: bool) -> Iterator[tuple[str, Data]]:
        """Take in an event, and give what is new of it.

        Args:
            what: Its type.
            item: Its object.
            listed: Whether all that there is was listed before it.
        """
        if listed and self._listed is not None:
            gone, self._listed = self._known.keys() - self._listed, None
            for uid in sorted(gone):
                yield "DELETED", self._known.pop(uid)
        if what == "BOOKMARK":
            return
        uid = str(item["metadata"]["uid"])
        before = self._known.pop(uid, None)
        if what != "DELETED":
            self._known[uid] = item
        if self._listed is None:
            if what == "DELETED" or before != item:  # a server that was started anew may tell of a status once more
                yield what, item
            return
        self._listed.add(uid)
        if before is None:
            yield what, item
        elif before["metadata"]["revision"] != item["metadata"]["revision"]:
            yield "MODIFIED", item


@frozen
class Listed:
    """Objects as they were at one revision."""

    items: Sequence[Data]
    revision: int


@asynccontextmanager
async def reach_objects(where: Where, place: Place) -> AsyncIterator[Objects]:
    """Give the objects of the owner of a state directory, or of a server.

    Raises:
        NetworkFailure: Nobody owns the directory, or there is none.
    """
    async with reach_owner(place) as control:
        yield Objects(control, ApiClient(control.peer), namespace_of(where, place), namespaces_of(where, place))
