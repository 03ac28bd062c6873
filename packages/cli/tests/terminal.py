"""A terminal that a command is at."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time

from .conftest import Shell
from .running_command import COMMAND, PATIENCE_SECONDS


class Terminal:
    """A terminal that a command is at, with us as who sits before it."""

    def __init__(self, shell: Shell, *arguments: str) -> None:
        self.ours, self.theirs = pty.openpty()
        self.resize(31, 97)
        self.before = termios.tcgetattr(self.theirs)
        self.seen = b""
        theirs = self.theirs
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=shell.folder,
            env=shell.environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: bytes) -> None:
        os.write(self.ours, text)

    def wait_for(self, text: bytes) -> None:
        """Read until a text comes that was not yet waited for."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while text not in self.seen:
            ready, _, _ = select.select([self.ours], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"no {text!r} in {self.seen!r}"
            self.seen += os.read(self.ours, 65536)
        self.seen = self.seen.partition(text)[2]

    def end(self) -> int:
        """Wait for the command's end, and return its exit code; the terminal has to be as it was before."""
        code = self.process.wait(PATIENCE_SECONDS)
        assert termios.tcgetattr(self.theirs) == self.before
        return code

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.ours)
        os.close(self.theirs)
