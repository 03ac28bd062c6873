"""Who gets in, and what they may do: tokens, signed requests and certificates, under roles and bindings."""

from __future__ import annotations

import hashlib
import logging
import os
import pwd
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Protocol

from attrs import define, evolve, field
from litestar import Request
from litestar.datastructures import Headers
from orchestrion.control_plane._history.event import ObjectEvent
from orchestrion.control_plane._history.history import History
from orchestrion.control_plane._http1.server import PEER_CERTIFICATE
from orchestrion.control_plane._identity.access import Access, Verdict, owners_of
from orchestrion.control_plane._identity.failures import NotProved, Reason
from orchestrion.control_plane._identity.keys import TrustedKeys
from orchestrion.control_plane._identity.policy import Policy
from orchestrion.control_plane._identity.principals import ADMINS, OWNERS, Principal
from orchestrion.control_plane._identity.roles import Role, RoleBinding, binding_of, role_of
from orchestrion.control_plane._identity.signing import COVERED
from orchestrion.control_plane._identity.tokens import TOKEN_PREFIX, Tokens
from orchestrion.control_plane._limits import LaneSize, Seats
from orchestrion.control_plane._objects.kinds import ROLE, ROLE_BINDING
from orchestrion.control_plane._standing import Changes
from orchestrion.shared_types import ConfigInvalid, NotFound, Unauthenticated

from .caller import Connection
from .methods import ASKED

if TYPE_CHECKING:
    from orchestrion.control_plane._identity.certificates import PeerCertificates
    from orchestrion.control_plane._identity.issued import IssuedCertificates

_BEARER: Final = "bearer "
_SIGNATURE: Final = "x-auth-signature"

SMALL_BODY_BYTES: Final = 1_048_576
"""Of bodies up to this size many are read at once before it is known who sends them, of larger ones few."""

_MAX_VOUCHED: Final = 4096
_MAX_VOUCHED_TEXT: Final = 8192

_log = logging.getLogger("orchestrion.control_plane")


class Vouching(Protocol):
    """Somebody else who issues tokens that are believed here."""

    async def verify(self, text: str, /) -> Principal:
        """Return whom a token is for. See `OidcVerifier.verify`.

        Raises:
            Unauthenticated: The token is no good.
            Unavailable: Whether it is can't be found out at the moment.
        """
        ...


