"""Who applies an object as one of a set does not take it from another set unawares."""

from __future__ import annotations

from orchestrion.control_plane._objects.document import Document
from orchestrion.orchestrator_core import APPLY_SET_LABEL
from orchestrion.shared_types import Conflict, WorkloadDefinition


def check_set(before: Document, given: Document | WorkloadDefinition, *, force: bool) -> None:
    """Make sure that an object that is applied stays in the set that it is of, unless it is taken over.

    Args:
        before: The object as it is.
        given: What is said of it; where that names no set, it stays in its own.
        force: Whether it is taken over from another set.

    Raises:
        Conflict: It is of another set.
    """
    was, wanted = before.metadata.labels.get(APPLY_SET_LABEL), given.metadata.labels.get(APPLY_SET_LABEL)
    if force or not was or not wanted or was == wanted:
        return
    namespace = before.metadata.namespace
    where = f" in namespace {namespace!r}" if namespace else ""
    raise Conflict(
        f"{before.kind} {before.metadata.name!r}{where} is of the set {was!r:.80}, not of {wanted!r:.80}",
        remedy="Leave it out, or take it over: force=true, or --force-conflicts of the command.",
    )
