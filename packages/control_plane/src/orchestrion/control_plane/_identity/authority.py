"""A small certificate authority: it makes TLS the default without anybody having to set it up."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from attrs import field, frozen
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from orchestrion.orchestrator_core import WallClock, system_time
from orchestrion.shared_types import ConfigInvalid, Problem, StateFailure

from .certificates import UNREADABLE, check_trust_domain, spiffe_id
from .principals import Principal
from .private_files import read_private, write_private

PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey
"""What a certificate can be for."""

AUTHORITY_FILE: Final = "authority.pem"
"""Key and certificate of the authority, in one file, so that a crash can't leave one without the other."""

AUTHORITY_LIFETIME: Final = timedelta(days=3650)
SERVER_LIFETIME: Final = timedelta(days=30)
CLIENT_LIFETIME: Final = timedelta(hours=1)
_BACKDATED: Final = timedelta(minutes=1)
"""Peers whose clocks are a little late take a new certificate nevertheless."""


@frozen
class Credentials:
    """A certificate with its key.

    Attributes:
        certificate: PEM, with those of the authorities between it and the root, of which there are none here.
        key: PEM (PKCS #8, not encrypted). It is not shown. Empty where who asked for the certificate has it.
        begins: From when on it is good.
        ends: Until when.
    """

    certificate: bytes
    key: bytes = field(repr=False)
    begins: datetime
    ends: datetime

    @property
    def rotate_at(self) -> datetime:
        """When it is time for a new one: after two thirds of its life, so that a failure can be made up for."""
        return self.begins + (self.ends - self.begins) * 2 / 3

    def is_due(self, now: datetime) -> bool:
        """Whether it is time for a new one."""
        return now >= self.rotate_at

    @property
    def fingerprint(self) -> str:
        """See `fingerprint_of`."""
        return fingerprint_of(self.certificate)

    @property
    def serial(self) -> int:
        """The number by which its authority tells it from others."""
        return x509.load_pem_x509_certificate(self.certificate).serial_number


def fingerprint_of(certificate: bytes, /) -> str:
    """Return the SHA-256 of a certificate in PEM, as `sha256:` and 64 hexadecimal digits.

    Raises:
        ConfigInvalid: It is no certificate.
    """
    try:
        der = x509.load_pem_x509_certificate(certificate).public_bytes(serialization.Encoding.DER)
    except ValueError as err:
        raise ConfigInvalid((Problem("is no certificate in PEM"),)) from err
    return fingerprint_of_der(der)


def fingerprint_of_der(der: bytes, /) -> str:
    """Return the SHA-256 of a certificate in DER, as `fingerprint_of` does: what a client compares on first contact."""
    return f"sha256:{hashlib.sha256(der).hexdigest()}"


