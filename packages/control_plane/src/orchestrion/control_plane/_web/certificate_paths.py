"""Certificates by which somebody is known: they are issued, listed and revoked here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol

from attrs import field, frozen, validators
from litestar import delete, get, post
from litestar.params import JSONBody
from litestar.types import ASGIApp, ControllerRouterHandler
from orchestrion.control_plane._access import Needs
from orchestrion.control_plane._identity.policy import Policy
from orchestrion.control_plane._identity.principals import PrincipalKind
from orchestrion.control_plane._service.intent import Intent
from orchestrion.control_plane._wire import MAX_QUESTION_BYTES
from orchestrion.shared_types import ConfigInvalid, NotFound, Problem

from .answers import JSON, Raw, value_answer
from .caller import caller_of
from .doc import Answered, Doc, described
from .granting import Grant, granted
from .once import ONCE, Once, shown_once
from .passage import call_in_record
from .queries import AnyRequest

if TYPE_CHECKING:
    from orchestrion.control_plane._identity.issued import IssuedCertificate, IssuedCertificates

DEFAULT_SECONDS: Final = 3600
MAX_SECONDS: Final = 366 * 24 * 3600


class Issues(Protocol):
    """Knows what everybody may do, and perhaps issues certificates."""

    policy: Policy
    issued: IssuedCertificates | None


@frozen(kw_only=True)
class CertificateGrant:
    """Somebody that is to be known by a certificate, which says nothing but who that is.

    Attributes:
        name: Who it is; empty is who asks.
        kind: What kind of one: a user, a node or a workload; None is as who asks.
        lifetime_seconds: How long it is good, in seconds.
        request: A certificate request in PEM (PKCS #10), of whose key it is to be; empty makes a key, which is shown
            once.
        note: What it is for.
    """

    name: str = ""
    kind: PrincipalKind | None = None
    lifetime_seconds: int = field(
        default=DEFAULT_SECONDS, validator=validators.and_(validators.ge(1), validators.le(MAX_SECONDS))
    )
    request: str = ""
    note: str = ""


def _doc(summary: str, schema: str, *, status: int = 200, body: str = "", changes: bool = False) -> Doc:
    bodies, answers = {JSON: body} if body else {}, {status: Answered(forms={JSON: schema})}
    parameters, errors = (ONCE, (404, 409)) if changes else ((), (404,))
    return Doc(summary=summary, answers=answers, parameters=parameters, body=bodies, errors=errors)


def certificate_handlers(keeper: Issues, once: Once, /) -> Sequence[ControllerRouterHandler]:
    """Return the handlers of the paths about certificates.

    Args:
        keeper: Knows what everybody may do, and issues certificates if the server speaks TLS.
        once: Does requests once that are sent again.
    """

    def desk() -> IssuedCertificates:
        if keeper.issued is None:
            msg = "this server speaks no TLS, and so nobody is known by a certificate"
            raise NotFound(msg, remedy="Start it with --tls, or use a token or a key.")
        return keeper.issued

    @get(
        "/api/v1/certificates",
        opt=described(Needs("list", "certificates"), _doc("List certificates that were issued", "Certificates")),
        name="list-certificates",
    )
    async def list_certificates() -> dict[str, Any]:
        return {"items": [_data(one) for one in desk().all()]}

    @post(
        "/api/v1/certificates",
        status_code=201,
        opt=described(
            Needs("create", "certificates"),
            _doc("Issue a certificate", "CertificateMade", status=201, body="CertificateGrant", changes=True),
        ),
        name="issue-certificate",
        return_dto=None,
        request_max_body_size=MAX_QUESTION_BYTES,
    )
    async def issue_certificate(request: AnyRequest, data: JSONBody[CertificateGrant]) -> ASGIApp:
        issuing, who = desk(), caller_of(request)
        if not data.request.isascii():
            raise ConfigInvalid((Problem("a certificate request in PEM (PKCS #10) is wanted", "request"),))
        lifetime = timedelta(seconds=data.lifetime_seconds)
        grant = Grant(name=data.name, kind=data.kind, groups=(), expires_at=issuing.now() + lifetime)
        whose = granted(keeper.policy, who, grant)

        async def act(_intent: Intent) -> Raw:
            record, made = await issuing.issue(whose, lifetime, request=data.request.encode(), note=data.note)
            call_in_record(request.scope, f"{record.serial} of {whose.subject}")
            document = {
                **_data(record),
                "certificate": made.certificate.decode(),
                "key": made.key.decode(),
                "authority": issuing.authority.certificate.decode(),
            }
            return value_answer(document, status=201)

        return await once.answer(request, act, shown_once, together=False, keeps=False)

    @delete(
        "/api/v1/certificates/{name:str}",
        status_code=200,
        opt=described(
            Needs("delete", "certificates"), _doc("Make a certificate worthless", "Certificate", changes=True)
        ),
        name="revoke-certificate",
        return_dto=None,
    )
    async def revoke_certificate(request: AnyRequest) -> ASGIApp:
        issuing, serial = desk(), request.path_params["name"]

        async def act(_intent: Intent) -> Raw:
            return value_answer(_data(await issuing.revoke(serial)))

        async def again() -> Raw:
            return value_answer(_data(issuing.get(serial)))

        return await once.answer(request, act, again, together=False)

    return (list_certificates, issue_certificate, revoke_certificate)


def _data(record: IssuedCertificate) -> dict[str, Any]:
    ends = record.principal.expires_at
    return {
        "serial": record.serial,
        "name": record.principal.name,
        "kind": record.principal.kind.value,
        "created_at": record.created_at.isoformat(),
        "expires_at": None if ends is None else ends.isoformat(),
        "note": record.note,
        "revoked": record.revoked,
    }
