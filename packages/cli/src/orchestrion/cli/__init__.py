"""Orchestrion: the command, and everything that it needs."""
