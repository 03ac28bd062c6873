"""Whether what a scheduler decided fits the nodes."""

from __future__ import annotations

import pytest
from attrs import evolve
from orchestrion.mocks import mock_nodes
from orchestrion.orchestrator_core._cluster.view import Placeable, check_room
from orchestrion.scheduler_interface import AssignNode, NodeView
from orchestrion.shared_types import InstanceKey, Protocol, Resources, SchedulingFailure, Uid

_ROOM = Resources(cpu_millicores=1_000, memory_bytes=1_000, extended={"tpu": 2})
SMALL = evolve(mock_nodes(1)[0], capacity=_ROOM, allocatable=_ROOM)


def decided(count: int, **devices: tuple[str, ...]) -> list[AssignNode]:
    """Return decisions that put so many slots on the small node."""
    return [AssignNode(slot=InstanceKey(Uid("w"), slot, 1), node_id=SMALL.id, devices=devices) for slot in range(count)]


def asking(*ports: int, **demand: int) -> Placeable:
    """Return what each of the slots takes."""
    extended = {name: amount for name, amount in demand.items() if name == "tpu"}
    plain = {name: amount for name, amount in demand.items() if name != "tpu"}
    wanted = Resources(cpu_millicores=plain.get("cpu", 0), memory_bytes=plain.get("memory", 0), extended=extended)
    return Placeable(wanted, frozenset((Protocol.TCP, port) for port in ports))


@pytest.mark.parametrize(
    ("decisions", "placeable"),
    [
        (decided(10), asking(cpu=100, memory=100, tpu=0)),
        (decided(2), asking(tpu=1)),
        (decided(1), asking(80)),
        (decided(1, main=("gpu-0", "gpu-1")), asking()),
    ],
)
def test_what_fits_a_node_is_let_through(decisions: list[AssignNode], placeable: Placeable) -> None:
    check_room(NodeView(node=SMALL), decisions, placeable)


@pytest.mark.parametrize(
    ("decisions", "placeable"),
    [
        (decided(11), asking(cpu=100)),
        (decided(11), asking(memory=100)),
        (decided(3), asking(tpu=1)),
        (decided(2), asking(80)),
        (decided(2, main=("gpu-0",)), asking()),
    ],
)
def test_what_is_too_much_for_a_node_is_refused(decisions: list[AssignNode], placeable: Placeable) -> None:
    with pytest.raises(SchedulingFailure, match="asked more of node"):
        check_room(NodeView(node=SMALL), decisions, placeable)


def test_what_needs_nothing_of_what_is_overdrawn_is_let_through() -> None:
    overdrawn = NodeView(node=SMALL, reserved=Resources(cpu_millicores=2_000))
    check_room(overdrawn, decided(1), asking(memory=100))
    with pytest.raises(SchedulingFailure):
        check_room(overdrawn, decided(1), asking(cpu=1))


def test_a_node_that_does_not_exist_is_refused() -> None:
    with pytest.raises(SchedulingFailure, match="does not exist"):
        check_room(None, decided(1), asking())
