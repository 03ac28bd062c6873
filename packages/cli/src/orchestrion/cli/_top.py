"""`top`: what nodes and instances are promised, beside what they really use."""

from __future__ import annotations

import shutil
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from typing import Final, Literal, TextIO

import trio
from attrs import frozen
from orchestrion.control_plane import ApiClient, HttpControl
from orchestrion.control_plane.usage import NOTHING, ContainerUsage, Used, together
from orchestrion.shared_types import Node, NodeId, NotFound, Resources, structure_answer

from ._node_names import NodeNames, names_at
from ._nodes import node_cells, node_titles, node_uses, promised_of, state_of
from ._output import Form, coloured, columns, is_for_people, note, show, shows_colours
from ._places import Place, namespaces_of, place_of
from ._reach import reach_owner
from ._running import run_async
from ._tables import amount_of_cpu, amount_of_memory
from ._where import Where
from ._words import TERMINAL, full_name

Topic = Literal["nodes", "instances"]

FIRST_SECONDS: Final = 0.5
"""Between the first two looks, which tell together what processors do now."""

REDRAW_SECONDS: Final = 2.0

_AWAY: Final = "\x1b[H\x1b[J"
"""Lets a terminal begin at its top, with nothing below."""


@frozen(kw_only=True)
class NodeTop:
    """A node, what of it is promised, and what is used.

    Attributes:
        node: The node.
        promised: What its instances are promised together.
        instances: How many hold a place there.
        used: What they use together; None where that can't be told of all of them.
    """

    node: Node
    promised: Resources
    instances: int
    used: Used | None


@frozen(kw_only=True)
class InstanceTop:
    """An instance that runs, what it is promised, and what it uses.

    Attributes:
        namespace: Of its workload.
        instance: `workload.index.epoch`.
        node_id: Where it runs.
        promised: What its containers are promised together.
        used: What they use together; None where that can't be told of all of them.
    """

    namespace: str
    instance: str
    node_id: NodeId
    promised: Resources
    used: Used | None


@frozen
class Looks:
    """What is known to be used at a moment.

    Attributes:
        found: Containers that run, each once.
        untold: Nodes that more is used on than can be told.
        knows: Whether anything can be told at all: older servers can't.
    """

    found: Mapping[tuple[str, str, str, int], ContainerUsage]
    untold: frozenset[NodeId]
    knows: bool = True

    def used(self, before: Looks) -> dict[tuple[str, str], Used]:
        """Return what each instance uses, by earlier looks."""
        found = defaultdict[tuple[str, str], list[Used]](list)
        for key, look in self.found.items():
            found[look.namespace, look.instance].append(look.since(before.found.get(key)))
        return {name: together(every) for name, every in found.items()}


def run_top(topic: Topic, where: Where, form: Form, *, once: bool) -> int:
    """Print what nodes or instances are promised and use: again and again at a terminal, otherwise once."""
    place = place_of(where)
    live = not once and is_for_people(form) and shows_colours(sys.stdout)
    run_async(_watch, topic, place, None if topic == "nodes" else namespaces_of(where, place), form, live)
    return 0


async def _watch(topic: Topic, place: Place, namespace: str | None, form: Form, live: bool) -> None:
    async with reach_owner(place) as control:
        before = await _looks(control, namespace)
        if not before.knows:
            note("this server does not tell what is used, only what is promised")
        if before.found:
            await trio.sleep(FIRST_SECONDS)
        while True:
            now = await _looks(control, namespace)
            show_ = _show_nodes if topic == "nodes" else _show_instances
            if not live:
                await show_(control, now, now.used(before), namespace, form)
                return
            with redrawn():
                await show_(control, now, now.used(before), namespace, form)
            before = now
            await trio.sleep(REDRAW_SECONDS)


@contextmanager
def redrawn() -> Iterator[None]:
    """Let what is printed meanwhile take the place of all that a terminal shows, as much of it as there is room for."""
    with redirect_stdout(_Terminal(sys.stdout)) as printed:
        yield
    rows = shutil.get_terminal_size().lines - 1
    print(_AWAY + "\n".join(printed.getvalue().splitlines()[: max(1, rows)]), flush=True)


