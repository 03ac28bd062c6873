"""Host ports: finding out that they are free, and opening those that a container asks to be handed over."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from contextlib import ExitStack

from orchestrion.runtime_interface import PortTaken, StartFailed
from orchestrion.shared_types import PortMapping, Protocol

_TYPES = {Protocol.TCP: socket.SOCK_STREAM, Protocol.UDP: socket.SOCK_DGRAM}
_BACKLOG = 1024


def open_ports(ports: Iterable[PortMapping], address: str) -> list[socket.socket]:
    """Try all ports by binding them. Return a bound socket for each that has `listen`, in order. It blocks.

    Args:
        ports: Each has a host port.
        address: Where sockets that are handed over listen.

    Raises:
        PortTaken: Some are in use; nothing stays open.
        StartFailed: One can't be bound for another reason.
    """
    taken: list[int] = []
    opened: list[socket.socket] = []
    with ExitStack() as undo:
        for port in ports:
            number = port.host_port or 0
            kind = _TYPES[port.protocol]
            try:
                if port.listen:
                    opened.append(undo.enter_context(_bind(_family(address), kind, address, number)))
                    if kind is socket.SOCK_STREAM:
                        opened[-1].listen(_BACKLOG)
                else:
                    _try(kind, number)
            except OSError as err:
                if err.errno != errno.EADDRINUSE:
                    msg = f"can't bind port {number} ({port.name}): {err.strerror}"
                    raise StartFailed(msg) from err
                taken.append(number)
        if taken:
            msg = f"in use on this machine: {', '.join(f'port {number}' for number in taken)}"
            raise PortTaken(msg, ports=tuple(taken))
        undo.pop_all()
    return opened


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _bind(family: socket.AddressFamily, kind: socket.SocketKind, address: str, port: int) -> socket.socket:
    bound = socket.socket(family, kind)
    try:
        # Connections of a former server in TIME_WAIT are no reason to refuse; another listener still is. For UDP the
        # option would let two share the port.
        if kind is socket.SOCK_STREAM:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((address, port))
    except OSError:
        bound.close()
        raise
    return bound


def _try(kind: socket.SocketKind, port: int) -> None:
    _bind(socket.AF_INET, kind, "", port).close()
    try:
        _bind(socket.AF_INET6, kind, "::", port).close()
    except OSError as err:
        if err.errno == errno.EADDRINUSE:
            raise  # Where there is no IPv6 at all, nobody listens there either.
