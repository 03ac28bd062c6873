"""`status --watch`: what has changed is told, once, over restarts, and to the end."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define, field
from orchestrion.cli._places import RemoteServer
from orchestrion.cli._status_follow import ScreenTeller, Wish, draw_all, follow_status, redraws
from orchestrion.control_plane import SocketPeer
from orchestrion.orchestrator_core import Subject, Update, UpdateKind, WorkloadPhase, WorkloadView, parse_subject
from orchestrion.shared_types import (
    Binding,
    Event,
    InstanceKey,
    InstanceState,
    InstanceStatus,
    Metadata,
    NetworkFailure,
    Node,
    NodeId,
    Uid,
    WorkloadDefinition,
    WorkloadInstance,
    WorkloadNotFound,
)
from rich.console import Console
from rich.live import Live
from trio.testing import MockClock

NOW = datetime(2026, 11, 22, tzinfo=UTC)
PLACE: Any = RemoteServer("there", "http://localhost", SocketPeer(Path("/nowhere")))
SYNCED = Update(kind=UpdateKind.SYNCED)
NODE = Update(kind=UpdateKind.NODE, name="n" * 32, node=Node(id=NodeId("n" * 32), name="alpha"))


def view(name: str = "web", phase: WorkloadPhase = WorkloadPhase.HEALTHY, **fields: Any) -> Update:
    given = WorkloadView(definition=WorkloadDefinition(metadata=Metadata(name=name)), phase=phase, replicas=1, **fields)
    return Update(kind=UpdateKind.WORKLOAD, namespace="default", name=name, workload=given)


def instance(index: int = 0, epoch: int = 1, state: InstanceState = InstanceState.RUNNING) -> Update:
    given = WorkloadInstance(
        key=InstanceKey(Uid("u"), index, epoch),
        namespace="default",
        workload="web",
        binding=Binding(node_id=NodeId("n" * 32), generation=1),
        status=InstanceStatus(state=state),
    )
    return Update(kind=UpdateKind.INSTANCE, namespace="default", name=given.name, instance=given)


def event(uid: str, subject: str = "workload/web") -> Update:
    given = Event(uid=Uid(uid), at=NOW, namespace="default", subject=subject, reason="Happened", message=f"it is {uid}")
    return Update(kind=UpdateKind.EVENT, namespace="default", name=uid, event=given)


GONE = Update(kind=UpdateKind.WORKLOAD_REMOVED, namespace="default", name="web")


@define(eq=False)
class Scripted:
    """Is asked instead of an orchestrator: each watch tells what a test says, and is then cut off.

    Attributes:
        watches: What they tell, one after the other; there is nobody any longer after the last.
        events_there: What has happened before.
        pause_seconds: How long it is until each update.
    """

    watches: list[Sequence[Update]]
    events_there: Sequence[Event] = ()
    pause_seconds: float = 5
    peer: Any = field(factory=lambda: SocketPeer(Path("/nowhere")))

    async def ping(self) -> None:
        await trio.lowlevel.checkpoint()
        if not self.watches:
            raise NetworkFailure("nobody")

    async def get_workload(self, name: str, /, *, namespace: str) -> WorkloadView:
        await trio.lowlevel.checkpoint()
        for update in self.watches[0]:
            if update.workload is not None and (update.namespace, update.name) == (namespace, name):
                return update.workload
        raise WorkloadNotFound(f"no {name}")

    async def events(self, **_query: Any) -> Sequence[Event]:
        await trio.lowlevel.checkpoint()
        return self.events_there

    @asynccontextmanager
    async def watch(self, *, namespace: str | None) -> AsyncIterator[AsyncIterator[Update]]:
        del namespace
        if not self.watches:
            raise NetworkFailure("nobody")

        async def told(updates: Sequence[Update]) -> AsyncGenerator[Update, None]:
            for update in updates:
                await trio.sleep(self.pause_seconds)
                yield update
            raise NetworkFailure("it was cut off")

        async with aclosing(told(self.watches.pop(0))) as updates:
            yield updates


async def followed(*watches: Sequence[Update], name: str | None = None, form: Any = "table", **fields: Any) -> None:
    """Follow what is told, until nobody is there any longer."""
    control: Any = Scripted(list(watches), **fields)
    subject: Subject | None = None if name is None else parse_subject(name)
    wish = Wish(subject=subject, namespace=None, form=form)
    try:
        await follow_status(control, PLACE, wish)
    except NetworkFailure:
        assert not control.watches


def words(text: str) -> list[list[str]]:
    """Return the words of lines, without ages."""
    return [[word for word in line.split() if word != "-"] for line in text.splitlines()]


async def test_all_that_there_is_comes_first_and_then_what_changes(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    down = view(phase=WorkloadPhase.PROGRESSING)
    await followed([NODE, view("api"), down, instance(), SYNCED, view(available=1)])
    lines = words(capsys.readouterr().out)
    assert [line[0] for line in lines] == ["NAME", "api", "web", "web.0.1", "web", "web.0.1"]
    assert [line[1:3] for line in lines if line[0] == "web"] == [["Progressing", "0/1"], ["Healthy", "1/1"]]
    assert lines[3][1:4] == ["Running", "alpha", "(nnnnnnnn)"]


async def test_what_is_told_again_is_no_news(autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]) -> None:
    await followed([view(), instance(), SYNCED, view(), instance(), NODE], form="name")
    assert capsys.readouterr().out == "web\n"


@pytest.mark.parametrize("form", ["json", "jsonl", "yaml"])
async def test_programs_get_a_line_of_json_for_each_change(
    form: str, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    await followed([view(), SYNCED, instance(), instance(state=InstanceState.FAILED)], form=form)
    reports = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [report["workload"]["definition"]["metadata"]["name"] for report in reports] == ["web"] * 3
    states = [[one["status"]["state"] for one in report.get("instances", ())] for report in reports]
    assert states == [[], ["Running"], ["Failed"]]


async def test_after_a_restart_only_what_is_otherwise_is_told(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    await followed(
        [view("api"), view("old"), view(), SYNCED],
        [view("api"), view(phase=WorkloadPhase.DEGRADED), SYNCED],
        form="name",
    )
    printed = capsys.readouterr()
    assert printed.out.split() == ["api", "old", "web", "web"]
    assert "old: gone" in printed.err


async def test_one_workload_is_followed_with_its_events_until_it_is_gone(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    there = event("e1").event
    assert there is not None
    others = [view("api"), event("e3", "workload/api"), event("e4", "workload/webs")]
    await followed(
        [view(), instance(), SYNCED, *others, event("e1"), event("e2", "instance/web.0.1"), GONE, view("api")],
        name="web",
        form="jsonl",
        events_there=[there],
    )
    printed = capsys.readouterr()
    reports = [json.loads(line) for line in printed.out.splitlines()]
    assert [[one["uid"] for one in report.get("events", ())] for report in reports] == [["e1"], ["e1", "e2"]]
    assert "web: gone" in printed.err


async def test_of_a_slot_the_latest_instance_is_followed(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    await followed([view(), instance(), instance(1), SYNCED, instance(1, 2)], name="web.1", form="jsonl")
    reports = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [[one["key"]["epoch"] for one in report.get("instances", ())] for report in reports] == [[1], [2]]
    assert {one["key"]["index"] for report in reports for one in report.get("instances", ())} == {1}


async def test_who_follows_what_is_not_there_is_told_so(autojump_clock: MockClock) -> None:
    with pytest.raises(WorkloadNotFound):
        await followed([view(), SYNCED], name="nope")


async def drawings(wish: Wish, updates: Sequence[Update], pause_seconds: float) -> tuple[list[list[str]], str]:
    """Return the lines of each drawing of a table, and all that the terminal was sent."""
    screen, drawn = StringIO(), list[list[str]]()
    live = Live(console=Console(file=screen, force_terminal=True, width=40, color_system=None), auto_refresh=False)
    teller = ScreenTeller(wish, live)

    class Noting:
        def tell(self, glimpse: Any, /) -> None:
            before = screen.tell()
            teller.tell(glimpse)
            drawn.append(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue()[before:]).splitlines())

    control: Any = Scripted([updates], pause_seconds=pause_seconds)
    with live:
        await draw_all(control, PLACE, wish, Noting())
    return drawn, screen.getvalue()


async def test_a_table_is_drawn_anew_in_its_place_as_time_goes_by(autojump_clock: MockClock) -> None:
    wish = Wish(subject=parse_subject("web"), namespace=None, form="table")
    drawn, sent = await drawings(wish, [view(), SYNCED, view(available=1, message="word " * 60), GONE], 5)
    assert drawn[0][-1].split()[:3] == ["web", "Healthy", "0/1"]
    assert drawn[-1][-1] == "web: gone"
    assert all(len(line) <= 40 for lines in drawn for line in lines)
    assert len(drawn) > 5
    assert "\x1b[1A" in sent


async def test_a_table_is_not_drawn_for_each_of_many_changes(autojump_clock: MockClock) -> None:
    wish = Wish(subject=parse_subject("web"), namespace=None, form="table")
    updates = [view(), SYNCED, *(view(available=number) for number in range(200)), GONE]
    drawn, _ = await drawings(wish, updates, 0.01)
    assert 3 < len(drawn) < 20


@pytest.mark.parametrize(
    ("form", "term", "at_terminal", "expected"),
    [
        ("table", "xterm", True, True),
        ("wide", "xterm", True, True),
        ("table", "dumb", True, False),
        ("table", "xterm", False, False),
        ("jsonl", "xterm", True, False),
    ],
)
def test_a_table_is_kept_up_to_date_only_for_people_at_a_terminal(
    form: Any, term: str, at_terminal: bool, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", term)
    stdout = StringIO()
    monkeypatch.setattr(stdout, "isatty", lambda: at_terminal)
    monkeypatch.setattr("sys.stdout", stdout)
    assert redraws(form) is expected


@pytest.mark.slow
def test_it_ends_with_the_orchestrator_that_had_nothing_left_to_run(shell: Any) -> None:
    path = shell.write(
        "web.yaml",
        """
        workloads:
          web:
            replicas: 1
            containers: [{name: main, command: [sh, -c, "trap 'exit 0' TERM; while :; do sleep 0.1; done"]}]
        """,
    )
    up = shell.up(str(path))
    up.wait_for("web: Healthy")
    status = shell.begin("status", "-w")
    status.wait_for("web.0.1")
    for_programs = shell.begin("status", "web", "-w", "-o", "jsonl")
    for_programs.wait_for("web")
    assert shell.run("scale", "web", "2").returncode == 0
    status.wait_for("web.1.1")
    up.interrupt()
    assert (up.end(), status.end(), for_programs.end()) == (130, 0, 0)
    assert any("Stopped" in line for line in status.out)
    assert json.loads(for_programs.out[-1])["workload"]["phase"] == "Stopped"
    assert shell.run("status", "-w").returncode == 0
    assert "nothing comes after this" in shell.run("status", "-w").stderr
