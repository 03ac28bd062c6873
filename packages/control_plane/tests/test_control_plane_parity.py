"""What a Control answers in process, it answers over HTTP: every test runs against both."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import trio
from orchestrion.control_plane import Control
from orchestrion.orchestrator_core import (
    ImpossibleWorkload,
    LogQuery,
    LogRecord,
    Unschedulable,
    Update,
    UpdateKind,
    WorkloadPhase,
)
from orchestrion.runtime_interface import LogStream, PortTaken, StaleEpoch, StartFailed
from orchestrion.scheduler_interface import Explanation, Predicate, RefusalGroup
from orchestrion.shared_types import (
    Compacted,
    ConfigInvalid,
    Conflict,
    InstanceNotFound,
    InternalError,
    NodeId,
    OrchestrationError,
    Problem,
    Unavailable,
    WorkloadNotFound,
)
from orchestrion.store_interface import RevisionConflict

ERRORS: list[OrchestrationError] = [
    ConfigInvalid((Problem("what", path="a.b[0]", file="f.yaml", line=3, column=7), Problem("more")), remedy="mend it"),
    Unschedulable(
        "no node is large enough",
        namespace="default",
        workload="web",
        explanation=Explanation(
            groups=(
                RefusalGroup(
                    predicate=Predicate.RESOURCE,
                    node_count=1,
                    samples=(NodeId("n1"),),
                    dimension="cpu_millicores",
                    needed=9000,
                    best_free=2000,
                ),
            ),
            nodes_considered=1,
            scores={NodeId("n1"): 0.5},
            parts={NodeId("n1"): {"binpack": 0.5}},
            weights={"binpack": 1},
        ),
        impossible=(
            ImpossibleWorkload(namespace="default", workload="web", explanation=Explanation(nodes_considered=1)),
            ImpossibleWorkload(namespace="other", workload="job", explanation=Explanation(nodes_considered=2)),
        ),
        remedy="ask for less",
    ),
    InstanceNotFound("no instance 'web.7'"),
    RevisionConflict("/workload/default/web", expected=3, actual=0),
    Compacted("gone", oldest=12),
    StaleEpoch("a newer epoch is known", known=4),
    PortTaken("taken", ports=(80, 443)),
    StartFailed("no such program: nope"),
    Unavailable("not now", remedy="later"),
    InternalError("broken"),
]


def record(data: bytes, **fields: Any) -> LogRecord:
    return LogRecord(
        instance="web.0.1", container="main", attempt=0, stream=LogStream.STDERR, offset=5, data=data, **fields
    )


async def test_applied_workloads_are_listed_as_they_were_given(control: Control, make_definition: Any) -> None:
    given = [make_definition("web", replicas=3), make_definition("job", namespace="other", priority=-5)]
    result = await control.apply(given)
    assert [change.name for change in result.changes] == ["web", "job"]
    assert result.revision == 42
    assert [view.definition for view in await control.list_workloads()] == given
    assert [view.definition for view in await control.list_workloads(namespace="other")] == given[1:]
    assert (await control.get_workload("job", namespace="other")).definition == given[1]


async def test_a_dry_run_changes_nothing(control: Control, make_definition: Any) -> None:
    result = await control.apply([make_definition("web")], dry_run=True)
    assert result.revision == 0
    assert await control.list_workloads() == []


async def test_ended_work_runs_again_only_where_that_is_asked_for(control: Control, make_definition: Any) -> None:
    given = [make_definition("job")]
    assert [change.note for change in (await control.apply(given)).changes] == [""]
    assert [change.note for change in (await control.apply(given, rerun=True)).changes] == ["runs again"]
    assert [change.note for change in (await control.plan(given)).changes] == [""]
    assert [change.note for change in (await control.plan(given, rerun=True)).changes] == ["runs again"]


async def test_a_plan_arrives_whole(control: Control, fake: Any, make_definition: Any) -> None:
    assert await control.plan([make_definition("web")]) == await fake.plan([make_definition("web")])


async def test_scale_sets_a_number_and_takes_it_back(control: Control, make_definition: Any) -> None:
    await control.apply([make_definition("web")])
    assert (await control.scale("web", 5)).replicas == 5
    view = await control.scale("web", None)
    assert (view.replicas, view.scaled) == (1, False)


async def test_stop_and_remove_reach_the_workload(control: Control, make_definition: Any) -> None:
    await control.apply([make_definition("web")])
    assert (await control.stop("web")).phase is WorkloadPhase.STOPPED
    await control.remove("web")
    with pytest.raises(WorkloadNotFound):
        await control.get_workload("web")


async def test_only_new_ones_are_applied_where_that_is_asked_for(control: Control, make_definition: Any) -> None:
    await control.apply([make_definition("web")], only_new=True)
    with pytest.raises(Conflict):
        await control.apply([make_definition("web"), make_definition("other")], only_new=True)
    with pytest.raises(WorkloadNotFound):
        await control.get_workload("other")


async def test_updates_are_paused_and_resumed(control: Control, make_definition: Any) -> None:
    await control.apply([make_definition("web")])
    assert (await control.pause("web")).paused
    assert not (await control.resume("web")).paused
    with pytest.raises(WorkloadNotFound):
        await control.pause("nobody")


async def test_nodes_instances_and_explanations_arrive_whole(control: Control, fake: Any, make_definition: Any) -> None:
    await control.apply([make_definition("web"), make_definition("job")])
    assert await control.list_nodes() == await fake.list_nodes()
    assert await control.list_instances(workload="web") == await fake.list_instances(workload="web")
    assert await control.list_instances(namespace="default") == await fake.list_instances()
    assert await control.explain("web") == await fake.explain("web")


@pytest.mark.parametrize("name", ["nope", "a/b", "", "..", "ä ?&=#", "%2F"])
async def test_an_unknown_name_is_told_as_it_was_given(control: Control, name: str) -> None:
    with pytest.raises(WorkloadNotFound) as caught:
        await control.get_workload(name, namespace="x y")
    assert caught.value.message == f"no workload {name!r} in namespace 'x y'"
    assert caught.value.remedy == "`orchestrion status` lists them."


async def test_the_arguments_of_events_arrive_as_they_are(control: Control, fake: Any) -> None:
    since = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    events = await control.events(
        namespace="a", subject="instance/web.0.1", since=since, limit=7, types=("Warning", "Placed")
    )
    assert fake.seen == [("a", "instance/web.0.1", since, 7, ("Warning", "Placed"))]
    assert events == await fake.events()


async def test_a_type_of_events_is_a_word(control: Control, fake: Any) -> None:
    if control is fake:
        assert await control.events(types=("a b",))
        return
    for types in (("a b",), ("x" * 64,), ("a",) * 21):
        with pytest.raises(ConfigInvalid):
            await control.events(types=types)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_an_error_keeps_its_class_text_and_fields(
    control: Control, fake: Any, error: OrchestrationError, make_definition: Any
) -> None:
    fake.error = error
    with pytest.raises(type(error)) as caught:
        await control.apply([make_definition("web")])
    assert type(caught.value) is type(error)
    assert str(caught.value) == str(error)
    assert vars(caught.value) == vars(error)


async def test_a_watch_gives_what_there_is_and_then_changes(control: Control, fake: Any, make_definition: Any) -> None:
    await control.apply([make_definition("web")])
    async with control.watch() as updates:
        first, second = await anext(updates), await anext(updates)
        assert (first.kind, first.name, second.kind) == (UpdateKind.WORKLOAD, "web", UpdateKind.SYNCED)
        change = Update(kind=UpdateKind.WORKLOAD_REMOVED, namespace="default", name="web")
        fake.updates[0].send_nowait(change)
        assert await anext(updates) == change


async def test_a_watch_ends_where_the_orchestrator_ends_it(control: Control, fake: Any) -> None:
    async with control.watch() as updates:
        await anext(updates)
        fake.updates[0].close()
        assert [update async for update in updates] == []


async def test_leaving_a_watch_ends_its_work(control: Control, fake: Any) -> None:
    async with control.watch():
        assert fake.open_streams == 1
    await fake.stream_closed.wait()
    assert fake.open_streams == 0


async def test_a_cancelled_reader_ends_the_work_of_its_stream(control: Control, fake: Any) -> None:
    with trio.CancelScope() as scope:
        async with control.logs(LogQuery(subject="web", follow=True)) as records:
            scope.cancel()
            await anext(records)
    await fake.stream_closed.wait()
    assert fake.open_streams == 0


async def test_log_records_arrive_byte_for_byte(control: Control, fake: Any) -> None:
    fake.records = [
        record(bytes(range(256)), written_at=datetime(2026, 1, 1, tzinfo=UTC)),
        record(b"", gap_bytes=99),
        record(b"x" * 200_000),
        record("\u2028\r\n".encode()),
    ]
    query = LogQuery(
        subject="web.0", namespace="a", container="main", since=datetime(2026, 1, 1, tzinfo=UTC), tail_bytes=9
    )
    async with control.logs(query) as records:
        assert [got async for got in records] == fake.records
    assert fake.seen == [query]


@pytest.mark.parametrize("at", ["enter", "items"])
async def test_an_error_of_a_stream_is_raised_where_it_happens(control: Control, fake: Any, at: str) -> None:
    fake.error, fake.error_at, fake.records = WorkloadNotFound("no workload 'web'"), at, [record(b"one")]
    got = list[LogRecord]()

    async def read() -> None:
        async with control.logs(LogQuery(subject="web")) as records:
            got.extend([item async for item in records])

    with pytest.raises(WorkloadNotFound, match="no workload 'web'") as caught:
        await read()
    assert not isinstance(caught.value, ExceptionGroup)


async def test_a_command_gets_its_input_and_its_output_and_status_come_back(control: Control, fake: Any) -> None:
    output = {LogStream.STDOUT: b"", LogStream.STDERR: b""}
    async with control.exec("web.0", ["cat", "a b"], namespace="n", container="c") as session:
        await session.send_stdin(b"hello ")
        await session.send_stdin(b"x" * 100_000)
        await session.close_stdin()
        await session.close_stdin()
        async for chunk in session.output():
            output[chunk.stream] += chunk.data
        status = await session.wait()
    assert output == {LogStream.STDOUT: b"HELLO " + b"X" * 100_000, LogStream.STDERR: b"cat a b"}
    assert status.code == 7
    assert fake.seen == [("web.0", ("cat", "a b"), "n", "c")]


async def test_a_status_comes_without_reading_the_output(control: Control) -> None:
    async with control.exec("web.0", ["cat"]) as session:
        await session.close_stdin()
        assert (await session.wait()).code == 7


async def test_leaving_an_exec_kills_the_command(control: Control, fake: Any) -> None:
    async with control.exec("web.0", ["cat"]) as session:
        await session.send_stdin(b"x")
    await fake.exec_killed.wait()


async def test_an_exec_that_can_not_begin_raises_on_entering(control: Control, fake: Any) -> None:
    fake.error, fake.error_at = InstanceNotFound("no instance 'web.9'", remedy="look"), "enter"
    with pytest.raises(InstanceNotFound, match=r"no instance 'web\.9'\nlook"):
        async with control.exec("web.9", ["true"]):
            pytest.fail("it began")


async def test_many_calls_at_once_are_all_answered(control: Control, make_definition: Any) -> None:
    await control.apply([make_definition(f"w{index}") for index in range(30)])
    got = list[str]()

    async def ask(name: str) -> None:
        got.append((await control.get_workload(name)).definition.metadata.name)

    async with trio.open_nursery() as nursery:
        for index in range(30):
            nursery.start_soon(ask, f"w{index}")
    assert sorted(got) == sorted(f"w{index}" for index in range(30))
