"""Reading where nobody owns the state directory: the store, and the output that the runtime has kept.

Whoever reads owns the directory meanwhile, so that no orchestrator starts in between; nothing is changed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from orchestrion.control_plane import HttpControl
from orchestrion.orchestrator_core import LogQuery, LogRecord, StoreReader
from orchestrion.runtime_interface import LogStream, SupportsLogs
from orchestrion.shared_types import (
    ContainerNotFound,
    NodeNotFound,
    Unsupported,
    WorkloadInstance,
)

from ._owner import opened
from ._picture import Picture, key_of
from ._reach import owner_or_lock
from ._reader import Reader
from ._state_directory import Ownership, StateDirectory
from ._subjects import check_container, parsed


@asynccontextmanager
async def store_reader(place: StateDirectory, ownership: Ownership) -> AsyncIterator[Reader]:
    """Give what reads the store of a directory that this process owns."""
    async with opened("store", ownership.plugins["store"], place) as store:
        yield StoreReader(store)


@asynccontextmanager
async def reading(place: StateDirectory) -> AsyncIterator[Reader]:
    """Give the owner's Control, or the store where nobody owns the directory."""
    place.must_exist()
    async with owner_or_lock(place) as found:
        if isinstance(found, HttpControl):
            yield found
        else:
            async with store_reader(place, found) as reader:
                yield reader


async def stored_picture(place: StateDirectory) -> Picture:
    """Return how things are, of whoever can tell: for when an owner has gone in the middle of something."""
    picture = Picture(synced=True)
    async with reading(place) as reader:
        picture.views = {key_of(view.definition): view for view in await reader.list_workloads()}
        picture.instances = {(one.namespace, one.name): one for one in await reader.list_instances()}
    return picture


@asynccontextmanager
async def offline_logs(
    place: StateDirectory, ownership: Ownership, query: LogQuery
) -> AsyncIterator[AsyncIterator[LogRecord]]:
    """Give the output that is kept, of a directory that this process owns.

    Raises:
        WorkloadNotFound: The store knows no such workload.
        InstanceNotFound: The store knows no such instance.
        ContainerNotFound: The workload has no such container.
        Unsupported: The runtime keeps no output.
    """
    subject = parsed(query.subject)
    async with store_reader(place, ownership) as reader:
        await reader.get_workload(subject.workload, namespace=query.namespace)
        if query.container is not None:
            await check_container(query.container, subject, query.namespace, reader)
        instances = subject.chosen(await reader.list_instances(namespace=query.namespace, workload=subject.workload))
    async with opened("runtime", ownership.plugins["runtime"], place) as runtime:
        if not isinstance(runtime, SupportsLogs):
            msg = f"the runtime {ownership.plugins['runtime']!r} keeps no output"
            raise Unsupported(msg)
        records = _OfflineRecords(runtime, query)
        for instance in instances:
            try:
                await runtime.init_node(instance.binding.node_id)  # type: ignore[attr-defined] # it is a runtime too
            except NodeNotFound:
                continue
            await records.read(instance)
        yield records


class _OfflineRecords:
    """Pieces of output, in the order in which containers are read."""

    def __init__(self, runtime: SupportsLogs, query: LogQuery) -> None:
        self._runtime = runtime
        self._query = query
        self._records: list[LogRecord] = []

    def __aiter__(self) -> _OfflineRecords:
        return self

    async def __anext__(self) -> LogRecord:
        if not self._records:
            raise StopAsyncIteration
        return self._records.pop(0)

    async def read(self, instance: WorkloadInstance) -> None:
        """Read what is kept of an instance's containers."""
        for container in instance.status.containers:
            if self._query.container not in (None, container.name) or not container.container_id:
                continue
            for stream in LogStream:
                await self._read(instance.name, container.name, container.attempt, container.container_id, stream)

    async def _read(self, instance: str, container: str, attempt: int, container_id: str, stream: LogStream) -> None:
        from orchestrion.shared_types import ContainerId

        offset = 0
        while True:
            try:
                chunk = await self._runtime.read_logs(ContainerId(container_id), stream, offset=offset)
            except ContainerNotFound:
                return
            if not chunk.data and not chunk.gap_bytes:
                return
            offset = chunk.offset + len(chunk.data)
            if self._query.since is None or chunk.written_at is None or chunk.written_at >= self._query.since:
                self._records.append(
                    LogRecord(
                        instance=instance,
                        container=container,
                        attempt=attempt,
                        stream=stream,
                        offset=chunk.offset,
                        data=chunk.data,
                        gap_bytes=chunk.gap_bytes,
                        written_at=chunk.written_at,
                    )
                )
