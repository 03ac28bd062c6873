"""Importing what takes a while, in threads, one at a time.

Modules that import each other in a circle, as Hypercorn's do, are found half made by a second thread that imports them.
"""

from __future__ import annotations

import importlib
import threading
from typing import Final

LOADING: Final = threading.Lock()
"""Held by whoever imports what the servers need."""


def load(*modules: str) -> None:
    """Import some modules of this package. It blocks, for up to half a second of processor time and longer for others.

    Args:
        *modules: Their names within the package.
    """
    with LOADING:
        for module in modules:
            importlib.import_module(f".{module}", __package__)
