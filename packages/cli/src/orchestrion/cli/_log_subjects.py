"""Whose output is shown where nobody is named: of workloads with some labels, those that come later too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress

import trio
from attrs import define, field
from orchestrion.control_plane import ApiClient, HttpControl
from orchestrion.control_plane.selectors import parse_label_selector
from orchestrion.shared_types import NotFound

from ._objects import Objects
from ._offline import store_reader
from ._patience import Patience
from ._state_directory import Ownership
from ._tables import at

_WORKLOADS = "workloads"

Show = Callable[[str], Awaitable[None]]
"""Shows the output of a workload of a name, to its end."""


async def workloads_with(found: HttpControl | Ownership, namespace: str, labels: str) -> list[str]:
    """Return the names of the workloads that have labels, ascending.

    Args:
        found: Who knows them: an owner or a server, or the store where nobody owns the directory.
        namespace: Where they are.
        labels: A label selector; an empty one is met by all.

    Raises:
        ConfigInvalid: That is no selector.
    """
    if isinstance(found, HttpControl):
        objects = _objects_of(found, namespace)
        listed = await objects.list(await objects.kind(_WORKLOADS), labels=labels or None)
        return [str(at(item, "metadata.name")) for item in listed.items]
    selector = parse_label_selector(labels)
    async with store_reader(found) as reader:
        views = await reader.list_workloads(namespace=namespace)
    known = [view.definition.metadata for view in views]
    return [metadata.name for metadata in known if selector.matches(metadata.labels)]


async def follow_workloads(
    found: HttpControl, namespace: str, labels: str, show: Show, patience: Patience | None = None
) -> None:
    """Show the output of all workloads that have labels now or get them later, until cancelled.

    One that loses them is shown no longer; one that is removed is shown to its end.

    Args:
        found: Who knows them.
        namespace: Where they are.
        labels: A label selector; an empty one is met by all.
        show: Shows the output of one.
        patience: Waits for who knows them, on behalf of others too.
    """
    objects = _objects_of(found, namespace, patience)
    kind, wanted = await objects.kind(_WORKLOADS), labels or None
    listed = await objects.list(kind, labels=wanted)
    async with trio.open_nursery() as nursery:
        shown = _Shown(show, nursery)
        for item in listed.items:
            shown.begin(str(at(item, "metadata.name")), str(at(item, "metadata.uid")))
        async with aclosing(objects.watch(kind, str(listed.revision), labels=wanted, known=listed.items)) as events:
            async for what, item in events:
                name = str(at(item, "metadata.name"))
                if what != "DELETED":
                    shown.begin(name, str(at(item, "metadata.uid")))
                else:
                    shown.forget(name, at_once=await _is_there(objects, name))


async def _is_there(objects: Objects, name: str) -> bool:
    try:
        await objects.get(await objects.kind(_WORKLOADS), name)
    except NotFound:
        return False
    return True


def _objects_of(control: HttpControl, namespace: str, patience: Patience | None = None) -> Objects:
    patience = patience if patience is not None else Patience(control)
    return Objects(control, ApiClient(control.peer), namespace, namespace, patience=patience)


@define
class _Shown:
    """The workloads that are being shown, and those that were, as long as they have the labels."""

    show: Show
    nursery: trio.Nursery
    _known: dict[str, tuple[str, trio.CancelScope]] = field(factory=dict)

    def begin(self, name: str, uid: str) -> None:
        """Show one, unless that was begun already; one of the same name that is another replaces it."""
        known, scope = self._known.get(name, ("", None))
        if known == uid:
            return
        if scope is not None:
            scope.cancel()
        scope = trio.CancelScope()
        self._known[name] = uid, scope
        self.nursery.start_soon(self._show, name, scope)

    def forget(self, name: str, *, at_once: bool) -> None:
        """Show one no longer: at once, or once its output has come to its end."""
        _, scope = self._known.pop(name, ("", None))
        if scope is not None and at_once:
            scope.cancel()

    async def _show(self, name: str, scope: trio.CancelScope) -> None:
        with scope, suppress(NotFound):  # one that was removed before its output was asked for has none
            await self.show(name)
