"""What holds of all decisions together, by drawn clusters and requests."""

from __future__ import annotations

from hypothesis import given
from orchestrion.conformance_kit import Runner
from orchestrion.scheduler_interface import ScheduleDecision, SchedulerCapability, node_view
from orchestrion.shared_types import Device, GpuRequest, NodeId, NodeStatus

from ._build import asking, cluster, container, neighbour, node, resources, sibling, slot, tcp, workload
from ._kit import (
    KIT,
    SchedulerUnderTest,
    abilities_of,
    decide,
    expect_node,
    expect_placed,
    expect_unbroken,
    for_all_situations,
)
from ._situations import Situation, near_misses, suiting_nodes

Abilities = frozenset[SchedulerCapability]


def _never_broken(run: Runner[SchedulerUnderTest], clause: str) -> None:
    def examine(situation: Situation, decisions: list[ScheduleDecision], abilities: Abilities) -> None:
        expect_unbroken(situation, decisions, abilities, clause)

    for_all_situations(run, examine)


def _never_deceived(run: Runner[SchedulerUnderTest], clause: str) -> None:
    abilities = abilities_of(run)

    async def examine(subject: SchedulerUnderTest, situation: Situation) -> None:
        for near in near_misses(situation):
            decisions = await decide(subject, near.request, near.view)
            expect_unbroken(near, decisions, abilities, clause)

    @run.settings()
    @given(suiting_nodes(abilities))
    def example(situation: Situation) -> None:
        run(examine, situation)

    example()


@KIT.property_clause("SAFE-1", "no-more-is-given-than-is-allocatable")
def _safe_resources(run: Runner[SchedulerUnderTest]) -> None:
    _never_broken(run, "SAFE-1")


@KIT.property_clause("SAFE-1", "one-unit-too-little-is-too-little")
def _safe_resources_alone(run: Runner[SchedulerUnderTest]) -> None:
    _never_deceived(run, "SAFE-1")


@KIT.property_clause("SAFE-2", "no-host-port-is-given-twice")
def _safe_ports(run: Runner[SchedulerUnderTest]) -> None:
    _never_broken(run, "SAFE-2")


@KIT.property_clause("SAFE-2", "a-port-that-alone-is-taken-refuses")
def _safe_ports_alone(run: Runner[SchedulerUnderTest]) -> None:
    _never_deceived(run, "SAFE-2")


@KIT.property_clause("SAFE-3", "no-device-is-given-beyond-the-whole")
def _safe_devices(run: Runner[SchedulerUnderTest]) -> None:
    _never_broken(run, "SAFE-3")


@KIT.property_clause("SAFE-3", "devices-that-alone-are-held-refuse", requires=SchedulerCapability.DEVICES)
def _safe_devices_alone(run: Runner[SchedulerUnderTest]) -> None:
    _never_deceived(run, "SAFE-3")


@KIT.clause("SAFE-3", "many-shares-do-not-exceed-a-device", requires=SchedulerCapability.DEVICES)
async def _safe_shares(subject: SchedulerUnderTest) -> None:
    devices = (Device(id="d0"), Device(id="d1"))
    view = cluster(node_view(node(devices=devices), [neighbour(device_thousandths={"d0": 700})]))
    request = asking(workload(container(gpu=GpuRequest(thousandths=300))), slots=6)
    decisions = await decide(subject, request, view)
    expect_unbroken(Situation(request=request, view=view), decisions, subject.scheduler.capabilities, "SAFE-3")


@KIT.property_clause("SAFE-4", "no-slot-gets-a-node-that-fails-a-predicate")
def _safe_predicates(run: Runner[SchedulerUnderTest]) -> None:
    _never_broken(run, "SAFE-4")


@KIT.property_clause("SAFE-4", "a-node-that-fails-one-predicate-alone-gets-nothing")
def _safe_predicates_alone(run: Runner[SchedulerUnderTest]) -> None:
    _never_deceived(run, "SAFE-4")


@KIT.property_clause("FULL-1", "a-slot-is-refused-only-if-no-node-passes")
def _full(run: Runner[SchedulerUnderTest]) -> None:
    _never_broken(run, "FULL-1")


@KIT.clause("FULL-1", "the-last-node-that-fits-is-found")
async def _needle(subject: SchedulerUnderTest) -> None:
    small = [node(f"n{number:02}", room=resources(cpu=9)) for number in range(40)]
    request = asking(workload(container(wants=resources(cpu=10))), slots=2)
    for position in (0, 17, 39):
        haystack = [*small[:position], node(f"n{position:02}", room=resources(cpu=20)), *small[position + 1 :]]
        found = f"n{position:02}"
        await expect_placed(subject, request, cluster(*haystack), found, found, rule="it alone is large enough")


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


@KIT.clause("STAY-1", "a-slot-stays-with-its-devices-whatever-it-would-get-now", requires=SchedulerCapability.DEVICES)
async def _stay_with_devices(subject: SchedulerUnderTest) -> None:
    devices = (Device(id="d0"), Device(id="d1"))
    view = cluster(node_view(node(devices=devices), [sibling(device_thousandths={"d1": 700})]))
    request = asking(workload(container(gpu=GpuRequest(count=2))), slots=2)
    decisions = await expect_placed(subject, request, view, "n1", None, rule="slot 0 is on n1, and d1 is held")
    expect_unbroken(Situation(request=request, view=view), decisions, subject.scheduler.capabilities, "STAY-1")


@KIT.clause("STAY-2", "a-slot-that-is-placed-already-takes-nothing-anew")
async def _stay_takes_nothing(subject: SchedulerUnderTest) -> None:
    definition = workload(container(wants=resources(cpu=10), ports=(tcp(80),)))
    holding = sibling(0, demand=resources(cpu=10), host_ports=frozenset({tcp(80)}))
    # A scheduler that took the room of slot 0 once more would have none left for slot 2.
    view = cluster(node_view(node("n1", room=resources(cpu=20)), [holding]), node("n2", room=resources(cpu=10)))
    portless = workload(container(wants=resources(cpu=10)))
    rule = "slot 0 is on n1 already, and takes neither its room nor its port once more"
    await expect_placed(subject, asking(definition, slots=2), view, "n1", "n2", rule=rule)
    decisions = await expect_placed(
        subject, asking(portless, slots=3), view, "n1", "n1", "n2", rule=rule, in_any_order=True
    )
    assert getattr(decisions[0], "node_id", None) == "n1", f"{rule}; the decision about slot 0 is {decisions[0]}"


@KIT.clause("STAY-3", "another-incarnation-of-a-slot-is-another-instance")
async def _other_epoch(subject: SchedulerUnderTest) -> None:
    holding = sibling(0, epoch=1, demand=resources(cpu=10))
    view = cluster(node_view(node("n1", room=resources(cpu=10)), [holding]), node("n2", room=resources(cpu=10)))
    request = asking(workload(container(wants=resources(cpu=10))))
    newer = type(request)(workload=request.workload, slots=(slot(0, epoch=2),))
    await expect_node(subject, newer, view, "n2")
