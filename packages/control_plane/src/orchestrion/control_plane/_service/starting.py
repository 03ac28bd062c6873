"""Which workloads start by being applied that rest: those that who asks may start, if webhooks let them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import evolve, frozen
from orchestrion.control_plane._identity.access import Access
from orchestrion.control_plane._identity.asking import ASKING, SERVER
from orchestrion.control_plane._objects.kinds import WORKLOAD
from orchestrion.orchestrator_core import Orchestrator, WorkloadChange, WorkloadName, starts_again
from orchestrion.shared_types import Denied, WorkloadDefinition

from .intent import Act, May

START_VERB: Final = "stop"
"""Who may stop a workload may let it run again."""

_NEEDS: Final = f"who starts it needs `{START_VERB}`"


@frozen
class Starting:
    """Which of the workloads that are applied start, of those that rest.

    Attributes:
        starts: Those that do.
        kept: Those that do not, because who asks may not start them.
    """

    starts: frozenset[WorkloadName]
    kept: frozenset[WorkloadName]

    def told(self, change: WorkloadChange) -> WorkloadChange:
        """Return a change with why what rests does not start by it."""
        if not change.note or WorkloadName(change.namespace, change.name) not in self.kept:
            return change
        return evolve(change, note=f"{change.note}; {_NEEDS}")


@frozen
class Starter:
    """Finds out which workloads start by being applied.

    Attributes:
        orchestrator: Keeps them.
        may: Says whether somebody may do something.
        act: Asks webhooks about what is done.
    """

    orchestrator: Orchestrator
    may: May
    act: Act

    async def starting(
        self, workloads: Sequence[WorkloadDefinition], *, rerun: bool = False, dry_run: bool = False
    ) -> Starting:
        """Return which of those that are to be applied start, of those that rest.

        What comes to rest only after this is none of them: it stays as whoever stopped it left it.

        Args:
            workloads: As they are to be.
            rerun: Whether work that has ended is to run once more.
            dry_run: Whether nothing will be done.

        Raises:
            Denied: A webhook refuses a start; or work is to run once more, and who asks may not start it.
            Unavailable: A webhook did not answer, and nobody else may judge.
        """
        starts, kept = set[WorkloadName](), set[WorkloadName]()
        who = ASKING.get()
        for workload in workloads:
            name = WorkloadName(workload.metadata.namespace, workload.metadata.name)
            record = self.orchestrator.world.workloads.get(name)
            if record is None or not starts_again(workload, record, rerun=rerun):
                continue
            access = Access(START_VERB, WORKLOAD.plural, name.namespace, name.name)
            if who is SERVER or self.may(who, access):
                await self.act("start", workload, dry_run=dry_run)
                starts.add(name)
            elif rerun:
                msg = f"{who} may not {access}, which running it once more needs"
                raise Denied(msg, remedy="apply it without `rerun`, or ask for a role that allows it")
            else:
                kept.add(name)
        return Starting(frozenset(starts), frozenset(kept))
