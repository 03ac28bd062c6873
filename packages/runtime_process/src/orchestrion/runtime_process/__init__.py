"""Runs containers as isolated operating system processes, each under a shim of its own."""
