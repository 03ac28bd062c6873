"""Certificates are issued, used, revoked and forgotten; a server may have one of somebody else's."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from jsonschema import Draft202012Validator
from orchestrion.control_plane import ServerPeer
from orchestrion.control_plane._app import make_app
from orchestrion.control_plane._http1.server import PEER_CERTIFICATE
from orchestrion.control_plane._identity.access import Rule
from orchestrion.control_plane._identity.authority import Authority
from orchestrion.control_plane._identity.certificates import PeerCertificates
from orchestrion.control_plane._identity.issued import KEY_PREFIX, IssuedCertificates
from orchestrion.control_plane._identity.keys import TrustedKeys
from orchestrion.control_plane._identity.policy import Policy
from orchestrion.control_plane._identity.principals import ADMINS, Principal
from orchestrion.control_plane._identity.roles import RoleBinding, Subject, SubjectKind
from orchestrion.control_plane._identity.tokens import Tokens
from orchestrion.control_plane._web.identity_paths import identity_handlers
from orchestrion.control_plane._web.keeper import Doorkeeper
from orchestrion.control_plane._web.own_tls import FILE_LOOK_SECONDS, GivenFiles, OwnTls
from orchestrion.control_plane._web.pipeline import Pipeline
from orchestrion.control_plane._web.schemas import common_schemas
from orchestrion.control_plane._web.secure_listener import SecureListener
from orchestrion.mocks import MemoryState, MemoryStore
from orchestrion.shared_types import ConfigInvalid, Unauthenticated
from orchestrion.store_interface import Put
from trio.testing import MockClock, wait_all_tasks_blocked

from .api_stage import Client
from .identity_sources import NOW, Clock, once_of
from .test_control_plane_identity import may

PATH = "/api/v1/certificates"
ADMIN, ANN = Principal("root", groups=[ADMINS]), Principal("ann")


@asynccontextmanager
async def certifying(
    who: Principal = ADMIN, policy: Policy | None = None, clock: Clock | None = None, store: MemoryStore | None = None
) -> AsyncIterator[tuple[Client, Doorkeeper]]:
    """Give a client that has a token of somebody's, at a server that speaks TLS."""
    clock = clock or Clock()
    store = store or MemoryStore(MemoryState())
    keeper = Doorkeeper(Tokens(store, now=clock), TrustedKeys(store, now=clock), policy=policy or Policy())
    keeper.issued = IssuedCertificates(store, Authority.make("cluster.test", now=clock)[0])
    keeper.certificates = PeerCertificates("cluster.test", clock, revoked=keeper.issued.is_revoked)
    async with trio.open_nursery() as nursery:
        await nursery.start(keeper.tokens.follow)
        await nursery.start(keeper.issued.follow)
        issued = await keeper.tokens.issue(who)
        pipeline = Pipeline(keeper)
        app = pipeline.around(make_app(identity_handlers(keeper, once=once_of(keeper)), guards=[pipeline.guard]))
        yield Client(app, issued.text.reveal()), keeper
        nursery.cancel_scope.cancel()


@contextmanager
def shown(certificate: str) -> Iterator[None]:
    """Have requests come over connections on which a certificate was shown."""
    der = x509.load_pem_x509_certificate(certificate.encode()).public_bytes(serialization.Encoding.DER)
    token = PEER_CERTIFICATE.set(der)
    try:
        yield
    finally:
        PEER_CERTIFICATE.reset(token)


async def who_shows(client: Client, certificate: str, **headers: str) -> Any:
    with shown(certificate):
        return await Client(client.app, "").ask("GET", "/api/v1/whoami", **headers)


def request_of(key: Any, *, spoilt: bool = False) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root")])
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    der = bytearray(made.public_bytes(serialization.Encoding.DER))
    if spoilt:
        der[-1] ^= 1
    return x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM).decode()


