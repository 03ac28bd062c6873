"""A terminal in an instance, from a terminal: everything that is typed gets there, and ours is as it was afterwards."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Shell
from .terminal import Terminal

pytestmark = pytest.mark.slow

APP = """
    workloads:
      web:
        containers: [{name: main, command: [sleep, "1000"], stop_grace: 1s}]
    """


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
    terminal.type(b"sh -c 'echo sleeps now; exec sleep 1000'\n")
    # A shell that only just begins what is typed may miss an interrupt.
    terminal.wait_for(b"sleeps now\r\n")
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
