"""Telling a service manager how a server is getting on, as systemd wants to know it (sd_notify(3))."""

from __future__ import annotations

import logging
import math
import os
import socket
from collections.abc import MutableMapping
from typing import Final, Self

import trio
from attrs import define, field

_log = logging.getLogger("orchestrion.server")

_TELL_SECONDS: Final = 5.0
"""How long the manager may take to take a message in: it has a queue, and nobody is to wait for it without end."""


@define(eq=False)
class ServiceManager:
    """Whoever has started the server and wants to know how it is; nobody, for most.

    What can't be told is worth a warning, once, and disturbs nothing.

    Attributes:
        address: Where its socket is: a path, or a name behind a NUL; empty for nobody.
        watchdog_seconds: After how long without a word it takes the server for stuck; infinite for never.
    """

    address: str = ""
    watchdog_seconds: float = math.inf
    _failed: bool = field(default=False, init=False)

    @classmethod
    def of(cls, environment: MutableMapping[str, str], /) -> Self:
        """Return who is named in an environment, and take that out of it: what the server starts is not meant.

        An address of a kind that is not spoken here, such as one of a virtual machine's host, is nobody's.
        """
        address = environment.pop("NOTIFY_SOCKET", "")
        microseconds, process = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", "")
        if not address:
            return cls()
        if not address.startswith(("/", "@")) or len(address) == 1:
            _log.warning("NOTIFY_SOCKET is no path and no @NAME: the service manager can't be told anything")
            return cls()
        manager = cls("\0" + address[1:] if address.startswith("@") else address)
        meant = not process or process == str(os.getpid())
        if meant and microseconds.isascii() and microseconds.isdecimal() and int(microseconds):
            manager.watchdog_seconds = int(microseconds) / 1e6
        return manager

    async def ready(self, status: str) -> None:
        """Tell that the server serves, and a line for people about that."""
        await self._tell("READY=1", f"STATUS={status}")

    async def stopping(self, status: str) -> None:
        """Tell that the server has begun to end."""
        await self._tell("STOPPING=1", f"STATUS={status}")

    async def status(self, status: str) -> None:
        """Tell a line for people."""
        await self._tell(f"STATUS={status}")

    async def show_life(self) -> None:
        """Give a sign of life twice in the time after which the server would be taken for stuck, until cancelled.

        It comes from the loop that does all the work, so that none comes once that is stuck.
        """
        while math.isfinite(self.watchdog_seconds):
            await self._tell("WATCHDOG=1")
            await trio.sleep(self.watchdog_seconds / 2)

    async def _tell(self, *lines: str) -> None:
        if not self.address:
            await trio.lowlevel.checkpoint()
            return
        # A line end within would be the end of that assignment.
        message = "\n".join(" ".join(line.splitlines()) for line in lines).encode()
        try:
            with trio.fail_after(_TELL_SECONDS), trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                await sender.connect(self.address)
                await sender.send(message)
        except (OSError, trio.TooSlowError) as err:
            if not self._failed:
                self._failed = True
                _log.warning("the service manager can't be told anything: %s", err or "it takes nothing")
