"""The same commands against a server, over TLS, as users type them."""

from __future__ import annotations

import base64
import json
import re
import signal
import socket
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from orchestrion.cli._state_directory import StateDirectory
from orchestrion.control_plane import ApiClient, SocketPeer
from orchestrion.control_plane._identity.authority import Authority

pytestmark = pytest.mark.slow

APP = """
    workloads:
      web:
        kind: service
        replicas: 2
        containers:
          - name: main
            command: [sh, -c, "echo ready; trap 'exit 0' TERM; while :; do sleep 0.1; done"]
            stop_grace: 3s
    """


@pytest.fixture
def remote(shell: Any) -> Iterator[Any]:
    """A shell whose commands are about a server, once it has logged in."""
    server = shell.begin("server", "--port", "0", "--tls")
    found = re.search(r"serving at (\S+)", server.wait_for("serving at"))
    assert found is not None
    shell.url = found[1]
    told = re.search(r"sha256:[0-9a-f]{64}", server.wait_for("clients know this server"))
    assert told is not None
    shell.fingerprint = told[0]
    shell.token_file = shell.state / "server-api" / "admin.token"
    local = dict(shell.environment)
    del shell.environment["ORCHESTRION_STATE"]
    shell.environment["XDG_CONFIG_HOME"] = str(shell.folder / "settings")
    yield shell
    shell.environment = local
    shell.run("rm", "--yes", "web")
    server.send(signal.SIGINT)
    assert server.end() == 0


def logged_in(remote: Any, *options: str) -> None:
    done = remote.run(
        "login", remote.url, "--token-file", str(remote.token_file), "--fingerprint", remote.fingerprint, *options
    )
    assert done.returncode == 0, done.stderr


def test_everything_that_is_done_here_is_done_there(remote: Any) -> None:
    path = str(remote.write("app.yaml", APP))
    logged_in(remote)
    assert remote.run("plan", path).returncode == 1
    assert "web: create" in remote.run("apply", path).stdout
    assert remote.run("rollout", "status", "web", "--timeout", "50s").returncode == 0
    assert remote.run("plan", path).returncode == 0
    assert "Healthy" in remote.run("status").stdout
    assert remote.run("logs", "web.0").stdout == "web.0 | ready\n"
    timed = remote.run("logs", "web.0", "--tail", "1", "--timestamps", "--grep", "^read", "--until", "0s").stdout
    assert re.fullmatch(r"web\.0 \| \d{4}-\d\d-\d\dT[\d:.]+Z ready\n", timed)
    done = remote.run("exec", "web.0", "--", "sh", "-c", "read word; echo got $word; exit 7", input="it\n")
    assert (done.returncode, done.stdout) == (7, "got it\n")
    assert remote.run("scale", "web", "1").returncode == 0
    assert remote.run("wait", "workload", "web", "--for", "status.replicas=1", "--timeout", "50s").returncode == 0
    assert "web.0.1" in remote.run("explain", "web").stdout
    assert "generation 1" in remote.run("events", "--for", "web").stdout
    shown = json.loads(remote.run("get", "workload", "web", "-o", "json").stdout)
    assert (shown["metadata"]["name"], shown["status"]["replicas"]) == ("web", 1)
    assert "web.0.1" in remote.run("describe", "w", "web").stdout
    (remote.folder / "there").mkdir()
    (remote.folder / "note.txt").write_text("words")
    assert remote.run("cp", "note.txt", f"web.0:{remote.folder}/there").returncode == 0
    assert remote.run("cp", f"web.0:{remote.folder}/there/note.txt", "back.txt").returncode == 0
    assert (remote.folder / "back.txt").read_text() == "words"
    assert remote.run("cp", "note.txt", f"web.0:{remote.folder}/there/new").returncode == 0
    assert remote.run("cp", f"web.0:{remote.folder}/there/new", "-").stdout == "words"
    assert remote.run("__complete", "status", "w").stdout == "web\n"
    assert remote.run("stop", "web").returncode == 0
    assert remote.run("rm", "web").returncode == 2
    assert remote.run("rm", "--yes", "web").returncode == 0
    assert remote.run("status", "-o", "name").stdout == ""
    assert remote.run("-C", "local").returncode == 2
    assert remote.run("status", "-C", "local").returncode == 3


