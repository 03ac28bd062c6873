"""Finding implementations by their names: ours and those of others alike, through entry points."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from orchestrion.shared_types import ConfigInvalid, NotFound, OrchestrationError, Problem

GROUPS: Final = {
    "runtime": "orchestrion.runtimes",
    "cluster": "orchestrion.clusters",
    "scheduler": "orchestrion.schedulers",
    "store": "orchestrion.stores",
}
"""The entry-point group of each interface."""


class PluginBroken(OrchestrationError):
    """A plug-in is there but can't be used."""

    code = "plugin-broken"


def load_plugin(interface: str, name: str, /) -> Any:
    """Return the callable that the plug-in `name` offers for an interface.

    Raises:
        NotFound: Nothing installed offers it.
        ConfigInvalid: More than one distribution does.
        PluginBroken: It can't be imported, or is no callable.
    """
    found = list(entry_points(group=GROUPS[interface], name=name))
    if not found:
        names = ", ".join(sorted(entry_points(group=GROUPS[interface]).names)) or "none"
        msg = f"no {interface} {name!r} is installed; there are: {names}"
        raise NotFound(msg, remedy="Install the distribution that offers it, or name another.")
    if len({point.value for point in found}) > 1:
        owners = ", ".join(sorted(_origin(point) for point in found))
        raise ConfigInvalid(
            (Problem(f"several distributions offer a {interface} {name!r}: {owners}"),),
            remedy="Remove all but one of them.",
        )
    return _loaded(interface, found[0])


def _loaded(interface: str, point: EntryPoint) -> Any:
    where = f"the {interface} {point.name!r} ({point.value}, of {_origin(point)})"
    remedy = "Reinstall or remove it, or name another."
    try:
        target = point.load()
    except Exception as err:
        msg = f"{where} can't be imported: {type(err).__name__}: {err}"
        raise PluginBroken(msg, remedy=remedy) from err
    if not callable(target):
        msg = f"{where} is no callable but {target!r:.80}"
        raise PluginBroken(msg, remedy=remedy)
    return target


def broken(interface: str, name: str, error: Exception) -> PluginBroken:
    """Return what to raise where a plug-in's own code fails with an error that is none of ours."""
    return PluginBroken(
        f"the {interface} {name!r} failed to open: {type(error).__name__}: {error}",
        remedy="This is a fault of that plug-in: reinstall it, or name another.",
    )


def _origin(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "an unknown distribution"
