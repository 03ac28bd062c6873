"""Views as they might be, one after the other: a scheduler that saw them all decides as one that saw none."""

from __future__ import annotations

import pytest
from orchestrion.scheduler_interface import (
    AssignNode,
    Draft,
    NoPlacement,
    SchedulingRequest,
    ViewKeeper,
    node_view,
    placed_instance,
)
from orchestrion.scheduler_packing import PackingScheduler
from orchestrion.shared_types import (
    ContainerConfig,
    InstanceAffinity,
    InstanceKey,
    Metadata,
    Node,
    NodeId,
    Placement,
    Resources,
    Uid,
    WorkloadDefinition,
)

ROOM = Resources(cpu_millicores=1000, memory_bytes=1000)
NODE = Node(id=NodeId("n"), name="n", capacity=ROOM, allocatable=ROOM)


def workload(name: str, *apart_from: str) -> WorkloadDefinition:
    affinities = tuple(
        InstanceAffinity(match_labels={"grp": group}, by="node", anti=True, weight=None) for group in apart_from
    )
    return WorkloadDefinition(
        metadata=Metadata(name=name, uid=Uid(name), labels={"grp": name}),
        containers=(ContainerConfig(name="main", command=("run",), resources=Resources(cpu_millicores=100)),),
        placement=Placement(instance_affinities=affinities),
    )


@pytest.mark.parametrize("way", ["put", "replace"])
async def test_what_a_draft_puts_on_a_node_is_a_neighbour_there(way: str) -> None:
    keeper = ViewKeeper()
    keeper.set_node(NODE)
    keeper.set_leased(NODE.id, True)
    draft = Draft(keeper.view())
    there, other = workload("there"), workload("other", "there")
    placed = placed_instance(there, AssignNode(slot=InstanceKey(there.metadata.uid, 0, 1), node_id=NODE.id))
    request = SchedulingRequest(workload=other, slots=(InstanceKey(other.metadata.uid, 0, 1),))
    scheduler = PackingScheduler()
    before = await scheduler.schedule(request, draft.view())
    if way == "put":
        draft.put(NODE.id, [placed])
    else:
        draft.replace(NODE.id, node_view(NODE, [placed]))
    kept = await scheduler.schedule(request, draft.view())
    again = await scheduler.schedule(SchedulingRequest(workload=there, slots=(placed.key,), explain=True), draft.view())
    draft.remove(NODE.id, placed.key)
    after = await scheduler.schedule(request, draft.view())
    assert [type(decision) for decision in (*before, *kept, *after)] == [AssignNode, NoPlacement, AssignNode]
    assert [decision.node_id for decision in again if isinstance(decision, AssignNode)] == [NODE.id]
