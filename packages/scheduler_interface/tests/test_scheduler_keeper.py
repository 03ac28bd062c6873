"""Views that are kept up to date change by change: equal to those that are made at once, and to themselves later."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.scheduler_interface import Draft, KeptView, NodeChange, NodeView, PlacedInstance, ViewKeeper, node_view
from orchestrion.scheduler_interface import _kept as kept
from orchestrion.shared_types import (
    InstanceKey,
    Node,
    NodeId,
    NodeStatus,
    Protocol,
    Resources,
    Uid,
)


def some_nodes(number: int) -> list[Node]:
    room = Resources(cpu_millicores=4_000, memory_bytes=4_000, extended={"tpu": 4})
    names = [f"node-{n:04}" for n in range(number)]
    return [Node(id=NodeId(name), name=name, capacity=room, allocatable=room) for name in names]


NODES = some_nodes(5)


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
        st.tuples(st.just("glance"), st.integers(0, 4)),
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


def instances_of(views: list[NodeView]) -> dict[NodeId, dict[InstanceKey, PlacedInstance]]:
    return {view.node.id: dict(view.instances) for view in views}


def replayed(earlier: list[NodeView], changes: Sequence[NodeChange]) -> dict[NodeId, dict[InstanceKey, PlacedInstance]]:
    """Return what nodes hold once changes have come upon earlier ones, of those that themselves have not changed."""
    held = instances_of(earlier)
    for node_id in {change.node_id for change in changes if change.arrived is None and change.left is None}:
        held.pop(node_id, None)
    for change in changes:
        here = held.get(change.node_id)
        if here is not None and change.left is not None:
            assert here.pop(change.left.key) == change.left
        if here is not None and change.arrived is not None:
            assert change.arrived.key not in here
            here[change.arrived.key] = change.arrived
    return held


def check_history(seen: list[tuple[KeptView, list[NodeView]]]) -> None:
    """Check that no view has changed since it was made, and that the last one knows the way from each."""
    last, at_last = seen[-1]
    now = instances_of(at_last)
    for view, at_once in seen:
        assert list(view) == at_once
        assert all(view.get(each.node.id) == each for each in at_once)
        changed, changes = last.changes_since(view.revision), last.node_changes_since(view.revision)
        assert changed is not None
        assert changes is not None
        assert differing(at_once, at_last) <= changed
        assert all(now[node_id] == held for node_id, held in replayed(at_once, changes).items())
        if view is not last:
            assert view.changes_since(last.revision) is None or view.revision == last.revision


@given(steps, st.integers(1, 5))
def test_a_view_equals_one_that_is_made_at_once_and_knows_the_way_from_earlier_ones(
    taken: list[tuple[object, ...]], most: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept, "MAX_UNDONE", most)
        keeper, expected = ViewKeeper(), Expected()
        seen = [(keeper.view(), expected.views())]
        for step in taken:
            take(step, keeper, expected)
            match step:
                case ("look",):
                    seen.append((keeper.view(), expected.views()))
                case ("glance", int() as n):
                    seen[-1 - n % len(seen)][0].get(NODES[n].id)
        seen.append((keeper.view(), expected.views()))
        check_history(seen)


@given(steps)
def test_saying_again_what_is_the_case_changes_nothing(taken: list[tuple[object, ...]]) -> None:
    keeper, expected = ViewKeeper(), Expected()
    for step in taken:
        take(step, keeper, expected)
        before = keeper.view()
        take(step, keeper, expected)
        assert keeper.view() is before


def test_a_change_is_told_with_what_was_there_before() -> None:
    keeper = ViewKeeper()
    for node in NODES[:2]:
        keeper.set_node(node)
    first, second = (node.id for node in NODES[:2])
    before = keeper.view()
    keeper.put(first, placed(0, 1))
    keeper.put(first, placed(0, 2))
    keeper.put(second, placed(0, 2))
    keeper.set_leased(first, True)
    assert keeper.view().node_changes_since(before.revision) == [
        NodeChange(first, placed(0, 1), None),
        NodeChange(first, placed(0, 2), placed(0, 1)),
        NodeChange(first, None, placed(0, 2)),
        NodeChange(second, placed(0, 2), None),
        NodeChange(first, None, None),
    ]


def test_a_view_that_is_kept_for_long_leans_on_few_later_changes() -> None:
    keeper = ViewKeeper()
    keeper.set_node(NODES[0])
    keeper.put(NODES[0].id, placed(0, 1))
    kept_for_long = keeper.view()
    for n in range(10 * kept.MAX_UNDONE):
        keeper.put(NODES[0].id, placed(1 + n % 3, n % 4))
        keeper.view()
    state = kept_for_long.table.get(NODES[0].id)
    assert state is not None
    assert state.place is None
    assert len(state.changes) == len(state.revisions) <= kept.MAX_UNDONE
    (view,) = kept_for_long
    assert list(view.instances) == [placed(0, 1).key]


def test_changes_of_a_node_that_nobody_looks_at_are_not_piled_up() -> None:
    keeper = ViewKeeper()
    keeper.set_node(NODES[0])
    before = keeper.view()
    for n in range(10 * kept.MAX_UNDONE):
        keeper.put(NODES[0].id, placed(n % 3, n % 4))
    state = keeper.view().table.get(NODES[0].id)
    assert state is not None
    assert len(state.changes) <= kept.MAX_UNDONE
    assert [len(view.instances) for view in (*before, *keeper.view())] == [0, 3]


def test_a_node_that_has_not_changed_is_the_same_object_in_the_next_view() -> None:
    keeper = ViewKeeper()
    for node in NODES:
        keeper.set_node(node)
    before = list(keeper.view())
    keeper.put(NODES[1].id, placed(0, 1))
    after = list(keeper.view())
    assert [old is new for old, new in zip(before, after, strict=True)] == [True, False, True, True, True]


def test_views_of_nodes_are_made_when_they_are_asked_for() -> None:
    keeper = ViewKeeper()
    for node in NODES:
        keeper.set_node(node)
    view = keeper.view()
    view.get(NODES[1].id)
    assert [state.made is not None for state in view.table.in_order()] == [False, True, False, False, False]


def test_a_draft_is_no_earlier_or_later_state_of_the_real_cluster() -> None:
    keeper = ViewKeeper()
    for node in NODES:
        keeper.set_node(node)
    keeper.put(NODES[0].id, placed(0, 1))
    real = keeper.view()
    draft = Draft(real)
    first = draft.view()
    assert list(first) == list(real)
    draft.put(NODES[1].id, [placed(1, 2)])
    draft.remove(NODES[0].id, placed(0, 1).key)
    draft.remove(NODES[0].id, placed(9, 1).key)
    draft.put(NodeId("unknown"), [placed(2, 2)])
    second = draft.view()
    held = {view.node.id: list(view.instances) for view in second if view.instances}
    assert held == {NODES[1].id: [placed(1, 2).key]}
    assert second.changes_since(first.revision) == frozenset({NODES[0].id, NODES[1].id})
    assert second.changes_since(real.revision) is None
    assert real.changes_since(second.revision) is None
    assert Draft(real).view().changes_since(second.revision) is None
    assert list(keeper.view()) == list(real)


def test_the_views_of_one_keeper_are_no_earlier_or_later_states_of_anothers() -> None:
    keepers = [ViewKeeper(), ViewKeeper()]
    views = [keepers[0].view(), keepers[1].view()]
    for number in range(3):
        for keeper in keepers:
            keeper.set_node(NODES[number])
            views.append(keeper.view())
    assert len({view.revision for view in views}) == len(views)
    for one, other in ((views[0::2], views[1::2]), (views[1::2], views[0::2])):
        assert all(late.changes_since(early.revision) is None for late in one for early in other)
        assert all(late.node_changes_since(early.revision) is None for late in one for early in other)
        assert one[-1].changes_since(one[0].revision) == frozenset(node.id for node in NODES[:3])


def test_a_draft_shows_a_node_as_it_is_told_and_none_where_it_is_taken_away() -> None:
    keeper = ViewKeeper()
    for node in NODES:
        keeper.set_node(node)
    draft = Draft(keeper.view())
    first = draft.view()
    draft.replace(NODES[0].id, node_view(NODES[0], [placed(3, 1)]))
    draft.replace(NODES[1].id, None)
    second = draft.view()
    draft.replace(NODES[1].id, node_view(NODES[1]))
    assert [list(view.instances) for view in second if view.node.id == NODES[0].id] == [[placed(3, 1).key]]
    assert second.get(NODES[1].id) is None
    assert second.changes_since(first.revision) == frozenset({NODES[0].id, NODES[1].id})
    assert len(draft.view()) == len(first) == len(second) + 1


def test_a_draft_says_who_came_and_who_left() -> None:
    keeper = ViewKeeper()
    for node in NODES:
        keeper.set_node(node)
        keeper.set_leased(node.id, True)
    keeper.put(NODES[0].id, placed(0, 1))
    draft = Draft(keeper.view())
    before = draft.view().revision
    draft.put(NODES[1].id, [placed(1, 2)])
    draft.remove(NODES[0].id, placed(0, 1).key)
    draft.replace(NODES[1].id, node_view(NODES[1], [placed(1, 3)]))
    draft.replace(NODES[2].id, node_view(evolve(NODES[2], cordoned=True)))
    told = draft.view().node_changes_since(before)
    assert told == [
        NodeChange(NODES[1].id, placed(1, 2)),
        NodeChange(NODES[0].id, None, placed(0, 1)),
        NodeChange(NODES[1].id, placed(1, 3), placed(1, 2)),
        NodeChange(NODES[2].id),
    ]


drafted = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 4), st.integers(0, 9), st.integers(0, 3)),
        st.tuples(st.just("remove"), st.integers(0, 4), st.integers(0, 9)),
        st.tuples(
            st.just("replace"),
            st.integers(0, 4),
            st.booleans(),
            st.dictionaries(st.integers(0, 9), st.integers(0, 3), max_size=4),
        ),
        st.tuples(st.just("take away"), st.integers(0, 4)),
        st.tuples(st.just("look")),
    ),
    max_size=30,
)


@given(drafted)
def test_a_draft_tells_change_by_change_what_has_become_of_each_node(taken: list[tuple[object, ...]]) -> None:
    keeper = ViewKeeper()
    for node in NODES:
        keeper.set_node(node)
    for n in range(5):
        keeper.put(NODES[n].id, placed(n, n % 4))
    draft = Draft(keeper.view())
    seen = [(draft.view(), list(draft.view()))]
    for step in (*taken, ("look",)):
        match step:
            case ("put", int() as n, int() as slot, int() as kind):
                if not any(placed(slot, kind).key in view.instances for view in draft.view()):
                    draft.put(NODES[n].id, [placed(slot, kind)])
            case ("remove", int() as n, int() as slot):
                draft.remove(NODES[n].id, placed(slot, 0).key)
            case ("replace", int() as n, bool() as cordoned, dict() as kinds):
                node = evolve(NODES[n], cordoned=cordoned)
                draft.replace(node.id, node_view(node, [placed(slot, kind) for slot, kind in kinds.items()]))
            case ("take away", int() as n):
                draft.replace(NODES[n].id, None)
            case _:
                seen.append((draft.view(), list(draft.view())))
    check_history(seen)


def test_a_change_copies_one_page_of_a_large_cluster_and_no_more() -> None:
    keeper = ViewKeeper()
    nodes = some_nodes(1_000)
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
    monkeypatch.setattr(kept, "MAX_CHANGES", 50)
    keeper = ViewKeeper()
    (node,) = some_nodes(1)
    keeper.set_node(node)
    first = keeper.view()
    for n in range(101):
        keeper.set_leased(node.id, n % 2 == 0)
        keeper.view()
    last = keeper.view()
    assert last.changes_since(first.revision) is None
    assert last.changes_since(last.revision - 50) == frozenset({node.id})
    assert len(last.node_changes_since(last.revision - 50) or ()) == 50
    assert last.changes_since(last.revision - 100) is None


def test_nothing_is_remembered_of_nodes_that_have_come_and_gone() -> None:
    keeper = ViewKeeper()
    for node in some_nodes(1_000):
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
