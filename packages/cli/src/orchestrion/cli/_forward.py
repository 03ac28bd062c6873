"""`port-forward`: ports of an instance, at ports of this machine."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

import trio
from attrs import frozen
from orchestrion.control_plane import ApiClient, Control, HttpControl
from orchestrion.orchestrator_core import parse_subject
from orchestrion.runtime_interface import ExecSession, LogStream
from orchestrion.shared_types import (
    ConfigInvalid,
    Denied,
    NetworkFailure,
    OrchestrationError,
    Problem,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    WorkloadInstance,
)

from ._output import note
from ._places import Place, RemoteServer, namespace_of, place_of
from ._reach import reach_owner
from ._running import run_async
from ._subjects import chosen, runnable
from ._where import Where

_CHUNK_BYTES: Final = 65536

_LOOK_SECONDS: Final = 5.0
"""How often a server is asked whether the right is still there: as often as it looks itself at what is open."""

_RELAY: Final = """
if command -v socat >/dev/null 2>&1; then exec socat - "TCP:$1:$2"; fi
if command -v nc >/dev/null 2>&1; then exec nc "$1" "$2"; fi
if command -v python3 >/dev/null 2>&1; then exec python3 -c '
import os, socket, sys, threading
peer = socket.create_connection((sys.argv[1], int(sys.argv[2])))
def give():
    while data := os.read(0, 65536):
        peer.sendall(data)
    peer.shutdown(socket.SHUT_WR)
threading.Thread(target=give, daemon=True).start()
while data := peer.recv(65536):
    view = memoryview(data)
    while view:
        view = view[os.write(1, view):]
