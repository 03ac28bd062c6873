"""Updates of workloads: how they get on, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import trio
from attrs import evolve, frozen
from orchestrion.control_plane._history.event import Item
from orchestrion.control_plane._objects.kinds import WORKLOAD
from orchestrion.control_plane._objects.proposal import check_precondition
from orchestrion.control_plane._objects.workload_form import workload_of
from orchestrion.orchestrator_core import (
    CAUSE_ANNOTATION,
    Beside,
    Gate,
    ProposedChange,
    WorkloadName,
    WorkloadPhase,
    wanted_since,
)
from orchestrion.shared_types import Conflict, NotFound, WorkloadDefinition

from .intent import Intent
from .objects import Objects
from .reading import no_such
from .requested import with_request

_NOT_RUN = frozenset(
    (
        "replicas",
        "parallelism",
        "retries",
        "deadline",
        "start_within",
        "missed_start",
        "update",
        "disruption",
        "gang",
        "after",
        "retention",
    )
)
"""Parts of a spec that are no part of what instances run, and are kept when that goes back."""


@frozen
class Rollouts:
    """Updates of workloads.

    Attributes:
        objects: Where they are.
    """

    objects: Objects

    def status(self, namespace: str, name: str) -> dict[str, Any]:
        """Return how an update gets on, and which generations are still known, what was wanted last at the end.

        Raises:
            NotFound: There is no such workload.
        """
        view = self.objects.view(namespace, name)
        shown = {key: getattr(view, key) for key in _SHOWN}
        history = [
            {
                "generation": generation,
                "since": wanted_since(template),
                "current": generation == view.generation,
                "cause": template.metadata.annotations.get(CAUSE_ANNOTATION, ""),
                "containers": workload_of(template).spec.get("containers", []),
            }
            for generation, template in sorted(self._templates(namespace, name).items(), key=_by_time)
        ]
        return {**shown, "generation": view.generation, "done": view.phase in _DONE, "history": history}

    async def undo(self, namespace: str, name: str, generation: int | None, intent: Intent) -> Item:
        """Go back to what an earlier generation ran; numbers, and the way of updating, stay as they are.

        A generation that only restarts the one before is no other one to go back from. The way back has no canary, and
        keeps the instances that are still there of what is gone back to.

        Args:
            namespace: The workload's namespace.
            name: Its name.
            generation: Which one; None is the latest that ran something else than the current one.
            intent: How it is meant.

        Raises:
            NotFound: There is no such workload, or that generation is no longer known.
            Conflict: There is none before.
        """
        templates = self._templates(namespace, name)
        current = self._current(namespace, name)
        if generation is None:
            now = templates.get(current)
            earlier = {known: template for known, template in templates.items() if not _runs_same(template, now)}
            if not earlier:
                msg = f"nothing is known of what else workload {name!r} ran before"
                if len(templates) > 1:
                    msg = f"workload {name!r} ran the same in all generations before that are known: it was restarted"
                raise Conflict(msg, remedy="Apply what it should run.")
            generation, _ = max(earlier.items(), key=_by_time)
        template = templates.get(generation)
        if template is None:
            known = ", ".join(str(each) for each in sorted(templates)) or "none"
            raise NotFound(f"generation {generation} of workload {name!r} is not known", remedy=f"There are: {known}")
        document = workload_of(template)

        def edit(plain: Any) -> Any:
            kept = {key: value for key, value in plain["spec"].items() if key in _NOT_RUN}
            run = {key: value for key, value in document.spec.items() if key not in _NOT_RUN}
            metadata = {**plain["metadata"], "labels": dict(document.labels)}
            return {**plain, "metadata": metadata, "spec": {**run, **kept}}

        # What has run before need not be tried out first.
        going_back = evolve(intent, manager="rollout", hands_on=True, promoted=True)
        item = await self.objects.change(WORKLOAD, namespace, name, edit, going_back)
        if not intent.dry_run:
            with suppress(NotFound):  # somebody has removed it right after
                item = await self.objects.refreshed(namespace, name)
        return item

    async def promote(self, namespace: str, name: str, intent: Intent) -> Item:
        """Let an update go on beyond its canary; see `Orchestrator.promote`.

        Raises:
            NotFound: There is no such workload.
            PreconditionFailed: It is not what the caller takes it for.
            Conflict: No update of it is to be promoted, or others changed it meanwhile.
        """
        document = self.objects.workloads.document(namespace, name)
        check_precondition(document, None, intent.if_revision)
        gate = with_request(self.objects.store, _only_at(document.metadata.revision))
        await self.objects.orchestrator.promote(name, namespace=namespace, gate=gate, dry_run=intent.dry_run)
        return await self.objects.refreshed(namespace, name)

    async def pause(self, namespace: str, name: str, intent: Intent, *, paused: bool) -> Item:
        """Hold up a workload's updates, or let them go on; see `Orchestrator.pause`.

        Raises:
            NotFound: There is no such workload.
            PreconditionFailed: It is not what the caller takes it for.
            ConfigInvalid: It is batch work.
            Conflict: Others kept changing it.
        """
        document = self.objects.workloads.document(namespace, name)
        check_precondition(document, None, intent.if_revision)
        orchestrator = self.objects.orchestrator
        if not intent.dry_run:
            change = orchestrator.pause if paused else orchestrator.resume
            await change(name, namespace=namespace, gate=with_request(self.objects.store))
        return await self.objects.refreshed(namespace, name)

    async def restart(self, namespace: str, name: str, intent: Intent) -> Item:
        """Replace all instances of a workload by new ones that run the same; see `Orchestrator.restart`.

        Raises:
            NotFound: There is no such workload.
            PreconditionFailed: It is not what the caller takes it for.
            ConfigInvalid: It is batch work.
            Conflict: It can't be restarted as it is, or others kept changing it.
        """
        await self.objects.workloads.restart(namespace, name, intent)
        return await self.objects.refreshed(namespace, name)

    def _templates(self, namespace: str, name: str) -> dict[int, WorkloadDefinition]:
        record = self.objects.orchestrator.world.workloads.get(WorkloadName(namespace, name))
        if record is None or record.spec is None:
            raise no_such(WORKLOAD, namespace, name)
        return dict(record.templates)

    def _current(self, namespace: str, name: str) -> int:
        record = self.objects.orchestrator.world.workloads[WorkloadName(namespace, name)]
        return record.spec.template_generation if record.spec is not None else 0


def _only_at(revision: int) -> Gate:
    """Return a gate that lets a workload be changed for as long as what is wanted is at a revision."""

    async def gate(changes: Sequence[ProposedChange], _world: Any, /) -> Beside:
        await trio.lowlevel.checkpoint()
        if any(change.revision != revision for change in changes):
            msg = "the workload was changed meanwhile"
            raise Conflict(msg, remedy="Look at what it is to run now.")
        return Beside()

    return gate


def _by_time(known: tuple[int, WorkloadDefinition]) -> tuple[int, int]:
    """Return what sorts generations by when they were wanted last."""
    generation, template = known
    return wanted_since(template), generation


def _runs_same(one: WorkloadDefinition, other: WorkloadDefinition | None) -> bool:
    """Whether instances of two templates run the same."""
    if other is None:
        return False
    return _run_of(one) == _run_of(other) and one.metadata.labels == other.metadata.labels


def _run_of(template: WorkloadDefinition) -> dict[str, Any]:
    return {key: value for key, value in workload_of(template).spec.items() if key not in _NOT_RUN}


_SHOWN = ("phase", "reason", "message", "replicas", "updated", "available", "paused", "canary")

_DONE = (WorkloadPhase.HEALTHY, WorkloadPhase.SUCCEEDED)
