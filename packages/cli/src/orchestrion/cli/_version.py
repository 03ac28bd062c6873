"""Versions of what is installed."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import distributions

from attrs import frozen

from ._output import Form, columns, show


@frozen
class Part:
    """A distribution that is installed, or Python."""

    name: str
    version: str


def run_version(form: Form) -> int:
    """Print the version of every distribution of ours, and of Python."""
    show(_parts(), form, table=lambda parts: columns([(part.name, part.version) for part in parts]), name=_name)
    return 0


def _parts() -> list[Part]:
    found = {one.name: one.version for one in distributions() if _ours(one.name)}
    ours: Iterable[str] = sorted(found, key=lambda name: (name != "orchestrion", name))
    return [*(Part(name, found[name]) for name in ours), Part("python", platform.python_version())]


def _ours(name: str) -> bool:
    return name == "orchestrion" or (name.startswith("orchestrion-") and name != "orchestrion-workspace")


def _name(part: Part) -> str:
    return f"{part.name} {part.version}"
