"""The capability `devices`: GPUs, whole and shared."""

from __future__ import annotations

from orchestrion.conformance_kit import Runner
from orchestrion.scheduler_interface import Predicate, ScheduleDecision, SchedulerCapability
from orchestrion.shared_types import MAX_AMOUNT, Device, GpuRequest, WorkloadDefinition

from ._build import asking, container, neighbour, node, one, workload
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

DEVICES = SchedulerCapability.DEVICES


def _gpu(device_id: str, model: str = "A100", memory: int = 40, capability: str = "8.0", kind: str = "gpu") -> Device:
    return Device(id=device_id, kind=kind, model=model, memory_bytes=memory, capability=capability)


def _wanting(*requests: GpuRequest) -> WorkloadDefinition:
    return workload(*(container(f"c{number}", gpu=request) for number, request in enumerate(requests)))


@KIT.clause("DEVICE-1", "whole-devices-are-granted-by-container", requires=DEVICES)
async def _whole(subject: SchedulerUnderTest) -> None:
    view = one(node(devices=(_gpu("d0"), _gpu("d1"), _gpu("d2"))))
    decision = await expect_node(subject, asking(_wanting(GpuRequest(count=2), GpuRequest(count=1))), view, "n1")
    granted = {name: set(ids) for name, ids in decision.devices.items()}
    assert {name: len(ids) for name, ids in granted.items()} == {"c0": 2, "c1": 1}, decision
    assert set().union(*granted.values()) == {"d0", "d1", "d2"}, decision
    assert dict(decision.device_thousandths) == {"d0": 1000, "d1": 1000, "d2": 1000}, decision


@KIT.clause("DEVICE-1", "a-device-that-is-shared-is-not-wholly-free", requires=DEVICES)
async def _not_wholly_free(subject: SchedulerUnderTest) -> None:
    view = one(node(devices=(_gpu("d0"), _gpu("d1"))), neighbour(device_thousandths={"d0": 1}))
    decision = await expect_node(subject, asking(_wanting(GpuRequest(count=1))), view, "n1")
    assert dict(decision.devices) == {"c0": ("d1",)}, decision
    await expect_refused(subject, asking(_wanting(GpuRequest(count=2))), view, Predicate.DEVICE)


@KIT.clause("DEVICE-1", "more-devices-than-there-are-refuse", requires=DEVICES)
async def _too_many(subject: SchedulerUnderTest) -> None:
    view = one(node(devices=(_gpu("d0"), _gpu("d1"))))
    for count in (3, MAX_AMOUNT):
        await expect_refused(subject, asking(_wanting(GpuRequest(count=count))), view, Predicate.DEVICE)
    together = _wanting(GpuRequest(count=2), GpuRequest(thousandths=1))
    await expect_refused(subject, asking(together), view, Predicate.DEVICE)


@KIT.clause("DEVICE-1", "devices-that-are-no-gpus-are-not-granted", requires=DEVICES)
async def _other_kind(subject: SchedulerUnderTest) -> None:
    view = one(node(devices=(_gpu("d0", kind="fpga"),)))
    await expect_refused(subject, asking(_wanting(GpuRequest(count=1))), view, Predicate.DEVICE)


@KIT.clause("DEVICE-2", "shares-fill-a-device-to-the-last-thousandth", requires=DEVICES)
async def _shares_fit(subject: SchedulerUnderTest) -> None:
    view = one(node(devices=(_gpu("d0"),)), neighbour(device_thousandths={"d0": 250}))
    request = asking(_wanting(GpuRequest(thousandths=250)), slots=4)
    rule = "of 1000 thousandths 250 are held"
    await expect_placed(subject, request, view, "n1", "n1", "n1", None, rule=rule)


@KIT.clause("DEVICE-2", "one-thousandth-too-much-refuses", requires=DEVICES)
async def _share_too_large(subject: SchedulerUnderTest) -> None:
    view = one(node(devices=(_gpu("d0"), _gpu("d1"))), neighbour(device_thousandths={"d0": 501, "d1": 501}))
    await expect_refused(subject, asking(_wanting(GpuRequest(thousandths=500))), view, Predicate.DEVICE)
    decision = await expect_node(subject, asking(_wanting(GpuRequest(thousandths=499))), view, "n1")
    assert sorted(decision.device_thousandths.values()) == [499], decision


