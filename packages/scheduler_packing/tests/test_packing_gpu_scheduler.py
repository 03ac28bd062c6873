"""The profile "gpu", through the interface."""

from __future__ import annotations

import pytest
import trio
from orchestrion.scheduler_interface import (
    AssignNode,
    NoPlacement,
    ScheduleDecision,
    SchedulingRequest,
    StaticClusterView,
    node_view,
    with_decisions,
)
from orchestrion.scheduler_packing import Mix, PackingLedger, PackingScheduler
from orchestrion.shared_types import (
    ContainerConfig,
    Device,
    GpuRequest,
    InstanceKey,
    Metadata,
    Node,
    NodeId,
    Placement,
    Resources,
    Spread,
    Toleration,
    Uid,
    WorkloadDefinition,
)


def node(name: str, cores: int, *models: str) -> Node:
    room = Resources(cpu_millicores=1000 * cores, memory_bytes=1 << 34)
    devices = tuple(Device(id=f"g{number}", model=model) for number, model in enumerate(models))
    return Node(id=NodeId(name), name=name, capacity=room, allocatable=room, devices=devices)


def workload(
    name: str, cores: int, gpu: GpuRequest | None = None, placement: Placement | None = None
) -> WorkloadDefinition:
    container = ContainerConfig(name="main", resources=Resources(cpu_millicores=1000 * cores), gpu=gpu)
    return WorkloadDefinition(
        metadata=Metadata(name=name, uid=Uid(name)), containers=(container,), placement=placement or Placement()
    )


def request(wanted: WorkloadDefinition, slots: int = 1, start: int = 0) -> SchedulingRequest:
    uid = wanted.metadata.uid
    return SchedulingRequest(
        workload=wanted, slots=tuple(InstanceKey(uid, index, 1) for index in range(start, start + slots))
    )


def decide(scheduler: PackingScheduler, asked: SchedulingRequest, view: StaticClusterView) -> list[ScheduleDecision]:
    return trio.run(scheduler.schedule, asked, view)


def where(decisions: list[ScheduleDecision]) -> list[str | None]:
    return [decision.node_id if isinstance(decision, AssignNode) else None for decision in decisions]


HUNGRY = workload("hungry", 12, GpuRequest(count=1))
MODEST = workload("modest", 2, GpuRequest(count=1))
CHOOSY = workload("choosy", 2, GpuRequest(count=1, model="b"))
CLUSTER = StaticClusterView(
    [node_view(node("n1", 16, *"aaaa")), node_view(node("n2", 96, *"aaaa")), node_view(node("n3", 96, *"bbbb"))]
)


def taught(*asked: tuple[WorkloadDefinition, int]) -> Mix:
    mix = Mix()
    for each, count in asked:
        mix.observe(each, count)
    return mix


def test_what_takes_much_cpu_goes_where_cpu_is_over() -> None:
    scheduler = PackingScheduler(profile="gpu", mix=taught((HUNGRY, 16), (MODEST, 48)))
    assert where(decide(scheduler, request(HUNGRY), CLUSTER)) == ["n2"]


def test_what_may_go_anywhere_leaves_the_model_that_others_ask_for() -> None:
    scheduler = PackingScheduler(profile="gpu", mix=taught((CHOOSY, 32), (MODEST, 32)))
    assert "n3" not in where(decide(scheduler, request(MODEST, 8), CLUSTER))
    assert where(decide(scheduler, request(CHOOSY, 5), CLUSTER)) == [*["n3"] * 4, None]


def test_decisions_follow_the_mix_from_its_lessons_on() -> None:
    mix = Mix()
    scheduler = PackingScheduler(profile="gpu", mix=mix)
    assert where(decide(scheduler, request(HUNGRY), CLUSTER)) == ["n1"]
    mix.observe(HUNGRY, 16)
    mix.observe(MODEST, 15)
    assert where(decide(scheduler, request(HUNGRY), CLUSTER)) == ["n1"]
    mix.observe(MODEST, 33)
    assert where(decide(scheduler, request(HUNGRY), CLUSTER)) == ["n2"]


def test_preparing_changes_no_decision() -> None:
    mix = taught((HUNGRY, 16), (MODEST, 48))
    prepared, other = PackingScheduler(profile="gpu", mix=mix), PackingScheduler(profile="gpu", mix=mix)
    prepared.prepare(CLUSTER)
    asked = request(MODEST, 9)
    assert decide(prepared, asked, CLUSTER) == decide(other, asked, CLUSTER)


def test_without_a_mix_what_is_placed_is_the_sample() -> None:
    view = StaticClusterView([node_view(node(f"n{each}", 96, *"aaaaaaaa")) for each in range(9)])
    scheduler = PackingScheduler(profile="gpu")
    small = workload("small", 1, GpuRequest(thousandths=100))
    for start in range(0, 60, 10):
        asked = request(small, 10, start)
        view = with_decisions(view, small, decide(scheduler, asked, view))
    fresh = PackingScheduler(profile="gpu")
    asked = request(MODEST, 20)
    assert decide(scheduler, asked, view) == decide(fresh, asked, view)


