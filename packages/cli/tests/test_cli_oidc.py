"""Logging in at an issuer of tokens: a real one, a real server, and the commands of somebody who has no token."""

from __future__ import annotations

import base64
import json
import re
import signal
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from joserfc import jws
from joserfc.jwk import ECKey
from orchestrion.cli import _contexts, _oidc
from orchestrion.cli._contexts import Context
from orchestrion.control_plane.oidc import OidcLogin
from orchestrion.shared_types import ConfigInvalid, NetworkFailure, StateFailure

from .running_command import begin


def segment(data: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(data).encode()).decode().rstrip("=")


class Issuer(ThreadingHTTPServer):
    """Vouches for ann, once somebody has asked twice; each of its tokens lasts as long as it is told."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.key = ECKey.generate_key("P-256")
        self.seconds = 3600
        self.asked: list[dict[str, list[str]]] = []

    def token(self) -> str:
        claims = {"iss": self.url, "aud": "orchestrion", "email": "ann@corp.test", "exp": time.time() + self.seconds}
        text = f"{segment({'alg': 'ES256', 'kid': 'k'})}.{segment({**claims, 'roles': ['devs']})}"
        signature = jws.JWSRegistry.algorithms["ES256"].sign(text.encode(), self.key)
        return f"{text}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"

    def documents(self, path: str) -> Any:
        if path == "/keys":
            return {"keys": [{**self.key.as_dict(private=False), "kid": "k"}]}
        ends = {"jwks_uri": "keys", "token_endpoint": "token", "device_authorization_endpoint": "device"}
        return {"issuer": self.url, **{name: f"{self.url}/{end}" for name, end in ends.items()}}

    def posted(self, path: str, fields: dict[str, list[str]]) -> tuple[int, Any]:
        if path == "/device":
            uri = f"{self.url}/enter"
            return 200, {
                "device_code": "d",
                "user_code": "WDJB-MJHT",
                "verification_uri": uri,
                "interval": 0.01,
                "expires_in": 60,
            }
        self.asked.append(fields)
        if len(self.asked) == 1:
            return 400, {"error": "authorization_pending"}
        return 200, {"id_token": self.token(), "refresh_token": f"r{len(self.asked)}"}


class Answers(BaseHTTPRequestHandler):
    server: Issuer

    def do_GET(self) -> None:  # the base class calls it that
        self._answer(200, self.server.documents(self.path))

    def do_POST(self) -> None:  # the base class calls it that
        fields = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        self._answer(*self.server.posted(self.path, fields))

    def _answer(self, status: int, document: Any) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """An issuer at work."""
    made = Issuer()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.mark.slow
def test_somebody_logs_in_with_a_browser_and_stays_so_after_the_tokens_end(shell: Any, issuer: Issuer) -> None:
    config = shell.write("issuer.toml", f'issuer = "{issuer.url}"\nname_claim = "email"\ngroups_claim = "roles"\n')
    server = shell.begin("server", "--port", "0", "--oidc-config", str(config), "--oidc-client-id", "orchestrion")
    found = re.search(r"serving at (\S+)", server.wait_for("serving at"))
    assert found is not None
    admin = {**shell.environment}
    shell.environment = {**admin, "XDG_CONFIG_HOME": str(shell.folder / "settings")}
    del shell.environment["ORCHESTRION_STATE"]
    issuer.seconds = 30  # so that the next command has it renewed
    done = shell.run("login", found[1], "--name", "prod", "--oidc")
    assert done.returncode == 0, done.stderr
    assert f"open {issuer.url}/enter in a browser, and enter WDJB-MJHT" in done.stderr
    assert "user oidc:ann@corp.test" in done.stderr
    assert "oidc" in shell.run("context", "ls").stdout
    issuer.seconds = 3600
    assert shell.run("whoami", "-o", "name").stdout == "user:oidc:ann@corp.test\n"
    assert issuer.asked[-1]["refresh_token"] == [f"r{len(issuer.asked) - 1}"]
    before = len(issuer.asked)
    assert shell.run("get", "workloads").returncode == 5
    binding = shell.write(
        "binding.yaml",
        """
        kind: RoleBinding
        metadata: {name: devs}
        spec: {role: viewer, subjects: [{kind: group, name: "oidc:devs"}]}
        """,
    )
    assert shell.run("create", "-f", str(binding)).returncode == 5
    mine, shell.environment = shell.environment, admin
    made = shell.run("create", "-f", str(binding))
    assert made.returncode == 0, made.stderr
    shell.environment = mine
    assert shell.run("get", "workloads").returncode == 0
    assert len(issuer.asked) == before
    (token,) = [json.loads(path.read_text())["id_token"] for path in shell.folder.glob("settings/**/prod.oidc")]
    (shell.folder / "ann.token").write_text(token)
    (shell.folder / "ann.token").chmod(0o600)
    assert shell.run("login", found[1], "--name", "again", "--token-file", "ann.token").returncode == 0
    assert shell.run("whoami", "-C", "again", "-o", "name").stdout == "user:oidc:ann@corp.test\n"
    assert shell.run("context", "rm", "prod").returncode == 0
    assert not list(shell.folder.glob("settings/**/prod.oidc*"))
    shell.environment = admin
    server.send(signal.SIGINT)
    assert server.end() == 0


@pytest.mark.slow
def test_a_server_that_is_told_nonsense_of_an_issuer_does_not_begin(tmp_path: Path, shell: Any) -> None:
    for options in (
        ("--oidc-issuer", "http://issuer.test", "--oidc-client-id", "o"),
        ("--oidc-issuer", "https://issuer.test"),
        ("--oidc-config", str(tmp_path / "missing.toml")),
    ):
        server = begin("server", "--port", "0", *options, folder=shell.folder, environment=shell.environment)
        assert server.end() == 2


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder for settings."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path / "orchestrion"


def login(ends: float, **change: str) -> OidcLogin:
    given = {"token_endpoint": "http://127.0.0.1:1/token", "id_token": f"h.{segment({'exp': ends})}.s", **change}
    return OidcLogin(issuer="https://i.test", client_id="o", refresh_token="r", **given)


def shown(name: str, path: Path) -> str:
    peer = Context(name=name, url="http://127.0.0.1:7070", oidc_file=str(path)).peer()
    return peer.credentials("GET", "/", "", b"", {})["authorization"]


def test_a_token_is_shown_as_long_as_it_is_good(settings: Path) -> None:
    made = login(time.time() + 3600)
    path = _oidc.write_login("prod", made)
    assert (path.parent, path.stat().st_mode & 0o777) == (settings, 0o600)
    assert shown("prod", path) == f"Bearer {made.id_token}"


def test_a_token_whose_issuer_is_away_is_not_shown_after_its_end(settings: Path) -> None:
    path = _oidc.write_login("prod", login(time.time()))
    with pytest.raises(NetworkFailure):
        shown("prod", path)
    assert json.loads(path.read_text())["refresh_token"] == "r"


def test_a_token_that_others_can_read_is_not_shown(settings: Path) -> None:
    path = _oidc.write_login("prod", login(time.time() + 3600))
    path.chmod(0o644)
    with pytest.raises(StateFailure):
        shown("prod", path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"issuer": 7}', "{", '{"wobble": "x"}'])
def test_a_damaged_login_is_an_error_with_its_name(text: str, settings: Path) -> None:
    path = _contexts.write_private("prod.oidc", text.encode())
    with pytest.raises(ConfigInvalid, match=r"prod\.oidc"):
        shown("prod", path)


def test_what_was_typed_counts_more_than_the_file(tmp_path: Path) -> None:
    file = tmp_path / "issuer.toml"
    file.write_text(
        'issuer = "https://i.test"\nclient_id = "a"\nauthority = "ca.crt"\nrequired = {hd = "corp.test"}\n'
        'scopes = ["openid"]\nalgorithms = ["ES256"]\nkind = "service"\n'
    )
    found = _oidc.issuer_config(file, {"client_id": "b", "name_claim": None})
    assert found is not None
    assert (found.client_id, found.authority, found.name_claim) == ("b", str(tmp_path / "ca.crt"), "sub")
    assert (found.required, found.scopes, found.name_prefix) == ({"hd": "corp.test"}, ("openid",), "oidc:")
    assert _oidc.issuer_config(None, {"issuer": None}) is None
    with pytest.raises(ConfigInvalid, match="client_id"):
        _oidc.issuer_config(None, {"issuer": "https://i.test"})