' "$1" "$2"; fi
echo "there is no socat, nc or python3 in the instance" >&2
exit 127
"""
"""Connects to an address from inside the instance, with whatever is there for it."""


@frozen
class Forward:
    """A port here, and one there.

    Attributes:
        local: The port of this machine; 0 takes a free one.
        remote: The name or number of the instance's.
    """

    local: int
    remote: str

    @classmethod
    def read(cls, text: str) -> Forward:
        """Return what a text such as "8080:http" or "http" means.

        Raises:
            ConfigInvalid: It is none.
        """
        local, colon, remote = text.partition(":")
        if not colon:
            local, remote = (text if text.isdecimal() else "0"), text
        if not remote or not local.isdecimal() or int(local) > 65535:
            problem = Problem(f"{text!r:.100} is no pair of ports: write 8080:http, 8080:80 or http")
            raise ConfigInvalid((problem,))
        return cls(int(local), remote)


def run_port_forward(name: str, ports: Sequence[str], container: str | None, where: Where, host: str) -> int:
    """Forward connections until interrupted."""
    wanted = [Forward.read(text) for text in ports]
    place = place_of(where)
    run_async(_serve, place, namespace_of(where, place), name, wanted, container, host)
    return 0


async def _serve(
    place: Place, namespace: str, name: str, wanted: Sequence[Forward], container: str | None, host: str
) -> None:
    async with reach_owner(place) as control:
        full = await runnable(name, namespace, control)
        subject = parse_subject(full)
        instances = await control.list_instances(namespace=namespace, workload=subject.workload)
        instance = chosen(subject, instances)[-1]
        try:
            await _forward(place, control, namespace, instance, wanted, container, host)
        except BaseExceptionGroup as group:
            # However many connections the end of a right has cut off, it is one thing to be told.
            refused = [error for error in leaves(group) if isinstance(error, (Denied, Unauthenticated))]
            if refused:
                raise refused[0] from None
            raise


async def _forward(
    place: Place,
    control: HttpControl,
    namespace: str,
    instance: WorkloadInstance,
    wanted: Sequence[Forward],
    container: str | None,
    host: str,
) -> None:
    async with trio.open_nursery() as nursery:
        if isinstance(place, RemoteServer):
            nursery.start_soon(end_with_right, ApiClient(control.peer), namespace, instance.name)
        for each in wanted:
            address, port = _target(instance, each, container)
            direct = not isinstance(place, RemoteServer)
            tunnel = _Tunnel(control, instance.name, namespace, container, address, port, direct)
            listeners = await _listening(host, each.local)
            local = listeners[0].socket.getsockname()[1]
            note(f"{host}:{local} -> {instance.name} {each.remote} ({address}:{port}); Ctrl-C ends it")
            nursery.start_soon(partial(trio.serve_listeners, tunnel.carry, listeners))


async def end_with_right(api: ApiClient, namespace: str, instance: str) -> None:
    """Ask again and again whether one may still run commands in an instance, and raise once one may not.

    A server ends what is under way by itself; where there is no connection, nobody else would tell.

    Raises:
        Denied: The right is over.
        Unauthenticated: What one showed is no longer good.
    """
    question = {"verb": "exec", "resource": "instances", "namespace": namespace, "name": instance}
    while True:
        await trio.sleep(_LOOK_SECONDS)
        try:
            verdict = (await api.ask("POST", "/api/v1/can-i", question, expects={"allowed": bool})).data
        except (NetworkFailure, Unavailable, TooManyRequests):
            continue  # a server that can't be asked has refused nothing
        if not verdict["allowed"]:
            raise Denied(str(verdict["why"]), remedy="Ask an administrator, or see: orchestrion auth can-i --list")


async def _listening(host: str, port: int) -> list[trio.SocketListener]:
    try:
        return await trio.open_tcp_listeners(port, host=host)
    except OSError as err:
        msg = f"can't listen at {host}:{port}: {err.strerror or err}"
        raise NetworkFailure(msg, remedy="Choose another port.") from err


def _target(instance: WorkloadInstance, wanted: Forward, container: str | None) -> tuple[str, int]:
    """Return where a port of an instance is, as the instance itself reaches it."""
    own = [one for one in instance.status.containers if container in (None, one.name)]
    for one in own:
        if wanted.remote in one.ports:
            return one.address or "127.0.0.1", one.ports[wanted.remote]
    if wanted.remote.isdecimal() and 0 < int(wanted.remote) < 65536:
        return (own[0].address if own else "") or "127.0.0.1", int(wanted.remote)
    names = ", ".join(sorted(name for one in own for name in one.ports)) or "none"
    problem = Problem(f"{instance.name} has no port {wanted.remote!r:.100}; it has: {names}")
    raise ConfigInvalid((problem,))


@frozen
class _Tunnel:
    """Carries connections to one address."""

    control: Control
    instance: str
    namespace: str
    container: str | None
    address: str
    port: int
    direct: bool

    async def carry(self, client: trio.SocketStream) -> None:
        """Carry one connection to its end; what goes wrong ends this one alone, but for the right to it.

        Raises:
            Denied: One may no longer reach the instance.
            Unauthenticated: What one showed is no longer good.
        """
        async with client:
            try:
                if self.direct:
                    await self._directly(client)
                else:
                    await self._through(client)
            except* (OrchestrationError, OSError, trio.BrokenResourceError, trio.ClosedResourceError) as group:
                (err, *_) = leaves(group)
                if isinstance(err, (Denied, Unauthenticated)):
                    raise err from None
                note(f"a connection to {self.address}:{self.port} ended: {err or type(err).__name__}")

    async def _directly(self, client: trio.SocketStream) -> None:
        async with await trio.open_tcp_stream(self.address, self.port) as peer, trio.open_nursery() as nursery:
            nursery.start_soon(_pump, client, peer)
            await _pump(peer, client)
            nursery.cancel_scope.cancel()

    async def _through(self, client: trio.SocketStream) -> None:
        command = ["sh", "-c", _RELAY, "sh", self.address, str(self.port)]
        async with (
            self.control.exec(self.instance, command, namespace=self.namespace, container=self.container) as session,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(_give, client, session)
            async for output in session.output():
                if output.stream is LogStream.STDOUT:
                    await client.send_all(output.data)
                else:
                    note(output.data.decode(errors="replace").rstrip())
            nursery.cancel_scope.cancel()


def leaves(error: BaseException) -> list[BaseException]:
    """Return the errors that are no groups, of a group of any depth."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]


async def _pump(source: trio.SocketStream, target: trio.SocketStream) -> None:
    async for data in source:
        await target.send_all(data)
    await target.send_eof()


async def _give(client: trio.SocketStream, session: ExecSession) -> None:
    while data := await client.receive_some(_CHUNK_BYTES):
        await session.send_stdin(data)
    await session.close_stdin()