@frozen
class Authority:
    """Issues certificates for the servers, nodes, workloads and users of one trust domain.

    Keys are of the curve P-256. The authority's certificate can sign no other authority.

    Attributes:
        trust_domain: The domain of the SPIFFE ids.
        certificate: The authority's own, in PEM: what peers trust.
        now: The wall clock.
    """

    trust_domain: str
    certificate: bytes
    _key: ec.EllipticCurvePrivateKey = field(alias="key", repr=False)
    now: WallClock = system_time

    @classmethod
    def make(cls, trust_domain: str, /, *, now: WallClock = system_time) -> tuple[Authority, bytes]:
        """Return a new authority, and its key and certificate in PEM.

        Raises:
            ConfigInvalid: That can't be a trust domain.
        """
        check_trust_domain(trust_domain)
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name(f"Orchestrion authority of {trust_domain}")
        begins = now() - _BACKDATED
        made = (
            _builder(name, name, key.public_key(), begins, begins + AUTHORITY_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.SubjectAlternativeName([_uri(f"spiffe://{trust_domain}")]), critical=False)
            .sign(key, hashes.SHA256())
        )
        certificate = made.public_bytes(serialization.Encoding.PEM)
        return cls(trust_domain, certificate, key, now), _key_text(key) + certificate

    @classmethod
    def open(cls, state_dir: Path, trust_domain: str, /, *, now: WallClock = system_time) -> Authority:
        """Return the authority of a state directory; it is made where there is none. It blocks.

        Args:
            state_dir: Where its file is, of mode 0600.
            trust_domain: Its domain.
            now: The wall clock.

        Raises:
            ConfigInvalid: That can't be a trust domain.
            StateFailure: The file is damaged, is of another trust domain, has expired, can be read by others, or can't
                be written.
        """
        path = state_dir / AUTHORITY_FILE
        text = read_private(path)
        if text is None:
            authority, text = cls.make(trust_domain, now=now)
            write_private(path, text)
            return authority
        try:
            key = serialization.load_pem_private_key(text, None)
            certificate = x509.load_pem_x509_certificate(text)
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        except (*UNREADABLE, TypeError, x509.ExtensionNotFound):
            raise _damaged(path) from None  # the cause could have parts of the key in its text
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise _damaged(path)
        if uris != [f"spiffe://{trust_domain}"]:
            msg = f"{path} is the authority of {', '.join(uris)}, not of spiffe://{trust_domain}"
            raise StateFailure(msg, remedy="start with the trust domain that it was made for, or move the file away")
        if now() >= certificate.not_valid_after_utc:
            msg = f"the authority in {path} was good until {certificate.not_valid_after_utc.isoformat()}"
            raise StateFailure(msg, remedy="move the file away, start again, and give clients the new fingerprint")
        return cls(trust_domain, certificate.public_bytes(serialization.Encoding.PEM), key, now)

    @property
    def fingerprint(self) -> str:
        """What clients are told to trust; see `fingerprint_of`."""
        return fingerprint_of(self.certificate)

    def issue_server(self, hosts: Iterable[str], /, *, lifetime: timedelta = SERVER_LIFETIME) -> Credentials:
        """Issue a certificate for a server.

        Args:
            hosts: The names and addresses that clients reach it by, at least one.
            lifetime: How long it is good; never longer than the authority.

        Raises:
            ConfigInvalid: There is no host, or one is no name and no address; or the lifetime is not above 0.
        """
        names = [_host(host) for host in dict.fromkeys(hosts)]
        if not names:
            raise ConfigInvalid((Problem("at least one name or address is wanted", "hosts"),))
        names.append(_uri(f"spiffe://{self.trust_domain}/server"))
        return self._issue("server", names, ExtendedKeyUsageOID.SERVER_AUTH, lifetime)

    def issue_client(
        self, principal: Principal, /, *, lifetime: timedelta = CLIENT_LIFETIME, request: bytes = b""
    ) -> Credentials:
        """Issue a certificate by which a node, a workload or a user proves who it is.

        Whether who asks may be given one is for the caller to check.

        Args:
            principal: Whom it is for. Groups, scopes and restrictions are not in a certificate.
            lifetime: How long it is good.
            request: A certificate request in PEM (PKCS #10), of whose key the certificate is to be; nothing else that
                it asks for is looked at. Empty makes a key.

        Raises:
            ConfigInvalid: It is none of these; it is limited, which a certificate can't say; the lifetime is not above
                0; or the request can't be read, is not signed with its own key, or has a key of another kind.
        """
        if principal.scope is not None or principal.namespaces is not None:
            raise ConfigInvalid((Problem("a certificate can't limit whom it is for; a token can", "principal"),))
        identity = _uri(spiffe_id(self.trust_domain, principal))
        asked = _requested_key(request) if request else None
        return self._issue(principal.name, [identity], ExtendedKeyUsageOID.CLIENT_AUTH, lifetime, asked)

    def _issue(
        self,
        title: str,
        names: list[x509.GeneralName],
        usage: x509.ObjectIdentifier,
        lifetime: timedelta,
        asked: PublicKey | None = None,
    ) -> Credentials:
        if lifetime <= timedelta(0):
            raise ConfigInvalid((Problem("a time above 0 is wanted", "lifetime"),))
        own = x509.load_pem_x509_certificate(self.certificate)
        key = ec.generate_private_key(ec.SECP256R1()) if asked is None else None
        public = asked if key is None else key.public_key()
        assert public is not None  # noqa: S101 - for the type checker: one of the two is there
        now = self.now().astimezone(UTC).replace(microsecond=0)
        begins, ends = now - _BACKDATED, min(now + lifetime, own.not_valid_after_utc)
        made = (
            _builder(_name(title), own.subject, public, begins, ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        text = b"" if key is None else _key_text(key)
        return Credentials(made.public_bytes(serialization.Encoding.PEM), text, now, ends)


def _requested_key(text: bytes) -> PublicKey:
    """Return the key of a certificate request that proves to have its other half."""
    try:
        request = x509.load_pem_x509_csr(text)
        key = request.public_key()
    except (*UNREADABLE, UnsupportedAlgorithm) as err:
        raise ConfigInvalid((Problem("a certificate request in PEM (PKCS #10) is wanted", "request"),)) from err
    match key:
        case ec.EllipticCurvePublicKey(curve=ec.SECP256R1() | ec.SECP384R1()) | ed25519.Ed25519PublicKey():
            good = True
        case rsa.RSAPublicKey():
            good = 2048 <= key.key_size <= 4096
        case _:
            good = False
    if not good or not isinstance(key, PublicKey):
        raise ConfigInvalid(
            (Problem("a key of P-256, P-384, Ed25519 or RSA of 2048 to 4096 bits is wanted", "request"),)
        )
    if not request.is_signature_valid:
        raise ConfigInvalid((Problem("is not signed with the key that it is about", "request"),))
    return key


def _builder(
    subject: x509.Name, issuer: x509.Name, key: PublicKey, begins: datetime, ends: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _key_text(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])  # the most that X.520 allows


def _uri(text: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(text)


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        name = host.rstrip(".").encode("idna").decode("ascii")
        if not name:
            raise ValueError
        return x509.DNSName(name)
    except ValueError as err:
        raise ConfigInvalid((Problem(f"{host!r} is no name of a host and no address", "hosts"),)) from err


def _damaged(path: Path) -> StateFailure:
    return StateFailure(
        f"{path} is damaged",
        remedy="restore it from a copy, or move it away; clients have to trust the one that is made then",
    )
