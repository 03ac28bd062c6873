"""The same commands against a server, over TLS, as users type them."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from typing import Any

import pytest

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
    assert remote.run("__complete", "status", "w").stdout == "web\n"
    assert remote.run("stop", "web").returncode == 0
    assert remote.run("rm", "web").returncode == 2
    assert remote.run("rm", "--yes", "web").returncode == 0
    assert remote.run("status", "-o", "name").stdout == ""
    assert remote.run("-C", "local").returncode == 2
    assert remote.run("status", "-C", "local").returncode == 3


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
    assert remote.run("auth", "can-i", "list", "workloads").returncode == 0
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
    bad = remote.write("bad.token", "orc_nobody")
    refused = remote.run("login", remote.url, "--token-file", str(bad), "--fingerprint", remote.fingerprint)
    assert refused.returncode == 5
    assert remote.run("context", "ls", "-o", "name").stdout == ""
    remote.environment["ORCHESTRION_URL"] = remote.url
    untrusted = remote.run("status")
    assert (untrusted.returncode, "does not prove to be that server" in untrusted.stderr) == (9, True)
