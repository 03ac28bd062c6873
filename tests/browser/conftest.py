"""A real server and a real browser; where there is no browser to drive, nothing of this is collected."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

if importlib.util.find_spec("playwright") is None:
    collect_ignore_glob = ["test_*.py"]
else:
    from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

CHROMIUM = "/usr/bin/chromium"
OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_SECONDS = 60.0


class Server:
    """`orchestrion dev` in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.said = folder / "said.txt"
        with self.said.open("wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "orchestrion.cli", "dev", "--port", "0", "--state", str(self.state)],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
            )
        self.link = self._said(r"the dashboard, once: (\S+)")
        self.url = self.link.partition("/ui/")[0]
        self.token = (self.state / "server-api" / "admin.token").read_text().strip()

    def _said(self, pattern: str) -> str:
        wait_until(lambda: self.process.poll() is not None or re.search(pattern, self.said.read_text()) is not None)
        found = re.search(pattern, self.said.read_text())
        assert found is not None, self.said.read_text()
        return found[1]

    def ask(self, method: str, path: str, data: object = None) -> Any:
        """Ask the API as an administrator."""
        body = None if data is None else json.dumps(data).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}{path}", data=body, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
            return json.load(answer)

    def run(self, name: str, script: str, **spec: object) -> None:
        """Want a workload that runs a script, and wait until it does."""
        containers = [{"name": "main", "command": ["sh", "-c", script], "resources": {"cpu": "10m", "memory": "8Mi"}}]
        document = {"metadata": {"name": name}, "spec": {"containers": containers, **spec}}
        self.ask("POST", "/api/v1/namespaces/default/workloads", document)

    def wait_for(self, name: str, phase: str) -> None:
        """Wait until a workload is in a phase."""
        path = f"/api/v1/namespaces/default/workloads/{name}"
        wait_until(lambda: self.ask("GET", path)["status"]["phase"] == phase)

    def close(self) -> None:
        """End it, and all that it runs."""
        self.process.terminate()
        try:
            self.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def wait_until(holds: Callable[[], bool]) -> None:
    """Ask until something holds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)  # between two requests to another process


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server at work for all tests of the session."""
    made = Server(tmp_path_factory.mktemp("served"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A browser for all tests of the session."""
    with sync_playwright() as playwright:
        expect.set_options(timeout=PATIENCE_SECONDS * 1000)
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield made
        made.close()


@pytest.fixture(scope="session")
def signed_in(server: Server, browser: Browser) -> Any:
    """What a browser keeps that has signed in by the link that the server told."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(server.link)
    page.get_by_role("heading", name="Overview").wait_for()
    state = context.storage_state()
    context.close()
    return state


class Window:
    """Opens pages, and knows of all that they ask for and complain of."""

    def __init__(self, browser: Browser, server: Server, state: Any) -> None:
        self._browser = browser
        self._server = server
        self._state = state
        self.contexts: list[BrowserContext] = []
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.expected_complaints: list[str] = []

    def open(self, path: str = "/", *, fresh: bool = False, **options: Any) -> Page:
        """Open a page in a window of its own."""
        state = None if fresh else self._state
        context = self._browser.new_context(base_url=self._server.url, storage_state=state, **options)
        context.set_default_timeout(PATIENCE_SECONDS * 1000)
        self.contexts.append(context)
        page = context.new_page()
        context.on("request", lambda request: self.requests.append(request.url))
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(path)
        return page

    def _note(self, message: Any) -> None:
        if message.type == "error":
            self.complaints.append(message.text)


@pytest.fixture
def window(browser: Browser, server: Server, signed_in: Any) -> Iterator[Window]:
    """Opens pages as an administrator; at the end none has asked for anything elsewhere, nor complained."""
    window = Window(browser, server, signed_in)
    yield window
    for context in window.contexts:
        context.close()
    away = [url for url in window.requests if not url.startswith((server.url, server.url.replace("http", "ws", 1)))]
    assert away == []
    unexpected = [text for text in window.complaints if not any(part in text for part in window.expected_complaints)]
    assert unexpected == []


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures of pages go: the folder that `ORCHESTRION_PICTURES` names, or one that is thrown away."""
    named = os.environ.get("ORCHESTRION_PICTURES")
    folder = Path(named) if named else tmp_path_factory.mktemp("pictures")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
