"""The server as users run it: a command, and an HTTP client."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from .running_command import PATIENCE_SECONDS, RunningCommand

pytestmark = pytest.mark.slow


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


def healthy(url: str, token: str) -> None:
    wait_until(lambda: ask(url, token)[1]["status"]["phase"] == "Healthy")


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
