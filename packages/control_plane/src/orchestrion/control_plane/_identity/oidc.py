"""People and programs that an OpenID Connect issuer vouches for."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from attrs import define, field
from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry, deserialize_compact
from orchestrion.orchestrator_core import WallClock, system_time

from .failures import NotProved, Reason
from .oidc_config import OidcConfig
from .oidc_keys import Fetch, IssuerKeys, SigningKey
from .principals import RESERVED_PREFIX, Principal, outside_groups

VIA: Final = "oidc"
SKEW: Final = timedelta(seconds=60)
MAX_TOKEN_BYTES: Final = 16_384
MAX_GROUPS: Final = 256
MAX_NAME: Final = 256
_TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_KEYS_IN_HEADERS: Final = ("jku", "jwk", "x5u", "x5c")


class _Registry(JWSRegistry):
    """Knows what was allowed and nothing else; "EdDSA" is what issuers still write (RFC 9864 has a newer name)."""

    def get_alg(self, name: str) -> Any:  # of a class that joserfc does not make public
        """Return what verifies by an algorithm, which was found to be allowed already."""
        return self.algorithms[name]


@define(eq=False)
class OidcVerifier:
    """Makes out who shows a token of an issuer.

    Attributes:
        config: Whom to believe, and what of it.
        fetch: Gets what is at a URL; see `Fetch`.
        now: The wall clock.
    """

    config: OidcConfig
    fetch: Fetch
    now: WallClock = system_time
    _keys: IssuerKeys = field(init=False)
    _registry: _Registry = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._keys = IssuerKeys(self.config.issuer, self.fetch)
        self._registry = _Registry(algorithms=self.config.algorithms, strict_check_header=False)

    async def verify(self, text: str, /) -> Principal:
        """Return whom a token is for; the proof is good until the token's end.

        Keys are got from the issuer at the first use and when they are old; a key that is not known has them got anew,
        at most once a minute, whatever is shown.

        **Cancellation.** *Atomic*.

        Raises:
            NotProved: It is no token; it is not signed by the issuer with an algorithm that is allowed; it is for
                somebody else, of another issuer, not good yet, or no longer; or it names nobody.
            Unavailable: The issuer's keys can't be got.
        """
        header, claims_text = _parts(text)
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in self.config.algorithms:
            raise _invalid("is not signed by an algorithm that is allowed")
        _check_header(header)
        kid = header.get("kid")
        if kid is not None and not isinstance(kid, str):
            raise _invalid("names its key by what is no text")
        key = await self._keys.find(kid, algorithm)
        if key is None:
            raise NotProved(
                "the token is signed with a key that the issuer does not have",
                reason=Reason.UNKNOWN_KEY,
                remedy="log in anew",
            )
        self._check_signature(text, key)
        try:
            claims = json.loads(claims_text)
        except ValueError as err:
            raise _invalid("has claims that are no JSON") from err
        if not isinstance(claims, dict):
            raise _invalid("has claims that are no object")
        ends = self._check_claims(claims)
        return Principal(self._name(claims), self.config.kind, self._groups(claims), via=VIA, expires_at=ends)

    def _check_signature(self, text: str, key: SigningKey) -> None:
        try:
            deserialize_compact(text, key.key, registry=self._registry)
        except (JoseError, ValueError) as err:
            raise NotProved(
                "the token's signature is not the issuer's", reason=Reason.INVALID_SIGNATURE, remedy="log in anew"
            ) from err

    def _check_claims(self, claims: Mapping[str, Any]) -> datetime:
        config, now = self.config, self.now()
        if claims.get("iss") != config.issuer:
            raise _invalid(f"is not of the issuer {config.issuer}")
        audience = claims.get("aud")
        if config.client_id not in ([audience] if isinstance(audience, str) else _texts(audience) or ()):
            raise _invalid(f"is not for {config.client_id}")
        if claims.get("azp", config.client_id) != config.client_id:
            raise _invalid(f"was issued to another than {config.client_id}")
        begins = [_time(claims, name) for name in ("nbf", "iat") if name in claims]
        if any(begin > now + SKEW for begin in begins):
            raise _invalid("is not good yet")
        ends = _time(claims, "exp")
        if now >= ends + SKEW:
            raise NotProved("the token has expired", reason=Reason.TOKEN_EXPIRED, remedy="log in anew")
        for name, wanted in config.required.items():
            if claims.get(name) != wanted:
                raise _invalid(f"does not have {name} {wanted!r}")
        return ends + SKEW

    def _name(self, claims: Mapping[str, Any]) -> str:
        claim = self.config.name_claim
        found = claims.get(claim)
        if not isinstance(found, str) or not found or len(found) > MAX_NAME or not found.isprintable():
            raise _invalid(f"has no {claim} that can be a name")
        if claim == "email" and claims.get("email_verified", True) is not True:
            raise _invalid("has an email address that is not verified")
        name = self.config.name_prefix + found
        if name.startswith(RESERVED_PREFIX):
            raise _invalid(f"has a {claim} that only the server gives")
        return name

    def _groups(self, claims: Mapping[str, Any]) -> frozenset[str]:
        claim = self.config.groups_claim
        found = claims.get(claim) if claim else None
        groups = [] if found is None else [found] if isinstance(found, str) else _texts(found)
        if groups is None or len(groups) > MAX_GROUPS or any(len(group) > MAX_NAME for group in groups):
            raise _invalid(f"has {claim} that are no list of at most {MAX_GROUPS} names")
        return outside_groups(self.config.groups_prefix + group for group in groups if group)


def _parts(text: str) -> tuple[Mapping[str, Any], bytes]:
    pieces = text.split(".")
    if len(text) > MAX_TOKEN_BYTES or len(pieces) != 3 or not text.isascii() or not all(pieces):
        raise _invalid("is no signed token")
    try:
        header = json.loads(_decoded(pieces[0]))
        claims = _decoded(pieces[1])
    except (ValueError, RecursionError) as err:
        raise _invalid("is no signed token") from err
    if not isinstance(header, dict):
        raise _invalid("has a header that is no object")
    return header, claims


def _check_header(header: Mapping[str, Any]) -> None:
    if "crit" in header or "b64" in header:
        raise _invalid("wants something that is not known here to be understood")
    if any(name in header for name in _KEYS_IN_HEADERS):
        raise _invalid("brings the key itself that it is to be verified with")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise _invalid("is of another type")


def _decoded(piece: str) -> bytes:
    try:
        return base64.b64decode(piece + "=" * (-len(piece) % 4), altchars=b"-_", validate=True)
    except binascii.Error as err:
        msg = "no base64"
        raise ValueError(msg) from err


def _texts(value: Any) -> list[str] | None:
    return value if isinstance(value, list) and all(isinstance(one, str) for one in value) else None


def _time(claims: Mapping[str, Any], name: str) -> datetime:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _invalid(f"has no {name} that is a time")
    try:
        # The skew is added to it later, for which there has to be room.
        return min(datetime.fromtimestamp(value, UTC), datetime.max.replace(tzinfo=UTC) - 2 * SKEW)
    except (ValueError, OverflowError, OSError) as err:
        raise _invalid(f"has no {name} that is a time") from err


def _invalid(why: str) -> NotProved:
    return NotProved(f"the token {why}", reason=Reason.INVALID_TOKEN, remedy="log in anew")