@define(eq=False)
class Doorkeeper:
    """Authenticates by what a server knows, and keeps the policy as roles and bindings change.

    Attributes:
        tokens: Bearer tokens.
        keys: Keys whose signatures are good, or None where requests can't be signed.
        certificates: Certificates that are good, or None where nobody comes with one.
        issued: The certificates that the server issues, or None where it speaks no TLS.
        issuer: Who else issues tokens that are good, or None for nobody.
        policy: What everybody may do.
        owners: From a resource, a namespace and a name to whom that belongs; see `Owning.of`.
        changes: Tells when what somebody was let in by, or what they may do, may have ended.
    """

    tokens: Tokens
    keys: TrustedKeys | None = None
    certificates: PeerCertificates | None = None
    issued: IssuedCertificates | None = field(default=None, kw_only=True)
    issuer: Vouching | None = None
    policy: Policy = field(factory=Policy)
    owners: Callable[[str, str, str], frozenset[str]] = owners_of
    changes: Changes = field(init=False, factory=Changes)
    _vouched: OrderedDict[str, None] = field(init=False, factory=OrderedDict)
    """What the issuer's tokens are called that were good lately; the first is forgotten first."""
    _small: Seats = field(init=False, factory=lambda: Seats(LaneSize(each=64, all=128, queue=256)))
    _large: Seats = field(init=False, factory=lambda: Seats(LaneSize(each=1, all=2, queue=8)))

    def __attrs_post_init__(self) -> None:
        for proofs in (self.tokens, self.keys, self.issued):
            if proofs is not None:
                proofs.call_when_ended(self.changes.tell)

    def claim(self, connection: Connection, /) -> str:
        """Return whom a request names. See `Gatekeeper.claim`."""
        authorization = connection.headers.get("authorization", "")
        if authorization[: len(_BEARER)].lower() == _BEARER:
            return self._claim(authorization[len(_BEARER) :].strip())
        if self.keys is not None and _SIGNATURE in connection.headers:
            return self.keys.claim(connection.headers)
        return "certificate" if PEER_CERTIFICATE.get() is not None else ""

    def _claim(self, token: str) -> str:
        if self.issuer is None or token.startswith(TOKEN_PREFIX):
            return self.tokens.claim(token)
        # The issuer's tokens name whomever they like: those alone count that were good before.
        digest = _digest(token) if len(token) <= _MAX_VOUCHED_TEXT else ""
        return f"issued:{digest}" if digest in self._vouched else ""

    async def authenticate(self, connection: Connection, /) -> Principal:
        """Return who asks.

        Of a signed request the body is part of what proves it: it is read only if the head says enough, and only so
        many such bodies are in memory at once.

        Raises:
            Unauthenticated: What it brings proves nothing, or it brings nothing.
            Unavailable: What it brings is somebody else's to vouch for, who can't be asked.
            TooManyRequests: Too many bodies are being read of which it is not known yet who sends them.
        """
        headers = connection.headers
        authorization = headers.get("authorization", "")
        if authorization[: len(_BEARER)].lower() == _BEARER:
            return await self.verify(authorization[len(_BEARER) :].strip())
        if self.keys is not None and _SIGNATURE in headers:
            trusted = self.keys.check_head(headers)
            _check_each_once(headers)
            body = await self._body(connection, trusted.fingerprint) if isinstance(connection, Request) else b""
            path = connection.scope.get("raw_path", b"").partition(b"?")[0].decode("latin-1")
            query = connection.scope["query_string"].decode("latin-1")
            method = connection.scope.get(ASKED) or connection.scope.get("method", "GET")
            return self.keys.verify(str(method), path, query=query, headers=dict(headers), body=body)
        certificate = PEER_CERTIFICATE.get()
        if self.certificates is not None and certificate is not None:
            if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
                # A browser shows its user's certificate whatever page has sent the request.
                raise Unauthenticated("a certificate proves nothing for a request of another site's page")
            return self.certificates.principal(certificate)
        raise Unauthenticated(
            "nobody is let in without a name", remedy="orchestrion login, or send `Authorization: Bearer TOKEN`."
        )

    def prove_again(self, _connection: Connection, principal: Principal, /) -> None:
        """Make sure that what somebody was let in by is still good. See `Gatekeeper.prove_again`."""
        self.still(principal)

    def still(self, principal: Principal, /) -> Principal:
        """Return somebody who was let in before as they are now.

        What an issuer elsewhere vouched for is good until it says it ends.

        Raises:
            Unauthenticated: What they were let in by is no longer good.
        """
        kind, _, name = principal.via.partition(":")
        try:
            if kind == "token":
                principal = self.tokens.get(name).principal
            elif kind == "key" and self.keys is not None:
                principal = self.keys.get(name).principal
            elif kind == "mtls" and self.issued is not None and self.issued.is_revoked(int(name, 16)):
                raise NotFound(f"the certificate {name} was revoked")
        except NotFound as err:
            raise Unauthenticated(f"what {principal} was let in by was revoked", remedy="Sign in again.") from err
        if principal.is_expired(self.tokens.now()):
            raise Unauthenticated(f"what {principal} was let in by has expired", remedy="Sign in again.")
        return principal

    async def verify(self, token: str, /) -> Principal:
        """Return whom a token is for, one of the server's own or of the issuer's.

        Raises:
            Unauthenticated: It is no good.
            Unavailable: It is the issuer's to vouch for, who can't be asked.
        """
        if self.issuer is None or token.startswith(TOKEN_PREFIX):
            return self.tokens.verify(token)
        principal = await self.issuer.verify(token)
        self._vouched[_digest(token)] = None
        if len(self._vouched) > _MAX_VOUCHED:
            self._vouched.popitem(last=False)
        return principal

    async def _body(self, request: Request[Any, Any, Any], fingerprint: str) -> bytes:
        length = request.headers.get("content-length", "")
        if length == "0" or (not length and "transfer-encoding" not in request.headers):
            return b""
        small = length.isdecimal() and int(length) <= SMALL_BODY_BYTES
        async with (self._small if small else self._large).taken(fingerprint):
            return await request.body()

    def check(self, principal: Principal, access: Access, /) -> None:
        """Make sure that somebody may do something.

        Raises:
            Denied: They may not.
        """
        self.policy.check(principal, self._owned(principal, access))

    def may(self, principal: Principal, access: Access, /) -> Verdict:
        """Say whether somebody may do something, and why; what may be done only with one's own may be done so far."""
        verdict = self.policy.may(principal, self._owned(principal, access))
        if verdict.allowed or access.name or principal.kind not in OWNERS:
            return verdict
        own = self.policy.may(principal, evolve(access, owners=frozenset((principal.subject,))))
        return evolve(own, why=f"{own.why}, with what is its own") if own.allowed else verdict

    def _owned(self, principal: Principal, access: Access) -> Access:
        if principal.kind not in OWNERS or access.owners or not access.name:
            return access
        return evolve(access, owners=self.owners(access.resource, access.namespace, access.name))

    def follow(self, history: History) -> None:
        """Keep the policy as the roles and bindings of a history are. It must know what there is already."""

        def note(event: ObjectEvent) -> None:
            if event.kind in (ROLE.plural, ROLE_BINDING.plural):
                self.policy = policy_of(history)
                self.changes.tell()

        history.listen(note)
        self.policy = policy_of(history)


