"""How a cluster loop writes: fenced by its lead, and only while what a plan was made from still holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from attrs import define, field
from orchestrion.orchestrator_core._cluster.leadership import Leadership
from orchestrion.orchestrator_core._cluster.plan import CHUNK, WorkloadPlan
from orchestrion.orchestrator_core._state.records import control_key, spec_key
from orchestrion.orchestrator_core._state.world import WorkloadRecord, World
from orchestrion.store_interface import Compare, Operation, Revision, RevisionConflict, StateStore

T = TypeVar("T")


@define(eq=False)
class Writer:
    """Writes what a cluster loop decides.

    Attributes:
        store: Where it is recorded.
        world: The mirror of the store.
        writes: Transactions written so far.
    """

    store: StateStore
    world: World
    writes: int = 0
    _last: Revision = field(default=Revision(0), init=False)
    _uncertain: bool = field(default=False, init=False)

    async def write(
        self, leadership: Leadership, compares: Sequence[Compare], operations: Sequence[Operation]
    ) -> Revision:
        """Write one transaction, if this one still leads.

        Raises:
            RevisionConflict: The world has changed since; nothing was written.
            LeadershipLost: The store does not answer in time.
            OrchestrationError: The store failed.
        """
        uncertain, self._uncertain = self._uncertain, True
        with leadership.in_time("a write"):
            try:
                revision = await self.store.transaction((leadership.fence, *compares), operations)
            except RevisionConflict:
                self._uncertain = uncertain
                raise
        self._uncertain = uncertain
        self._last = max(self._last, revision)
        self.writes += 1
        return revision

    async def seen(self, leadership: Leadership) -> None:
        """Wait until the world shows all that was written, also by a write that failed and yet may have happened.

        A plan from an older world could give a slot away twice: its next epoch may have risen meanwhile, so that no
        compare of the second write fails.

        Raises:
            LeadershipLost: The store does not tell of it in time.
            OrchestrationError: The store failed.
        """
        with leadership.in_time("to see what was written"):
            if self._uncertain:
                self._last = max(self._last, (await self.store.get(leadership.fence.key)).revision)
                self._uncertain = False
            await self.world.wait_for(max(self._last, leadership.fence.revision))


def wanted_still(record: WorkloadRecord, plan: WorkloadPlan) -> list[Compare]:
    """Return what lets a write fail if the author or an operator has changed their mind since the plan was made."""
    return [
        Compare(spec_key(record.name), plan.spec_revision),
        Compare(control_key(record.name), plan.control_revision),
    ]


def chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield items in groups that one transaction takes."""
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]
