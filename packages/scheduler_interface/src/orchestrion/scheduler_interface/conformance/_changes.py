"""Carrying out the steps of a change, and trying all of them: what the clauses on changes are checked with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations, product

from attrs import evolve
from orchestrion.scheduler_interface import ChangeKind, NodeView, PlacementChange, SchedulerCapability, node_view
from orchestrion.shared_types import (
    Device,
    Node,
    NodeId,
    Placement,
    Resources,
    Toleration,
    Topology,
    WorkloadDefinition,
)

from ._build import with_amount
from ._oracle import World, complaints, demand, domain, free, stands

Abilities = frozenset[SchedulerCapability]

ALL = frozenset(SchedulerCapability)

NEW_NODE = NodeId("new-node")


def apply_change(
    steps: Iterable[PlacementChange], workload: WorkloadDefinition, world: World
) -> tuple[WorkloadDefinition, dict[NodeId, NodeView]]:
    """Return the workload and the nodes after every step was done."""
    after = dict(world)
    added: dict[str, int] | None = None
    for step in steps:
        if step.kind is ChangeKind.ADD_NODE:
            added = {**(added or {}), step.subject: step.amount}
        elif step.node_id is not None:
            workload = _apply_to_workload(step, workload)
            after[step.node_id] = _apply_to_node(step, after[step.node_id])
    if added is not None:
        after[NEW_NODE] = node_view(joining_node(workload, world, added) or _ideal_node(workload, added, {}))
    return workload, after


def _apply_to_workload(step: PlacementChange, workload: WorkloadDefinition) -> WorkloadDefinition:
    placement = workload.placement
    match step.kind:
        case ChangeKind.LOWER_REQUEST:
            first, *others = workload.containers
            lowered = [with_amount(first.resources, step.subject, step.amount)]
            lowered += [with_amount(each.resources, step.subject, 0) for each in others]
            containers = zip(workload.containers, lowered, strict=True)
            return evolve(workload, containers=tuple(evolve(each, resources=amount) for each, amount in containers))
        case ChangeKind.DROP_SELECTOR:
            placement = evolve(placement, select={k: v for k, v in placement.select.items() if k != step.subject})
        case ChangeKind.DROP_EXPRESSION:
            kept = tuple(each for each in placement.expressions if each.key != step.subject)
            placement = evolve(placement, expressions=kept)
        case ChangeKind.TOLERATE_TAINT:
            placement = evolve(placement, tolerations=(*placement.tolerations, Toleration(key=step.subject)))
    return evolve(workload, placement=placement)


def _apply_to_node(step: PlacementChange, view: NodeView) -> NodeView:
    match step.kind:
        case ChangeKind.UNCORDON:
            return evolve(view, node=evolve(view.node, cordoned=False, drain=None))
        case ChangeKind.ENABLE_DRIVER:
            return evolve(view, node=evolve(view.node, drivers=view.node.drivers | {step.subject}))
        case ChangeKind.FREE_PORT:
            gone = frozenset(port for port in view.host_ports if f"{port[0].value}/{port[1]}" == step.subject)
            instances = {
                key: evolve(instance, host_ports=instance.host_ports - gone) for key, instance in view.instances.items()
            }
            return evolve(view, host_ports=view.host_ports - gone, instances=instances)
        case _:
            return view


def joining_node(workload: WorkloadDefinition, world: World, amounts: Mapping[str, int]) -> Node | None:
    """Return a node in domains in which required spreads and affinities hold, or None where there are no such.

    Which labels are selected, and devices, are left out of account.
    """
    placement = workload.placement
    topologies = {each.by for each in placement.spreads} | {each.by for each in placement.instance_affinities}
    keys = sorted(topologies - {"node"})
    domains = [{domain(view.node, key) or "" for view in world.values()} - {""} for key in keys]
    # What does not count for the workload is not to count for one that is less choosy, either.
    counting = {
        node_id: view if stands(workload, view, ALL) else evolve(view, node=evolve(view.node, cordoned=True))
        for node_id, view in world.items()
    }
    asked = evolve(
        workload,
        placement=evolve(placement, select={}, expressions=(), node_affinities=()),
        containers=tuple(evolve(each, gpu=None) for each in workload.containers),
    )
    for chosen in product(*([None, *sorted(each)] for each in domains)):
        where = {key: value for key, value in zip(keys, chosen, strict=True) if value is not None}
        joining = node_view(_ideal_node(asked, amounts, where))
        if not complaints(asked, NEW_NODE, {**counting, NEW_NODE: joining}, ALL):
            return _ideal_node(workload, amounts, where)
    return None


def _ideal_node(workload: WorkloadDefinition, amounts: Mapping[str, int], domains: Mapping[str, str]) -> Node:
    """Return a node with these amounts, in domains of its own but for the given ones."""
    room = Resources()
    for subject in amounts.keys() - {"gpu", ""}:
        room = with_amount(room, subject, amounts[subject])
    placement = workload.placement
    models = " ".join(
        each.gpu.model for each in workload.containers if each.gpu is not None and each.gpu.model is not None
    )
    topology = ("region", "zone", "rack")
    around = {each.by for each in placement.spreads} | {each.by for each in placement.instance_affinities}
    wanted = {key: domains.get(key, placement.select.get(key, f"new-{key}")) for key in topology}
    return Node(
        id=NEW_NODE,
        name=placement.select.get("node", "new-node"),
        labels={
            **{key: "new" for key in around if key not in (*topology, "node")},
            **{key: value for key, value in {**placement.select, **domains}.items() if key not in topology},
        },
        capacity=room,
        allocatable=room,
        topology=Topology(**wanted),
        drivers=frozenset(each.effective_driver for each in workload.containers),
        devices=tuple(
            Device(id=f"new{number}", model=models, memory_bytes=2**40, capability="1000")
            for number in range(amounts.get("gpu", 0))
        ),
    )


def has_ideal_node(workload: WorkloadDefinition) -> bool:
    """Whether the kit can make up a node for a workload: it does not try to satisfy expressions or selected domains."""
    placement = workload.placement
    around = {each.by for each in placement.spreads if each.required}
    around |= {each.by for each in placement.instance_affinities if each.weight is None}
    labelled = [*placement.expressions, *(each for each in placement.node_affinities if each.weight is None)]
    return not labelled and not around & placement.select.keys()


def fewer_steps_that_place(
    count: int, workload: WorkloadDefinition, world: World, abilities: Abilities, only_node: NodeId | None
) -> tuple[PlacementChange, ...] | None:
    """Return `count` steps, or all that a node has if those are fewer, that place a slot on some node; None for none.

    Every choice of steps is tried on every node.
    """
    for node_id, view in world.items():
        if only_node not in (None, node_id):
            continue
        possible = list(_possible_steps(workload, view))
        for steps in combinations(possible, min(count, len(possible))):
            changed, after = apply_change(steps, workload, world)
            if not complaints(changed, node_id, after, abilities, only_node):
                return steps
    return None


def _possible_steps(workload: WorkloadDefinition, view: NodeView) -> Iterator[PlacementChange]:
    node_id, placement = view.node.id, workload.placement
    for dimension, amount in demand(workload).items():
        if 0 < free(view, dimension) < amount:
            yield PlacementChange(
                kind=ChangeKind.LOWER_REQUEST, node_id=node_id, subject=dimension, amount=free(view, dimension)
            )
    for protocol, number in sorted(view.host_ports):
        yield PlacementChange(kind=ChangeKind.FREE_PORT, node_id=node_id, subject=f"{protocol.value}/{number}")
    if _spread_is_required(placement):
        return
    yield PlacementChange(kind=ChangeKind.UNCORDON, node_id=node_id)
    subjects = {
        ChangeKind.ENABLE_DRIVER: {each.effective_driver for each in workload.containers} - view.node.drivers,
        ChangeKind.DROP_SELECTOR: set(placement.select),
        ChangeKind.DROP_EXPRESSION: {expression.key for expression in placement.expressions},
        ChangeKind.TOLERATE_TAINT: {taint.key for taint in view.node.taints},
    }
    for kind, names in subjects.items():
        for name in sorted(names):
            yield PlacementChange(kind=kind, node_id=node_id, subject=name)


def _spread_is_required(placement: Placement) -> bool:
    return any(spread.required for spread in placement.spreads)
