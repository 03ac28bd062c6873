"""A server under attack: each attack has a defined outcome, and nobody else notices."""

from __future__ import annotations

import base64
import json
import os
import resource
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from orchestrion.control_plane._identity.signing import RequestSigner

from .attacked_target import Target
from .running_command import PATIENCE_SECONDS

pytestmark = pytest.mark.slow

MAPS = "/api/v1/namespaces/default/configmaps"


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


def proofs_on_record(target: Target) -> list[dict[str, Any]]:
    """Return what is on record of those who proved nothing."""
    lines = (Path(target.shell.state) / "server-api" / "audit" / "0001.jsonl").read_text().splitlines()
    return [record for line in lines if (record := json.loads(line))["outcome"] == "unauthenticated"]


def test_a_signed_request_is_good_once_soon_and_for_what_was_signed_alone(target: Target) -> None:
    def signer(seed: int, minutes: float = 0) -> RequestSigner:
        return RequestSigner.from_seed(bytes([seed] * 32), now=lambda: datetime.now(UTC) + timedelta(minutes=minutes))

    def send(
        signed: dict[str, str], method: str = "POST", path: str = f"{MAPS}?dry_run=true", body: bytes = b""
    ) -> str:
        """Return what was wrong; empty for nothing."""
        status, answer = target.ask(method, path, body or made, Authorization="", **signed)
        assert status in (201, 401), answer
        return "" if status == 201 else str(json.loads(answer)["fields"]["reason"])

    key = base64.b64encode(signer(1).public_key).decode()
    grant = {"public_key": key, "name": "ci", "kind": "service", "groups": ["system:admins"]}
    assert target.ask("POST", "/api/v1/keys", grant)[0] == 201
    made = json.dumps({"metadata": {"name": "a"}, "spec": {"data": {}}}).encode()

    def sign(
        by: RequestSigner, query: str = "dry_run=true", body: bytes = made, method: str = "POST"
    ) -> dict[str, str]:
        return by.headers(method, MAPS, query=query, body=body, headers={"content-type": "application/json"})

    good = sign(signer(1))
    assert not send(good)
    refused = {
        "REPLAYED": [send(good)],
        "TIMESTAMP_EXPIRED": [send(sign(signer(1, -6))), send(sign(signer(1, 2)))],
        "UNKNOWN_KEY": [send(sign(signer(2)))],
        "MISSING_HEADER": [send({**good, "x-auth-nonce": ""})],
        "INVALID_HEADER": [send({**sign(signer(1)), "x-auth-nonce": "short"})],
        "INVALID_SIGNATURE": [
            send(sign(signer(1)), path=MAPS),
            send(sign(signer(1)), path=f"{MAPS}?dry_run=false"),
            send(sign(signer(1)), path=f"{MAPS}?dry_run=true&manager=x"),
            send(sign(signer(1)), path=f"{MAPS}/?dry_run=true"),
            send(sign(signer(1)), body=made.replace(b'"a"', b'"b"')),
            send(sign(signer(1), method="GET")),
            send({**sign(signer(1)), "Content-Type": "application/yaml"}),
            send({**sign(signer(1)), "Idempotency-Key": "k1"}),
            send({**sign(signer(1)), "If-Match": '"1"'}),
            send({**sign(signer(1)), "x-auth-timestamp": good["x-auth-timestamp"]}),
            send({**sign(signer(1)), "x-auth-nonce": "0" * 24}),
        ],
    }
    assert {reason: set(told) for reason, told in refused.items()} == {reason: {reason} for reason in refused}
    records = proofs_on_record(target)
    assert good["x-auth-signature"] not in json.dumps(records)
    assert target.ask("GET", MAPS)[1].count(b'"name":"a"') == 0, "it was only tried"


def test_forged_headers_change_neither_who_asks_nor_where_from(target: Target) -> None:
    forged = {
        "X-Forwarded-For": "10.9.9.9",
        "X-Real-Ip": "10.9.9.9",
        "Forwarded": "for=10.9.9.9",
        "X-Forwarded-User": "admin",
        "X-Forwarded-Host": "evil.example",
        "X-Http-Method-Override": "DELETE",
        "X-Original-Url": "/metrics",
    }
    assert target.ask("GET", "/api/v1/nodes", Authorization="Bearer x", **forged)[0] == 401
    assert {record["source"] for record in proofs_on_record(target)} == {"127.0.0.1"}
    assert json.loads(target.ask("GET", "/api/v1/whoami", **forged)[1])["name"] == "admin"
    assert target.ask("POST", MAPS, {"metadata": {"name": "a"}, "spec": {"data": {}}}, **forged)[0] == 201
    assert target.ask("GET", f"{MAPS}/a", **forged)[0] == 200, "the method is what the first line says"


