"""The keys of an OpenID Connect issuer, got from it and kept."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import trio
from attrs import define, field, frozen
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey, import_key
from orchestrion.shared_types import OrchestrationError, Unavailable

from .oidc_config import about_url, is_safe_url

Fetch = Callable[[str], Awaitable[bytes]]
"""Gets what is at a URL with GET, and raises an `OrchestrationError` where there is no answer with status 200.

It checks the server's certificate, follows no redirection to another scheme, and reads at most a megabyte. The caller
sets the deadline.
"""

FETCH_SECONDS: Final = 10.0
MAX_AGE_SECONDS: Final = 3600.0
"""After this long keys are got anew, so that one that was withdrawn is not trusted for ever."""

UNKNOWN_SECONDS: Final = 60.0
"""A key that is not known has keys got anew at most this often."""

RETRY_SECONDS: Final = 5.0
MAX_STALE_SECONDS: Final = 86_400.0
"""For so long keys are good while the issuer can't be reached."""

MAX_BYTES: Final = 1_048_576
MAX_KEYS: Final = 128
_MIN_RSA_BITS: Final = 2048

_log = logging.getLogger("orchestrion.control_plane")


@frozen
class SigningKey:
    """A public key that an issuer signs with.

    Attributes:
        kid: By what name tokens call it; empty for none.
        algorithm: The only algorithm that it is for, of `RS256`, `ES256` and `EdDSA`.
        key: The key.
    """

    kid: str
    algorithm: str
    key: Key


@define(eq=False)
class IssuerKeys:
    """Keeps an issuer's keys.

    Attributes:
        issuer: The issuer's URL.
        fetch: Gets what is at a URL.
    """

    issuer: str
    fetch: Fetch
    _keys: tuple[SigningKey, ...] = field(init=False, default=())
    _got_at: float = field(init=False, default=float("-inf"))
    _tried_at: float = field(init=False, default=float("-inf"))
    _lock: trio.Lock = field(init=False, factory=trio.Lock)

    async def find(self, kid: str | None, algorithm: str, /) -> SigningKey | None:
        """Return the key of a token, or None where the issuer has none.

        Args:
            kid: By what name the token calls it; None for none, and then there must be one key for the algorithm.
            algorithm: What the token is signed by.

        Raises:
            Unavailable: No keys are known, and they can't be got.
        """
        await self._refresh(MAX_AGE_SECONDS)
        key = self._pick(kid, algorithm)
        if key is None:
            await self._refresh(UNKNOWN_SECONDS)
            key = self._pick(kid, algorithm)
        if trio.current_time() - self._got_at > MAX_STALE_SECONDS:
            raise Unavailable(
                f"the keys of {self.issuer} can't be got",
                remedy="see whether the issuer can be reached from the server; its log says what failed",
            )
        return key

    def _pick(self, kid: str | None, algorithm: str) -> SigningKey | None:
        found = [key for key in self._keys if key.algorithm == algorithm and kid in (None, key.kid)]
        return found[0] if len(found) == 1 else None

    def _is_due(self, age_seconds: float) -> bool:
        now = trio.current_time()
        return now - self._got_at >= age_seconds and now - self._tried_at >= min(age_seconds, RETRY_SECONDS)

    async def _refresh(self, age_seconds: float) -> None:
        if not self._is_due(age_seconds):
            await trio.lowlevel.checkpoint()
            return
        async with self._lock:
            if not self._is_due(age_seconds):  # somebody else has got them meanwhile
                return
            try:
                with trio.fail_after(FETCH_SECONDS):
                    self._keys = await self._get()
                self._got_at = trio.current_time()
            except (OrchestrationError, trio.TooSlowError) as err:
                _log.warning("getting the keys of %s failed: %s", self.issuer, str(err) or "it took too long")
            finally:
                self._tried_at = trio.current_time()

    async def _get(self) -> tuple[SigningKey, ...]:
        about = await self._document(about_url(self.issuer))
        if about.get("issuer") != self.issuer:
            raise Unavailable(f"what is there is about another issuer, {about.get('issuer')!r}")
        place = about.get("jwks_uri")
        if not isinstance(place, str) or not is_safe_url(place):
            raise Unavailable(f"its keys are said to be at {place!r}, which is no https URL")
        listed = (await self._document(place)).get("keys")
        if not isinstance(listed, list) or len(listed) > MAX_KEYS:
            raise Unavailable(f"what is at {place} is no list of at most {MAX_KEYS} keys")
        return tuple(key for data in listed if (key := _signing_key(data)) is not None)

    async def _document(self, url: str) -> Mapping[str, Any]:
        data = await self.fetch(url)
        try:
            found = json.loads(data) if len(data) <= MAX_BYTES else None
        except (ValueError, RecursionError) as err:
            raise Unavailable(f"what is at {url} is no JSON") from err
        if not isinstance(found, dict):
            raise Unavailable(f"what is at {url} is no JSON object, or too long")
        return found


def _signing_key(data: Any) -> SigningKey | None:
    """Return a key that signs by one of our algorithms, or None for any other (RFC 7517, section 5: pass over)."""
    if not isinstance(data, dict) or data.get("use", "sig") != "sig":
        return None
    if data.get("kty") == "RSA" and len(str(data.get("n", ""))) < _MIN_RSA_BITS / 6:  # of which joserfc would warn
        return None
    kid = data.get("kid", "")
    try:
        key = import_key(data)
        match key:
            case RSAKey() if key.raw_value.key_size >= _MIN_RSA_BITS:
                algorithm = "RS256"
            case ECKey() if key.curve_name == "P-256":
                algorithm = "ES256"
            case OKPKey() if key.curve_name == "Ed25519":
                algorithm = "EdDSA"
            case _:
                return None
    except (JoseError, ValueError, TypeError, LookupError):
        _log.warning("an issuer's key %r can't be read, and is passed over", kid)
        return None
    said = data.get("alg", algorithm)
    if not isinstance(kid, str) or said not in (algorithm, "Ed25519" if algorithm == "EdDSA" else algorithm):
        return None
    return SigningKey(kid, algorithm, key)
