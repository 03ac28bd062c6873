"""Checks of streams that need nothing but a way to change something, so that any implementation can be asked."""

from __future__ import annotations

import functools

import trio
from attrs import evolve
from orchestrion.cluster_interface import ClusterClosed, ClusterEvent, NodeAdded, NodeRemoved, NodeUpdated, Snapshot
from orchestrion.shared_types import OrchestrationError
from trio.testing import wait_all_tasks_blocked

from ._kit import KIT
from ._reader import (
    Reader,
    anext_applied,
    assert_ascending,
    assert_kinds_fit,
    assert_resync_brings_snapshot,
    assert_revisions_ascend,
    open_reader,
)
from ._subject import ClusterUnderTest, background, nodes_by_id, plain_node


async def _read_changes(subject: ClusterUnderTest, count: int) -> Reader:
    """Return a reader that has taken `count` changes, each when it happened."""
    await subject.manager.initialize()
    async with open_reader(subject) as reader:
        await reader.take_until(await nodes_by_id(subject.manager))
        for _ in range(count):
            await subject.change_something()
            await reader.take_until(await nodes_by_id(subject.manager))
    return reader


async def _read_behind(subject: ClusterUnderTest) -> Reader:
    """Return a reader that took nothing while much happened, and then everything."""
    await subject.manager.initialize()
    async with open_reader(subject) as reader:
        await reader.take("a Snapshot")
        for _ in range(subject.many_changes):
            await subject.change_something()
        await reader.take_until(await nodes_by_id(subject.manager))
    return reader


@KIT.clause("EVENTS-1", "the-first-event-is-a-snapshot-of-all-nodes")
async def _snapshot_first(subject: ClusterUnderTest) -> None:
    await subject.manager.initialize()
    await subject.some_node()
    async with open_reader(subject) as reader:
        event = await reader.take("a Snapshot")
        assert isinstance(event, Snapshot), f"the first event is {event}"
        listed = await nodes_by_id(subject.manager)
        assert reader.nodes == listed, f"the Snapshot has {sorted(reader.nodes)}, the cluster {sorted(listed)}"


@KIT.clause("SNAPSHOT-1", "nodes-ascend-by-id-each-once")
async def _snapshot_ascends(subject: ClusterUnderTest) -> None:
    await subject.manager.initialize()
    if subject.add_node is not None:
        for name in ("node-2", "node-10", "Node-2", "é", "\uffee", "😀", "a", "node"):
            await subject.add(plain_node(name))
    async with open_reader(subject) as reader:
        event = await reader.take("a Snapshot")
        assert isinstance(event, Snapshot), f"the first event is {event}"
        assert_ascending(event)


@KIT.clause("EVENTS-2", "revisions-of-changes-ascend", needs=("touch",))
async def _revisions_ascend(subject: ClusterUnderTest) -> None:
    reader = await _read_changes(subject, 5)
    assert_revisions_ascend(reader.events)


@KIT.clause("EVENTS-4", "a-change-is-given-at-last", needs=("touch",))
async def _change_is_given(subject: ClusterUnderTest) -> None:
    reader = await _read_changes(subject, 5)
    assert reader.nodes == await nodes_by_id(subject.manager)


@KIT.clause("EVENTS-4", "a-waiting-reader-is-woken-by-a-change", needs=("touch",))
async def _waiting_reader_is_woken(subject: ClusterUnderTest) -> None:
    await subject.manager.initialize()
    taken: list[ClusterEvent] = []
    async with open_reader(subject) as reader:
        await reader.take_until(await nodes_by_id(subject.manager))
        done = trio.Event()

        async def wait() -> None:
            taken.append(await anext(reader.stream))
            done.set()

        async with background(wait):
            await wait_all_tasks_blocked()
            await subject.change_something()
            await subject.happens(done)
    assert taken, "a reader that waits was not woken by a change"


@KIT.clause("EVENTS-4", "readers-that-read-while-changes-happen-have-everything-in-the-end", needs=("touch",))
async def _readers_in_the_rush(subject: ClusterUnderTest) -> None:
    await subject.manager.initialize()
    async with open_reader(subject) as quick, open_reader(subject) as slow:
        for reader in (quick, slow):
            await reader.take_until(await nodes_by_id(subject.manager))

        async def read_quickly() -> None:
            while True:
                await anext_applied(quick)

        async def read_slowly() -> None:
            while True:
                await anext_applied(slow)
                await trio.sleep(0.001)

        async with background(read_quickly), background(read_slowly):
            for _ in range(21):
                await subject.change_something()
                await trio.lowlevel.checkpoint()
        for reader in (quick, slow):
            await reader.take_until(await nodes_by_id(subject.manager))
            assert_revisions_ascend(reader.events)
            assert_kinds_fit(reader.events)
            assert_resync_brings_snapshot(reader.events)


