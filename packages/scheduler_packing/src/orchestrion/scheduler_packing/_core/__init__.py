"""The compiled part: whole numbers only, no clock, no chance, no waiting, nothing of trio.

The same sources run interpreted where no C compiler was at hand, and decide the same.
"""
