"""The ordinary forms of `orchestrion up`, understood without the parser.

Importing the parser takes as long as starting a container. This is only an optimisation: whatever is not of these forms
goes to the parser, which understands these too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

LogChoice = Literal["batch", "all", "none"]
"""Whose output `up` shows."""

_OPTIONS: Final = {"--state": "state", "-s": "state", "--logs": "logs"}
_LOGS: Final[tuple[LogChoice, ...]] = ("batch", "all", "none")


def quick_up(arguments: Sequence[str], /) -> tuple[Path, Path | None, LogChoice] | None:
    """Return the file, the state directory and whose output is shown; None leaves the arguments to the parser."""
    if len(arguments) < 2 or len(arguments) % 2 or arguments[0] != "up" or arguments[1].startswith("-"):
        return None
    given: dict[str, str] = {}
    for option, value in zip(arguments[2::2], arguments[3::2], strict=True):
        name = _OPTIONS.get(option)
        if name is None or name in given or not value or value.startswith("-"):
            return None
        given[name] = value
    state = given.get("state", "")
    for logs in _LOGS:
        if given.get("logs", "batch") == logs and arguments[1]:
            return Path(arguments[1]), Path(state) if state else None, logs
    return None
