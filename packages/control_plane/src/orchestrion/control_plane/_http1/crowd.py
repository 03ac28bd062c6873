"""Which connections make room for others: those that nothing is asked on, of whoever has the most."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager

import trio
from attrs import define, field

_IPV6_PREFIX = 64
"""What one customer of a network provider has at least (RFC 6177): all its addresses are one source."""


def source_of(address: str) -> str:
    """Return what connections are counted by: an address, or the network of one that has many."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, _IPV6_PREFIX), strict=False))
    return address


@define(eq=False)
class Crowd:
    """The connections there are, by where they come from."""

    count: int = field(default=0, init=False)
    """How many there are."""
    _counts: dict[str, int] = field(factory=dict, init=False)
    _waiting: dict[str, dict[trio.CancelScope, None]] = field(factory=dict, init=False)
    """Of each source, what ends those on which a request is waited for; the one that waits the longest is first."""

    @contextmanager
    def present(self, source: str) -> Iterator[None]:
        """Have a connection while inside."""
        self.count += 1
        self._counts[source] = self._counts.get(source, 0) + 1
        try:
            yield
        finally:
            self.count -= 1
            self._counts[source] -= 1
            if not self._counts[source]:
                del self._counts[source]

    @contextmanager
    def waiting(self, source: str) -> Iterator[trio.CancelScope]:
        """Wait for what a connection asks while inside; the scope is cancelled if it has to make room."""
        mine = self._waiting.setdefault(source, {})
        with trio.CancelScope() as scope:
            mine[scope] = None
            try:
                yield scope
            finally:
                mine.pop(scope, None)
                if not mine and self._waiting.get(source) is mine:
                    del self._waiting[source]

    def make_room(self) -> bool:
        """End the connection that has waited the longest, of those of the source that has the most; False for none."""
        # One that was told to end may not have done so yet, and is not counted on twice.
        sources = [source for source, waiting in self._waiting.items() if waiting]
        if not sources:
            return False
        most = max(sources, key=lambda source: self._counts.get(source, 0))
        scope = next(iter(self._waiting[most]))
        del self._waiting[most][scope]
        scope.cancel()
        return True
