"""Our own terminal, given over to a command elsewhere for a while: what is typed goes there, Ctrl-C as well."""

from __future__ import annotations

import os
import signal
import termios
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import trio
from orchestrion.runtime_interface import TerminalSession, TerminalSize
from orchestrion.shared_types import ConfigInvalid, Problem

_STDIN = 0
_CHUNK_BYTES = 65536

ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGINT)
"""What would end us at once, and leave a terminal behind in which nothing that is typed can be seen."""


def must_be_terminal() -> None:
    """Make sure that standard input is a terminal.

    Raises:
        ConfigInvalid: It is none.
    """
    if not os.isatty(_STDIN):
        problem = Problem("standard input is no terminal, which --tty is about")
        raise ConfigInvalid((problem,), remedy="Leave out --tty, or run it at a terminal.")


def size_now() -> TerminalSize:
    """Return the size of our terminal; where it has none, as in some editors, the usual one."""
    columns, rows = os.get_terminal_size(_STDIN)
    return TerminalSize(rows=rows or 24, columns=columns or 80)


@contextmanager
def raw() -> Iterator[None]:
    """Let our terminal pass on all that is typed for as long as the context lasts, and nothing but that."""
    before = termios.tcgetattr(_STDIN)
    try:
        tty.setraw(_STDIN, termios.TCSADRAIN)
        yield
    finally:
        termios.tcsetattr(_STDIN, termios.TCSADRAIN, before)


async def type_into(session: TerminalSession) -> None:
    """Pass on what is typed, to the end of our terminal."""
    while True:
        await trio.lowlevel.wait_readable(_STDIN)
        try:
            data = os.read(_STDIN, _CHUNK_BYTES)
        except OSError:  # the terminal has gone
            data = b""
        if not data:
            break
        await session.send_stdin(data)
    await session.close_stdin()


async def heed_signals(session: TerminalSession, signals: AsyncIterator[int]) -> int:
    """Pass on the sizes that our terminal gets, until a signal tells us to end; return which."""
    async for number in signals:
        if number in ENDING:
            return number
        if number == signal.SIGCONT:
            # Who stopped us has given the terminal to a shell meanwhile, which has changed it.
            tty.setraw(_STDIN, termios.TCSADRAIN)
        await session.resize(size_now())
    return signal.SIGHUP
