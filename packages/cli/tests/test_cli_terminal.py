"""A terminal in an instance, from a terminal: everything that is typed gets there, and ours is as it was afterwards."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from typing import Any

import pytest

from .running_command import COMMAND, PATIENCE_SECONDS

pytestmark = pytest.mark.slow

APP = """
    workloads:
      web:
        containers: [{name: main, command: [sleep, "1000"], stop_grace: 1s}]
    """


class Terminal:
    """A terminal that a command is at, with us as who sits before it."""

    def __init__(self, shell: Any, *arguments: str) -> None:
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


@pytest.fixture
def at_terminal(shell: Any) -> Iterator[Any]:
    """Runs commands at terminals of their own, on a server that runs an instance."""
    server = shell.begin("server", "--port", "0")
    server.wait_for("serving at")
    assert shell.run("apply", str(shell.write("app.yaml", APP))).returncode == 0
    assert shell.run("wait", "workload", "web", "--for", "phase=Healthy", "--timeout", "50s").returncode == 0
    opened: list[Terminal] = []

    def run(*arguments: str) -> Terminal:
        opened.append(Terminal(shell, *arguments))
        return opened[-1]

    run.server = server  # type: ignore[attr-defined] # some tests end it
    yield run
    for terminal in opened:
        terminal.close()
    if server.process.poll() is None:
        shell.run("rm", "--yes", "web")
        server.send(signal.SIGINT)
        server.end()


def shell_at(at_terminal: Any) -> Terminal:
    terminal: Terminal = at_terminal("exec", "-it", "web.0", "--", "sh")
    terminal.wait_for(b"# " if os.geteuid() == 0 else b"$ ")
    return terminal


def test_a_shell_in_an_instance_is_like_one_here(at_terminal: Any) -> None:
    terminal = shell_at(at_terminal)
    terminal.type(b"stty size; tty\n")
    terminal.wait_for(b"31 97\r\n/dev/pts/")
    terminal.resize(13, 41)
    terminal.type(b"sleep 1000; echo $?\n")
    terminal.wait_for(b"\n")
    terminal.type(b"\x03")
    terminal.wait_for(b"130\r\n")
    terminal.type(b"stty size\n")
    terminal.wait_for(b"13 41\r\n")
    terminal.type(b"exit 7\n")
    assert terminal.end() == 7


def test_the_end_of_the_input_ends_a_shell(at_terminal: Any) -> None:
    terminal = shell_at(at_terminal)
    terminal.type(b"\x04")
    assert terminal.end() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_who_is_told_to_end_leaves_the_terminal_as_it_was(number: signal.Signals, at_terminal: Any) -> None:
    terminal = shell_at(at_terminal)
    terminal.process.send_signal(number)
    assert terminal.end() == 128 + number


def test_a_server_that_is_gone_leaves_the_terminal_as_it_was(at_terminal: Any) -> None:
    terminal = shell_at(at_terminal)
    at_terminal.server.kill()
    assert terminal.end() == 9


def test_a_program_that_is_not_there_leaves_the_terminal_as_it_was(at_terminal: Any) -> None:
    assert at_terminal("exec", "-it", "web.0", "--", "no-such-program").end() == 127


def test_without_a_terminal_there_is_none_to_give(shell: Any) -> None:
    done = shell.run("exec", "-t", "web.0", "--", "sh")
    assert done.returncode == 2
    assert "no terminal" in done.stderr
