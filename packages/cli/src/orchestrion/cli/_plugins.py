"""Finding implementations: ours and those of others alike by the names of entry points, or by where they are."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import Any, Final

from orchestrion.shared_types import ConfigInvalid, NotFound, OrchestrationError, Problem

from ._factories import factory_at

GROUPS: Final = {
    "runtime": "orchestrion.runtimes",
    "cluster": "orchestrion.clusters",
    "scheduler": "orchestrion.schedulers",
    "store": "orchestrion.stores",
}
"""The entry-point group of each interface."""


_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
"""It becomes part of a folder's name."""

_OTHER: Final = "Reinstall or remove it, or name another."


class PluginBroken(OrchestrationError):
    """A plug-in is there but can't be used."""

    code = "plugin-broken"


def folder_name(plugin: str, /) -> str:
    """Return what a plug-in's state is kept under: its name, without where it is found."""
    return plugin.partition("=")[0]


def load_plugin(interface: str, name: str, /) -> Any:
    """Return the callable that a plug-in offers for an interface.

    Args:
        interface: Which interface.
        name: The name of an entry point, or NAME=MODULE:FACTORY for what is not installed as a plug-in.

    Raises:
        NotFound: Nothing installed offers it, or there is no such module or factory.
        ConfigInvalid: More than one distribution does, or the text is neither.
        PluginBroken: It can't be imported, or is no callable.
    """
    short, given, target = name.partition("=")
    if given:
        if not _NAME.fullmatch(short):
            problem = Problem(f"{short!r} is no name of a plug-in: letters, digits, '.', '_' and '-' are possible")
            raise ConfigInvalid((problem,), remedy=f"Write --{interface} NAME=MODULE:FACTORY.")
        return factory_at(target)
    offered = _installed(tuple(sys.path))[interface]
    found = list(offered.select(name=name))
    if not found:
        names = ", ".join(sorted(offered.names)) or "none"
        msg = f"no {interface} {name!r} is installed; there are: {names}"
        raise NotFound(msg, remedy="Install the distribution that offers it, or name another.")
    if len({point.value for point in found}) > 1:
        owners = ", ".join(sorted(_origin(point) for point in found))
        raise ConfigInvalid(
            (Problem(f"several distributions offer a {interface} {name!r}: {owners}"),),
            remedy="Remove all but one of them.",
        )
    return _loaded(interface, found[0])


@lru_cache(maxsize=1)
def _installed(_path: tuple[str, ...], /) -> Mapping[str, EntryPoints]:
    """Return what is installed, by interface: looking through all distributions each time would delay starts."""
    found = entry_points()
    return {interface: found.select(group=group) for interface, group in GROUPS.items()}


def _loaded(interface: str, point: EntryPoint) -> Any:
    try:
        target = point.load()
    except Exception as err:
        msg = f"{_told(interface, point)} can't be imported: {type(err).__name__}: {err}"
        raise PluginBroken(msg, remedy=_OTHER) from err
    if not callable(target):
        msg = f"{_told(interface, point)} is no callable but {target!r:.80}"
        raise PluginBroken(msg, remedy=_OTHER)
    return target


def _told(interface: str, point: EntryPoint) -> str:
    return f"the {interface} {point.name!r} ({point.value}, of {_origin(point)})"


def broken(interface: str, name: str, error: Exception) -> PluginBroken:
    """Return what to raise where a plug-in's own code fails with an error that is none of ours."""
    return PluginBroken(
        f"the {interface} {name!r} failed to open: {type(error).__name__}: {error}",
        remedy="This is a fault of that plug-in: reinstall it, or name another.",
    )


def _origin(point: EntryPoint) -> str:
    """Return whose it is. This reads the distribution's whole metadata: it is for errors."""
    return point.dist.name if point.dist is not None else "an unknown distribution"
