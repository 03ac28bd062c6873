"""Certificates: whom they are for, and the authority that issues them."""

from __future__ import annotations

import ssl
import stat
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.control_plane._identity.authority import Authority, Credentials, fingerprint_of, fingerprint_of_der
from orchestrion.control_plane._identity.certificates import PeerCertificates, principal_of_id, spiffe_id
from orchestrion.control_plane._identity.failures import NotProved, Reason
from orchestrion.control_plane._identity.principals import ANONYMOUS, Principal, PrincipalKind
from orchestrion.control_plane._identity.tls import client_context, server_context
from orchestrion.shared_types import ConfigInvalid, StateFailure

NOW = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)
DOMAIN = "example.test"
NODE = Principal("n1", PrincipalKind.NODE)


@cache
def authority() -> Authority:
    return Authority.make(DOMAIN, now=lambda: NOW)[0]


def peers(now: datetime = NOW, domain: str = DOMAIN) -> PeerCertificates:
    return PeerCertificates(domain, lambda: now)


def der(credentials: Credentials) -> bytes:
    return x509.load_pem_x509_certificate(credentials.certificate).public_bytes(serialization.Encoding.DER)


def hand_made(*names: str, ca: bool = False) -> bytes:
    """Return a certificate with these URIs, in DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW - timedelta(hours=1))
        .not_valid_after(NOW + timedelta(hours=1))
    )
    if names:
        uris = [x509.UniformResourceIdentifier(uri) for uri in names]
        builder = builder.add_extension(x509.SubjectAlternativeName(uris), critical=False)
    if ca:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize(
    ("principal", "uri"),
    [
        (NODE, "spiffe://example.test/node/n1"),
        (Principal("ann.b_c-1"), "spiffe://example.test/user/ann.b_c-1"),
        (Principal("default/web", PrincipalKind.WORKLOAD), "spiffe://example.test/ns/default/workload/web"),
    ],
)
def test_a_certificate_is_for_whom_it_was_issued(principal: Principal, uri: str) -> None:
    issued = authority().issue_client(principal)
    found = peers().principal(der(issued))
    assert spiffe_id(DOMAIN, principal) == uri
    assert (found.name, found.kind, found.via) == (principal.name, principal.kind, f"mtls:{issued.serial:x}")
    assert found.expires_at == issued.ends == NOW + timedelta(hours=1)


def test_a_certificate_is_good_until_its_end_and_not_before_its_begin() -> None:
    data = der(authority().issue_client(NODE))
    end = NOW + timedelta(hours=1)
    assert peers(end - timedelta(seconds=1)).principal(data).name == "n1"
    with pytest.raises(NotProved) as late:
        peers(end).principal(data)
    with pytest.raises(NotProved) as early:
        peers(NOW - timedelta(minutes=2)).principal(data)
    assert (late.value.reason, early.value.reason) == (Reason.CERTIFICATE_EXPIRED, Reason.INVALID_CERTIFICATE)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ((), "no SPIFFE id"),
        (("spiffe://example.test/node/n1", "spiffe://example.test/node/n2"), "several"),
        (("spiffe://example.test/node/n1", "https://example.test/"), "several"),
        (("spiffe://other.test/node/n1",), "trust domain"),
        (("spiffe://example.test.evil/node/n1",), "trust domain"),
        (("spiffe://EXAMPLE.test/node/n1",), "trust domain"),
        (("https://example.test/node/n1",), "trust domain"),
        (("spiffe://example.test/node/",), "names no"),
        (("spiffe://example.test/node/..",), "names no"),
        (("spiffe://example.test/node/n1/x",), "names no"),
        (("spiffe://example.test/node/n1?x=1",), "names no"),
        (("spiffe://example.test/node/n%31",), "names no"),
        (("spiffe://example.test/ns/default/workload/Web",), "names no"),
        (("spiffe://example.test/server",), "names no"),
        ((f"spiffe://example.test/node/{'n' * 3000}",), "names no"),
    ],
)
def test_a_certificate_that_names_nobody_for_sure_is_refused(names: tuple[str, ...], says: str) -> None:
    with pytest.raises(NotProved, match=says) as caught:
        peers().principal(hand_made(*names))
    assert caught.value.reason == Reason.INVALID_CERTIFICATE


def test_the_certificate_of_an_authority_is_nobodys() -> None:
    with pytest.raises(NotProved, match="an authority's"):
        peers().principal(hand_made("spiffe://example.test/node/n1", ca=True))


def test_a_servers_certificate_is_nobodys() -> None:
    with pytest.raises(NotProved, match="names no"):
        peers().principal(der(authority().issue_server(["localhost"])))


def test_a_revoked_certificate_is_refused() -> None:
    revoked = PeerCertificates(DOMAIN, lambda: NOW, revoked=lambda serial: serial == 7)
    with pytest.raises(NotProved, match="revoked"):
        revoked.principal(hand_made("spiffe://example.test/node/n1"))


@given(st.binary())
def test_what_is_no_certificate_is_refused(data: bytes) -> None:
    with pytest.raises(NotProved, match="can't be read"):
        peers().principal(data)


def test_a_damaged_certificate_is_refused_or_names_who_it_named() -> None:
    data = der(authority().issue_client(NODE))
    for place in range(0, len(data), 3):
        changed = data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :]
        try:
            found = peers().principal(changed)
        except NotProved:
            continue
        assert found.kind == PrincipalKind.NODE


@given(st.builds(Principal, st.text("abc.-_/", max_size=6), st.sampled_from(PrincipalKind)))
def test_ids_and_names_are_one_to_one(principal: Principal) -> None:
    try:
        uri = spiffe_id(DOMAIN, principal)
    except ConfigInvalid:
        return
    assert principal_of_id(uri, DOMAIN) == principal.via_channel("mtls")
    assert principal_of_id(uri, "other.test") is None


@pytest.mark.parametrize(
    "principal", [ANONYMOUS, Principal("a/b"), Principal(".."), Principal("ci", PrincipalKind.SERVICE)]
)
def test_who_has_no_id_gets_no_certificate(principal: Principal) -> None:
    with pytest.raises(ConfigInvalid):
        authority().issue_client(principal)


def test_who_is_limited_gets_no_certificate_since_it_could_not_say_so() -> None:
    with pytest.raises(ConfigInvalid, match="can't limit"):
        authority().issue_client(Principal("ann", scope=()))
    with pytest.raises(ConfigInvalid, match="can't limit"):
        authority().issue_client(Principal("ann", namespaces=frozenset({"prod"})))


@pytest.mark.parametrize("domain", ["", "Example", "a/b", "a b", "a" * 256, "a:1"])
def test_what_can_be_no_trust_domain_is_refused(domain: str) -> None:
    with pytest.raises(ConfigInvalid):
        Authority.make(domain)
    with pytest.raises(ConfigInvalid):
        PeerCertificates(domain)


def test_a_certificate_is_renewed_after_two_thirds_of_its_life() -> None:
    issued = authority().issue_client(NODE)
    assert issued.rotate_at == NOW + timedelta(minutes=40)
    assert not issued.is_due(NOW + timedelta(minutes=39))
    assert issued.is_due(NOW + timedelta(minutes=40))


def test_no_certificate_outlives_the_authority() -> None:
    own = x509.load_pem_x509_certificate(authority().certificate)
    assert authority().issue_server(["h"], lifetime=timedelta(days=9999)).ends == own.not_valid_after_utc


def test_a_lifetime_has_to_be_above_nothing() -> None:
    with pytest.raises(ConfigInvalid, match="above 0"):
        authority().issue_client(NODE, lifetime=timedelta(0))


@pytest.mark.parametrize("hosts", [[], [""], ["."], ["a" * 64], ["a..b"]])
def test_a_server_needs_names_that_hosts_can_have(hosts: list[str]) -> None:
    with pytest.raises(ConfigInvalid):
        authority().issue_server(hosts)


def test_a_servers_certificate_has_names_and_addresses() -> None:
    certificate = x509.load_pem_x509_certificate(
        authority().issue_server(["localhost", "::1", "127.0.0.1"]).certificate
    )
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["::1", "127.0.0.1"]


def test_the_authority_is_made_once_in_a_file_of_the_servers_own(tmp_path: Path) -> None:
    made = Authority.open(tmp_path, DOMAIN)
    assert Authority.open(tmp_path, DOMAIN).certificate == made.certificate
    assert [one.name for one in tmp_path.iterdir()] == ["authority.pem"]
    assert stat.S_IMODE((tmp_path / "authority.pem").stat().st_mode) == 0o600
    own = x509.load_pem_x509_certificate(made.certificate).public_bytes(serialization.Encoding.DER)
    assert made.fingerprint == fingerprint_of_der(own) == fingerprint_of(made.certificate)


def test_the_authority_of_another_domain_is_not_used(tmp_path: Path) -> None:
    Authority.open(tmp_path, DOMAIN)
    with pytest.raises(StateFailure, match=r"not of spiffe://other\.test"):
        Authority.open(tmp_path, "other.test")


def test_an_authority_that_has_expired_is_not_used(tmp_path: Path) -> None:
    Authority.open(tmp_path, DOMAIN, now=lambda: NOW)
    with pytest.raises(StateFailure, match="was good until"):
        Authority.open(tmp_path, DOMAIN, now=lambda: NOW + timedelta(days=3650))


def test_a_damaged_authority_is_not_used_and_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "authority.pem"
    other = tmp_path / "other"
    other.mkdir()
    Authority.open(other, DOMAIN)
    Authority.open(tmp_path, DOMAIN)
    good = path.read_text()
    key, _, certificate = good.partition("-----BEGIN CERTIFICATE")
    stranger = (other / "authority.pem").read_text().partition("-----BEGIN CERTIFICATE")[0]
    for text in (
        "",
        key,
        f"-----BEGIN CERTIFICATE{certificate}",
        good[:100],
        f"{stranger}-----BEGIN CERTIFICATE{certificate}",
    ):
        path.write_text(text)
        with pytest.raises(StateFailure, match="damaged") as caught:
            Authority.open(tmp_path, DOMAIN)
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
        assert path.read_text() == text


def test_keys_are_not_shown() -> None:
    issued = authority().issue_client(NODE)
    assert "PRIVATE" not in repr(issued) + repr(authority())


async def handshake(server: ssl.SSLContext, client: ssl.SSLContext, host: str = "localhost") -> bytes | None:
    """Return the certificate that the server sees, in DER."""
    left, right = trio.testing.memory_stream_pair()
    accepted = trio.SSLStream(left, server, server_side=True)
    connected = trio.SSLStream(right, client, server_hostname=host)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(accepted.do_handshake)
        await connected.send_all(b"x")
        await accepted.receive_some(1)
    seen = accepted.getpeercert(binary_form=True)
    assert seen is None or isinstance(seen, bytes)
    return seen


async def test_both_sides_of_a_connection_prove_who_they_are() -> None:
    live = Authority.make(DOMAIN)[0]  # TLS looks at the real clock
    server = server_context(live.issue_server(["localhost"]), client_authority=live.certificate)
    seen = await handshake(server, client_context(live.certificate, credentials=live.issue_client(NODE)))
    assert seen is not None
    assert PeerCertificates(DOMAIN).principal(seen).subject == "node:n1"
    assert await handshake(server, client_context(live.certificate)) is None


@pytest.mark.parametrize("wrong", ["client", "server", "host", "usage", "expired"])
async def test_who_can_not_prove_it_does_not_get_a_connection(wrong: str) -> None:
    live, stranger = Authority.make(DOMAIN)[0], Authority.make(DOMAIN)[0]
    past = Authority(DOMAIN, live.certificate, live._key, lambda: datetime.now(UTC) - timedelta(hours=2))
    credentials = {
        "client": stranger.issue_client(NODE),
        "usage": live.issue_server(["localhost"]),
        "expired": past.issue_client(NODE),
    }.get(wrong, live.issue_client(NODE))
    server = server_context(live.issue_server(["localhost"]), client_authority=live.certificate)
    client = client_context((stranger if wrong == "server" else live).certificate, credentials=credentials)
    with pytest.RaisesGroup(trio.BrokenResourceError, flatten_subgroups=True, allow_unwrapped=True):
        await handshake(server, client, "elsewhere" if wrong == "host" else "localhost")
