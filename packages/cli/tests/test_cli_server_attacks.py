"""A server under attack: each attack has a defined outcome, and nobody else notices."""

from __future__ import annotations

import base64
import json
import re
import resource
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

CANARY = "canary-7f3a91c2"
MAPS = "/api/v1/namespaces/default/configmaps"


class Target:
    """A server that is attacked."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.server = shell.begin("server", "--port", "0", "--log", "json")
        found = re.search(r"serving at http://127\.0\.0\.1:(\d+)", self.server.wait_for("serving at"))
        assert found is not None
        self.port = int(found[1])
        self.token = (Path(shell.state) / "server-api" / "admin.token").read_text().strip()

    def raw(self, data: bytes, *, timeout: float = 20) -> bytes:
        """Send bytes, and return all that comes until the connection is closed."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as connection:
            connection.sendall(data)
            got = b""
            try:
                while more := connection.recv(65536):
                    got += more
            except ConnectionResetError:
                pass
            return got

    def ask(self, method: str, path: str, data: Any = None, **headers: str) -> tuple[int, bytes]:
        """Send a request as the administrator, unless the headers say otherwise."""
        body = data if isinstance(data, bytes) else None if data is None else json.dumps(data).encode()
        given = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json", **headers}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=body, method=method, headers=given)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as err:
            return err.code, err.read()


@pytest.fixture
def target(shell: Any) -> Iterator[Target]:
    target = Target(shell)
    yield target
    if target.server.process.poll() is None:
        status, _ = target.ask("GET", "/healthz")
        assert status == 200, "it serves on after the attack"
        target.server.interrupt()
    assert target.server.end() == 0
    assert not any("Traceback" in line for line in target.server.err)


