"""Checks of `ClusterCapability.CORDON`."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from attrs import evolve
from orchestrion.cluster_interface import NodeUpdated, SupportsCordon
from orchestrion.conformance_kit import Runner, cancellation_sweep
from orchestrion.shared_types import ConfigInvalid, Drain, Node, NodeId, NodeNotFound

from ._calls import assert_each_raises, orders_of
from ._kit import KIT
from ._reader import open_reader
from ._subject import ClusterUnderTest, nodes_by_id, together

_DEADLINE = datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
_UNKNOWN = NodeId("kit-no-such-node")


def _orders(manager: object) -> SupportsCordon:
    assert isinstance(manager, SupportsCordon), f"{type(manager).__name__} declares CORDON and has not its methods"
    return manager


async def _start(subject: ClusterUnderTest) -> tuple[SupportsCordon, NodeId]:
    """Initialise, and return the orders and a node that has none."""
    await subject.manager.initialize()
    node = await subject.some_node()
    assert not node.cordoned, f"the factory gave a cluster with a cordoned node: {node}"
    return _orders(subject.manager), node.id


async def _now(subject: ClusterUnderTest, node_id: NodeId) -> Node:
    node = await subject.manager.get_node(node_id)
    assert node is not None, f"the node {node_id!r} is gone"
    return node


def _without_observations(node: Node) -> Node:
    """Return the node without what may change at any time by itself."""
    return evolve(node, conditions=())


@KIT.clause("CORDON-1", "a-cordoned-node-is-cordoned", requires="cordon")
async def _cordon(subject: ClusterUnderTest) -> None:
    orders, node_id = await _start(subject)
    await orders.cordon_node(node_id)
    node = await _now(subject, node_id)
    assert node.cordoned, f"after cordon_node: {node}"
    assert node.drain is None, f"after cordon_node: {node}"


@KIT.clause("CORDON-2", "cordoning-again-changes-nothing", requires="cordon")
async def _cordon_is_idempotent(subject: ClusterUnderTest) -> None:
    orders, node_id = await _start(subject)
    await orders.cordon_node(node_id)
    cordoned = await _now(subject, node_id)
    async with open_reader(subject) as reader:
        await reader.take_until(await nodes_by_id(subject.manager))
        await orders.cordon_node(node_id)
        again = await _now(subject, node_id)
        assert _without_observations(again) == _without_observations(cordoned), f"{cordoned} became {again}"
        await orders.uncordon_node(node_id)
        event = await reader.take("NodeUpdated")
        assert isinstance(event, NodeUpdated), f"uncordoning gave {event}"
        assert not event.node.cordoned, f"cordoning again gave {event}"


@KIT.clause("CORDON-2", "cordoning-a-drained-node-leaves-its-drain", requires="cordon")
async def _cordon_keeps_drain(subject: ClusterUnderTest) -> None:
    orders, node_id = await _start(subject)
    await orders.drain_node(node_id, reason="new disk", deadline=_DEADLINE)
    await orders.cordon_node(node_id)
    node = await _now(subject, node_id)
    assert node.drain == Drain(reason="new disk", deadline=_DEADLINE), f"after drain_node and cordon_node: {node}"


async def _assert_unknown_raises(subject: ClusterUnderTest, order: str) -> None:
    await subject.manager.initialize()
    before = await nodes_by_id(subject.manager)
    calls = orders_of(subject.manager, _UNKNOWN)
    await assert_each_raises({order: calls[order]}, NodeNotFound, "of an unknown node")
    assert (await nodes_by_id(subject.manager)).keys() == before.keys(), f"{order} of an unknown node changed the nodes"


@KIT.clause("CORDON-3", "cordoning-an-unknown-node-raises-node-not-found", requires="cordon")
async def _cordon_unknown(subject: ClusterUnderTest) -> None:
    await _assert_unknown_raises(subject, "cordon_node")


@KIT.clause("CORDON-4", "a-cordon-survives-reopening", requires="cordon", needs=("reopen",))
async def _cordon_survives(subject: ClusterUnderTest) -> None:
    orders, node_id = await _start(subject)
    await orders.cordon_node(node_id)
    node = await (await subject.open_anew()).get_node(node_id)
    assert node is not None, "the node is gone after reopening"
    assert node.cordoned, f"after reopening: {node}"
    assert node.drain is None, f"after reopening: {node}"


@KIT.clause("CORDON-4", "a-drain-survives-reopening", requires="cordon", needs=("reopen",))
async def _drain_survives(subject: ClusterUnderTest) -> None:
    orders, node_id = await _start(subject)
    await orders.drain_node(node_id, reason="neue Platte ☂", deadline=_DEADLINE)
    node = await (await subject.open_anew()).get_node(node_id)
    assert node is not None, "the node is gone after reopening"
    assert node.drain == Drain(reason="neue Platte ☂", deadline=_DEADLINE), f"after reopening: {node}"


@KIT.clause("CORDON-4", "an-uncordon-survives-reopening", requires="cordon", needs=("reopen",))
async def _uncordon_survives(subject: ClusterUnderTest) -> None:
    orders, node_id = await _start(subject)
    await orders.drain_node(node_id, reason="new disk")
    await orders.uncordon_node(node_id)
    node = await (await subject.open_anew()).get_node(node_id)
    assert node is not None, "the node is gone after reopening"
    assert not node.cordoned, f"after reopening: {node}"
    assert node.drain is None, f"after reopening: {node}"


@KIT.clause("CORDON-5", "orders-change-nothing-else-of-the-node", requires="cordon")
async def _orders_change_nothing_else(subject: ClusterUnderTest) -> None:
    orders, node_id = await _start(subject)
    before = _without_observations(await _now(subject, node_id))
    drain = Drain(reason="new disk", deadline=_DEADLINE)
    await orders.cordon_node(node_id)
    assert _without_observations(await _now(subject, node_id)) == evolve(before, cordoned=True)
    await orders.drain_node(node_id, reason=drain.reason, deadline=drain.deadline)
    assert _without_observations(await _now(subject, node_id)) == evolve(before, cordoned=True, drain=drain)
    await orders.uncordon_node(node_id)
    assert _without_observations(await _now(subject, node_id)) == before


@KIT.clause("CORDON-5", "streams-give-orders-like-other-changes", requires="cordon")
async def _streams_give_orders(subject: ClusterUnderTest) -> None:
    _, node_id = await _start(subject)
    async with open_reader(subject) as reader:
        await reader.take_until(await nodes_by_id(subject.manager))
        for order in orders_of(subject.manager, node_id).values():
            await order()
            await reader.take_until(await nodes_by_id(subject.manager))


@KIT.property_clause("CORDON-6", "a-cancelled-order-has-happened-or-not-and-may-be-repeated", requires="cordon")
def _orders_are_whole(run: Runner[ClusterUnderTest]) -> None:
    plain, cordoned = (False, None), (True, None)
    drained = (True, Drain(reason="new disk", deadline=_DEADLINE))

    async def cordon(orders: SupportsCordon, node_id: NodeId) -> None:
        await orders.cordon_node(node_id)

    async def drain(orders: SupportsCordon, node_id: NodeId) -> None:
        await orders.drain_node(node_id, reason="new disk", deadline=_DEADLINE)

    async def uncordon(orders: SupportsCordon, node_id: NodeId) -> None:
        await orders.uncordon_node(node_id)

    def sweep(
        first: Callable[[SupportsCordon, NodeId], Awaitable[None]] | None,
        order: Callable[[SupportsCordon, NodeId], Awaitable[None]],
        before: tuple[bool, Drain | None],
        after: tuple[bool, Drain | None],
    ) -> None:
        ids: list[NodeId] = []

        async def prepare(subject: ClusterUnderTest) -> None:
            orders, node_id = await _start(subject)
            ids.append(node_id)
            if first is not None:
                await first(orders, node_id)

        async def operate(subject: ClusterUnderTest) -> None:
            await order(_orders(subject.manager), ids[-1])

        async def verify(subject: ClusterUnderTest, _cancelled: bool) -> None:
            node = await _now(subject, ids[-1])
            assert (node.cordoned, node.drain) in (before, after), f"an order was cancelled half-way: {node}"
            await operate(subject)
            node = await _now(subject, ids[-1])
            assert (node.cordoned, node.drain) == after, f"repeating a cancelled order led to {node}"

        cancellation_sweep(run, operate, verify, prepare=prepare)

    sweep(None, cordon, plain, cordoned)
    sweep(None, drain, plain, drained)
    sweep(drain, uncordon, drained, plain)


@KIT.clause("CONC-1", "orders-at-once-leave-one-of-them", requires="cordon")
async def _orders_at_once(subject: ClusterUnderTest) -> None:
    orders, node_id = await _start(subject)
    reasons = [f"reason {number}" for number in range(8)]

    await together(*[functools.partial(orders.drain_node, node_id, reason=reason) for reason in reasons])
    node = await _now(subject, node_id)
    assert node.drain is not None, f"after eight orders to drain at once: {node}"
    assert node.drain.reason in reasons, f"after eight orders to drain at once: {node}"
    async with open_reader(subject) as reader:
        await reader.take_until(await nodes_by_id(subject.manager))


@KIT.clause("DRAIN-1", "a-drained-node-is-cordoned-and-has-the-drain", requires="cordon")
async def _drain(subject: ClusterUnderTest) -> None:
    orders, node_id = await _start(subject)
    await orders.drain_node(node_id, reason="new disk", deadline=_DEADLINE)
    node = await _now(subject, node_id)
    assert node.cordoned, f"after drain_node: {node}"
    assert node.drain == Drain(reason="new disk", deadline=_DEADLINE), f"after drain_node: {node}"


@KIT.clause("DRAIN-1", "a-drain-without-deadline-has-none", requires="cordon")
async def _drain_for_ever(subject: ClusterUnderTest) -> None:
    orders, node_id = await _start(subject)
    await orders.drain_node(node_id, reason="new disk")
    node = await _now(subject, node_id)
    assert node.drain == Drain(reason="new disk"), f"after drain_node: {node}"


@KIT.clause("DRAIN-2", "draining-again-replaces-reason-and-deadline", requires="cordon")
async def _drain_replaces(subject: ClusterUnderTest) -> None:
    orders, node_id = await _start(subject)
    for drain in (
        Drain(reason="new disk", deadline=_DEADLINE),
        Drain(reason="new disk", deadline=_DEADLINE + timedelta(hours=1)),
        Drain(reason="newer disk", deadline=_DEADLINE + timedelta(hours=1)),
        Drain(reason="newer disk"),
    ):
        await orders.drain_node(node_id, reason=drain.reason, deadline=drain.deadline)
        node = await _now(subject, node_id)
        assert node.drain == drain, f"ordered {drain}, the node has {node.drain}"


@KIT.clause("DRAIN-3", "draining-an-unknown-node-raises-node-not-found", requires="cordon")
async def _drain_unknown(subject: ClusterUnderTest) -> None:
    await _assert_unknown_raises(subject, "drain_node")


@KIT.clause("DRAIN-4", "a-bad-order-raises-config-invalid-and-changes-nothing", requires="cordon")
async def _drain_refuses(subject: ClusterUnderTest) -> None:
    orders, node_id = await _start(subject)
    before = _without_observations(await _now(subject, node_id))
    for reason, deadline in (
        ("", None),
        (" \t", None),
        ("one\ntwo", None),
        ("\ud800", None),
        ("new disk", datetime(2030, 1, 1)),  # noqa: DTZ001 # that it has no zone is what must be refused
    ):
        try:
            await orders.drain_node(node_id, reason=reason, deadline=deadline)
        except ConfigInvalid:
            pass
        else:
            msg = f"drain_node accepted the reason {reason!r} with the deadline {deadline}"
            raise AssertionError(msg)
        after = _without_observations(await _now(subject, node_id))
        assert after == before, f"a refused order changed {before} to {after}"


@KIT.clause("UNCORDON-1", "an-uncordoned-node-is-neither-cordoned-nor-drained", requires="cordon")
async def _uncordon(subject: ClusterUnderTest) -> None:
    orders, node_id = await _start(subject)
    for drained in (False, True):
        if drained:
            await orders.drain_node(node_id, reason="new disk", deadline=_DEADLINE)
        else:
            await orders.cordon_node(node_id)
        await orders.uncordon_node(node_id)
        node = await _now(subject, node_id)
        assert not node.cordoned, f"after uncordon_node: {node}"
        assert node.drain is None, f"after uncordon_node: {node}"


@KIT.clause("UNCORDON-2", "uncordoning-a-node-without-orders-changes-nothing", requires="cordon")
async def _uncordon_is_idempotent(subject: ClusterUnderTest) -> None:
    orders, node_id = await _start(subject)
    before = _without_observations(await _now(subject, node_id))
    async with open_reader(subject) as reader:
        await reader.take_until(await nodes_by_id(subject.manager))
        await orders.uncordon_node(node_id)
        after = _without_observations(await _now(subject, node_id))
        assert after == before, f"{before} became {after}"
        await orders.cordon_node(node_id)
        event = await reader.take("NodeUpdated")
        assert isinstance(event, NodeUpdated), f"cordoning gave {event}"
        assert event.node.cordoned, f"uncordoning a node without orders gave {event}"


@KIT.clause("UNCORDON-3", "uncordoning-an-unknown-node-raises-node-not-found", requires="cordon")
async def _uncordon_unknown(subject: ClusterUnderTest) -> None:
    await _assert_unknown_raises(subject, "uncordon_node")
