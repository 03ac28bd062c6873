"""Who asks for what is being done at the moment, and what they should know about it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

from .principals import RESERVED_PREFIX, Principal, PrincipalKind

SERVER: Final = Principal(f"{RESERVED_PREFIX}server", PrincipalKind.SERVICE)
"""The server itself."""

ASKING: Final[ContextVar[Principal]] = ContextVar("orchestrion.asking", default=SERVER)
"""Who asks. The check before every handler sets it; what the server does of itself, the server asks for."""

WARNINGS: Final[ContextVar[list[str] | None]] = ContextVar("orchestrion.warnings", default=None)
"""Where what they should know is put down; None where nobody will read it."""

_MAX_SHOWN: Final = 20
_MAX_TEXT: Final = 200


def warnings_header() -> list[tuple[bytes, bytes]]:
    """Return the header (RFC 7234, 5.5) that tells of all warnings, if there are any."""
    given = WARNINGS.get()
    if not given:
        return []
    texts = [text[:_MAX_TEXT].replace("\\", "\\\\").replace('"', '\\"') for text in given[:_MAX_SHOWN]]
    return [(b"warning", ", ".join(f'299 - "{text}"' for text in texts).encode("ascii", "replace"))]
