"""Times, tables and lines, as people read them."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.cli._apply_workloads import change_lines
from orchestrion.cli._lines import LineMaker, prefix_of
from orchestrion.cli._output import Form, columns, show, show_one
from orchestrion.cli._status import event_rows
from orchestrion.cli._times import moment, since, span
from orchestrion.cli._words import (
    container_words,
    instance_words,
    next_action,
    ready,
    restart_words,
    state_words,
)
from orchestrion.orchestrator_core import (
    ChangeAction,
    FieldDifference,
    LogRecord,
    WorkloadChange,
    WorkloadPhase,
    WorkloadView,
)
from orchestrion.runtime_interface import LogStream
from orchestrion.shared_types import (
    Binding,
    ConfigInvalid,
    ContainerHealth,
    ContainerState,
    ContainerStatus,
    Event,
    EventSeverity,
    ExitStatus,
    InstanceKey,
    InstanceState,
    InstanceStatus,
    Metadata,
    NodeId,
    Uid,
    WorkloadDefinition,
    WorkloadInstance,
    WorkloadKind,
)

NOW = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("1h30m", 5400), ("2d", 172800), ("0.5h", 1800)]
)
def test_a_span_is_so_long_before_now(text: str, seconds: float) -> None:
    assert moment(text, NOW) == NOW - timedelta(seconds=seconds)


def test_a_time_is_that_time() -> None:
    assert moment("2026-11-22T10:00:00+00:00", NOW) == NOW - timedelta(minutes=30)


@pytest.mark.parametrize("text", ["", "soon", "10", "10x", "h1", "-5m", "9" * 400 + "d", "2026-13-01"])
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigInvalid, match="10m"):
        moment(text, NOW)


@pytest.mark.parametrize(
    ("seconds", "words"), [(-3, "0 s"), (12.4, "12 s"), (119, "119 s"), (180, "3 min"), (7200, "2 h"), (864000, "10 d")]
)
def test_a_span_is_told_in_its_largest_sensible_unit(seconds: float, words: str) -> None:
    assert span(seconds) == words


def test_no_time_is_told_as_nothing() -> None:
    assert since(None, NOW) == ""


def test_columns_are_aligned_and_colours_take_no_width() -> None:
    rows = [
        ("a", "\x1b[32mgreen\x1b[0m", "x"),
        ("long name", "b", "y"),
        ("one cell that is much longer than a column",),
    ]
    assert columns(rows) == [
        "a          \x1b[32mgreen\x1b[0m  x",
        "long name  b      y",
        "one cell that is much longer than a column",
    ]


def test_no_rows_are_no_lines() -> None:
    assert columns([]) == []


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("table", "1 w\n"),
        ("name", "w\n"),
        ("jsonl", '{"code":1}\n'),
        ("json", '[\n  {\n    "code": 1\n  }\n]\n'),
        ("yaml", "- code: 1\n"),
    ],
)
def test_data_is_written_in_the_form_asked_for(form: Form, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    show([ExitStatus(code=1)], form, table=lambda items: [f"{len(items)} w"], name=lambda _: "w")
    assert capsys.readouterr().out == expected


def test_one_item_is_no_list(capsys: pytest.CaptureFixture[str]) -> None:
    show_one(ExitStatus(code=1), "json", table=lambda _: [], name=str)
    assert json.loads(capsys.readouterr().out) == {"code": 1}
    show_one(ExitStatus(code=1), "yaml", table=lambda _: [], name=str)
    assert capsys.readouterr().out == "code: 1\n"


def record(data: bytes, stream: LogStream = LogStream.STDOUT, **fields: Any) -> LogRecord:
    return LogRecord(instance="web.0.1", container="main", attempt=0, stream=stream, offset=0, data=data, **fields)


@given(st.binary(max_size=200), st.lists(st.integers(0, 200)))
def test_lines_are_the_same_however_the_output_was_cut(data: bytes, cuts: list[int]) -> None:
    places = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    maker = LineMaker()
    lines = [line for start, end in itertools.pairwise(places) for line in maker.take(record(data[start:end]))[1]]
    lines += [line for _, line in maker.end()]
    expected = data.split(b"\n")
    if not expected[-1]:
        expected.pop()
    last = len(expected) - 1 if data and not data.endswith(b"\n") else None
    assert lines == [line if place == last else line.removesuffix(b"\r") for place, line in enumerate(expected)]


def test_a_line_without_end_is_cut_before_it_fills_the_memory() -> None:
    maker = LineMaker()
    lines = [line for _ in range(5) for line in maker.take(record(b"x" * 50_000))[1]]
    lines += [line for _, line in maker.end()]
    assert b"".join(lines) == b"x" * 250_000
    assert max(map(len, lines)) <= 65536


def test_streams_do_not_mix_and_a_gap_is_told() -> None:
    maker = LineMaker()
    assert maker.take(record(b"half"))[1] == []
    assert maker.take(record(b"other\n", LogStream.STDERR))[1] == [b"other"]
    assert maker.take(record(b"next\n", gap_bytes=7))[1] == [
        b"half",
        b"... 7 bytes are no longer kept ...",
        b"next",
    ]


def test_the_prefix_is_the_slot_and_the_container_where_there_are_several() -> None:
    source = ("web.0.1", "main", 0, LogStream.STDOUT)
    assert prefix_of(source, with_container=False) == "web.0"
    assert prefix_of(source, with_container=True) == "web.0/main"


@pytest.mark.parametrize(
    ("instance", "attempt", "prefix"),
    [
        ("web.0.1", 0, "web.0/main"),
        ("web.0.1", 2, "web.0/main#2"),
        ("web.0.2", 0, "web.0.2/main"),
        ("web.0.12", 1, "web.0.12/main#1"),
    ],
)
def test_later_instances_of_a_slot_and_attempts_are_told_apart(instance: str, attempt: int, prefix: str) -> None:
    assert prefix_of((instance, "main", attempt, LogStream.STDOUT), with_container=True) == prefix


def view(kind: WorkloadKind, phase: WorkloadPhase, *, completions: int = 1, **fields: Any) -> WorkloadView:
    definition = WorkloadDefinition(metadata=Metadata(name="web"), kind=kind, completions=completions)
    return WorkloadView(definition=definition, phase=phase, **fields)


def waiting(seconds: float) -> WorkloadInstance:
    container = ContainerStatus(
        name="main",
        state=ContainerState.EXITED,
        exit=ExitStatus(code=1),
        next_attempt_at=NOW + timedelta(seconds=seconds),
    )
    return WorkloadInstance(
        key=InstanceKey(Uid("u"), 0, 1),
        namespace="default",
        workload="web",
        binding=Binding(node_id=NodeId("n"), generation=1),
        status=InstanceStatus(state=InstanceState.RUNNING, containers=(container,)),
    )


def test_the_next_try_is_the_earliest_one() -> None:
    web = view(WorkloadKind.SERVICE, WorkloadPhase.PROGRESSING)
    assert next_action(web, [waiting(30), waiting(12)], NOW) == "a container starts again in 12 s"
    assert next_action(web, [waiting(-1)], NOW) == "a container starts again now"
    assert next_action(web, [], NOW) == ""


def test_what_was_reported_is_one_line_without_orders_to_a_terminal() -> None:
    loops = waiting(12)
    (container,) = loops.status.containers
    told = evolve(container, reason="gone\x1b[2J\nWeb is fine")
    assert container_words(told, NOW).isprintable()
    assert instance_words(evolve(loops, status=InstanceStatus(message="a\x9b31m\nb")), NOW) == "a 31m b"
    event = Event(
        uid=Uid("1"),
        namespace="default",
        subject="node/\x1b",
        reason="\x1b[2J",
        message="a\rb",
        severity=EventSeverity.NORMAL,
        at=NOW,
    )
    assert "".join(event_rows([event])[0]).isprintable()


def test_what_waits_for_a_restart_is_not_said_to_run() -> None:
    loops = waiting(12)
    told = evolve(loops, status=evolve(loops.status, reason="crash-loop", message="container main ended with code 1"))
    for instance in (loops, told):
        assert state_words(instance) == "Restarting"
        assert instance_words(instance, NOW) == "exited with 1, next try in 12 s"
    ended = evolve(told, status=evolve(told.status, state=InstanceState.FAILED, reason="exited"))
    assert (state_words(ended), instance_words(ended, NOW)) == ("Failed", "exited: container main ended with code 1")


@pytest.mark.parametrize(
    ("attempt", "words"), [(0, ""), (1, "restarted once, last 3 s ago"), (4, "restarted 4 times, last 3 s ago")]
)
def test_what_runs_again_says_how_often_it_was_started(attempt: int, words: str) -> None:
    began = NOW - timedelta(seconds=3)
    main = ContainerStatus(name="main", state=ContainerState.RUNNING, attempt=attempt, started_at=began)
    runs = evolve(waiting(1), status=InstanceStatus(state=InstanceState.RUNNING, containers=(main,)))
    assert (state_words(runs), restart_words(runs, NOW)) == ("Running", words)


def test_of_what_never_started_no_output_is_promised() -> None:
    begun = waiting(12)
    (container,) = begun.status.containers
    failed = evolve(container, exit=ExitStatus(reason="start-failed"), next_attempt_at=None)
    never = evolve(begun, status=evolve(begun.status, containers=(failed,)))
    web = view(WorkloadKind.SERVICE, WorkloadPhase.FAILED)
    assert next_action(web, [never], NOW) == "`orchestrion events --for web` shows what was tried"
    assert next_action(web, [never, begun], NOW).startswith("`orchestrion logs web`")


def test_what_is_in_trouble_says_where_to_look() -> None:
    web = view(WorkloadKind.SERVICE, WorkloadPhase.DEGRADED)
    look = "`orchestrion logs web` shows what it wrote"
    assert next_action(web, [waiting(12)], NOW) == f"a container starts again in 12 s; {look}"
    assert next_action(web, [], NOW) == look


def test_what_can_not_be_placed_says_how_to_find_out_why() -> None:
    assert "orchestrion explain web" in next_action(view(WorkloadKind.SERVICE, WorkloadPhase.PENDING), [], NOW)


def test_what_lacks_a_place_where_no_orchestrator_runs_needs_one() -> None:
    left = evolve(view(WorkloadKind.SERVICE, WorkloadPhase.PENDING), reason="no-orchestrator")
    assert "orchestrion up FILE" in next_action(left, [], NOW)


def test_ready_counts_what_the_kind_is_about() -> None:
    assert ready(view(WorkloadKind.SERVICE, WorkloadPhase.HEALTHY, available=2, replicas=3)) == "2/3 up"
    assert ready(view(WorkloadKind.SERVICE, WorkloadPhase.HEALTHY, available=2, replicas=3, scaled=True)).endswith(
        "scaled"
    )
    assert ready(view(WorkloadKind.BATCH, WorkloadPhase.RUNNING, succeeded=1, completions=4)) == "1/4 done"


def test_a_container_is_told_with_its_health_and_ports() -> None:
    running = ContainerStatus(
        name="main",
        state=ContainerState.RUNNING,
        started_at=NOW - timedelta(seconds=5),
        health=ContainerHealth.HEALTHY,
        ports={"http": 20001},
        address="127.0.0.1",
    )
    assert container_words(running, NOW) == "Running, for 5 s, healthy, http=127.0.0.1:20001"


def test_a_change_of_no_field_is_its_note_alone() -> None:
    change = WorkloadChange(
        namespace="default",
        name="bad",
        action=ChangeAction.UPDATE,
        generation=2,
        differences=(
            FieldDifference(path="replicas", before="", after="2"),
            FieldDifference(path="", before="", after="", note="it failed, and runs again"),
        ),
    )
    assert list(change_lines([change])) == [
        "bad: update",
        "    replicas: nothing -> 2",
        "    it failed, and runs again",
    ]
