"""Which addresses the server sends requests to on behalf of those who configure it.

Whoever names a webhook's host chooses where the server sends something: without a limit, to services that only it can
reach. A name is resolved once, and who is connected to is who was checked.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

import trio
from attrs import frozen
from orchestrion.shared_types import NetworkFailure

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
"""Names of this machine itself, for who writes them out."""

_NAT64: Final = ip_network("64:ff9b::/96")


class OutOfReach(NetworkFailure):
    """Who is to be asked is where no request is sent."""


@frozen
class Reach:
    """Says whom requests may be sent to: who has a public address, and who is in a network that was allowed.

    This machine is reached by the names of the loopback alone, never by another name that leads there.

    Attributes:
        networks: The networks that are allowed besides.
    """

    networks: tuple[Network, ...] = ()

    async def addresses(self, host: str, port: int) -> list[tuple[str, int]]:
        """Return where a host is to be connected to, in the order in which it is to be tried.

        Raises:
            OutOfReach: It has an address that is not allowed.
            OSError: It has none.
        """
        found = dict[tuple[str, int], None]()
        for *_, place in await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM):
            text = str(place[0]).partition("%")[0]
            if not self.allows(host, ip_address(text)):
                raise OutOfReach(
                    f"{host!r:.200} is at {text}, which is no public address",
                    remedy="Let the server reach that network: orchestrion server --webhook-network NETWORK",
                )
            found[text, port] = None
        return list(found)

    def allows(self, host: str, address: Address) -> bool:
        """Return whether a request for a host may be sent to an address of it."""
        address = _meant(address)
        if any(address.version == network.version and address in network for network in self.networks):
            return True
        if address.is_loopback:
            return host.lower() in LOOPBACK
        return address.is_global and not address.is_multicast


def _meant(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 one leads to, where it does."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