@KIT.clause(
    "EVENTS-5", "adding-updating-and-removing-are-told-as-such", needs=("add_node", "update_node", "remove_node")
)
async def _kinds_are_told(subject: ClusterUnderTest) -> None:
    await subject.manager.initialize()
    node = plain_node("kit-0")
    changed = evolve(node, labels={"changed": "yes"})
    async with open_reader(subject) as reader:
        await reader.take_until(await nodes_by_id(subject.manager))
        await subject.add(node)
        added = await reader.take("NodeAdded")
        await subject.update(node)
        await subject.update(changed)
        updated = await reader.take("NodeUpdated")
        await subject.remove(node.id)
        removed = await reader.take("NodeRemoved")
    assert isinstance(added, NodeAdded), f"adding a node gave {added}"
    assert added.node == node, f"adding {node} gave {added}"
    assert isinstance(updated, NodeUpdated), f"updating a node gave {updated}"
    assert updated.node == changed, f"updating a node to {changed} gave {updated}"
    assert isinstance(removed, NodeRemoved), f"removing a node gave {removed}"
    assert removed.node_id == node.id, f"removing {node.id!r} gave {removed}"


@KIT.clause("EVENTS-5", "kinds-fit-what-the-reader-has", needs=("touch",))
async def _kinds_fit(subject: ClusterUnderTest) -> None:
    reader = await _read_changes(subject, 5)
    assert_kinds_fit(reader.events)


@KIT.clause("EVENTS-6", "a-reader-that-fell-behind-recovers-by-a-snapshot", needs=("touch",))
async def _behind_recovers(subject: ClusterUnderTest) -> None:
    reader = await _read_behind(subject)
    assert_resync_brings_snapshot(reader.events)


@KIT.clause("EVENTS-7", "a-reader-that-never-reads-delays-nobody", needs=("touch",))
async def _lazy_reader_delays_nobody(subject: ClusterUnderTest) -> None:
    await subject.manager.initialize()
    async with open_reader(subject), open_reader(subject) as reader:
        await reader.take_until(await nodes_by_id(subject.manager))
        for number in range(subject.many_changes):
            with subject.patience(f"change {number + 1} waits for a reader that does not read"):
                await subject.change_something()
                wanted = await nodes_by_id(subject.manager)
            await reader.take_until(wanted)


@KIT.clause("EVENTS-8", "many-streams-each-give-everything", needs=("touch",))
async def _many_streams(subject: ClusterUnderTest) -> None:
    await subject.manager.initialize()
    async with (
        open_reader(subject) as first,
        open_reader(subject) as second,
        open_reader(subject) as third,
        open_reader(subject) as fourth,
    ):
        readers = [first, second, third, fourth]
        for _ in range(3):
            wanted = await nodes_by_id(subject.manager)
            for reader in readers:
                await reader.take_until(wanted)
            await subject.change_something()
        wanted = await nodes_by_id(subject.manager)
        for reader in readers:
            await reader.take_until(wanted)


@KIT.clause("EVENTS-8", "leaving-a-stream-leaves-the-others", needs=("touch",))
async def _leaving_is_private(subject: ClusterUnderTest) -> None:
    await subject.manager.initialize()
    async with open_reader(subject) as stays:
        await stays.take_until(await nodes_by_id(subject.manager))
        async with open_reader(subject) as leaves:
            await leaves.take_until(await nodes_by_id(subject.manager))
            await subject.change_something()
        await subject.change_something()
        await stays.take_until(await nodes_by_id(subject.manager))


async def _until_closed(reader: Reader) -> None:
    while True:
        try:
            await anext(reader.stream)
        except ClusterClosed:
            return
        except StopAsyncIteration:
            msg = "the iteration stopped instead of ending with ClusterClosed"
            raise AssertionError(msg) from None
        except OrchestrationError as err:
            msg = f"the iteration ended with {err!r} instead of ClusterClosed"
            raise AssertionError(msg) from err


@KIT.clause("EVENTS-9", "a-waiting-reader-is-woken-by-closing")
async def _close_wakes_reader(subject: ClusterUnderTest) -> None:
    await subject.manager.initialize()
    async with open_reader(subject) as reader:
        await reader.take_until(await nodes_by_id(subject.manager))
        ends: list[str] = []
        ended = trio.Event()

        async def wait() -> None:
            try:
                await _until_closed(reader)
            except AssertionError as err:
                ends.append(str(err))
            ended.set()

        async with background(wait):
            await wait_all_tasks_blocked()
            await subject.manager.aclose()
            woken = await subject.happens(ended)
        assert woken, "a reader that waits was not woken by aclose"
        assert not ends, ends[0]


@KIT.clause("EVENTS-9", "a-reader-that-was-away-ends-with-cluster-closed", needs=("touch",))
async def _close_ends_iteration(subject: ClusterUnderTest) -> None:
    await subject.manager.initialize()
    async with open_reader(subject) as reader:
        await reader.take("a Snapshot")
        for _ in range(3):
            await subject.change_something()
        await subject.manager.aclose()
        with subject.patience("the iteration did not end after aclose"):
            await _until_closed(reader)


@KIT.clause("VIEW-1", "queries-show-what-a-stream-has-given", needs=("touch",))
async def _queries_are_not_behind_streams(subject: ClusterUnderTest) -> None:
    await subject.manager.initialize()
    shown = functools.partial(nodes_by_id, subject.manager)
    async with open_reader(subject) as reader:
        await reader.take_until(await shown())
        for _ in range(5):
            count = len(reader.events)
            await subject.change_something()
            while len(reader.events) == count:
                await reader.take()
            for node_id, node in reader.nodes.items():
                assert await subject.manager.get_node(node_id) == node, f"get_node is behind the stream for {node_id!r}"
            assert await shown() == reader.nodes, "list_nodes is behind the stream"
