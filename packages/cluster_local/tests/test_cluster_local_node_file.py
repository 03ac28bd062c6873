"""Who this machine is and what was ordered survives; what is damaged is refused and left alone."""

from __future__ import annotations

import json
import os
import stat
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from orchestrion.cluster_interface import ClusterClosed, ClusterUnavailable
from orchestrion.cluster_local import NodeFileInvalid, open_cluster
from orchestrion.cluster_local._node_file import NodeRecord, load_node_record, save_node_record
from orchestrion.shared_types import ClusterFailure, Drain, Node

DEADLINE = datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


async def node_of(machine: Any) -> Node:
    async with machine.open() as cluster:
        await cluster.initialize()
        node: Node
        (node,) = await cluster.list_nodes()
        return node


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()} if directory.exists() else {}


async def test_a_machine_keeps_its_id(machine: Any) -> None:
    assert (await node_of(machine)).id == (await node_of(machine)).id


async def test_another_state_directory_is_another_node(machine: Any) -> None:
    first = await node_of(machine)
    machine.state_dir = machine.state_dir.with_name("other")
    assert (await node_of(machine)).id != first.id


async def test_by_default_an_id_is_a_uuid_of_version_7(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        await cluster.initialize()
        (node,) = await cluster.list_nodes()
    assert UUID(node.id).version == 7


async def test_opening_reads_and_writes_nothing(machine: Any) -> None:
    async with machine.open():
        pass
    assert not machine.state_dir.exists()


async def test_the_file_has_a_schema_version_and_nothing_else_is_left(machine: Any) -> None:
    node = await node_of(machine)
    assert list(contents(machine.state_dir)) == ["node.json"]
    data = json.loads((machine.state_dir / "node.json").read_text())
    assert data == {"version": 1, "id": node.id, "created_at": data["created_at"]}


async def test_only_a_change_writes_the_file(machine: Any) -> None:
    async with machine.open() as cluster:
        await cluster.initialize()
        (node,) = await cluster.list_nodes()
        await cluster.cordon_node(node.id)
        before = (machine.state_dir / "node.json").stat().st_ino
        await cluster.cordon_node(node.id)
        await cluster.sample_now()
        assert (machine.state_dir / "node.json").stat().st_ino == before


GOOD = {"version": 1, "id": "n1", "created_at": "2030-01-01T00:00:00+00:00"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "no schema version"),
        ("{}", "no schema version"),
        ('{"version": "1"}', "no schema version"),
        ('{"version": true}', "no schema version"),
        (json.dumps({**GOOD, "version": 2}), "knows versions up to 1"),
        (json.dumps({"version": 1}), "'id' is missing|missing"),
        (json.dumps({**GOOD, "id": 7}), "a text is wanted"),
        (json.dumps({**GOOD, "id": ""}), "id is empty"),
        (json.dumps({**GOOD, "surprise": 1}), "surprise"),
        (json.dumps({**GOOD, "drain": {"reason": "x"}}), "not cordoned"),
        ("\xff\xfe", "not JSON"),
    ],
)
async def test_a_damaged_file_is_refused_and_left_alone(machine: Any, text: str, why: str) -> None:
    machine.state_dir.mkdir()
    (machine.state_dir / "node.json").write_bytes(text.encode("latin-1"))
    before = contents(machine.state_dir)
    with pytest.raises(NodeFileInvalid, match=why) as caught:
        await node_of(machine)
    assert "node.json" in caught.value.message
    assert caught.value.remedy
    assert contents(machine.state_dir) == before


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=60) | st.text(alphabet='{}[]",:version1id0 ', max_size=40).map(str.encode))
def test_any_bytes_give_a_record_or_one_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    directory = tmp_path_factory.mktemp("any")
    (directory / "node.json").write_bytes(data)
    with suppress(ClusterFailure):
        assert load_node_record(directory) is not None
    assert (directory / "node.json").read_bytes() == data