def test_what_runs_there_is_restarted_and_what_it_uses_is_seen_here(remote: Any) -> None:
    logged_in(remote)
    assert remote.run("apply", str(remote.write("app.yaml", APP))).returncode == 0
    assert remote.run("rollout", "status", "web", "--timeout", "50s").returncode == 0
    assert remote.run("rollout", "restart", "web").returncode == 0
    assert remote.run("rollout", "status", "web", "--timeout", "50s").returncode == 0
    history = json.loads(remote.run("rollout", "history", "web", "-o", "json").stdout)
    assert [one["cause"] for one in history] == ["", "restart"]
    tops = json.loads(remote.run("top", "instances", "-o", "json").stdout)
    assert [top["used"]["memory_bytes"] > 0 for top in tops if top["used"]]
    (node,) = json.loads(remote.run("top", "-o", "json").stdout)
    assert node["used"]["processes"] > 0


def test_somebody_gets_no_further_than_their_token(remote: Any) -> None:
    path = str(remote.write("app.yaml", APP))
    logged_in(remote, "--name", "prod")
    assert remote.run("apply", path).returncode == 0
    assert "kind    user" in remote.run("whoami", "-C", "prod").stdout
    made = remote.run(
        "token", "create", "ann", "--group", "system:admins", "--allow", "get,list,watch:workloads", "--lifetime", "1h"
    )
    token = made.stdout.strip()
    assert made.returncode == 0
    assert token not in made.stderr
    assert token not in remote.run("token", "ls").stdout
    remote.environment["ORCHESTRION_TOKEN"] = token
    assert remote.run("whoami", "-o", "name").stdout == "user:ann\n"
    assert "web" in remote.run("get", "workloads", "-o", "name").stdout
    denied = remote.run("scale", "web", "1")
    assert denied.returncode == 5
    assert "user:ann may not scale workloads 'web'" in denied.stderr
    assert remote.run("exec", "web.0", "--", "true").returncode == 5
    assert remote.run("apply", path).returncode == 5
    assert remote.run("auth", "can-i", "scale", "workloads").returncode == 5
    for kind in ("workloads", "workload", "w"):
        assert remote.run("auth", "can-i", "list", kind).returncode == 0
    assert remote.run("token", "create", "bob", "--group", "system:admins").returncode == 5
    del remote.environment["ORCHESTRION_TOKEN"]
    token_id = token.split("_")[1]
    assert remote.run("token", "revoke", token_id).returncode == 0
    remote.environment["ORCHESTRION_TOKEN"] = token
    refused = remote.run("whoami")
    assert (refused.returncode, "revoked" in refused.stderr) == (5, True)
    del remote.environment["ORCHESTRION_TOKEN"]
    assert remote.run("logout").returncode == 0
    assert not list((remote.folder / "settings" / "orchestrion").glob("prod*"))


def test_a_server_that_is_another_one_is_told_nothing(remote: Any) -> None:
    wrong = f"sha256:{'0' * 64}"
    done = remote.run("login", remote.url, "--token-file", str(remote.token_file), "--fingerprint", wrong)
    assert done.returncode == 5
    assert remote.fingerprint in done.stderr
    assert remote.run("context", "ls", "-o", "name").stdout == ""
    asked = remote.run("login", remote.url, "--token-file", str(remote.token_file))
    assert (asked.returncode, remote.fingerprint in asked.stderr) == (2, True)
    assert "next:  Say --fingerprint with what the server told" in asked.stderr
    bad = remote.write("bad.token", "orc_nobody")
    refused = remote.run("login", remote.url, "--token-file", str(bad), "--fingerprint", remote.fingerprint)
    assert refused.returncode == 5
    assert remote.run("context", "ls", "-o", "name").stdout == ""
    remote.environment["ORCHESTRION_URL"] = remote.url
    untrusted = remote.run("status")
    assert (untrusted.returncode, "does not prove to be that server" in untrusted.stderr) == (9, True)


