"""Output of containers, found by name, merged over attempts and instances."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime

import trio
from attrs import define, field
from orchestrion.orchestrator_core._background import background
from orchestrion.orchestrator_core._control.views import LogQuery, LogRecord
from orchestrion.orchestrator_core._state.records import InstanceName, WorkloadName, instance_key
from orchestrion.orchestrator_core._state.world import InstanceRecord, World
from orchestrion.runtime_interface import (
    ContainerRuntime,
    ContainerSummary,
    LogChunk,
    LogStream,
    RuntimeCapability,
    SupportsLogs,
)
from orchestrion.shared_types import ContainerId, ContainerNotFound, InstanceNotFound, Unsupported, WorkloadNotFound

STREAMS = (LogStream.STDOUT, LogStream.STDERR)
CHUNK_BYTES = 65_536
PAST_THE_END = 2**62


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

    def __attrs_post_init__(self) -> None:
        self.world.on_instance(lambda name, _record: self._wake(name.owner))
        self.world.on_workload(self._wake)

    def _wake(self, name: WorkloadName) -> None:
        changed = self._changed.pop(name, None)
        if changed is not None:
            changed.set()

    @asynccontextmanager
    async def read(self, query: LogQuery) -> AsyncIterator[AsyncIterator[LogRecord]]:
        """Read what a query asks for.

        Raises:
            WorkloadNotFound: There is no such workload.
            InstanceNotFound: There is no such instance.
            Unsupported: The runtime keeps no logs.
        """
        runtime = self.runtime
        if not isinstance(runtime, SupportsLogs) or RuntimeCapability.LOGS not in runtime.capabilities:
            msg = "the runtime keeps no logs"
            raise Unsupported(msg)
        self._instances(query)
        async with background() as nursery:
            send, receive = trio.open_memory_channel[LogRecord](0)
            nursery.start_soon(self._produce, query, runtime, send)
            yield receive.__aiter__()

    def _instances(self, query: LogQuery) -> list[InstanceRecord]:
        workload, *place = query.subject.split(".")
        name = WorkloadName(query.namespace, workload)
        record = self.world.workloads.get(name)
        if record is None or (record.spec is None and not record.instances):
            msg = f"there is no workload {workload!r} in namespace {query.namespace!r}"
            raise WorkloadNotFound(msg, remedy="See what there is: orchestrion status")
        instances = sorted(record.instances.values(), key=lambda instance: instance.name)
        if not place:
            return instances
        found = find_instance(self.world, query.namespace, query.subject)
        return [record.instances[found]]

    async def _produce(self, query: LogQuery, runtime: SupportsLogs, send: trio.MemorySendChannel[LogRecord]) -> None:
        # Closed without a checkpoint: else the reader may leave first, and take an error under way with it.
        with send:
            async with trio.open_nursery() as nursery:
                begun = set[tuple[str, str]]()
                first = True
                while True:
                    workload = WorkloadName(query.namespace, query.subject.partition(".")[0])
                    changed = self._changed.setdefault(workload, trio.Event())
                    for summary, instance in await self._containers(query):
                        if (summary.container_id, instance) in begun:
                            continue
                        begun.add((summary.container_id, instance))
                        tail = query.tail_bytes if first else None
                        for stream in STREAMS:
                            if query.follow:
                                nursery.start_soon(
                                    self._follow, query, runtime, summary, instance, stream, tail, send.clone()
                                )
                            else:
                                await self._read(query, runtime, summary, instance, stream, tail, send)
                    if not query.follow or self._over(query):
                        return
                    first = False
                    await changed.wait()

    def _over(self, query: LogQuery) -> bool:
        """Whether nothing can come any more: the workload, or the one instance, has ended or is gone."""
        workload, *place = query.subject.split(".")
        record = self.world.workloads.get(WorkloadName(query.namespace, workload))
        if record is None or record.spec is None:
            return True
        if len(place) == 2:
            return all(i.ended for i in record.instances.values() if i.name.short == query.subject)
        if record.instances and not all(instance.ended for instance in record.instances.values()):
            return False
        return record.control.stopped or (record.progress is not None and record.progress.outcome is not None)

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
                by_node[node_id] = await self.runtime.list_containers(node_id)
            key = instance_key(instance.name, bound.workload_id)
            mine = [summary for summary in by_node[node_id] if summary.instance == key]
            found.extend((summary, instance.name.short) for summary in _chosen(mine, query))
        return found

    async def _read(
        self,
        query: LogQuery,
        runtime: SupportsLogs,
        summary: ContainerSummary,
        instance: str,
        stream: LogStream,
        tail: int | None,
        send: trio.MemorySendChannel[LogRecord],
    ) -> None:
        try:
            offset = await _beginning(runtime, summary.container_id, stream, tail, query.since)
            while tail != 0:
                chunk = await runtime.read_logs(summary.container_id, stream, offset=offset, max_bytes=CHUNK_BYTES)
                if not chunk.data:
                    return
                await send.send(_record(chunk, summary, instance))
                offset = chunk.offset + len(chunk.data)
        except ContainerNotFound:
            return

    async def _follow(
        self,
        query: LogQuery,
        runtime: SupportsLogs,
        summary: ContainerSummary,
        instance: str,
        stream: LogStream,
        tail: int | None,
        send: trio.MemorySendChannel[LogRecord],
    ) -> None:
        with send:
            try:
                offset = await _beginning(runtime, summary.container_id, stream, tail, query.since)
                async with runtime.follow_logs(summary.container_id, stream, offset=offset) as chunks:
                    async for chunk in chunks:
                        if chunk.data or chunk.gap_bytes:
                            await send.send(_record(chunk, summary, instance))
            except ContainerNotFound:
                return


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


async def _beginning(
    runtime: SupportsLogs, container_id: ContainerId, stream: LogStream, tail: int | None, since: datetime | None
) -> int:
    """Return the offset of the first byte that is wanted: at most `tail` bytes from the end, none written too early.

    A chunk says only when its first byte was written, so the place is searched for byte by byte, by halves.
    """
    if tail is None and since is None:
        return 0
    end = (await runtime.read_logs(container_id, stream, offset=PAST_THE_END, max_bytes=1)).offset
    first = 0 if tail is None else max(0, end - tail)
    if since is None or first == end:
        return first
    low, high = (await runtime.read_logs(container_id, stream, offset=first, max_bytes=1)).offset, end
    while low < high:
        middle = (low + high) // 2
        written_at = (await runtime.read_logs(container_id, stream, offset=middle, max_bytes=1)).written_at
        if written_at is None or written_at >= since:
            high = middle
        else:
            low = middle + 1
    return low


def _record(chunk: LogChunk, summary: ContainerSummary, instance: str) -> LogRecord:
    return LogRecord(
        instance=instance,
        container=summary.status.name,
        attempt=summary.status.attempt,
        stream=chunk.stream,
        offset=chunk.offset,
        data=chunk.data,
        gap_bytes=chunk.gap_bytes,
        written_at=chunk.written_at,
    )


def find_instance(world: World, namespace: str, text: str) -> InstanceName:
    """Return the instance that `workload.index.epoch`, or `workload.index` for the latest epoch, names.

    Raises:
        InstanceNotFound: There is none.
    """
    workload, *place = text.split(".")
    record = world.workloads.get(WorkloadName(namespace, workload))
    numbers = [int(part) for part in place if part.isdecimal()]
    if record is not None and len(place) == len(numbers) and 1 <= len(numbers) <= 2:
        matching = [
            name
            for name in record.instances
            if name.slot == numbers[0] and (len(numbers) == 1 or name.epoch == numbers[1])
        ]
        if matching:
            return max(matching, key=lambda name: name.epoch)
    msg = f"there is no instance {text!r} in namespace {namespace!r}"
    raise InstanceNotFound(msg, remedy="An instance is named workload.index; see what there is: orchestrion status")
