"""The server for the network: a module of its own, because it needs much that a command on one machine does not."""

from ._web.assembly import Options, Served, is_loopback, serving

__all__ = ["Options", "Served", "is_loopback", "serving"]
