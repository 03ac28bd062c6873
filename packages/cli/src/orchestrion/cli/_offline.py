"""Reading where nobody owns the state directory: the store, and the output that the runtime has kept.

Whoever reads owns the directory meanwhile, so that no orchestrator starts in between; nothing is changed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import trio
from attrs import define, field
from orchestrion.control_plane import HttpControl
from orchestrion.orchestrator_core import LogQuery, LogReader, LogRecord, StoreReader, parse_subject
from orchestrion.shared_types import Node, NodeNotFound, OrchestrationError

from ._owner import opened
from ._picture import Picture, key_of
from ._places import Place
from ._reach import owner_or_lock
from ._read_only import check_output, looked_into
from ._reader import Reader
from ._state_directory import Ownership, StateDirectory
from ._subjects import check_container

_NODES_SECONDS = 2.0
"""How long naming the nodes may take: a cluster manager elsewhere may not answer."""


@define(eq=False)
class OfflineReader(StoreReader):
    """Reads the store of a directory that this process owns, and asks its cluster plug-in for the nodes.

    Attributes:
        place: The directory.
        cluster: The plug-in's name.
    """

    place: StateDirectory = field(kw_only=True)
    cluster: str = field(kw_only=True)

    async def list_nodes(self) -> list[Node]:
        """Return the nodes that the cluster manager knows at once; they are for naming, and for what daemons lack."""
        with trio.move_on_after(_NODES_SECONDS):
            try:
                async with opened("cluster", self.cluster, self.place) as cluster:
                    await cluster.initialize()
                    self.nodes = await cluster.list_nodes()
            except OrchestrationError:
                pass
        return list(self.nodes)


@asynccontextmanager
async def store_reader(ownership: Ownership) -> AsyncIterator[OfflineReader]:
    """Give what reads the store of a directory that this process owns."""
    async with looked_into(ownership) as place, opened("store", ownership.plugins["store"], place) as store:
        yield OfflineReader(store, place=place, cluster=ownership.plugins["cluster"])


@asynccontextmanager
async def reading(place: Place) -> AsyncIterator[Reader]:
    """Give the owner's Control, a server's, or the store where nobody owns the directory."""
    place.must_exist()
    async with owner_or_lock(place, only_looks=True) as found:
        if isinstance(found, HttpControl):
            yield found
        else:
            async with store_reader(found) as reader:
                yield reader


async def stored_picture(place: Place) -> Picture:
    """Return how things are, of whoever can tell: for when an owner has gone in the middle of something."""
    picture = Picture(synced=True)
    async with reading(place) as reader:
        picture.views = {key_of(view.definition): view for view in await reader.list_workloads()}
        picture.instances = {(one.namespace, one.name): one for one in await reader.list_instances()}
    return picture


@asynccontextmanager
async def offline_logs(ownership: Ownership, query: LogQuery) -> AsyncIterator[AsyncIterator[LogRecord]]:
    """Give the output that is kept, of a directory that this process owns.

    Raises:
        WorkloadNotFound: The store knows no such workload.
        InstanceNotFound: The store knows no such instance.
        ContainerNotFound: The workload has no such container.
        Unsupported: The runtime keeps no output.
        StateFailure: The directory is on a read-only file system.
    """
    check_output(ownership)
    async with store_reader(ownership) as reader:
        await reader.get_workload(parse_subject(query.subject).workload, namespace=query.namespace)
        if query.container is not None:
            await check_container(query.container, parse_subject(query.subject), query.namespace, reader)
        world = await reader.world()
    async with opened("runtime", ownership.plugins["runtime"], ownership.place) as runtime:
        for node_id in {one.bound.binding.node_id for one in world.instances.values() if one.bound is not None}:
            with suppress(NodeNotFound):
                await runtime.init_node(node_id)
        async with LogReader(world, runtime).read(query) as records:
            yield records