@settings(max_examples=30, deadline=None)
@given(cordoned=st.booleans(), reason=st.text(st.characters(codec="utf-8")), deadline=st.none() | st.just(DEADLINE))
def test_what_is_saved_is_loaded(
    tmp_path_factory: pytest.TempPathFactory, *, cordoned: bool, reason: str, deadline: datetime | None
) -> None:
    directory = tmp_path_factory.mktemp("record")
    drain = Drain(reason=reason, deadline=deadline) if cordoned else None
    record = NodeRecord(id="n1", created_at=DEADLINE, cordoned=cordoned, drain=drain)
    save_node_record(directory, record)
    assert load_node_record(directory) == record


async def test_an_unfinished_write_of_a_crashed_program_does_no_harm(machine: Any) -> None:
    node = await node_of(machine)
    (machine.state_dir / "node.json.new").write_text("{")
    (machine.state_dir / "node.json.new").chmod(0o666)
    async with machine.open() as cluster:
        await cluster.initialize()
        await cluster.cordon_node(node.id)
    assert list(contents(machine.state_dir)) == ["node.json"]
    assert stat.S_IMODE((machine.state_dir / "node.json").stat().st_mode) == 0o600
    assert (await node_of(machine)).cordoned


@pytest.mark.parametrize("step", ["fsync", "replace"])
async def test_an_order_that_cannot_be_written_has_not_happened(
    machine: Any, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    async with machine.open() as cluster:
        await cluster.initialize()
        (before,) = await cluster.list_nodes()
        with monkeypatch.context() as patch:
            patch.setattr(os if step == "fsync" else Path, step, fail)
            with pytest.raises(ClusterUnavailable, match=r"writing .*node.json failed: No space left"):
                await cluster.cordon_node(before.id)
        assert await cluster.list_nodes() == [before]
        await cluster.cordon_node(before.id)
    assert (await node_of(machine)).cordoned


async def test_a_state_directory_that_is_a_file_is_an_error(machine: Any) -> None:
    machine.state_dir.write_text("a file")
    with pytest.raises(ClusterUnavailable, match=r"node.json failed: Not a directory"):
        await node_of(machine)


async def test_an_initialize_that_failed_may_be_repeated(machine: Any) -> None:
    async with machine.open() as cluster:
        machine.disk_error = OSError(5, "Input/output error")
        with pytest.raises(ClusterUnavailable):
            await cluster.initialize()
        machine.disk_error = None
        await cluster.initialize()
        assert len(await cluster.list_nodes()) == 1


async def test_an_error_of_the_caller_comes_out_as_it_is(machine: Any) -> None:
    async def use() -> None:
        async with machine.open() as cluster:
            await cluster.initialize()
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await use()


async def test_leaving_by_cancellation_closes(machine: Any) -> None:
    with trio.CancelScope() as scope:
        async with machine.open() as cluster:
            await cluster.initialize()
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    with pytest.raises(ClusterClosed):
        await cluster.list_nodes()


async def test_a_fault_in_the_sampling_is_not_swallowed(machine: Any) -> None:
    async def use() -> None:
        async with machine.open(sample_seconds=0.001) as cluster:
            await cluster.initialize()
            machine.disk_error = ZeroDivisionError("a fault of ours")
            await trio.sleep_forever()

    with pytest.RaisesGroup(ZeroDivisionError):
        await use()


def test_what_is_made_is_there_after_a_power_failure_with_the_way_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = set()
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.add(Path(f"/proc/self/fd/{descriptor}").readlink())
        real(descriptor)

    monkeypatch.setattr("orchestrion.cluster_local._node_file.os.fsync", fsync)
    save_node_record(tmp_path / "new" / "state", NodeRecord(id="node", created_at=DEADLINE))
    assert {tmp_path, tmp_path / "new", tmp_path / "new" / "state"} <= synced, "each holds the name of the next"
