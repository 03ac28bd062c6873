"""Objects as tables, archives as files, ports as pairs: what comes from elsewhere is taken with care."""

from __future__ import annotations

import io
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from orchestrion.cli._bundle import redacted
from orchestrion.cli._copy import CopyFailed, Spot, _pack, _unpack
from orchestrion.cli._forward import Forward
from orchestrion.cli._tables import amount_of_cpu, amount_of_memory, at, object_rows
from orchestrion.cli._times import seconds_of
from orchestrion.shared_types import ConfigInvalid

NOW = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)


def shown(kind: str, **parts: Any) -> dict[str, Any]:
    made = (NOW - timedelta(minutes=5)).isoformat()
    return {"kind": kind, "metadata": {"name": "x", "namespace": "default", "created_at": made}, **parts}


def test_a_row_says_what_and_how_old() -> None:
    titles, row = object_rows([shown("ConfigMap", spec={"data": {"a": "1", "b": "2"}})], NOW)
    assert (titles.split(), row.split()) == (["NAME", "KEYS", "AGE"], ["x", "2", "5", "min"])


def test_an_unknown_kind_is_shown_by_name_and_age() -> None:
    assert [row.split() for row in object_rows([shown("Boat")], NOW, titles=False)] == [["x", "5", "min"]]


def test_the_namespace_is_told_where_it_is_not_the_default_one() -> None:
    item = shown("Boat")
    item["metadata"]["namespace"] = "shop"
    assert object_rows([item], NOW)[0].startswith("NAMESPACE")
    assert object_rows([], NOW) == []


def test_a_terminal_takes_no_orders_from_an_object() -> None:
    item = shown("Event", spec={"subject": "workload/\x1b[2Jweb", "message": "one\ntwo\x07", "reason": "\x9b31m"})
    rows = object_rows([item], NOW)
    assert not any(character in "".join(rows) for character in "\x1b\x07\x9b\n")


def test_a_path_that_leads_nowhere_is_a_default() -> None:
    assert at({"a": {"b": None}}, "a.b", 3) == 3
    assert at({"a": [1]}, "a.b") == ""


@pytest.mark.parametrize(("amount", "text"), [(0, "0"), (250, "250m"), (2000, "2"), (1500, "1500m"), (None, "0")])
def test_processors_are_told_in_short(amount: object, text: str) -> None:
    assert amount_of_cpu(amount) == text


@pytest.mark.parametrize(
    ("amount", "text"), [(0, "0"), (2048, "2Ki"), (512 * 2**20, "512Mi"), (3 * 2**29, "1.5Gi"), (2**50, "1048576.0Gi")]
)
def test_memory_is_told_in_short(amount: int, text: str) -> None:
    assert amount_of_memory(amount) == text


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("1h30m", 5400), ("0.5m", 30), ("2d", 172_800)])
def test_a_length_of_time_is_read(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "10", "-5s", "5s!"])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(ConfigInvalid):
        seconds_of(text)


@pytest.mark.parametrize(
    ("text", "instance", "path"),
    [
        ("web.0:/etc/hosts", "web.0", "/etc/hosts"),
        ("./a:b", "", "./a:b"),
        ("/tmp/x", "", "/tmp/x"),
        ("web:", "web", ""),
        (":x", "", ":x"),
    ],
)
def test_a_place_is_here_or_in_an_instance(text: str, instance: str, path: str) -> None:
    assert Spot.read(text) == Spot(instance, path)


@pytest.mark.parametrize(
    ("text", "local", "remote"), [("8080:http", 8080, "http"), ("80", 80, "80"), ("http", 0, "http"), ("0:9", 0, "9")]
)
def test_a_pair_of_ports_is_read(text: str, local: int, remote: str) -> None:
    assert Forward.read(text) == Forward(local, remote)


@pytest.mark.parametrize("text", ["", ":", "a:b", "70000:80", "80:"])
def test_what_is_no_pair_of_ports_is_refused(text: str) -> None:
    with pytest.raises(ConfigInvalid):
        Forward.read(text)


def archive(*members: tarfile.TarInfo) -> io.BytesIO:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as packed:
        for member in members:
            packed.addfile(member, io.BytesIO(b"x" * member.size))
    return stream


def test_a_folder_comes_out_as_it_went_in(tmp_path: Path) -> None:
    folder = tmp_path / "site"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "page").write_text("words")
    stream = io.BytesIO()
    _pack(folder, stream)
    target = tmp_path / "out"
    target.mkdir()
    _unpack(stream, "site", target)
    _unpack(stream, "site", target)
    _unpack(stream, "site", tmp_path / "renamed")
    assert (target / "site" / "deep" / "page").read_text() == "words"
    assert (tmp_path / "renamed" / "deep" / "page").read_text() == "words"


def test_an_archive_reaches_nothing_outside(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    up = tarfile.TarInfo("../escaped")
    link = tarfile.TarInfo("x")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    device = tarfile.TarInfo("x")
    device.type = tarfile.CHRTYPE
    other = tarfile.TarInfo("other")
    for member in (up, link, device, other):
        with pytest.raises(CopyFailed):
            _unpack(archive(member), "x", target)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert list(target.iterdir()) == []


def test_values_of_variables_are_hidden_wherever_they_are() -> None:
    plain = {"spec": {"containers": [{"env": {"A": "secret", "B": 1}, "name": "main"}]}, "env_vars": "x"}
    assert redacted(plain) == {
        "spec": {"containers": [{"env": {"A": "***", "B": "***"}, "name": "main"}]},
        "env_vars": "***",
    }
