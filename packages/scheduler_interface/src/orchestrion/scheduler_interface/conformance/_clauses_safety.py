"""What holds of all decisions together, by drawn clusters and requests."""

from __future__ import annotations

from orchestrion.conformance_kit import Runner
from orchestrion.scheduler_interface import AssignNode, ScheduleDecision, SchedulerCapability, node_view
from orchestrion.shared_types import Device, GpuRequest, NodeId, NodeStatus

from ._build import asking, cluster, container, neighbour, node, resources, sibling, slot, tcp, workload
from ._kit import KIT, SchedulerUnderTest, decide, expect_node, for_all_situations
from ._replay import violations
from ._strategies import Situation

Abilities = frozenset[SchedulerCapability]


def _never_broken(run: Runner[SchedulerUnderTest], clause: str) -> None:
    def examine(situation: Situation, decisions: list[ScheduleDecision], abilities: Abilities) -> None:
        broken = violations(situation.request, situation.view, decisions, abilities)
        assert [each.text for each in broken if each.clause == clause] == []

    for_all_situations(run, examine)


@KIT.property_clause("SAFE-1", "no-more-is-given-than-is-allocatable")
def _safe_resources(run: Runner[SchedulerUnderTest]) -> None:
    _never_broken(run, "SAFE-1")


@KIT.property_clause("SAFE-2", "no-host-port-is-given-twice")
def _safe_ports(run: Runner[SchedulerUnderTest]) -> None:
    _never_broken(run, "SAFE-2")


@KIT.property_clause("SAFE-3", "no-device-is-given-beyond-the-whole")
def _safe_devices(run: Runner[SchedulerUnderTest]) -> None:
    _never_broken(run, "SAFE-3")


@KIT.clause("SAFE-3", "many-shares-do-not-exceed-a-device", requires=SchedulerCapability.DEVICES)
async def _safe_shares(subject: SchedulerUnderTest) -> None:
    devices = (Device(id="d0"), Device(id="d1"))
    view = cluster(node_view(node(devices=devices), [neighbour(device_thousandths={"d0": 700})]))
    request = asking(workload(container(gpu=GpuRequest(thousandths=300))), slots=6)
    decisions = await decide(subject, request, view)
    broken = violations(request, view, decisions, subject.scheduler.capabilities)
    assert [each.text for each in broken if each.clause == "SAFE-3"] == []


@KIT.property_clause("SAFE-4", "no-slot-gets-a-node-that-fails-a-predicate")
def _safe_predicates(run: Runner[SchedulerUnderTest]) -> None:
    _never_broken(run, "SAFE-4")


@KIT.property_clause("FULL-1", "a-slot-is-refused-only-if-no-node-passes")
def _full(run: Runner[SchedulerUnderTest]) -> None:
    _never_broken(run, "FULL-1")


@KIT.clause("FULL-1", "the-last-node-that-fits-is-found")
async def _needle(subject: SchedulerUnderTest) -> None:
    small = [node(f"n{number:02}", room=resources(cpu=9)) for number in range(40)]
    request = asking(workload(container(wants=resources(cpu=10))), slots=2)
    for position in (0, 17, 39):
        haystack = [*small[:position], node(f"n{position:02}", room=resources(cpu=20)), *small[position + 1 :]]
        decisions = await decide(subject, request, cluster(*haystack))
        assert {each.node_id for each in decisions if isinstance(each, AssignNode)} == {f"n{position:02}"}, decisions
        assert all(isinstance(each, AssignNode) for each in decisions), decisions


@KIT.property_clause("STAY-1", "a-slot-that-is-placed-already-stays-with-what-it-holds")
def _stay(run: Runner[SchedulerUnderTest]) -> None:
    _never_broken(run, "STAY-1")


@KIT.clause("STAY-1", "a-slot-stays-on-a-node-that-takes-nothing-new")
async def _stay_anyway(subject: SchedulerUnderTest) -> None:
    gone = node("n1", room=resources(cpu=1), status=NodeStatus.NOT_READY, cordoned=True)
    holding = sibling(demand=resources(cpu=10), host_ports=frozenset({tcp(80)}))
    view = cluster(node_view(gone, [holding]), node("n2"))
    definition = workload(container(wants=resources(cpu=10), ports=(tcp(80),)), select={"disk": "ssd"})
    await expect_node(subject, asking(definition), view, "n1")
    await expect_node(subject, asking(definition, only_node=NodeId("n2")), view, "n1")


@KIT.clause("STAY-2", "a-slot-that-is-placed-already-takes-nothing-anew")
async def _stay_takes_nothing(subject: SchedulerUnderTest) -> None:
    definition = workload(container(wants=resources(cpu=10), ports=(tcp(80),)))
    holding = sibling(0, demand=resources(cpu=10), host_ports=frozenset({tcp(80)}))
    # A scheduler that took the room of slot 0 once more would have none left for slot 2.
    view = cluster(node_view(node("n1", room=resources(cpu=20)), [holding]), node("n2", room=resources(cpu=10)))
    portless = workload(container(wants=resources(cpu=10)))
    for each, expected in ((definition, ["n1", "n2"]), (portless, ["n1", "n1", "n2"])):
        decisions = await decide(subject, asking(each, slots=len(expected)), view)
        placed = [decision.node_id for decision in decisions if isinstance(decision, AssignNode)]
        assert sorted(placed) == expected, decisions
        assert placed[0] == "n1", decisions


@KIT.clause("STAY-3", "another-incarnation-of-a-slot-is-another-instance")
async def _other_epoch(subject: SchedulerUnderTest) -> None:
    holding = sibling(0, epoch=1, demand=resources(cpu=10))
    view = cluster(node_view(node("n1", room=resources(cpu=10)), [holding]), node("n2", room=resources(cpu=10)))
    request = asking(workload(container(wants=resources(cpu=10))))
    newer = type(request)(workload=request.workload, slots=(slot(0, epoch=2),))
    await expect_node(subject, newer, view, "n2")
