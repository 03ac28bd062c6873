"""Terminals that are made of software: pairs of which a command has one end, and we the other."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
from typing import Final

from orchestrion.runtime_interface import TerminalSize

_CONTROL_CHARACTERS: Final = 6
"""Where `tcgetattr` has them in what it returns."""

_USUAL_END: Final = b"\x04"


def open_terminal(size: TerminalSize, user_id: int | None) -> tuple[int, int]:
    """Return our end of a new terminal, and the command's.

    Args:
        size: How large it is.
        user_id: Whose it is to be, so that the command may open it again by its name; None leaves it ours.

    Raises:
        OSError: There are too many, or the system has none.
    """
    ours, theirs = os.openpty()
    try:
        set_size(ours, size)
        if user_id is not None and os.geteuid() == 0:
            os.fchown(theirs, user_id, -1)
    except BaseException:
        os.close(ours)
        os.close(theirs)
        raise
    return ours, theirs


def set_size(ours: int, size: TerminalSize) -> None:
    """Let a terminal have another size. The system tells what runs in its foreground (SIGWINCH)."""
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", size.rows, size.columns, 0, 0))


def end_of_input(ours: int) -> bytes:
    """Return the character that ends a terminal's input where it stands at the beginning of a line."""
    try:
        characters: list[bytes] = termios.tcgetattr(ours)[_CONTROL_CHARACTERS]
    except termios.error:  # nobody is at it any longer, and nobody will read this
        return _USUAL_END
    return characters[termios.VEOF]
