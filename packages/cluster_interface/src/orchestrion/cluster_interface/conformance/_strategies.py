"""What the kit draws its examples from."""

from __future__ import annotations

from typing import Final

from attrs import evolve, frozen
from hypothesis import strategies as st
from orchestrion.shared_types import (
    Device,
    Node,
    NodeCondition,
    NodeId,
    NodeStatus,
    Resources,
    Taint,
    TaintEffect,
    Topology,
)

_WORDS: Final = st.text(alphabet="abz0-._/é😀", max_size=6)
_AMOUNTS: Final = st.integers(min_value=0, max_value=2**62 - 1)

POOL: Final = tuple(NodeId(f"node-{letter}") for letter in "abcd")
"""The ids that histories are about: few, so that changes meet each other."""


def node_ids() -> st.SearchStrategy[NodeId]:
    """Draw ids, of which some sort differently as numbers, in lower case or by UTF-16 than by code point."""
    tricky = ["node-2", "node-10", "Node-2", "node", "é", "\uffee", "😀", "a/b", " "]
    return st.one_of(st.sampled_from(tricky), st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)).map(NodeId)


def nodes(ids: st.SearchStrategy[NodeId] | None = None) -> st.SearchStrategy[Node]:
    """Draw nodes without orders."""
    return st.builds(
        _node,
        node_id=node_ids() if ids is None else ids,
        name=_WORDS,
        address=st.sampled_from(["127.0.0.1", "10.0.0.7", "::1", "host.example"]),
        status=st.sampled_from(NodeStatus),
        labels=st.dictionaries(_WORDS, _WORDS, max_size=3),
        taints=st.lists(
            st.builds(Taint, key=_WORDS, value=_WORDS, effect=st.sampled_from(TaintEffect)),
            max_size=2,
            unique_by=lambda taint: (taint.key, taint.effect),
        ).map(tuple),
        capacity=st.builds(
            Resources,
            cpu_millicores=_AMOUNTS,
            memory_bytes=_AMOUNTS,
            disk_bytes=_AMOUNTS,
            extended=st.dictionaries(st.sampled_from(["licences", "hugepages"]), _AMOUNTS, max_size=2),
        ),
        reserve=st.builds(Resources, cpu_millicores=_AMOUNTS, memory_bytes=_AMOUNTS),
        devices=st.lists(
            st.builds(Device, id=st.sampled_from(["gpu-0", "gpu-1"]), model=_WORDS, memory_bytes=_AMOUNTS),
            max_size=2,
            unique_by=lambda device: device.id,
        ).map(tuple),
        topology=st.builds(Topology, region=_WORDS, zone=_WORDS, rack=_WORDS),
        drivers=st.frozensets(st.sampled_from(["process", "docker", "slurm"])),
        conditions=st.lists(
            st.builds(NodeCondition, type=st.sampled_from(["DiskPressure", "MemoryPressure"]), active=st.booleans()),
            max_size=2,
            unique_by=lambda condition: condition.type,
        ).map(tuple),
    )


def _node(
    *,
    node_id: NodeId,
    name: str,
    address: str,
    status: NodeStatus,
    labels: dict[str, str],
    taints: tuple[Taint, ...],
    capacity: Resources,
    reserve: Resources,
    devices: tuple[Device, ...],
    topology: Topology,
    drivers: frozenset[str],
    conditions: tuple[NodeCondition, ...],
) -> Node:
    return Node(
        id=node_id,
        name=name,
        address=address,
        status=status,
        labels=labels,
        taints=taints,
        capacity=capacity,
        allocatable=capacity - reserve,
        devices=devices,
        topology=topology,
        drivers=drivers,
        conditions=conditions,
    )


@frozen
class SetNode:
    """Add the node, or update the one of its id."""

    node: Node


@frozen
class RemoveNode:
    """Remove the node if it is there."""

    node_id: NodeId


@frozen
class Burst:
    """Change the node `count` times in a row if it is there."""

    node_id: NodeId
    count: int


@frozen
class Read:
    """Let a reader take up to `count` events, as long as there is something that it does not know."""

    reader: int
    count: int


@frozen
class Open:
    """Open another stream; an `eager` reader takes its first event at once."""

    eager: bool


Step = SetNode | RemoveNode | Burst | Read | Open

READERS: Final = 3
"""How many streams are open when a history begins."""


def histories() -> st.SearchStrategy[tuple[Step, ...]]:
    """Draw what happens to a cluster of up to four nodes, and who reads when."""
    ids = st.sampled_from(POOL)
    # Plain nodes: what a node may hold is asked elsewhere, and drawing it here would take most of the time.
    node = st.builds(Node, id=ids, name=_WORDS, status=st.sampled_from(NodeStatus))
    step = st.one_of(
        st.builds(SetNode, node),
        st.builds(SetNode, node),
        st.builds(RemoveNode, ids),
        st.builds(Burst, ids, st.integers(min_value=2, max_value=12)),
        st.builds(Read, st.integers(min_value=0, max_value=READERS), st.integers(min_value=1, max_value=6)),
        st.builds(Open, st.booleans()),
    )
    return st.lists(step, min_size=4, max_size=25).map(tuple)


EVENTFUL: Final[tuple[Step, ...]] = (
    SetNode(Node(id=POOL[1], name="b")),
    SetNode(Node(id=POOL[0], name="a")),
    Read(2, 1),
    SetNode(Node(id=POOL[0], name="a, changed")),
    SetNode(Node(id=POOL[1], name="b, changed")),
    SetNode(Node(id=POOL[0], name="a, changed again")),
    Read(2, 2),
    Burst(POOL[0], 12),
    Read(1, 1),
    RemoveNode(POOL[1]),
    Open(eager=False),
    SetNode(Node(id=POOL[2], name="c")),
    SetNode(Node(id=POOL[1], name="b, back")),
    Read(1, 3),
    Burst(POOL[2], 12),
)
"""A history in which everything happens; chance might leave something out of a small number of examples."""


def numbered(node: Node, number: int) -> Node:
    """Return the node with a label that says which version it is."""
    return evolve(node, labels={**node.labels, "version": str(number)})
