"""The command as a user runs it: in processes of its own, on a state directory of its own."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

PATIENCE_SECONDS = 60.0
"""How long anything may take before a test fails; nothing waits for it to pass."""


class Up:
    """A running `orchestrion up`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.out: list[str] = []
        self.err: list[str] = []
        self._seen: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._readers = [
            threading.Thread(target=self._read, args=(process.stdout, self.out), daemon=True),
            threading.Thread(target=self._read, args=(process.stderr, self.err), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: Iterator[str], lines: list[str]) -> None:
        for line in stream:
            lines.append(line.rstrip("\n"))
            self._seen.put(line)

    def wait_for(self, text: str) -> None:
        """Wait until it prints a line with `text`, which it has not yet been waited for."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                line = self._seen.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                pytest.fail(f"no line with {text!r}; stdout: {self.out}; stderr: {self.err}")
            if text in line:
                return

    def interrupt(self, number: int = signal.SIGINT) -> None:
        """Send a signal, as a terminal does."""
        self.process.send_signal(number)

    def end(self) -> int:
        """Wait for the end, and return the exit code."""
        code = self.process.wait(timeout=PATIENCE_SECONDS)
        for reader in self._readers:
            reader.join(timeout=PATIENCE_SECONDS)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        return code


class Shell:
    """Runs commands in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.ups: list[Up] = []
        self.environment = {**os.environ, "ORCHESTRION_STATE": str(self.state)}

    def write(self, name: str, text: str) -> Path:
        """Write a manifest."""
        path = self.folder / name
        path.write_text(dedent(text))
        return path

    def run(self, *arguments: str, input: str = "") -> subprocess.CompletedProcess[str]:  # noqa: A002 # as subprocess.run
        """Run a command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "orchestrion.cli", *arguments],
            cwd=self.folder,
            env=self.environment,
            input=input,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    def up(self, *arguments: str) -> Up:
        """Start `up`."""
        process = subprocess.Popen(
            [sys.executable, "-m", "orchestrion.cli", "up", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        up = Up(process)
        self.ups.append(up)
        return up

    def strays(self) -> list[str]:
        """Return the command lines of all processes that belong to the folder."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(self.folder) in line:
                found.append(line)
        return found


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A folder to run commands in; whatever still runs there at the end is stopped."""
    shell = Shell(tmp_path)
    yield shell
    for up in shell.ups:
        if up.process.poll() is None:
            up.process.kill()
            up.end()
    if (shell.state / "lock").exists():
        names = shell.run("status", "-o", "name").stdout.split()
        if names:
            shell.run("rm", "--yes", *names)