def test_who_has_a_key_that_is_trusted_shows_no_token(remote: Any) -> None:
    key = Ed25519PrivateKey.generate()
    path = remote.folder / "ann.key"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    known = ("--fingerprint", remote.fingerprint, "--name", "prod")
    assert remote.run("login", remote.url, "--key-file", str(path), *known).returncode == 5
    public = base64.b64encode(key.public_key().public_bytes_raw()).decode()
    owner = ApiClient(SocketPeer(StateDirectory(remote.state).socket_path))
    trio.run(owner.ask, "POST", "/api/v1/keys", {"name": "ann", "public_key": public, "groups": ["system:admins"]})
    done = remote.run("login", remote.url, "--key-file", str(path), *known)
    assert (done.returncode, "user ann" in done.stderr) == (0, True), done.stderr
    # A body, a query and a connection that changes its protocol are signed too.
    manifest = str(remote.write("app.yaml", APP))
    assert remote.run("apply", "--dry-run", manifest).returncode == 0
    assert remote.run("apply", manifest).returncode == 0
    assert remote.run("rollout", "status", "web", "--timeout", "50s").returncode == 0
    assert remote.run("exec", "web.0", "--", "echo", "hello").stdout == "hello\n"
    path.chmod(0o644)
    assert remote.run("whoami").returncode == 9


VIEWER = """
    kind: RoleBinding
    metadata: {name: ann}
    spec: {role: viewer, subjects: [{kind: user, name: ann}]}
    """


def test_who_has_a_certificate_shows_no_token(remote: Any) -> None:
    logged_in(remote, "--name", "prod")
    made = remote.run("certificate", "create", "ann", "-o", "name")
    path, serial = remote.folder / "ann.pem", made.stdout.strip()
    assert (made.returncode, path.stat().st_mode & 0o777) == (0, 0o600), made.stderr
    assert remote.run("create", "-f", str(remote.write("viewer.yaml", VIEWER))).returncode == 0
    known = ("--certificate", str(path), "--fingerprint", remote.fingerprint, "--name", "ann")
    done = remote.run("login", remote.url, *known)
    assert (done.returncode, "user ann" in done.stderr) == (0, True), done.stderr
    who = json.loads(remote.run("whoami", "-o", "json").stdout)
    assert (who["name"], who["via"]) == ("ann", f"mtls:{serial}")
    assert remote.run("get", "workloads").returncode == 0
    assert remote.run("certificate", "ls").returncode == 5
    assert remote.run("certificate", "ls", "-C", "prod", "-o", "name").stdout == f"{serial}\n"
    assert remote.run("certificate", "revoke", serial, "-C", "prod").returncode == 0
    refused = remote.run("whoami")
    assert (refused.returncode, "was revoked" in refused.stderr) == (5, True)


def test_a_server_has_a_certificate_of_somebody_elses(shell: Any) -> None:
    elsewhere = Authority.make("elsewhere.test")[0]
    made = elsewhere.issue_server(["127.0.0.1"])
    for name, text in (("ca.crt", elsewhere.certificate), ("tls.crt", made.certificate), ("tls.key", made.key)):
        (shell.folder / name).write_bytes(text)
        (shell.folder / name).chmod(0o600)
    server = shell.begin("server", "--port", "0", "--tls-cert", "tls.crt", "--tls-key", "tls.key")
    found = re.search(r"serving at (https://\S+)", server.wait_for("serving at"))
    assert found is not None
    server.wait_for("clients know this server by who signed tls.crt")
    shell.environment["XDG_CONFIG_HOME"] = str(shell.folder / "settings")
    token = ("--token-file", str(shell.state / "server-api" / "admin.token"))
    alone = shell.run("login", found[1], *token)
    assert (alone.returncode, "--authority" in alone.stderr) == (9, True)
    done = shell.run("login", found[1], *token, "--authority", "ca.crt")
    assert done.returncode == 0, done.stderr
    host = str(urllib.parse.urlsplit(found[1]).hostname)
    assert shell.run("whoami", "-C", host, "-o", "name").stdout == "user:admin\n"
    server.send(signal.SIGINT)
    assert server.end() == 0


