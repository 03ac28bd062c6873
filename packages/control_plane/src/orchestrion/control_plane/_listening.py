"""Taking the port of a server, before anything else is begun for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import trio
from orchestrion.shared_types import NetworkFailure

BACKLOG: Final = 1024
"""How many connections may wait to be taken."""


@asynccontextmanager
async def listening(host: str, port: int, /) -> AsyncIterator[Sequence[trio.SocketListener]]:
    """Give sockets that listen for as long as the context lasts; who connects waits until somebody serves them.

    Args:
        host: A name or address of this machine.
        port: The port; 0 takes a free one.

    Raises:
        NetworkFailure: Nothing can listen there.
    """
    try:
        listeners = await trio.open_tcp_listeners(port, host=host, backlog=BACKLOG)
    except OSError as err:
        msg = f"can't listen at {host}:{port}: {err.strerror or err}"
        raise NetworkFailure(msg, remedy="Choose another --host or --port.") from err
    async with AsyncExitStack() as stack:
        for listener in listeners:
            await stack.enter_async_context(listener)
        yield listeners
