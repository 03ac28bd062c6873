"""Taking one's claim off a workload that is being removed: all that can still be changed of it."""

from __future__ import annotations

from attrs import evolve
from orchestrion.control_plane._objects.claims import kept_claims
from orchestrion.control_plane._objects.document import Document
from orchestrion.control_plane._objects.kinds import WORKLOAD
from orchestrion.control_plane._objects.proposal import check_precondition, read_document
from orchestrion.orchestrator_core import WorkloadName

from .intent import Edit, Intent
from .workloads import WorkloadWriter


async def released(workloads: WorkloadWriter, namespace: str, name: str, edit: Edit, intent: Intent) -> Document | None:
    """Take claims off a workload that is being removed, if that is what a change is; return it as it is then.

    Args:
        workloads: Writes workloads.
        namespace: The workload's namespace.
        name: Its name.
        edit: From the object as plain data to what it should be.
        intent: How it is meant.

    Returns:
        The workload as it is on record then, or would be; None where the change is another one.

    Raises:
        ConfigInvalid: It can't be read.
        PreconditionFailed: The workload is not what the caller takes it for.
        Conflict: Others kept changing it.
    """
    world = workloads.orchestrator.world
    record = world.workloads.get(WorkloadName(namespace, name))
    if record is None or record.spec is None or not record.control.removed:
        return None
    before = workloads.document(namespace, name)
    given = read_document(edit(before.plain()), WORKLOAD, namespace, name)
    check_precondition(before, given, intent.if_revision)
    held = before.metadata.finalizers
    kept = kept_claims(held, given.metadata.finalizers, going=True)
    if given.spec != before.spec or kept == held:
        return None
    after = evolve(before, metadata=evolve(before.metadata, finalizers=kept))
    if intent.dry_run:
        return after
    left = {(claim.name, claim.owner): claim for claim in kept}
    revision = await workloads.orchestrator.relate(
        name,
        lambda now: evolve(
            now,
            finalizers=tuple(
                left[claim.name, claim.owner] for claim in now.finalizers if (claim.name, claim.owner) in left
            ),
        ),
        namespace=namespace,
    )
    return after.at(revision)
