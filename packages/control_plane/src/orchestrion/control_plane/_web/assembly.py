"""A server of one state directory, put together."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio
from attrs import frozen
from orchestrion.control_plane._identity.admin_token import make_first_token
from orchestrion.control_plane._identity.authority import Authority
from orchestrion.control_plane._identity.certificates import PeerCertificates
from orchestrion.control_plane._identity.keys import TrustedKeys
from orchestrion.control_plane._identity.private_files import write_private
from orchestrion.control_plane._identity.sealing import Sealer
from orchestrion.control_plane._identity.tls import server_context
from orchestrion.control_plane._identity.tokens import Tokens
from orchestrion.control_plane._service.objects import Objects
from orchestrion.control_plane._service.workloads import WorkloadWriter
from orchestrion.control_plane._service.writing import Writer
from orchestrion.orchestrator_core import Orchestrator
from orchestrion.shared_types import NetworkFailure

from .grants import Grants
from .keeper import Doorkeeper
from .server import Address, ApiServer

TRUST_DOMAIN: Final = "orchestrion.local"

AUTHORITY_FILE: Final = "authority.crt"
"""The certificate by which clients know the server."""


@frozen(kw_only=True)
class Options:
    """How a server is to be.

    Attributes:
        host: A name or address of this machine.
        port: The port; 0 takes a free one.
        tls: Whether TLS is spoken; None is beyond the loopback.
    """

    host: str = "127.0.0.1"
    port: int = 0
    tls: bool | None = None

    @property
    def speaks_tls(self) -> bool:
        """Whether TLS is spoken."""
        return self.tls if self.tls is not None else not is_loopback(self.host)


@frozen(kw_only=True)
class Served:
    """A server at work.

    Attributes:
        url: Where it is.
        first_token: The file of the first administrator's token, if it was made now; else None.
        authority: The file of the certificate by which clients know the server; None without TLS.
        fingerprint: That certificate's; empty without TLS.
    """

    url: str
    first_token: Path | None
    authority: Path | None
    fingerprint: str


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host name or address of its own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@asynccontextmanager
async def serving(orchestrator: Orchestrator, state_dir: Path, options: Options) -> AsyncIterator[Served]:
    """Serve an orchestrator that runs, for as long as the context lasts.

    **Cancellation.** *Closing*: connections are dropped.

    Args:
        orchestrator: It runs already.
        state_dir: A directory of the server's own, for keys and certificates.
        options: How it is to be.

    Raises:
        NetworkFailure: Nothing can listen there.
        StateFailure: A file of the server's can't be used.
    """
    store = orchestrator.store
    tokens, keys = Tokens(store), TrustedKeys(store)
    sealer = await trio.to_thread.run_sync(Sealer.open, state_dir)
    identity = await trio.to_thread.run_sync(_tls_identity, state_dir, options.host) if options.speaks_tls else None
    certificates = PeerCertificates(TRUST_DOMAIN) if identity is not None else None
    keeper = Doorkeeper(tokens, keys, certificates)
    grants = Grants(keeper, lambda: objects.history)
    objects = Objects(
        orchestrator,
        store,
        Writer(store, admit=grants.admit, seal=lambda name, text: sealer.seal(text, name=name), now=orchestrator.now),
        WorkloadWriter(orchestrator),
    )
    server = ApiServer(orchestrator, objects, keeper)
    async with trio.open_nursery() as nursery:
        await nursery.start(tokens.follow)
        await nursery.start(keys.follow)
        first_token = await make_first_token(tokens, state_dir)
        await nursery.start(objects.run)
        keeper.follow(objects.history)
        tls = identity.context if identity is not None else None
        address = Address(host=options.host, port=options.port, tls=tls)
        try:
            port = await nursery.start(server.serve, address)
        except OSError as err:
            msg = f"can't listen at {options.host}:{options.port}: {err.strerror or err}"
            raise NetworkFailure(msg, remedy="Choose another --host or --port.") from err
        scheme = "https" if tls is not None else "http"
        host = f"[{options.host}]" if ":" in options.host else options.host
        yield Served(
            url=f"{scheme}://{host}:{port}",
            first_token=first_token,
            authority=identity.authority if identity is not None else None,
            fingerprint=identity.fingerprint if identity is not None else "",
        )
        server.streams.ending.set()
        nursery.cancel_scope.cancel()


@frozen
class _TlsIdentity:
    context: ssl.SSLContext
    authority: Path
    fingerprint: str


def _tls_identity(state_dir: Path, host: str) -> _TlsIdentity:
    """Make what a server proves itself with, and write down what clients know it by. It blocks."""
    authority = Authority.open(state_dir, TRUST_DOMAIN)
    credentials = authority.issue_server(_names_of(host))
    path = state_dir / AUTHORITY_FILE
    write_private(path, authority.certificate)
    context = server_context(credentials, client_authority=authority.certificate)
    return _TlsIdentity(context, path, authority.fingerprint)


def _names_of(host: str) -> tuple[str, ...]:
    names = {"localhost", "127.0.0.1", "::1", socket.gethostname()}
    if host not in ("0.0.0.0", "::"):  # noqa: S104 - a name is wanted, nothing is bound
        names.add(host)
    return tuple(sorted(names))