SITE = """
    workloads:
      site:
        replicas: 1
        containers:
          - name: main
            command: [python3, -m, http.server, "${PORT_HTTP}", --bind, 127.0.0.1, --directory, "FOLDER"]
            ports: {http: {}}
            health: {tcp: {port: http}, interval: 500ms}
            stop_grace: 1s
    """


def test_a_port_of_an_instance_or_a_workload_is_reached_here(remote: Any) -> None:
    (remote.folder / "site").mkdir()
    (remote.folder / "site" / "large.bin").write_bytes(bytes(range(256)) * 4096)
    logged_in(remote)
    path = remote.write("site.yaml", SITE.replace("FOLDER", str(remote.folder / "site")))
    assert remote.run("apply", str(path)).returncode == 0
    assert remote.run("rollout", "status", "site", "--timeout", "50s").returncode == 0
    for name in ("site", "site.0"):
        forward = remote.begin("port-forward", name, "http")
        found = re.search(r"127\.0\.0\.1:(\d+) -> site\.0\.1 http", forward.wait_for("->"))
        assert found is not None
        here = f"http://127.0.0.1:{found[1]}/large.bin"
        with ThreadPoolExecutor(3) as pool:  # connections at once
            bodies = list(pool.map(lambda url: urllib.request.urlopen(url, timeout=50).read(), [here] * 3))
        assert bodies == [bytes(range(256)) * 4096] * 3
        forward.interrupt()
        assert forward.end() == 130
    refused = remote.run("port-forward", "site", "wobble")
    assert (refused.returncode, "it has: http" in refused.stderr) == (2, True)
    assert remote.run("port-forward", "nobody", "http").returncode == 3
    assert remote.run("rm", "--yes", "site").returncode == 0


@pytest.mark.parametrize("busy", [False, True])
def test_a_forward_ends_when_the_token_that_allowed_it_is_revoked(remote: Any, busy: bool) -> None:
    (remote.folder / "site").mkdir()
    logged_in(remote, "--name", "mine")
    path = remote.write("site.yaml", SITE.replace("FOLDER", str(remote.folder / "site")))
    assert remote.run("apply", str(path)).returncode == 0
    assert remote.run("rollout", "status", "site", "--timeout", "50s").returncode == 0
    made = json.loads(remote.run("token", "create", "helper", "--group", "system:admins", "-o", "json").stdout)
    (remote.folder / "helper").write_text(made["token"])
    remote.token_file = remote.folder / "helper"
    logged_in(remote, "--name", "helper")
    forward = remote.begin("port-forward", "site", "http", "-C", "helper")
    found = re.search(r"127\.0\.0\.1:(\d+) -> site\.0\.1 http", forward.wait_for("->"))
    assert found is not None
    with socket.create_connection(("127.0.0.1", int(found[1]))) as connection:
        if busy:
            connection.sendall(b"GET / HTTP/1.1\r\n")  # and never the rest of it
        else:
            connection.close()
        assert remote.run("token", "revoke", made["id"], "-C", "mine").returncode == 0
        assert forward.end() == 5
    told = "\n".join(forward.err)
    assert "revoked" in told, told
    assert remote.run("rm", "--yes", "site", "-C", "mine").returncode == 0
