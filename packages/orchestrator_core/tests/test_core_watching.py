"""What can be seen: updates, output, commands in containers, and events."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
import trio
from orchestrion.mocks import MemoryStore, MockRuntime
from orchestrion.orchestrator_core import LogQuery, Update, UpdateKind, WorkloadPhase, trio_time
from orchestrion.runtime_interface import (
    ContainerSummary,
    RuntimeCapability,
    RuntimeUnavailable,
    TerminalSession,
    TerminalSize,
)
from orchestrion.shared_types import (
    ConfigInvalid,
    InstanceNotFound,
    NodeId,
    RestartPolicy,
    Unavailable,
    Unsupported,
    WorkloadNotFound,
)
from orchestrion.store_interface import Compare, Operation, Revision

from .core_stage import SECOND, Stage, after, batch, container, service


async def until_synced(stage: Stage) -> list[Update]:
    found = list[Update]()
    async with stage.orchestrator.watch() as updates:
        async for update in updates:
            found.append(update)
            if update.kind is UpdateKind.SYNCED:
                break
    return found


async def text_of(stage: Stage, query: LogQuery) -> str:
    async with stage.orchestrator.logs(query) as records:
        return b"".join([record.data async for record in records]).decode()


async def test_a_watch_gives_everything_then_synced_then_changes(stage: Stage) -> None:
    await stage.apply(service(replicas=2))
    async with stage.orchestrator.watch() as updates:
        first = list[Update]()
        async for update in updates:
            first.append(update)
            if update.kind is UpdateKind.SYNCED:
                break
        assert sum(update.kind is UpdateKind.NODE for update in first) == 3
        assert sum(update.kind is UpdateKind.INSTANCE for update in first) == 2
        assert [update.name for update in first if update.kind is UpdateKind.WORKLOAD] == ["web"]
        await stage.orchestrator.scale("web", 3)
        async for update in updates:
            if update.workload is not None and update.workload.available == 3:
                break


async def test_what_was_not_yet_read_is_merged(stage: Stage) -> None:
    async with stage.orchestrator.watch() as updates:
        await stage.apply(service())
        for replicas in range(2, 10):
            await stage.orchestrator.scale("web", replicas)
            await stage.settle()
        found = list[Update]()
        async for update in updates:
            found.append(update)
            if update.kind is UpdateKind.SYNCED:
                break
        (seen,) = (update.workload for update in found if update.kind is UpdateKind.WORKLOAD)
        assert seen is not None
        assert seen.replicas == 9


async def test_a_watch_tells_of_removals_and_nodes(stage: Stage) -> None:
    await stage.apply(service())
    kinds = list[UpdateKind]()
    async with stage.orchestrator.watch() as updates:
        async for update in updates:
            kinds.append(update.kind)
            if update.kind is UpdateKind.SYNCED:
                await stage.orchestrator.remove("web")
                await stage.settle()
                stage.cluster.remove_node(SECOND)
                await stage.settle()
            if {UpdateKind.WORKLOAD_REMOVED, UpdateKind.NODE_REMOVED} <= set(kinds):
                break
    assert UpdateKind.INSTANCE_REMOVED in kinds


async def test_a_watch_of_a_namespace_shows_nothing_of_others(stage: Stage) -> None:
    await stage.apply(service(), service("other", namespace="far"))
    async with stage.orchestrator.watch(namespace="far") as updates:
        names = set[str]()
        async for update in updates:
            if update.kind is UpdateKind.SYNCED:
                break
            if update.namespace:
                names.add(update.name)
    assert names == {"other", "other.0.1"}


async def test_the_output_of_all_instances_is_read(stage: Stage) -> None:
    await stage.apply(service("web", "print", "stdout", "hello\n", replicas=2))
    assert await text_of(stage, LogQuery(subject="web")) == "hello\nhello\n"
    assert await text_of(stage, LogQuery(subject="web.1")) == "hello\n"
    assert await text_of(stage, LogQuery(subject="web.1.1")) == "hello\n"


async def test_the_output_of_one_container_is_read(stage: Stage) -> None:
    two = (container("a", "print", "stdout", "from a"), container("b", "print", "stdout", "from b"))
    await stage.apply(service(containers=two))
    assert await text_of(stage, LogQuery(subject="web", container="b")) == "from b"


async def test_the_previous_attempt_can_be_read(stage: Stage) -> None:
    policy = RestartPolicy(initial_delay_seconds=1, jitter=0)
    await stage.apply(service("web", "env", "exit", "1", "after", "1s", restart=policy))
    await trio.sleep(2.5)
    assert "ORCHESTRION_ATTEMPT=0" in await text_of(stage, LogQuery(subject="web", previous=True))
    everything = await text_of(stage, LogQuery(subject="web"))
    assert "ORCHESTRION_ATTEMPT=0" in everything
    assert "ORCHESTRION_ATTEMPT=1" in everything


async def test_following_goes_on_over_restarts(stage: Stage) -> None:
    policy = RestartPolicy(initial_delay_seconds=1, jitter=0)
    await stage.apply(service("web", "print", "stdout", "x", "exit", "1", "after", "1s", restart=policy))
    attempts = list[int]()
    async with stage.orchestrator.logs(LogQuery(subject="web", follow=True)) as records:
        async for record in records:
            attempts.append(record.attempt)
            if len(attempts) == 3:
                break
    assert attempts == [0, 1, 2]


async def test_following_ends_when_the_workload_has_ended(stage: Stage) -> None:
    await stage.apply(batch("job", "print-at", "1s", "stdout", "late", "exit", "0", "after", "2s"))
    with trio.fail_after(60):
        assert await text_of(stage, LogQuery(subject="job", follow=True)) == "late"


async def test_only_what_is_new_enough_or_last_is_read(stage: Stage) -> None:
    await stage.apply(
        service(
            "web", "print", "stdout", "early", "print-at", "10s", "stdout", "later", "print-at", "20s", "stdout", "!"
        )
    )
    await trio.sleep(30)
    since = trio_time() - timedelta(seconds=25)
    assert await text_of(stage, LogQuery(subject="web", since=since)) == "later!"
    assert await text_of(stage, LogQuery(subject="web", tail_bytes=3)) == "er!"
    assert await text_of(stage, LogQuery(subject="web", tail_bytes=0)) == ""


async def test_output_of_what_does_not_exist_is_not_found(stage: Stage) -> None:
    with pytest.raises(WorkloadNotFound):
        async with stage.orchestrator.logs(LogQuery(subject="web")):
            pass
    await stage.apply(service())
    for subject in ("web.7", "web.0.9", "web.x"):
        with pytest.raises(InstanceNotFound):
            async with stage.orchestrator.logs(LogQuery(subject=subject)):
                pass


async def test_a_command_runs_in_a_container(stage: Stage) -> None:
    await stage.apply(service(containers=(container("a"), container("b"))))
    async with stage.orchestrator.exec("web.0", ["exit", "7"], container="b") as session:
        ended = await session.wait()
    assert ended.code == 7
    with pytest.raises(InstanceNotFound, match="no container 'c' that runs"):
        async with stage.orchestrator.exec("web.0", ["exit", "0"], container="c"):
            pass


async def test_a_command_runs_at_a_terminal(stage: Stage) -> None:
    await stage.apply(service())
    size = TerminalSize(rows=31, columns=97)
    async with stage.orchestrator.exec("web.0", ["tell-size"], terminal=size) as session:
        assert isinstance(session, TerminalSession)
        await session.send_stdin(b"\n")
        await session.close_stdin()
        assert b"".join([item.data async for item in session.output()]).endswith(b"size 31 97\r\n")


async def test_where_there_are_no_terminals_that_is_told(stage: Stage) -> None:
    await stage.apply(service())
    orchestrator = stage.orchestrator
    orchestrator.runtime = MockRuntime(stage.containers, capabilities=[RuntimeCapability.EXEC])
    with pytest.raises(Unsupported, match="terminals"):
        async with orchestrator.exec("web.0", ["exit", "0"], terminal=TerminalSize()):
            pass


async def test_events_tell_what_happened_to_a_subject(stage: Stage) -> None:
    await stage.apply(service(), service("other"))
    await stage.apply(service(replicas=2))
    assert await stage.event_reasons("workload/web") == ["Created", "RolledOut", "Updated"]
    latest = await stage.orchestrator.events(limit=1)
    assert len(latest) == 1
    assert latest[0] == (await stage.orchestrator.events())[-1]


async def test_events_since_a_time_are_those_after_it(stage: Stage) -> None:
    await stage.apply(service())
    await trio.sleep(10)
    since = trio_time()
    await stage.apply(service(replicas=2))
    assert [event.reason for event in await stage.orchestrator.events(since=since, subject="workload/web")] == [
        "Updated"
    ]


async def test_a_time_without_its_zone_is_refused(stage: Stage) -> None:
    await stage.apply(service())
    naive = trio_time().replace(tzinfo=None)
    with pytest.raises(ConfigInvalid, match="since: a time with its time zone is wanted"):
        await stage.orchestrator.events(since=naive)
    with pytest.raises(ConfigInvalid, match="since: a time with its time zone is wanted"):
        async with stage.orchestrator.logs(LogQuery(subject="web", since=naive)):
            pytest.fail("it was read")


async def test_before_it_runs_it_says_that_it_does_not(stage: Stage) -> None:
    fresh = stage.orchestrator.__class__(
        stage.runtime, stage.manager, stage.scheduler(), stage.orchestrator.store, now=trio_time
    )
    with pytest.raises(Unavailable, match="does not run yet"):
        await fresh.list_workloads()


async def test_a_stopped_service_says_so_in_its_phase(stage: Stage) -> None:
    await stage.apply(service())
    await stage.orchestrator.stop("web")
    await stage.settle()
    synced = await until_synced(stage)
    (view,) = (update.workload for update in synced if update.workload is not None)
    assert view.phase is WorkloadPhase.STOPPED


async def test_an_error_of_the_runtime_reaches_the_reader_as_it_is(stage: Stage) -> None:
    await stage.apply(service("web", "print", "stdout", "x"))
    stage.containers.partition(stage.where("web")[0])
    with pytest.raises(RuntimeUnavailable):
        await text_of(stage, LogQuery(subject="web"))


async def test_an_error_of_the_reader_stays_what_it_is(stage: Stage) -> None:
    await stage.apply(service("web", "print", "stdout", "x"))
    with pytest.raises(LookupError):
        async with stage.orchestrator.logs(LogQuery(subject="web", follow=True)):
            raise LookupError


async def test_what_changes_all_the_time_does_not_keep_the_rest_from_being_read(stage: Stage) -> None:
    async with stage.orchestrator.watch() as updates:
        async for update in updates:
            if update.kind is UpdateKind.SYNCED:
                break
        stage.orchestrator.recorder.record("default", "node/x", "Tested", "the first of many")
        await stage.apply(service())
        for _ in range(60):
            stage.orchestrator.recorder.record("default", "node/x", "Tested", "there is always another")
            if (await anext(updates)).kind is UpdateKind.WORKLOAD:
                break
        else:
            pytest.fail("the workload was never read")


class _Listing(MockRuntime):
    """A runtime that counts how often it is asked for all containers of a node."""

    asked = 0

    async def list_containers(self, node_id: NodeId, /) -> list[ContainerSummary]:
        _Listing.asked += 1
        return await super().list_containers(node_id)


async def test_one_who_follows_output_asks_for_no_containers_of_others(stage: Stage) -> None:
    await stage.end()
    stage.runtime_class = _Listing
    await stage.start()
    await stage.apply(service("web", "print", "stdout", "x", "run"))
    async with stage.orchestrator.logs(LogQuery(subject="web", follow=True)) as records:
        await anext(records)
        await stage.settle()
        asked = _Listing.asked
        await stage.apply(service("other", replicas=5))
        assert _Listing.asked == asked


class _LateProgress(MemoryStore):
    """A store that is seconds late with what the cluster loop notes about workloads, where a test says so."""

    late = False

    async def transaction(self, compares: Sequence[Compare], operations: Sequence[Operation], /) -> Revision:
        if type(self).late and any(
            operation.key.startswith("/workload/") and operation.key.endswith("/status") for operation in operations
        ):
            type(self).late = False
            await trio.sleep(5)
        return await super().transaction(compares, operations)


async def test_a_run_that_has_not_begun_is_not_over_because_the_one_before_is(stage: Stage) -> None:
    await stage.end()
    stage.store_class = _LateProgress
    await stage.start()
    job = batch("job", "print", "stdout", "done\n", "exit", "0", "after", "1s")
    await stage.apply(job)
    await trio.sleep(2)
    _LateProgress.late = True
    since = trio_time()
    await stage.orchestrator.apply([job], rerun=True)
    assert await text_of(stage, LogQuery(subject="job", since=since, follow=True)) == "done\n"
    assert not _LateProgress.late


async def test_a_run_that_has_not_begun_waits_for_what_it_comes_after(stage: Stage) -> None:
    await stage.end()
    stage.store_class = _LateProgress
    await stage.start()
    both = [batch("first", "exit", "0", "after", "1s"), batch("second", after=after("first"))]
    await stage.apply(*both)
    await trio.sleep(2)
    _LateProgress.late = True
    await stage.orchestrator.apply(both, rerun=True)
    assert (await stage.view("second")).phase is WorkloadPhase.WAITING


class _LateListing(MockRuntime):
    """A runtime that answers a question for containers late, where a test says so: meanwhile others have come."""

    late = False

    async def list_containers(self, node_id: NodeId, /) -> list[ContainerSummary]:
        late, type(self).late = type(self).late, False
        found = await super().list_containers(node_id)
        if late:
            await trio.sleep(20)
        return found


async def test_what_comes_and_ends_while_the_engine_answers_is_read_too(stage: Stage) -> None:
    await stage.end()
    stage.runtime_class = _LateListing
    await stage.start()
    await stage.apply(batch("job", "print", "stdout", "x", "exit", "1", "after", "1s", retries=1))
    _LateListing.late = True
    assert await text_of(stage, LogQuery(subject="job", follow=True)) == "xx"
    assert not _LateListing.late
