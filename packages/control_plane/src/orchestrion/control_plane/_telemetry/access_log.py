"""One line of JSON for each request; no secret is in it: no header, no query, no body."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field
from orchestrion.orchestrator_core import WallClock, system_time

if TYPE_CHECKING:
    from orchestrion.control_plane._web.passage import Passage

LOGGER: Final = "orchestrion.access"

_MAX_PATH: Final = 512


@define(eq=False)
class AccessLog:
    """Writes a line of each request to a logger, at INFO.

    Attributes:
        logger: Where lines go.
        now: The wall clock.
    """

    logger: logging.Logger = field(factory=lambda: logging.getLogger(LOGGER))
    now: WallClock = system_time

    def note(self, scope: Any, passage: Passage, operation: str, seconds: float) -> None:
        """Write a line, unless nobody reads them."""
        if self.logger.isEnabledFor(logging.INFO):
            self.logger.info("%s", self._line(scope, passage, operation, seconds))

    def _line(self, scope: Any, passage: Passage, operation: str, seconds: float) -> str:
        path = scope.get("raw_path", b"").partition(b"?")[0].decode("latin-1")
        fields = {
            "at": self.now().isoformat(),
            "request": passage.request_id,
            "trace_id": passage.trace_id,
            "method": scope.get("method", "WEBSOCKET"),
            "path": path[:_MAX_PATH],
            "operation": operation,
            "status": passage.status,
            "seconds": round(seconds, 6),
            "principal": passage.principal.subject if passage.principal is not None else "",
            "via": passage.principal.via if passage.principal is not None else "",
            "source": passage.source,
        }
        # Escaped beyond ASCII, so that no name can end a line or move a cursor.
        return json.dumps(fields, separators=(",", ":"))
