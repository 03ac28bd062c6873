"""The Model Context Protocol over standard input and output, for programs that talk to models."""

from ._mcp.desk import Desk, Unwatched, Watcher
from ._mcp.stdio import serve_lines

__all__ = ["Desk", "Unwatched", "Watcher", "serve_lines"]
