"""Who asks, what they may do, and the tokens and keys by which somebody is known."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from math import prod
from typing import Any, Final

from attrs import evolve, field, frozen
from litestar import Response, delete, get, post
from litestar.params import JSONBody
from litestar.types import ControllerRouterHandler
from orchestrion.control_plane._access import ACCESS, Needs
from orchestrion.control_plane._identity.access import Access, Rule, rules_data, rules_of
from orchestrion.control_plane._identity.keys import TrustedKey
from orchestrion.control_plane._identity.oidc_config import OidcConfig
from orchestrion.control_plane._identity.policy import Policy
from orchestrion.control_plane._identity.principals import RESERVED_PREFIX, Principal, PrincipalKind
from orchestrion.control_plane._identity.tokens import TokenRecord
from orchestrion.control_plane._wire import MAX_QUESTION_BYTES
from orchestrion.shared_types import ConfigInvalid, Denied, NotFound, Problem

from .answers import JSON
from .caller import caller_of
from .doc import Answered, Doc, described
from .keeper import Doorkeeper
from .passage import call_in_record
from .queries import AnyRequest

_SOMEBODY: Final = Needs("get", "self", anybody=True)
"""What everybody may do who is known."""

_MAX_NAME: Final = 253

_MAX_GRANTED: Final = 20_000
"""Into how many single rights what is given away may fall apart; each is looked up."""


@frozen(kw_only=True)
class Question:
    """May who asks do that? The body of can-i."""

    verb: str
    resource: str
    namespace: str = ""
    name: str = ""


@frozen(kw_only=True)
class Answer:
    """Whether something may be done, and why."""

    allowed: bool
    why: str


@frozen(kw_only=True)
class Grant:
    """Somebody that is to be known by a token or a key. What is left out is as with who asks.

    Attributes:
        name: Who it is.
        kind: What kind of one.
        groups: The groups that it is in.
        namespaces: The only namespaces that it may reach; None is no such restriction.
        scope: The only things that it may do, as the rules of a role; None is all that its roles grant.
        expires_at: From when on (UTC) it is no longer good; None is never.
        note: What it is for.
    """

    name: str = ""
    kind: PrincipalKind | None = None
    groups: tuple[str, ...] | None = None
    namespaces: tuple[str, ...] | None = None
    scope: tuple[Mapping[str, Any], ...] | None = None
    expires_at: datetime | None = None
    note: str = field(default="")


@frozen(kw_only=True)
class KeyGrant(Grant):
    """A key that is to be trusted.

    Attributes:
        public_key: 32 bytes, in base64.
    """

    public_key: str


def _doc(summary: str, schema: str, *, status: int = 200, body: str = "", errors: tuple[int, ...] = ()) -> Doc:
    bodies = {JSON: body} if body else {}
    return Doc(summary=summary, answers={status: Answered(forms={JSON: schema})}, body=bodies, errors=errors)


_MAKING: Final = _doc("Make a token, and show it once", "TokenMade", status=201, body="Grant")
_TRUSTING: Final = _doc("Trust a key", "Key", status=201, body="KeyGrant", errors=(409,))


def identity_handlers(
    keeper: Doorkeeper, authority: bytes = b"", issuer: OidcConfig | None = None, /
) -> list[ControllerRouterHandler]:
    """Return the handlers of the paths about identity.

    Args:
        keeper: Knows tokens, keys and the policy.
        authority: The certificate, in PEM, by which clients know the server; empty where TLS is not spoken.
        issuer: Whose tokens are good besides the server's own; None for nobody's.
    """

    @get("/authority.crt", opt={ACCESS: None}, name="authority")
    async def authority_certificate() -> Response[bytes]:
        if not authority:
            raise NotFound("this server has no authority of its own: it speaks no TLS")
        return Response(authority, media_type="application/x-pem-file")

    @get("/issuer.json", opt={ACCESS: None}, name="issuer")
    async def issuer_to_log_in_at() -> dict[str, Any]:
        if issuer is None:
            raise NotFound("this server believes no other issuer of tokens", remedy="ask an administrator for a token")
        return {"issuer": issuer.issuer, "client_id": issuer.client_id, "scopes": list(issuer.scopes)}

    @get("/api/v1/whoami", opt=described(_SOMEBODY, _doc("Say as who one is known", "Who")), name="whoami")
    async def whoami(request: AnyRequest) -> dict[str, Any]:
        return _principal_data(caller_of(request))

    @post(
        "/api/v1/can-i",
        status_code=200,
        opt=described(_SOMEBODY, _doc("Say whether one may do something", "Verdict", body="Question")),
        name="can-i",
        request_max_body_size=MAX_QUESTION_BYTES,
    )
    async def can_i(request: AnyRequest, data: JSONBody[Question]) -> Answer:
        verdict = keeper.may(caller_of(request), Access(data.verb, data.resource, data.namespace, data.name))
        return Answer(allowed=verdict.allowed, why=verdict.why)

    @get("/api/v1/rights", opt=described(_SOMEBODY, _doc("Say all that one may do", "Rights")), name="rights")
    async def rights(request: AnyRequest) -> dict[str, Any]:
        mine = keeper.policy.rights_of(caller_of(request))
        return {"items": [{**rules_data([one.rule])[0], "role": one.role, "binding": one.binding} for one in mine]}

    @get(
        "/api/v1/tokens",
        opt=described(Needs("list", "tokens"), _doc("List tokens, without what they are", "Tokens")),
        name="list-tokens",
    )
    async def list_tokens() -> dict[str, Any]:
        return {"items": [_token_data(record) for record in keeper.tokens.all()]}

    @post("/api/v1/tokens", status_code=201, opt=described(Needs("create", "tokens"), _MAKING), name="create-token")
    async def create_token(request: AnyRequest, data: JSONBody[Grant]) -> Response[dict[str, Any]]:
        principal = _granted(keeper.policy, caller_of(request), data)
        issued = await keeper.tokens.issue(principal, note=data.note)
        call_in_record(request.scope, f"{issued.record.id} of {principal.subject}")
        document = {**_token_data(issued.record), "token": issued.text.reveal()}
        return Response(document, status_code=201, headers={"cache-control": "no-store"})

    @delete(
        "/api/v1/tokens/{name:str}",
        status_code=200,
        opt=described(Needs("delete", "tokens"), _doc("Make a token worthless", "Token", errors=(404,))),
        name="revoke-token",
    )
    async def revoke_token(request: AnyRequest) -> dict[str, Any]:
        record = keeper.tokens.get(request.path_params["name"])
        await keeper.tokens.revoke(record.id)
        return _token_data(record)

    handlers: list[ControllerRouterHandler] = [
        authority_certificate,
        issuer_to_log_in_at,
        whoami,
        can_i,
        rights,
        list_tokens,
        create_token,
        revoke_token,
    ]
    return [*handlers, *_key_handlers(keeper)]


def _key_handlers(keeper: Doorkeeper) -> Sequence[ControllerRouterHandler]:
    keys = keeper.keys
    if keys is None:
        return ()

    @get(
        "/api/v1/keys",
        opt=described(Needs("list", "keys"), _doc("List keys that are trusted", "Keys")),
        name="list-keys",
    )
    async def list_keys() -> dict[str, Any]:
        return {"items": [_key_data(key) for key in keys.all()]}

    @post("/api/v1/keys", status_code=201, opt=described(Needs("create", "keys"), _TRUSTING), name="trust-key")
    async def trust_key(request: AnyRequest, data: JSONBody[KeyGrant]) -> dict[str, Any]:
        try:
            public_key = base64.b64decode(data.public_key, validate=True)
        except (binascii.Error, ValueError) as err:
            raise ConfigInvalid((Problem("32 bytes in base64 are wanted", path="public_key"),)) from err
        principal = _granted(keeper.policy, caller_of(request), data)
        trusted = await keys.trust(public_key, principal, note=data.note)
        call_in_record(request.scope, f"{trusted.fingerprint} of {principal.subject}")
        return _key_data(trusted)

    @delete(
        "/api/v1/keys/{name:str}",
        status_code=200,
        opt=described(Needs("delete", "keys"), _doc("Trust a key no longer", "Key", errors=(404,))),
        name="forget-key",
    )
    async def forget_key(request: AnyRequest) -> dict[str, Any]:
        key = keys.get(request.path_params["name"])
        await keys.forget(key.fingerprint)
        return _key_data(key)

    return (list_keys, trust_key, forget_key)


def _granted(policy: Policy, who: Principal, grant: Grant) -> Principal:
    """Return whom somebody wants to be known, if they have all that this one will have.

    Raises:
        Denied: They have not, or it would be good for longer than what they have shown themselves.
        ConfigInvalid: The scope can't be read, or has too many parts.
    """
    for text in (grant.name, *(grant.groups or ())):
        if len(text) > _MAX_NAME or not text.isprintable():
            problem = Problem(f"names have at most {_MAX_NAME} characters, which can be printed: {text!r:.80}")
            raise ConfigInvalid((problem,))
    given = Principal(
        grant.name or who.name,
        grant.kind or who.kind,
        groups=who.groups if grant.groups is None else grant.groups,
        namespaces=who.namespaces if grant.namespaces is None else grant.namespaces,
        scope=who.scope if grant.scope is None else rules_of(list(grant.scope), "scope"),
        expires_at=grant.expires_at or who.expires_at,
    )
    if who.expires_at is not None and (given.expires_at is None or given.expires_at > who.expires_at):
        msg = f"{who} can't give away what is good for longer than what it has shown itself"
        raise Denied(msg, remedy=f"let it end before {who.expires_at.isoformat()}")
    _check_names(policy, who, given)
    rules = [right.rule for right in policy.rights_of(given)]
    if given.subject != who.subject:
        # What is somebody's own is not the other's own.
        rules = [evolve(rule, own=False) for rule in rules]
    if _parts(rules) > _MAX_GRANTED:
        raise ConfigInvalid((Problem("its rules name too many things; use more of *", path="scope"),))
    verdict = policy.may_grant(who, rules)
    if not verdict.allowed:
        raise Denied(verdict.why, remedy="give less: a scope, namespaces, or another name")
    return given


def _check_names(policy: Policy, who: Principal, given: Principal) -> None:
    """Make sure that somebody may speak as others: a name or a group may be given rights later on.

    Raises:
        ConfigInvalid: It would be nobody.
        Denied: They may not.
    """
    if given.kind is PrincipalKind.ANONYMOUS:
        raise ConfigInvalid((Problem("nobody is known by a token or a key", path="kind"),))
    strange = [group for group in given.groups - who.all_groups if group.startswith(RESERVED_PREFIX)]
    if strange:
        raise Denied(f"{who} is not in {strange[0]!r:.80} itself", remedy="groups of the system are given by bindings")
    if given.subject != who.subject:
        policy.check(who, Access("impersonate", f"{given.kind.value}s", name=given.name))
    for group in sorted(given.groups - who.groups):
        policy.check(who, Access("impersonate", "groups", name=group))


def _parts(rules: Iterable[Rule]) -> int:
    return sum(prod(map(len, (rule.verbs, rule.resources, rule.namespaces, rule.names))) for rule in rules)


def _principal_data(principal: Principal) -> dict[str, Any]:
    return {
        "name": principal.name,
        "kind": principal.kind.value,
        "groups": sorted(principal.all_groups),
        "namespaces": None if principal.namespaces is None else sorted(principal.namespaces),
        "scope": None if principal.scope is None else rules_data(principal.scope),
        "via": principal.via,
        "expires_at": None if principal.expires_at is None else principal.expires_at.isoformat(),
    }


def _token_data(record: TokenRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        **_principal_data(record.principal),
        "created_at": record.created_at.isoformat(),
        "note": record.note,
    }


def _key_data(key: TrustedKey) -> dict[str, Any]:
    return {
        "fingerprint": key.fingerprint,
        **_principal_data(key.principal),
        "created_at": key.created_at.isoformat(),
        "note": key.note,
    }
