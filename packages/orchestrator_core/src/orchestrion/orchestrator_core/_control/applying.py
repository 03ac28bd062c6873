"""How definitions become what is wanted: admitted, compared, asked about, and written all at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import trio
from attrs import define, evolve
from orchestrion.orchestrator_core._cluster.decisions import TimedScheduler
from orchestrion.orchestrator_core._cluster.loop import ClusterLoop
from orchestrion.orchestrator_core._control.admission import (
    Admission,
    Starts,
    admit,
    check_new,
    proposed,
    tell_applied,
    writes_of,
)
from orchestrion.orchestrator_core._control.classes import ClassSource, with_classes
from orchestrion.orchestrator_core._control.controls import CONFLICT_TRIES, Controls
from orchestrion.orchestrator_core._control.gate import Gate
from orchestrion.orchestrator_core._control.impossible import EmptyCluster
from orchestrion.orchestrator_core._control.ports import with_port_clashes
from orchestrion.orchestrator_core._control.preview import Preview
from orchestrion.orchestrator_core._control.restarting import restarted
from orchestrion.orchestrator_core._control.views import ApplyResult, Plan
from orchestrion.orchestrator_core._state.commits import write_together
from orchestrion.orchestrator_core._state.events import EventRecorder
from orchestrion.orchestrator_core._state.records import WorkloadName
from orchestrion.shared_types import Conflict, UidFactory, WorkloadDefinition
from orchestrion.store_interface import RevisionConflict


@define(eq=False)
class Applying:
    """Applies definitions, or says what applying them would do.

    Attributes:
        controls: What is on record, and where.
        cluster_loop: Knows the nodes, and what is placed on them.
        decider: Decides where slots go.
        classes: Knows the priority classes that workloads name.
        recorder: Is told of what was applied.
        new_uid: Makes ids that sort by time.
        refuse_impossible: Whether a workload that no node could ever run is refused.
    """

    controls: Controls
    cluster_loop: ClusterLoop
    decider: TimedScheduler
    classes: ClassSource
    recorder: EventRecorder
    new_uid: UidFactory
    refuse_impossible: bool

    async def apply(
        self,
        workloads: Sequence[WorkloadDefinition],
        gate: Gate,
        *,
        dry_run: bool,
        rerun: bool,
        starts: Starts,
        only_new: bool,
        promoted: bool,
    ) -> ApplyResult:
        """Want these workloads, all of them or none; see `Orchestrator.apply`."""
        named = await with_classes(workloads, self.classes)

        async def admitted() -> list[Admission]:
            admissions = self._admit(named, rerun=rerun, starts=starts, promoted=promoted)
            if self.refuse_impossible:
                await EmptyCluster(self.decider, self.cluster_loop.nodes.values()).check(admissions)
            if only_new:
                check_new(admissions)
            return admissions

        return await self._write(admitted, gate, dry_run=dry_run)

    async def restart(self, name: WorkloadName, gate: Gate, *, dry_run: bool) -> ApplyResult:
        """Replace all instances of a workload by new ones that run the same; see `Orchestrator.restart`."""

        async def admitted() -> list[Admission]:
            await trio.lowlevel.checkpoint()
            return [restarted(self.controls.record(name), self.controls.now())]

        return await self._write(admitted, gate, dry_run=dry_run)

    async def _write(
        self, admitted: Callable[[], Awaitable[list[Admission]]], gate: Gate, *, dry_run: bool
    ) -> ApplyResult:
        world = self.controls.world
        for _ in range(CONFLICT_TRIES):
            await self.controls.catch_up()
            admissions = await admitted()
            changes = with_port_clashes(admissions, self.cluster_loop.keeper.view(), self.decider)
            compares, operations = writes_of(admissions, world)
            beside = await gate([proposed(admission) for admission in admissions], world)
            if dry_run or not (operations or beside.operations):
                return ApplyResult(changes=changes)
            try:
                revision = await write_together(
                    self.controls.store,
                    [*compares, *beside.compares],
                    [*operations, *beside.operations],
                    new_uid=self.new_uid,
                )
            except RevisionConflict:
                continue
            await world.wait_for(revision)
            tell_applied(self.recorder, admissions)
            return ApplyResult(changes=changes, revision=revision)
        msg = "others kept changing the same workloads"
        raise Conflict(msg, remedy="Look at what they did, and apply again.")

    async def plan(self, workloads: Sequence[WorkloadDefinition], *, rerun: bool, starts: Starts) -> Plan:
        """Say what applying them would do; see `Orchestrator.plan`."""
        await self.controls.catch_up()
        admissions = self._admit(await with_classes(workloads, self.classes), rerun=rerun, starts=starts)
        revision = self.controls.world.revision
        preview = Preview.of(admissions, self.cluster_loop.facts, self.decider, self.cluster_loop.keeper.view())
        await preview.foresee()
        return evolve(preview.plan(admissions), revision=revision)

    def _admit(
        self,
        workloads: Sequence[WorkloadDefinition],
        *,
        rerun: bool,
        starts: Starts,
        promoted: bool = False,
    ) -> list[Admission]:
        return admit(
            workloads,
            self.controls.world,
            self.controls.now(),
            self.new_uid,
            rerun=rerun,
            starts=starts,
            promoted=promoted,
        )
