"""Taking the port of a server, before anything else is begun for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import trio
from orchestrion.shared_types import ConfigInvalid, NetworkFailure, Problem

BACKLOG: Final = 1024
"""How many connections may wait to be taken."""


MAX_PORT: Final = 65_535


def check_port(port: int, /) -> None:
    """Make sure that a number is a port's, or 0; the system would take another one for what is left of it by 65536.

    Raises:
        ConfigInvalid: It is not.
    """
    if not 0 <= port <= MAX_PORT:
        problem = Problem(f"{port} is no port: 1 to {MAX_PORT} are, and 0 takes a free one")
        raise ConfigInvalid((problem,), remedy="Choose another --port.")


@asynccontextmanager
async def listening(host: str, port: int, /) -> AsyncIterator[Sequence[trio.SocketListener]]:
    """Give sockets that listen for as long as the context lasts; who connects waits until somebody serves them.

    Args:
        host: A name or address of this machine.
        port: The port, 0 to 65535; 0 takes a free one.

    Raises:
        ConfigInvalid: The port is none.
        NetworkFailure: Nothing can listen there.
    """
    check_port(port)
    try:
        # As bytes, where it can be: text is written in the ASCII of names first, whose tables take a while to import.
        name = host.encode() if host.isascii() else host
        listeners = await trio.open_tcp_listeners(port, host=name, backlog=BACKLOG)
    except OSError as err:
        msg = f"can't listen at {host}:{port}: {err.strerror or err}"
        raise NetworkFailure(msg, remedy="Choose another --host or --port.") from err
    async with AsyncExitStack() as stack:
        for listener in listeners:
            await stack.enter_async_context(listener)
        yield listeners
