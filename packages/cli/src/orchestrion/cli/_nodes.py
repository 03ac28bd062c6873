"""`node`: nodes, what is promised of them, and orders to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import frozen
from orchestrion.control_plane import HttpControl
from orchestrion.shared_types import (
    Node,
    NodeNotFound,
    Resources,
    WorkloadDefinition,
)

from ._get import name_of
from ._node_names import named_node
from ._objects import Data, Objects, reach_objects
from ._output import Form, coloured, columns, is_for_people, note, show
from ._places import Place, place_of
from ._reach import reach_owner
from ._running import run_async
from ._tables import amount_of_cpu, amount_of_memory, faults, harmless
from ._where import Where
from ._words import TERMINAL


@frozen(kw_only=True)
class NodeUse:
    """A node, and what of it is promised.

    Attributes:
        node: The node.
        promised: What its instances are promised together.
        instances: How many hold a place there.
    """

    node: Node
    promised: Resources
    instances: int


def run_node_ls(where: Where, form: Form) -> int:
    """Print what nodes have and what is promised of it."""
    uses = run_async(_uses, place_of(where))
    show(uses, form, table=lambda items: columns(_use_rows(items, wide=form == "wide")), name=lambda use: use.node.name)
    return 0


async def _uses(place: Place) -> list[NodeUse]:
    async with reach_owner(place) as control:
        return await node_uses(control)


async def node_uses(control: HttpControl) -> list[NodeUse]:
    """Return all nodes with what is promised of them, by id."""
    nodes = await control.list_nodes()
    instances = [one for one in await control.list_instances() if one.status.state not in TERMINAL]
    definitions = {
        (view.definition.metadata.namespace, view.definition.metadata.name): view.definition
        for view in await control.list_workloads()
    }
    uses = []
    for node in nodes:
        own = [one for one in instances if one.binding.node_id == node.id]
        promised = Resources()
        for instance in own:
            promised += promised_of(definitions.get((instance.namespace, instance.workload)))
        uses.append(NodeUse(node=node, promised=promised, instances=len(own)))
    return uses


def promised_of(definition: WorkloadDefinition | None) -> Resources:
    """Return what each instance of a workload is promised; nothing is known of one that is gone."""
    total = Resources()
    for container in definition.containers if definition is not None else ():
        total += container.resources
    return total


def _use_rows(uses: Iterable[NodeUse], *, wide: bool = False) -> list[tuple[str, ...]]:
    titles = ("NODE", "STATE", "INSTANCES", "CPU", "", "MEMORY", "")
    rows = [(*(coloured(title, "dim") for title in titles), *node_titles(wide=wide))]
    for use in uses:
        node, has = use.node, use.node.allocatable
        rows.append(
            (
                node.name,
                state_of(node),
                str(use.instances),
                f"{amount_of_cpu(use.promised.cpu_millicores)}/{amount_of_cpu(has.cpu_millicores)}",
                _share(use.promised.cpu_millicores, has.cpu_millicores),
                f"{amount_of_memory(use.promised.memory_bytes)}/{amount_of_memory(has.memory_bytes)}",
                _share(use.promised.memory_bytes, has.memory_bytes),
                *node_cells(node, wide=wide),
            )
        )
    return rows


def node_titles(*, wide: bool) -> tuple[str, ...]:
    """Return the titles of what `node_cells` tells."""
    titles = ("ID", "ADDRESS", "ZONE", "DRIVERS", "LABELS", "CONDITIONS") if wide else ("ID",)
    return tuple(coloured(title, "dim") for title in titles)


def node_cells(node: Node, *, wide: bool) -> tuple[str, ...]:
    """Return what a node is called by, and with `wide` what it is."""
    if not wide:
        return (node.id[:12],)
    labels = ",".join(f"{key}={value}" for key, value in sorted(node.labels.items()))
    return (
        node.id,
        harmless(node.address),
        harmless(node.topology.zone or ""),
        harmless(",".join(sorted(node.drivers))),
        harmless(labels),
        faults((each.type, each.active, each.unknown) for each in node.conditions),
    )


def state_of(node: Node) -> str:
    """Return how a node is, and the orders that it has."""
    told = coloured(node.status.value, "green" if node.status.value == "Ready" else "yellow")
    if node.drain is not None:
        return f"{told}, drains: {harmless(node.drain.reason)}"
    return f"{told}, cordoned" if node.cordoned else told


def _share(used: int, has: int) -> str:
    return f"{100 * used // has} %" if has else ""


def run_node_cordon(names: Sequence[str], where: Where, form: Form, *, let: bool, dry_run: bool = False) -> int:
    """Keep new work off nodes, or let it on them again; or say that this would be done."""
    place = place_of(where)

    async def order() -> list[Data]:
        nodes = list[Data]()
        async with reach_objects(where, place) as objects:
            kind = await objects.kind("node")
            for node_id, shown in [await _cordoned(objects, name, let=let) for name in names]:
                nodes.append(await objects.order(kind, node_id, "uncordon" if let else "cordon", dry_run=dry_run))
                if not is_for_people(form):
                    continue
                if dry_run:
                    note(f"{shown}: would take {'work again' if let else 'no new work'}")
                else:
                    note(f"{shown}: {'takes work again' if let else 'takes no new work'}")
        return nodes

    nodes = run_async(order)
    show(nodes, form, table=lambda _: (), name=name_of)
    return 0


async def _cordoned(objects: Objects, name: str, *, let: bool) -> tuple[str, str]:
    """Return the id and the name of a node; one that was removed may work again, and is known by its id alone."""
    try:
        node = await node_called(objects, name)
    except NodeNotFound:
        if not let:
            raise
        return name, name
    return node.id, node.name


async def node_called(objects: Objects, name: str) -> Node:
    """Return the node that is called so.

    Raises:
        NodeNotFound: There is none.
    """
    return named_node(await objects.control.list_nodes(), name)