async def test_who_was_issued_a_certificate_is_known_by_it_until_it_is_revoked() -> None:
    async with certifying() as (client, keeper):
        made = (await client.ask("POST", PATH, {"name": "ann", "note": "laptop"})).json
        assert serialization.load_pem_private_key(made["key"].encode(), None)
        who = (await who_shows(client, made["certificate"])).json
        assert (who["kind"], who["name"], who["via"]) == ("user", "ann", f"mtls:{made['serial']}")
        assert who["expires_at"] == made["expires_at"] == (NOW + timedelta(hours=1)).isoformat()
        open_still = keeper.certificates.principal(  # type: ignore[union-attr] # it was given above
            x509.load_pem_x509_certificate(made["certificate"].encode()).public_bytes(serialization.Encoding.DER)
        )
        assert keeper.still(open_still) == open_still
        revoked = await client.ask("DELETE", f"{PATH}/{made['serial']}")
        assert (revoked.status, revoked.json["revoked"]) == (200, True)
        assert (await who_shows(client, made["certificate"])).status == 401
        with pytest.raises(Unauthenticated, match="revoked"):
            keeper.still(open_still)
        assert [(one["serial"], one["revoked"]) for one in (await client.ask("GET", PATH)).json["items"]] == [
            (made["serial"], True)
        ]
        assert (await client.ask("DELETE", f"{PATH}/77")).status == 404


async def test_who_has_a_key_asks_for_a_certificate_of_it_and_says_nothing_else() -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    async with certifying() as (client, _):
        made = (await client.ask("POST", PATH, {"name": "ann", "request": request_of(key)})).json
        certificate = x509.load_pem_x509_certificate(made["certificate"].encode())
        assert (made["key"], certificate.public_key()) == ("", key.public_key())
        assert (await who_shows(client, made["certificate"])).json["name"] == "ann"


@pytest.mark.parametrize(
    "request_text",
    [
        "nonsense",
        "\N{SNOWMAN}",
        request_of(ec.generate_private_key(ec.SECP256R1()), spoilt=True),
        request_of(rsa.generate_private_key(65537, 1024)),
        request_of(ec.generate_private_key(ec.SECP256K1())),
    ],
    ids=["nonsense", "no-ascii", "of-somebody-else", "weak", "curve"],
)
async def test_a_request_that_proves_no_good_key_is_refused(request_text: str) -> None:
    async with certifying() as (client, keeper):
        assert (await client.ask("POST", PATH, {"name": "ann", "request": request_text})).status == 400
        assert keeper.issued is not None
        assert keeper.issued.all() == ()


@pytest.mark.parametrize(
    ("grant", "status"),
    [
        ({}, 201),
        ({"name": "bob"}, 403),
        ({"kind": "node", "name": "n1"}, 403),
        ({"kind": "service"}, 403),
        ({"lifetime_seconds": 0}, 400),
        ({"lifetime_seconds": 40_000_000}, 400),
        ({"groups": ["system:admins"]}, 400),
    ],
)
async def test_nobody_gives_a_certificate_of_somebody_else_or_of_more(grant: dict[str, Any], status: int) -> None:
    async with certifying(ANN, may(Rule(["create"], ["certificates"]))) as (client, _):
        assert (await client.ask("POST", PATH, grant)).status == status


async def test_who_is_limited_gets_no_certificate_which_could_not_say_so() -> None:
    policy = may(Rule(["create"], ["certificates"]), Rule(["get"], ["workloads"]))
    limited = Principal("ann", scope=[Rule(["create"], ["certificates"])])
    async with certifying(limited, policy) as (client, _):
        assert (await client.ask("POST", PATH, {})).status in (400, 403)
    soon = Principal("ann", expires_at=NOW + timedelta(minutes=1))
    async with certifying(soon, policy) as (client, _):
        assert (await client.ask("POST", PATH, {})).status == 403
        assert (await client.ask("POST", PATH, {"lifetime_seconds": 60})).status == 201


@pytest.mark.parametrize(("method", "path"), [("GET", PATH), ("POST", PATH), ("DELETE", f"{PATH}/1")])
async def test_certificates_are_under_a_right_of_their_own(method: str, path: str) -> None:
    everything_else = may(Rule(["*"], ["tokens", "keys"]))
    async with certifying(ANN, everything_else) as (client, _):
        assert (await client.ask(method, path, {} if method == "POST" else None)).status == 403


