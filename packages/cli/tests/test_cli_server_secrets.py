"""A secret is where it was given to, and in nothing else that comes out of a server or of the command."""

from __future__ import annotations

import gzip
import http.server
import json
import re
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .attacked_target import Target
from .running_command import PATIENCE_SECONDS

pytestmark = pytest.mark.slow

CANARY = "canary-7f3a91c2"
SPACE = "/api/v1/namespaces/default"
SECRETS = f"{SPACE}/secrets"


class Receiver(http.server.ThreadingHTTPServer):
    """Takes traces."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Taken)
        self.taken: list[bytes] = []


class Taken(http.server.BaseHTTPRequestHandler):
    """One delivery of traces."""

    server: Receiver

    def do_POST(self) -> None:  # what the base class calls
        """Keep it."""
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.taken.append(gzip.decompress(body) if self.headers["content-encoding"] == "gzip" else body)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """What traces are sent to."""
    with Receiver() as receiver:
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        yield receiver
        receiver.shutdown()


@pytest.fixture
def traced(shell: Any, receiver: Receiver) -> Iterator[Target]:
    """A server that sends traces, with a secret, and a workload that has been given it."""
    target = Target(shell, "--trace", f"http://127.0.0.1:{receiver.server_port}/v1/traces")
    made = target.ask("POST", SECRETS, {"metadata": {"name": "key"}, "spec": {"data": {"password": CANARY}}})
    assert made[0] == 201
    container = {
        "name": "main",
        "command": ["sh", "-c", 'test "$PASSWORD" && echo given && exec sleep 600'],
        "secrets": {"key": {"env": {"PASSWORD": "password"}}},
    }
    reader = {"metadata": {"name": "reader"}, "spec": {"containers": [container]}}
    assert target.ask("POST", f"{SPACE}/workloads", reader)[0] == 201
    deadline = time.monotonic() + PATIENCE_SECONDS
    while b'"Running"' not in target.ask("GET", f"{SPACE}/instances")[1]:
        assert time.monotonic() < deadline, target.ask("GET", f"{SPACE}/instances")
        time.sleep(0.05)
    yield target
    shell.run("rm", "--yes", "reader")
    if target.server.process.poll() is None:
        target.end()


def answers(target: Target) -> bytes:
    """Return what the API says, also of what it refuses."""
    secret = {"metadata": {"name": "key"}, "spec": {"data": {"password": CANARY}}}
    told = [
        target.ask("GET", SECRETS),
        target.ask("GET", f"{SECRETS}/key"),
        target.ask("GET", f"{SECRETS}/key?show=owners"),
        target.ask("POST", SECRETS, secret),
        target.ask("POST", f"{SECRETS}?dry_run=true", {**secret, "metadata": {"name": "tried"}}),
        target.ask("PUT", f"{SECRETS}/key", {"metadata": {"name": "key"}, "spec": {"data": {"password": CANARY}}}),
        target.ask("PATCH", f"{SECRETS}/key", {"spec": {"data": {"other": CANARY}}}),
        target.ask("GET", f"{SPACE}/workloads/reader"),
        target.ask("GET", f"{SPACE}/instances"),
        target.ask("GET", "/api/v1/events"),
        target.ask("GET", "/v1/events"),
        target.ask("GET", "/v1/workloads"),
        target.ask("GET", "/openapi.json"),
        target.ask("GET", "/healthz"),
        target.ask("POST", "/api/v1/apply", {"items": [{"kind": "Secret", **secret}]}),
        target.ask("POST", "/api/v1/plan", {"items": [{"kind": "Secret", **secret}]}),
    ]
    return b"\n".join(body for _, body in told)


def refusals(target: Target) -> bytes:
    """Return what is said to who asks for something that can't be, with the secret in it."""
    wrong = {"metadata": {"name": "key"}, "spec": {"data": {"password": [CANARY]}}}
    told = [
        target.ask("PATCH", f"{SECRETS}/key", {"spec": {"data": {"other": CANARY}, "wrong": CANARY}}),
        target.ask("PUT", f"{SECRETS}/key", wrong),
        target.ask("POST", SECRETS, {"metadata": {"name": "other"}, "spec": {"data": {"a/b": CANARY}}}),
        target.ask("POST", SECRETS, {"metadata": {"name": "other"}, "spec": {"data": CANARY}}),
        target.ask("POST", SECRETS, CANARY.encode()),
        target.ask("POST", SECRETS, b'{"spec": {"data": {"a": "%b"' % CANARY.encode()),
        target.ask("POST", "/api/v1/apply", {"items": [{"kind": "Secret", **wrong}]}),
        target.ask("GET", "/api/v1/nodes", Authorization=f"Bearer {CANARY}"),
        target.ask(
            "POST", "/ui/login", f"token={CANARY}".encode(), **{"Content-Type": "application/x-www-form-urlencoded"}
        ),
        target.ask("GET", f"/ui/login?code={CANARY}", Authorization=""),
    ]
    assert all(400 <= status < 500 for status, _ in told), [status for status, _ in told]
    return b"\n".join(body for _, body in told)


