"""Serving an ASGI application on listeners: the one place that knows which server it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import trio

from ._http1.sends import Sends
from ._http1.server import Connections
from ._http1.settings import Settings
from ._open_streams import OpenStreams

HEAD_SECONDS: Final = 10.0
BODY_SECONDS: Final = 30.0
"""How long the head and the body of a request may take where peers are not to be waited for without end."""


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
        stalled_seconds: How long a peer may take to accept what is sent at once; then its connection is closed. With
            any such limit, there is one for what it sends, too.
    """
    settings = Settings(keep_alive=keep_alive_seconds)
    if math.isfinite(stalled_seconds):
        settings = Settings(keep_alive=keep_alive_seconds, head=HEAD_SECONDS, body=BODY_SECONDS)
    sends = Sends(stalled_seconds)
    connections = Connections(app, settings, sends)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_abort_when_cancelled, sends)
        async with trio.open_nursery() as serving:
            async with trio.open_nursery() as accepting:
                accepting.start_soon(
                    partial(trio.serve_listeners, connections.serve, list(listeners), handler_nursery=serving)
                )
                await streams.ending.wait()
                accepting.cancel_scope.cancel()
            connections.end()
        nursery.cancel_scope.cancel()


async def _abort_when_cancelled(sends: Sends) -> None:
    try:
        await trio.sleep_forever()
    finally:
        sends.abort()
