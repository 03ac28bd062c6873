"""The index touches what has changed, and takes no view for one of another cluster."""

from __future__ import annotations

import trio
from attrs import evolve
from orchestrion.scheduler_interface import (
    AssignNode,
    ClusterView,
    NodeView,
    SchedulingRequest,
    StaticClusterView,
    ViewKeeper,
    node_view,
    placed_instance,
)
from orchestrion.scheduler_packing import PackingScheduler
from orchestrion.shared_types import (
    ContainerConfig,
    InstanceKey,
    Metadata,
    Node,
    NodeId,
    Resources,
    Uid,
    WorkloadDefinition,
    WorkloadKind,
)

WEB = WorkloadDefinition(
    metadata=Metadata(name="web", uid=Uid("01900000-0000-7000-8000-000000000001")),
    kind=WorkloadKind.SERVICE,
    containers=(ContainerConfig(name="main", command=("true",), resources=Resources(cpu_millicores=10)),),
)


class CountingView(StaticClusterView):
    """Counts how many nodes are looked at."""

    looks = 0

    def __iter__(self):  # type: ignore[no-untyped-def]  # what the base says
        CountingView.looks += len(self)
        return super().__iter__()

    def get(self, node_id: NodeId, /) -> NodeView | None:
        CountingView.looks += 1
        return super().get(node_id)


def a_view(number: int, cpu: int = 100) -> NodeView:
    room = Resources(cpu_millicores=cpu)
    return node_view(Node(id=NodeId(f"n{number:03}"), name=f"n{number}", capacity=room, allocatable=room))


def asking(index: int) -> SchedulingRequest:
    return SchedulingRequest(workload=WEB, slots=(InstanceKey(WEB.metadata.uid, index, 1),))


def chosen(scheduler: PackingScheduler, view: ClusterView) -> str | None:
    (decision,) = trio.run(scheduler.schedule, asking(0), view)
    return decision.node_id if isinstance(decision, AssignNode) else None


def counting(base: StaticClusterView, **changes: int) -> CountingView:
    touched = {f"n{number[1:]:0>3}": a_view(int(number[1:]), cpu) for number, cpu in changes.items()}
    nodes = {view.node.id: view for view in base} | {NodeId(name): view for name, view in touched.items()}
    changed = frozenset(NodeId(name) for name in touched)
    return CountingView(nodes.values(), changes={base.revision: changed})


def test_a_change_costs_a_look_at_what_has_changed() -> None:
    scheduler = PackingScheduler()
    first = StaticClusterView(a_view(number) for number in range(500))
    assert chosen(scheduler, first) == "n000"
    second = counting(first, n7=50, n9=60)
    CountingView.looks = 0
    assert chosen(scheduler, second) == "n007"
    assert CountingView.looks <= 2


def test_a_view_without_history_leaves_the_index_of_the_real_one_alone() -> None:
    scheduler = PackingScheduler()
    first = StaticClusterView(a_view(number) for number in range(500))
    assert chosen(scheduler, first) == "n000"
    assert chosen(scheduler, StaticClusterView([a_view(3, 20)])) == "n003"
    assert chosen(scheduler, StaticClusterView([a_view(4, 20)])) == "n004"
    second = counting(first, n7=50)
    CountingView.looks = 0
    assert chosen(scheduler, second) == "n007"
    assert CountingView.looks <= 1


def test_what_a_keeper_tells_spares_the_views_of_nodes() -> None:
    keeper, scheduler = ViewKeeper(), PackingScheduler()
    for number in range(500):
        node = a_view(number).node
        keeper.set_node(node)
        keeper.set_leased(node.id, True)
    assert chosen(scheduler, keeper.view()) == "n000"
    for index in range(1, 21):
        (decision,) = trio.run(scheduler.schedule, asking(index), keeper.view())
        assert isinstance(decision, AssignNode)
        keeper.put(decision.node_id, placed_instance(WEB, decision))
    view = keeper.view()
    assert chosen(scheduler, view) == "n002"
    made = [state.made for state in view.table.in_order() if state.changes]
    assert [each is not None and len(each.instances) for each in made] == [0, 0]
    held = {each.node.id: len(each.instances) for each in view if each.instances}
    assert held == {"n000": 10, "n001": 10}


def test_a_cluster_that_is_kept_anew_is_read_anew() -> None:
    scheduler = PackingScheduler()
    for full in (0, 1):
        keeper = ViewKeeper()
        for number in (0, 1):
            node = a_view(number, 10 * (1 + full)).node
            keeper.set_node(node)
            keeper.set_leased(node.id, True)
        for index in range(1, 2 + full):
            held = AssignNode(slot=asking(index).slots[0], node_id=NodeId(f"n00{full}"))
            keeper.put(held.node_id, placed_instance(WEB, held))
        assert chosen(scheduler, keeper.view()) == f"n00{1 - full}"


def test_nodes_that_come_go_and_change_are_seen() -> None:
    scheduler = PackingScheduler()
    view = StaticClusterView([a_view(1), a_view(2)])
    assert chosen(scheduler, view) == "n001"
    view = view.changed(a_view(0, 50))
    assert chosen(scheduler, view) == "n000"
    view = view.changed(removed=[NodeId("n000")])
    assert chosen(scheduler, view) == "n001"
    second = view.get(NodeId("n001"))
    assert second is not None
    view = view.changed(evolve(second, node=evolve(second.node, cordoned=True)))
    assert chosen(scheduler, view) == "n002"
    view = view.changed(removed=[NodeId("n002")])
    assert chosen(scheduler, view) is None
    assert chosen(scheduler, StaticClusterView()) is None
