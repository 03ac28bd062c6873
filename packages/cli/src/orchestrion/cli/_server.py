"""`server` and `dev`: an orchestrator that serves the network."""

from __future__ import annotations

import importlib
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
from attrs import frozen
from orchestrion.control_plane import HttpControl
from orchestrion.control_plane.logs import LogForm, logging_to
from orchestrion.orchestrator_core import Orchestrator
from orchestrion.shared_types import Conflict, Unsupported

from ._exit_codes import ExitCode
from ._output import note
from ._owner import orchestrating
from ._reach import owner_or_lock
from ._state_directory import StateDirectory, at

if TYPE_CHECKING:
    from orchestrion.control_plane.server import OidcConfig


@frozen(kw_only=True)
class Request:
    """What was asked for.

    Attributes:
        host: Where to listen.
        port: The port; 0 takes a free one.
        tls: Whether TLS is spoken; None is beyond the loopback.
        tls_names: Names and addresses that the certificate is for besides.
        plugins: Names of plug-ins by interface, where others are wanted than those of the last time.
        drains: Whether everything stops at the end; without, what runs goes on running.
        webhook_networks: Networks in which webhooks may be, besides public addresses.
        invites: Whether an address is told that signs a browser in.
        log: How the log is written: `text` or `json`.
        proxies: Networks of proxies that are believed about whom they speak for.
        trace: Where an OTLP receiver takes traces: a URL; empty is nowhere.
        oidc: Whose tokens are good besides the server's own; None for nobody's.
    """

    host: str
    port: int
    tls: bool | None
    tls_names: Sequence[str] = ()
    plugins: Mapping[str, str]
    drains: bool
    webhook_networks: tuple[str, ...] = ()
    invites: bool = False
    log: str = "text"
    proxies: Sequence[str] = ()
    trace: str = ""
    oidc: OidcConfig | None = None


def run_server(state: Path | None, request: Request) -> int:
    """Serve until interrupted."""
    place = at(state)
    place.make()
    with ExitStack() as stack:
        stack.enter_context(logging_to(form=LogForm(request.log)))
        tracer = stack.enter_context(_traced(request.trace)) if request.trace else None
        return trio.run(_run, request, place, tracer)


def _traced(endpoint: str) -> AbstractContextManager[Any]:
    try:
        from orchestrion.control_plane.tracing import tracing
    except ImportError as err:
        msg = f"traces need what is not installed: {err.name}"
        raise Unsupported(msg, remedy="pip install 'orchestrion-control-plane[tracing]'") from err
    return tracing(endpoint)


async def _run(request: Request, place: StateDirectory, tracer: Any) -> int:
    interrupted = trio.Event()
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_listen, signals, interrupted, nursery.cancel_scope)
            loaded = trio.Event()
            nursery.start_soon(_load, loaded)
            await _serve(request, place, interrupted, tracer, loaded)
            nursery.cancel_scope.cancel()
    return ExitCode.OK if interrupted.is_set() else ExitCode.FAILED


async def _listen(signals: AsyncIterator[int], interrupted: trio.Event, scope: trio.CancelScope) -> None:
    async for _ in signals:
        if interrupted.is_set():
            scope.cancel()
        interrupted.set()


async def _load(loaded: trio.Event) -> None:
    """Import the server in a thread: that takes a third of a second, in which the orchestrator waits for its disk."""
    load = partial(importlib.import_module, "orchestrion.control_plane.server")
    await trio.to_thread.run_sync(load, abandon_on_cancel=True)
    loaded.set()


async def _serve(
    request: Request, place: StateDirectory, interrupted: trio.Event, tracer: Any, loaded: trio.Event
) -> None:
    async with owner_or_lock(place) as found:
        if isinstance(found, HttpControl):
            msg = f"an orchestrator runs on {place.path} already"
            raise Conflict(msg, remedy="End that one, or choose another directory with --state.")
        plugins = {**found.plugins, **request.plugins}
        handed = _HandedOver()
        async with orchestrating(place, plugins, refuse_impossible=False, others=handed.open) as orchestrator:
            found.begin(plugins)
            await loaded.wait()
            from orchestrion.control_plane.server import Options, serving

            options = Options(
                host=request.host,
                port=request.port,
                tls=request.tls,
                tls_names=request.tls_names,
                webhook_networks=request.webhook_networks,
                proxies=request.proxies,
                tracer=tracer,
                oidc=request.oidc,
            )
            async with serving(orchestrator, place.make_part("server", "api"), options) as served:
                handed.over(served.at_socket)
                note(f"serving at {served.url}")
                if options.exposed:
                    note("warning: without TLS everybody on the way can read and use the tokens; leave --no-tls out")
                if served.first_token is not None:
                    note(f"the first administrator's token is in {served.first_token}")
                if served.authority is not None:
                    note(f"clients know this server by {served.authority} ({served.fingerprint})")
                if request.invites:
                    note(f"the dashboard, once: {served.login_link()}")
                await interrupted.wait()
                if request.drains:
                    note("stopping everything; Ctrl-C again stops waiting for it")
                    await orchestrator.stop_all()
                    await _drained(orchestrator)
            found.end()
        # What runs goes on running: the next server takes it up.


class _HandedOver:
    """What the socket serves besides Control: the same objects as the network gets, once they are there."""

    def __init__(self) -> None:
        self._there = trio.Event()
        self._make: Callable[[Any], Any] | None = None

    def over(self, make: Callable[[Any], Any]) -> None:
        """Hand over what makes it."""
        self._make = make
        self._there.set()

    @asynccontextmanager
    async def open(self, streams: Any) -> AsyncIterator[Any]:
        """Give it as soon as it is there."""
        await self._there.wait()
        if self._make is not None:
            yield self._make(streams)


async def _drained(orchestrator: Orchestrator) -> None:
    """Wait until nothing holds a place any longer."""
    async with orchestrator.watch() as updates:
        async for _ in updates:
            if not any(view.placed for view in await orchestrator.list_workloads()):
                return
