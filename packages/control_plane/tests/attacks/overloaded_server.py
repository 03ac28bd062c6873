"""A whole server on an orchestrator of mocks, to be overloaded: it says its address and its folder, and serves on."""

from __future__ import annotations

import sys
from pathlib import Path

import trio
from orchestrion.control_plane._web.assembly import Options, serving
from orchestrion.mocks import (
    ClusterWorld,
    ContainerWorld,
    CursorScheduler,
    MemoryState,
    MemoryStore,
    MockClusterManager,
    MockRuntime,
    mock_nodes,
)
from orchestrion.orchestrator_core import Orchestrator


async def serve(folder: Path) -> None:
    """Serve until standard input ends."""
    cluster = MockClusterManager(ClusterWorld(nodes=mock_nodes(2)))
    store = MemoryStore(MemoryState())
    orchestrator = Orchestrator(MockRuntime(ContainerWorld()), cluster, CursorScheduler(), store)
    async with trio.open_nursery() as nursery:
        await nursery.start(orchestrator.run)
        async with serving(orchestrator, folder, Options()) as served:
            sys.stdout.write(f"{served.url}\n")
            sys.stdout.flush()
            await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(serve, Path(sys.argv[1]))
