"""Changes that are made only if nothing of what they are about was written since somebody looked at it."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen
from orchestrion.orchestrator_core._control.gate import Beside, Gate, ProposedChange
from orchestrion.orchestrator_core._state.records import WorkloadName, spec_key
from orchestrion.orchestrator_core._state.world import World
from orchestrion.shared_types import PreconditionFailed
from orchestrion.store_interface import Revision, RevisionCompacted, StateStore

REMEDY = "Plan again, look at what is new, and apply with the index that is told then."


@frozen
class SinceGate:
    """Lets a change pass if of none of its workloads anything that is wanted was written after a revision.

    That is their definitions and what `scale`, `stop` and the like have set; what becomes of instances does not count.

    Attributes:
        store: Where they are.
        index: The revision.
        then: Has its say after that.
    """

    store: StateStore
    index: int
    then: Gate

    async def __call__(self, changes: Sequence[ProposedChange], world: World, /) -> Beside:
        """Return what is to be written beside the change.

        Raises:
            PreconditionFailed: One was changed, made or removed since, or the store no longer knows.
        """
        check_reached(self.index, world.revision)
        for change in changes:
            metadata = change.after.metadata
            name = WorkloadName(metadata.namespace, metadata.name)
            record = world.workloads.get(name)
            latest = record.revision if record is not None else 0
            there = record is not None and record.spec is not None
            await check_unchanged(
                self.store, f"workload {name.name!r}", spec_key(name), latest if there else 0, self.index
            )
        return await self.then(changes, world)


def check_reached(index: int, revision: int) -> None:
    """Make sure that a revision is one that there was.

    Raises:
        PreconditionFailed: It is still to come: it is of another orchestrator.
    """
    if index > revision:
        msg = f"index {index} is still to come, and so of another orchestrator: this one is at {revision}"
        raise PreconditionFailed(msg, remedy=REMEDY)


async def check_unchanged(store: StateStore, what: str, key: str, latest: int, index: int) -> None:
    """Make sure that something was not written after a revision.

    Args:
        store: Where it is.
        what: How it is told.
        key: The key without which it is not there.
        latest: The revision of its last write; 0 where it is not there.
        index: The revision.

    Raises:
        PreconditionFailed: It was, or it is not there and the store no longer knows whether it was then.
    """
    if latest > index:
        msg = f"{what} was changed at revision {latest}, after index {index}: nothing was applied"
        raise PreconditionFailed(msg, remedy=REMEDY)
    if latest or not index:
        return
    try:
        before = (await store.get(key, at_revision=Revision(index))).entry
    except RevisionCompacted as err:
        msg = f"whether {what} was there at index {index} is no longer known: nothing was applied"
        raise PreconditionFailed(msg, remedy=REMEDY) from err
    if before is not None:
        msg = f"{what} was removed after index {index}: nothing was applied"
        raise PreconditionFailed(msg, remedy=REMEDY)