async def test_a_page_of_another_site_can_not_use_the_certificate_of_a_browser() -> None:
    async with certifying() as (client, _):
        made = (await client.ask("POST", PATH, {"name": "ann"})).json
        assert (await who_shows(client, made["certificate"], sec_fetch_site="cross-site")).status == 401
        assert (await who_shows(client, made["certificate"], sec_fetch_site="same-origin")).status == 200


async def test_records_outlive_the_server_and_are_forgotten_after_the_certificates_end() -> None:
    clock, store = Clock(), MemoryStore(MemoryState())
    async with certifying(clock=clock, store=store) as (client, _):
        first = (await client.ask("POST", PATH, {"name": "ann"})).json
        await client.ask("DELETE", f"{PATH}/{first['serial']}")
        assert "PRIVATE" not in str((await store.list(KEY_PREFIX)).entries)
    async with certifying(clock=clock, store=store) as (client, keeper):
        assert keeper.issued is not None
        assert keeper.issued.is_revoked(int(first["serial"], 16))
        clock.now += timedelta(hours=2)
        second = (await client.ask("POST", PATH, {"name": "ann"})).json
        assert [one.serial for one in keeper.issued.all()] == [second["serial"]]


async def test_a_damaged_record_is_left_out() -> None:
    store = MemoryStore(MemoryState())
    await store.transaction([], [Put(f"{KEY_PREFIX}7", b"{}"), Put(f"{KEY_PREFIX}x", b"[")])
    async with certifying(store=store) as (client, _):
        assert (await client.ask("GET", PATH)).json == {"items": []}


async def test_what_is_answered_of_certificates_is_as_it_is_described() -> None:
    schemas = common_schemas()
    async with certifying() as (client, _):
        for name, method in (("CertificateMade", "POST"), ("Certificates", "GET")):
            answer = await client.ask(method, PATH, {} if method == "POST" else None)
            Draft202012Validator({**schemas[name], "components": {"schemas": schemas}}).validate(answer.json)


async def test_a_server_without_tls_says_that_it_issues_none() -> None:
    async with certifying() as (client, keeper):
        keeper.issued = None
        refused = await client.ask("POST", PATH, {})
        assert (refused.status, "--tls" in refused.json["remedy"]) == (404, True)


async def test_what_is_built_in_is_told_to_everybody_who_is_known() -> None:
    async with certifying(ANN) as (client, _):
        items = (await client.ask("GET", "/api/v1/built-in")).json["items"]
        assert (await Client(client.app, "").ask("GET", "/api/v1/built-in")).status == 401
    named = {(one["kind"], one["metadata"]["name"]) for one in items if one["built_in"]}
    assert {("Role", "viewer"), ("RoleBinding", "system:admins"), ("PriorityClass", "batch")} <= named
    assert len(named) == 6 + 3 + 6


@pytest.mark.parametrize(("group", "status"), [("admins", 400), ("devs", 201), ("system:admins", 201)])
async def test_a_group_that_is_nearly_the_servers_own_is_asked_after(group: str, status: int) -> None:
    async with certifying() as (client, keeper):
        answer = await client.ask("POST", "/api/v1/tokens", {"name": "ci", "groups": [group]})
        assert answer.status == status
        if status == 400:
            assert "system:admins" in json.dumps(answer.json)
            bound = RoleBinding("theirs", "viewer", (Subject(SubjectKind.GROUP, group),))
            keeper.policy = Policy((), [bound])
            assert (await client.ask("POST", "/api/v1/tokens", {"name": "ci", "groups": [group]})).status == 201


async def test_a_service_can_have_no_certificate() -> None:
    async with certifying() as (client, _):
        assert (await client.ask("POST", PATH, {"name": "ci", "kind": "service"})).status == 400


