"""What a server proves itself with: a certificate of its own authority's, renewed while it serves."""

from __future__ import annotations

import ipaddress
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import trio
from attrs import define, field
from orchestrion.control_plane._identity.authority import Authority, Credentials
from orchestrion.control_plane._identity.certificates import PeerCertificates
from orchestrion.control_plane._identity.private_files import write_private
from orchestrion.control_plane._identity.tls import server_context
from orchestrion.orchestrator_core import WallClock, system_time
from orchestrion.shared_types import OrchestrationError

AUTHORITY_FILE: Final = "authority.crt"
"""The certificate by which clients know the server."""

LOOK_SECONDS: Final = 3600.0
"""How often it is looked whether another certificate is wanted."""

_EVERYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104 - it is looked for, nothing is bound
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_IPV4_TABLE: Final = Path("/proc/net/fib_trie")
_IPV6_TABLE: Final = Path("/proc/net/if_inet6")

_log = logging.getLogger("orchestrion.control_plane")


@define(eq=False)
class OwnTls:
    """How a server speaks TLS at the moment.

    Connections that are there keep what they began with; new ones get the new certificate.

    Attributes:
        authority: Issues the certificates.
        path: The file with the authority's certificate, for clients.
        names: Says what names and addresses clients reach the server by. It may block.
        credentials: What the server proves itself with now.
        context: The same, for connections.
    """

    authority: Authority
    path: Path
    names: Callable[[], tuple[str, ...]]
    credentials: Credentials
    context: ssl.SSLContext
    _for: tuple[str, ...] = field(alias="made_for")

    @classmethod
    def open(
        cls,
        state_dir: Path,
        trust_domain: str,
        names: Callable[[], tuple[str, ...]],
        /,
        *,
        now: WallClock = system_time,
    ) -> OwnTls:
        """Issue a certificate, and write down what clients know the server by. It blocks.

        Raises:
            ConfigInvalid: What is given as a name is none.
            StateFailure: A file can't be used; see `Authority.open`.
        """
        authority = Authority.open(state_dir, trust_domain, now=now)
        made_for = names()
        credentials = authority.issue_server(made_for)
        path = state_dir / AUTHORITY_FILE
        write_private(path, authority.certificate)
        return cls(authority, path, names, credentials, _context(authority, credentials), made_for)

    @property
    def peers(self) -> PeerCertificates:
        """Those whose certificates are the authority's, too."""
        return PeerCertificates(self.authority.trust_domain)

    def current(self) -> ssl.SSLContext:
        """Return how TLS is spoken with who connects now."""
        return self.context

    async def keep(self) -> None:
        """Renew the certificate when two thirds of its life are over, or when the machine's addresses are others.

        Runs until cancelled. What fails is logged, and tried again later: the old certificate is good for a third more.
        """
        while True:
            # Looked at by the wall clock: a machine that slept has not waited for as long as it was away.
            await trio.sleep(LOOK_SECONDS)
            try:
                await trio.to_thread.run_sync(self.renew)
            except (OrchestrationError, OSError):
                _log.exception("renewing the server's certificate failed; it ends at %s", self.credentials.ends)

    def renew(self) -> None:
        """Renew the certificate if it is time, or if it is to be for others. It blocks.

        Raises:
            ConfigInvalid: A name is none any longer.
        """
        names = self.names()
        if names == self._for and not self.credentials.is_due(self.authority.now()):
            return
        credentials = self.authority.issue_server(names)
        self.context = _context(self.authority, credentials)
        self.credentials, self._for = credentials, names
        _log.info("the server has a new certificate, good until %s", credentials.ends.isoformat())


def _context(authority: Authority, credentials: Credentials) -> ssl.SSLContext:
    return server_context(credentials, client_authority=authority.certificate)


def names_for(host: str, more: Sequence[str] = (), /) -> tuple[str, ...]:
    """Return what clients may reach a server by, ascending. It blocks.

    Args:
        host: Where it listens; where that is everywhere, all addresses of the machine are among them.
        more: Names and addresses that somebody else gives the machine.
    """
    names = {*_LOOPBACK, *more}
    own = socket.gethostname()
    if _is_name(own):
        names.add(own)
    if host in _EVERYWHERE:
        names.update(machine_addresses())
    else:
        names.add(host)
    return tuple(sorted(names))


def machine_addresses() -> set[str]:
    """Return the addresses of this machine by which others reach it. It blocks."""
    found = {*_ipv4_addresses(_text_of(_IPV4_TABLE)), *_ipv6_addresses(_text_of(_IPV6_TABLE))}
    return {text for text in found if _reaches(ipaddress.ip_address(text))}


def _reaches(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    # An address of a link is another machine's on each link; clients write it with a zone, which no certificate has.
    return not (address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified)


def _ipv4_addresses(table: str) -> set[str]:
    """Return the local ones of a routing table as the kernel writes it: an address, and below it what it is."""
    found, last = set[str](), ""
    for line in table.splitlines():
        words = line.split()
        if words[:1] == ["|--"]:
            last = words[1]
        elif words == ["/32", "host", "LOCAL"] and last:
            found.add(last)
    return found


def _ipv6_addresses(table: str) -> set[str]:
    """Return those of a list whose lines begin with 32 hexadecimal digits."""
    return {str(ipaddress.IPv6Address(int(line[:32], 16))) for line in table.splitlines() if line[32:33] == " "}


def _text_of(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # a kernel without that protocol, or a sandbox
        return ""


def _is_name(text: str) -> bool:
    try:
        return bool(text.encode("idna"))
    except UnicodeError:
        return False