class _Terminal(StringIO):
    """Takes what is printed for a terminal, colours and all."""

    def __init__(self, terminal: TextIO) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        """Whether it is for a terminal."""
        return self._terminal.isatty()


_USAGE: Final[Mapping[str, type]] = {"items": list, "untold_nodes": list}


async def _looks(control: HttpControl, namespace: str | None) -> Looks:
    query = {} if namespace is None else {"namespace": namespace}
    try:
        told = (await ApiClient(control.peer).ask("GET", "/api/v1/cluster/usage", query=query, expects=_USAGE)).data
    except NotFound:
        return Looks({}, frozenset(), knows=False)
    looks = [structure_answer(item, ContainerUsage) for item in told["items"]]
    return Looks({look.key: look for look in looks}, frozenset(NodeId(each) for each in told["untold_nodes"]))


async def _show_nodes(
    control: HttpControl, looks: Looks, used: Mapping[tuple[str, str], Used], _namespace: str | None, form: Form
) -> None:
    on = defaultdict[NodeId, list[Used]](list)
    places = {(look.namespace, look.instance): look.node_id for look in looks.found.values()}
    for key, amount in used.items():
        on[places[key]].append(amount)
    tops = [
        NodeTop(
            node=use.node,
            promised=use.promised,
            instances=use.instances,
            used=together(on[use.node.id]) if looks.knows and use.node.id not in looks.untold else None,
        )
        for use in await node_uses(control)
    ]
    show(
        tops, form, table=lambda items: columns(_node_rows(items, wide=form == "wide")), name=lambda top: top.node.name
    )


def _node_rows(tops: Iterable[NodeTop], *, wide: bool) -> list[tuple[str, ...]]:
    rows = [(*_titles("NODE", "STATE", "INSTANCES", *_AMOUNTS), *node_titles(wide=wide))]
    for top in tops:
        node, has = top.node, top.node.allocatable
        rows.append(
            (
                node.name,
                state_of(node),
                str(top.instances),
                f"{amount_of_cpu(top.promised.cpu_millicores)}/{amount_of_cpu(has.cpu_millicores)}",
                _cpu(top.used),
                f"{amount_of_memory(top.promised.memory_bytes)}/{amount_of_memory(has.memory_bytes)}",
                _memory(top.used),
                *node_cells(node, wide=wide),
            )
        )
    return rows


async def _show_instances(
    control: HttpControl, looks: Looks, used: Mapping[tuple[str, str], Used], namespace: str | None, form: Form
) -> None:
    instances = await control.list_instances(namespace=namespace)
    definitions = {
        (view.definition.metadata.namespace, view.definition.metadata.name): view.definition
        for view in await control.list_workloads(namespace=namespace)
    }
    tops = [
        InstanceTop(
            namespace=one.namespace,
            instance=one.name,
            node_id=one.binding.node_id,
            promised=promised_of(definitions.get((one.namespace, one.workload))),
            used=used.get((one.namespace, one.name)),
        )
        for one in instances
        if one.status.state not in TERMINAL
    ]
    tops.sort(key=lambda top: (-((top.used or NOTHING).cpu_millicores or 0), top.namespace, top.instance))
    names = await names_at(control)
    show(tops, form, table=lambda items: columns(_instance_rows(items, names)), name=lambda top: top.instance)


def _instance_rows(tops: Iterable[InstanceTop], names: NodeNames) -> list[tuple[str, ...]]:
    rows = [_titles("INSTANCE", "NODE", *_AMOUNTS, "PROCESSES")]
    rows += [
        (
            full_name(top.namespace, top.instance),
            names.of(top.node_id),
            amount_of_cpu(top.promised.cpu_millicores),
            _cpu(top.used),
            amount_of_memory(top.promised.memory_bytes),
            _memory(top.used),
            "?" if top.used is None else str(top.used.processes),
        )
        for top in tops
    ]
    return rows


_AMOUNTS: Final = ("CPU", "USED", "MEMORY", "USED")


def _titles(*titles: str) -> tuple[str, ...]:
    return tuple(coloured(title, "dim") for title in titles)


def _cpu(used: Used | None) -> str:
    return "?" if used is None or used.cpu_millicores is None else amount_of_cpu(used.cpu_millicores)


def _memory(used: Used | None) -> str:
    return "?" if used is None else amount_of_memory(used.memory_bytes)
