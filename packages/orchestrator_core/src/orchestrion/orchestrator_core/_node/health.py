"""Health checks: one try, and the verdict over many."""

from __future__ import annotations

from typing import Final, Protocol

import h11
import trio
from attrs import define
from orchestrion.orchestrator_core._background import leaves
from orchestrion.runtime_interface import ContainerRuntime, SupportsExec
from orchestrion.shared_types import (
    ContainerHealth,
    ContainerStatus,
    ExecProbe,
    HealthCheck,
    HttpProbe,
    OrchestrationError,
    TcpProbe,
)

MAX_HEAD_BYTES: Final = 65_536


class Prober(Protocol):
    """Tries whether a container serves."""

    async def try_once(self, check: HealthCheck, status: ContainerStatus, /) -> str:
        """Return "" if it serves, or why not in a few words. The caller bounds the time.

        An `OrchestrationError` or `OSError` that it raises, alone or in a group of such, is a failed try.
        """
        ...


@define(eq=False)
class NetworkProber:
    """Tries over the network, or by a command inside the container.

    Attributes:
        runtime: Runs the commands.
    """

    runtime: ContainerRuntime

    async def try_once(self, check: HealthCheck, status: ContainerStatus, /) -> str:
        """Return "" if the container serves, or why not in a few words."""
        try:
            match check.probe:
                case HttpProbe(port=port, path=path):
                    return await _try_http(status.address, status.ports[port], path)
                case TcpProbe(port=port):
                    stream = await trio.open_tcp_stream(status.address or "127.0.0.1", status.ports[port])
                    await trio.aclose_forcefully(stream)
                    return ""
                case ExecProbe(command=command):
                    return await self._try_command(status, command)
        except (OSError, trio.BrokenResourceError, h11.RemoteProtocolError) as err:
            return str(err) or type(err).__name__
        except KeyError as err:
            return f"the container has no port {err.args[0]!r}"

    async def _try_command(self, status: ContainerStatus, command: tuple[str, ...]) -> str:
        if not isinstance(self.runtime, SupportsExec):
            return "the runtime can't run commands in containers"
        try:
            async with self.runtime.exec_in_container(status.container_id, command) as session:
                await session.close_stdin()
                ended = await session.wait()
        except OrchestrationError as err:
            return err.message
        except ExceptionGroup as group:
            # A session may have tasks of its own, whose nursery makes a group of what is raised within it.
            found = next(leaves(group))
            if not isinstance(found, OrchestrationError):
                raise
            return found.message
        return (
            ""
            if ended.succeeded
            else f"the command ended with {ended.code if ended.code is not None else ended.signal}"
        )


async def _try_http(address: str, port: int, path: str) -> str:
    stream = await trio.open_tcp_stream(address or "127.0.0.1", port)
    async with stream:
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
        request = h11.Request(
            method="GET",
            target=path,
            headers=[
                ("Host", f"{address or '127.0.0.1'}:{port}"),
                ("User-Agent", "orchestrion"),
                ("Connection", "close"),
            ],
        )
        await stream.send_all(connection.send(request) or b"")
        await stream.send_all(connection.send(h11.EndOfMessage()) or b"")
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await stream.receive_some(8192))
            elif isinstance(event, h11.Response):
                return "" if 200 <= event.status_code < 400 else f"HTTP status {event.status_code}"
            elif isinstance(event, h11.ConnectionClosed):
                return "the connection was closed before a response"


@define
class Verdict:
    """What many tries say.

    Attributes:
        check: How many of them it takes.
        health: The verdict so far.
        in_row: Tries in a row that speak against the verdict.
        detail: Why the last failed one failed.
    """

    check: HealthCheck
    health: ContainerHealth = ContainerHealth.UNCHECKED
    in_row: int = 0
    detail: str = ""
    _last: ContainerHealth = ContainerHealth.UNCHECKED

    def add(self, failure: str, running_seconds: float) -> bool:
        """Count a try, and return whether the verdict has changed.

        Args:
            failure: "" for a success, or why it failed.
            running_seconds: How long the container had run; failures within the start period do not count.
        """
        if failure:
            self.detail = failure
            if self.health is not ContainerHealth.HEALTHY and running_seconds < self.check.start_period_seconds:
                return False
            return self._against(ContainerHealth.UNHEALTHY, self.check.unhealthy_threshold)
        self.detail = ""
        return self._against(ContainerHealth.HEALTHY, self.check.healthy_threshold)

    def _against(self, said: ContainerHealth, threshold: int) -> bool:
        if said is self.health:
            self.in_row = 0
            return False
        self.in_row = self.in_row + 1 if self._last is said else 1
        self._last = said
        if self.in_row < threshold:
            return False
        self.health = said
        self.in_row = 0
        return True
