"""Which workloads no node could ever run, alone or beside each other: asked of an empty cluster."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from attrs import define, evolve, field
from orchestrion.orchestrator_core._control.admission import Admission
from orchestrion.orchestrator_core._errors import ImpossibleWorkload, Unschedulable
from orchestrion.orchestrator_core._state.taints import for_new_work
from orchestrion.scheduler_interface import (
    ClusterView,
    Explanation,
    NodeView,
    NoPlacement,
    Predicate,
    RefusalGroup,
    ScheduleDecision,
    Scheduler,
    SchedulingRequest,
    StaticClusterView,
    describe,
    describe_change,
)
from orchestrion.shared_types import (
    InstanceKey,
    Node,
    NodeId,
    NodeStatus,
    Protocol,
    Uid,
    WorkloadDefinition,
    WorkloadKind,
)

_SAMPLES: Final = 5

_Port = tuple[int, Protocol]


@define(eq=False)
class _Wanted:
    """A workload that wants a port.

    Attributes:
        definition: The workload.
        instances: How many are wanted at once; None is one on each node that could run it.
        changed: Whether the apply changes it.
    """

    definition: WorkloadDefinition
    instances: int | None
    changed: bool


def _by_id(nodes: Iterable[Node]) -> tuple[Node, ...]:
    return tuple(sorted(nodes, key=lambda node: node.id))


@define(eq=False)
class EmptyCluster:
    """A cluster as it would be, were all nodes up and empty."""

    scheduler: Scheduler
    nodes: tuple[Node, ...] = field(converter=_by_id)
    _view: ClusterView = field(init=False)

    def __attrs_post_init__(self) -> None:
        empty = (
            evolve(node, status=NodeStatus.READY, cordoned=False, drain=None, conditions=()) for node in self.nodes
        )
        self._view = StaticClusterView.hypothetical(NodeView(node=node) for node in empty)

    async def check(self, admissions: Sequence[Admission]) -> None:
        """Check that what an apply changes would find a place there.

        Neighbours that a workload requires are not asked for: whoever they are may come later.

        Raises:
            Unschedulable: A workload would find none on any node; or several services and daemons of the apply ask for
                the same port, and want more instances than there are nodes for them.
        """
        await self._check_each([admission.spec.definition for admission in admissions if admission.spec is not None])
        await self._check_ports(admissions)

    async def _ask(
        self, definition: WorkloadDefinition, only_node: NodeId | None = None, together: int = 1
    ) -> ScheduleDecision:
        metadata = definition.metadata
        uid = metadata.uid or Uid("unnamed")
        workload = _without_neighbours(evolve(definition, metadata=evolve(metadata, uid=uid)))
        request = SchedulingRequest(
            workload=for_new_work(workload),
            slots=tuple(InstanceKey(uid, index, 1) for index in range(together)),
            minimum=together,
            only_node=only_node,
        )
        decision, *_ = await self.scheduler.schedule(request, self._view)
        return decision

    async def _check_each(self, definitions: Iterable[WorkloadDefinition]) -> None:
        impossible = list[ImpossibleWorkload]()
        for definition in definitions:
            decision = await self._ask(definition, together=_together(definition))
            if isinstance(decision, NoPlacement):
                impossible.append(_impossible(definition, decision.explanation))
        if not impossible:
            return
        first, *others = impossible
        who = "no node" if first.explanation.gang is None else "not all nodes together"
        msg = f"{who} could ever run workload {_why_not(first)}"
        if others:
            msg = "\n".join(
                (f"no node could ever run {len(impossible)} of these workloads", *map(_why_not, impossible))
            )
        raise Unschedulable(
            msg,
            namespace=first.namespace,
            workload=first.workload,
            explanation=first.explanation,
            impossible=tuple(impossible),
            remedy="Ask for less, or run it where there is more.",
        )

    async def _check_ports(self, admissions: Sequence[Admission]) -> None:
        for port, sharing in _shared_ports(admissions).items():
            if len(sharing) > 1 and any(one.changed for one in sharing):
                await self._check_port(port, sharing)

    async def _check_port(self, port: _Port, sharing: Sequence[_Wanted]) -> None:
        usable = set[NodeId]()
        wanted = 0
        for one in sharing:
            mine = {
                node.id for node in self.nodes if not isinstance(await self._ask(one.definition, node.id), NoPlacement)
            }
            usable |= mine
            wanted += len(mine) if one.instances is None else one.instances
        if wanted <= len(usable):
            return
        number = f"{port[0]}/{port[1]}"
        group = RefusalGroup(
            predicate=Predicate.HOST_PORT,
            detail=number,
            node_count=len(usable),
            samples=tuple(sorted(usable)[:_SAMPLES]),
        )
        explanation = Explanation(groups=(group,), nodes_considered=len(self.nodes))
        refused = tuple(_impossible(one.definition, explanation) for one in sharing)
        *names, last = (repr(one.workload) for one in refused)
        nodes = "1 node" if len(usable) == 1 else f"{len(usable)} nodes"
        msg = (
            f"workloads {', '.join(names)} and {last} ask for the same port {number}, which each node has once: they "
            f"want {wanted} instances at the same time, and only {nodes} could ever run them"
        )
        raise Unschedulable(
            msg,
            namespace=refused[-1].namespace,
            workload=refused[-1].workload,
            explanation=explanation,
            impossible=refused,
            remedy="Give one of them another port, or leave the number out: the node then leases one.",
        )


def _shared_ports(admissions: Iterable[Admission]) -> dict[_Port, list[_Wanted]]:
    """Return who wants which port for as long as it is wanted itself: a batch workload gives it back."""
    sharing = dict[_Port, list[_Wanted]]()
    for admission in admissions:
        one = _wanted(admission)
        if one is None or one.instances == 0 or one.definition.kind is WorkloadKind.BATCH:
            continue
        ports = {
            (port.host_port, port.protocol)
            for container in one.definition.containers
            for port in container.ports
            if port.host_port is not None
        }
        for port in sorted(ports):
            sharing.setdefault(port, []).append(one)
    return sharing


def _wanted(admission: Admission) -> _Wanted | None:
    record = admission.record
    spec = admission.spec or (record.spec if record is not None else None)
    if spec is None:
        return None
    definition = spec.definition
    instances: int | None = definition.replicas
    control = admission.control or (record.control if record is not None else None)
    if definition.kind is WorkloadKind.DAEMON:
        instances = None
    elif control is not None and control.replicas is not None and control.scaled_from == definition.replicas:
        instances = control.replicas
    return _Wanted(definition, instances, changed=admission.spec is not None)


def _together(definition: WorkloadDefinition) -> int:
    """Return how many instances of a workload have to have a place at the same time, at least 1."""
    if definition.gang is None:
        return 1
    batch = definition.kind is WorkloadKind.BATCH
    return max(1, definition.gang.least_of(definition.completions if batch else definition.replicas))


def _impossible(definition: WorkloadDefinition, explanation: Explanation) -> ImpossibleWorkload:
    metadata = definition.metadata
    return ImpossibleWorkload(namespace=metadata.namespace, workload=metadata.name, explanation=explanation)


def _without_neighbours(workload: WorkloadDefinition) -> WorkloadDefinition:
    """Return a workload that does not require instances beside it, of which an empty cluster has none."""
    placement = workload.placement
    kept = tuple(one for one in placement.instance_affinities if one.anti or one.weight is not None)
    return evolve(workload, placement=evolve(placement, instance_affinities=kept))


def _why_not(refused: ImpossibleWorkload) -> str:
    change = describe_change(refused.explanation.smallest_change)
    would_fit = f"; it would fit: {change}" if change else ""
    return f"{refused.workload!r}: {describe(refused.explanation)}{would_fit}"
