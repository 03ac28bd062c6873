"""Output of containers, found by name: what there is in the order of time, then each piece as it comes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager

import trio
from attrs import define, field
from orchestrion.orchestrator_core._background import background
from orchestrion.orchestrator_core._control.log_merge import LogMerge, LogSource, record_of
from orchestrion.orchestrator_core._control.log_tail import last_lines
from orchestrion.orchestrator_core._control.reader import check_time
from orchestrion.orchestrator_core._control.subjects import parse_subject
from orchestrion.orchestrator_core._control.views import LogQuery, LogRecord
from orchestrion.orchestrator_core._state.facts import outcome_of, target_generation
from orchestrion.orchestrator_core._state.records import InstanceName, WorkloadName, instance_key
from orchestrion.orchestrator_core._state.world import InstanceRecord, WorkloadRecord, World
from orchestrion.runtime_interface import (
    ContainerRuntime,
    ContainerSummary,
    LogStream,
    RuntimeCapability,
    SupportsLogs,
)
from orchestrion.shared_types import (
    ConfigInvalid,
    ContainerId,
    ContainerNotFound,
    InstanceNotFound,
    NodeNotFound,
    Problem,
    Unsupported,
    WorkloadNotFound,
)

STREAMS = (LogStream.STDOUT, LogStream.STDERR)


@define(eq=False)
class LogReader:
    """Reads output for queries.

    Attributes:
        world: Knows the instances.
        runtime: Holds the output.
    """

    world: World
    runtime: ContainerRuntime
    _changed: dict[WorkloadName, trio.Event] = field(factory=dict)
    _waits: set[trio.CancelScope] = field(factory=set)
    _finishing: bool = False

    def __attrs_post_init__(self) -> None:
        self.world.on_instance(lambda name, _record: self._wake(name.owner))
        self.world.on_workload(self._wake)

    def _wake(self, name: WorkloadName) -> None:
        changed = self._changed.pop(name, None)
        if changed is not None:
            changed.set()

    def finish(self) -> None:
        """Let all that is followed, now or later, come to its end after what there is at this moment."""
        self._finishing = True
        for wait in self._waits:
            wait.cancel()
        for name in list(self._changed):
            self._wake(name)

    @asynccontextmanager
    async def read(self, query: LogQuery) -> AsyncIterator[AsyncIterator[LogRecord]]:
        """Read what a query asks for.

        Raises:
            ConfigInvalid: A time has no time zone, or it has an end and is to go on.
            WorkloadNotFound: There is no such workload.
            InstanceNotFound: There is no such instance.
            ContainerNotFound: No version of the workload that is kept has such a container.
            Unsupported: The runtime keeps no logs.
        """
        check_time(query.since)
        check_time(query.until, "until")
        if query.follow and query.until is not None:
            problem = Problem("`until` says where it ends, and `follow` that it goes on", path="until")
            raise ConfigInvalid((problem,), remedy="Leave one of them out.")
        runtime = self.runtime
        if not isinstance(runtime, SupportsLogs) or RuntimeCapability.LOGS not in runtime.capabilities:
            msg = "the runtime keeps no logs"
            raise Unsupported(msg)
        self._instances(query)
        self._check_container(query)
        async with background() as nursery:
            send, receive = trio.open_memory_channel[LogRecord](0)
            nursery.start_soon(self._produce, query, runtime, send)
            yield receive.__aiter__()

    def _instances(self, query: LogQuery) -> list[InstanceRecord]:
        subject = parse_subject(query.subject)
        name = WorkloadName(query.namespace, subject.workload)
        record = self.world.workloads.get(name)
        if record is None or (record.spec is None and not record.instances):
            msg = f"there is no workload {subject.workload!r} in namespace {query.namespace!r}"
            raise WorkloadNotFound(msg, remedy="See what there is: orchestrion status")
        instances = sorted(record.instances.values(), key=lambda instance: instance.name)
        chosen = subject.chosen(instances, _place, namespace=query.namespace)
        return chosen if subject.index is not None or query.replaced else _current(record, chosen, query.also)

    def _check_container(self, query: LogQuery) -> None:
        record = self.world.workloads.get(WorkloadName(query.namespace, parse_subject(query.subject).workload))
        if query.container is None or record is None or record.spec is None:
            return
        # Instances of earlier versions, whose output is kept, may have had others.
        versions = (record.spec.definition, *record.templates.values())
        names = dict.fromkeys(container.name for version in versions for container in version.containers)
        if query.container not in names:
            msg = f"workload {record.name.name!r} has no container {query.container!r:.80}"
            raise ContainerNotFound(msg, remedy=f"It has: {', '.join(names)}.")

    async def _produce(self, query: LogQuery, runtime: SupportsLogs, send: trio.MemorySendChannel[LogRecord]) -> None:
        # Closed without a checkpoint: else the reader may leave first, and take an error under way with it.
        with send:
            async with trio.open_nursery() as nursery:
                workload = WorkloadName(query.namespace, parse_subject(query.subject).workload)
                begun: set[tuple[ContainerId, str]] | None = None
                while True:
                    # Before the containers are asked for: what comes meanwhile is found the next time.
                    changed, over = self._changed.setdefault(workload, trio.Event()), self._over(query)
                    new = [
                        (summary, instance)
                        for summary, instance in await self._containers(query)
                        if begun is None or (summary.container_id, instance) not in begun
                    ]
                    sources = [
                        LogSource(runtime, summary, instance, stream, timed=query.timed)
                        for summary, instance in new
                        for stream in STREAMS
                    ]
                    if begun is None:
                        begun = set()
                        await self._read(query, sources, send)
                    begun.update((summary.container_id, instance) for summary, instance in new)
                    if not query.follow:
                        return
                    for source in sources:
                        nursery.start_soon(self._follow, source, send.clone())
                    if over:
                        return
                    await changed.wait()

    def _over(self, query: LogQuery) -> bool:
        """Whether nothing can come any more: the workload, or the one instance, has ended or is gone."""
        if self._finishing:
            return True
        subject = parse_subject(query.subject)
        record = self.world.workloads.get(WorkloadName(query.namespace, subject.workload))
        if record is None or record.spec is None:
            return True
        if subject.epoch is not None:
            return all(
                i.ended
                for i in record.instances.values()
                if i.name.epoch == subject.epoch and subject.index == i.name.slot
            )
        if record.instances and not all(instance.ended for instance in record.instances.values()):
            return False
        # How the run before ended says nothing of the one that is asked for, until the cluster loop has noted that.
        return record.control.stopped or outcome_of(record) is not None

    async def _containers(self, query: LogQuery) -> list[tuple[ContainerSummary, str]]:
        try:
            instances = self._instances(query)
        except (WorkloadNotFound, InstanceNotFound):
            return []
        found = list[tuple[ContainerSummary, str]]()
        by_node = dict[str, list[ContainerSummary]]()
        for instance in instances:
            bound = instance.bound
            if bound is None:
                continue
            node_id = bound.binding.node_id
            if node_id not in by_node:
                try:
                    by_node[node_id] = await self.runtime.list_containers(node_id)
                except NodeNotFound:
                    by_node[node_id] = []  # nothing of it is kept here
            key = instance_key(instance.name, bound.workload_id)
            mine = [summary for summary in by_node[node_id] if summary.instance == key]
            found.extend((summary, instance.name.short) for summary in _chosen(mine, query))
        return found

    async def _read(
        self, query: LogQuery, sources: Sequence[LogSource], send: trio.MemorySendChannel[LogRecord]
    ) -> None:
        """Give what there is, in the order of time."""
        there = list[LogSource]()
        for source in sources:
            try:
                await source.begin(query.tail_bytes, query.since, query.until)
            except ContainerNotFound:
                continue
            there.append(source)
        if query.tail is not None:
            there = await last_lines(there, query.tail)
        if query.placed:
            for source in there:
                await send.send(source.place())
        await self._give(LogMerge(there), send)

    async def _give(self, merge: LogMerge, send: trio.MemorySendChannel[LogRecord]) -> None:
        async with aclosing(merge.records()) as records:
            async for record in records:
                await send.send(record)

    async def _follow(self, source: LogSource, send: trio.MemorySendChannel[LogRecord]) -> None:
        """Give what comes after that."""
        with send:
            try:
                if not await self._follow_on(source, send):
                    rest = LogSource(source.runtime, source.summary, source.instance, source.stream, source.offset)
                    await self._give(LogMerge((rest,)), send)
            except ContainerNotFound:
                return

    async def _follow_on(self, source: LogSource, send: trio.MemorySendChannel[LogRecord]) -> bool:
        """Give what comes, up to the end of the container; return whether that was reached."""
        with trio.CancelScope() as wait:
            if self._finishing:
                return False
            self._waits.add(wait)
            try:
                following = source.runtime.follow_logs(source.summary.container_id, source.stream, offset=source.offset)
                async with following as chunks:
                    async for chunk in chunks:
                        if chunk.data or chunk.gap_bytes:
                            await send.send(record_of(chunk, source.summary, source.instance))
                        source.offset = chunk.offset + len(chunk.data)
            finally:
                self._waits.remove(wait)
        return not wait.cancelled_caught


def _chosen(summaries: list[ContainerSummary], query: LogQuery) -> Iterator[ContainerSummary]:
    latest = dict[str, int]()
    for summary in summaries:
        latest[summary.status.name] = max(latest.get(summary.status.name, 0), summary.status.attempt)
    for summary in sorted(summaries, key=lambda summary: (summary.status.name, summary.status.attempt)):
        status = summary.status
        if query.container is not None and status.name != query.container:
            continue
        if query.previous and status.attempt != latest[status.name] - 1:
            continue
        yield summary


def _current(
    record: WorkloadRecord, instances: Sequence[InstanceRecord], also: Collection[str]
) -> list[InstanceRecord]:
    """Return those of a workload's instances that have not been replaced by a newer generation, and some others."""
    generations = {each.name: each.bound.binding.generation for each in instances if each.bound is not None}
    # Where nothing of what is wanted was there yet, what was there last is what people ask for.
    least = min(target_generation(record), max(generations.values(), default=0))
    return [
        each
        for each in instances
        if not each.ended or each.name.short in also or generations.get(each.name, least) >= least
    ]


def _place(instance: InstanceRecord) -> tuple[int, int]:
    return instance.name.slot, instance.name.epoch


def find_instance(world: World, namespace: str, text: str) -> InstanceName:
    """Return the instance that `workload.index.epoch`, or `workload.index` for the latest epoch, names.

    Raises:
        InstanceNotFound: There is none.
    """
    subject = parse_subject(text)
    record = world.workloads.get(WorkloadName(namespace, subject.workload))
    if record is None or subject.index is None:
        raise subject.unknown(namespace)
    (chosen,) = subject.chosen(record.instances, lambda name: (name.slot, name.epoch), namespace=namespace)
    return chosen
