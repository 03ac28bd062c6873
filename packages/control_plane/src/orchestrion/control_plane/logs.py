"""How a server writes its log."""

from ._telemetry.logs import LogForm, logging_to

__all__ = ["LogForm", "logging_to"]
