"""All that pages show, as one principal sees it at one moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import reduce
from operator import add
from typing import Final

import trio
from attrs import define, evolve, field, frozen
from orchestrion.control_plane._service.objects import Objects
from orchestrion.orchestrator_core import TERMINAL, Orchestrator, WorkloadName, WorkloadView
from orchestrion.scheduler_interface import demand_of
from orchestrion.shared_types import InstanceState, Node, NodeId, Resources, WorkloadInstance

from .sight import Sight
from .usage import Usage

Version = tuple[str, str, int]

RESTARTING: Final = "Restarting"
"""What an instance is called of which a container has ended and is to be started again."""

_ID_CHARACTERS: Final = 8
"""How many of its id are said of a node whose name does not say which it is."""


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
        demands: What one instance reserves, by namespace, workload and version, of those that hold a place.
        usage: What is used; None where it is not known.
    """

    now: datetime
    revision: int = 0
    workloads: tuple[WorkloadView, ...] = ()
    instances: tuple[WorkloadInstance, ...] = ()
    nodes: tuple[Node, ...] = ()
    allocated: Mapping[NodeId, Resources] = field(factory=dict)
    granted: Mapping[NodeId, int] = field(factory=dict)
    demands: Mapping[Version, Resources] = field(factory=dict)
    usage: Usage | None = None

    def demand(self, instance: WorkloadInstance) -> Resources:
        """Return what an instance reserves; nothing where its version is not kept."""
        return self.demands.get(_version(instance), Resources())

    def node_names(self) -> Mapping[str, str]:
        """Return what people call the nodes, by id; those of the same name are told apart."""
        times = Counter(node.name for node in self.nodes)
        return {
            node.id: node.name if times[node.name] == 1 else f"{node.name} ({node.id[:_ID_CHARACTERS]})"
            for node in self.nodes
            if node.name
        }

    def live(self) -> list[WorkloadInstance]:
        """Return the instances that hold a place."""
        return [instance for instance in self.instances if not is_ended(instance)]


def key_of(instance: WorkloadInstance) -> str:
    """Return what an instance is called in all of the cluster."""
    return f"{instance.namespace}/{instance.name}"


def is_ended(instance: WorkloadInstance) -> bool:
    """Whether an instance holds no place any longer."""
    return instance.status.state in TERMINAL or instance.binding.lost_at is not None


def is_restarting(instance: WorkloadInstance) -> bool:
    """Whether an instance is at work, and a container of it has ended and waits for being started again."""
    waits = any(container.next_attempt_at is not None for container in instance.status.containers)
    return waits and instance.status.state is InstanceState.RUNNING and not is_ended(instance)


def restarts_of(instance: WorkloadInstance) -> int:
    """Return how often an instance's containers were started again, all together."""
    return sum(container.attempt for container in instance.status.containers)


@define(eq=False)
class Scenes:
    """Gives scenes, made once for all who ask at about the same time: a change makes every open page ask.

    Attributes:
        objects: All objects.
    """

    objects: Objects
    _lock: trio.Lock = field(factory=trio.Lock)
    _whole: Scene | None = None
    _seen: int = 0
    """How many changes there were when it was begun to be made."""
    _until: float = 0.0

    async def seen_by(self, sight: Sight) -> Scene:
        """Return what somebody sees; namespaces that they may not list are as if they were not there.

        All changes are in it that were there when this was called.
        """
        wanted = self.objects.history.count
        async with self._lock:
            whole = self._whole
            if whole is None or self._seen < wanted or trio.current_time() >= self._until:
                seen = self.objects.history.count
                whole = self._whole = await _whole_scene(self.objects)
                self._seen = seen
                self._until = trio.current_time() + _KEPT_SECONDS
        every_workload, every_instance = sight.sees("workloads"), sight.sees("instances")
        return evolve(
            whole,
            now=self.objects.orchestrator.now(),
            workloads=whole.workloads
            if every_workload
            else tuple(each for each in whole.workloads if sight.sees("workloads", each.definition.metadata.namespace)),
            instances=whole.instances
            if every_instance
            else tuple(each for each in whole.instances if sight.sees("instances", each.namespace)),
            nodes=whole.nodes if sight.sees("nodes") else (),
        )


_KEPT_SECONDS: Final = 1.0
"""How old a scene may be, also where nothing is known to have changed."""


async def _whole_scene(objects: Objects) -> Scene:
    orchestrator = objects.orchestrator
    revision = objects.history.revision
    workloads = await orchestrator.list_workloads()
    instances = await orchestrator.list_instances()
    nodes = await orchestrator.list_nodes()
    live = [instance for instance in instances if not is_ended(instance)]
    demands = _demands(orchestrator, live)
    granted = dict[NodeId, int]()
    for each in live:
        if each.binding.devices:
            node_id = each.binding.node_id
            held = {id_ for ids in each.binding.devices.values() for id_ in ids}
            granted[node_id] = granted.get(node_id, 0) + len(held)
    return Scene(
        now=orchestrator.now(),
        revision=revision,
        workloads=tuple(workloads),
        instances=tuple(instances),
        nodes=tuple(nodes),
        allocated=_allocated(demands, live),
        granted=granted,
        demands=demands,
    )


def _version(instance: WorkloadInstance) -> Version:
    return (instance.namespace, instance.workload, instance.binding.generation)


def _demands(orchestrator: Orchestrator, live: Sequence[WorkloadInstance]) -> Mapping[Version, Resources]:
    demands = dict[Version, Resources]()
    for version in dict.fromkeys(map(_version, live)):
        record = orchestrator.world.workloads.get(WorkloadName(*version[:2]))
        template = record.templates.get(version[2]) if record is not None else None
        demands[version] = demand_of(template) if template is not None else Resources()
    return demands


def _allocated(demands: Mapping[Version, Resources], live: Sequence[WorkloadInstance]) -> Mapping[NodeId, Resources]:
    together = dict[NodeId, list[Resources]]()
    for instance in live:
        together.setdefault(instance.binding.node_id, []).append(demands[_version(instance)])
    return {node_id: reduce(add, amounts) for node_id, amounts in together.items()}
