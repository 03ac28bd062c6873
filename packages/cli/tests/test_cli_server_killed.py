"""A server that is killed again and again: what it has acknowledged is there, and who watches misses nothing."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from .running_command import PATIENCE_SECONDS, RunningCommand

pytestmark = pytest.mark.slow

KILLS = 50
WRITERS = 4
WATCHERS = 3
MAPS = "/api/v1/namespaces/default/configmaps"


class Clients:
    """Writes and watches, over whatever server there is at the moment."""

    def __init__(self, port: int, token: str) -> None:
        self.port = port
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self.written = threading.Event()
        self.over = threading.Event()
        self.acknowledged: dict[str, int] = {}
        self.tried: set[str] = set()
        self.seen: list[list[tuple[str, str, str]]] = [[] for _ in range(WATCHERS)]
        self.faults: list[str] = []
        self._threads = [
            *(threading.Thread(target=self._write, args=(number,), daemon=True) for number in range(WRITERS)),
            *(threading.Thread(target=self._watch, args=(seen,), daemon=True) for seen in self.seen),
        ]

    def begin(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Write no more; who watches goes on until it has seen what was acknowledged."""
        self.written.set()
        for thread in self._threads[:WRITERS]:
            thread.join(timeout=PATIENCE_SECONDS)
        self.over.set()
        for thread in self._threads:
            thread.join(timeout=PATIENCE_SECONDS)
            assert not thread.is_alive(), "a watcher did not see all that was acknowledged"

    def _write(self, writer: int) -> None:
        number = 0
        while not self.written.is_set():
            name = f"w{writer}-{number}"
            number += 1
            body = json.dumps({"metadata": {"name": name}, "spec": {"data": {"n": str(number)}}})
            self.tried.add(name)
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
            try:
                connection.request("POST", MAPS, body, self.headers)
                answer = connection.getresponse()
                made = json.load(answer)
                if answer.status == 201:
                    self.acknowledged[name] = made["metadata"]["revision"]
                else:
                    self.faults.append(f"{answer.status}: {made}")
            except (OSError, http.client.HTTPException, ValueError):
                time.sleep(0.02)  # it was killed; nobody knows what became of this one
            finally:
                connection.close()

    def _watch(self, seen: list[tuple[str, str, str]]) -> None:
        since = "0"
        while not self.over.is_set() or not self._complete(seen):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
            try:
                connection.request("GET", f"{MAPS}?watch=true&since={since}", headers=self.headers)
                answer = connection.getresponse()
                if answer.status != 200:
                    self.faults.append(f"{answer.status}: {answer.read()!r}")
                    return
                while line := answer.readline():
                    if not line.endswith(b"\n"):
                        break  # torn by the kill: what it was comes again
                    event = json.loads(line)
                    since = event.get("id", since)
                    if event["type"] != "BOOKMARK":
                        seen.append((event["type"], event["object"]["metadata"]["name"], event["id"]))
                    if self.over.is_set() and self._complete(seen):
                        return
            except (OSError, http.client.HTTPException, ValueError):
                time.sleep(0.02)
            finally:
                connection.close()

    def _complete(self, seen: list[tuple[str, str, str]]) -> bool:
        return set(self.acknowledged) <= {name for _, name, _ in seen}


@pytest.fixture
def unused_port() -> int:
    """A port that each of the servers takes in turn."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def serve(shell: Any, port: int) -> RunningCommand:
    server: RunningCommand = shell.begin("server", "--port", str(port))
    server.wait_for("serving at")
    return server


def test_what_was_acknowledged_outlives_kills_and_no_watcher_misses_or_repeats(shell: Any, unused_port: int) -> None:
    server = serve(shell, unused_port)
    token = (Path(shell.state) / "server-api" / "admin.token").read_text().strip()
    clients = Clients(unused_port, token)
    clients.begin()
    for kill in range(KILLS):
        wanted = len(clients.acknowledged) + 5
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(clients.acknowledged) < wanted:
            assert time.monotonic() < deadline, "nothing is acknowledged any more"
            time.sleep(0.005 * (kill % 3 + 1))
        server.process.kill()
        server.end()
        server = serve(shell, unused_port)
    clients.end()
    listed = every_item(unused_port, token)
    there = {item["metadata"]["name"]: item["metadata"]["revision"] for item in listed}
    assert clients.faults == []
    assert {name: there.get(name) for name in clients.acknowledged} == clients.acknowledged
    assert set(there) <= clients.tried
    for seen in clients.seen:
        names = [name for kind, name, _ in seen if kind == "ADDED"]
        assert len(names) == len(set(names)), "an event came twice"
        assert set(names) >= set(clients.acknowledged), "an event is missing"
        positions = [tuple(map(int, place.split("."))) for _, _, place in seen]
        assert positions == sorted(positions)
    verified = shell.run("audit", "verify")
    assert verified.returncode == 0, verified.stderr
    server.interrupt()
    assert server.end() == 0


def every_item(port: int, token: str) -> list[Any]:
    """Return all config maps, page by page."""
    found, more = list[Any](), ""
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
        with closing(connection):
            connection.request("GET", f"{MAPS}?limit=500{more}", headers={"Authorization": f"Bearer {token}"})
            page = json.load(connection.getresponse())
        found += page["items"]
        if not page["metadata"].get("continue"):
            return found
        more = f"&continue={page['metadata']['continue']}"
