"""What MODULE:FACTORY names."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from orchestrion.shared_types import ConfigInvalid, NotFound, Problem


def factory_at(target: str, /) -> Callable[..., Any]:
    """Return the callable that MODULE:FACTORY names; the module may be in the current folder.

    Raises:
        ConfigInvalid: The text names none, or what it names can't be called.
        NotFound: There is no such module, or it has nothing of that name.
    """
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        raise ConfigInvalid((Problem(f"{target!r} does not name a factory"),), remedy="Write MODULE:FACTORY.")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # as `python -m` does: what is being written is not yet installed
    try:
        found: Any = import_module(module_name)
    except Exception as err:
        msg = f"{module_name!r} can't be imported: {type(err).__name__}: {err}"
        raise NotFound(msg, remedy="Look whether it is installed here, or in the current folder.") from err
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as err:
            msg = f"{module_name!r} has no {attribute!r}"
            raise NotFound(msg, remedy=_offers(found)) from err
    if not callable(found):
        raise ConfigInvalid((Problem(f"{target!r} is no factory: it can't be called"),))
    factory: Callable[..., Any] = found
    return factory


def _offers(module: object) -> str:
    names = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
    return f"It has: {', '.join(names[:10])}." if names else ""
