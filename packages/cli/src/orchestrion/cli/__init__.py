"""Orchestrion: the command, and everything that it needs."""

from __future__ import annotations

import gc
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main", "run"]

_COLLECTIONS = (200_000, 20, 100)


def main() -> None:
    """Run the command with the arguments of this process, and end the process."""
    # Before everything else: imports take most of the time in which somebody may change their mind.
    try:
        from ._interrupts import end_at_once

        end_at_once()
        # Modules are there to stay: to look through them again and again while they are made finds nothing. Those who
        # stay for long find their own measure.
        gc.set_threshold(*_COLLECTIONS)
    except KeyboardInterrupt:
        os._exit(130)
    from ._main import main as run_command

    run_command()


def run(arguments: Sequence[str], /) -> int:
    """Run the command and return its exit code. Foreseen errors are told on stderr, and never raised."""
    from ._main import run as run_command

    return run_command(arguments)
