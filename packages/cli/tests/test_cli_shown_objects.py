"""Objects as tables, archives as files, ports as pairs: what comes from elsewhere is taken with care."""

from __future__ import annotations

import errno
import io
import os
import tarfile
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
from orchestrion.cli import _get
from orchestrion.cli._apply import all_confirmed
from orchestrion.cli._bundle import redacted
from orchestrion.cli._copy import CopyFailed, Spot, _pack, _unpack
from orchestrion.cli._forward import Forward, end_with_right
from orchestrion.cli._kinds import KindName
from orchestrion.cli._objects import Listed
from orchestrion.cli._places import place_of
from orchestrion.cli._put import put
from orchestrion.cli._tables import amount_of_cpu, amount_of_memory, at, object_rows
from orchestrion.cli._times import seconds_of
from orchestrion.cli._where import Where
from orchestrion.control_plane import ApiClient
from orchestrion.shared_types import ConfigInvalid, Denied, NetworkFailure, OrchestrationError, Unauthenticated

NOW = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)


def shown(kind: str, **parts: Any) -> dict[str, Any]:
    made = (NOW - timedelta(minutes=5)).isoformat()
    return {"kind": kind, "metadata": {"name": "x", "namespace": "default", "created_at": made}, **parts}


def test_a_row_says_what_and_how_old() -> None:
    titles, row = object_rows([shown("ConfigMap", spec={"data": {"a": "1", "b": "2"}})], NOW)
    assert (titles.split(), row.split()) == (["NAME", "KEYS", "AGE"], ["x", "2", "5", "min"])


def test_rows_that_come_later_stand_below_the_titles() -> None:
    least = list[int]()
    long, short = shown("ConfigMap", spec={"data": {}}), shown("ConfigMap", spec={"data": {}})
    long["metadata"]["name"] = "x" * 30
    titles, _ = object_rows([long], NOW, least=least)
    (line,) = object_rows([short], NOW, titles=False, least=least)
    assert line.index("0") == titles.index("KEYS")


@pytest.mark.parametrize(("due", "state"), [(NOW.isoformat(), "Restarting"), (None, "Running")])
def test_an_instance_of_which_a_container_waits_for_its_next_start_does_not_run(due: str | None, state: str) -> None:
    status = {"state": "Running", "containers": [{"name": "main", "next_attempt_at": due}]}
    (row,) = object_rows([shown("Instance", status=status, spec={"node_id": "n1"})], NOW, titles=False)
    assert row.split()[:2] == ["x", state]


def test_an_unknown_kind_is_shown_by_name_and_age() -> None:
    assert [row.split() for row in object_rows([shown("Boat")], NOW, titles=False)] == [["x", "5", "min"]]


def test_the_namespace_is_told_where_it_is_not_the_default_one() -> None:
    item = shown("Boat")
    item["metadata"]["namespace"] = "shop"
    assert object_rows([item], NOW)[0].startswith("NAMESPACE")


def test_a_wide_row_of_a_node_has_its_faults_and_a_question_mark_where_nobody_knows() -> None:
    conditions = [
        {"type": "SlowDisk", "active": True},
        {"type": "Fine", "active": False},
        {"type": "ClockSkew", "active": False, "unknown": True},
    ]
    node = shown("Node", status={"status": "Ready", "conditions": conditions})
    assert "SlowDisk,ClockSkew?" in object_rows([node], NOW, wide=True)[1].split()
    assert "SlowDisk" not in object_rows([node], NOW)[1]
    assert object_rows([], NOW) == []


class Judge:
    """Answers each time what comes next."""

    def __init__(self, *answers: bool | OrchestrationError) -> None:
        self.answers, self.asked = list(answers), list[Any]()

    async def ask(self, _method: str, path: str, question: Any, **_: object) -> Any:
        self.asked.append((path, question, trio.current_time()))
        answer = self.answers.pop(0)
        if isinstance(answer, OrchestrationError):
            raise answer
        return SimpleNamespace(data={"allowed": answer, "why": "no role allows it"})


@pytest.mark.parametrize(
    ("last", "error"), [(False, Denied), (Unauthenticated("what you showed was revoked"), Unauthenticated)]
)
async def test_a_forward_without_connections_ends_with_the_right_to_it(
    last: bool | OrchestrationError, error: type[Exception], autojump_clock: object
) -> None:
    judge = Judge(True, NetworkFailure("no answer"), True, last)
    began = trio.current_time()
    with pytest.raises(error, match=r"no role allows it|revoked"):
        await end_with_right(cast("ApiClient", judge), "shop", "web.0.1")
    question = {"verb": "exec", "resource": "instances", "namespace": "shop", "name": "web.0.1"}
    assert judge.asked == [("/api/v1/can-i", question, began + seconds) for seconds in (5, 10, 15, 20)]