def _check_each_once(headers: Headers) -> None:
    """Make sure that no header that is signed is there twice: it would not be clear which of them was.

    Raises:
        NotProved: One is.
    """
    for name in COVERED:
        if len(headers.getall(name, [])) > 1:
            raise NotProved(f"the header {name} is there twice", reason=Reason.INVALID_HEADER, remedy="send it once")


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


@define(eq=False)
class SocketKeeper:
    """Lets in whoever reaches the socket of a state directory, which is of mode 0600: the directory's owner.

    Attributes:
        keeper: Knows what others may do.
    """

    keeper: Doorkeeper

    @property
    def changes(self) -> Changes:
        """Tells when rights may have ended."""
        return self.keeper.changes

    def claim(self, _connection: Connection, /) -> str:
        """Return the owner: nobody else comes."""
        return "unix"

    async def authenticate(self, _connection: Connection, /) -> Principal:
        """Return the owner."""
        return Principal(_user_name(), groups=frozenset({ADMINS}), via="unix")

    def prove_again(self, _connection: Connection, _principal: Principal, /) -> None:
        """Make sure of nothing: who has the socket open has reached it."""

    def check(self, principal: Principal, access: Access, /) -> None:
        """Make sure that somebody may do something. See `Doorkeeper.check`."""
        self.keeper.check(principal, access)


@cache
def _user_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"uid-{os.geteuid()}"


def policy_of(history: History) -> Policy:
    """Return the policy that the roles and bindings of a history make.

    One that can't be used is left out, and logged: it allows nothing, and the others hold.
    """
    roles, bindings = list[Role](), list[RoleBinding]()
    for name in history.names(ROLE.plural):
        item = history.get(name)
        if item is not None:
            with _left_out_if_wrong("role", name.name):
                roles.append(role_of(name.name, item.document.spec))
    for name in history.names(ROLE_BINDING.plural):
        item = history.get(name)
        if item is not None:
            spec = dict(item.document.spec)
            namespace = str(spec.pop("namespace", ""))
            with _left_out_if_wrong("binding", name.name):
                bindings.append(binding_of(name.name, namespace, spec))
    return Policy(roles, bindings)


@contextmanager
def _left_out_if_wrong(what: str, name: str) -> Iterator[None]:
    try:
        yield
    except ConfigInvalid as err:
        _log.warning("the %s %r can't be used and is left out: %s", what, name, err.message)
