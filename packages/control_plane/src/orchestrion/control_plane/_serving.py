"""Serving an ASGI application on listeners: the one place that knows which server it is."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import wrap_app

from ._connection import Connection, Sends
from ._open_streams import OpenStreams

_log = logging.getLogger("orchestrion.control_plane")


async def serve_app(
    app: Any,
    listeners: Sequence[Any],
    streams: OpenStreams,
    /,
    *,
    keep_alive_seconds: float,
    stalled_seconds: float = math.inf,
) -> None:
    """Serve an ASGI application until cancelled, or until streams are to end and connections have gone.

    **Cancellation.** *Closing*: connections are dropped, whatever they are sending.

    Args:
        app: The application.
        listeners: Where connections come from: sockets, or TLS over them.
        streams: Says when to come to an end.
        keep_alive_seconds: How long a connection may be without a request.
        stalled_seconds: How long a peer may take to accept what is sent at once; then its connection is closed.
    """
    config = Config()
    config.errorlog = _log
    config.accesslog = None
    config.keep_alive_timeout = keep_alive_seconds
    config.keep_alive_max_requests = 2**31
    config.include_server_header = False
    context = WorkerContext(None)
    sends = Sends(stalled_seconds)
    connect = partial(
        Connection, sends, wrap_app(app, config.wsgi_max_body_size, "asgi"), config, context, ConnectionState({})
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_abort_when_cancelled, sends)
        async with trio.open_nursery() as connections:
            async with trio.open_nursery() as accepting:
                accepting.start_soon(
                    partial(trio.serve_listeners, connect, list(listeners), handler_nursery=connections)
                )
                await streams.ending.wait()
                accepting.cancel_scope.cancel()
            # It tells idle connections to close, and others to close after their answer.
            await context.terminated.set()
        nursery.cancel_scope.cancel()


async def _abort_when_cancelled(sends: Sends) -> None:
    try:
        await trio.sleep_forever()
    finally:
        sends.abort()
