"""The server as users run it: a command, and an HTTP client."""

from __future__ import annotations

import json
import re
import resource
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .running_command import PATIENCE_SECONDS, RunningCommand

pytestmark = pytest.mark.slow

APP = "workloads: {job: {kind: batch, containers: [{name: main, command: ['true']}]}}"
SERVICE = """
workloads:
  web: {containers: [{name: main, command: [sh, -c, "echo ready; while [ ! -e go ]; do sleep 0.05; done;
        echo went on; exec sleep 1000"], working_dir: .}]}
"""
JOB = """
workloads:
  job: {kind: batch, containers: [{name: main, command: [sh, -c, "echo begun; while [ ! -e go ]; do sleep 0.05; done;
        echo ended"], working_dir: .}]}
"""


def ask(url: str, token: str, method: str = "GET", data: object = None) -> tuple[int, Any]:
    body = None if data is None else json.dumps(data).encode()
    request = urllib.request.Request(url, data=body, method=method, headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as err:
        return err.code, json.load(err)


def url_of(server: RunningCommand) -> str:
    found = re.search(r"serving at (\S+)", server.wait_for("serving at"))
    assert found is not None
    return found[1]


def test_a_workload_that_was_posted_runs_and_outlives_the_server(shell: Any) -> None:
    server = shell.begin("server", "--port", "0")
    url = url_of(server)
    server.wait_for("first administrator's token")
    token = (shell.state / "server-api" / "admin.token").read_text().strip()
    assert ask(f"{url}/api/v1/nodes", "nobody")[0] == 401
    containers = [
        {"name": "main", "command": ["sh", "-c", "echo $$ > pid; exec sleep 1000"], "working_dir": str(shell.folder)}
    ]
    workloads = f"{url}/api/v1/namespaces/default/workloads"
    assert ask(workloads, token, "POST", {"metadata": {"name": "web"}, "spec": {"containers": containers}})[0] == 201
    healthy(f"{workloads}/web", token)
    pid = (shell.folder / "pid").read_text()
    server.interrupt()
    assert server.end() == 0
    server = shell.begin("server", "--port", "0")
    workloads = f"{url_of(server)}/api/v1/namespaces/default/workloads"
    assert ask(f"{workloads}/web", token)[1]["metadata"]["generation"] == 1
    healthy(f"{workloads}/web", token)
    assert (shell.folder / "pid").read_text() == pid
    assert ask(f"{workloads}/web", token, "DELETE")[0] == 200
    wait_until(lambda: ask(f"{workloads}/web", token)[0] == 404)
    server.interrupt()
    assert server.end() == 0


def test_dev_stops_what_it_runs(shell: Any) -> None:
    server = shell.begin("dev", "--port", "0")
    url = url_of(server)
    server.wait_for("first administrator's token")
    token = (shell.state / "server-api" / "admin.token").read_text().strip()
    workloads = f"{url}/api/v1/namespaces/default/workloads"
    spec = {"containers": [{"name": "main", "command": ["sleep", "1000"]}]}
    assert ask(workloads, token, "POST", {"metadata": {"name": "web"}, "spec": spec})[0] == 201
    healthy(f"{workloads}/web", token)
    server.interrupt()
    assert server.end() == 0
    assert shell.strays() == []


def test_a_port_that_is_taken_is_found_before_anything_is_begun(shell: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        refused = shell.run("server", "--port", port)
        assert (refused.returncode, "can't listen" in refused.stderr) == (9, True)
        assert not shell.state.exists()
        assert shell.run("up", str(shell.write("app.yaml", APP))).returncode == 0
        before = {path: path.stat().st_mtime_ns for path in shell.state.rglob("*") if path.name != "lock"}
        assert shell.run("dev", "--port", port).returncode == 9
        after = {path: path.stat().st_mtime_ns for path in shell.state.rglob("*") if path.name != "lock"}
        assert after == before
        assert json.loads((shell.state / "lock").read_text())["at_work"] is False


def test_where_the_first_token_is_is_said_at_each_start(shell: Any) -> None:
    told = []
    for _ in range(2):
        server = shell.begin("server", "--port", "0")
        told.append(server.wait_for("first administrator's token"))
        server.interrupt()
        assert server.end() == 0
    assert told[0] == told[1]


def test_a_server_for_everybody_says_where_others_find_it(shell: Any) -> None:
    server = shell.begin("server", "--port", "0", "--host", "0.0.0.0")
    url = url_of(server)
    said = server.wait_for("from elsewhere")
    assert (url.rpartition(":")[2], "0.0.0.0" in said) == (said.rpartition(":")[2], False)
    server.interrupt()
    assert server.end() == 0


def test_who_follows_outlives_a_restart_of_the_server(shell: Any) -> None:
    server = shell.begin("server", "--port", "0")
    url_of(server)
    file = str(shell.write("web.yaml", SERVICE))
    assert shell.run("apply", file).returncode == 0
    assert shell.run("wait", "workload", "web").returncode == 0
    output, events = shell.begin("logs", "-f", "web"), shell.begin("events", "-f", "--for", "web")
    up = shell.up(file, "--logs", "all")
    up.wait_for("web: Healthy")
    objects = shell.begin("get", "workloads", "-w", "-o", "name")
    output.wait_for("web.0 | ready")
    events.wait_for("web")
    objects.wait_for("workload/web")
    server.interrupt()
    assert server.end() == 0
    (shell.folder / "go").touch()
    server = shell.begin("server", "--port", "0")
    url_of(server)
    output.wait_for("web.0 | went on")
    assert shell.run("rm", "web", "--yes").returncode == 0
    assert (output.end(), up.end()) == (0, 0)
    events.wait_for("Stopping")
    objects.wait_for("workload/web gone")
    for follower in (events, objects):
        follower.interrupt()
        assert follower.end() == 130
    assert output.out == up.out == ["web.0 | ready", "web.0 | went on"]
    assert up.err.count("web: Healthy (1/1 up)") == 1
    assert len(events.out) == len(set(events.out))
    for follower in (output, events, objects, up):
        assert sum("waiting up to 60 s" in line for line in follower.err) <= 1
    server.interrupt()
    assert server.end() == 0


def test_output_ends_with_the_orchestrator_that_had_nothing_left_to_do(shell: Any) -> None:
    up = shell.up(str(shell.write("app.yaml", JOB)))
    up.wait_for("begun")
    follower = shell.begin("logs", "-f", "job")
    follower.wait_for("job.0 | begun")
    (shell.folder / "go").touch()
    assert up.end() == 0
    assert (follower.end(), follower.out[-1]) == (0, "job.0 | ended")


def healthy(url: str, token: str) -> None:
    wait_until(lambda: ask(url, token)[1]["status"]["phase"] == "Healthy")


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline


def test_systemd_is_told_when_a_server_serves_lives_and_ends(shell: Any, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.settimeout(PATIENCE_SECONDS)
        heard.bind(str(tmp_path / "notify"))
        shell.environment |= {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "60000000"}
        server = shell.begin("server", "--port", "0")
        url = url_of(server)
        told = list[str]()
        while "READY" not in "".join(told):
            told.append(heard.recv(4096).decode())
        server.interrupt()
        assert server.end() == 0
        told.append(heard.recv(4096).decode())
    assert set(told[:-2]) == {f"STATUS=taking {shell.state} over", "WATCHDOG=1"}
    assert told[-2:] == [f"READY=1\nSTATUS=serving at {url}", "STOPPING=1\nSTATUS=ending; what runs goes on"]


def test_a_server_opens_as_many_files_as_it_may(shell: Any) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    server = shell.begin("server", "--port", "0")
    assert str(hard) in server.wait_for("files may be open")
    server.wait_for("serving at")
    assert resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE) == (hard, hard)
    server.interrupt()
    assert server.end() == 0


def test_an_audit_log_that_was_removed_while_no_server_ran_is_missed(shell: Any) -> None:
    maps, made = "/api/v1/namespaces/default/configmaps", {"metadata": {"name": "a"}, "spec": {"data": {}}}
    server = shell.begin("server", "--port", "0")
    url = url_of(server)
    server.wait_for("first administrator's token")
    token = (shell.state / "server-api" / "admin.token").read_text().strip()
    assert ask(f"{url}{maps}", token, "POST", made)[0] == 201
    server.interrupt()
    assert server.end() == 0
    assert shell.run("audit", "verify").returncode == 0
    for path in (shell.state / "server-api" / "audit").glob("*.jsonl"):
        path.unlink()
    server = shell.begin("server", "--port", "0")
    url = url_of(server)
    assert "is not what this server wrote" in "".join(server.err)
    assert ask(f"{url}/healthz", "")[1]["parts"]["audit"] == "Degraded"
    assert ask(f"{url}{maps}/a", token)[0] == 200, "it works all the same"
    wait_until(lambda: "AuditBroken" in str(ask(f"{url}/v1/events", token)[1]))
    server.interrupt()
    assert server.end() == 0
    assert shell.run("audit", "verify").returncode == 1
