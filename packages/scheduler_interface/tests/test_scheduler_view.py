"""Static views, and what decisions make of them."""

from __future__ import annotations

import pytest
from attrs import evolve
from orchestrion.scheduler_interface import (
    AssignNode,
    ClusterView,
    PlacedInstance,
    SchedulingRequest,
    StaticClusterView,
    explain,
    grace_seconds_of,
    node_view,
    placed_instance,
    with_decisions,
)
from orchestrion.shared_types import (
    MAX_AMOUNT,
    ContainerConfig,
    InstanceKey,
    Metadata,
    Node,
    NodeId,
    PortMapping,
    Protocol,
    Resources,
    Uid,
    WorkloadDefinition,
)

UID = Uid("01900000-0000-7000-8000-000000000001")
ROOM = Resources(cpu_millicores=100)
WEB = WorkloadDefinition(
    metadata=Metadata(name="web", uid=UID, labels={"app": "web"}),
    containers=(
        ContainerConfig(
            name="main", resources=Resources(cpu_millicores=60), ports=(PortMapping(name="http", host_port=80),)
        ),
    ),
)


def a_node(name: str) -> Node:
    return Node(id=NodeId(name), name=name, capacity=ROOM, allocatable=ROOM)


NOTHING = Resources()


def an_instance(index: int, demand: Resources = NOTHING) -> PlacedInstance:
    return PlacedInstance(key=InstanceKey(UID, index, 1), namespace="default", workload="web", demand=demand)


def test_nodes_are_listed_by_id_whatever_their_order() -> None:
    view: ClusterView = StaticClusterView([node_view(a_node("b")), node_view(a_node("a"))])
    assert [each.node.id for each in view] == ["a", "b"]
    assert len(view) == 2
    assert view.get(NodeId("c")) is None


def test_a_node_twice_is_an_error_that_names_it() -> None:
    with pytest.raises(ValueError, match="'a' is in the view twice"):
        StaticClusterView([node_view(a_node("a")), node_view(a_node("a"))])


def test_changes_are_known_since_earlier_revisions_and_no_others() -> None:
    first = StaticClusterView([node_view(a_node("a")), node_view(a_node("b"))], revision=7)
    second = first.changed(node_view(a_node("c")))
    third = second.changed(node_view(a_node("c"), [an_instance(0)]), removed=[NodeId("a")])
    assert first.revision < second.revision < third.revision
    assert third.changes_since(third.revision) == frozenset()
    assert third.changes_since(second.revision) == frozenset({NodeId("a"), NodeId("c")})
    assert third.changes_since(first.revision) == frozenset({NodeId("a"), NodeId("c")})
    assert third.changes_since(6) is None
    assert first.changes_since(second.revision) is None
    assert [each.node.id for each in third] == ["b", "c"]


def test_views_made_apart_are_never_taken_for_one_another() -> None:
    first = StaticClusterView([node_view(a_node("a"))])
    siblings = [first.changed(node_view(a_node(name))) for name in "bc"]
    apart = StaticClusterView([node_view(a_node("b"))])
    assert len({view.revision for view in (first, *siblings, apart)}) == 4
    assert siblings[1].changes_since(siblings[0].revision) is None
    assert apart.changes_since(first.revision) is None


def test_history_is_bounded() -> None:
    first = view = StaticClusterView([node_view(a_node("a"))])
    for _ in range(200):
        view = view.changed(node_view(a_node("a")))
    assert view.changes_since(view.revision - 1) == frozenset({NodeId("a")})
    assert view.changes_since(first.revision) is None


def test_what_instances_hold_is_summed_up_and_capped() -> None:
    huge = Resources(memory_bytes=MAX_AMOUNT, extended={"licence": MAX_AMOUNT})
    view = node_view(a_node("a"), [an_instance(0, demand=huge), an_instance(1, demand=huge)])
    assert view.reserved == huge
    assert view.free == ROOM


def test_decisions_take_their_place_in_the_view() -> None:
    slot = InstanceKey(UID, 0, 1)
    view = StaticClusterView([node_view(a_node("a")), node_view(a_node("b"))])
    after = with_decisions(view, WEB, [AssignNode(slot=slot, node_id=NodeId("b"))])
    placed = after.get(NodeId("b"))
    assert placed is not None
    assert placed.reserved == Resources(cpu_millicores=60)
    assert placed.host_ports == {(Protocol.TCP, 80)}
    assert placed.instances[slot].labels == {"app": "web"}
    assert after.changes_since(view.revision) == frozenset({NodeId("b")})
    assert with_decisions(after, WEB, [AssignNode(slot=slot, node_id=NodeId("b"))]).get(NodeId("b")) == placed


def test_victims_leave_the_view_with_all_that_they_hold() -> None:
    https, http = (Protocol.TCP, 443), (Protocol.TCP, 80)
    stays = evolve(an_instance(1, demand=Resources(cpu_millicores=20)), host_ports=frozenset({https}))
    leaves = evolve(an_instance(2, demand=ROOM), host_ports=frozenset({http, https}))
    slot = InstanceKey(UID, 9, 1)
    view = StaticClusterView([node_view(a_node("a"), [stays, leaves])])
    gone = InstanceKey(UID, 77, 1)
    after = with_decisions(view, WEB, [AssignNode(slot=slot, node_id=NodeId("a"), victims=(leaves.key, gone))]).get(
        NodeId("a")
    )
    assert after is not None
    assert set(after.instances) == {stays.key, slot}
    assert after.reserved == Resources(cpu_millicores=80)
    assert after.host_ports == {http, https}


def test_an_instance_may_take_as_long_to_stop_as_its_slowest_container() -> None:
    containers = tuple(ContainerConfig(name=f"c{grace}", stop_grace_seconds=grace) for grace in (2.5, 0.1, 1.0))
    assert grace_seconds_of(containers) == 3
    assert grace_seconds_of(()) == 0
    placed = placed_instance(
        evolve(WEB, containers=containers), AssignNode(slot=InstanceKey(UID, 0, 1), node_id=NodeId("a"))
    )
    assert (placed.grace_seconds, placed.priority) == (3, WEB.priority)


def test_a_decision_for_an_unknown_node_is_an_error() -> None:
    decision = AssignNode(slot=InstanceKey(UID, 0, 1), node_id=NodeId("z"))
    with pytest.raises(ValueError, match="'z', which is not in the view"):
        with_decisions(StaticClusterView(), WEB, [decision])


def test_explain_tells_a_refusal_from_an_assignment() -> None:
    request = SchedulingRequest(workload=WEB, slots=(InstanceKey(UID, 0, 1),))
    full = node_view(a_node("a"), [an_instance(5, demand=ROOM)])
    refusal = explain(request, StaticClusterView([full]), capabilities=frozenset())
    assert refusal.closest == ("a",)
    assignment = explain(request, StaticClusterView([full, node_view(a_node("b"))]), capabilities=frozenset())
    assert assignment.closest == ()
    assert [group.samples for group in assignment.groups] == [("a",)]


def test_a_hypothetical_view_is_no_state_of_any_other() -> None:
    view = node_view(Node(id=NodeId("n1"), name="n1", capacity=ROOM, allocatable=ROOM))
    first, second = StaticClusterView.hypothetical([view]), StaticClusterView.hypothetical([view])
    assert list(first) == list(second) == [view]
    assert first.revision != second.revision
    assert max(first.revision, second.revision) < 0
    assert first.changes_since(second.revision) is None