def status_of(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1.1 "), answer[:100]
    return int(answer[9:12])


def test_requests_that_are_none_are_refused(target: Target) -> None:
    def request(first: bytes, *fields: bytes, body: bytes = b"") -> bytes:
        token = b"Authorization: Bearer " + target.token.encode()
        return b"\r\n".join((first, b"Host: x", b"Connection: close", token, *fields, b"", body))

    cases = {
        request(b"GET /api/v1/nodes HTTP/1.1"): 200,
        request(b"GET /api/v1/nodes HTTP/1.1", b"Host: y"): 400,
        request(b"POST %b HTTP/1.1" % MAPS.encode(), b"Content-Length: 5", b"Transfer-Encoding: chunked"): 400,
        request(b"POST %b HTTP/1.1" % MAPS.encode(), b"Transfer-Encoding: chunked", body=b"zz\r\n"): 400,
        request(b"POST %b HTTP/1.1" % MAPS.encode(), b"Content-Length: 99999999999"): 413,
        request(b"GET /api/v1/nodes HTTP/1.1", b"A: " + b"b" * 40_000): 431,
        request(b"GET /" + b"a" * 20_000 + b" HTTP/1.1"): 414,
        request(b"GET /api/v1/../../etc/passwd HTTP/1.1"): 404,
        request(b"GET /api/v1/namespaces/default/configmaps/..%2f..%2fsecrets HTTP/1.1"): 404,
        request(b"GET /api/v1/namespaces/default/configmaps/%2e%2e HTTP/1.1"): 404,
        request(b"GET /api/v1/nodes%00 HTTP/1.1"): 400,
        request(b"GET /%c0%ae%c0%ae/ HTTP/1.1"): 400,
        request(b"TRACE /api/v1/nodes HTTP/1.1"): 405,
        b"GET / HTTP/1.1\nHost: x\n\n": 400,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": 505,
        b"\x16\x03\x01\x00\xf4\x01\x00\x00\xf0\x03\x03": 400,
    }
    outcomes = {data: status_of(target.raw(data)) for data in cases}
    assert {data[:60]: status for data, status in outcomes.items() if status != cases[data]} == {}


def test_what_is_shown_and_proves_nothing_lets_nobody_in(target: Target) -> None:
    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    unsigned = f"{part({'alg': 'none', 'typ': 'JWT'})}.{part({'sub': 'admin', 'groups': ['system:admins']})}."
    for token in (unsigned, target.token[:-1], target.token + "a", "", "a" * 5000, "ö".encode().decode("latin-1")):
        assert target.ask("GET", "/api/v1/nodes", Authorization=f"Bearer {token}")[0] == 401
    forged = {
        "X-Forwarded-For": "127.0.0.1",
        "X-Remote-User": "admin",
        "X-Forwarded-User": "admin",
        "X-Forwarded-Client-Cert": "By=spiffe://orchestrion.local/user/admin",
        "Forwarded": "for=127.0.0.1;proto=https",
    }
    assert target.ask("GET", "/api/v1/nodes", Authorization="", **forged)[0] == 401


def test_documents_that_grow_are_refused_before_they_do(target: Target) -> None:
    deep = b"[" * 100_000
    assert target.ask("POST", MAPS, deep)[0] == 400
    assert target.ask("POST", MAPS, b'{"metadata": {"name": "x"}, "spec": {"data": ' + b'{"a":' * 5000 + b"1")[0] == 400
    laughs = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    laughs += [f"{name}: &{name} [{', '.join([f'*{last}'] * 9)}]" for last, name in pairwise("abcdefghi")]
    path = target.shell.write("laughs.yaml", "\n".join(laughs))
    began = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    refused = target.shell.run("validate", str(path))
    assert refused.returncode == 2
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - began < 5
    status, _ = target.ask("POST", "/api/v1/apply", "\n".join(laughs).encode(), **{"Content-Type": "application/yaml"})
    assert 400 <= status < 500


def test_connections_that_never_say_what_they_want_keep_nobody_out(target: Target) -> None:
    slow = [socket.create_connection(("127.0.0.1", target.port), timeout=30) for _ in range(300)]
    try:
        for connection in slow:
            connection.sendall(b"GET / HTTP/1.1\r\nX: ")
        began = time.monotonic()
        assert target.ask("GET", "/api/v1/nodes")[0] == 200
        assert time.monotonic() - began < 5
        for connection in slow[:5]:
            connection.settimeout(30)
            assert connection.recv(100).startswith(b"HTTP/1.1 408 ")
    finally:
        for connection in slow:
            connection.close()


def test_a_secret_is_in_nothing_that_comes_out(target: Target) -> None:
    path = "/api/v1/namespaces/default/secrets"
    secret = {"metadata": {"name": "key"}, "spec": {"data": {"password": CANARY}}}
    outputs = [
        target.ask("POST", path, secret),
        target.ask("GET", path),
        target.ask("GET", f"{path}/key"),
        target.ask("POST", path, secret),
        target.ask("PATCH", f"{path}/key", {"spec": {"data": {"other": CANARY}, "wrong": CANARY}}),
        target.ask("PUT", f"{path}/key", {"metadata": {"name": "key"}, "spec": {"data": {"password": [CANARY]}}}),
        target.ask("POST", path, CANARY.encode()),
        target.ask("POST", path, b'{"spec": {"data": {"a": "%b"' % CANARY.encode()),
        target.ask("GET", "/api/v1/nodes", Authorization=f"Bearer {CANARY}"),
        target.ask("GET", f"/api/v1/nodes?limit={CANARY}", Authorization=f"Bearer {CANARY}"),
        target.ask("GET", "/api/v1/events"),
        target.ask("GET", "/v1/events"),
        target.ask("GET", "/openapi.json"),
        target.ask("GET", "/metrics"),
        target.ask("GET", "/healthz"),
    ]
    watch = b"GET %b?watch=true&since=0 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\n\r\n"
    with socket.create_connection(("127.0.0.1", target.port), timeout=20) as connection:
        connection.sendall(watch % (path.encode(), target.token.encode()))
        seen = b""
        while b'"ADDED"' not in seen:
            seen += connection.recv(65536)
    found = [number for number, (_, body) in enumerate(outputs) if CANARY.encode() in body]
    assert found == []
    assert CANARY.encode() not in seen
    target.server.interrupt()
    target.server.end()
    assert not any(CANARY in line for line in (*target.server.out, *target.server.err))
    state = Path(target.shell.state)
    holding = [each for each in state.rglob("*") if each.is_file() and CANARY.encode() in each.read_bytes()]
    assert holding == [], "at rest it is sealed, and the audit log has none of it"
