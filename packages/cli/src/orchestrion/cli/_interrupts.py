"""Ctrl-C, from the first moment to the last: a traceback is no answer to it.

Python's own way, an exception wherever it happens to be, is right only while something has to be ended in good order.
In imports it may be lost, or come out as an error of another kind.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130
"""The exit code of who was interrupted."""

_IMPORTS = "<frozen importlib._bootstrap>"
"""What a frame of Python's import system names as its file."""


def end_at_once() -> None:
    """Let Ctrl-C end this process at once and without a word: there is nothing to be ended in good order yet.

    Who was started to ignore it, as in the background of a script, goes on doing so.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


@contextmanager
def in_good_order() -> Iterator[None]:
    """Let Ctrl-C raise `KeyboardInterrupt` for as long as the context lasts, if it would have ended us at once."""
    if signal.getsignal(signal.SIGINT) is not _end:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, _end)


@contextmanager
def but_at_once_in_imports() -> Iterator[None]:
    """Let Ctrl-C end us at once in an import, and as it would elsewhere."""
    elsewhere = signal.getsignal(signal.SIGINT)
    if not callable(elsewhere):
        yield
        return

    def interrupted(number: int, frame: FrameType | None) -> None:
        if _imports(frame):
            os._exit(INTERRUPTED)
        elsewhere(number, frame)

    signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, elsewhere)


def _end(_number: int, _frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)


def _imports(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTS:
            return True
        frame = frame.f_back
    return False
