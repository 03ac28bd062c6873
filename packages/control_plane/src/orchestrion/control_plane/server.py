"""The server for the network: a module of its own, because it needs much that a command on one machine does not."""

from ._peer import is_loopback
from ._web.assembly import Options, Served, embedded, serving

__all__ = ["Options", "Served", "embedded", "is_loopback", "serving"]
