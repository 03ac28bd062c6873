"""A plain view of a cluster, and how to make views of nodes and of decisions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import count, pairwise
from typing import Final

from immutabledict import immutabledict
from orchestrion.shared_types import MAX_AMOUNT, InstanceKey, Node, NodeId, Resources, WorkloadDefinition

from ._interface import ClusterView
from ._types import AssignNode, NodeView, PlacedInstance, ScheduleDecision, demand_of, grace_seconds_of, host_ports_of

MAX_HISTORY: Final = 64

_NOTHING: Final[frozenset[NodeId]] = frozenset()


def _sum(amounts: Iterable[Resources]) -> Resources:
    """Add up; what exceeds `MAX_AMOUNT` counts as that much."""
    total: Counter[str] = Counter()
    extended: Counter[str] = Counter()
    for amount in amounts:
        total.update(cpu=amount.cpu_millicores, memory=amount.memory_bytes, disk=amount.disk_bytes)
        extended.update(amount.extended)
    return Resources(
        cpu_millicores=min(MAX_AMOUNT, total["cpu"]),
        memory_bytes=min(MAX_AMOUNT, total["memory"]),
        disk_bytes=min(MAX_AMOUNT, total["disk"]),
        extended={name: min(MAX_AMOUNT, extended[name]) for name in sorted(extended)},
    )


def node_view(node: Node, instances: Iterable[PlacedInstance] = ()) -> NodeView:
    """Return the view of a node that holds these instances, whose keys are unique.

    Amounts that add up to more than `MAX_AMOUNT` count as that much, which leaves nothing free either way.
    """
    return with_instances(NodeView(node=node), instances)


def with_instances(view: NodeView, instances: Iterable[PlacedInstance], /) -> NodeView:
    """Return the view of a node that holds these instances too."""
    arrivals = tuple(instances)
    shares = Counter(view.device_thousandths)
    for instance in arrivals:
        shares.update(instance.device_thousandths)
    return NodeView(
        node=view.node,
        reserved=_sum((view.reserved, *(instance.demand for instance in arrivals))),
        host_ports=view.host_ports.union(*(instance.host_ports for instance in arrivals)),
        device_thousandths={device_id: shares[device_id] for device_id in sorted(shares)},
        instances=immutabledict({**view.instances, **{instance.key: instance for instance in arrivals}}),
    )


def without_instances(view: NodeView, keys: Collection[InstanceKey], /) -> NodeView:
    """Return the view of a node on which these instances are gone; those that it does not hold make no difference."""
    if not any(key in view.instances for key in keys):
        return view
    return node_view(view.node, (instance for key, instance in view.instances.items() if key not in keys))


class _Revisions:
    """Gives out revisions that no other view of this process has."""

    def __init__(self) -> None:
        self._latest = 0

    def note(self, revision: int) -> int:
        self._latest = max(self._latest, revision)
        return revision

    def after(self, revision: int) -> int:
        return self.note(max(self._latest, revision) + 1)

    def next(self) -> int:
        return self.after(self._latest)


_latest: Final = _Revisions()
_HYPOTHESES: Final = count(1)


class StaticClusterView:
    """A `ClusterView` over views of nodes, for tests, simulations and small clusters.

    It never changes; each change makes a copy, which knows what changed since up to `MAX_HISTORY` earlier revisions.
    """

    def __init__(
        self,
        nodes: Iterable[NodeView] = (),
        /,
        *,
        revision: int | None = None,
        changes: Mapping[int, frozenset[NodeId]] = immutabledict(),
    ) -> None:
        """Make a view.

        Args:
            nodes: The nodes in any order, each once.
            revision: The view's revision; None takes one above all that were given to such views in this process, so
                that views made apart are never taken for one another.
            changes: By earlier revision, the nodes that differ from it; revisions that are not named are unknown.

        Raises:
            ValueError: A node is there twice.
        """
        listed = sorted(nodes, key=lambda view: view.node.id)
        self._nodes = {view.node.id: view for view in listed}
        self._revision = _latest.next() if revision is None else _latest.note(revision)
        self._changes = changes
        if len(self._nodes) != len(listed):
            twice = next(a.node.id for a, b in pairwise(listed) if a.node.id == b.node.id)
            msg = f"node {twice!r} is in the view twice"
            raise ValueError(msg)

    @classmethod
    def hypothetical(cls, nodes: Iterable[NodeView], /) -> StaticClusterView:
        """Make a view of nodes as they might be, in any order, each once.

        Its revision is below 0 and its own: nobody may think of it as a later or earlier state of the real ones.

        Raises:
            ValueError: A node is there twice.
        """
        return cls(nodes, revision=-next(_HYPOTHESES))

    @property
    def revision(self) -> int:
        """The view's revision."""
        return self._revision

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[NodeView]:
        return iter(self._nodes.values())

    def __repr__(self) -> str:
        return f"StaticClusterView({list(self._nodes.values())!r}, revision={self._revision})"

    def get(self, node_id: NodeId, /) -> NodeView | None:
        """Return one node, or None where there is none of that id."""
        return self._nodes.get(node_id)

    def changes_since(self, revision: int, /) -> frozenset[NodeId] | None:
        """Return the ids of the nodes that differ from `revision`, or None where that is unknown."""
        return _NOTHING if revision == self._revision else self._changes.get(revision)

    def changed(self, *nodes: NodeView, removed: Iterable[NodeId] = ()) -> StaticClusterView:
        """Return the view of a later revision, with these nodes added or replaced, and others removed."""
        gone = frozenset(removed)
        touched = gone | {view.node.id for view in nodes}
        after = {**self._nodes, **{view.node.id: view for view in nodes}}
        known = sorted(self._changes)[-MAX_HISTORY + 1 :]
        changes = {revision: self._changes[revision] | touched for revision in known}
        return StaticClusterView(
            (view for node_id, view in after.items() if node_id not in gone),
            changes={**changes, self._revision: touched},
        )


