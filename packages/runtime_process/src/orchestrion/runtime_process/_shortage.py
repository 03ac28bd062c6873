"""Telling "it is gone" from "this program can't look now": to take one for the other would end what lives."""

from __future__ import annotations

import errno

_SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def raise_if_short(err: OSError) -> None:
    """Raise an error again if it says that descriptors or memory are short, and so nothing about what was asked for."""
    if err.errno in _SHORT:
        raise err
