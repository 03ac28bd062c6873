"""Who asks for what is being done at the moment."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

from .principals import RESERVED_PREFIX, Principal, PrincipalKind

SERVER: Final = Principal(f"{RESERVED_PREFIX}server", PrincipalKind.SERVICE)
"""The server itself."""

ASKING: Final[ContextVar[Principal]] = ContextVar("orchestrion.asking", default=SERVER)
"""Who asks. The check before every handler sets it; what the server does of itself, the server asks for."""
