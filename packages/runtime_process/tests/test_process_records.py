"""What is on disk: records, and the memory of epochs."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.runtime_interface import CreateOptions
from orchestrion.runtime_process import _record
from orchestrion.runtime_process._epochs import EpochMemory
from orchestrion.runtime_process._plan import container_id_of
from orchestrion.runtime_process._record import Body, RecordDamaged, RecordTooNew, new_record, parse_record, write_lost
from orchestrion.shared_types import ContainerConfig, InstanceKey, NodeId, Uid

KEY = InstanceKey(Uid("w"), 0, 1)
BODY = Body(
    config=ContainerConfig(name="main", command=("true",), env_vars={"A": "ü"}),
    options=CreateOptions(node_id=NodeId("n"), instance=KEY),
    created_at=datetime(2026, 1, 2, 3, 4, 5, 678901, UTC),
    boot_id="boot",
    environment={"A": "ü"},
    command=("true",),
    working_dir="/",
    enter_as_owner=False,
    cgroups={"memory": "/x"},
)


def test_a_record_reads_back_as_it_was_written() -> None:
    head, body = parse_record(new_record(BODY))
    assert body == BODY
    assert head == _record.Head()


@given(cut=st.integers(0, len(new_record(BODY)) - 1))
def test_a_record_that_was_cut_off_is_damaged(cut: int) -> None:
    with pytest.raises(RecordDamaged):
        parse_record(new_record(BODY)[:cut])


@given(data=st.binary(max_size=600))
def test_a_head_of_anything_is_read_or_refused(data: bytes) -> None:
    record = bytearray(new_record(BODY))
    record[512 : 512 + len(data)] = data
    with suppress(RecordDamaged, RecordTooNew):
        parse_record(bytes(record))


def test_the_exit_status_that_is_written_for_a_lost_shim_reads_back(tmp_path: Path) -> None:
    (tmp_path / "record").write_bytes(new_record(BODY))
    at = datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC)
    write_lost(tmp_path, reason="shim-lost", message="what happened", at=at)
    head = _record.read_head(tmp_path)
    assert head.exit is not None
    assert (head.exit.reason, head.exit.message, head.finished_at) == ("shim-lost", "what happened", at)
    assert parse_record((tmp_path / "record").read_bytes())[1] == BODY


IDS = st.builds(
    lambda workload, index, epoch, attempt, name: (
        name,
        CreateOptions(node_id=NodeId("n"), instance=InstanceKey(Uid(workload), index, epoch), attempt=attempt),
    ),
    st.text(max_size=5),
    st.integers(0, 3),
    st.integers(1, 3),
    st.integers(0, 3),
    st.text(min_size=1, max_size=5),
)


@given(one=IDS, other=IDS)
def test_ids_are_equal_just_when_the_keys_are_and_fit_a_path(
    one: tuple[str, CreateOptions], other: tuple[str, CreateOptions]
) -> None:
    same = (one[0], one[1].instance, one[1].attempt) == (other[0], other[1].instance, other[1].attempt)
    ids = container_id_of(*one), container_id_of(*other)
    assert (ids[0] == ids[1]) == same
    assert len(ids[0]) < 128
    assert "/" not in ids[0]


@pytest.fixture
def memory(tmp_path: Path) -> EpochMemory:
    """An empty memory."""
    return EpochMemory(tmp_path / "epochs")


def reloaded(memory: EpochMemory) -> EpochMemory:
    again = EpochMemory(memory.path)
    again.load()
    return again


def test_what_was_appended_is_known_again(memory: EpochMemory) -> None:
    memory.note(InstanceKey(Uid("w"), 0, 3), "main", 2)
    memory.note(InstanceKey(Uid("w"), 0, 2), "main", 9)
    memory.append(memory.line_for(KEY))
    again = reloaded(memory)
    assert again.known_epoch(KEY) == 3
    assert again.known_attempt(InstanceKey(Uid("w"), 0, 3), "main") == 2
    assert again.known_attempt(InstanceKey(Uid("w"), 0, 2), "main") == -1
    assert again.known_epoch(InstanceKey(Uid("w"), 1, 1)) == 0


@pytest.mark.parametrize(
    "torn", [b'["torn",1', b"\xff\xfe", bytes(9), b"7", b"[1, 2]", b'["a", -1, {}, 3]', b'["a", 1, 2, {"main": null}]']
)
def test_a_torn_line_costs_no_other(memory: EpochMemory, torn: bytes) -> None:
    memory.note(KEY, "main", 0)
    memory.append(memory.line_for(KEY))
    with memory.path.open("ab") as file:
        file.write(torn)
    other = InstanceKey(Uid("other"), 0, 7)
    memory.note(other, "main", 0)
    memory.append(memory.line_for(other))
    again = reloaded(memory)
    assert (again.known_epoch(KEY), again.known_epoch(other)) == (1, 7)


@pytest.mark.slow
def test_ten_thousand_slots_are_remembered_and_the_file_stays_bounded(
    memory: EpochMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrion.runtime_process._epochs.os.fdatasync", lambda _: None)
    held = InstanceKey(Uid("held"), 0, 4)
    memory.note(held, "main", 0)
    memory.append(memory.line_for(held))
    for index in range(30_000):
        key = InstanceKey(Uid("w"), index, 2)
        memory.note(key, "main", 0)
        memory.append(memory.line_for(key))
    for _ in range(65_000):
        memory.append(memory.line_for(key))
    again = reloaded(memory)
    size = memory.path.stat().st_size
    assert again.is_large
    again.rewrite(again.compacted({("held", 0)}))
    assert memory.path.stat().st_size < size / 4
    final = reloaded(memory)
    assert final.known_epoch(held) == 4
    assert all(final.known_epoch(InstanceKey(Uid("w"), index, 2)) == 2 for index in range(20_000, 30_000))
    assert final.known_epoch(InstanceKey(Uid("w"), 0, 2)) == 0
