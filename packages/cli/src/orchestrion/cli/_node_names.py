"""How nodes are told to people: by name, with enough of the id to tell two of the same name apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen
from orchestrion.shared_types import Denied, Node, NodeId, NodeNotFound

from ._named import node_meant
from ._reader import Reader
from ._tables import harmless

_ID_CHARACTERS = 8
_ALONE_CHARACTERS = 12


@frozen
class NodeNames:
    """Names of the nodes that are known; others are told by the beginning of their id."""

    _names: Mapping[NodeId, str]

    def of(self, node_id: NodeId, /) -> str:
        """Return a node for people."""
        name = self._names.get(node_id, "")
        if name in ("", node_id):
            return harmless(node_id[:_ALONE_CHARACTERS])
        return harmless(f"{name} ({node_id[:_ID_CHARACTERS]})")

    def within(self, text: str, /) -> str:
        """Return a text in which the ids of nodes that are known are replaced."""
        for node_id in sorted(self._names, key=len, reverse=True):
            if len(node_id) > _ALONE_CHARACTERS:  # a short id could be part of any word, and is read as easily
                text = text.replace(node_id, self.of(node_id))
        return text


async def names_at(reader: Reader) -> NodeNames:
    """Return the names of the nodes that somebody may see; who may see none is told ids."""
    try:
        return names_of(await reader.list_nodes())
    except Denied:
        return NodeNames({})


def names_of(nodes: Iterable[Node]) -> NodeNames:
    """Return the names of nodes."""
    return NodeNames({node.id: node.name for node in nodes})


def named_node(nodes: Sequence[Node], name: str) -> Node:
    """Return the node of a name, or of an id or the beginning of one.

    Raises:
        NodeNotFound: There is none.
        ConfigInvalid: There are several.
    """
    found = node_meant(nodes, name, lambda node: (node.id, node.name))
    if found is None:
        there = ", ".join(sorted(node.name for node in nodes)) or "none"
        raise NodeNotFound(
            f"there is no node {name!r:.100}; there are: {there}", remedy="`orchestrion node ls` says more."
        )
    return found
