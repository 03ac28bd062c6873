"""Listening for connections that speak TLS, as it is to be spoken when each of them comes."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import trio
from attrs import define


@define(eq=False)
class SecureListener(trio.abc.Listener[trio.SSLStream[trio.SocketStream]]):
    """Takes connections that speak TLS, as it is to be spoken at that moment.

    Attributes:
        listener: Takes the connections.
        current: Says how TLS is to be spoken.
    """

    listener: trio.SocketListener
    current: Callable[[], ssl.SSLContext]

    async def accept(self) -> trio.SSLStream[trio.SocketStream]:
        """Wait for a connection, and return it. The handshake is the caller's."""
        return trio.SSLStream(await self.listener.accept(), self.current(), server_side=True)

    async def aclose(self) -> None:
        """Take no more connections."""
        await self.listener.aclose()
