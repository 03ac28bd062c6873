"""Lets `python -m orchestrion.cli` do what the command `orchestrion` does."""

from . import main

main()
