"""Objects of every kind, as one thing: what the API, the dashboard and the MCP server speak."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import trio
from attrs import define, evolve, field
from orchestrion.control_plane._history.event import Item, Position
from orchestrion.control_plane._history.history import History
from orchestrion.control_plane._history.projection import ObjectName
from orchestrion.control_plane._objects.document import Document
from orchestrion.control_plane._objects.field_owners import owners_of
from orchestrion.control_plane._objects.kinds import (
    CUSTOM_KIND,
    INSTANCE,
    NAMESPACE,
    NODE,
    WORKLOAD,
    Kind,
    KindRegistry,
)
from orchestrion.control_plane._objects.proposal import check_precondition
from orchestrion.control_plane._objects.stored import object_key, object_of
from orchestrion.orchestrator_core import Beside, Orchestrator, Update, UpdateKind, WorkloadName, WorkloadView
from orchestrion.shared_types import (
    DEFAULT_NAMESPACE,
    ConfigInvalid,
    Conflict,
    NodeId,
    NotFound,
    Problem,
    Unavailable,
    to_json,
    unstructure,
)
from orchestrion.store_interface import RevisionConflict, StateStore

from .custom_kinds import CustomKinds
from .following import ObjectFollower
from .intent import ChangeKind, Edit, Intent, Review
from .node_marking import NodeMarking
from .node_reports import NodeReports
from .nodes import NodeMirror
from .reading import DEFAULT_LIMIT, NO_PAGE, Page, PageStart, Reader, Selection, no_such
from .releasing import released
from .requested import asked_twice
from .workloads import WorkloadWriter
from .writing import Writer, owned

_RETRY_SECONDS: Final = 0.5
_NODE_SECONDS: Final = 5.0
_NODE_POLL_SECONDS: Final = 0.02


@define(eq=False, repr=False)
class Objects:
    """All objects.

    Attributes:
        orchestrator: Keeps and runs workloads.
        store: Where everything is.
        writer: Writes objects of most kinds.
        workloads: Writes workloads.
        kinds: The kinds that there are.
        history: What changes.
        custom_kinds: Says which kinds may be defined.
        marking: Writes what people say of nodes.
        reports: Writes what nodes say of themselves.
    """

    orchestrator: Orchestrator
    store: StateStore
    writer: Writer
    workloads: WorkloadWriter
    kinds: KindRegistry = field(factory=KindRegistry)
    history: History = field(init=False)
    custom_kinds: CustomKinds = field(init=False)
    marking: NodeMarking = field(init=False)
    reports: NodeReports = field(init=False)
    _reader: Reader = field(init=False)
    _mirror: NodeMirror = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.history = History(self.store, self.status_of)
        self.custom_kinds = CustomKinds(self.kinds, self.history)
        self.history.listen(self.custom_kinds.note)
        self.writer.check = self.custom_kinds.check
        self._mirror = NodeMirror(self.writer, self.orchestrator)
        self.marking = NodeMarking(self.orchestrator, self.writer, self.history, self._mirror)
        self.reports = NodeReports(self.orchestrator, self.history, self.marking)
        self._reader = Reader(self.store, self.history, self.status_of)

    def status_of(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        """Return how a workload is doing, as plain data, or None where there is none."""
        view = self.orchestrator.view(WorkloadName(namespace, name))
        return None if view is None else _status(view)

    # -- running ----------------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep up with what changes, until cancelled. It is started once everything is known."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.history.wake_followers)
            await nursery.start(self.history.run)
            for name in self.history.names(CUSTOM_KIND.plural):
                item = self.history.get(name)
                if item is not None:
                    self.custom_kinds.define(item)
            await self._make_default_namespace()
            nursery.start_soon(self._follow_orchestrator)
            nursery.start_soon(self.reports.run)
            task_status.started()

    async def _make_default_namespace(self) -> None:
        if self.history.get(ObjectName(NAMESPACE.plural, "", DEFAULT_NAMESPACE)) is None:
            with suppress(Conflict):  # another server may have made it
                await self.create(NAMESPACE, "", {"metadata": {"name": DEFAULT_NAMESPACE}}, Intent(manager="server"))

    async def _follow_orchestrator(self) -> None:
        async with self.orchestrator.watch() as updates:
            async for update in updates:
                if update.kind is UpdateKind.WORKLOAD:
                    self.history.refresh(update.namespace, update.name)
                    continue
                while True:
                    try:
                        await self._note_update(update)
                    except Unavailable:
                        await trio.sleep(_RETRY_SECONDS)
                    else:
                        break

    async def _note_update(self, update: Update) -> None:
        if update.kind is UpdateKind.WORKLOAD_REMOVED:
            await self.workloads.fields.forget(update.namespace, update.name)
        elif update.kind is UpdateKind.NODE and update.node is not None:
            await self._mirror.put(update.node.id)
            await self.marking.welcome_back(update.node.id)
        elif update.kind is UpdateKind.NODE_REMOVED:
            await self._mirror.remove(NodeId(update.name))
            await self.reports.forget(NodeId(update.name))

    # -- reading ----------------------------------------------------------------------------------------------------

    def get(self, kind: Kind, namespace: str, name: str) -> Item:
        """Return an object as it is now. See `Reader.get`."""
        return self._reader.get(kind, namespace, name)

    def view(self, namespace: str, name: str) -> WorkloadView:
        """Return how a workload is doing.

        Raises:
            NotFound: There is none of that name.
        """
        view = self.orchestrator.view(WorkloadName(namespace, name))
        if view is None:
            raise no_such(WORKLOAD, namespace, name)
        return view

    async def refreshed(self, namespace: str, name: str) -> Item:
        """Return a workload with its status as that is at this moment.

        Raises:
            NotFound: There is none of that name.
        """
        await trio.lowlevel.checkpoint()
        self.history.refresh(namespace, name)
        return self.get(WORKLOAD, namespace, name)

    async def node_now(self, node_id: NodeId) -> Item:
        """Return a node once everybody sees the orders that it has been given; after five seconds as it is seen then.

        Raises:
            NotFound: There is none of that id.
        """
        told = await self.orchestrator.cluster.get_node(node_id)
        if told is None:
            raise no_such(NODE, "", node_id)
        with trio.move_on_after(_NODE_SECONDS):
            while True:
                node = next((each for each in await self.orchestrator.list_nodes() if each.id == node_id), None)
                if node is not None and (node.cordoned, node.drain) == (told.cordoned, told.drain):
                    await self.marking.show(node_id)
                    break
                await trio.sleep(_NODE_POLL_SECONDS)
        return self.get(NODE, "", node_id)

    async def list(
        self,
        kind: Kind,
        namespace: str | None,
        *,
        limit: int = DEFAULT_LIMIT,
        wanted: Selection | None = None,
        start: PageStart = NO_PAGE,
    ) -> Page:
        """Return a page of objects. See `Reader.list`."""
        return await self._reader.list(kind, namespace, limit=limit, wanted=wanted, start=start)

    @asynccontextmanager
    async def follow(
        self,
        kind: Kind,
        namespace: str | None,
        since: Position,
        wanted: Selection | None = None,
        *,
        by_status: bool = False,
    ) -> AsyncIterator[ObjectFollower]:
        """Follow what happens to objects of a kind after a position. See `History.follow`.

        Args:
            kind: Which kind.
            namespace: Only of this namespace; None is all.
            since: After which position.
            wanted: Which of them; None is all.
            by_status: Whether the status has a say in which are wanted.

        Raises:
            Compacted: That is no longer all kept.
            Unavailable: The store does not say whether it knows the position.
        """
        async with self.history.follow(since) as follower:
            yield ObjectFollower(follower, kind.plural, namespace, wanted, by_status)

    # -- writing ----------------------------------------------------------------------------------------------------

    async def create(self, kind: Kind, namespace: str, data: Any, intent: Intent) -> Item:
        """Make an object, and return it once everybody sees it. See `Writer.create`."""
        _check_written(kind)
        if kind is WORKLOAD:
            return await self._seen(kind, await self.workloads.create(namespace, data, intent), intent)
        document = await self.writer.create(kind, namespace, data, intent)
        return await self._seen(kind, document, intent)

    async def change(
        self, kind: Kind, namespace: str, name: str, edit: Edit, intent: Intent, *, status: bool = False
    ) -> Item:
        """Change an object, and return it once everybody sees it. See `Writer.change`."""
        if status:
            if not kind.status:
                problem = Problem(f"the status of {kind.plural} is the server's")
                raise ConfigInvalid((problem,))
        else:
            _check_written(kind)
        if kind is WORKLOAD:
            changed = await released(self.workloads, namespace, name, edit, intent)
            if changed is None:
                changed = await self.workloads.change(namespace, name, edit, intent)
            return await self._seen(kind, changed, intent)
        document = await self.writer.change(kind, namespace, name, edit, intent, status=status)
        return await self._seen(kind, document, intent)

    async def apply(self, kind: Kind, namespace: str, name: str, part: Any, intent: Intent) -> tuple[Item, bool]:
        """Apply a manager's part of an object, and return that once everybody sees it, and whether it is new.

        See `Writer.apply`.
        """
        _check_written(kind)
        if kind is WORKLOAD:
            document, new = await self.workloads.apply(namespace, name, part, intent)
        else:
            document, new = await self.writer.apply(kind, namespace, name, part, intent)
        return await self._seen(kind, document, intent), new

    async def with_owners(self, kind: Kind, item: Item) -> Item:
        """Return an object together with who says what of it, as `owners`: by the place of a value its managers."""
        plain = item.document.plain()
        metadata = item.document.metadata
        if kind is WORKLOAD:
            workload = self.workloads.document(metadata.namespace, metadata.name)
            parts = (await self.workloads.fields.read(metadata.namespace, metadata.name, workload)).applied
        else:
            entry = (await self.store.get(object_key(kind, metadata.namespace, metadata.name))).entry
            parts = owned(object_of(entry)) if entry is not None and kind.written else {}
        plain["owners"] = owners_of(parts)
        # Who says what of a workload is kept apart from it, with revisions of its own.
        return Item(to_json(plain), item.revision, item.labels, derived=True)

    async def remove(self, kind: Kind, namespace: str, name: str, intent: Intent) -> Item:
        """Remove an object, or begin to, and return it as it was then. See `Writer.remove`.

        An instance is stopped, as its workload would stop it, and its workload replaces it. A node is forgotten.

        **Idempotency.** What is about to go, or ends already, is left as it is. **Cancellation.** Indeterminate.

        Raises:
            NotFound: There is none of that name.
            PreconditionFailed: It is not what the caller takes it for.
            Conflict: Others kept changing it, or workloads that stay come after it.
        """
        if kind is INSTANCE:
            return await self._stop_instance(namespace, name, intent)
        if kind is NODE:
            item = await self.marking.remove(name, intent)
            if not intent.dry_run:
                await self.reports.forget(NodeId(name))
            return item
        _check_written(kind)
        if kind is WORKLOAD:
            item = self.get(kind, namespace, name)
            await self.workloads.remove(namespace, name, intent)
            if not intent.dry_run:
                with suppress(NotFound):  # nothing held it, and it is gone
                    item = await self.refreshed(namespace, name)
            return item
        document = await self.writer.remove(kind, namespace, name, intent)
        if not intent.dry_run:
            await self.history.wait_for(document.metadata.revision)
        return Item(document.encoded(), document.metadata.revision, document.labels)

    async def _stop_instance(self, namespace: str, name: str, intent: Intent) -> Item:
        document = self.get(INSTANCE, namespace, name).document
        check_precondition(document, None, intent.if_revision)
        await self.workloads.admit(
            Review(change=ChangeKind.DELETE, kind=INSTANCE, document=document, before=document, intent=intent)
        )
        if not intent.dry_run:
            beside = Beside(compares=intent.compares, operations=intent.operations)
            try:
                await self.orchestrator.stop_instance(
                    name, namespace=namespace, expected=intent.if_revision, beside=beside
                )
            except RevisionConflict as err:
                raise asked_twice() from err
            await self.history.wait_for(self.orchestrator.world.revision)
        return self.get(INSTANCE, namespace, name)

    async def _seen(self, kind: Kind, document: Document, intent: Intent) -> Item:
        """Return an object as it is on record, or as it would be where nothing is to be written."""
        metadata = document.metadata
        if not intent.dry_run:
            await self.history.wait_for(metadata.revision)
            item = self.history.get(ObjectName(kind.plural, metadata.namespace, metadata.name))
            if item is not None:
                return item
        if kind is WORKLOAD:
            document = evolve(document, status=self.status_of(metadata.namespace, metadata.name) or {})
        return Item(document.encoded(), metadata.revision, document.labels, derived=kind is WORKLOAD)


def _status(view: WorkloadView) -> Mapping[str, Any]:
    plain: dict[str, Any] = unstructure(view)
    del plain["definition"]
    return plain


def _check_written(kind: Kind) -> None:
    if not kind.written:
        problem = Problem(f"{kind.plural} are written by nobody: they show what is")
        raise ConfigInvalid((problem,))
