"""All that pages show, as one principal sees it at one moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import reduce
from operator import add

from attrs import field, frozen
from orchestrion.control_plane._service.objects import Objects
from orchestrion.orchestrator_core import TERMINAL, Orchestrator, WorkloadName, WorkloadView
from orchestrion.scheduler_interface import demand_of
from orchestrion.shared_types import Node, NodeId, Resources, WorkloadInstance

from .sight import Sight


@frozen(kw_only=True)
class Scene:
    """Workloads, instances and nodes.

    Attributes:
        now: When it was.
        revision: The store's revision: all changes up to it are in, perhaps later ones too.
        workloads: By namespace and name.
        instances: By namespace, workload, index and epoch; ended ones too.
        nodes: By id.
        allocated: What the instances of a node reserve together, those that are not seen too; nodes without any are
            left out.
        granted: How many devices of a node they hold.
    """

    now: datetime
    revision: int = 0
    workloads: tuple[WorkloadView, ...] = ()
    instances: tuple[WorkloadInstance, ...] = ()
    nodes: tuple[Node, ...] = ()
    allocated: Mapping[NodeId, Resources] = field(factory=dict)
    granted: Mapping[NodeId, int] = field(factory=dict)

    def node_names(self) -> Mapping[str, str]:
        """Return what people call the nodes, by id."""
        return {node.id: node.name for node in self.nodes}

    def live(self) -> list[WorkloadInstance]:
        """Return the instances that hold a place."""
        return [instance for instance in self.instances if not is_ended(instance)]


def key_of(instance: WorkloadInstance) -> str:
    """Return what an instance is called in all of the cluster."""
    return f"{instance.namespace}/{instance.name}"


def is_ended(instance: WorkloadInstance) -> bool:
    """Whether an instance holds no place any longer."""
    return instance.status.state in TERMINAL or instance.binding.lost_at is not None


def restarts_of(instance: WorkloadInstance) -> int:
    """Return how often an instance's containers were started again, all together."""
    return sum(container.attempt for container in instance.status.containers)


async def scene_of(objects: Objects, sight: Sight) -> Scene:
    """Return what somebody sees now; namespaces that they may not list are as if they were not there."""
    orchestrator = objects.orchestrator
    revision = objects.history.revision
    workloads = await orchestrator.list_workloads()
    instances = await orchestrator.list_instances()
    nodes = await orchestrator.list_nodes() if sight.sees("nodes") else []
    live = [instance for instance in instances if not is_ended(instance)]
    granted = dict[NodeId, int]()
    for each in live:
        node_id = each.binding.node_id
        granted[node_id] = granted.get(node_id, 0) + len({id_ for ids in each.binding.devices.values() for id_ in ids})
    return Scene(
        now=orchestrator.now(),
        revision=revision,
        workloads=tuple(each for each in workloads if sight.sees("workloads", each.definition.metadata.namespace)),
        instances=tuple(each for each in instances if sight.sees("instances", each.namespace)),
        nodes=tuple(nodes),
        allocated=_allocated(orchestrator, live),
        granted=granted,
    )


def _allocated(orchestrator: Orchestrator, live: Sequence[WorkloadInstance]) -> Mapping[NodeId, Resources]:
    demands = dict[tuple[str, str, int], Resources]()
    together = dict[NodeId, list[Resources]]()
    for instance in live:
        version = (instance.namespace, instance.workload, instance.binding.generation)
        if version not in demands:
            record = orchestrator.world.workloads.get(WorkloadName(*version[:2]))
            template = record.templates.get(version[2]) if record is not None else None
            demands[version] = demand_of(template) if template is not None else Resources()
        together.setdefault(instance.binding.node_id, []).append(demands[version])
    return {node_id: reduce(add, amounts) for node_id, amounts in together.items()}
