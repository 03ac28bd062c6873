"""Where a request comes from: who holds the other end, unless that is a proxy that is known by its address."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any, Final

from orchestrion.shared_types import ConfigInvalid, Problem

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

FORWARDED_FOR: Final = b"x-forwarded-for"

_MAX_HOPS: Final = 32


def networks_of(texts: Sequence[str], /) -> tuple[Network, ...]:
    """Return networks, such as `10.0.0.0/8` or `::1`.

    Raises:
        ConfigInvalid: One is none.
    """
    networks, problems = list[Network](), list[Problem]()
    for text in texts:
        try:
            networks.append(ipaddress.ip_network(text))
        except ValueError as err:
            problems.append(Problem(f"a network such as 10.0.0.0/8 is wanted: {err}", path=text[:80]))
    if problems:
        raise ConfigInvalid(tuple(problems))
    return tuple(networks)


def source_of_request(scope: Any, proxies: Sequence[Network], /) -> str:
    """Return the address that a request comes from; empty where it has none, as over a unix socket.

    What a header says is believed only of proxies: from the last hop backwards, up to the first that is none. Where
    there are no proxies, no header is read at all.

    Args:
        scope: The request's.
        proxies: The networks that proxies are in.
    """
    client = scope.get("client")
    peer = str(client[0]) if client else ""
    if not proxies or not _is_in(peer, proxies):
        return peer
    said = b",".join(value for name, value in scope["headers"] if name == FORWARDED_FOR)
    hops = [hop.strip().decode("latin-1") for hop in said.split(b",")][-_MAX_HOPS:] if said else []
    for hop in reversed(hops):
        if not _is_address(hop):
            return peer
        peer = hop
        if not _is_in(hop, proxies):
            return peer
    return peer


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_in(text: str, networks: Sequence[Network]) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address.version == network.version and address in network for network in networks)
