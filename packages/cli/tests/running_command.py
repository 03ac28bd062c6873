"""A command that runs in a process of its own, whose lines are read as they come."""

from __future__ import annotations

import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

COMMAND = (sys.executable, "-m", "orchestrion.cli")

PATIENCE_SECONDS = 60.0
"""How long anything may take before a test fails; nothing waits for it to pass."""


class RunningCommand:
    """A command, such as `orchestrion up`, while it runs."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.out: list[str] = []
        self.err: list[str] = []
        self._seen: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._readers = [
            threading.Thread(target=self._read, args=(stream, lines), daemon=True)
            for stream, lines in ((process.stdout, self.out), (process.stderr, self.err))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: Iterator[bytes], lines: list[str]) -> None:
        for line in stream:
            lines.append(line.decode(errors="replace").rstrip("\n"))
            self._seen.put(lines[-1])
        self._seen.put(None)

    def wait_for(self, text: str) -> str:
        """Wait for a line with `text` that was not yet waited for, and return it."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        open_streams = len(self._readers)
        while open_streams:
            try:
                line = self._seen.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            if line is None:
                open_streams -= 1
            elif text in line:
                return line
        pytest.fail(f"no line with {text!r}; stdout: {self.out[-20:]}; stderr: {self.err[-20:]}")

    def send(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def interrupt(self) -> None:
        """Send what a terminal sends for Ctrl-C."""
        self.send(signal.SIGINT)

    def end(self) -> int:
        """Wait for its end, and return the exit code."""
        code = self.process.wait(timeout=PATIENCE_SECONDS)
        for reader in self._readers:
            reader.join(timeout=PATIENCE_SECONDS)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        return code

    def kill(self) -> None:
        """End it if it still runs, and all that reads from it."""
        if self.process.poll() is None:
            self.process.kill()
        self.end()


def begin(*arguments: str, folder: Path, environment: Mapping[str, str]) -> RunningCommand:
    """Start a command of `orchestrion` in a folder."""
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    return RunningCommand(process)


def run_to_end(
    *arguments: str, folder: Path, environment: Mapping[str, str], text: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command of `orchestrion` to its end, with `text` as its standard input."""
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env=environment,
        input=text,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
