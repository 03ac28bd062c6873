"""Certificates and keys by the command; what is built in; what is said of a server's certificate."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from orchestrion.cli import _contexts, run
from orchestrion.cli._contexts import Context, Contexts
from orchestrion.cli._places import RemoteServer, place_of
from orchestrion.cli._proofs import public_key_of
from orchestrion.cli._where import Where
from orchestrion.control_plane import ServerPeer
from orchestrion.control_plane._identity.authority import Authority
from orchestrion.control_plane._identity.principals import Principal
from orchestrion.shared_types import ConfigInvalid, Unauthenticated

from .served_directory import Do

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key()
RAW = base64.b64encode(PUBLIC.public_bytes_raw()).decode()
PEM = PUBLIC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
PRIVATE = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    "text",
    [PEM, PUBLIC.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) + b" ann@laptop\n", f"{RAW}\n".encode()],
    ids=["pem", "ssh", "base64"],
)
def test_a_public_key_is_read_in_each_of_its_forms(text: bytes) -> None:
    assert public_key_of(text, "me.pub") == RAW


@pytest.mark.parametrize(
    "text", [b"", b"ssh-ed25519", b"ssh-rsa AAAA", PEM[:60], b"\xff", base64.b64encode(bytes(44)), RAW.encode() + b"="]
)
def test_what_is_no_public_key_is_told(text: bytes) -> None:
    with pytest.raises(ConfigInvalid, match=r"me\.pub"):
        public_key_of(text, "me.pub")


def test_a_private_key_is_not_sent() -> None:
    with pytest.raises(ConfigInvalid, match="nobody's business") as caught:
        public_key_of(PRIVATE, "me.key")
    assert "openssl pkey -in me.key -pubout" in caught.value.remedy


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder for settings, and an environment that names nothing."""
    for name in ("STATE", "URL", "TOKEN", "CONTEXT", "AUTHORITY"):
        monkeypatch.delenv(f"ORCHESTRION_{name}", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def certificate(path: Path, *, ago: timedelta = timedelta(0)) -> bytes:
    authority = Authority.make("cluster.test", now=lambda: datetime.now(UTC) - ago)[0]
    made = authority.issue_client(Principal("ann"))
    path.write_bytes(made.certificate + made.key)
    path.chmod(0o600)
    return path.read_bytes()


def peer() -> ServerPeer:
    place = place_of(Where(context="prod"))
    assert isinstance(place, RemoteServer)
    assert isinstance(place.peer, ServerPeer)
    return place.peer


def test_a_context_shows_its_certificate_until_that_ends(settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = settings / "ann.pem"
    data = certificate(path)
    _contexts.save(Contexts().with_one(Context(name="prod", url="https://h:1", certificate_file=str(path))))
    assert peer().certificate == data
    monkeypatch.setenv("ORCHESTRION_TOKEN", "orc_x")
    assert (peer().certificate, peer().credentials("GET", "/", "", b"", {})) == (b"", {"authorization": "Bearer orc_x"})
    monkeypatch.delenv("ORCHESTRION_TOKEN")
    certificate(path, ago=timedelta(hours=2))
    with pytest.raises(Unauthenticated, match="was good until"):
        peer()
    path.write_text("nothing")
    with pytest.raises(ConfigInvalid, match="no certificate"):
        peer()


@pytest.mark.slow  # each is a command of its own, with the imports of its parser
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["server", "--tls-cert", "a.crt"], "come together"),
        (["server", "--tls-key", "a.key"], "come together"),
        (["server", "--no-tls", "--tls-cert", "a.crt", "--tls-key", "a.key"], "no use"),
        (["login", "http://127.0.0.1:1", "--certificate", "a.pem"], "https://"),
        (["login", "https://h:1", "--certificate", "a.pem", "--oidc"], "only one of"),
        (["certificate", "create", "--file", "settings"], "is there already"),
    ],
)
def test_what_contradicts_itself_is_told(
    arguments: list[str], says: str, settings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (settings / "settings").write_text("dear diary")
    assert run(arguments) == 2
    assert says in capsys.readouterr().err
    assert (settings / "settings").read_text() == "dear diary"


@pytest.fixture
def do(do: Do, settings: Path, owned: Path, monkeypatch: pytest.MonkeyPatch) -> Do:
    """Runs a command on `owned`, with a user's folder for settings."""
    monkeypatch.setenv("ORCHESTRION_STATE", str(owned))
    return do


def test_secrets_get_another_key(do: Do, owned: Path) -> None:
    seen = list[str]()
    for _ in range(2):
        code, out, told = do("key", "rotate-sealing", "-o", "name")
        assert (code, "seals from now on" in told) == (0, True)
        assert out.strip() == json.loads((owned / "server-api" / "secrets.key").read_text())["current"]
        seen.append(out.strip())
    assert seen[0] != seen[1]


@pytest.mark.slow
def test_a_key_is_trusted_shown_and_forgotten(do: Do, settings: Path) -> None:
    (settings / "ann.pub").write_bytes(PEM)
    (settings / "ann.key").write_bytes(PRIVATE)
    assert do("key", "add", "ann.key", "ann")[0] == 2
    assert do("key", "add", "nothing.pub", "ann")[0] == 2
    code, out, _ = do("key", "add", "ann.pub", "ann", "--note", "laptop", "-o", "name")
    fingerprint = out.strip()
    assert (code, len(fingerprint)) == (0, 32)
    titles, row = do("key", "ls")[1].splitlines()
    assert titles.split()[:2] == ["FINGERPRINT", "WHOSE"]
    assert row.split()[:2] == [fingerprint, "user:ann"]
    assert row.endswith("for ever  laptop")
    assert "no longer" in do("key", "rm", fingerprint)[2]
    assert do("key", "rm", fingerprint)[0] == 3
    assert do("key", "ls", "-o", "name")[1] == ""


@pytest.mark.slow
def test_an_owner_that_speaks_no_tls_says_that_it_issues_no_certificate(do: Do, settings: Path) -> None:
    code, _, err = do("certificate", "create", "ann")
    assert (code, "--tls" in err) == (3, True)
    assert not (settings / "ann.pem").exists()
    assert do("certificate", "ls")[0] == do("certificate", "revoke", "7")[0] == 3


@pytest.mark.slow
def test_what_is_built_in_is_shown_as_such(do: Do) -> None:
    titles, *rows = do("get", "roles")[1].splitlines()
    assert "BUILT IN" in titles
    assert [row.split()[0] for row in rows] == ["viewer", "editor", "operator", "admin", "node", "workload"]
    assert all(row.split()[2] == "yes" for row in rows)
    assert "production-medium" in do("get", "pc")[1]
    assert "group:system:admins" in do("get", "rolebindings")[1]
    assert do("get", "roles", "-l", "a=b", "-o", "name")[1] == ""
    shown = json.loads(do("get", "role", "viewer", "-o", "json")[1])
    assert (shown["metadata"]["name"], shown["built_in"]) == ("viewer", True)
    assert "Role viewer" in do("describe", "role", "viewer")[1]
    assert do("get", "role", "nobody")[0] == 3


@pytest.mark.slow
def test_a_group_that_was_meant_to_be_the_administrators_is_asked_after(do: Do) -> None:
    code, out, err = do("token", "create", "ci", "--group", "admins")
    assert (code, out, "system:admins" in err) == (2, "", True)
