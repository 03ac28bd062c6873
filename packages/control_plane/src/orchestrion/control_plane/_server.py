"""Serving a Control on a unix socket."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from socket import socket
from typing import Any

import trio

from ._control import Control
from ._loading import load
from ._open_streams import OpenStreams
from ._socket import listening_socket

GRACE_SECONDS = 2.0
"""How long connections get to finish when the server ends in good order."""


async def serve_control(
    control: Control,
    socket_path: Path,
    /,
    *,
    begin: trio.Event | None = None,
    ending: trio.Event | None = None,
    others: Callable[[OpenStreams], AbstractAsyncContextManager[Any]] | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `control` as HTTP on a unix socket of mode 0600, until cancelled or told to end.

    It is started when the socket listens. Clients that come before the server is up wait; nothing is lost.

    **Cancellation.** *Closing*: connections are dropped, the socket is taken away.

    Args:
        control: Who answers.
        socket_path: Where the socket goes; its folder exists. A path that is too long for an address is no obstacle.
        begin: Bringing up the server takes half a second of processor time, which waits for this event or for the
            first client, and is not spent if neither comes. None is at once.
        ending: After this event it comes to its end. A watch ends with what there is. Output is given on until its
            reader has come to the end of it, nothing has come for 2 s, or the reader has taken nothing for 30 s; a
            Control that can, ends its streams of output by then. After that connections get 2 s, and it returns.
        others: Opens, when it is first asked for, an ASGI application for all requests but those that only ask a
            Control. It answers those that change something, too: who puts changes under rules puts all under them.
        task_status: Tells that the socket listens.

    Raises:
        Conflict: Somebody else listens there.
        NetworkFailure: The socket can't be made there.
    """
    streams = OpenStreams(trio.Event() if ending is None else ending)
    with listening_socket(socket_path) as listener:
        task_status.started()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_end_after, streams, nursery.cancel_scope)
            await _serve_after(begin, listener, streams, partial(_serve, control, listener, streams, others))
            nursery.cancel_scope.cancel()


async def _end_after(streams: OpenStreams, scope: trio.CancelScope) -> None:
    await streams.ending.wait()
    while True:
        await streams.wait_over()
        await trio.sleep(GRACE_SECONDS)
        if streams.over:
            scope.cancel()
            return


async def _serve_after(
    begin: trio.Event | None, listener: socket, streams: OpenStreams, serve: Callable[[], Awaitable[None]]
) -> None:
    if begin is not None:
        await _first_of(begin.wait, partial(trio.lowlevel.wait_readable, listener), streams.ending.wait)
    # The event loop goes on in between; the modules are not needed by anybody who only waits for a workload.
    loaded = partial(load, "_app", "_deferred", "_serving")
    await _first_of(partial(trio.to_thread.run_sync, loaded, abandon_on_cancel=True), streams.ending.wait)
    if not streams.ending.is_set():
        await serve()


async def _first_of(*waits: Callable[[], Awaitable[object]]) -> None:
    """Wait until the first of these has returned, and give the others up."""
    async with trio.open_nursery() as nursery:
        for wait in waits:
            nursery.start_soon(_cancel_after, wait, nursery.cancel_scope)


async def _cancel_after(wait: Callable[[], Awaitable[object]], scope: trio.CancelScope) -> None:
    await wait()
    scope.cancel()


async def _serve(
    control: Control,
    listener: socket,
    streams: OpenStreams,
    others: Callable[[OpenStreams], AbstractAsyncContextManager[Any]] | None,
) -> None:
    from ._app import control_handlers, make_app
    from ._deferred import DeferredApp
    from ._serving import serve_app

    app: Any = make_app(control_handlers(control, streams))
    # On a unix socket of one user an idle connection costs nothing, and a limit would only surprise a client.
    listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(listener))]
    async with trio.open_nursery() as nursery:
        if others is not None:
            app = DeferredApp(app, _only_asks, partial(others, streams))
            nursery.start_soon(app.run)
        await serve_app(app, listeners, streams, keep_alive_seconds=math.inf)
        nursery.cancel_scope.cancel()


def _only_asks(scope: Any) -> bool:
    """Whether a request is one to a Control that changes nothing."""
    if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
        return False
    return bool(scope["method"] in ("GET", "HEAD") or scope["path"] == "/v1/logs")
