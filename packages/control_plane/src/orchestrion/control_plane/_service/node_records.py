"""A record of a node beside what its cluster manager tells: thought through as it is, written where it still is so."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrion.control_plane._history.event import Item
from orchestrion.control_plane._history.history import History
from orchestrion.control_plane._history.projection import ObjectName
from orchestrion.control_plane._objects.kinds import NODE
from orchestrion.orchestrator_core import Orchestrator, write_together
from orchestrion.store_interface import ABSENT, Compare, Delete, Entry, Operation, Put, RevisionConflict

from .intent import Intent
from .reading import no_such
from .requested import asked_twice


def known_node(history: History, name: str) -> Item:
    """Return a node as everybody sees it.

    Raises:
        NotFound: There is none of that id.
    """
    item = history.get(ObjectName(NODE.plural, "", name))
    if item is None:
        raise no_such(NODE, "", name)
    return item


async def node_record(orchestrator: Orchestrator, key: str) -> Entry | None:
    """Return a record; what is there is shown before anybody thinks about it."""
    found = await orchestrator.store.get(key)
    await orchestrator.world.wait_for(found.revision)
    return found.entry


async def write_node_record(
    orchestrator: Orchestrator,
    history: History,
    key: str,
    entry: Entry | None,
    value: bytes | None,
    intent: Intent,
    besides: Iterable[Operation] = (),
    looked_at: Iterable[Compare] = (),
) -> bool:
    """Write a record that was thought through by an entry, and say whether nobody came before.

    **Cancellation.** Indeterminate.

    Args:
        orchestrator: Takes it in; this returns once its world shows it.
        history: Shows the node; this returns once it shows it so.
        key: Where it is.
        entry: What was there.
        value: What is to be there; None is nothing.
        intent: How it is meant.
        besides: What is written with it.
        looked_at: What else has to be as it was; where it is not, somebody came before as well.

    Raises:
        Conflict: The same request is being carried out already.
    """
    operations = list(besides)
    own = [Compare(key, ABSENT if entry is None else entry.modified), *looked_at]
    if value is not None:
        operations.append(Put(key, value))
    elif entry is not None:
        operations.append(Delete(key))
    try:
        revision = await write_together(
            orchestrator.store,
            [*intent.compares, *own],
            [*operations, *intent.operations],
        )
    except RevisionConflict as err:
        if err.key not in {compare.key for compare in own}:
            raise asked_twice() from err
        return False
    await orchestrator.world.wait_for(revision)
    await history.wait_for(revision)
    return True
