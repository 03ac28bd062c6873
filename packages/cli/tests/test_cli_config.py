"""ConfigMaps and Secrets reach a real process: as files of its own, and as variables that it asked for."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest

pytestmark = pytest.mark.slow

SCRIPT = """
cat "$CONFIG_SETTINGS/app.ini"; echo "level $LEVEL"; cat "$SECRET_DB/password"
stat -c '%a %n' "$SECRET_DB" "$SECRET_DB/password" | sed "s|$SECRET_DB|dir|"
env | grep -c hush-hush
"""


def post(url: str, token: str, path: str, data: Any) -> None:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    place = f"{url}/api/v1/namespaces/default/{path}"
    request = urllib.request.Request(place, data=json.dumps(data).encode(), headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 201


def test_a_process_reads_what_it_names(shell: Any) -> None:
    server = shell.begin("dev", "--port", "0")
    url = server.wait_for("serving at").partition("serving at ")[2].strip()
    server.wait_for("first administrator's token")
    token = (shell.state / "server-api" / "admin.token").read_text().strip()
    data = {"app.ini": "color = blue\n", "level": "info"}
    post(url, token, "configmaps", {"metadata": {"name": "settings"}, "spec": {"data": data}})
    post(url, token, "secrets", {"metadata": {"name": "db"}, "spec": {"data": {"password": "hush-hush\n"}}})
    container = {
        "name": "main",
        "command": ["sh", "-c", SCRIPT],
        "config": {"settings": {"env": {"LEVEL": "level"}, "files": True}},
        "secrets": ["db"],
    }
    spec = {"kind": "batch", "containers": [container]}
    post(url, token, "workloads", {"metadata": {"name": "job"}, "spec": spec})
    output = shell.run("logs", "-f", "job").stdout
    lines = [line.partition("| ")[2] for line in output.splitlines()]
    assert lines == ["color = blue", "level info", "hush-hush", "700 dir", "600 dir/password", "0"]
    server.interrupt()
    assert server.end() == 0
    assert list((shell.state / "volumes").rglob("password")) == []