async def test_a_client_shows_its_certificate_to_a_server_whose_own_is_of_somebody_else(tmp_path: Path) -> None:
    elsewhere = Authority.make("elsewhere.test")[0]
    tls = opened(tmp_path, written(tmp_path, elsewhere, "127.0.0.1"))
    mine = tls.authority.issue_client(ANN)
    seen = list[str]()

    async def look(stream: trio.SSLStream[Any]) -> None:
        await stream.do_handshake()
        der = stream.getpeercert(binary_form=True)
        seen.append(PeerCertificates("cluster.test").principal(der).subject)
        await stream.send_all(b"!")

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    url = f"https://127.0.0.1:{listener.socket.getsockname()[1]}"
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(trio.serve_listeners, look, [SecureListener(listener, tls.current)]))
        peer = ServerPeer(url=url, authority=elsewhere.certificate, certificate=mine.certificate + mine.key)
        async with await peer.connect() as stream:
            assert await stream.receive_some(1) == b"!"
        with pytest.raises(ConfigInvalid, match="certificate"):
            await ServerPeer(url=url, authority=elsewhere.certificate, certificate=mine.certificate).connect()
        nursery.cancel_scope.cancel()
    assert seen == ["user:ann"]


def written(folder: Path, authority: Authority, host: str) -> GivenFiles:
    """Write a certificate and its key, as somebody else keeps them."""
    made = authority.issue_server([host])
    files = GivenFiles(folder / "tls.crt", folder / "tls.key")
    files.certificate.write_bytes(made.certificate)
    files.key.write_bytes(made.key)
    files.key.chmod(0o600)
    return files


def opened(folder: Path, given: GivenFiles) -> OwnTls:
    state = folder / "state"
    state.mkdir(exist_ok=True)
    return OwnTls.open(state, "cluster.test", lambda: ("localhost",), given=given)


def test_a_given_certificate_is_read_again_when_it_is_another(tmp_path: Path) -> None:
    elsewhere = Authority.make("elsewhere.test")[0]
    tls = opened(tmp_path, written(tmp_path, elsewhere, "a.test"))
    first, context = tls.credentials, tls.current()
    tls.renew()
    assert (tls.current(), tls.told) == (context, b"")
    written(tmp_path, elsewhere, "b.test")
    tls.renew()
    assert tls.credentials != first
    assert tls.current() is not context


def test_half_of_a_new_certificate_changes_nothing_and_is_told_once(tmp_path: Path) -> None:
    elsewhere = Authority.make("elsewhere.test")[0]
    given = written(tmp_path, elsewhere, "a.test")
    tls = opened(tmp_path, given)
    context = tls.current()
    given.certificate.write_bytes(elsewhere.issue_server(["b.test"]).certificate)
    with pytest.raises(ConfigInvalid, match=r"tls\.key"):
        tls.renew()
    tls.renew()
    assert tls.current() is context


@pytest.mark.parametrize("wrong", ["missing", "open", "password", "nothing"])
def test_a_given_certificate_that_can_not_be_used_is_told_at_the_start(wrong: str, tmp_path: Path) -> None:
    given = written(tmp_path, Authority.make("elsewhere.test")[0], "a.test")
    match wrong:
        case "missing":
            given.key.unlink()
        case "open":
            given.key.chmod(0o644)
        case "nothing":
            given.certificate.write_text("nothing")
        case "password":
            key = serialization.load_pem_private_key(given.key.read_bytes(), None)
            text = key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(b"word"),
            )
            given.key.write_bytes(text)
    with pytest.raises(ConfigInvalid, match=str(tmp_path)):
        opened(tmp_path, given)


async def test_given_files_are_looked_at_every_few_seconds(tmp_path: Path, mock_clock: MockClock) -> None:
    elsewhere = Authority.make("elsewhere.test")[0]
    tls = opened(tmp_path, written(tmp_path, elsewhere, "a.test"))
    context = tls.current()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tls.keep)
        written(tmp_path, elsewhere, "b.test")
        await wait_all_tasks_blocked()
        mock_clock.jump(FILE_LOOK_SECONDS)
        for _ in range(100_000):  # they are read in a thread
            await trio.to_thread.run_sync(lambda: None)
            if tls.current() is not context:
                break
        nursery.cancel_scope.cancel()
    assert tls.current() is not context
