"""A server of one state directory, put together."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio
from attrs import frozen
from orchestrion.control_plane._dashboard.keeper import SessionKeeper
from orchestrion.control_plane._dashboard.kept_sessions import KeptInStore
from orchestrion.control_plane._dashboard.sessions import Sessions
from orchestrion.control_plane._identity.admin_token import (
    keep_first_token,
    kept_first_token,
    make_first_token,
    renew_first_token,
)
from orchestrion.control_plane._identity.audit import AuditLog
from orchestrion.control_plane._identity.audit_head import KeptHead
from orchestrion.control_plane._identity.keys import TrustedKeys
from orchestrion.control_plane._identity.oidc_config import OidcConfig
from orchestrion.control_plane._identity.principals import ADMINS, Principal
from orchestrion.control_plane._identity.private_files import read_private, write_private
from orchestrion.control_plane._identity.tokens import Tokens
from orchestrion.control_plane._objects.paging import MIN_KEY_BYTES
from orchestrion.control_plane._open_streams import OpenStreams
from orchestrion.control_plane._peer import is_loopback
from orchestrion.control_plane._reach import Reach
from orchestrion.control_plane._rules import AUDIT_FOLDER, has_audit_log
from orchestrion.control_plane._service.intent import May
from orchestrion.control_plane._service.managing import Management, managed
from orchestrion.control_plane._service.objects import Objects
from orchestrion.control_plane._service.owning import Owning
from orchestrion.control_plane._service.replies import Replies
from orchestrion.control_plane._service.secret_keys import SecretKeys
from orchestrion.control_plane._service.workloads import WorkloadWriter
from orchestrion.control_plane._service.writing import Writer
from orchestrion.control_plane._telemetry.access_log import AccessLog
from orchestrion.orchestrator_core import Orchestrator
from orchestrion.shared_types import DEFAULT_NAMESPACE, EventSeverity
from orchestrion.store_interface import StateStore

from .grants import Grants
from .keeper import Doorkeeper, SocketKeeper
from .once import Once
from .oversight import Oversight
from .pipeline import Tracer
from .sections import API, DASHBOARD, Section
from .server import Address, ApiServer, replies_of
from .sources import networks_of

if TYPE_CHECKING:
    from litestar.types import ControllerRouterHandler

    from .own_tls import OwnTls

TRUST_DOMAIN: Final = "orchestrion.local"

_OWN_FILE: Final = "server.key"
"""What only the servers of a state directory know."""


_LINK: Final = Principal("admin", groups=frozenset({ADMINS}), via="login-link")


@frozen(kw_only=True)
class Options:
    """How a server is to be.

    Attributes:
        host: A name or address of this machine.
        port: The port, 0 to 65535; 0 takes a free one.
        tls: Whether TLS is spoken; None is beyond the loopback.
        tls_names: Names and addresses that the certificate is for, besides those that the machine knows of itself.
        tls_cert: A file with a certificate that somebody else keeps, in PEM; None makes one of the server's own.
        tls_key: The file with its key.
        proxies: Networks, such as `10.0.0.0/8`, of proxies that are believed about whom they speak for.
        tracer: Follows requests through the server; None follows none.
        webhook_networks: Networks such as `10.0.0.0/8` in which webhooks may be, besides public addresses.
        oidc: Whose tokens are good besides the server's own; None for nobody's.
    """

    host: str = "127.0.0.1"
    port: int = 0
    tls: bool | None = None
    tls_names: Sequence[str] = ()
    tls_cert: Path | None = None
    tls_key: Path | None = None
    proxies: Sequence[str] = ()
    tracer: Tracer | None = None
    webhook_networks: tuple[str, ...] = ()
    oidc: OidcConfig | None = None

    @property
    def speaks_tls(self) -> bool:
        """Whether TLS is spoken."""
        if self.tls is not None:
            return self.tls
        return self.tls_cert is not None or not is_loopback(self.host)

    @property
    def exposed(self) -> bool:
        """Whether tokens and all else cross a network where everybody on the way can read them."""
        return not self.speaks_tls and not is_loopback(self.host)


@frozen(kw_only=True)
class Served:
    """A server at work.

    Attributes:
        url: Where it is.
        first_token: The file of the first administrator's token; None where it is gone, or good for nothing.
        authority: The file of the certificate by which clients know the server; None without TLS, and where the server
            has a certificate of somebody else's.
        fingerprint: That certificate's; empty where there is none.
        at_socket: Gives the same as an application for the socket of the state directory, whose user may do everything.
        login_link: Makes an address that signs a browser in as an administrator: once, and soon.
        prepare: Makes what the first request for a path would have to wait for, while others are answered.
    """

    url: str
    first_token: Path | None
    authority: Path | None
    fingerprint: str
    at_socket: Callable[[OpenStreams], Any]
    login_link: Callable[[], str]
    prepare: Callable[[], Awaitable[None]]


@asynccontextmanager
async def serving(
    orchestrator: Orchestrator,
    state_dir: Path,
    options: Options,
    *,
    more: Sequence[Section] = (),
    listeners: Sequence[trio.SocketListener] = (),
) -> AsyncIterator[Served]:
    """Serve an orchestrator that runs, for as long as the context lasts.

    **Cancellation.** *Closing*: connections are dropped.

    Args:
        orchestrator: It runs already.
        state_dir: A directory of the server's own, for keys and certificates.
        options: How it is to be.
        more: Sections of other paths, which the network gets besides.
        listeners: Sockets that listen already, as `listening` gives them; without any, they are made as options say.

    Raises:
        ConfigInvalid: What is given as a network, a name or a port is none; the issuer's certificates can't be read.
        NetworkFailure: Nothing can listen there.
        StateFailure: A file of the server's can't be used.
    """
    store = orchestrator.store
    tokens, keys = Tokens(store), TrustedKeys(store)
    tls = await trio.to_thread.run_sync(_own_tls, state_dir, options, orchestrator) if options.speaks_tls else None
    issuer = None
    if options.oidc is not None:
        from .issuer import issuer_of

        issuer = await issuer_of(options.oidc, orchestrator.now)
    keeper = Doorkeeper(tokens, keys, None, issuer)
    if tls is not None:
        _take_certificates(keeper, tls, store)
    secret_keys = await SecretKeys.open(store, state_dir)
    objects = _objects(orchestrator, secret_keys, keeper)
    authority = tls.told if tls is not None else b""
    secret = await trio.to_thread.run_sync(_secret, state_dir)
    audit = AuditLog(state_dir / AUDIT_FOLDER, orchestrator.now)
    streams = OpenStreams(trio.Event())
    sessions = Sessions(keeper.verify, keeper.still, orchestrator.now, keeping=KeptInStore(store))
    by_session = SessionKeeper(keeper, sessions)
    oversight = Oversight.over(
        objects,
        by_session,
        audit=audit,
        access_log=AccessLog(now=orchestrator.now),
        tracer=options.tracer,
        proxies=networks_of(options.proxies),
    )
    reach = Reach(networks_of(options.webhook_networks))
    management = managed(objects, reach, may=_may(keeper), recorder=audit)
    replies = replies_of(objects, secret)

    def dashboard() -> list[ControllerRouterHandler]:
        from orchestrion.control_plane._dashboard.handlers import Dashboard, dashboard_handlers

        return [dashboard_handlers(Dashboard(management.control, objects, by_session, streams, oversight.pipeline))]

    server = ApiServer(
        management.control,
        objects,
        by_session,
        oversight=oversight,
        streams=streams,
        secret=secret,
        more=[
            _identity(keeper, secret_keys, replies, authority, options.oidc),
            Section(DASHBOARD, dashboard, ("_dashboard.handlers",)),
            *more,
        ],
        replies=replies,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(audit.run)
        kept = await _keep_head(orchestrator, audit, nursery)
        await nursery.start(tokens.follow)
        await nursery.start(keys.follow)
        if keeper.issued is not None:
            await nursery.start(keeper.issued.follow)
        await sessions.load()
        nursery.start_soon(sessions.run)
        first_token = await make_first_token(tokens, state_dir)
        nursery.start_soon(keep_first_token, tokens, state_dir)
        if first_token is None:
            await renew_first_token(tokens, state_dir)
            first_token = await trio.to_thread.run_sync(kept_first_token, tokens, state_dir)
        await nursery.start(objects.run)
        nursery.start_soon(management.run)
        nursery.start_soon(secret_keys.run)
        keeper.follow(objects.history)
        if tls is not None:
            nursery.start_soon(tls.keep)
        speaks = tls.current if tls is not None else None
        address = Address(host=options.host, port=options.port, listeners=listeners, tls=speaks)
        port = await nursery.start(server.serve, address)
        scheme = "https" if tls is not None else "http"
        host = f"[{options.host}]" if ":" in options.host else options.host
        url = f"{scheme}://{host}:{port}"
        yield Served(
            url=url,
            first_token=first_token,
            authority=tls.path if tls is not None and authority else None,
            fingerprint=tls.authority.fingerprint if tls is not None and authority else "",
            at_socket=partial(_at_socket, management, oversight, keeper, replies, secret_keys, secret),
            login_link=lambda: f"{url}/ui/login?code={sessions.invite(_LINK)}",
            prepare=server.prepare,
        )
        server.streams.ending.set()
        await oversight.pipeline.sum_up(at_the_end=True)
        await kept.save()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def embedded(orchestrator: Orchestrator, state_dir: Path, streams: OpenStreams) -> AsyncIterator[Any]:
    """Give the application for the socket of a state directory whose owner serves no network.

    Where a server has kept an audit log, it goes on.

    Args:
        orchestrator: It runs already.
        state_dir: As for `serving`.
        streams: Counts streams, and says when they are to come to their end.

    Raises:
        StateFailure: A file in the directory can't be used.
    """
    keeper = Doorkeeper(Tokens(orchestrator.store), TrustedKeys(orchestrator.store))
    # On one machine a manifest may name any namespace.
    secret_keys = await SecretKeys.open(orchestrator.store, state_dir)
    objects = _objects(orchestrator, secret_keys, keeper)
    audit = AuditLog(state_dir / AUDIT_FOLDER, orchestrator.now) if has_audit_log(state_dir) else None
    management = managed(objects, needs_namespaces=False, may=_may(keeper), recorder=audit)
    secret = await trio.to_thread.run_sync(_secret, state_dir)
    async with trio.open_nursery() as nursery:
        if audit is not None:
            await nursery.start(audit.run)
            await _keep_head(orchestrator, audit, nursery)
        await nursery.start(keeper.tokens.follow)
        if keeper.keys is not None:
            await nursery.start(keeper.keys.follow)
        await nursery.start(objects.run)
        nursery.start_soon(management.run)
        nursery.start_soon(secret_keys.run)
        keeper.follow(objects.history)
        replies = replies_of(objects, secret)
        nursery.start_soon(replies.run)
        oversight = Oversight.over(objects, keeper, audit=audit)
        yield _at_socket(management, oversight, keeper, replies, secret_keys, secret, streams)
        nursery.cancel_scope.cancel()


async def _keep_head(orchestrator: Orchestrator, audit: AuditLog, nursery: trio.Nursery) -> KeptHead:
    """Hold the audit log against what was its last record, and keep that from then on."""

    def tell(text: str) -> None:
        orchestrator.recorder.record(DEFAULT_NAMESPACE, "cluster/default", "AuditBroken", text, EventSeverity.WARNING)

    kept = KeptHead(orchestrator.store, audit, tell, orchestrator.now)
    await kept.check()
    nursery.start_soon(kept.run)
    return kept


def _at_socket(
    management: Management,
    oversight: Oversight,
    keeper: Doorkeeper,
    replies: Replies,
    secret_keys: SecretKeys,
    secret: bytes,
    streams: OpenStreams,
) -> Any:
    owner, objects = SocketKeeper(keeper), oversight.objects
    also = oversight.beside(owner)
    server = ApiServer(
        management.control,
        objects,
        owner,
        oversight=also,
        streams=streams,
        secret=secret,
        more=[_identity(keeper, secret_keys, replies)],
        replies=replies,
    )
    return server.app()


def _identity(
    keeper: Doorkeeper,
    secret_keys: SecretKeys,
    replies: Replies,
    authority: bytes = b"",
    oidc: OidcConfig | None = None,
) -> Section:
    """Return the section of identity, and of the keys of secrets."""

    def make() -> list[ControllerRouterHandler]:
        from .identity_paths import identity_handlers
        from .sealing_paths import sealing_handlers

        once = Once(replies)
        return [*identity_handlers(keeper, authority, oidc, once=once), *sealing_handlers(secret_keys, once)]

    return Section(API, make, ("_web.identity_paths", "_web.sealing_paths"))


def _objects(orchestrator: Orchestrator, secret_keys: SecretKeys, keeper: Doorkeeper) -> Objects:
    store, now = orchestrator.store, orchestrator.now
    grants = Grants(keeper, lambda: objects.history)
    writer = Writer(
        store,
        admit=grants.admit,
        seal=secret_keys.seal,
        now=now,
        unseal=secret_keys.unseal,
        sealed_by=secret_keys.unchanged,
        may_read=grants.may_read,
    )
    objects = Objects(orchestrator, store, writer, WorkloadWriter(orchestrator))
    keeper.owners = Owning(objects).of
    return objects


def _own_tls(state_dir: Path, options: Options, orchestrator: Orchestrator) -> OwnTls:
    # Imported here, because a server that is reached from its own machine alone needs none of it, and is to start soon.
    from .own_tls import GivenFiles, OwnTls, names_for

    names = partial(names_for, options.host, options.tls_names)
    given = None
    if options.tls_cert is not None and options.tls_key is not None:
        given = GivenFiles(options.tls_cert, options.tls_key)
    return OwnTls.open(state_dir, TRUST_DOMAIN, names, now=orchestrator.now, given=given)


def _take_certificates(keeper: Doorkeeper, tls: OwnTls, store: StateStore) -> None:
    """Let in who comes with a certificate that the server has issued, as long as it is not revoked."""
    from orchestrion.control_plane._identity.certificates import PeerCertificates
    from orchestrion.control_plane._identity.issued import IssuedCertificates

    keeper.issued = IssuedCertificates(store, tls.authority)
    keeper.issued.call_when_ended(keeper.changes.tell)
    keeper.certificates = PeerCertificates(tls.authority.trust_domain, revoked=keeper.issued.is_revoked)


def _may(keeper: Doorkeeper) -> May:
    # The policy is another one after each change of a role.
    return lambda principal, access: keeper.policy.may(principal, access).allowed


def _secret(state_dir: Path) -> bytes:
    """Return what only the servers of a state directory know; made once. It blocks."""
    path = state_dir / _OWN_FILE
    key = read_private(path)
    if key is None or len(key) < MIN_KEY_BYTES:
        key = secrets.token_bytes(MIN_KEY_BYTES)
        write_private(path, key)
    return key
