"""The Model Context Protocol as clients run it: a command, and lines."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

pytestmark = pytest.mark.slow

START = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}


def lines(*messages: tuple[str, Any]) -> str:
    """Return requests as lines, the first with the id 0."""
    return "".join(
        json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}) + "\n"
        for number, (method, params) in enumerate(messages)
    )


def answers(output: str) -> dict[int, Any]:
    return {answer["id"]: answer["result"] for answer in map(json.loads, output.splitlines())}


def call(tool: str, **arguments: Any) -> tuple[str, Any]:
    return "tools/call", {"name": tool, "arguments": arguments}


def test_a_client_starts_a_workload_on_the_orchestrator_of_a_directory(shell: Any) -> None:
    file = shell.write("app.yaml", "workloads: {web: {containers: [{name: main, command: [sleep, '1000']}]}}")
    up = shell.up(str(file))
    up.wait_for("web")
    spec = {"kind": "batch", "containers": [{"name": "main", "command": ["echo", "hello"]}]}
    done = shell.run("mcp", input=lines(("initialize", START), call("create_workload", name="hello", spec=spec)))
    assert done.returncode == 0, done.stderr
    made = answers(done.stdout)
    assert made[0]["serverInfo"]["name"] == "orchestrion"
    assert not made[1]["isError"], made[1]
    listed = answers(shell.run("mcp", input=lines(("initialize", START), call("list_workloads"))).stdout)[1]
    assert [row["name"] for row in listed["structuredContent"]["workloads"]] == ["hello", "web"]
    up.interrupt()
    assert up.end() == 130


def test_tools_say_that_nobody_is_there_and_what_to_do(shell: Any) -> None:
    done = shell.run("mcp", input=lines(("initialize", START), call("list_workloads")) + "nonsense\n")
    assert done.returncode == 0
    replies = [json.loads(line) for line in done.stdout.splitlines()]
    refused = next(reply for reply in replies if reply["id"] == 1)["result"]
    assert refused["isError"]
    assert "orchestrion up" in refused["content"][0]["text"]
    assert next(reply for reply in replies if reply["id"] is None)["error"]["code"] == -32700


def test_a_server_has_the_same_at_a_path(shell: Any) -> None:
    server = shell.begin("dev", "--port", "0")
    url = server.wait_for("serving at").partition("serving at ")[2].strip()
    server.wait_for("first administrator's token")
    token = (shell.state / "server-api" / "admin.token").read_text().strip()
    assert post(f"{url}/mcp", "nobody", "initialize", START)[0] == 401
    status, headers, answer = post(f"{url}/mcp", token, "initialize", START)
    assert (status, answer["result"]["protocolVersion"]) == (200, "2025-11-25")
    session = {"Mcp-Session-Id": headers["Mcp-Session-Id"]}
    status, _, answer = post(f"{url}/mcp", token, *call("list_nodes"), **session)
    assert status == 200
    assert answer["result"]["structuredContent"]["total"] == 1
    server.interrupt()
    assert server.end() == 0


def post(url: str, token: str, method: str, params: Any, /, **headers: str) -> tuple[int, Any, Any]:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    given = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Accept": "application/json"}
    request = urllib.request.Request(url, data=body, headers=given | headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers, json.load(answer)
    except urllib.error.HTTPError as err:
        return err.code, err.headers, json.load(err)
