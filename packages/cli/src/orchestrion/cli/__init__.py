"""Orchestrion: the command, and everything that it needs."""

from ._main import main, run

__all__ = ["main", "run"]
