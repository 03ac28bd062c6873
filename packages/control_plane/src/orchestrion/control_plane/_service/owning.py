"""Whom objects belong to, as they are now: what nodes and workloads may reach is told by that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attrs import define
from orchestrion.control_plane._history.event import Item
from orchestrion.control_plane._history.projection import ObjectName
from orchestrion.control_plane._identity.access import owners_of
from orchestrion.control_plane._objects.kinds import CONFIG_MAP, INSTANCE, SECRET
from orchestrion.orchestrator_core import WorkloadName
from orchestrion.shared_types import WorkloadDefinition

from .objects import Objects

NOBODY: Final[frozenset[str]] = frozenset()


@define(eq=False)
class Owning:
    """Says whom objects belong to. See `owners_of`.

    Attributes:
        objects: All objects.
    """

    objects: Objects

    def of(self, resource: str, namespace: str, name: str) -> frozenset[str]:
        """Return whom the object of a name belongs to; an instance that is not there belongs to nobody."""
        kind = resource.partition("/")[0]
        if kind == INSTANCE.plural:
            item = self.objects.history.get(ObjectName(kind, namespace, name))
            return NOBODY if item is None else self.of_item(kind, item)
        if kind in (CONFIG_MAP.plural, SECRET.plural):
            return frozenset(self._readers(kind, namespace, name))
        return owners_of(resource, namespace, name)

    def of_item(self, kind: str, item: Item) -> frozenset[str]:
        """Return whom an object belongs to: an instance as it was then, all others as that is now."""
        document = item.document
        metadata = document.metadata
        if kind != INSTANCE.plural:
            return self.of(kind, metadata.namespace, metadata.name)
        node, workload = str(document.spec["node_id"]), str(document.spec["workload"])
        return owners_of(kind, metadata.namespace, metadata.name, node=node, workloads=[workload])

    def _readers(self, kind: str, namespace: str, name: str) -> Iterator[str]:
        """Give the workloads that read a ConfigMap or a Secret, and the nodes that such an instance is to run on."""
        for known, record in self.objects.orchestrator.world.workloads.items():
            if known.namespace != namespace:
                continue
            if record.spec is not None and _reads(record.spec.definition, kind, name):
                yield from owners_of(kind, namespace, name, workloads=[known.name])
            for instance in record.instances.values():
                if instance.bound is None or instance.ended:
                    continue
                binding = instance.bound.binding
                template = self._template(known, binding.generation)
                if template is not None and _reads(template, kind, name):
                    yield from owners_of(kind, namespace, name, node=binding.node_id)

    def _template(self, workload: WorkloadName, generation: int) -> WorkloadDefinition | None:
        """Return what instances of a generation run."""
        record = self.objects.orchestrator.world.workloads[workload]
        kept = record.templates.get(generation)
        return kept if kept is not None or record.spec is None else record.spec.definition


def _reads(definition: WorkloadDefinition, kind: str, name: str) -> bool:
    return any(
        use.name == name
        for container in definition.containers
        for use in (container.config if kind == CONFIG_MAP.plural else container.secrets)
    )
