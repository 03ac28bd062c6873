"""What is of a set besides workloads, where a file that names only workloads is applied as the set."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from attrs import evolve, frozen
from orchestrion.orchestrator_core import APPLY_SET_LABEL
from orchestrion.shared_types import DEFAULT_NAMESPACE, Denied

from ._get import name_of
from ._kinds import KindName
from ._objects import Data, Objects
from ._output import note

_APPLIED: Final = "apply"
_WORKLOAD: Final = "Workload"


@frozen
class Stray:
    """An object that is of a set, and no longer named with it.

    Attributes:
        kind: Its kind.
        item: The object.
    """

    kind: KindName
    item: Data

    @property
    def name(self) -> str:
        """What it is called, with its namespace where that is not the usual one."""
        namespace = self.item["metadata"]["namespace"]
        return f"{name_of(self.item)}{'' if namespace == DEFAULT_NAMESPACE else f' in namespace {namespace}'}"

    @property
    def reference(self) -> Data:
        """What names it for programs."""
        metadata = self.item["metadata"]
        return {"kind": self.kind.kind, "namespace": metadata["namespace"], "name": metadata["name"]}


async def strays(objects: Objects, of_set: str, namespaces: Collection[str]) -> list[Stray]:
    """Return the objects in namespaces that are of a set and are no workloads, as far as who asks may see them."""
    try:
        told = (await objects.api.ask("GET", "/api/v1", expects={"resources": list})).data["resources"]
    except Denied:
        note("which kinds there are is not for you to see: only workloads go")
        return []
    applied = [one for one in told if one["namespaced"] and _APPLIED in one["verbs"] and one["kind"] != _WORKLOAD]
    kinds = [KindName(one["name"], one["kind"]) for one in applied]
    found = list[Stray]()
    for kind in kinds:
        for namespace in sorted(namespaces):
            try:
                listed = await evolve(objects, looked_at=namespace).list(kind, labels=f"{APPLY_SET_LABEL}={of_set}")
            except Denied:
                continue
            found += [Stray(kind, item) for item in listed.items if not item["metadata"].get("deleting_since")]
    return found


async def let_go(objects: Objects, going: Collection[Stray], *, dry_run: bool) -> None:
    """Remove objects, and tell of each."""
    for stray in going:
        metadata = stray.item["metadata"]
        await evolve(objects, namespace=metadata["namespace"]).delete(stray.kind, metadata["name"], dry_run=dry_run)
        note(f"{name_of(stray.item)}: {'would be removed' if dry_run else 'removed'}")
