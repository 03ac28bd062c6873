"""Updates that go no further than their canary, or are paused: how somebody holds them up, and lets them go on."""

from __future__ import annotations

from attrs import evolve
from orchestrion.orchestrator_core._control.controls import Controls
from orchestrion.orchestrator_core._control.gate import Gate
from orchestrion.orchestrator_core._state.events import EventRecorder
from orchestrion.orchestrator_core._state.facts import canary_of
from orchestrion.orchestrator_core._state.records import WorkloadControl, WorkloadName
from orchestrion.orchestrator_core._state.world import WorkloadRecord
from orchestrion.shared_types import Conflict


async def promote(
    controls: Controls, recorder: EventRecorder, name: WorkloadName, gate: Gate, *, dry_run: bool
) -> None:
    """Let an update go on that has a canary, and return once the world shows it; see `Orchestrator.promote`.

    Raises:
        WorkloadNotFound: There is none of that name.
        Conflict: No update of it is to be promoted, or others kept changing it.
    """
    await controls.catch_up()
    before = controls.record(name).control.promoted

    def change(record: WorkloadRecord) -> WorkloadControl:
        spec, control, canary = record.spec, record.control, canary_of(record)
        if canary is not None:
            return evolve(control, promoted=canary.generation)
        if spec is not None and control.promoted == spec.template_generation:
            return control
        msg = f"no update of workload {name.name!r} waits for a promotion"
        raise Conflict(msg, remedy=f"`orchestrion rollout status {name.name}` says how it gets on.")

    await controls.change(name, change, gate, dry_run=dry_run)
    promoted = controls.record(name).control.promoted
    if not dry_run and promoted != before:
        text = f"generation {promoted} goes on beyond its canary"
        recorder.record(name.namespace, f"workload/{name.name}", "RolloutPromoted", text)


async def hold(controls: Controls, recorder: EventRecorder, name: WorkloadName, gate: Gate, *, paused: bool) -> None:
    """Hold up a workload's updates, or let them go on; see `Orchestrator.pause` and `Orchestrator.resume`.

    Raises:
        WorkloadNotFound: There is none of that name.
        ConfigInvalid: It is batch work, whose runs are no updates.
        Conflict: Others kept changing it.
    """
    await controls.catch_up()
    if await controls.pause(controls.record(name), gate, paused=paused):
        what = ("RolloutPaused", "its updates are paused") if paused else ("RolloutResumed", "its updates go on")
        recorder.record(name.namespace, f"workload/{name.name}", *what)
