"""What runs over mock containers, opened for the conformance kits. It needs the extra `[conformance]`."""

from ._runtime import command_for, open_runtime_over

__all__ = ["command_for", "open_runtime_over"]
