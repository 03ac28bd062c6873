"""GPUs for one slot near each other, and GPUs left unfragmented, as plug-ins of a profile."""

from __future__ import annotations

import trio
from orchestrion.scheduler_interface import (
    AssignNode,
    PlacedInstance,
    SchedulingRequest,
    StaticClusterView,
    node_view,
)
from orchestrion.scheduler_packing import Mix, PackingScheduler, Profile
from orchestrion.shared_types import (
    ContainerConfig,
    Device,
    GpuRequest,
    InstanceKey,
    Metadata,
    Node,
    NodeId,
    Resources,
    Uid,
    WorkloadDefinition,
)

NEAR = PackingScheduler(profile=Profile(name="near", weights={"gpu-locality": 1}))
UID = Uid("w")


def node(name: str, *, links: str = "", numa: str = "", gpus: int = 4) -> Node:
    """A node whose GPU number n is in the NVLink group links[n] and on the NUMA node numa[n]; "." is none."""
    room = Resources(cpu_millicores=9000)
    return Node(
        id=NodeId(name),
        name=name,
        capacity=room,
        allocatable=room,
        labels={f"nvlink/g{number}": group for number, group in enumerate(links) if group != "."},
        devices=tuple(Device(id=f"g{number}", numa_node=int(numa[number]) if numa else None) for number in range(gpus)),
    )


def asking(*gpus: GpuRequest) -> SchedulingRequest:
    containers = tuple(ContainerConfig(name=f"c{number}", gpu=gpu) for number, gpu in enumerate(gpus))
    workload = WorkloadDefinition(metadata=Metadata(name="w", uid=UID), containers=containers)
    return SchedulingRequest(workload=workload, slots=(InstanceKey(UID, 0, 1),), explain=True)


def held(**shares: int) -> PlacedInstance:
    key = InstanceKey(Uid("other"), 0, 1)
    return PlacedInstance(key=key, namespace="default", workload="other", device_thousandths=shares)


def granted(view: StaticClusterView, request: SchedulingRequest, scheduler: PackingScheduler = NEAR) -> AssignNode:
    (decision,) = trio.run(scheduler.schedule, request, view)
    assert isinstance(decision, AssignNode)
    return decision


def test_linked_devices_are_granted_together() -> None:
    decision = granted(StaticClusterView([node_view(node("n1", links="abab"))]), asking(GpuRequest(count=2)))
    assert decision.devices == {"c0": ("g0", "g2")}


def test_the_node_whose_devices_are_nearest_is_taken() -> None:
    apart, numa, linked = node("n1"), node("n2", numa="0101"), node("n3", links=".a.a")
    request = asking(GpuRequest(count=2))
    view = StaticClusterView([node_view(apart), node_view(numa), node_view(linked)])
    decision = granted(view, request)
    assert (decision.node_id, decision.devices) == ("n3", {"c0": ("g1", "g3")})
    assert decision.explanation is not None
    assert decision.explanation.scores == {"n3": 1000, "n2": 500}
    assert granted(StaticClusterView([node_view(apart), node_view(numa)]), request).devices == {"c0": ("g0", "g2")}


def test_devices_of_several_containers_are_near_each_other() -> None:
    view = StaticClusterView([node_view(node("n1", links="abab"), [held(g0=1000)])])
    decision = granted(view, asking(GpuRequest(count=1), GpuRequest(count=1)))
    assert decision.device_thousandths == {"g1": 1000, "g3": 1000}


def test_one_device_leaves_large_groups_whole() -> None:
    view = StaticClusterView([node_view(node("n1", links="abab"), [held(g3=1000)])])
    assert granted(view, asking(GpuRequest(count=1))).device_thousandths == {"g1": 1000}


def test_a_share_goes_to_the_fullest_device_whatever_its_group() -> None:
    view = StaticClusterView([node_view(node("n1", links="abab"), [held(g2=500)])])
    assert granted(view, asking(GpuRequest(thousandths=300))).device_thousandths == {"g2": 300}


def test_devices_that_no_group_has_together_are_granted_all_the_same() -> None:
    view = StaticClusterView([node_view(node("n1", links="abab", numa="0011"))])
    decision = granted(view, asking(GpuRequest(count=3)))
    assert len(decision.device_thousandths) == 3
    assert decision.explanation is not None
    assert decision.explanation.parts == {"n1": {"gpu-locality": 0}}


def test_what_was_near_and_is_taken_no_longer_counts() -> None:
    view = StaticClusterView([node_view(node("n1", links="aab.")), node_view(node("n2", links="cc.."))])
    request = asking(GpuRequest(count=2))
    assert granted(view, request).node_id == "n1"
    view = view.changed(node_view(node("n1", links="aab."), [held(g0=1000)]))
    assert granted(view, request).node_id == "n2"


def test_a_share_goes_where_it_fragments_least() -> None:
    mix = Mix()
    mix.observe(asking(GpuRequest(count=1)).workload, 48)
    mix.observe(asking(GpuRequest(thousandths=500)).workload, 16)
    scheduler = PackingScheduler(profile=Profile(name="whole", weights={"fragmentation": 1}), mix=mix)
    begun = node_view(node("n2", gpus=2), [held(g1=500)])
    view = StaticClusterView([node_view(node("n1", gpus=2)), begun])
    decision = granted(view, asking(GpuRequest(thousandths=500)), scheduler)
    assert (decision.node_id, decision.device_thousandths) == ("n2", {"g1": 500})
    assert decision.explanation is not None
    assert decision.explanation.scores[NodeId("n2")] > decision.explanation.scores[NodeId("n1")] > 0


def test_fragmentation_is_of_no_account_where_there_are_no_gpus() -> None:
    scheduler = PackingScheduler(profile=Profile(name="whole", weights={"fragmentation": 1}))
    view = StaticClusterView([node_view(node("n1", gpus=0)), node_view(node("n2", gpus=0))])
    decision = granted(view, asking(), scheduler)
    assert decision.explanation is not None
    assert decision.explanation.scores == {"n1": 0, "n2": 0}


def test_fragmentation_is_of_no_account_any_more_once_the_last_gpu_has_left() -> None:
    profile = Profile(name="whole", weights={"fragmentation": 1})
    ours = PackingScheduler(profile=profile)
    with_gpus = node_view(node("n1", gpus=2), [held(g1=500)])
    without = node_view(node("n2", gpus=0))
    view, request = StaticClusterView([with_gpus, without]), asking()
    before = granted(view, request, ours).explanation
    assert before is not None
    assert any(before.scores.values())
    for after in (view.changed(node_view(node("n1", gpus=0))), view):
        assert granted(after, request, ours) == granted(after, request, PackingScheduler(profile=profile))
