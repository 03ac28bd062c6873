"""What a client does with certificates: ask for one with a key that never leaves it, and see how long one is good."""

from __future__ import annotations

from datetime import datetime

from attrs import field, frozen
from orchestrion.shared_types import ConfigInvalid, Problem

__all__ = ["CertificateRequest", "end_of", "make_request"]


@frozen
class CertificateRequest:
    """A new key, and the request for a certificate of it.

    Attributes:
        key: The private key, in PEM (PKCS #8, not encrypted). It is not shown.
        text: The request, in PEM (PKCS #10).
    """

    key: bytes = field(repr=False)
    text: str


def make_request() -> CertificateRequest:
    """Make a key of the curve P-256, and a request for a certificate of it. It blocks.

    Whom the certificate is for is not in the request: the server is told beside it.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return CertificateRequest(text, request.public_bytes(serialization.Encoding.PEM).decode())


def end_of(certificate: bytes, /) -> datetime:
    """Return until when (UTC) the first certificate of a text in PEM is good.

    Raises:
        ConfigInvalid: There is none in it.
    """
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificate(certificate).not_valid_after_utc
    except ValueError as err:
        raise ConfigInvalid((Problem("is no certificate in PEM"),)) from err