@KIT.clause("DEVICE-2", "containers-may-share-a-device", requires=DEVICES)
async def _containers_share(subject: SchedulerUnderTest) -> None:
    view = one(node(devices=(_gpu("d0"),)))
    both = _wanting(GpuRequest(thousandths=400), GpuRequest(thousandths=600))
    decision = await expect_node(subject, asking(both), view, "n1")
    assert dict(decision.devices) == {"c0": ("d0",), "c1": ("d0",)}, decision
    assert dict(decision.device_thousandths) == {"d0": 1000}, decision


@KIT.clause("DEVICE-2", "a-way-to-grant-all-containers-is-found", requires=DEVICES)
async def _grants_together(subject: SchedulerUnderTest) -> None:
    devices = (_gpu("d0", model="A100"), _gpu("d1", model="T4"))
    wants = _wanting(GpuRequest(thousandths=600), GpuRequest(thousandths=500, model="a100"))
    decision = await expect_node(subject, asking(wants), one(node(devices=devices)), "n1")
    assert dict(decision.devices) == {"c0": ("d1",), "c1": ("d0",)}, decision


@KIT.clause("DEVICE-3", "the-free-device-has-to-be-of-the-model", requires=DEVICES)
async def _model(subject: SchedulerUnderTest) -> None:
    devices = (_gpu("d0", model="NVIDIA A100-SXM4"), _gpu("d1", model="T4"))
    request = asking(_wanting(GpuRequest(count=1, model="a100")))
    decision = await expect_node(subject, request, one(node(devices=devices)), "n1")
    assert dict(decision.devices) == {"c0": ("d0",)}, decision
    taken = one(node(devices=devices), neighbour(device_thousandths={"d0": 1000}))
    await expect_refused(subject, request, taken, Predicate.DEVICE)


@KIT.clause("DEVICE-3", "the-free-device-has-to-have-the-memory", requires=DEVICES)
async def _memory(subject: SchedulerUnderTest) -> None:
    devices = (_gpu("d0", memory=80), _gpu("d1", memory=40), _gpu("d2", memory=0))
    request = asking(_wanting(GpuRequest(thousandths=500, memory_bytes=80)))
    decision = await expect_node(subject, request, one(node(devices=devices)), "n1")
    assert dict(decision.devices) == {"c0": ("d0",)}, decision
    taken = one(node(devices=devices), neighbour(device_thousandths={"d0": 501}))
    await expect_refused(subject, request, taken, Predicate.DEVICE)


@KIT.clause("DEVICE-3", "the-free-device-has-to-have-the-capability", requires=DEVICES)
async def _capability(subject: SchedulerUnderTest) -> None:
    devices = (_gpu("d0", capability="8.0"), _gpu("d1", capability="7.5"))
    request = asking(_wanting(GpuRequest(count=1, capability="8.0")))
    decision = await expect_node(subject, request, one(node(devices=devices)), "n1")
    assert dict(decision.devices) == {"c0": ("d0",)}, decision
    taken = one(node(devices=devices), neighbour(device_thousandths={"d0": 1}))
    await expect_refused(subject, request, taken, Predicate.DEVICE)


@KIT.clause("DEVICE-4", "capabilities-are-compared-part-by-part-as-numbers", requires=DEVICES)
async def _versions(subject: SchedulerUnderTest) -> None:
    for actual, least in (("10.0", "9.1"), ("8", "8.0"), ("8.0", "8"), ("8.6", "8.6"), ("8.10", "8.9")):
        view = one(node(devices=(_gpu("d0", capability=actual),)))
        await expect_node(subject, asking(_wanting(GpuRequest(count=1, capability=least))), view, "n1")
    for actual, least in (("9.1", "10"), ("8.6", "8.7"), ("8", "8.0.1"), ("", "1"), ("sm_80", "1")):
        view = one(node(devices=(_gpu("d0", capability=actual),)))
        request = asking(_wanting(GpuRequest(count=1, capability=least)))
        await expect_refused(subject, request, view, Predicate.DEVICE)


@KIT.property_clause("DEVICE-2", "grants-are-what-the-containers-want", requires=DEVICES)
def _grants(run: Runner[SchedulerUnderTest]) -> None:
    def examine(
        situation: Situation, decisions: list[ScheduleDecision], abilities: frozenset[SchedulerCapability]
    ) -> None:
        expect_unbroken(situation, decisions, abilities, "DEVICE")

    for_all_situations(run, examine)
