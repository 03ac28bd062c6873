"""The node's own table of dynamic ports."""

from __future__ import annotations

import socket
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Final

import trio
from attrs import define, field
from orchestrion.shared_types import Protocol, RuntimeFailure

DEFAULT_RANGE: Final = range(20_000, 30_000)
QUARANTINE_SECONDS: Final = 30.0
"""A released port rests for so long: peers may still speak to its last owner."""

PortProbe = Callable[[Protocol, int], bool]
"""Whether a port can be bound now; it must not wait."""


class NoPortFree(RuntimeFailure):
    """Every port of the node's range is leased, resting or in use by others. Stop something, or widen the range."""

    code = "no-port-free"


def can_bind(protocol: Protocol, port: int) -> bool:
    """Whether a port of this machine can be bound on all addresses."""
    kind = socket.SOCK_STREAM if protocol is Protocol.TCP else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as tried:
        if protocol is Protocol.TCP:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("0.0.0.0", port))  # noqa: S104 - a port that is taken on any address is taken
        except OSError:
            return False
    return True


def dynamic_range(settings: Path = Path("/proc/sys/net/ipv4/ip_local_port_range")) -> range:
    """Return the ports to lease from: `DEFAULT_RANGE` without those that the kernel gives to outgoing connections."""
    try:
        low, high = (int(word) for word in settings.read_text().split())
    except (OSError, ValueError):
        return DEFAULT_RANGE
    if high < DEFAULT_RANGE.start or low >= DEFAULT_RANGE.stop:
        return DEFAULT_RANGE
    return max(range(DEFAULT_RANGE.start, low), range(10_000, low), range(high + 1, 65_536), key=len)


@define(eq=False)
class PortTable:
    """Leases ports; a lease is known by its owner and outlives restarts in place.

    Attributes:
        ports: What there is to lease.
        probe: Tries a port.
    """

    ports: range = DEFAULT_RANGE
    probe: PortProbe = can_bind
    _leased: dict[tuple[Protocol, int], Hashable] = field(factory=dict)
    _by_owner: dict[Hashable, tuple[Protocol, int]] = field(factory=dict)
    _resting: dict[tuple[Protocol, int], float] = field(factory=dict)
    _next: int = 0

    def lease(self, owner: Hashable, protocol: Protocol) -> int:
        """Return the owner's port, or lease it one that can be bound now.

        Raises:
            NoPortFree: There is none.
        """
        known = self._by_owner.get(owner)
        if known is not None:
            return known[1]
        now = trio.current_time()
        for step in range(len(self.ports)):
            place = (self._next + step) % len(self.ports)
            port = (protocol, self.ports[place])
            if port in self._leased or self._resting.get(port, now) > now or not self.probe(*port):
                continue
            self._next = place + 1
            self.adopt(owner, *port)
            return port[1]
        msg = f"no {protocol} port from {self.ports.start} to {self.ports.stop - 1} is free"
        raise NoPortFree(msg)

    def adopt(self, owner: Hashable, protocol: Protocol, port: int) -> bool:
        """Note that the owner has this port, and no other any more; return False, without effect, if another has it."""
        place = (protocol, port)
        if self._leased.get(place, owner) != owner:
            return False
        if self._by_owner.get(owner, place) != place:
            self.release(owner)
        self._by_owner[owner] = place
        self._leased[place] = owner
        self._resting.pop(place, None)
        return True

    def release(self, owner: Hashable) -> None:
        """Take the owner's port back; it rests before it is leased again. An owner without one is no error."""
        port = self._by_owner.pop(owner, None)
        if port is not None:
            del self._leased[port]
            now = trio.current_time()
            self._forget_rested(now)
            self._resting[port] = now + QUARANTINE_SECONDS

    def _forget_rested(self, now: float) -> None:
        # All rest for equally long: the first is the first to be ready.
        while self._resting and next(iter(self._resting.values())) <= now:
            del self._resting[next(iter(self._resting))]
