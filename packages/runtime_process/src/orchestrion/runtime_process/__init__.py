"""Runs containers as isolated operating system processes, each under a shim of its own."""

from ._open import open_runtime
from ._runtime import ProcessRuntime

__all__ = ["ProcessRuntime", "open_runtime"]
