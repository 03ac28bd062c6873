"""Which OpenID Connect issuer a server believes, and what of it. No cryptography is loaded for that."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import field, fields, frozen
from orchestrion.shared_types import ConfigInvalid, Problem

from .principals import PrincipalKind

ALGORITHMS: Final = frozenset({"RS256", "ES256", "EdDSA"})

DEFAULT_PREFIX: Final = "oidc:"
"""Put before names and groups unless something else is wanted, so that an issuer can't name who is known otherwise."""

DEFAULT_SCOPES: Final = ("openid", "profile", "email", "groups", "offline_access")


def is_safe_url(url: str, /) -> bool:
    """Whether what is asked for at a URL can't be read or changed on the way: https, or http on a loopback address."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    if not host or port == 0 or parts.username is not None or not url.isprintable() or " " in url:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))


def check_issuer(url: str, /) -> None:
    """Raise `ConfigInvalid` unless a URL can be an issuer's: https, or http on a loopback address."""
    if not is_safe_url(url) or "?" in url or "#" in url:
        raise ConfigInvalid((Problem("an https URL without a query is wanted", "issuer"),))


def about_url(issuer: str, /) -> str:
    """Return where an issuer says what it offers (OpenID Connect Discovery 1.0, section 4)."""
    return f"{issuer.rstrip('/')}/.well-known/openid-configuration"


def _check_algorithms(_instance: object, _attribute: object, value: frozenset[str]) -> None:
    if not value or not value <= ALGORITHMS:
        raise ConfigInvalid((Problem(f"some of {', '.join(sorted(ALGORITHMS))} are wanted", "algorithms"),))


def _check_issuer(_instance: object, _attribute: object, value: str) -> None:
    check_issuer(value)


def _check_client(_instance: object, _attribute: object, value: str) -> None:
    if not value or not value.isprintable():
        raise ConfigInvalid((Problem("the audience that tokens have to be for is wanted", "client_id"),))


@frozen(kw_only=True)
class OidcConfig:
    """Whom to believe, and what of it.

    Attributes:
        issuer: The issuer's URL, character by character as in its tokens; https, but for a loopback address.
        client_id: The audience that tokens must be for.
        name_claim: What the principal is called by. If it is `email`, the issuer must not say that it is not verified.
        name_prefix: Put before the name, so that issuers can't name each other's.
        groups_claim: What lists the groups; empty for none.
        groups_prefix: Put before each group.
        required: Claims that must be there with these texts, such as `{"hd": "example.com"}`.
        algorithms: Some of `ALGORITHMS`.
        kind: What those that it vouches for are.
        scopes: What clients ask the issuer for when somebody logs in.
        authority: A file with the certificates, in PEM, of who signs the issuer's; empty trusts whom the system trusts.
    """

    issuer: str = field(validator=_check_issuer)
    client_id: str = field(validator=_check_client)
    name_claim: str = "sub"
    name_prefix: str = ""
    groups_claim: str = "groups"
    groups_prefix: str = ""
    required: Mapping[str, str] = field(factory=dict)
    algorithms: frozenset[str] = field(default=ALGORITHMS, validator=_check_algorithms)
    kind: PrincipalKind = PrincipalKind.USER
    scopes: tuple[str, ...] = DEFAULT_SCOPES
    authority: str = ""


_LISTS: Final = ("algorithms", "scopes")
_KINDS: Final = (PrincipalKind.USER, PrincipalKind.SERVICE)


def oidc_config_of(data: Mapping[str, Any], /) -> OidcConfig:
    """Return what a document says of an issuer; names and groups get `DEFAULT_PREFIX` unless it says otherwise.

    Raises:
        ConfigInvalid: It is not that; it names each place.
    """
    known = [each.name for each in fields(OidcConfig)]
    problems = [Problem(f"is not known; there are {', '.join(known)}", name) for name in data if name not in known]
    problems += [Problem("is missing", name) for name in ("issuer", "client_id") if name not in data]
    given: dict[str, Any] = {"name_prefix": DEFAULT_PREFIX, "groups_prefix": DEFAULT_PREFIX}
    for name, value in data.items():
        if name in _LISTS:
            if not isinstance(value, list | tuple) or not all(isinstance(one, str) and one for one in value):
                problems.append(Problem("a list of words is wanted", name))
            else:
                given[name] = frozenset(value) if name == "algorithms" else tuple(value)
        elif name == "required":
            if not isinstance(value, Mapping) or not all(isinstance(one, str) for one in value.values()):
                problems.append(Problem("a table of texts is wanted", name))
            else:
                given[name] = dict(value)
        elif name == "kind":
            if value not in [kind.value for kind in _KINDS]:
                problems.append(Problem("user or service is wanted", name))
            else:
                given[name] = PrincipalKind(value)
        elif not isinstance(value, str):
            problems.append(Problem("a text is wanted", name))
        else:
            given[name] = value
    if problems:
        raise ConfigInvalid(tuple(problems))
    return OidcConfig(**given)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
