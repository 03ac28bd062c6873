"""Checks over random histories: a plain ledger of what really was is compared with what readers were given."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import assert_never

from attrs import define, field
from hypothesis import example, given
from orchestrion.cluster_interface import NodeAdded, NodeRemoved, NodeUpdated, Resync, Snapshot
from orchestrion.conformance_kit import Runner
from orchestrion.shared_types import Node, NodeId

from ._kit import KIT
from ._reader import (
    Reader,
    assert_ascending,
    assert_kinds_fit,
    assert_resync_brings_snapshot,
    assert_revisions_ascend,
    node_id_of,
    node_of,
    open_reader,
)
from ._strategies import EVENTFUL, POOL, READERS, Burst, Open, Read, RemoveNode, SetNode, Step, histories, numbered
from ._subject import ClusterUnderTest, nodes_by_id

_NEEDS = ("add_node", "update_node", "remove_node")


@define
class _View:
    """What `get_node` said right after a stream had given something about a node."""

    node_id: NodeId
    given: Node | None
    got: Node | None


@define
class _Ledger:
    """What really was.

    Attributes:
        nodes: What the cluster has.
        states: For each node all states that it ever had, in order; None where it was not there.
        readers: All readers, in the order of opening.
        views: What queries said about events.
    """

    nodes: dict[NodeId, Node]
    states: dict[NodeId, list[Node | None]]
    readers: list[Reader] = field(factory=list)
    views: list[_View] = field(factory=list)
    number: int = 0

    def record(self, node_id: NodeId, node: Node | None) -> None:
        self.states.setdefault(node_id, [None]).append(node)
        if node is None:
            del self.nodes[node_id]
        else:
            self.nodes[node_id] = node

    def states_of(self, node_id: NodeId) -> list[Node | None]:
        return self.states.get(node_id, [None])


async def _set(subject: ClusterUnderTest, ledger: _Ledger, node: Node) -> None:
    ledger.number += 1
    node = numbered(node, ledger.number)
    await (subject.update(node) if node.id in ledger.nodes else subject.add(node))
    ledger.record(node.id, node)


async def _read(subject: ClusterUnderTest, ledger: _Ledger, reader: Reader, count: int) -> None:
    for _ in range(count):
        # A reader that has everything would wait for ever.
        if reader.events and not isinstance(reader.events[-1], Resync) and reader.nodes == ledger.nodes:
            return
        event = await reader.take("a change that has happened")
        if isinstance(event, NodeAdded | NodeUpdated | NodeRemoved):
            node_id = node_id_of(event)
            got = await subject.manager.get_node(node_id)
            ledger.views.append(_View(node_id, node_of(event), got))


async def _do(subject: ClusterUnderTest, ledger: _Ledger, step: Step, stack: AsyncExitStack) -> None:
    match step:
        case SetNode(node):
            await _set(subject, ledger, node)
        case RemoveNode(node_id):
            if node_id in ledger.nodes:
                await subject.remove(node_id)
                ledger.record(node_id, None)
        case Burst(node_id, count):
            for _ in range(count if node_id in ledger.nodes else 0):
                await _set(subject, ledger, ledger.nodes[node_id])
        case Read(reader, count):
            await _read(subject, ledger, ledger.readers[reader % len(ledger.readers)], count)
        case Open(eager):
            ledger.readers.append(await stack.enter_async_context(open_reader(subject)))
            if eager:
                await ledger.readers[-1].take("a Snapshot")
        case _:
            assert_never(step)


async def _live(subject: ClusterUnderTest, history: tuple[Step, ...]) -> _Ledger:
    """Let a history happen. The first reader is never behind; others read as the history says; all read to the end."""
    await subject.manager.initialize()
    nodes = await nodes_by_id(subject.manager)
    ledger = _Ledger(nodes, {node_id: [node] for node_id, node in nodes.items()})
    async with AsyncExitStack() as stack:
        for number in range(READERS):
            await _do(subject, ledger, Open(eager=number != READERS - 1), stack)
        for step in history:
            await _do(subject, ledger, step, stack)
            await _read(subject, ledger, ledger.readers[0], len(POOL) * 100)
        for reader in ledger.readers:
            await reader.take_until(ledger.nodes)
    return ledger


def _over_histories(
    clause: str, sentence: str
) -> Callable[[Callable[[_Ledger], None]], Callable[[Runner[ClusterUnderTest]], None]]:
    """Declare an assertion about what a history left as a check."""

    def declare(assertion: Callable[[_Ledger], None]) -> Callable[[Runner[ClusterUnderTest]], None]:
        async def body(subject: ClusterUnderTest, history: tuple[Step, ...]) -> None:
            assertion(await _live(subject, history))

        def check(run: Runner[ClusterUnderTest]) -> None:
            @run.settings()
            @given(history=histories())
            @example(history=EVENTFUL)
            def holds(history: tuple[Step, ...]) -> None:
                run(body, history)

            holds()

        return KIT.property_clause(clause, sentence, needs=_NEEDS)(check)

    return declare


@_over_histories("EVENTS-1", "in-any-history-every-stream-begins-with-a-snapshot")
def _streams_begin_with_snapshot(ledger: _Ledger) -> None:
    for reader in ledger.readers:
        assert isinstance(reader.events[0], Snapshot), f"a stream begins with {reader.events[0]}"


@_over_histories("SNAPSHOT-1", "in-any-history-snapshots-ascend-by-id")
def _snapshots_ascend(ledger: _Ledger) -> None:
    for reader in ledger.readers:
        for event in reader.events:
            if isinstance(event, Snapshot):
                assert_ascending(event)


@_over_histories("EVENTS-2", "in-any-history-revisions-of-changes-ascend")
def _revisions_ascend(ledger: _Ledger) -> None:
    for reader in ledger.readers:
        assert_revisions_ascend(reader.events)


@_over_histories("EVENTS-3", "in-any-history-a-reader-sees-states-that-really-were-in-their-order")
def _states_really_were(ledger: _Ledger) -> None:
    for reader in ledger.readers:
        positions: dict[NodeId, int] = {}
        for event in reader.events:
            if isinstance(event, Snapshot):
                seen = {node.id: node for node in event.nodes}
                changes = [(node_id, seen.get(node_id)) for node_id in ledger.states.keys() | seen.keys()]
            elif isinstance(event, Resync):
                continue
            else:
                changes = [(node_id_of(event), node_of(event))]
            for node_id, node in changes:
                states = ledger.states_of(node_id)
                start = positions.get(node_id, 0)
                later = [index for index in range(start, len(states)) if states[index] == node]
                assert later, (
                    f"the reader was given {node} for {node_id!r}, which it "
                    f"{'had been before' if node in states else 'never was'}; states so far: {states[: start + 1]}"
                )
                positions[node_id] = later[0]


@_over_histories("EVENTS-4", "in-any-history-every-reader-has-the-clusters-state-in-the-end")
def _readers_converge(ledger: _Ledger) -> None:
    for reader in ledger.readers:
        assert reader.nodes == ledger.nodes


@_over_histories("EVENTS-5", "in-any-history-kinds-fit-what-the-reader-has")
def _kinds_fit(ledger: _Ledger) -> None:
    for reader in ledger.readers:
        assert_kinds_fit(reader.events)


@_over_histories("EVENTS-6", "in-any-history-a-resync-brings-a-snapshot")
def _resync_brings_snapshot(ledger: _Ledger) -> None:
    for reader in ledger.readers:
        assert_resync_brings_snapshot(reader.events)


@_over_histories("VIEW-1", "in-any-history-get-node-is-not-behind-a-stream")
def _queries_are_not_behind(ledger: _Ledger) -> None:
    for view in ledger.views:
        states = ledger.states_of(view.node_id)
        given = states.index(view.given) if view.given in states else 0
        shown = max((index for index, state in enumerate(states) if state == view.got), default=-1)
        assert shown >= given, f"a stream gave {view.given} for {view.node_id!r}, and then get_node gave {view.got}"
