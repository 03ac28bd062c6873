"""The view that the scheduler decides on: kept up to date piece by piece, and equal to one that is made at once."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.mocks import mock_nodes
from orchestrion.orchestrator_core._cluster import view as view_module
from orchestrion.orchestrator_core._cluster.view import Placeable, View, ViewKeeper, check_room
from orchestrion.scheduler_interface import AssignNode, NodeView, PlacedInstance, node_view
from orchestrion.shared_types import (
    InstanceKey,
    Node,
    NodeId,
    NodeStatus,
    Protocol,
    Resources,
    SchedulingFailure,
    Uid,
)

NODES = mock_nodes(5)


def placed(slot: int, kind: int) -> PlacedInstance:
    """Return an instance that takes something of everything, by its kind."""
    return PlacedInstance(
        key=InstanceKey(Uid("w"), slot, 1),
        namespace="default",
        workload="web",
        labels={},
        priority=0,
        demand=Resources(cpu_millicores=100 * kind, memory_bytes=kind, disk_bytes=7, extended={"tpu": kind % 2}),
        host_ports=frozenset({(Protocol.TCP, 8000 + kind)}) if kind else frozenset(),
        device_thousandths={"gpu-0": 100 * kind} if kind > 1 else {},
    )


steps = st.lists(
    st.one_of(
        st.tuples(st.just("node"), st.integers(0, 4), st.booleans()),
        st.tuples(st.just("gone"), st.integers(0, 4)),
        st.tuples(st.just("lease"), st.integers(0, 4), st.booleans()),
        st.tuples(st.just("put"), st.integers(0, 4), st.integers(0, 9), st.integers(0, 3)),
        st.tuples(st.just("remove"), st.integers(0, 9)),
        st.tuples(st.just("look")),
    ),
    max_size=60,
)


class Expected:
    """The same, without any cleverness."""

    def __init__(self) -> None:
        self.nodes: dict[NodeId, Node] = {}
        self.leased: set[NodeId] = set()
        self.held: dict[InstanceKey, tuple[NodeId, PlacedInstance]] = {}

    def views(self) -> list[NodeView]:
        return [
            node_view(
                node if node_id in self.leased else evolve(node, status=NodeStatus.UNKNOWN),
                [instance for where, instance in self.held.values() if where == node_id],
            )
            for node_id, node in sorted(self.nodes.items())
        ]


def take(step: tuple[object, ...], keeper: ViewKeeper, expected: Expected) -> None:
    """Do one step to both."""
    match step:
        case ("node", int() as n, bool() as cordoned):
            node = evolve(NODES[n], cordoned=cordoned)
            keeper.set_node(node)
            expected.nodes[node.id] = node
        case ("gone", int() as n):
            keeper.remove_node(NODES[n].id)
            expected.nodes.pop(NODES[n].id, None)
        case ("lease", int() as n, bool() as leased):
            keeper.set_leased(NODES[n].id, leased)
            (expected.leased.add if leased else expected.leased.discard)(NODES[n].id)
        case ("put", int() as n, int() as slot, int() as kind):
            instance = placed(slot, kind)
            keeper.put(NODES[n].id, instance)
            expected.held[instance.key] = NODES[n].id, instance
        case ("remove", int() as slot):
            key = placed(slot, 0).key
            keeper.remove(key)
            expected.held.pop(key, None)


def differing(before: list[NodeView], after: list[NodeView]) -> set[NodeId]:
    """Return the ids of nodes that differ, have come or have gone."""
    old, new = ({view.node.id: view for view in views} for views in (before, after))
    return {node_id for node_id in old.keys() | new.keys() if old.get(node_id) != new.get(node_id)}


def check_history(seen: list[tuple[View, list[NodeView]]]) -> None:
    """Check that no view has changed since it was made, and that the last one knows the way from each."""
    last, at_last = seen[-1]
    for view, at_once in seen:
        assert list(view) == at_once
        assert all(view.get(each.node.id) == each for each in at_once)
        changed = last.changes_since(view.revision)
        assert changed is not None
        assert differing(at_once, at_last) <= changed
        if view is not last:
            assert view.changes_since(last.revision) is None or view.revision == last.revision


@given(steps)
def test_a_view_equals_one_that_is_made_at_once_and_knows_the_way_from_earlier_ones(
    taken: list[tuple[object, ...]],
) -> None:
    keeper, expected = ViewKeeper(), Expected()
    seen = [(keeper.view(), expected.views())]
    for step in taken:
        take(step, keeper, expected)
        if step == ("look",):
            seen.append((keeper.view(), expected.views()))
    seen.append((keeper.view(), expected.views()))
    check_history(seen)


def test_a_change_copies_one_page_of_a_large_cluster_and_no_more() -> None:
    keeper = ViewKeeper()
    nodes = mock_nodes(1_000)
    for node in nodes:
        keeper.set_node(node)
    before = keeper.view()
    keeper.set_leased(nodes[500].id, True)
    after = keeper.view()
    shared = [old is new for old, new in zip(before.table.pages, after.table.pages, strict=True)]
    assert shared.count(False) == 1
    assert [old.node.id for old, new in zip(before, after, strict=True) if old != new] == [nodes[500].id]
    assert after.table.places is before.table.places


def test_only_the_latest_changes_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view_module, "MAX_CHANGES", 50)
    keeper = ViewKeeper()
    (node,) = mock_nodes(1)
    keeper.set_node(node)
    first = keeper.view()
    for n in range(101):
        keeper.set_leased(node.id, n % 2 == 0)
        keeper.view()
    last = keeper.view()
    assert last.changes_since(first.revision) is None
    assert last.changes_since(last.revision - 50) == frozenset({node.id})
    assert len(last.history.changed) <= 100


def test_nothing_is_remembered_of_nodes_that_have_come_and_gone() -> None:
    keeper = ViewKeeper()
    for node in mock_nodes(1_000):
        keeper.set_node(node)
        keeper.set_leased(node.id, True)
        keeper.put(node.id, placed(0, 3))
        keeper.view()
        keeper.remove_node(node.id)
        keeper.remove(placed(0, 3).key)
        keeper.set_leased(node.id, False)
        keeper.set_leased(node.id, False)
    assert len(keeper.view()) == 0
    assert keeper.remembered == 0


# -- what a scheduler may decide --------------------------------------------------------------------------------------

_ROOM = Resources(cpu_millicores=1_000, memory_bytes=1_000, extended={"tpu": 2})
SMALL = evolve(NODES[0], capacity=_ROOM, allocatable=_ROOM)


def decided(count: int, **devices: tuple[str, ...]) -> list[AssignNode]:
    """Return decisions that put so many slots on the small node."""
    return [AssignNode(slot=InstanceKey(Uid("w"), slot, 1), node_id=SMALL.id, devices=devices) for slot in range(count)]


def asking(*ports: int, **demand: int) -> Placeable:
    """Return what each of the slots takes."""
    extended = {name: amount for name, amount in demand.items() if name == "tpu"}
    plain = {name: amount for name, amount in demand.items() if name != "tpu"}
    wanted = Resources(cpu_millicores=plain.get("cpu", 0), memory_bytes=plain.get("memory", 0), extended=extended)
    return Placeable(wanted, frozenset((Protocol.TCP, port) for port in ports))


@pytest.mark.parametrize(
    ("decisions", "placeable"),
    [
        (decided(10), asking(cpu=100, memory=100, tpu=0)),
        (decided(2), asking(tpu=1)),
        (decided(1), asking(80)),
        (decided(1, main=("gpu-0", "gpu-1")), asking()),
    ],
)
def test_what_fits_a_node_is_let_through(decisions: list[AssignNode], placeable: Placeable) -> None:
    check_room(NodeView(node=SMALL), decisions, placeable)


@pytest.mark.parametrize(
    ("decisions", "placeable"),
    [
        (decided(11), asking(cpu=100)),
        (decided(11), asking(memory=100)),
        (decided(3), asking(tpu=1)),
        (decided(2), asking(80)),
        (decided(2, main=("gpu-0",)), asking()),
    ],
)
def test_what_is_too_much_for_a_node_is_refused(decisions: list[AssignNode], placeable: Placeable) -> None:
    with pytest.raises(SchedulingFailure, match="asked more of node"):
        check_room(NodeView(node=SMALL), decisions, placeable)


def test_what_needs_nothing_of_what_is_overdrawn_is_let_through() -> None:
    overdrawn = NodeView(node=SMALL, reserved=Resources(cpu_millicores=2_000))
    check_room(overdrawn, decided(1), asking(memory=100))
    with pytest.raises(SchedulingFailure):
        check_room(overdrawn, decided(1), asking(cpu=1))


def test_a_node_that_does_not_exist_is_refused() -> None:
    with pytest.raises(SchedulingFailure, match="does not exist"):
        check_room(None, decided(1), asking())
