"""The Model Context Protocol over standard input and output, for programs that talk to models."""

from ._mcp.desk import Desk, Permit, permit_all
from ._mcp.stdio import serve_lines

__all__ = ["Desk", "Permit", "permit_all", "serve_lines"]
