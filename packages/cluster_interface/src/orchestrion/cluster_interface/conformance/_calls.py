"""Checks of the plain calls: capabilities, initialising, queries, errors, closing, many tasks at once."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable

import trio
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.cluster_interface import (
    ClusterCapability,
    ClusterClosed,
    ClusterManager,
    NotInitialized,
    Snapshot,
    SupportsCordon,
)
from orchestrion.conformance_kit import Runner
from orchestrion.shared_types import Node, NodeId, OrchestrationError

from ._kit import KIT
from ._reader import open_reader
from ._strategies import nodes
from ._subject import ClusterUnderTest, nodes_by_id, plain_node, together

_ABSENT = NodeId("kit-no-such-node")


async def _subscribe(manager: ClusterManager) -> None:
    async with manager.subscribe_to_events() as stream:
        await anext(stream)


def queries_of(manager: ClusterManager) -> dict[str, Callable[[], Awaitable[object]]]:
    """Return the queries of a manager by name, each with arguments that suit any cluster."""
    return {
        "get_node": functools.partial(manager.get_node, _ABSENT),
        "list_nodes": manager.list_nodes,
        "subscribe_to_events": functools.partial(_subscribe, manager),
    }


def orders_of(manager: ClusterManager, node_id: NodeId = _ABSENT) -> dict[str, Callable[[], Awaitable[object]]]:
    """Return the orders of a manager with `ClusterCapability.CORDON` by name."""
    assert isinstance(manager, SupportsCordon), f"{type(manager).__name__} declares CORDON and has not its methods"
    return {
        "cordon_node": functools.partial(manager.cordon_node, node_id),
        "drain_node": functools.partial(manager.drain_node, node_id, reason="the kit"),
        "uncordon_node": functools.partial(manager.uncordon_node, node_id),
    }


async def assert_each_raises(
    calls: dict[str, Callable[[], Awaitable[object]]], wanted: type[OrchestrationError], when: str
) -> None:
    """Assert that every call raises an error of that family."""
    for name, call in calls.items():
        try:
            result = await call()
        except wanted:
            continue
        except OrchestrationError as err:
            msg = f"{name} {when} raised {err!r} instead of {wanted.__name__}"
            raise AssertionError(msg) from err
        msg = f"{name} {when} returned {result!r} instead of raising {wanted.__name__}"
        raise AssertionError(msg)


@KIT.clause("CAP-1", "capabilities-are-constant")
async def _capabilities_are_constant(subject: ClusterUnderTest) -> None:
    before = subject.manager.capabilities
    await subject.manager.initialize()
    during = subject.manager.capabilities
    await subject.manager.aclose()
    after = subject.manager.capabilities
    assert before == during == after, f"{before} before initialize, {during} after it, {after} after aclose"


@KIT.clause("CAP-2", "each-capability-comes-with-its-protocol")
async def _capability_has_protocol(subject: ClusterUnderTest) -> None:
    protocols = {ClusterCapability.CORDON: SupportsCordon}
    for capability in subject.manager.capabilities:
        protocol = protocols.get(capability)
        assert protocol is not None, f"the interface knows no capability {capability!r}"
        assert isinstance(subject.manager, protocol), f"{capability} is declared without {protocol.__name__}"


@KIT.clause("INIT-1", "after-initialize-all-nodes-are-listed", needs=("add_node",))
async def _initialize_learns_nodes(subject: ClusterUnderTest) -> None:
    added = [plain_node(f"kit-{number}") for number in range(3)]
    for node in added:
        await subject.add(node)
    await subject.manager.initialize()
    listed = await nodes_by_id(subject.manager)
    assert all(listed.get(node.id) == node for node in added), f"added {added}, listed {listed}"


@KIT.clause("INIT-1", "a-manager-opened-anew-lists-the-same-nodes", needs=("reopen",))
async def _reopened_knows_nodes(subject: ClusterUnderTest) -> None:
    await subject.manager.initialize()
    if subject.add_node is not None:
        await subject.add(plain_node("kit-0"))
    before = await nodes_by_id(subject.manager)
    after = await nodes_by_id(await subject.open_anew())
    assert after.keys() == before.keys(), f"{sorted(before)} before, {sorted(after)} after"


@KIT.clause("INIT-2", "initializing-again-changes-nothing", needs=("touch",))
async def _initialize_is_idempotent(subject: ClusterUnderTest) -> None:
    await subject.manager.initialize()
    await subject.change_something()
    before = await nodes_by_id(subject.manager)
    async with open_reader(subject) as reader:
        await reader.take_until(before)
        await subject.manager.initialize()
        assert await nodes_by_id(subject.manager) == before, "a second initialize changed the nodes"
        await subject.change_something()
        event = await reader.take()
        assert not isinstance(event, Snapshot), "a second initialize began the stream anew"
        await reader.take_until(await nodes_by_id(subject.manager))


@KIT.clause("GET-1", "a-listed-node-is-got-as-it-is-listed")
async def _get_agrees_with_list(subject: ClusterUnderTest) -> None:
    await subject.manager.initialize()
    await subject.some_node()
    for node in await subject.manager.list_nodes():
        assert await subject.manager.get_node(node.id) == node


@KIT.property_clause("GET-1", "a-node-is-got-exactly-as-it-is-now", needs=("add_node", "update_node"))
def _get_is_current(run: Runner[ClusterUnderTest]) -> None:
    async def body(subject: ClusterUnderTest, versions: list[Node]) -> None:
        await subject.manager.initialize()
        for number, node in enumerate(versions):
            await (subject.update(node) if number else subject.add(node))
            got = await subject.manager.get_node(node.id)
            assert got == node, f"got {got}, expected {node}"

    @run.settings()
    @given(versions=st.lists(nodes(st.just(NodeId("kit-0"))), min_size=1, max_size=4))
    def holds(versions: list[Node]) -> None:
        run(body, versions)

    holds()


@KIT.clause("GET-2", "an-unknown-id-gives-none")
async def _unknown_is_none(subject: ClusterUnderTest) -> None:
    await subject.manager.initialize()
    got = await subject.manager.get_node(_ABSENT)
    assert got is None, f"got {got}"


@KIT.clause("GET-2", "a-removed-node-gives-none", needs=("add_node", "remove_node"))
async def _removed_is_none(subject: ClusterUnderTest) -> None:
    await subject.manager.initialize()
    node = plain_node("kit-0")
    await subject.add(node)
    assert await subject.manager.get_node(node.id) == node
    await subject.remove(node.id)
    got = await subject.manager.get_node(node.id)
    assert got is None, f"got {got}"


@KIT.clause("LIST-1", "a-change-shows-in-the-list", needs=("touch",))
async def _list_shows_change(subject: ClusterUnderTest) -> None:
    await subject.manager.initialize()
    seen = await subject.manager.list_nodes()
    for _ in range(3):
        await subject.change_something()
        now = await subject.manager.list_nodes()
        assert now != seen, f"the list is the same after a change: {now}"
        seen = now


@KIT.property_clause(
    "LIST-1", "the-list-is-what-was-added-less-what-was-removed", needs=("add_node", "update_node", "remove_node")
)
def _list_is_current(run: Runner[ClusterUnderTest]) -> None:
    async def body(subject: ClusterUnderTest, added: list[Node], updated: list[Node], removed: int) -> None:
        await subject.manager.initialize()
        wanted = await nodes_by_id(subject.manager)
        for node in added:
            await subject.add(node)
            wanted[node.id] = node
        for before, content in zip(added, updated, strict=False):
            node = evolve(content, id=before.id)
            await subject.update(node)
            wanted[node.id] = node
        for node in added[:removed]:
            await subject.remove(node.id)
            del wanted[node.id]
        listed = await subject.manager.list_nodes()
        assert {node.id: node for node in listed} == wanted, f"listed {listed}, expected {wanted}"
        assert len(listed) == len(wanted), f"listed {len(listed)} nodes, expected {len(wanted)}"

    @run.settings()
    @given(
        added=st.lists(nodes(), max_size=4, unique_by=lambda node: node.id),
        updated=st.lists(nodes(), max_size=2),
        removed=st.integers(min_value=0, max_value=3),
    )
    def holds(added: list[Node], updated: list[Node], removed: int) -> None:
        run(body, added, updated, removed)

    holds()


@KIT.clause("LIST-2", "nodes-ascend-by-id-each-once")
async def _list_ascends(subject: ClusterUnderTest) -> None:
    await subject.manager.initialize()
    if subject.add_node is not None:
        for name in ("node-2", "node-10", "Node-2", "é", "\uffee", "😀", "a", "node"):
            await subject.add(plain_node(name))
    ids = [node.id for node in await subject.manager.list_nodes()]
    assert ids == sorted(set(ids)), f"listed in the order {ids}"


@KIT.clause("LIST-3", "changing-the-list-changes-nothing-else")
async def _list_is_the_callers(subject: ClusterUnderTest) -> None:
    await subject.manager.initialize()
    node = await subject.some_node()
    listed = await subject.manager.list_nodes()
    listed.clear()
    again = await subject.manager.list_nodes()
    assert node in again, f"after the caller cleared its list, list_nodes gives {again}"
    assert await subject.manager.get_node(node.id) == node


@KIT.clause("ERR-1", "queries-before-initialize-raise-not-initialized")
async def _queries_need_initialize(subject: ClusterUnderTest) -> None:
    await assert_each_raises(queries_of(subject.manager), NotInitialized, "before initialize")


@KIT.clause("ERR-1", "orders-before-initialize-raise-not-initialized", requires="cordon")
async def _orders_need_initialize(subject: ClusterUnderTest) -> None:
    await assert_each_raises(orders_of(subject.manager), NotInitialized, "before initialize")


@KIT.clause("ERR-2", "queries-after-close-raise-cluster-closed")
async def _closed_refuses_queries(subject: ClusterUnderTest) -> None:
    await subject.manager.initialize()
    await subject.manager.aclose()
    await assert_each_raises(queries_of(subject.manager), ClusterClosed, "after aclose")


@KIT.clause("ERR-2", "initialize-after-close-raises-cluster-closed")
async def _closed_refuses_initialize(subject: ClusterUnderTest) -> None:
    await subject.manager.initialize()
    await subject.manager.aclose()
    await assert_each_raises({"initialize": subject.manager.initialize}, ClusterClosed, "after aclose")


@KIT.clause("ERR-2", "orders-after-close-raise-cluster-closed", requires="cordon")
async def _closed_refuses_orders(subject: ClusterUnderTest) -> None:
    await subject.manager.initialize()
    node = await subject.some_node()
    await subject.manager.aclose()
    await assert_each_raises(orders_of(subject.manager, node.id), ClusterClosed, "after aclose")


@KIT.clause("CLOSE-1", "closing-twice-succeeds")
async def _close_twice(subject: ClusterUnderTest) -> None:
    await subject.manager.initialize()
    await subject.manager.aclose()
    try:
        await subject.manager.aclose()
    except OrchestrationError as err:
        msg = f"the second aclose raised {err!r}"
        raise AssertionError(msg) from err


@KIT.clause("CLOSE-2", "closing-before-initialize-succeeds")
async def _close_uninitialized(subject: ClusterUnderTest) -> None:
    try:
        await subject.manager.aclose()
    except OrchestrationError as err:
        msg = f"aclose before initialize raised {err!r}"
        raise AssertionError(msg) from err
    await assert_each_raises({"initialize": subject.manager.initialize}, ClusterClosed, "after aclose")


@KIT.clause("CLOSE-3", "closing-leaves-the-cluster-as-it-is", needs=("reopen",))
async def _close_touches_no_node(subject: ClusterUnderTest) -> None:
    await subject.manager.initialize()
    await subject.some_node()
    before = await nodes_by_id(subject.manager)
    await subject.manager.aclose()
    after = await nodes_by_id(await subject.open_anew())
    assert after.keys() == before.keys(), f"{sorted(before)} before aclose, {sorted(after)} after it"


@KIT.clause("CONC-1", "many-tasks-call-at-once", needs=("touch",))
async def _many_tasks(subject: ClusterUnderTest) -> None:
    manager = subject.manager
    await manager.initialize()
    node = await subject.some_node()

    async def query() -> None:
        for _ in range(5):
            assert await manager.get_node(node.id) is not None, "a node that is there was not got"
            assert node.id in {listed.id for listed in await manager.list_nodes()}, (
                "a node that is there was not listed"
            )

    async def follow() -> None:
        async with open_reader(subject) as reader:
            await reader.take("a Snapshot")
            assert node.id in reader.nodes, "a node that is there was not in a Snapshot"

    async def change() -> None:
        for _ in range(3):
            await subject.change_something()
            await trio.lowlevel.checkpoint()

    await together(change, *[query] * 4, *[follow] * 4, manager.initialize)
    async with open_reader(subject) as reader:
        await reader.take_until(await nodes_by_id(manager))


@KIT.clause("CONC-1", "two-tasks-initialize-at-once")
async def _two_initialize(subject: ClusterUnderTest) -> None:
    async def initialize_and_list() -> None:
        await subject.manager.initialize()
        await subject.manager.list_nodes()

    await together(initialize_and_list, initialize_and_list)
