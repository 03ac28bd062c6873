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
from pathlib import Path
from typing import Any

import pytest

from .conftest import Shell
from .running_command import COMMAND, PATIENCE_SECONDS

pytestmark = pytest.mark.slow

APP = """
    workloads:
      web:
        containers: [{name: main, command: [sleep, "1000"], stop_grace: 1s}]
    """


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


class Room:
    """A server that runs an instance, and terminals to reach it from."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        self.terminals: list[Terminal] = []
        self.server = shell.begin("server", "--port", "0")
        self.server.wait_for("serving at")
        assert shell.run("apply", str(shell.write("app.yaml", APP))).returncode == 0
        assert shell.run("rollout", "status", "web", "--timeout", "50s").returncode == 0

    def run(self, *arguments: str) -> Terminal:
        """Run a command at a terminal of its own."""
        self.terminals.append(Terminal(self.shell, *arguments))
        return self.terminals[-1]

    def run_shell(self) -> Terminal:
        """Run a shell in the instance."""
        terminal = self.run("exec", "-it", "web.0", "--", "sh")
        terminal.wait_for(b"# " if os.geteuid() == 0 else b"$ ")
        return terminal

    def close(self) -> None:
        """End everything."""
        for terminal in self.terminals:
            terminal.close()
        if self.server.process.poll() is None:
            self.server.send(signal.SIGINT)
            self.server.end()
        self.shell.run("rm", "--yes", "web")


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    """A server for all tests: what they leave behind there is nothing."""
    made = Room(Shell(tmp_path_factory.mktemp("room")))
    yield made
    made.close()


@pytest.fixture
def own_room(tmp_path: Path) -> Iterator[Room]:
    """A server for one test, which may end it."""
    made = Room(Shell(tmp_path))
    yield made
    made.close()


def test_a_shell_in_an_instance_is_like_one_here(room: Room) -> None:
    terminal = room.run_shell()
    terminal.type(b"stty size; tty\n")
    terminal.wait_for(b"31 97\r\n/dev/pts/")
    terminal.resize(13, 41)
    terminal.type(b"sleep 1000\n")
    terminal.wait_for(b"sleep 1000\r\n")
    terminal.type(b"\x03")
    terminal.wait_for(b"^C")
    terminal.type(b"echo ended $?\n")
    terminal.wait_for(b"ended 130\r\n")
    terminal.type(b"stty size\n")
    terminal.wait_for(b"13 41\r\n")
    terminal.type(b"exit 7\n")
    assert terminal.end() == 7


def test_the_end_of_the_input_ends_a_shell(room: Room) -> None:
    terminal = room.run_shell()
    terminal.type(b"\x04")
    assert terminal.end() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_who_is_told_to_end_leaves_the_terminal_as_it_was(number: signal.Signals, room: Room) -> None:
    terminal = room.run_shell()
    terminal.process.send_signal(number)
    assert terminal.end() == 128 + number


def test_a_server_that_is_gone_leaves_the_terminal_as_it_was(own_room: Room) -> None:
    terminal = own_room.run_shell()
    own_room.server.kill()
    assert terminal.end() == 9


def test_a_program_that_is_not_there_leaves_the_terminal_as_it_was(room: Room) -> None:
    assert room.run("exec", "-it", "web.0", "--", "no-such-program").end() == 127


def test_without_a_terminal_there_is_none_to_give(shell: Any) -> None:
    done = shell.run("exec", "-t", "web.0", "--", "sh")
    assert done.returncode == 2
    assert "no terminal" in done.stderr
