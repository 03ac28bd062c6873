"""Lets `python -m orchestrion.cli` do what the command `orchestrion` does."""

from ._main import main

main()
