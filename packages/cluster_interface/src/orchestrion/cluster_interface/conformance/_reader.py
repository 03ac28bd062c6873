"""Takes the events of one stream and applies them, knowing nothing of the implementation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import assert_never

from attrs import define, field
from orchestrion.cluster_interface import (
    ClusterEvent,
    ClusterManager,
    NodeAdded,
    NodeRemoved,
    NodeUpdated,
    Resync,
    Snapshot,
)
from orchestrion.shared_types import Node, NodeId

from ._subject import ClusterUnderTest

NodeChange = NodeAdded | NodeUpdated | NodeRemoved


@define
class Reader:
    """One reader of a stream.

    It applies without judging: what a clause says about the events is asserted by the clause's checks over `events`.

    Attributes:
        subject: Says how long to wait.
        stream: The stream.
        events: All events taken so far.
        nodes: What the events say the cluster has.
    """

    subject: ClusterUnderTest
    stream: AsyncIterator[ClusterEvent]
    events: list[ClusterEvent] = field(factory=list)
    nodes: dict[NodeId, Node] = field(factory=dict)

    async def take(self, expected: str = "an event") -> ClusterEvent:
        """Take and apply the next event.

        Raises:
            AssertionError: None came in time, or the iteration has ended without an error.
        """
        with self.subject.patience(f"no event came; expected {expected} after {self.events[-3:]}"):
            try:
                event = await anext(self.stream)
            except StopAsyncIteration:
                msg = f"the iteration stopped; expected {expected}"
                raise AssertionError(msg) from None
            self.events.append(event)
            self.apply(event)
        return self.events[-1]

    async def take_until(self, wanted: Mapping[NodeId, Node]) -> None:
        """Take events until they say that the cluster has exactly these nodes; at least the first snapshot.

        Raises:
            AssertionError: No event came in time although something is missing.
        """
        while not self.events or isinstance(self.events[-1], Resync) or self.nodes != wanted:
            await self.take(f"what leads from {sorted(self.nodes)} to {_differences(self.nodes, wanted)}")

    def apply(self, event: ClusterEvent) -> None:
        """Do to `nodes` what the event says."""
        match event:
            case Snapshot():
                self.nodes = {node.id: node for node in event.nodes}
            case NodeAdded() | NodeUpdated():
                self.nodes[event.node.id] = event.node
            case NodeRemoved():
                self.nodes.pop(event.node_id, None)
            case Resync():
                pass
            case _:
                assert_never(event)


async def anext_applied(reader: Reader) -> None:
    """Take and apply the next event, waiting for as long as it takes."""
    event = await anext(reader.stream)
    reader.events.append(event)
    reader.apply(event)


@asynccontextmanager
async def open_reader(subject: ClusterUnderTest, manager: ClusterManager | None = None) -> AsyncIterator[Reader]:
    """Open a stream of the subject's manager, or of another, and read it."""
    async with (subject.manager if manager is None else manager).subscribe_to_events() as stream:
        yield Reader(subject, stream)


def node_id_of(event: NodeChange) -> NodeId:
    """Return the id of the node that a change is about."""
    return event.node_id if isinstance(event, NodeRemoved) else event.node.id


def node_of(event: NodeChange) -> Node | None:
    """Return the node as a change says that it is, or None where it says that it is gone."""
    return None if isinstance(event, NodeRemoved) else event.node


def assert_ascending(snapshot: Snapshot) -> None:
    """Assert SNAPSHOT-1."""
    ids = [node.id for node in snapshot.nodes]
    assert ids == sorted(set(ids)), f"a snapshot's nodes are not ascending by id, each once: {ids}"


def assert_revisions_ascend(events: list[ClusterEvent]) -> None:
    """Assert EVENTS-2: each change has a higher revision than the event before it."""
    latest: int | None = None
    for position, event in enumerate(events):
        if isinstance(event, Resync):
            continue
        if latest is not None and not isinstance(event, Snapshot):
            assert event.revision > latest, (
                f"event {position} has revision {event.revision}, the one before has {latest}: {event}"
            )
        latest = event.revision


def assert_kinds_fit(events: list[ClusterEvent]) -> None:
    """Assert EVENTS-5: what is added was not there; what is updated was and differs; what is removed was there."""
    nodes: dict[NodeId, Node] = {}
    for position, event in enumerate(events):
        where = f"event {position}"
        match event:
            case Snapshot():
                nodes = {node.id: node for node in event.nodes}
            case NodeAdded(node):
                assert node.id not in nodes, f"{where} adds the node {node.id!r}, which the reader has"
                nodes[node.id] = node
            case NodeUpdated(node):
                assert node.id in nodes, f"{where} updates the node {node.id!r}, which the reader does not have"
                assert nodes[node.id] != node, f"{where} updates the node {node.id!r} with no difference"
                nodes[node.id] = node
            case NodeRemoved(node_id):
                assert node_id in nodes, f"{where} removes the node {node_id!r}, which the reader does not have"
                del nodes[node_id]
            case Resync():
                pass
            case _:
                assert_never(event)


def assert_resync_brings_snapshot(events: list[ClusterEvent]) -> None:
    """Assert EVENTS-6: after `Resync` comes a `Snapshot` of no lower revision, and a later `Snapshot` comes only so."""
    latest: int | None = None
    for position, event in enumerate(events):
        before = events[position - 1] if position else None
        if isinstance(before, Resync):
            assert isinstance(event, Snapshot), f"event {position} follows Resync and is no Snapshot: {event}"
            assert latest is None or event.revision >= latest, (
                f"event {position}: the Snapshot after Resync has revision {event.revision}, below {latest}"
            )
        elif position:
            assert not isinstance(event, Snapshot), f"event {position} is a Snapshot without a Resync before it"
        if not isinstance(event, Resync):
            latest = event.revision
    assert not events or not isinstance(events[-1], Resync), "a Resync is not followed by a Snapshot"


def _differences(have: Mapping[NodeId, Node], wanted: Mapping[NodeId, Node]) -> str:
    missing = [node_id for node_id in sorted(wanted) if have.get(node_id) != wanted[node_id]]
    extra = [node_id for node_id in sorted(have) if node_id not in wanted]
    return f"the cluster's state (missing or old: {missing}, gone: {extra})"