def stream(target: Target, path: str, until: bytes) -> bytes:
    """Return the beginning of an answer that has no end."""
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {target.token}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", target.port), timeout=20) as connection:
        connection.sendall(request.encode())
        seen = b""
        while until not in seen:
            seen += connection.recv(65536)
    return seen


def pages(target: Target) -> bytes:
    """Return what the dashboard shows."""
    places = ("/", "/ui/workloads", "/ui/topology", "/ui/pending", "/ui/nodes", "/ui/events", "/ui/quotas")
    more = ("/ui/workloads/default/reader", "/ui/search?q=key", "/ui/search?q=reader", "/ui/samples")
    told = [target.ask("GET", place) for place in (*places, *more)]
    assert {status for status, _ in told} == {200}
    return b"\n".join(body for _, body in told)


def models(target: Target) -> bytes:
    """Return what tools and resources for models tell."""
    session = ""

    def ask(method: str, **params: Any) -> Any:
        nonlocal session
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        headers = {"Mcp-Session-Id": session} if session else {}
        status, body, given = target.whole("POST", "/mcp", message, **headers)
        assert status == 200, body
        session = given.get("mcp-session-id", session)
        return json.loads(body)

    start = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    told = [ask("initialize", **start)]
    given = {"name": "reader", "namespace": "default"}
    for tool in ask("tools/list")["result"]["tools"]:
        if tool["name"].startswith(("list_", "get_", "explain_")):
            wanted = {key: value for key, value in given.items() if key in tool["inputSchema"].get("properties", {})}
            told.append(ask("tools/call", name=tool["name"], arguments=wanted))
    uris = [resource["uri"] for resource in ask("resources/list")["result"]["resources"]]
    told += [ask("resources/read", uri=uri) for uri in uris]
    return json.dumps(told).encode()


def command(shell: Any) -> bytes:
    """Return what the command writes."""
    wrong = shell.write(
        "wrong.yaml", f"kind: Secret\nmetadata: {{name: key}}\nspec: {{data: {{password: [{CANARY}]}}}}\n"
    )
    good = shell.write("good.yaml", f"kind: Secret\nmetadata: {{name: key}}\nspec: {{data: {{password: {CANARY}}}}}\n")
    runs = [
        *(shell.run("get", "secrets", "-o", form) for form in ("table", "wide", "json", "jsonl", "yaml", "name")),
        shell.run("describe", "secret", "key"),
        shell.run("describe", "workload", "reader"),
        shell.run("get", "workloads", "-o", "yaml"),
        shell.run("get", "instances", "-o", "json"),
        shell.run("status", "reader"),
        shell.run("events"),
        shell.run("explain", "reader"),
        shell.run("logs", "reader"),
        shell.run("create", "-f", str(wrong)),
        shell.run("create", "-f", str(good)),
        shell.run("patch", "secret", "key", json.dumps({"spec": {"data": {"password": [CANARY]}}})),
    ]
    return "\n".join(run.stdout + run.stderr for run in runs).encode()


def bundle(shell: Any) -> bytes:
    """Return all that a debug bundle has."""
    path = shell.folder / "bundle.zip"
    done = shell.run("debug", "bundle", str(path), "--logs")
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(path) as file:
        return b"\n".join(name.encode() + file.read(name) for name in file.namelist())


def test_a_secret_is_in_no_channel(traced: Target, receiver: Receiver) -> None:
    shell = traced.shell
    channels = {
        "answers": (b'"password":"***"', answers(traced)),
        "errors": (b"config-invalid", refusals(traced)),
        "watch": (b'"name":"key"', stream(traced, f"{SECRETS}?watch=true&since=0", b'"ADDED"')),
        "dashboard": (b"reader", pages(traced)),
        "live pages": (b"data:", stream(traced, "/ui/live", b"data:")),
        "models": (b"reader", models(traced)),
        "metrics": (b"create-in-namespace", traced.ask("GET", "/metrics")[1]),
        "command": (b"key", command(shell)),
        "output": (b"given", shell.run("logs", "reader").stdout.encode()),
        "bundle": (b'"key"', bundle(shell)),
    }
    shell.run("rm", "--yes", "reader")
    traced.end()
    audit = b"".join(path.read_bytes() for path in (Path(shell.state) / "server-api" / "audit").glob("*.jsonl"))
    channels["audit log"] = (b'"resource":"secrets"', audit)
    channels["log of the server"] = (b"/secrets", "\n".join([*traced.server.out, *traced.server.err]).encode())
    channels["traces"] = (b"POST", b"".join(receiver.taken))
    mute = [name for name, (word, text) in channels.items() if word not in text]
    assert mute == [], "what says nothing proves nothing"
    hits = {name: len(re.findall(CANARY.encode(), text)) for name, (_, text) in channels.items()}
    assert hits == dict.fromkeys(channels, 0)


def test_at_rest_a_secret_is_sealed(target: Target) -> None:
    secret = {"metadata": {"name": "key"}, "spec": {"data": {"password": CANARY}}}
    assert target.ask("POST", SECRETS, secret)[0] == 201
    target.end()
    state = Path(target.shell.state)
    files = [path for path in state.rglob("*") if path.is_file()]
    assert any(b"password" in path.read_bytes() for path in files)
    assert [path for path in files if CANARY.encode() in path.read_bytes()] == []
