"""Versions of what is installed."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import distributions

from attrs import frozen

from ._output import Form, columns, show

_PACKING = "orchestrion-scheduler-packing"


@frozen
class Part:
    """A distribution that is installed, or Python.

    Attributes:
        name: Its name.
        version: Its version.
        core: "compiled" or "interpreted", as its core runs; "" where nothing of it can be compiled.
    """

    name: str
    version: str
    core: str = ""


def run_version(form: Form) -> int:
    """Print the version of every distribution of ours, and of Python."""
    show(installed(), form, table=lambda parts: columns([_cells(part) for part in parts]), name=_name)
    return 0


def installed() -> list[Part]:
    """Return the distributions of ours, and Python."""
    found = {one.name: one.version for one in distributions() if _ours(one.name)}
    ours: Iterable[str] = sorted(found, key=lambda name: (name != "orchestrion", name))
    parts = [Part(name, found[name], _packing_core() if name == _PACKING else "") for name in ours]
    return [*parts, Part("python", platform.python_version())]


def _packing_core() -> str:
    from orchestrion.scheduler_packing import is_compiled

    return "compiled" if is_compiled() else "interpreted"


def _ours(name: str) -> bool:
    return name == "orchestrion" or (name.startswith("orchestrion-") and name != "orchestrion-workspace")


def _cells(part: Part) -> tuple[str, ...]:
    return (part.name, part.version, part.core) if part.core else (part.name, part.version)


def _name(part: Part) -> str:
    return f"{part.name} {part.version}"
