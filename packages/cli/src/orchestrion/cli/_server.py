"""`server` and `dev`: an orchestrator that serves the network."""

from __future__ import annotations

import importlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import trio
from attrs import frozen
from orchestrion.control_plane import HttpControl, check_port, listening
from orchestrion.control_plane.logs import LogForm, logging_to
from orchestrion.orchestrator_core import Orchestrator
from orchestrion.shared_types import ConfigInvalid, Conflict, NetworkFailure, Problem, Unsupported

from ._exit_codes import ExitCode
from ._open_files import open_files_raised
from ._output import note
from ._owner import orchestrating, spare_what_stays
from ._reach import owner_or_lock
from ._service_manager import ServiceManager
from ._state_directory import Ownership, StateDirectory, at

if TYPE_CHECKING:
    from orchestrion.control_plane.server import OidcConfig, Options, Served

_EVERYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104 # compared with, not listened at
"""Hosts that are all addresses of this machine, and that nobody can go to."""


@frozen(kw_only=True)
class Request:
    """What was asked for.

    Attributes:
        host: Where to listen.
        port: The port, 0 to 65535; 0 takes a free one.
        tls: Whether TLS is spoken; None is beyond the loopback.
        tls_names: Names and addresses that the certificate is for besides.
        tls_cert: A file with a certificate that somebody else keeps; None makes one.
        tls_key: The file with its key.
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
    tls_cert: Path | None = None
    tls_key: Path | None = None
    plugins: Mapping[str, str]
    drains: bool
    webhook_networks: tuple[str, ...] = ()
    invites: bool = False
    log: str = "text"
    proxies: Sequence[str] = ()
    trace: str = ""
    oidc: OidcConfig | None = None


@frozen
class _Around:
    """What a server has to do with besides what it was asked for.

    Attributes:
        interrupted: Set once it is to end.
        loaded: Set once its modules are imported.
        tracer: Follows requests; None follows none.
        manager: Whoever has started it.
    """

    interrupted: trio.Event
    loaded: trio.Event
    tracer: Any
    manager: ServiceManager


def run_server(state: Path | None, request: Request) -> int:
    """Serve until interrupted.

    Raises:
        ConfigInvalid: The port is none, or what is said of a certificate contradicts itself.
    """
    check_port(request.port)
    if (request.tls_cert is None) != (request.tls_key is None):
        raise ConfigInvalid((Problem("a certificate has its key: --tls-cert and --tls-key come together"),))
    if request.tls_cert is not None and request.tls is False:
        raise ConfigInvalid((Problem("--no-tls has no use for a certificate"),))
    place = at(state)
    made = not place.path.exists()
    place.make()
    with ExitStack() as stack:
        stack.enter_context(logging_to(form=LogForm(request.log)))
        tracer = stack.enter_context(_traced(request.trace)) if request.trace else None
        manager = ServiceManager.of(os.environ)
        return trio.run(_run, request, place, tracer, made, manager)


def _traced(endpoint: str) -> AbstractContextManager[Any]:
    try:
        from orchestrion.control_plane.tracing import tracing
    except ImportError as err:
        msg = f"traces need what is not installed: {err.name}"
        raise Unsupported(msg, remedy="pip install 'orchestrion-control-plane[tracing]'") from err
    return tracing(endpoint)


async def _run(request: Request, place: StateDirectory, tracer: Any, made: bool, manager: ServiceManager) -> int:
    interrupted, loaded = trio.Event(), trio.Event()
    around = _Around(interrupted, loaded, tracer, manager)
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_listen, signals, interrupted, nursery.cancel_scope)
            nursery.start_soon(_load, loaded)
            nursery.start_soon(manager.show_life)
            await manager.status(f"taking {place.path} over")
            await _serve(request, place, around, made=made)
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


async def _serve(request: Request, place: StateDirectory, around: _Around, *, made: bool) -> None:
    async with owner_or_lock(place) as found:
        if isinstance(found, HttpControl):
            msg = f"an orchestrator runs on {place.path} already"
            raise Conflict(msg, remedy="End that one, or choose another directory with --state.")
        async with _port_taken(request, place, made=made) as listeners:
            await _serve_at(listeners, request, found, around)
        # What runs goes on running: the next server takes it up.


@asynccontextmanager
async def _port_taken(
    request: Request, place: StateDirectory, *, made: bool
) -> AsyncIterator[Sequence[trio.SocketListener]]:
    """Take the port first: where that fails nothing was begun, and a directory that was made for it goes again."""
    async with AsyncExitStack() as stack:
        try:
            listeners = await stack.enter_async_context(listening(request.host, request.port))
        except NetworkFailure:
            if made:
                place.discard()
            raise
        yield listeners


async def _serve_at(
    listeners: Sequence[trio.SocketListener], request: Request, found: Ownership, around: _Around
) -> None:
    place, plugins = found.place, {**found.plugins, **request.plugins}
    handed = _HandedOver()
    async with orchestrating(place, plugins, refuse_impossible=False, others=handed.open) as orchestrator:
        found.begin(plugins)
        await around.loaded.wait()
        from orchestrion.control_plane.server import Options, serving

        options = Options(
            host=request.host,
            port=request.port,
            tls=request.tls,
            tls_names=request.tls_names,
            tls_cert=request.tls_cert,
            tls_key=request.tls_key,
            webhook_networks=request.webhook_networks,
            proxies=request.proxies,
            tracer=around.tracer,
            oidc=request.oidc,
        )
        served_at = serving(orchestrator, place.make_part("server", "api"), options, listeners=listeners)
        # A runtime gives its programs the limit from before: it is open by now, and has seen it.
        with open_files_raised():
            async with served_at as served:
                handed.over(served.at_socket)
                _tell(served, options, request)
                await around.manager.ready(f"serving at {served.url}")
                async with trio.open_nursery() as preparing:
                    preparing.start_soon(_prepare, served)
                    await _until_end(orchestrator, request, around)
                    preparing.cancel_scope.cancel()
        found.end()


async def _prepare(served: Served) -> None:
    """Do at once after the start what would keep the first requests waiting."""
    await served.prepare()
    spare_what_stays()


async def _until_end(orchestrator: Orchestrator, request: Request, around: _Around) -> None:
    await around.interrupted.wait()
    await around.manager.stopping("stopping everything" if request.drains else "ending; what runs goes on")
    if request.drains:
        note("stopping everything; Ctrl-C again stops waiting for it")
        await orchestrator.stop_all()
        await _drained(orchestrator)


def _tell(served: Served, options: Options, request: Request) -> None:
    note(f"serving at {served.url}")
    if request.host in _EVERYWHERE:
        url = urlsplit(served.url)
        note(f"from elsewhere: {url.scheme}://{socket.gethostname()}:{url.port}")
    if options.exposed:
        note("warning: without TLS everybody on the way can read and use the tokens; leave --no-tls out")
    if served.first_token is not None:
        note(f"the first administrator's token is in {served.first_token}")
    if served.authority is not None:
        note(f"clients know this server by {served.authority} ({served.fingerprint})")
    elif request.tls_cert is not None:
        note(f"clients know this server by who signed {request.tls_cert}")
    if request.invites:
        note(f"the dashboard, once: {served.login_link()}")


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
