"""A server in a process of its own, and who asks it: as the administrator, or in any other way."""

from __future__ import annotations

import json
import re
import socket
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Target:
    """A server that is attacked."""

    def __init__(self, shell: Any, *options: str) -> None:
        self.shell = shell
        self.server = shell.begin("server", "--port", "0", "--log", "json", *options)
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
        status, body, _ = self.whole(method, path, data, **headers)
        return status, body

    def whole(self, method: str, path: str, data: Any = None, **headers: str) -> tuple[int, bytes, Mapping[str, str]]:
        """Send a request as `ask` does, and return the headers of the answer too, by names in lower case."""
        body = data if isinstance(data, bytes) else None if data is None else json.dumps(data).encode()
        given = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json", **headers}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=body, method=method, headers=given)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read(), _named(answer.headers)
        except urllib.error.HTTPError as err:
            return err.code, err.read(), _named(err.headers)

    def end(self) -> None:
        """End it in good order: it has served on, and no fault was logged."""
        if self.server.process.poll() is None:
            status, _ = self.ask("GET", "/healthz")
            assert status == 200, "it serves on after the attack"
            self.server.interrupt()
        assert self.server.end() == 0
        assert not any("Traceback" in line for line in self.server.err)


def _named(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