def test_who_guesses_is_told_to_wait_and_keeps_nobody_else_out(target: Target) -> None:
    guess = "Bearer orc_" + "a" * 13 + "_" + "b" * 52

    def ask_some(_: int) -> list[int]:
        return [target.ask("GET", "/api/v1/nodes", Authorization=guess)[0] for _ in range(10)]

    with ThreadPoolExecutor(40) as pool:
        statuses = [status for some in pool.map(ask_some, range(40)) for status in some]
    assert set(statuses) == {401, 429}
    assert target.ask("GET", "/api/v1/nodes")[0] == 200
    assert len(proofs_on_record(target)) == 1, "the others are summed up"


@pytest.mark.engine
def test_promtool_finds_no_fault_with_what_a_server_that_works_tells(target: Target) -> None:
    workload = {"metadata": {"name": "web"}, "spec": {"containers": [{"name": "main", "command": ["sleep", "60"]}]}}
    assert target.ask("POST", "/api/v1/namespaces/default/workloads", workload)[0] == 201
    for path in ("/nothing", "/api/v1/nodes", f"{MAPS}/none"):
        target.ask("GET", path)
    target.ask("GET", "/api/v1/nodes", Authorization="Bearer x")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while b'orchestrion_instances{state="Running"} 1.0' not in (scrape := target.ask("GET", "/metrics")[1]):
        assert time.monotonic() < deadline, scrape
        time.sleep(0.05)
    checked = subprocess.run(["promtool", "check", "metrics"], input=scrape, capture_output=True, check=False)
    assert (checked.stdout, checked.stderr, checked.returncode) == (b"", b"", 0)
    assert target.shell.run("rm", "--yes", "web").returncode == 0


LAUGHS = "\n".join(
    ["a: &a [x, x, x, x, x, x, x, x, x]"]
    + [f"{name}: &{name} [{', '.join([f'*{last}'] * 9)}]" for last, name in pairwise("abcdefghi")]
)

TAKING_JSON = [
    ("POST", MAPS, "application/json"),
    ("PUT", f"{MAPS}/a", "application/json"),
    ("PATCH", f"{MAPS}/a", "application/merge-patch+json"),
    ("PATCH", f"{MAPS}/a", "application/json-patch+json"),
    ("PATCH", f"{MAPS}/a", "application/apply-patch+json"),
    ("POST", "/api/v1/apply", "application/json"),
    ("POST", "/api/v1/can-i", "application/json"),
    ("POST", "/api/v1/tokens", "application/json"),
    ("POST", "/v1/apply", "application/json"),
    ("POST", "/v1/logs", "application/json"),
    ("POST", "/mcp", "application/json"),
]
TAKING_YAML = [("PATCH", f"{MAPS}/a", "application/apply-patch+yaml"), ("POST", "/api/v1/apply", "application/yaml")]


def test_documents_that_are_too_deep_are_refused_wherever_they_are_taken(target: Target) -> None:
    assert target.ask("POST", MAPS, {"metadata": {"name": "a"}, "spec": {"data": {}}})[0] == 201
    depths = [b"[" * 100_000, b'{"spec": ' + b'{"a":' * 100_000, b"[" * 5000 + b"]" * 5000]
    outcomes = {
        (method, path, kind, number): target.ask(method, path, deep, **{"Content-Type": kind})[0]
        for method, path, kind in (*TAKING_JSON, *TAKING_YAML)
        for number, deep in enumerate(depths)
    }
    assert {case: status for case, status in outcomes.items() if not 400 <= status < 500} == {}
    began = time.monotonic()
    nested = b'{"metadata": {"name": "a"}, "spec": {"data": {"x": ' + b"[" * 400 + b"]" * 400 + b"}}}"
    assert target.ask("PUT", f"{MAPS}/a", nested)[0] == 400, "what can be read is refused by what it has to be"
    assert time.monotonic() - began < 5


def test_documents_that_grow_are_refused_before_they_do(target: Target) -> None:
    began = cpu_seconds(target.server.process.pid)
    for method, path, kind in TAKING_YAML:
        status, body = target.ask(method, path, LAUGHS.encode(), **{"Content-Type": kind})
        assert 400 <= status < 500, body
    assert cpu_seconds(target.server.process.pid) - began < 2
    path = target.shell.write("laughs.yaml", LAUGHS)
    for command in (["validate"], ["apply"], ["create", "-f"], ["up"]):
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        refused = target.shell.run(*command, str(path))
        assert refused.returncode == 2, (command, refused.stderr)
        assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 5


def cpu_seconds(pid: int) -> float:
    """Return how much processor time a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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
