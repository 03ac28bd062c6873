"""Sets of objects that are applied together: what is no longer among them goes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from attrs import define, evolve
from orchestrion.control_plane._history.projection import ObjectName
from orchestrion.control_plane._objects.kinds import WORKLOAD
from orchestrion.orchestrator_core import APPLY_SET_LABEL, WorkloadName
from orchestrion.shared_types import ConfigInvalid, Conflict, NotFound, Problem, is_name

from .bulk import Outcome, Part
from .intent import Intent
from .objects import Objects


def in_set(parts: Sequence[Part], name: str) -> list[Part]:
    """Return parts as those of a set: each says so by its label.

    Raises:
        ConfigInvalid: That is no name.
    """
    if not is_name(name):
        text = f"{name!r:.80} is no name: 1 to 63 lower-case letters, digits and inner hyphens"
        raise ConfigInvalid((Problem(text, path="set"),))
    return [evolve(part, data=_labelled(part.data, name)) for part in parts]


def _labelled(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    given = data.get("metadata")
    metadata = dict(given) if isinstance(given, Mapping) else {}
    labels = metadata.get("labels")
    if labels is None or isinstance(labels, Mapping):
        # What is none is refused by who reads the whole.
        metadata["labels"] = {**(labels or {}), APPLY_SET_LABEL: name}
    return {**data, "metadata": metadata}


@define(eq=False)
class Pruner:
    """Removes objects of a set that are no longer applied with it.

    Attributes:
        objects: Where they are.
    """

    objects: Objects

    def surplus(self, name: str, parts: Iterable[Part], namespaces: Collection[str]) -> list[ObjectName]:
        """Return the objects in namespaces that are of a set, by their labels, and none of its parts; workloads first.

        What is in no namespace is of no set that is pruned, and what is about to go is left to that.

        Raises:
            Conflict: A workload that stays comes after one of them, and has not begun.
        """
        parts = list(parts)
        stays = {ObjectName(part.kind.plural, part.namespace, part.name) for part in parts}
        found = list[ObjectName]()
        for kind in self.objects.kinds:
            if not (kind.namespaced and kind.written):
                continue
            for namespace in sorted(namespaces):
                for known in self.objects.history.names(kind.plural, namespace):
                    item = self.objects.history.get(known)
                    if item is None or known in stays or item.labels.get(APPLY_SET_LABEL) != name:
                        continue
                    if item.document.metadata.deleting_since is None:
                        found.append(known)
        self._check_not_awaited(found, parts)
        return sorted(found, key=lambda each: each.kind != WORKLOAD.plural)

    def _check_not_awaited(self, going: Collection[ObjectName], parts: Iterable[Part]) -> None:
        world = self.objects.orchestrator.world
        gone = {WorkloadName(each.namespace, each.name) for each in going if each.kind == WORKLOAD.plural}
        waiting = {each: sorted(other.name for other in world.waiting_for(each) if other not in gone) for each in gone}
        for part in parts:
            spec = part.data.get("spec")
            after = spec.get("after") if isinstance(spec, Mapping) and part.kind is WORKLOAD else None
            for name in after if isinstance(after, Mapping) else ():
                waiting.get(WorkloadName(part.namespace, str(name)), []).append(part.name)
        for name, others in sorted(waiting.items()):
            if others:
                told = ", ".join(dict.fromkeys(others))
                msg = f"workload {name.name!r} can't be removed: {told} waits for it; nothing was applied"
                raise Conflict(msg, remedy=f"Apply it with the set, or remove first: {told}")

    async def prune(self, names: Sequence[ObjectName], intent: Intent) -> list[Outcome]:
        """Remove objects, or begin to.

        **Idempotency.** What is gone already is no error; doing it again does the rest. **Cancellation.** Each object
        is removed for itself.

        Args:
            names: Which ones.
            intent: How it is meant; for a dry run nothing is removed.

        Raises:
            Conflict: A workload has come meanwhile that comes after one of them; the others are gone then.
        """
        done = dict[ObjectName, Outcome]()
        left = list(names)
        while left:
            waiting, refused = list[ObjectName](), None
            for name in left:
                kind = self.objects.kinds.find(name.kind)
                try:
                    item = await self.objects.remove(kind, name.namespace, name.name, intent)
                except NotFound:
                    continue
                except Conflict as err:
                    # One that comes after it may be among the others.
                    waiting.append(name)
                    refused = err
                    continue
                generation = item.document.metadata.generation
                done[name] = Outcome(
                    kind=kind.name, namespace=name.namespace, name=name.name, action="delete", generation=generation
                )
            if refused is not None and len(waiting) == len(left):
                raise refused
            left = waiting
        return [done[name] for name in names if name in done]
