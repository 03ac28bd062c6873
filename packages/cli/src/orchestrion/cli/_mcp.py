"""`mcp`: the Model Context Protocol over standard input and output."""

from __future__ import annotations

import os

import trio
from orchestrion.control_plane import HttpControl
from orchestrion.control_plane.mcp import Desk, serve_lines

from ._places import Place, RemoteServer, place_of
from ._running import run_async
from ._where import Where

_CHUNK_BYTES = 65536


def run_mcp(where: Where) -> int:
    """Answer messages until the input ends."""
    run_async(_serve, place_of(where))
    return 0


async def _serve(place: Place) -> None:
    # Asked anew for each question: who answers may come and go while the client stays.
    if isinstance(place, RemoteServer):
        control = HttpControl(place.peer)
    else:
        place.check_safe()
        control = HttpControl(place.socket_path)
    await serve_lines(Desk(control), _read, _write)


async def _read() -> bytes:
    # A read of a pipe can't be given up; the thread is left behind at the end.
    return await trio.to_thread.run_sync(os.read, 0, _CHUNK_BYTES, abandon_on_cancel=True)


async def _write(data: bytes) -> None:
    await trio.to_thread.run_sync(_write_all, data)


def _write_all(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]
