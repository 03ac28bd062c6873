"""Whether the core runs compiled, and how to run it interpreted."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Final

CORE: Final = "orchestrion.scheduler_packing._core"
PURE: Final = "ORCHESTRION_PURE"
"""The environment variable that asks for the interpreted core, where it is "1" when the package is first imported."""


class _SourcesFirst(MetaPathFinder):
    """Finds the modules of the core by their sources, though compiled ones lie beside them."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        if not fullname.startswith(f"{CORE}.") or path is None:
            return None
        source = Path(path[0], f"{fullname.removeprefix(f'{CORE}.')}.py")
        return spec_from_file_location(fullname, source, loader=SourceFileLoader(fullname, str(source)))


def choose() -> None:
    """Arrange for the interpreted core if the environment asks for it; before the core is first imported."""
    if os.environ.get(PURE) == "1":
        sys.meta_path.insert(0, _SourcesFirst())


def is_compiled() -> bool:
    """Whether the core runs as compiled machine code, not interpreted."""
    spec = sys.modules[f"{CORE}.order"].__spec__
    return spec is not None and not isinstance(spec.loader, SourceFileLoader)