def test_a_share_is_granted_on_the_gpu_that_it_leaves_best() -> None:
    half, third = workload("half", 1, GpuRequest(thousandths=500)), workload("third", 1, GpuRequest(thousandths=300))
    view = StaticClusterView([node_view(node("n1", 96, *"aa"))])
    scheduler = PackingScheduler(profile="gpu", mix=taught((half, 32), (third, 32)))
    view = with_decisions(view, half, decide(scheduler, request(half), view))
    (decision,) = decide(scheduler, request(half, start=1), view)
    assert isinstance(decision, AssignNode)
    assert decision.device_thousandths == {"g0": 500}


def test_a_node_with_several_models_grants_the_one_that_is_asked_for() -> None:
    view = StaticClusterView([node_view(node("n1", 96, *"abab"))])
    scheduler = PackingScheduler(profile="gpu", mix=taught((CHOOSY, 32)))
    decisions = decide(scheduler, request(CHOOSY, 3), view)
    granted = [decision.device_thousandths for decision in decisions if isinstance(decision, AssignNode)]
    assert granted == [{"g1": 1000}, {"g3": 1000}]
    assert isinstance(decisions[2], NoPlacement)


@pytest.mark.parametrize("required", [False, True])
def test_spreads_are_kept(required: bool) -> None:
    spread = workload("spread", 1, GpuRequest(count=1), Placement(spreads=(Spread(by="node", required=required),)))
    scheduler = PackingScheduler(profile="gpu", mix=taught((spread, 32)))
    assert sorted(filter(None, where(decide(scheduler, request(spread, 3), CLUSTER)))) == ["n1", "n2", "n3"]


def test_an_explained_choice_scores_highest() -> None:
    asked = SchedulingRequest(workload=MODEST, slots=request(MODEST).slots, explain=True)
    (decision,) = decide(PackingScheduler(profile="gpu", mix=taught((MODEST, 32), (CHOOSY, 32))), asked, CLUSTER)
    assert isinstance(decision, AssignNode)
    assert decision.explanation is not None
    scores = decision.explanation.scores
    assert len(scores) == 2
    assert max(scores, key=lambda each: scores[each]) == decision.node_id


def test_a_cluster_without_gpus_is_packed_as_ever() -> None:
    view = StaticClusterView([node_view(node(f"n{each}", 4 + each)) for each in range(5)])
    asked = request(workload("plain", 2), 8)
    assert decide(PackingScheduler(profile="gpu"), asked, view) == decide(PackingScheduler(), asked, view)


def test_nodes_that_get_gpus_or_lose_them_are_seen() -> None:
    scheduler = PackingScheduler(profile="gpu", mix=taught((MODEST, 32)))
    view = StaticClusterView([node_view(node("n1", 16)), node_view(node("n2", 16))])
    assert where(decide(scheduler, request(MODEST), view)) == [None]
    view = view.changed(node_view(node("n2", 16, "a")))
    assert where(decide(scheduler, request(MODEST), view)) == ["n2"]
    view = view.changed(node_view(node("n1", 16, "a")), node_view(node("n2", 16)))
    assert where(decide(scheduler, request(MODEST), view)) == ["n1"]


def test_the_ledger_decides_as_a_scheduler_does_whose_mix_is_told_of_every_slot() -> None:
    nodes = [node(f"n{each:02}", 16 + 40 * (each % 3), *"ab"[each % 2] * 4) for each in range(12)]
    asked = [workload(f"w{each}", 1 + each % 9, GpuRequest(thousandths=150 + 50 * each)) for each in range(12)]
    ledger = PackingLedger(nodes, profile="gpu")
    mix = Mix()
    scheduler = PackingScheduler(profile="gpu", mix=mix)
    view = StaticClusterView(node_view(each) for each in nodes)
    for number in range(90):
        wanted = asked[number * 7 % 12]
        slot = request(wanted, start=number)
        mix.observe(wanted)
        decisions = decide(scheduler, slot, view)
        view = with_decisions(view, wanted, decisions)
        assert ledger.place([slot]).node_ids == where(decisions)


def test_absurd_demands_change_nothing_for_the_others() -> None:
    absurd = workload("absurd", 1, GpuRequest(count=2**50))
    others = ((HUNGRY, 16), (MODEST, 47))
    scheduler = PackingScheduler(profile="gpu", mix=taught(*others, (absurd, 1)))
    assert where(decide(scheduler, request(absurd), CLUSTER)) == [None]
    sane = PackingScheduler(profile="gpu", mix=taught(*others, (workload("plain", 1), 1)))
    assert where(decide(scheduler, request(MODEST, 9), CLUSTER)) == where(decide(sane, request(MODEST, 9), CLUSTER))


@pytest.mark.slow
def test_more_kinds_than_can_be_told_apart_still_get_their_places() -> None:
    mix = Mix()
    scheduler = PackingScheduler(profile="gpu", mix=mix)
    view = StaticClusterView([node_view(node(f"n{each}", 96, *"ab")) for each in range(4)])
    for number in range(600):
        gpu = GpuRequest(thousandths=1 + number)
        wanted = workload(f"w{number:03}", 1, gpu, Placement(select={"node": f"n{number % 4}"}))
        if number % 2:
            wanted = workload(f"w{number:03}", 1, gpu, Placement(tolerations=(Toleration(key=f"t{number}"),)))
        mix.observe(wanted)
        assert where(decide(scheduler, request(wanted), view)) != [None]
    assert len(mix.lesson) == 512
