"""Tokens of an issuer: who is believed, and everybody who is not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest
import trio
from attrs import define, field
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey
from orchestrion.control_plane._identity.failures import NotProved, Reason
from orchestrion.control_plane._identity.oidc import OidcVerifier
from orchestrion.control_plane._identity.oidc_config import OidcConfig
from orchestrion.control_plane._identity.principals import PrincipalKind
from orchestrion.shared_types import ConfigInvalid, NetworkFailure, Unavailable
from trio.testing import MockClock

NOW = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)
ISSUER = "https://issuer.test/realm"
SECONDS = int(NOW.timestamp())
CLAIMS = {"iss": ISSUER, "aud": "orchestrion", "sub": "ann", "exp": SECONDS + 600, "groups": ["devs"]}
ALGORITHMS = {"rsa": "RS256", "ec": "ES256", "okp": "Ed25519"}


@cache
def key(name: str) -> Key:
    match name.partition("-")[0]:
        case "rsa":
            return RSAKey.generate_key(2048)
        case "ec":
            return ECKey.generate_key("P-256")
    return OKPKey.generate_key("Ed25519")


def segment(data: Any) -> str:
    text = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def token(name: str = "ec", *, header: dict[str, Any] | None = None, **change: Any) -> str:
    """Return a token that a key has signed; a claim that is None is left out."""
    algorithm = ALGORITHMS[name.partition("-")[0]]
    head = {"alg": "EdDSA" if algorithm == "Ed25519" else algorithm, "kid": name, **(header or {})}
    claims = {name: value for name, value in {**CLAIMS, **change}.items() if value is not None}
    return signed(name, head, claims)


def signed(name: str, header: dict[str, Any], claims: Any) -> str:
    model = jws.JWSRegistry.algorithms[ALGORITHMS[name.partition("-")[0]]]
    text = f"{segment(header)}.{segment(claims)}"
    return f"{text}.{base64.urlsafe_b64encode(model.sign(text.encode(), key(name))).decode().rstrip('=')}"


@define
class Issuer:
    """Answers as an issuer does."""

    keys: list[Any] = field(factory=lambda: [public(name) for name in ("rsa", "ec", "okp")])
    about: dict[str, Any] = field(factory=lambda: {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys"})
    asked: list[str] = field(factory=list)
    fails: bool = False
    answers_after: float = 0.0

    async def fetch(self, url: str) -> bytes:
        self.asked.append(url)
        await trio.sleep(self.answers_after)
        if self.fails:
            raise NetworkFailure("no answer")
        documents = {
            f"{ISSUER}/.well-known/openid-configuration": self.about,
            f"{ISSUER}/keys": {"keys": self.keys},
        }
        return json.dumps(documents[url]).encode()


def public(name: str, **change: Any) -> dict[str, Any]:
    return {**key(name).as_dict(private=False), "kid": name, "use": "sig", **change}


def verifier(issuer: Issuer | None = None, now: datetime = NOW, **config: Any) -> OidcVerifier:
    made = OidcConfig(**{"issuer": ISSUER, "client_id": "orchestrion", **config})
    return OidcVerifier(made, (issuer or Issuer()).fetch, lambda: now)


async def reason(text: str, **settings: Any) -> Reason:
    with pytest.raises(NotProved) as caught:
        await verifier(**settings).verify(text)
    return caught.value.reason


def short_rsa() -> dict[str, Any]:
    numbers = rsa.generate_private_key(65537, 1024).public_key().public_numbers()
    return {"kty": "RSA", "n": segment(numbers.n.to_bytes(128, "big")), "e": "AQAB"}


@pytest.mark.parametrize("name", ["rsa", "ec", "okp"])
async def test_who_the_issuer_vouches_for_is_who_its_token_says(name: str) -> None:
    found = await verifier().verify(token(name))
    assert (found.name, found.kind, found.groups, found.via) == ("ann", PrincipalKind.USER, frozenset({"devs"}), "oidc")
    assert found.expires_at == NOW + timedelta(seconds=660)


async def test_claims_become_names_and_groups_as_was_configured() -> None:
    made = verifier(
        name_claim="email",
        name_prefix="corp:",
        groups_claim="roles",
        groups_prefix="corp:",
        required={"hd": "example.test"},
        kind=PrincipalKind.SERVICE,
    )
    text = token(email="ann@example.test", email_verified=True, roles="ops", hd="example.test")
    found = await made.verify(text)
    assert (found.subject, found.groups) == ("service:corp:ann@example.test", frozenset({"corp:ops"}))


async def test_a_token_without_groups_is_in_none() -> None:
    assert (await verifier().verify(token(groups=None))).groups == frozenset()
    assert (await verifier(groups_claim="").verify(token())).groups == frozenset()


async def test_nobody_gets_a_group_that_the_server_keeps() -> None:
    text = token(groups=["system:admins", "devs", ""])
    assert (await verifier().verify(text)).groups == frozenset({"devs"})
    assert (await verifier(groups_prefix="system:").verify(text)).groups == frozenset()


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "https://issuer.test/realm/"},
        {"iss": "https://issuer.test"},
        {"iss": None},
        {"iss": [ISSUER]},
        {"aud": "other"},
        {"aud": ["other"]},
        {"aud": None},
        {"aud": {"orchestrion": 1}},
        {"aud": ["orchestrion", 7]},
        {"azp": "other", "aud": ["orchestrion", "other"]},
        {"exp": None},
        {"exp": "2026-11-22"},
        {"exp": True},
        {"exp": float("inf")},
        {"exp": float("nan")},
        {"nbf": SECONDS + 61},
        {"iat": SECONDS + 61},
        {"nbf": "now"},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"sub": "a\nb"},
        {"sub": "a" * 257},
        {"sub": "system:admin"},
        {"groups": {"devs": 1}},
        {"groups": [1]},
        {"groups": ["g"] * 257},
        {"groups": ["g" * 257]},
    ],
    ids=str,
)
async def test_claims_that_are_not_right_are_refused(change: dict[str, Any]) -> None:
    assert await reason(token(**change)) == Reason.INVALID_TOKEN


@pytest.mark.parametrize(
    ("config", "change"),
    [
        ({"name_claim": "email"}, {"email": "ann@example.test", "email_verified": False}),
        ({"name_claim": "email"}, {"email": "ann@example.test", "email_verified": "true"}),
        ({"name_claim": "email"}, {}),
        ({"required": {"hd": "example.test"}}, {}),
        ({"required": {"hd": "example.test"}}, {"hd": "other.test"}),
    ],
)
async def test_what_the_configuration_asks_for_has_to_be_there(config: dict[str, Any], change: dict[str, Any]) -> None:
    assert await reason(token(**change), **config) == Reason.INVALID_TOKEN


@pytest.mark.parametrize(("late", "good"), [(659, True), (660, False)])
async def test_a_token_is_good_until_a_minute_after_its_end(late: int, *, good: bool) -> None:
    now = NOW + timedelta(seconds=late)
    if good:
        assert (await verifier(now=now).verify(token())).name == "ann"
    else:
        assert await reason(token(), now=now) == Reason.TOKEN_EXPIRED


async def test_a_token_is_good_from_a_minute_before_its_begin() -> None:
    assert (await verifier().verify(token(nbf=SECONDS + 60, iat=SECONDS + 60))).name == "ann"


async def test_a_token_for_several_is_good_if_it_was_issued_to_us() -> None:
    text = token(aud=["other", "orchestrion"], azp="orchestrion")
    assert (await verifier().verify(text)).name == "ann"


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "HS256", "RS512", "RS256 ", "", None, 1, ["ES256"]])
async def test_an_algorithm_that_is_not_allowed_is_refused(algorithm: Any) -> None:
    header = {"alg": algorithm, "kid": "ec"}
    text = f"{segment(header)}.{segment(CLAIMS)}"
    for signature in ("", "AAAA", token().rpartition(".")[2]):
        assert await reason(f"{text}.{signature}") == Reason.INVALID_TOKEN


@pytest.mark.parametrize("pem", [True, False], ids=["pem", "der"])
async def test_a_public_key_is_no_secret_to_sign_with(*, pem: bool) -> None:
    known = key("rsa")
    assert isinstance(known, RSAKey)
    secret = known.as_pem(private=False) if pem else known.as_der(private=False)
    for algorithm in ("HS256", "RS256"):
        text = f"{segment({'alg': algorithm, 'kid': 'rsa'})}.{segment(CLAIMS)}"
        digest = hmac.new(secret, text.encode(), hashlib.sha256).digest()
        expected = Reason.INVALID_TOKEN if algorithm == "HS256" else Reason.INVALID_SIGNATURE
        assert await reason(f"{text}.{segment(digest)}") == expected


async def test_a_key_signs_by_its_own_algorithm_alone() -> None:
    assert await reason(signed("ec", {"alg": "RS256", "kid": "ec"}, CLAIMS)) == Reason.UNKNOWN_KEY
    assert await reason(signed("ec", {"alg": "RS256", "kid": "rsa"}, CLAIMS)) == Reason.INVALID_SIGNATURE
    assert await reason(token(), algorithms=frozenset({"RS256"})) == Reason.INVALID_TOKEN


async def test_a_key_of_somebody_elses_under_a_known_name_is_refused() -> None:
    assert await reason(signed("ec-stranger", {"alg": "ES256", "kid": "ec"}, CLAIMS)) == Reason.INVALID_SIGNATURE


@pytest.mark.parametrize("kid", ["../../dev/null", "ec/../ec", "ec\0", "' or 1=1", "EC", "", "k" * 5000])
async def test_a_name_of_a_key_leads_nowhere_but_to_the_key(kid: str) -> None:
    assert await reason(token(header={"kid": kid})) == Reason.UNKNOWN_KEY


@pytest.mark.parametrize(
    "header",
    [
        {"jku": "https://evil.test/keys"},
        {"x5u": "https://evil.test/keys"},
        {"x5c": ["AAAA"]},
        {"jwk": {"kty": "oct", "k": "AAAA"}},
        {"crit": ["exp"]},
        {"b64": False},
        {"typ": "logout+jwt"},
        {"typ": 7},
        {"kid": ["ec"]},
        {"kid": 7},
    ],
    ids=str,
)
async def test_a_header_that_wants_something_else_is_refused(header: dict[str, Any]) -> None:
    issuer = Issuer()
    assert await reason(token(header=header), issuer=issuer) == Reason.INVALID_TOKEN
    assert all(url.startswith(ISSUER) for url in issuer.asked)


async def test_a_change_of_any_part_is_refused() -> None:
    text = token()
    header, claims, signature = text.split(".")
    forged = segment({**CLAIMS, "sub": "eve"})
    assert await reason(f"{header}.{forged}.{signature}") == Reason.INVALID_SIGNATURE
    assert await reason(f"{header}.{claims}.{signature[:-4]}") == Reason.INVALID_SIGNATURE
    for other in (f"{header}.{claims}", f"{header}.{claims}.", f"{text}.", f"{text}.{signature}.x", f".{text}"):
        assert await reason(other) == Reason.INVALID_TOKEN


@pytest.mark.slow
@settings(deadline=None)  # the first example pays for what the others find made
@given(st.text() | st.builds("{}.{}.{}".format, *(st.text("abcdeyJ_-=", max_size=9) for _ in range(3))))
def test_what_is_no_token_is_refused_and_nobody_is_asked(text: str) -> None:
    issuer = Issuer()
    assert trio.run(lambda: reason(text, issuer=issuer)) == Reason.INVALID_TOKEN
    assert issuer.asked == []


@pytest.mark.parametrize("claims", [[], "ann", 7, None, b"{", b"\xff"])
async def test_claims_that_are_no_object_are_refused(claims: Any) -> None:
    assert await reason(signed("ec", {"alg": "ES256", "kid": "ec"}, claims)) == Reason.INVALID_TOKEN


async def test_a_token_that_names_no_key_is_good_where_there_is_one_for_its_algorithm() -> None:
    text = signed("ec", {"alg": "ES256"}, CLAIMS)
    assert (await verifier().verify(text)).name == "ann"
    two = Issuer(keys=[public("ec"), public("ec-other")])
    assert await reason(text, issuer=two) == Reason.UNKNOWN_KEY


@pytest.mark.parametrize(
    "data",
    [
        public("ec", use="enc"),
        public("ec", alg="RS256"),
        public("ec", x="AAAA"),
        public("ec", kty="PQ"),
        public("ec", kty="oct"),
        public("ec", kid=7),
        {"kty": "RSA", "kid": "ec"},
        {},
        "ec",
        None,
        OctKey.import_key("secret" * 10).as_dict() | {"kid": "ec"},
        short_rsa() | {"kid": "ec"},
    ],
)
async def test_a_key_that_is_not_for_us_is_passed_over_and_the_others_are_good(data: Any) -> None:
    issuer = Issuer(keys=[data, public("rsa")])
    assert await reason(token("ec"), issuer=issuer) == Reason.UNKNOWN_KEY
    assert (await verifier(Issuer(keys=[data, public("rsa")])).verify(token("rsa"))).name == "ann"


async def test_keys_are_got_once_and_again_after_an_hour(autojump_clock: MockClock) -> None:
    issuer = Issuer()
    made = verifier(issuer)
    for _ in range(3):
        await made.verify(token())
    assert issuer.asked == [f"{ISSUER}/.well-known/openid-configuration", f"{ISSUER}/keys"]
    issuer.keys = [public("rsa")]
    await trio.sleep(3601)
    with pytest.raises(NotProved):
        await made.verify(token("ec"))
    assert len(issuer.asked) == 4


async def test_a_new_key_is_got_when_it_is_first_used_and_at_most_once_a_minute(autojump_clock: MockClock) -> None:
    issuer = Issuer(keys=[public("rsa")])
    made = verifier(issuer)
    await made.verify(token("rsa"))
    issuer.keys.append(public("ec"))
    for _ in range(20):
        with pytest.raises(NotProved):
            await made.verify(token("ec"))
    assert len(issuer.asked) == 2
    await trio.sleep(60)
    assert (await made.verify(token("ec"))).name == "ann"
    for number in range(20):
        with pytest.raises(NotProved):
            await made.verify(token("okp", header={"kid": f"{number}"}))
    assert len(issuer.asked) == 4


async def test_many_at_once_ask_the_issuer_once(autojump_clock: MockClock) -> None:
    issuer = Issuer(answers_after=4)
    made = verifier(issuer)
    names: list[str] = []

    async def verify() -> None:
        names.append((await made.verify(token())).name)

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(verify)
    assert (names, len(issuer.asked)) == (["ann"] * 20, 2)


async def test_an_issuer_that_is_away_stops_only_who_is_new_and_only_for_a_day(autojump_clock: MockClock) -> None:
    issuer = Issuer()
    made = verifier(issuer)
    await made.verify(token())
    issuer.fails = True
    await trio.sleep(7200)
    assert (await made.verify(token())).name == "ann"
    await trio.sleep(86_400)
    with pytest.raises(Unavailable, match="can't be got"):
        await made.verify(token())
    issuer.fails = False
    await trio.sleep(5)
    assert (await made.verify(token())).name == "ann"


async def test_an_issuer_that_does_not_answer_is_given_up(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    made = verifier(Issuer(answers_after=1000))
    with pytest.raises(Unavailable):
        await made.verify(token())
    assert trio.current_time() == pytest.approx(10)
    assert "took too long" in caplog.text


@pytest.mark.parametrize(
    "about",
    [
        {"issuer": "https://other.test", "jwks_uri": f"{ISSUER}/keys"},
        {"issuer": ISSUER, "jwks_uri": "http://issuer.test/keys"},
        {"issuer": ISSUER, "jwks_uri": "file:///etc/passwd"},
        {"issuer": ISSUER, "jwks_uri": 7},
        {"issuer": ISSUER},
        {},
    ],
    ids=str,
)
async def test_an_issuer_that_is_not_what_it_should_be_is_not_believed(
    about: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    issuer = Issuer(about=about)
    with pytest.raises(Unavailable):
        await verifier(issuer).verify(token())
    assert len(issuer.asked) == 1
    assert "getting the keys" in caplog.text


@pytest.mark.parametrize("answer", [b"", b"[]", b"{" * 100_000, b" " * 2_000_000, b"\xff"])
async def test_an_answer_that_is_no_document_is_not_believed(answer: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def fetch(url: str) -> bytes:
        return answer

    made = OidcVerifier(OidcConfig(issuer=ISSUER, client_id="orchestrion"), fetch, lambda: NOW)
    with pytest.raises(Unavailable):
        await made.verify(token())
    assert "getting the keys" in caplog.text


@pytest.mark.parametrize(
    "issuer",
    [
        "",
        "issuer.test",
        "http://issuer.test",
        "https://",
        "https://a@issuer.test",
        "https://a.test/?x",
        "https://[::",
        "https://a.test:65536",
    ],
)
def test_what_can_be_no_issuer_is_refused(issuer: str) -> None:
    with pytest.raises(ConfigInvalid):
        OidcConfig(issuer=issuer, client_id="x")


@pytest.mark.parametrize("issuer", ["https://issuer.test/a", "http://127.0.0.1:8080", "http://localhost/a"])
def test_an_issuer_is_on_https_or_on_this_machine(issuer: str) -> None:
    assert OidcConfig(issuer=issuer, client_id="x").issuer == issuer


@pytest.mark.parametrize("algorithms", [set(), {"none"}, {"HS256", "RS256"}, {"RS512"}])
def test_no_configuration_allows_other_algorithms(algorithms: set[str]) -> None:
    with pytest.raises(ConfigInvalid):
        OidcConfig(issuer=ISSUER, client_id="x", algorithms=frozenset(algorithms))