def placed_instance(workload: WorkloadDefinition, decision: AssignNode, /) -> PlacedInstance:
    """Return what holds a place once `decision` about a slot of `workload` is carried out."""
    metadata, containers = workload.metadata, workload.containers
    return PlacedInstance(
        key=decision.slot,
        namespace=metadata.namespace,
        workload=metadata.name,
        labels=metadata.labels,
        priority=workload.priority,
        demand=demand_of(workload),
        host_ports=host_ports_of(containers),
        device_thousandths=decision.device_thousandths,
        grace_seconds=grace_seconds_of(containers),
    )


def with_decisions(
    view: ClusterView, workload: WorkloadDefinition, decisions: Iterable[ScheduleDecision], /
) -> StaticClusterView:
    """Return the view after `decisions` about slots of `workload`, with a later revision of its own.

    Victims are gone. Slots that are placed there already, slots that got no node, and victims that are gone already
    change nothing.

    Raises:
        ValueError: A decision names a node that is not in the view.
    """
    arrivals: dict[NodeId, list[PlacedInstance]] = {}
    victims: dict[NodeId, set[InstanceKey]] = {}
    for decision in decisions:
        if not isinstance(decision, AssignNode):
            continue
        before = view.get(decision.node_id)
        if before is None:
            msg = f"slot {decision.slot} was assigned to node {decision.node_id!r}, which is not in the view"
            raise ValueError(msg)
        if decision.slot not in before.instances:
            arrivals.setdefault(decision.node_id, []).append(placed_instance(workload, decision))
            victims.setdefault(decision.node_id, set()).update(decision.victims)
    after = (
        with_instances(without_instances(node, victims[node.node.id]), arrivals[node.node.id])
        if node.node.id in arrivals
        else node
        for node in view
    )
    return StaticClusterView(after, revision=_latest.after(view.revision), changes={view.revision: frozenset(arrivals)})
