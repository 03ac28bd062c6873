"""Who asks, what they may do, and the tokens and keys by which somebody is known."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any, Final

from attrs import frozen
from litestar import Response, delete, get, post
from litestar.params import JSONBody
from litestar.types import ASGIApp, ControllerRouterHandler
from orchestrion.control_plane._access import ACCESS, Needs
from orchestrion.control_plane._identity.access import Access, rules_data
from orchestrion.control_plane._identity.keys import TrustedKey
from orchestrion.control_plane._identity.oidc_config import OidcConfig
from orchestrion.control_plane._identity.signing import fingerprint_of_key
from orchestrion.control_plane._identity.tokens import TokenRecord
from orchestrion.control_plane._service.intent import Intent
from orchestrion.control_plane._service.requested import asked_twice
from orchestrion.control_plane._wire import MAX_QUESTION_BYTES
from orchestrion.shared_types import ConfigInvalid, NotFound, Problem
from orchestrion.store_interface import RevisionConflict

from .answers import JSON, Raw, value_answer
from .built_in import built_in_handler
from .caller import caller_of
from .certificate_paths import certificate_handlers
from .doc import Answered, Doc, described
from .granting import Grant, granted, principal_data
from .keeper import Doorkeeper
from .once import ONCE, Once, nothing_left, shown_once
from .passage import call_in_record
from .queries import AnyRequest

_SOMEBODY: Final = Needs("get", "self", anybody=True)
"""What everybody may do who is known."""


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
class KeyGrant(Grant):
    """A key that is to be trusted.

    Attributes:
        public_key: 32 bytes, in base64.
    """

    public_key: str


def _doc(
    summary: str,
    schema: str,
    *,
    status: int = 200,
    body: str = "",
    errors: tuple[int, ...] = (),
    parameters: tuple[str, ...] = (),
) -> Doc:
    bodies, answers = {JSON: body} if body else {}, {status: Answered(forms={JSON: schema})}
    return Doc(summary=summary, answers=answers, parameters=parameters, body=bodies, errors=errors)


_MAKING: Final = _doc(
    "Make a token, and show it once", "TokenMade", status=201, body="Grant", errors=(409,), parameters=ONCE
)
_TRUSTING: Final = _doc("Trust a key", "Key", status=201, body="KeyGrant", errors=(409,), parameters=ONCE)
_REVOKING: Final = _doc("Make a token worthless", "Token", errors=(404, 409), parameters=ONCE)
_FORGETTING: Final = _doc("Trust a key no longer", "Key", errors=(404, 409), parameters=ONCE)


def identity_handlers(
    keeper: Doorkeeper, authority: bytes = b"", issuer: OidcConfig | None = None, /, *, once: Once
) -> list[ControllerRouterHandler]:
    """Return the handlers of the paths about identity.

    Args:
        keeper: Knows tokens, keys and the policy.
        authority: The certificate, in PEM, by which clients know the server; empty where TLS is not spoken.
        issuer: Whose tokens are good besides the server's own; None for nobody's.
        once: Does requests once that are sent again.
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
        return principal_data(caller_of(request))

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

    @post(
        "/api/v1/tokens",
        status_code=201,
        opt=described(Needs("create", "tokens"), _MAKING),
        name="create-token",
        return_dto=None,
    )
    async def create_token(request: AnyRequest, data: JSONBody[Grant]) -> ASGIApp:
        principal = granted(keeper.policy, caller_of(request), data)

        async def act(intent: Intent) -> Raw:
            issued = keeper.tokens.make(principal, note=data.note)
            try:
                await keeper.tokens.write(issued.record, list(intent.compares), list(intent.operations))
            except RevisionConflict as err:
                raise asked_twice() from err
            call_in_record(request.scope, f"{issued.record.id} of {principal.subject}")
            return value_answer({**_token_data(issued.record), "token": issued.text.reveal()}, status=201)

        return await once.answer(request, act, shown_once, keeps=False)

    @delete(
        "/api/v1/tokens/{name:str}",
        status_code=200,
        opt=described(Needs("delete", "tokens"), _REVOKING),
        name="revoke-token",
        return_dto=None,
    )
    async def revoke_token(request: AnyRequest) -> ASGIApp:
        name = request.path_params["name"]

        async def act(_intent: Intent) -> Raw:
            record = keeper.tokens.get(name)
            await keeper.tokens.revoke(record.id)
            return value_answer(_token_data(record))

        return await once.answer(request, act, nothing_left, together=False)

    handlers: list[ControllerRouterHandler] = [
        authority_certificate,
        issuer_to_log_in_at,
        whoami,
        can_i,
        rights,
        list_tokens,
        create_token,
        revoke_token,
        built_in_handler(),
    ]
    return [*handlers, *_key_handlers(keeper, once), *certificate_handlers(keeper, once)]


def _key_handlers(keeper: Doorkeeper, once: Once) -> Sequence[ControllerRouterHandler]:
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

    @post(
        "/api/v1/keys",
        status_code=201,
        opt=described(Needs("create", "keys"), _TRUSTING),
        name="trust-key",
        return_dto=None,
    )
    async def trust_key(request: AnyRequest, data: JSONBody[KeyGrant]) -> ASGIApp:
        try:
            public_key = base64.b64decode(data.public_key, validate=True)
        except (binascii.Error, ValueError) as err:
            raise ConfigInvalid((Problem("32 bytes in base64 are wanted", path="public_key"),)) from err
        principal = granted(keeper.policy, caller_of(request), data)

        async def act(_intent: Intent) -> Raw:
            trusted = await keys.trust(public_key, principal, note=data.note)
            call_in_record(request.scope, f"{trusted.fingerprint} of {principal.subject}")
            return value_answer(_key_data(trusted), status=201)

        async def again() -> Raw:
            return value_answer(_key_data(keys.get(fingerprint_of_key(public_key))), status=201)

        return await once.answer(request, act, again, together=False)

    @delete(
        "/api/v1/keys/{name:str}",
        status_code=200,
        opt=described(Needs("delete", "keys"), _FORGETTING),
        name="forget-key",
        return_dto=None,
    )
    async def forget_key(request: AnyRequest) -> ASGIApp:
        name = request.path_params["name"]

        async def act(_intent: Intent) -> Raw:
            key = keys.get(name)
            await keys.forget(key.fingerprint)
            return value_answer(_key_data(key))

        return await once.answer(request, act, nothing_left, together=False)

    return (list_keys, trust_key, forget_key)


def _token_data(record: TokenRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        **principal_data(record.principal),
        "created_at": record.created_at.isoformat(),
        "note": record.note,
    }


def _key_data(key: TrustedKey) -> dict[str, Any]:
    return {
        "fingerprint": key.fingerprint,
        **principal_data(key.principal),
        "created_at": key.created_at.isoformat(),
        "note": key.note,
    }