def test_a_terminal_takes_no_orders_from_an_object() -> None:
    item = shown("Event", spec={"subject": "workload/\x1b[2Jweb", "message": "one\ntwo\x07", "reason": "\x9b31m"})
    rows = object_rows([item], NOW)
    assert not any(character in "".join(rows) for character in "\x1b\x07\x9b\n")


def test_a_terminal_takes_no_orders_from_what_a_node_says_of_itself() -> None:
    order = "\x1b[2J"
    node = shown("Node", spec={"drivers": [order]}, status={"conditions": [{"type": order, "active": True}]})
    node["metadata"]["labels"] = {"zone": order}
    assert "\x1b" not in "".join(object_rows([node], NOW, wide=True))


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


def test_a_folder_is_put_also_where_another_file_system_lies_below(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, target = tmp_path / "found", tmp_path / "target"
    mount = target / "mount"
    (found / "mount").mkdir(parents=True)
    mount.mkdir(parents=True)
    (found / "mount" / "a").write_text("new")
    (found / "mount" / "a").chmod(0o640)
    (found / "mount" / "link").symlink_to("nowhere")
    (mount / "a").write_text("old")

    def replace(self: Path, to: Path) -> Path:
        if to.is_relative_to(mount) and not self.is_relative_to(mount):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        os.replace(self, to)  # noqa: PTH105 # the method of paths is this one here
        return to

    monkeypatch.setattr(Path, "replace", replace)
    put(found, target)
    assert ((mount / "a").read_text(), (mount / "a").stat().st_mode & 0o777) == ("new", 0o640)
    assert (mount / "link").readlink() == Path("nowhere")
    assert sorted(each.name for each in mount.iterdir()) == ["a", "link"]


@pytest.mark.parametrize(
    ("plans", "asked"),
    [
        (["", ""], []),
        (["a", "a"], [["boat/a"]]),
        (["ab", "a"], [["boat/a", "boat/b"]]),
        (["a", "ab", "ab"], [["boat/a"], ["boat/a", "boat/b"]]),
        (["a", "b", "b"], [["boat/a"], ["boat/b"]]),
    ],
)
def test_nothing_goes_that_nobody_was_asked_about(plans: list[str], asked: list[list[str]]) -> None:
    left, questions = list(plans), list[list[str]]()

    async def planned() -> list[dict[str, Any]]:
        return [{"kind": "Boat", "name": name, "namespace": "sea"} for name in left.pop(0)]

    def ask(names: Sequence[str]) -> bool:
        questions.append(list(names))
        return True

    assert trio.run(all_confirmed, planned, ask)
    assert questions == asked


def test_a_no_is_not_asked_again() -> None:
    async def planned() -> list[dict[str, Any]]:
        return [{"kind": "Boat", "name": "a"}]

    assert not trio.run(all_confirmed, planned, lambda _: False)


class Followed:
    """Objects of a kind: one that is there, and one that comes."""

    looked_at = "default"

    def __init__(self) -> None:
        self.sent = list[str]()

    async def kind(self, text: str) -> KindName:
        return KindName(kind="Boat", plural=text, short=(), namespaced=True)

    async def list(self, kind: KindName, **_: object) -> Listed:
        self.sent.append("there")
        return Listed([self._boat("there")], 7)

    async def watch(self, kind: KindName, since: str | None, **_: object) -> AsyncGenerator[tuple[str, Any], None]:
        for name in ("there", "comes")[1 if since == "7" else 0 :]:
            self.sent.append(name)
            yield "ADDED", self._boat(name)

    def _boat(self, name: str) -> dict[str, Any]:
        boat = shown("Boat")
        boat["metadata"]["name"] = name
        return boat


def test_what_is_followed_is_sent_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    followed, where = Followed(), Where(tmp_path)

    @asynccontextmanager
    async def reach(*_: object) -> AsyncIterator[Followed]:
        yield followed

    monkeypatch.setattr(_get, "reach_objects", reach)
    trio.run(_get._follow, where, place_of(where), "boats", None, None, "table")
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["NAME", "there", "comes"]
    assert followed.sent == ["there", "comes"]
