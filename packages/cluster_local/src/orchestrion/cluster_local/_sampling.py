"""Makes the node out of what the machine, the record and the settings say."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from attrs import evolve, frozen
from orchestrion.cluster_interface import ClusterUnavailable
from orchestrion.shared_types import (
    ConfigInvalid,
    Device,
    Node,
    NodeCondition,
    NodeId,
    Problem,
    Resources,
)

from ._gpus import find_gpus
from ._machine import DiskMeter, DiskUsage, MemoryUsage, read_cpu_millicores, read_labels, read_memory
from ._node_file import NodeRecord, load_node_record, save_node_record
from ._pressure import DISK_PRESSURE, MEMORY_PRESSURE, SAMPLING_FAILED, next_pressure
from ._settings import LocalSettings, default_reserve


@frozen
class Sample:
    """What one look at the machine has found."""

    cpu_millicores: int
    memory: MemoryUsage
    disk: DiskUsage


def take_sample(root: Path, state_dir: Path, disk_meter: DiskMeter) -> Sample:
    """Look at the machine. It blocks.

    Raises:
        ClusterUnavailable: Something can't be read.
    """
    try:
        disk = disk_meter(state_dir)
    except OSError as err:
        msg = f"the file system of the state directory {state_dir} can't be measured: {err.strerror}"
        raise ClusterUnavailable(msg, remedy="make sure that the state directory exists") from err
    return Sample(read_cpu_millicores(root), read_memory(root), disk)


@frozen
class Machine:
    """What is known of the machine at the beginning."""

    record: NodeRecord
    sample: Sample
    devices: tuple[Device, ...]
    labels: Mapping[str, str]


def detect_machine(settings: LocalSettings) -> Machine:
    """Look at everything, and give a machine that has no id yet one. It blocks.

    Raises:
        NodeFileInvalid: `node.json` is damaged or of a newer version.
        ConfigInvalid: The reserve takes more than the machine has; no id was given.
        ClusterUnavailable: Something can't be read or written.
    """
    known = load_node_record(settings.state_dir)
    sample = take_sample(settings.root, _existing(settings.state_dir), settings.disk_meter)
    _check_reserve(settings.reserve, _capacity(sample, sample.disk.total_bytes))
    record = known
    if record is None:
        record = NodeRecord(id=settings.new_id(), created_at=settings.now())
        save_node_record(settings.state_dir, record)
    return Machine(record, sample, tuple(find_gpus(settings.root)), read_labels(settings.root))


def first_node(settings: LocalSettings, machine: Machine) -> Node:
    """Return the node as it is at the beginning."""
    began = settings.now()
    blank = Node(
        id=NodeId(machine.record.id),
        name=machine.labels["hostname"],
        labels={**machine.labels, **settings.labels},
        devices=machine.devices,
        topology=settings.topology,
        drivers=settings.drivers,
        conditions=tuple(
            NodeCondition(type=kind, active=False, since=began)
            for kind in (DISK_PRESSURE, MEMORY_PRESSURE, SAMPLING_FAILED)
        ),
    )
    return with_sample(with_orders(blank, machine.record), settings, machine.sample)


def with_orders(node: Node, record: NodeRecord) -> Node:
    """Return the node with the orders of its record."""
    return evolve(node, cordoned=record.cordoned, drain=record.drain)


def with_sample(node: Node, settings: LocalSettings, sample: Sample) -> Node:
    """Return the node as the sample shows it; an equal one where nothing is different.

    The disk's size stays as it was first seen, because some file systems change it with every write.
    """
    capacity = _capacity(sample, node.capacity.disk_bytes or sample.disk.total_bytes)
    now = settings.now()
    disk = next_pressure(
        _condition(node, DISK_PRESSURE),
        settings.disk_watermark,
        available_bytes=sample.disk.available_bytes,
        total_bytes=sample.disk.total_bytes,
        now=now,
    )
    memory = next_pressure(
        _condition(node, MEMORY_PRESSURE),
        settings.memory_watermark,
        available_bytes=sample.memory.available_bytes,
        total_bytes=sample.memory.total_bytes,
        now=now,
    )
    sampling = _condition(node, SAMPLING_FAILED)
    if sampling.active:
        sampling = evolve(sampling, active=False, reason="", since=now)
    reserve = default_reserve(capacity) if settings.reserve is None else settings.reserve
    return evolve(node, capacity=capacity, allocatable=capacity - reserve, conditions=(disk, memory, sampling))


def with_failed_sample(node: Node, reason: str, now: datetime) -> Node:
    """Return the node as it was, marked as one that can't be looked at; `since` stays with the first failure."""
    before = _condition(node, SAMPLING_FAILED)
    if before.active:
        return node
    failed = evolve(before, active=True, reason=reason, since=now)
    return evolve(node, conditions=tuple(failed if one is before else one for one in node.conditions))


def _condition(node: Node, kind: str) -> NodeCondition:
    return next(condition for condition in node.conditions if condition.type == kind)


def _capacity(sample: Sample, disk_bytes: int) -> Resources:
    return Resources(
        cpu_millicores=sample.cpu_millicores, memory_bytes=sample.memory.total_bytes, disk_bytes=disk_bytes
    )


def _existing(path: Path) -> Path:
    """Return the nearest directory that exists: a state directory that is not there yet will be made in it."""
    return next((one for one in (path, *path.absolute().parents) if one.exists()), path)


def _check_reserve(reserve: Resources | None, capacity: Resources) -> None:
    if reserve is None:
        return
    has = dict(capacity.dimensions())
    problems = tuple(
        Problem(f"{amount} is not below the {has.get(name, 0)} that this machine has", path=f"reserve.{name}")
        for name, amount in reserve.dimensions()
        if amount and amount >= has.get(name, 0)
    )
    if problems:
        raise ConfigInvalid(problems, remedy="reserve less, or use a larger machine")
