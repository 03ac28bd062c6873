"""What a server proves itself with: a certificate of its own authority's, renewed while it serves, or one of yours."""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import ssl
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import trio
from attrs import define, field, frozen
from cryptography import x509
from orchestrion.control_plane._identity.authority import Authority, Credentials
from orchestrion.control_plane._identity.private_files import write_private
from orchestrion.control_plane._identity.tls import server_context
from orchestrion.orchestrator_core import WallClock, system_time
from orchestrion.shared_types import ConfigInvalid, OrchestrationError, Problem

AUTHORITY_FILE: Final = "authority.crt"
"""The certificate by which clients know the server."""

LOOK_SECONDS: Final = 3600.0
"""How often it is looked whether another certificate is wanted."""

FILE_LOOK_SECONDS: Final = 10.0
"""How often it is looked whether there is another certificate in the files that somebody else keeps."""

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
        given: The files of a certificate of somebody else's, with which the server proves itself; None is none.
    """

    authority: Authority
    path: Path
    names: Callable[[], tuple[str, ...]]
    credentials: Credentials
    context: ssl.SSLContext
    _for: tuple[str, ...] = field(alias="made_for")
    given: GivenFiles | None = None
    _refused: Credentials | None = field(init=False, default=None)
    """What was in the files and could not be used: it is told once."""

    @classmethod
    def open(
        cls,
        state_dir: Path,
        trust_domain: str,
        names: Callable[[], tuple[str, ...]],
        /,
        *,
        now: WallClock = system_time,
        given: GivenFiles | None = None,
    ) -> OwnTls:
        """Issue a certificate, or read the given one, and write down what clients know the server by. It blocks.

        Raises:
            ConfigInvalid: What is given as a name is none; the given files can't be used.
            StateFailure: A file can't be used; see `Authority.open`.
        """
        authority = Authority.open(state_dir, trust_domain, now=now)
        if given is not None:
            credentials = given.read()
            context = _given_context(authority, credentials, given)
            return cls(authority, state_dir / AUTHORITY_FILE, names, credentials, context, (), given)
        made_for = names()
        credentials = authority.issue_server(made_for)
        path = state_dir / AUTHORITY_FILE
        write_private(path, authority.certificate)
        return cls(authority, path, names, credentials, _context(authority, credentials), made_for)

    @property
    def told(self) -> bytes:
        """The certificate, in PEM, by which clients know the server; empty where that is not the server's to say."""
        return self.authority.certificate if self.given is None else b""

    def current(self) -> ssl.SSLContext:
        """Return how TLS is spoken with who connects now."""
        return self.context

    async def keep(self) -> None:
        """Renew the certificate when two thirds of its life are over, or when the machine's addresses are others.

        A given one is read again when its files are others. Runs until cancelled. What fails is logged, and tried again
        later: the old certificate is good for a third more.
        """
        while True:
            # Looked at by the wall clock: a machine that slept has not waited for as long as it was away.
            await trio.sleep(LOOK_SECONDS if self.given is None else FILE_LOOK_SECONDS)
            try:
                await trio.to_thread.run_sync(self.renew)
            except (OrchestrationError, OSError):
                _log.exception("renewing the server's certificate failed; it ends at %s", self.credentials.ends)

    def renew(self) -> None:
        """Renew the certificate if it is time, or if it is to be for others. It blocks.

        Raises:
            ConfigInvalid: A name is none any longer; what the given files have can't be used.
        """
        if self.given is not None:
            self._read_again(self.given)
            return
        names = self.names()
        if names == self._for and not self.credentials.is_due(self.authority.now()):
            return
        credentials = self.authority.issue_server(names)
        self.context = _context(self.authority, credentials)
        self.credentials, self._for = credentials, names
        _log.info("the server has a new certificate, good until %s", credentials.ends.isoformat())

    def _read_again(self, given: GivenFiles) -> None:
        credentials = given.read()
        if credentials in (self.credentials, self._refused):
            return
        self._refused = credentials
        self.context = _given_context(self.authority, credentials, given)
        self.credentials, self._refused = credentials, None
        _log.info("the server has the new certificate of %s, good until %s", given.certificate, credentials.ends)


@frozen
class GivenFiles:
    """A certificate that somebody else keeps, and its key.

    Attributes:
        certificate: The file with the certificate, and behind it those of the authorities between it and the root, in
            PEM.
        key: The file with the key, in PEM, without a password. Only its owner may write it, and only its owner and
            their group may read it.
    """

    certificate: Path
    key: Path

    def read(self) -> Credentials:
        """Return what the files have. It blocks.

        Raises:
            ConfigInvalid: One can't be read, or others can read the key; the certificate is none.
        """
        chain, key = _file(self.certificate), _file(self.key, private=True)
        try:
            leaf = x509.load_pem_x509_certificate(chain)
        except ValueError as err:
            raise ConfigInvalid((Problem(f"{self.certificate} has no certificate in PEM", "tls_cert"),)) from err
        return Credentials(chain.rstrip() + b"\n", key, leaf.not_valid_before_utc, leaf.not_valid_after_utc)


def _file(path: Path, *, private: bool = False) -> bytes:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            data = file.read()
    except OSError as err:
        raise ConfigInvalid((Problem(f"{path} can't be read: {err.strerror}", "tls_cert"),)) from err
    if private and mode & 0o027:
        problem = Problem(f"others can read or change the key in {path} (mode {mode:04o})", "tls_key")
        raise ConfigInvalid((problem,), remedy=f"Replace it if somebody may have seen it, then: chmod 600 {path}")
    return data


def _given_context(authority: Authority, credentials: Credentials, given: GivenFiles) -> ssl.SSLContext:
    try:
        return _context(authority, credentials)
    except (ssl.SSLError, ValueError) as err:
        msg = f"{given.certificate} and {given.key} are no certificate and its key, in PEM without a password: {err}"
        raise ConfigInvalid((Problem(msg, "tls_key"),)) from err


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
