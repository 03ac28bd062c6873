"""Which orchestrator a command is about, as it was typed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, NamedTuple

CONTEXTS_FILE: Final = "contexts.toml"


class Where(NamedTuple):
    """What was typed, or None each.

    Attributes:
        state: The state directory of an orchestrator on this machine.
        context: The name of a context, which says where a server is.
        namespace: The namespace; "*" is all of them where that is possible.
    """

    state: Path | None = None
    context: str | None = None
    namespace: str | None = None


def settings_folder() -> Path:
    """Return where a user's contexts are: in the folder for settings (XDG base directories)."""
    settings = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    return (settings if settings.is_absolute() else Path.home() / ".config") / "orchestrion"
