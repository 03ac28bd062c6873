"""A server on an orchestrator of mocks, to be attacked: it says its address, and serves until its input ends."""

from __future__ import annotations

import sys

import trio
from api_stage import api_served  # type: ignore[import-not-found] # on the path where this runs
from orchestrion.control_plane._web.server import Address


async def serve() -> None:
    """Serve until standard input ends."""
    async with api_served() as api, trio.open_nursery() as nursery:
        port = await nursery.start(api.server.serve, Address())
        sys.stdout.write(f"http://127.0.0.1:{port}\n")
        sys.stdout.flush()
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(serve)
