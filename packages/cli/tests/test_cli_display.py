"""What `up` shows: a line for each change that is news, and a table of what is going on."""

from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from attrs import evolve
from orchestrion.cli._display import LiveDisplay, PlainDisplay
from orchestrion.cli._picture import Picture
from orchestrion.orchestrator_core import Update, UpdateKind, WorkloadPhase, WorkloadView
from orchestrion.runtime_interface import LogStream
from orchestrion.shared_types import (
    Binding,
    InstanceKey,
    InstanceState,
    InstanceStatus,
    Metadata,
    NodeId,
    Uid,
    WorkloadDefinition,
    WorkloadInstance,
)
from rich.console import Console
from rich.live import Live

NOW = datetime(2026, 11, 22, tzinfo=UTC)

VIEW = WorkloadView(
    definition=WorkloadDefinition(metadata=Metadata(name="web")), phase=WorkloadPhase.PROGRESSING, replicas=2
)
INSTANCE = WorkloadInstance(
    key=InstanceKey(Uid("u"), 0, 1),
    namespace="default",
    workload="web",
    binding=Binding(node_id=NodeId("n1"), generation=1),
    status=InstanceStatus(state=InstanceState.RUNNING),
)


def of_view(view: WorkloadView) -> Update:
    return Update(kind=UpdateKind.WORKLOAD, namespace="default", name="web", workload=view)


def of_instance(instance: WorkloadInstance) -> Update:
    return Update(kind=UpdateKind.INSTANCE, namespace="default", name=instance.name, instance=instance)


def feed(display: Any, *updates: Update) -> Picture:
    picture = Picture()
    for update in (*updates, Update(kind=UpdateKind.SYNCED)):
        picture.take(update)
        display.update(picture, update)
    return picture


def test_each_change_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    healthy = evolve(VIEW, phase=WorkloadPhase.HEALTHY, available=2)
    feed(PlainDisplay(lambda: NOW), of_view(VIEW), of_instance(INSTANCE), of_view(VIEW), of_view(healthy))
    assert capsys.readouterr().err.splitlines() == [
        "web: Progressing (0/2 up)",
        "web.0.1: Running",
        "web: Healthy (2/2 up)",
    ]


def test_what_had_ended_before_is_no_news(capsys: pytest.CaptureFixture[str]) -> None:
    ended = evolve(INSTANCE, status=InstanceStatus(state=InstanceState.SUCCEEDED))
    feed(PlainDisplay(lambda: NOW), of_view(evolve(VIEW, phase=WorkloadPhase.SUCCEEDED)), of_instance(ended))
    assert capsys.readouterr().err == ""


def test_that_what_was_asked_for_has_ended_is_told_however_early_it_did(capsys: pytest.CaptureFixture[str]) -> None:
    done = evolve(VIEW, phase=WorkloadPhase.SUCCEEDED)
    feed(PlainDisplay(lambda: NOW, {("default", "web")}), of_view(done))
    assert capsys.readouterr().err.startswith("web: Succeeded")


@pytest.mark.parametrize(("columns", "titles"), [(100, "NODE"), (69, "READY")])
def test_a_narrow_table_tells_what_happens_rather_than_where(columns: int, titles: str) -> None:
    screen = StringIO()
    live = Live(console=Console(file=screen, force_terminal=True, width=columns, color_system=None), auto_refresh=False)
    display = LiveDisplay(lambda: NOW, live)
    live.update(display)
    with live:
        feed(display, of_view(VIEW), of_instance(INSTANCE))
        live.refresh()
    last = screen.getvalue().rpartition("WORKLOAD")[2].split()
    assert last[: last.index("WHAT")][-1] == titles


def test_the_table_shows_what_is_going_on_below_the_output() -> None:
    screen = StringIO()
    live = Live(console=Console(file=screen, force_terminal=True, width=100, color_system=None), auto_refresh=False)
    display = LiveDisplay(lambda: NOW, live)
    live.update(display)
    with live:
        feed(display, of_view(VIEW), of_instance(INSTANCE))
        display.say("by the way [not markup]")
        live.refresh()
    shown = screen.getvalue()
    assert "by the way [not markup]" in shown
    assert shown.index("by the way") < shown.rindex("web.0.1")
    assert "Progressing" in shown


def test_a_table_takes_no_orders_from_what_was_reported() -> None:
    screen = StringIO()
    live = Live(console=Console(file=screen, force_terminal=True, width=100, color_system=None), auto_refresh=False)
    display = LiveDisplay(lambda: NOW, live)
    live.update(display)
    broken = evolve(INSTANCE, status=evolve(INSTANCE.status, message="no [/such] mount \x1b]2;mine\x07"))
    with live:
        feed(display, of_view(evolve(VIEW, message="see [/docs]")), of_instance(broken))
        live.refresh()
    shown = screen.getvalue()
    assert ("see [/docs]" in shown, "no [/such] mount  ]2;mine" in shown) == (True, True)


def test_later_updates_leave_a_copy_as_it_is() -> None:
    picture = feed(PlainDisplay(lambda: NOW), of_view(VIEW), of_instance(INSTANCE))
    copy = picture.copy()
    picture.take(Update(kind=UpdateKind.WORKLOAD_REMOVED, namespace="default", name="web"))
    assert ("default", "web") in copy.views


def test_a_line_of_a_container_goes_where_its_stream_goes(capfd: pytest.CaptureFixture[str]) -> None:
    display = PlainDisplay(lambda: NOW)
    display.line(LogStream.STDOUT, "web.0", b"caf\xc3\xa9")
    display.line(LogStream.STDERR, "web.0", b"aside")
    printed = capfd.readouterr()
    assert printed.out == "web.0 | café\n"
    assert printed.err == "web.0 | aside\n"


def test_it_is_over_when_all_has_ended_and_nothing_runs() -> None:
    done = evolve(VIEW, phase=WorkloadPhase.SUCCEEDED)
    assert not feed(PlainDisplay(lambda: NOW), of_view(VIEW)).is_over()
    assert not feed(PlainDisplay(lambda: NOW), of_view(done), of_instance(INSTANCE)).is_over()
    over = feed(PlainDisplay(lambda: NOW), of_view(done))
    assert over.is_over()
    assert over.is_over([("default", "gone")])
    assert over.failed([("default", "web")]) == []
