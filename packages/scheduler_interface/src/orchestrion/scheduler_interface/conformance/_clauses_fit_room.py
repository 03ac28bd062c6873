"""Predicates about what is free on a node: ports and resources."""

from __future__ import annotations

from attrs import evolve
from orchestrion.conformance_kit import Runner
from orchestrion.scheduler_interface import Predicate, ScheduleDecision, SchedulerCapability
from orchestrion.shared_types import MAX_AMOUNT, PortMapping

from ._build import asking, cluster, container, neighbour, node, one, resources, tcp, udp, with_amount, workload
from ._kit import (
    KIT,
    SchedulerUnderTest,
    expect_node,
    expect_placed,
    expect_refused,
    expect_unbroken,
    for_all_situations,
)
from ._situations import Situation

_DIMENSIONS = {
    "cpu_millicores": resources(cpu=100),
    "memory_bytes": resources(memory=100),
    "disk_bytes": resources(disk=100),
    "licence": resources(licence=100),
}


@KIT.clause("FIT-10", "a-static-host-port-that-is-taken-refuses")
async def _port_taken(subject: SchedulerUnderTest) -> None:
    request = asking(workload(container(ports=(tcp(80), tcp(443)))))
    view = one(node(), neighbour(host_ports=frozenset({tcp(443)})))
    await expect_refused(subject, request, view, Predicate.HOST_PORT)


@KIT.clause("FIT-10", "other-ports-and-other-protocols-refuse-nothing")
async def _port_of_other_protocol(subject: SchedulerUnderTest) -> None:
    request = asking(workload(container(ports=(tcp(80),))))
    view = one(node(), neighbour(host_ports=frozenset({udp(80), tcp(8080)})))
    await expect_node(subject, request, view, "n1")


@KIT.clause("FIT-10", "ports-that-the-node-leases-refuse-nothing")
async def _dynamic_port(subject: SchedulerUnderTest) -> None:
    leased = evolve(container(), ports=(PortMapping(name="http", container_port=80),))
    view = one(node(), neighbour(host_ports=frozenset({tcp(80)})))
    rule = "a port without a host port is chosen by the node, and is none that a scheduler looks at"
    await expect_placed(subject, asking(workload(leased), slots=2), view, "n1", "n1", rule=rule)


@KIT.clause("FIT-10", "a-static-host-port-goes-to-one-slot-per-node")
async def _port_once_per_node(subject: SchedulerUnderTest) -> None:
    request = asking(workload(container(ports=(tcp(80),))), slots=3)
    rule = "a slot that got a node took its host port there"
    view = cluster(node("n1"), node("n2"))
    await expect_placed(subject, request, view, "n1", "n2", None, rule=rule, in_any_order=True)


@KIT.clause("FIT-11", "one-unit-too-much-in-any-dimension-refuses")
async def _short_by_one(subject: SchedulerUnderTest) -> None:
    full = resources(cpu=100, memory=100, disk=100, licence=100)
    for dimension, wanted in _DIMENSIONS.items():
        view = one(node(room=with_amount(full, dimension, 99)))
        explanation = await expect_refused(subject, asking(workload(container(wants=wanted))), view, Predicate.RESOURCE)
        short = [group.dimension for group in explanation.groups]
        assert short == [dimension], f"only {dimension} is short, by one; the groups tell of {short}: {explanation}"


@KIT.clause("FIT-11", "a-resource-that-no-node-names-refuses")
async def _unnamed_resource(subject: SchedulerUnderTest) -> None:
    request = asking(workload(container(wants=resources(licence=1))))
    await expect_refused(subject, request, one(node(room=resources(seat=1))), Predicate.RESOURCE)


@KIT.clause("FIT-11", "what-instances-reserve-is-not-free")
async def _reserved(subject: SchedulerUnderTest) -> None:
    request = asking(workload(container(wants=resources(cpu=50))))
    room = node(room=resources(cpu=100))
    await expect_node(subject, request, one(room, neighbour(demand=resources(cpu=50))), "n1")
    full = one(room, neighbour(demand=resources(cpu=51)))
    await expect_refused(subject, request, full, Predicate.RESOURCE)


@KIT.clause("FIT-11", "the-demand-is-that-of-all-containers")
async def _all_containers(subject: SchedulerUnderTest) -> None:
    request = asking(workload(container("a", resources(memory=60)), container("b", resources(memory=60))))
    await expect_refused(subject, request, one(node(room=resources(memory=119))), Predicate.RESOURCE)
    await expect_node(subject, request, one(node(room=resources(memory=120))), "n1")


@KIT.clause("FIT-11", "what-is-allocatable-counts-and-not-the-capacity")
async def _allocatable(subject: SchedulerUnderTest) -> None:
    small = node(capacity=resources(cpu=4000), allocatable=resources(cpu=3000))
    await expect_refused(
        subject, asking(workload(container(wants=resources(cpu=3001)))), one(small), Predicate.RESOURCE
    )


@KIT.clause("FIT-12", "a-demand-that-fits-exactly-passes-in-any-dimension")
async def _fits_exactly(subject: SchedulerUnderTest) -> None:
    for wanted in _DIMENSIONS.values():
        await expect_node(subject, asking(workload(container(wants=wanted))), one(node(room=wanted)), "n1")


@KIT.clause("FIT-12", "slots-fill-a-node-to-the-last-unit")
async def _fills_up(subject: SchedulerUnderTest) -> None:
    request = asking(workload(container(wants=resources(cpu=250, licence=1))), slots=5)
    view = one(node(room=resources(cpu=1000, licence=4)))
    rule = "what fits exactly passes, and what was given before is not free"
    await expect_placed(subject, request, view, *["n1"] * 4, None, rule=rule)


@KIT.clause("FIT-12", "amounts-near-the-largest-are-compared-exactly")
async def _largest(subject: SchedulerUnderTest) -> None:
    for largest in (MAX_AMOUNT, 2**53 + 1):
        request = asking(workload(container(wants=resources(memory=largest))))
        await expect_node(subject, request, one(node(room=resources(memory=largest))), "n1")
        short = one(node(room=resources(memory=largest - 1)))
        await expect_refused(subject, request, short, Predicate.RESOURCE)


@KIT.property_clause("FIT-12", "huge-amounts-neither-overflow-nor-round")
def _huge(run: Runner[SchedulerUnderTest]) -> None:
    def examine(
        situation: Situation, decisions: list[ScheduleDecision], abilities: frozenset[SchedulerCapability]
    ) -> None:
        expect_unbroken(situation, decisions, abilities, "SAFE-1", "FULL-1")

    for_all_situations(run, examine, huge=True)


@KIT.clause("FIT-13", "what-is-not-asked-for-need-not-be-free")
async def _not_asked_for(subject: SchedulerUnderTest) -> None:
    shrunk = one(node(room=resources(cpu=10, memory=10)), neighbour(demand=resources(cpu=20, disk=5)))
    await expect_node(subject, asking(workload(container(wants=resources(memory=10)))), shrunk, "n1")
    await expect_node(subject, asking(workload()), shrunk, "n1")


@KIT.clause("FIT-13", "a-node-that-has-shrunk-takes-no-more")
async def _shrunk(subject: SchedulerUnderTest) -> None:
    shrunk = one(node(room=resources(cpu=10)), neighbour(demand=resources(cpu=20)))
    request = asking(workload(container(wants=resources(cpu=1))))
    await expect_refused(subject, request, shrunk, Predicate.RESOURCE)
