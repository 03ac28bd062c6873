"""A state directory whose owner is a thread of the tests, on mocks: commands run in this process, in no time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trio
from orchestrion.control_plane import StoredClasses, serve_control
from orchestrion.control_plane.server import embedded
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
from orchestrion.shared_types import Node

Do = Callable[..., tuple[int, str, str]]
"""Runs a command in this process, and gives its code, its data and what it said."""


@contextmanager
def served_directory(path: Path, nodes: Sequence[Node] | None = None) -> Iterator[Path]:
    """Give a state directory that somebody owns, for as long as the context lasts, of two nodes or of some others."""
    path.mkdir(mode=0o700)
    folder = path / "server-api"
    folder.mkdir(mode=0o700)
    ready = threading.Event()
    ending: list[tuple[trio.lowlevel.TrioToken, trio.CancelScope]] = []

    async def serve() -> None:
        cluster = MockClusterManager(ClusterWorld(nodes=list(nodes or mock_nodes(2))))
        store = MemoryStore(MemoryState())
        runtime, classes = MockRuntime(ContainerWorld()), StoredClasses(store)
        orchestrator = Orchestrator(runtime, cluster, CursorScheduler(), store, classes=classes)

        def others(streams: Any) -> Any:
            return embedded(orchestrator, folder, streams)

        async def at_socket(task_status: trio.TaskStatus[None]) -> None:
            await serve_control(orchestrator, path / "control.sock", others=others, task_status=task_status)

        async with trio.open_nursery() as nursery:
            ending.append((trio.lowlevel.current_trio_token(), nursery.cancel_scope))
            await nursery.start(orchestrator.run)
            await nursery.start(at_socket)
            ready.set()

    thread = threading.Thread(target=trio.run, args=(serve,), daemon=True)
    thread.start()
    assert ready.wait(60)
    yield path
    token, scope = ending[0]
    token.run_sync_soon(scope.cancel)
    thread.join(60)
