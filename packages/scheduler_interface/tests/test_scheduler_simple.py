"""What `SimpleScheduler` prefers, beyond what the interface asks."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from orchestrion.scheduler_interface import (
    AssignNode,
    NodeView,
    PlacedInstance,
    ScheduleDecision,
    SchedulingRequest,
    SimpleScheduler,
    StaticClusterView,
    node_view,
)
from orchestrion.shared_types import (
    ContainerConfig,
    Device,
    Expression,
    GpuRequest,
    InstanceKey,
    Metadata,
    Node,
    NodeAffinity,
    NodeId,
    Operator,
    Placement,
    Resources,
    Spread,
    Taint,
    TaintEffect,
    Topology,
    Uid,
    WorkloadDefinition,
)

UID = Uid("01900000-0000-7000-8000-000000000001")


def a_node(name: str, cpu: int = 1000, used: int = 0, **attributes: Any) -> NodeView:
    room = Resources(cpu_millicores=cpu)
    node = Node(id=NodeId(name), name=name, capacity=room, allocatable=room, **attributes)
    key = InstanceKey(Uid("01900000-0000-7000-8000-000000000002"), int(name[1:]), 1)
    neighbour = PlacedInstance(key=key, namespace="default", workload="db", demand=Resources(cpu_millicores=used))
    return node_view(node, [neighbour] if used else [])


def a_request(slots: int = 1, cpu: int = 100, gpu: GpuRequest | None = None, **placement: Any) -> SchedulingRequest:
    container = ContainerConfig(name="main", resources=Resources(cpu_millicores=cpu), gpu=gpu)
    workload = WorkloadDefinition(
        metadata=Metadata(name="web", uid=UID), containers=(container,), placement=Placement(**placement)
    )
    keys = tuple(InstanceKey(UID, index, 1) for index in range(slots))
    return SchedulingRequest(workload=workload, slots=keys, explain=slots == 1)


async def placed(request: SchedulingRequest, *nodes: NodeView) -> list[str]:
    decisions = await SimpleScheduler().schedule(request, StaticClusterView(nodes))
    return [str(decision.node_id) for decision in decisions if isinstance(decision, AssignNode)]


async def test_the_node_that_gets_fullest_is_taken() -> None:
    assert await placed(a_request(), a_node("n1"), a_node("n2", used=500), a_node("n3", used=899)) == ["n3"]


async def test_of_equals_the_lowest_id_is_taken() -> None:
    assert await placed(a_request(), a_node("n2"), a_node("n1")) == ["n1"]


async def test_slots_that_ask_for_nothing_go_where_the_fewest_instances_are() -> None:
    names = await placed(a_request(slots=5, cpu=0), a_node("n1", used=10), a_node("n2"), a_node("n3"))
    assert names == ["n2", "n3", "n1", "n2", "n3"]


async def test_a_preferred_spread_outweighs_a_tight_fit() -> None:
    nodes = [a_node("n1", used=800), a_node("n2"), a_node("n3")]
    assert Counter(await placed(a_request(slots=3, spreads=(Spread(by="node"),)), *nodes)) == {
        "n1": 1,
        "n2": 1,
        "n3": 1,
    }


async def test_a_preferred_spread_gives_way_where_there_is_no_room() -> None:
    nodes = [a_node("n1", cpu=100), a_node("n2")]
    assert Counter(await placed(a_request(slots=4, spreads=(Spread(by="node"),)), *nodes)) == {"n1": 1, "n2": 3}


async def test_a_required_spread_is_kept_while_domains_fill_up() -> None:
    zones = [a_node(f"n{number}", topology=Topology(zone="abc"[number % 3])) for number in range(9)]
    names = await placed(a_request(slots=30, spreads=(Spread(by="zone", required=True),)), *zones)
    assert Counter(int(name[1:]) % 3 for name in names) == {0: 10, 1: 10, 2: 10}


async def test_a_disliked_taint_is_avoided_while_there_is_room_elsewhere() -> None:
    disliked = a_node("n1", used=500, taints=(Taint("old", "", TaintEffect.PREFER_NO_SCHEDULE),))
    assert await placed(a_request(slots=3, cpu=500), disliked, a_node("n2")) == ["n2", "n2", "n1"]


async def test_a_preferred_node_affinity_draws() -> None:
    ssd = (Expression(key="disk", operator=Operator.IN, values=("ssd",)),)
    request = a_request(node_affinities=(NodeAffinity(expressions=ssd, weight=100),))
    assert await placed(request, a_node("n1", used=800), a_node("n2", labels={"disk": "ssd"})) == ["n2"]


async def test_shares_go_to_the_fullest_device() -> None:
    devices = tuple(Device(id=f"d{number}") for number in range(3))
    node = node_view(
        a_node("n1", devices=devices).node,
        [
            PlacedInstance(
                key=InstanceKey(UID, 9, 1),
                namespace="default",
                workload="web",
                device_thousandths={"d1": 300, "d2": 800},
            )
        ],
    )
    request = a_request(gpu=GpuRequest(thousandths=500))
    (decision,) = await SimpleScheduler().schedule(request, StaticClusterView([node]))
    assert isinstance(decision, AssignNode)
    assert decision.devices == {"main": ("d1",)}


async def test_an_explained_assignment_names_the_runner_up() -> None:
    view = StaticClusterView([a_node("n1", used=500), a_node("n2"), a_node("n3", cordoned=True)])
    (decision,) = await SimpleScheduler().schedule(a_request(), view)
    assert decision.explanation is not None
    assert decision.explanation.scores == {"n1": 599.0, "n2": 99.0}
    assert [group.samples for group in decision.explanation.groups] == [("n3",)]


@pytest.mark.slow
async def test_many_slots_cost_little_each() -> None:
    """A quadratic search would look at 500 nodes for each of 10,000 slots, which takes minutes."""
    nodes = [a_node(f"n{number}", cpu=20_000, topology=Topology(zone="abc"[number % 3])) for number in range(500)]
    request = a_request(slots=10_000, spreads=(Spread(by="zone", required=True), Spread(by="node")))
    decisions: list[ScheduleDecision] = await SimpleScheduler().schedule(request, StaticClusterView(nodes))
    counts = Counter(decision.node_id for decision in decisions if isinstance(decision, AssignNode))
    assert sum(counts.values()) == 10_000
    assert max(counts.values()) - min(counts.values()) <= 2
