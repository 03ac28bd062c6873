"""Who a certificate is for: SPIFFE ids in X.509, as the SPIFFE standard X509-SVID has them."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Final

from attrs import field, frozen, validators
from cryptography import x509
from orchestrion.orchestrator_core import WallClock, system_time
from orchestrion.shared_types import ConfigInvalid, Problem, is_name

from .failures import NotProved, Reason
from .issued import serial_text
from .principals import Principal, PrincipalKind

VIA: Final = "mtls"
MAX_ID_BYTES: Final = 2048
"""The longest SPIFFE id (SPIFFE-ID, section 2.3)."""

UNREADABLE: Final = (ValueError, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
"""What cryptography raises for parts that it can't read, of which some are read only when they are asked for."""

_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")
_SEGMENT = re.compile(r"[A-Za-z0-9._-]{1,253}")


def _check_domain(_instance: object, _attribute: object, value: str) -> None:
    check_trust_domain(value)


def check_trust_domain(domain: str, /) -> None:
    """Raise `ConfigInvalid` unless this can be a trust domain (SPIFFE-ID, section 2.1)."""
    if not _DOMAIN.fullmatch(domain):
        raise ConfigInvalid(
            (Problem("lower-case letters, digits, dots, hyphens and underscores are wanted", "trust_domain"),)
        )


def spiffe_id(domain: str, principal: Principal, /) -> str:
    """Return the SPIFFE id of a node, a workload or a user.

    Raises:
        ConfigInvalid: It is none of these, or its name can't be part of an id.
    """
    check_trust_domain(domain)
    name = principal.name
    match principal.kind:
        case PrincipalKind.NODE | PrincipalKind.USER if _is_segment(name):
            return f"spiffe://{domain}/{principal.kind.value}/{name}"
        case PrincipalKind.WORKLOAD if name.count("/") == 1 and all(is_name(part) for part in name.split("/")):
            namespace, _, workload = name.partition("/")
            return f"spiffe://{domain}/ns/{namespace}/workload/{workload}"
    raise ConfigInvalid(
        (Problem(f"{principal} can't have a certificate: a node, a user or a workload with a plain name can"),)
    )


def principal_of_id(uri: str, domain: str, /) -> Principal | None:
    """Return whom a SPIFFE id of a trust domain names, or None where it names nobody there."""
    prefix = f"spiffe://{domain}/"
    if len(uri) > MAX_ID_BYTES or not uri.startswith(prefix):
        return None
    match uri.removeprefix(prefix).split("/"):
        case ["node", name] if _is_segment(name):
            return Principal(name, PrincipalKind.NODE, via=VIA)
        case ["user", name] if _is_segment(name):
            return Principal(name, PrincipalKind.USER, via=VIA)
        case ["ns", namespace, "workload", name] if is_name(namespace) and is_name(name):
            return Principal(f"{namespace}/{name}", PrincipalKind.WORKLOAD, via=VIA)
    return None


def _is_segment(name: str) -> bool:
    return _SEGMENT.fullmatch(name) is not None and name not in (".", "..")


@frozen
class PeerCertificates:
    """Makes out peers by their certificates.

    That the certificate is signed by an authority that is trusted, and that the peer has its key, was checked by TLS;
    here it is read whom it is for.

    Attributes:
        trust_domain: The only domain whose ids count.
        now: The wall clock.
        revoked: Whether the certificate of a serial number is no longer good.
    """

    trust_domain: str = field(validator=_check_domain)
    now: WallClock = system_time
    revoked: Callable[[int], bool] = field(default=lambda _serial: False, validator=validators.is_callable())

    def principal(self, der: bytes, /) -> Principal:
        """Return whom a peer's certificate is for; the proof is good until its end.

        Args:
            der: The certificate, as `SSLObject.getpeercert(binary_form=True)` gives it.

        Raises:
            NotProved: It is no certificate; it is an authority's; it is not good yet, no longer, or was revoked; it has
                no SPIFFE id, several, one of another trust domain, or one that names nobody.
        """
        try:
            certificate = x509.load_der_x509_certificate(der)
            ids = _uris(certificate)
            is_authority = _is_authority(certificate)
            begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        except UNREADABLE as err:
            raise _refused("can't be read") from err
        if is_authority:
            raise _refused("is an authority's, which is nobody")
        self._check_time(begins, ends)
        if self.revoked(certificate.serial_number):
            raise _refused("was revoked")
        if len(ids) != 1:
            raise _refused("has no SPIFFE id" if not ids else "has several ids, and so names nobody")
        if not ids[0].startswith(f"spiffe://{self.trust_domain}/"):
            raise _refused(f"is not of the trust domain {self.trust_domain}")
        principal = principal_of_id(ids[0], self.trust_domain)
        if principal is None:
            raise _refused("has a SPIFFE id that names no node, user or workload")
        return Principal(
            principal.name, principal.kind, via=f"{VIA}:{serial_text(certificate.serial_number)}", expires_at=ends
        )

    def _check_time(self, begins: datetime, ends: datetime) -> None:
        now = self.now()
        if now >= ends:
            raise NotProved(
                f"the certificate was good until {ends.isoformat()}",
                reason=Reason.CERTIFICATE_EXPIRED,
                remedy="get a new one; a clock that is wrong does the same",
            )
        if now < begins:
            raise _refused(f"is good from {begins.isoformat()} on, which is yet to come")


def _uris(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _refused(why: str) -> NotProved:
    return NotProved(
        f"the certificate {why}", reason=Reason.INVALID_CERTIFICATE, remedy="get one from this cluster's authority"
    )
