"""The ordinary forms of `orchestrion up` and `orchestrion dev`, understood without the parser.

Importing the parser takes as long as starting a container. This is only an optimisation: whatever is not of these forms
goes to the parser, which understands these too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

LogChoice = Literal["batch", "all", "none"]
"""Whose output `up` shows."""

_STATE: Final = {"--state": "state", "-s": "state"}
_UP: Final = {**_STATE, "--logs": "logs"}
_DEV: Final = {**_STATE, "--host": "host", "--port": "port", "-p": "port"}
_LOGS: Final[tuple[LogChoice, ...]] = ("batch", "all", "none")
_MAX_PORT: Final = 65_535


class QuickDev(NamedTuple):
    """What `dev` was asked for."""

    state: Path | None
    host: str
    port: int


def quick_up(arguments: Sequence[str], /) -> tuple[Path, Path | None, LogChoice] | None:
    """Return the file, the state directory and whose output is shown; None leaves the arguments to the parser."""
    if len(arguments) < 2 or arguments[0] != "up" or arguments[1].startswith("-"):
        return None
    given = _given(arguments[2:], _UP)
    if given is None:
        return None
    for logs in _LOGS:
        if given.get("logs", "batch") == logs and arguments[1]:
            return Path(arguments[1]), _path(given), logs
    return None


def quick_dev(arguments: Sequence[str], /) -> QuickDev | None:
    """Return what `dev` is asked for; None leaves the arguments to the parser."""
    if not arguments or arguments[0] != "dev":
        return None
    given = _given(arguments[1:], _DEV)
    if given is None:
        return None
    port = given.get("port", "7070")
    if not (
        port.isascii() and port.isdecimal() and (port == "0" or port[0] != "0") and len(port) <= len(str(_MAX_PORT))
    ):
        return None
    return QuickDev(_path(given), given.get("host", "127.0.0.1"), int(port))


def _given(arguments: Sequence[str], options: Mapping[str, str]) -> dict[str, str] | None:
    """Return the values of options, each given once and as a word of its own; None where there is anything else."""
    if len(arguments) % 2:
        return None
    given: dict[str, str] = {}
    for option, value in zip(arguments[::2], arguments[1::2], strict=True):
        name = options.get(option)
        if name is None or name in given or not value or value.startswith("-"):
            return None
        given[name] = value
    return given


def _path(given: Mapping[str, str]) -> Path | None:
    return Path(given["state"]) if "state" in given else None
