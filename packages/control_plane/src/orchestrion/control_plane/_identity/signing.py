"""Requests that are signed with Ed25519: what is signed, and how a client does it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen
from orchestrion.orchestrator_core import WallClock, system_time

from .failures import NotProved, Reason

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_HEADER: Final = "x-auth-publickey"
TIME_HEADER: Final = "x-auth-timestamp"
NONCE_HEADER: Final = "x-auth-nonce"
SIGNATURE_HEADER: Final = "x-auth-signature"
HEADERS: Final = (KEY_HEADER, TIME_HEADER, NONCE_HEADER, SIGNATURE_HEADER)

FORM: Final = "orchestrion-request-2"
"""The first line of what is signed: which form that is of, so that what is signed of one is good for no other."""

COVERED: Final = ("content-type", "if-match", "idempotency-key")
"""The other headers that are signed, since they say what a request means."""

KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
_NONCE = re.compile(r"[A-Za-z0-9_-]{16,64}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)")


@frozen
class SignedHeaders:
    """What the headers of a signed request say; nothing of it is proved yet.

    Attributes:
        key: The public key, 32 bytes.
        timestamp: When it was signed, in the words of the header, which are what is signed.
        at: The same as a time (UTC).
        nonce: What makes it unlike all others: 16 to 64 letters, digits, hyphens and underscores.
        signature: 64 bytes.
    """

    key: bytes
    timestamp: str
    at: datetime
    nonce: str
    signature: bytes


def signed_text(
    method: str, path: str, query: str, timestamp: str, nonce: str, body: bytes, headers: Mapping[str, str], /
) -> bytes:
    """Return what is signed: its form, METHOD, PATH?QUERY, `COVERED`, TIMESTAMP, NONCE and SHA256HEX(body), one a line.

    Args:
        method: Such as `GET`.
        path: As it is sent, with its escapes.
        query: As it is sent, without the question mark; empty for none, and then there is no question mark.
        timestamp: The header's text.
        nonce: The header's text.
        body: All of it.
        headers: By names in lower case; the line of one that is not there is empty.
    """
    target = f"{path}?{query}" if query else path
    covered = [headers.get(name, "").strip(" \t") for name in COVERED]
    lines = (FORM, method.upper(), target, *covered, timestamp, nonce, hashlib.sha256(body).hexdigest())
    # No part can hold a line break: methods, targets and headers of HTTP have none. If one came, it would be refused.
    if any("\n" in line or "\r" in line for line in lines):
        raise NotProved("the request has a line break in its head", reason=Reason.INVALID_HEADER)
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def read_headers(headers: Mapping[str, str], /) -> SignedHeaders:
    """Return what the headers of a signed request say.

    Args:
        headers: By names in lower case; each once.

    Raises:
        NotProved: One is missing, or is not what it has to be.
    """
    missing = [name for name in HEADERS if not headers.get(name)]
    if missing:
        raise NotProved(f"the header {missing[0]} is missing", reason=Reason.MISSING_HEADER, remedy="sign the request")
    timestamp, nonce = headers[TIME_HEADER], headers[NONCE_HEADER]
    if not _TIME.fullmatch(timestamp):
        raise _invalid(TIME_HEADER, "a time with its zone, such as 2026-11-22T10:30:00Z")
    try:
        at = datetime.fromisoformat(timestamp).astimezone(UTC)
    except (ValueError, OverflowError) as err:
        raise _invalid(TIME_HEADER, "a time with its zone, such as 2026-11-22T10:30:00Z") from err
    if not _NONCE.fullmatch(nonce):
        raise _invalid(NONCE_HEADER, "16 to 64 letters, digits, hyphens and underscores")
    key = _decoded(headers, KEY_HEADER, KEY_BYTES)
    return SignedHeaders(key, timestamp, at, nonce, _decoded(headers, SIGNATURE_HEADER, SIGNATURE_BYTES))


def fingerprint_of_key(key: bytes, /) -> str:
    """Return what a public key is called: the first 32 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(key).hexdigest()[:32]


@define(eq=False, repr=False)
class RequestSigner:
    """Signs requests; a client's side.

    Attributes:
        now: The wall clock.
        random_bytes: Where nonces come from.
    """

    _key: Ed25519PrivateKey = field(alias="key")
    now: WallClock = system_time
    random_bytes: Callable[[int], bytes] = secrets.token_bytes

    @classmethod
    def from_seed(
        cls, seed: bytes, /, *, now: WallClock = system_time, random_bytes: Callable[[int], bytes] = secrets.token_bytes
    ) -> RequestSigner:
        """Return a signer with the private key of 32 secret bytes (RFC 8032, section 5.1.5)."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return cls(Ed25519PrivateKey.from_private_bytes(seed), now, random_bytes)

    @property
    def public_key(self) -> bytes:
        """What the server has to know: 32 bytes."""
        return self._key.public_key().public_bytes_raw()

    def headers(
        self, method: str, path: str, /, *, query: str = "", body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """Return the headers that sign a request. They are good once, and for five minutes; a retry is signed anew.

        Args:
            method: Such as `GET`.
            path: As it is sent, with its escapes.
            query: As it is sent, without the question mark.
            body: All of it.
            headers: The other headers of the request, by names in lower case.
        """
        timestamp = self.now().astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        nonce = base64.urlsafe_b64encode(self.random_bytes(18)).decode()
        signature = self._key.sign(signed_text(method, path, query, timestamp, nonce, body, headers or {}))
        return {
            KEY_HEADER: base64.b64encode(self.public_key).decode(),
            TIME_HEADER: timestamp,
            NONCE_HEADER: nonce,
            SIGNATURE_HEADER: base64.b64encode(signature).decode(),
        }


def _decoded(headers: Mapping[str, str], name: str, size: int) -> bytes:
    try:
        data = base64.b64decode(headers[name], validate=True)
    except (binascii.Error, ValueError):
        data = b""
    # Only one spelling counts, or else one signature would have several.
    if len(data) != size or base64.b64encode(data).decode() != headers[name]:
        raise _invalid(name, f"{size} bytes in base64")
    return data


def _invalid(name: str, wanted: str) -> NotProved:
    return NotProved(f"the header {name} is not {wanted}", reason=Reason.INVALID_HEADER, remedy="sign the request anew")
