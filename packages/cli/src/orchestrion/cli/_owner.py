"""Owning a state directory: the orchestrator, made of what plug-ins offer, and the server of its Control."""

from __future__ import annotations

import gc
import importlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import trio
from orchestrion.control_plane import (
    Control,
    HttpControl,
    SocketPeer,
    StoredClasses,
    StoredConfig,
    has_rules,
    serve_control,
)
from orchestrion.orchestrator_core import DirectoryVolumes, Orchestrator
from orchestrion.shared_types import OrchestrationError

from ._lessons import lessons_kept
from ._output import warn
from ._plugins import broken, folder_name, load_plugin
from ._state_directory import StateDirectory

OpenOthers = Callable[[Any], AbstractAsyncContextManager[Any]]
"""From the register of open streams to an ASGI application."""

_SERVER_DELAY_SECONDS = 2.0
"""When the server comes up if no client has come: until then the processor is left to what the user waits for."""

_COLLECTIONS = (100_000, 50, 1_000)
"""An orchestrator keeps what it knows for long and makes few cycles; the default walks all of it again and again."""

_CLEARING_SECONDS = 10.0
"""How long the directories of what was removed may take to go at the end; the next owner goes on with what is left."""


@asynccontextmanager
async def opened(interface: str, name: str, place: StateDirectory) -> AsyncIterator[Any]:
    """Open the implementation that a plug-in offers, with its state in the directory.

    Raises:
        PluginBroken: Its own code failed.
    """
    factory = load_plugin(interface, name)
    folder = await trio.to_thread.run_sync(place.make_part, interface, folder_name(name))
    try:
        context: AbstractAsyncContextManager[Any] = factory(folder)
        part = await context.__aenter__()
    except (OrchestrationError, BaseExceptionGroup):
        raise
    except Exception as err:
        raise broken(interface, name, err) from err
    try:
        yield part
    except BaseException as err:
        if not await context.__aexit__(type(err), err, err.__traceback__):
            raise
    else:
        await context.__aexit__(None, None, None)


@asynccontextmanager
async def orchestrating(
    place: StateDirectory,
    plugins: Mapping[str, str],
    *,
    only_stops: bool = False,
    refuse_impossible: bool = True,
    others: OpenOthers | None = None,
) -> AsyncIterator[Orchestrator]:
    """Run an orchestrator on a state directory that is owned, and serve it at the directory's socket.

    What runs goes on running when the context is left.

    Args:
        place: The directory, which this process owns.
        plugins: Names of plug-ins by interface.
        only_stops: Whether nothing is done but what makes workloads end that are stopped or removed.
        refuse_impossible: Whether a workload that no node could ever run is refused, not kept as Pending.
        others: Opens what the socket serves besides Control; None is the object API, opened when it is first used.
    """
    begin, ending = trio.Event(), trio.Event()
    async with _made(place, plugins, only_stops=only_stops, refuse_impossible=refuse_impossible) as orchestrator:

        async def serve(task_status: trio.TaskStatus[None]) -> None:
            await serve_control(
                orchestrator,
                place.socket_path,
                begin=begin,
                ending=ending,
                others=others if others is not None else partial(_object_api, orchestrator, place),
                task_status=task_status,
            )

        async with trio.open_nursery() as running:
            await running.start(orchestrator.run)
            spare_what_stays()
            running.start_soon(_set_after, begin, _SERVER_DELAY_SECONDS)
            # The server ends first, so that what it still says is of an orchestrator that runs.
            async with trio.open_nursery() as serving:
                await serving.start(serve)
                yield orchestrator
                with trio.move_on_after(_CLEARING_SECONDS):
                    await orchestrator.wait_cleared()
                orchestrator.finish_logs()
                ending.set()
            running.cancel_scope.cancel()


async def way_in(orchestrator: Orchestrator, place: StateDirectory) -> Control:
    """Return how the owner of a directory itself changes what is to run there: by the way of everybody else.

    That way has quotas, limits, webhooks and the audit log on it. Where there are none, the server need not come up.

    Args:
        orchestrator: It runs, and is served at the directory's socket.
        place: The directory.
    """
    if await has_rules(orchestrator.store, place.part("server", "api")):
        return HttpControl(SocketPeer(place.socket_path, warned=warn))
    return orchestrator


@asynccontextmanager
async def observing(place: StateDirectory, plugins: Mapping[str, str]) -> AsyncIterator[Orchestrator]:
    """Give an orchestrator on a state directory that is owned, which can be asked and does nothing.

    Args:
        place: The directory, which this process owns.
        plugins: Names of plug-ins by interface.
    """
    async with _made(place, plugins, observes=True) as orchestrator, trio.open_nursery() as running:
        await running.start(orchestrator.observe)
        yield orchestrator
        running.cancel_scope.cancel()


@asynccontextmanager
async def _made(
    place: StateDirectory,
    plugins: Mapping[str, str],
    *,
    only_stops: bool = False,
    refuse_impossible: bool = True,
    observes: bool = False,
) -> AsyncIterator[Orchestrator]:
    """Open what an orchestrator is made of, and make it."""
    async with AsyncExitStack() as stack:
        make_scheduler = load_plugin("scheduler", plugins["scheduler"])
        store = await stack.enter_async_context(opened("store", plugins["store"], place))
        cluster = await stack.enter_async_context(opened("cluster", plugins["cluster"], place))
        runtime = await stack.enter_async_context(opened("runtime", plugins["runtime"], place))
        scheduler = make_scheduler()
        await stack.enter_async_context(lessons_kept(scheduler, plugins["scheduler"], place, reads_only=observes))
        yield Orchestrator(
            runtime,
            cluster,
            scheduler,
            store,
            refuse_impossible=refuse_impossible,
            only_stops=only_stops,
            volumes=DirectoryVolumes(place.volumes_path),
            config=StoredConfig(store, place.part("server", "api")),
            classes=StoredClasses(store),
        )


@asynccontextmanager
async def _object_api(orchestrator: Orchestrator, place: StateDirectory, streams: Any) -> AsyncIterator[Any]:
    # In a thread, because it takes a third of a second, in which the orchestrator is at work already.
    module = await trio.to_thread.run_sync(importlib.import_module, "orchestrion.control_plane.server")
    async with module.embedded(orchestrator, place.make_part("server", "api"), streams) as app:
        yield app


def spare_what_stays() -> None:
    """Let the collector leave alone what is there now, modules above all, and come less often for the rest."""
    gc.freeze()  # with what little garbage there is: to look for it first would cost more time than the start has
    gc.set_threshold(*_COLLECTIONS)


async def _set_after(event: trio.Event, seconds: float) -> None:
    await trio.sleep(seconds)
    event.set()
