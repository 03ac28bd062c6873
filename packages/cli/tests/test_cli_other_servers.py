"""Something else answers than a server of Orchestrion, or a later version of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from orchestrion.cli import run
from orchestrion.mocks import mock_nodes
from orchestrion.shared_types import unstructure


class _Fake(ThreadingHTTPServer):
    answer: tuple[int, str, bytes] = (200, "", b"")
    by_path: Mapping[str, object] = {}


class _Handler(BaseHTTPRequestHandler):
    server: _Fake

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        status, media_type, body = self.server.answer
        path = self.path.partition("?")[0]
        if path in self.server.by_path:
            status, media_type = 200, "application/json"
            body = json.dumps(self.server.by_path[path]).encode()
        self.send_response(status)
        self.send_header("content-type", media_type)
        self.send_header("content-length", str(len(body)))
        self.send_header("location", "/elsewhere")
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 # as the base class calls it

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Fake]:
    """A server that answers whatever it is told to, at which commands look."""
    server = _Fake(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    for name in ("TOKEN", "CONTEXT", "STATE"):
        monkeypatch.delenv(f"ORCHESTRION_{name}", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.setenv("ORCHESTRION_URL", f"http://127.0.0.1:{server.server_port}")
    yield server
    server.shutdown()
    server.server_close()
    thread.join(10)


ANSWERS = {
    "a page": (200, "text/html", b"<html>\x1b[31mhello</html>"),
    "a page that says it is JSON": (200, "application/json", b"<html>"),
    "JSON of somebody else": (200, "application/json", b'{"a": 12}'),
    "a list": (200, "application/json", b"[]"),
    "a proxy": (502, "text/html", b"<html>bad gateway</html>"),
    "nothing there": (404, "text/plain", b"not found"),
    "a refusal of somebody else": (404, "application/json", b'{"detail": "Not Found"}'),
    "elsewhere": (302, "text/html", b""),
}

COMMANDS = (
    "get workloads",
    "get workloads -o json",
    "get workload web",
    "top nodes",
    "whoami",
    "auth can-i get workloads",
    "auth can-i --list",
    "status",
    "status web",
    "logs web",
    "events",
    "token ls",
    "stop web",
)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("answer", ANSWERS)
def test_what_is_no_server_of_ours_is_told_as_such(
    fake: _Fake, capsys: pytest.CaptureFixture[str], command: str, answer: str
) -> None:
    fake.answer = ANSWERS[answer]
    code = run(command.split())
    printed = capsys.readouterr()
    if answer == "a list" and command in ("status", "events"):
        assert code == 0, "there is nothing of ours that it could not be"
        return
    assert (code, printed.out) == (9, ""), printed.err
    url = f"http://127.0.0.1:{fake.server_port}"
    assert printed.err.startswith(f"error: what answers at {url} is no server of Orchestrion (HTTP {fake.answer[0]} ")
    assert "\nnext:  " in printed.err
    assert "\x1b" not in printed.err
    assert "Traceback" not in printed.err


def test_keys_of_a_later_version_are_passed_over(fake: _Fake, capsys: pytest.CaptureFixture[str]) -> None:
    node = {**unstructure(mock_nodes(1)[0]), "colour": "blue"}
    definition = {
        "metadata": {"name": "web", "smell": "sweet"},
        "containers": [{"name": "main", "command": ["true"], "taste": {"salty": 1}}],
        "mood": "good",
    }
    view = {
        "definition": definition,
        "generation": 1,
        "revision": 1,
        "phase": "Healthy",
        "uid": "u",
        "later": [1, 2],
    }
    fake.by_path = {
        "/v1/nodes": [node],
        "/v1/workloads": [view],
        "/v1/instances": [],
        "/v1/workload": view,
        "/v1/events": [],
    }
    code = run(["status"])
    printed = capsys.readouterr()
    assert (code, "web" in printed.out) == (0, True), printed.err


def test_a_refusal_in_our_words_is_told_as_it_is(fake: _Fake, capsys: pytest.CaptureFixture[str]) -> None:
    problem = {"code": "denied", "codes": ["denied"], "message": "not you", "remedy": "ask", "fields": {}, "later": 1}
    fake.answer = (403, "application/problem+json", json.dumps(problem).encode())
    code = run(["status"])
    assert (code, capsys.readouterr().err) == (5, "error: not you\nnext:  ask\n")
