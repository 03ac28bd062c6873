"""`node`: nodes, what is promised of them, and orders to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import trio
from attrs import frozen
from orchestrion.control_plane import HttpControl
from orchestrion.orchestrator_core import Update, UpdateKind
from orchestrion.shared_types import (
    Node,
    NodeNotFound,
    Resources,
    WorkloadDefinition,
    WorkloadInstance,
)

from ._exit_codes import ExitCode
from ._node_names import named_node
from ._objects import Objects, reach_objects
from ._output import Form, coloured, columns, is_for_people, note, show
from ._places import Place, place_of
from ._reach import reach_owner
from ._running import run_async
from ._tables import amount_of_cpu, amount_of_memory, faults, harmless
from ._times import seconds_of
from ._where import Where
from ._words import TERMINAL, full_name


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


def run_node_cordon(names: Sequence[str], where: Where, *, let: bool, dry_run: bool = False) -> int:
    """Keep new work off nodes, or let it on them again; or say that this would be done."""
    place = place_of(where)

    async def order() -> None:
        async with reach_objects(where, place) as objects:
            kind = await objects.kind("node")
            for node_id, shown in [await _cordoned(objects, name, let=let) for name in names]:
                await objects.order(kind, node_id, "uncordon" if let else "cordon", dry_run=dry_run)
                if dry_run:
                    note(f"{shown}: would take {'work again' if let else 'no new work'}")
                else:
                    note(f"{shown}: {'takes work again' if let else 'takes no new work'}")

    run_async(order)
    return 0


async def _cordoned(objects: Objects, name: str, *, let: bool) -> tuple[str, str]:
    """Return the id and the name of a node; one that was removed may work again, and is known by its id alone."""
    try:
        node = await _node(objects, name)
    except NodeNotFound:
        if not let:
            raise
        return name, name
    return node.id, node.name


async def _node(objects: Objects, name: str) -> Node:
    return named_node(await objects.control.list_nodes(), name)


def run_node_drain(
    name: str,
    reason: str,
    deadline: str | None,
    timeout: str | None,
    where: Where,
    form: Form,
    *,
    wait: bool,
    dry_run: bool = False,
) -> int:
    """Move everything off a node, and show how that goes; or say what would be moved."""
    place = place_of(where)
    now = datetime.now(UTC)
    until = None if deadline is None else now + timedelta(seconds=seconds_of(deadline))
    seconds = None if timeout is None else seconds_of(timeout)

    async def drain() -> bool:
        async with reach_objects(where, place) as objects:
            node = await _node(objects, name)
            body = {"reason": reason, "deadline": None if until is None else until.isoformat()}
            await objects.order(await objects.kind("node"), node.id, "drain", body, dry_run=dry_run)
            if dry_run:
                note(f"{node.name}: would move off {await _moved(objects, node) or 'nothing: nothing runs there'}")
                return True
            if not wait:
                note(f"{node.name}: drains; `orchestrion node ls` shows how far it is")
                return True
            with trio.move_on_after(float("inf") if seconds is None else seconds):
                await _empty(objects, node, tells=is_for_people(form))
                note(f"{node.name}: drained; `orchestrion node uncordon {node.name}` lets work on it again")
                return True
            return False

    if run_async(drain):
        return ExitCode.OK
    note(f"{name}: not empty within {timeout}; the drain goes on")
    return ExitCode.TIMEOUT


async def _moved(objects: Objects, node: Node) -> str:
    instances = await objects.control.list_instances()
    here = [one for one in instances if one.binding.node_id == node.id and one.status.state not in TERMINAL]
    return ", ".join(sorted(full_name(one.namespace, one.name) for one in here))


async def _empty(objects: Objects, node: Node, *, tells: bool) -> None:
    """Wait until nothing runs on a node, and tell what is left as that changes."""
    here: dict[tuple[str, str], WorkloadInstance] = {}
    told = ""
    async with objects.control.watch() as updates:
        synced = False
        async for update in updates:
            _take(here, update, node)
            synced = synced or update.kind is UpdateKind.SYNCED
            if not synced:
                continue
            if not here:
                return
            left = ", ".join(full_name(*key) for key in sorted(here)[:5])
            line = f"{node.name}: {len(here)} left: {left}{', ...' if len(here) > 5 else ''}"
            if tells and line != told:
                note(line)
                told = line


def _take(here: dict[tuple[str, str], WorkloadInstance], update: Update, node: Node) -> None:
    key = (update.namespace, update.name)
    if update.kind is UpdateKind.INSTANCE_REMOVED:
        here.pop(key, None)
    elif update.instance is not None and update.instance.binding.node_id == node.id:
        if update.instance.status.state in TERMINAL:
            here.pop(key, None)
        else:
            here[key] = update.instance
