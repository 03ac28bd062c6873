"""How connections are treated."""

from __future__ import annotations

import math
from typing import Final

from attrs import frozen

SLOWEST_BYTES_PER_SECOND: Final = 10_000
"""A body that comes more slowly than this, in the long run, is given up."""


@frozen(kw_only=True)
class Settings:
    """How long peers may take; all in seconds.

    Attributes:
        keep_alive: How long a connection may be without a request.
        head: How long the head of a request may take, from its first byte on.
        body: How long a body may take, besides what its size takes.
        handshake: How long a TLS handshake may take.
        linger: How long a peer that is refused may take to hear it.
    """

    keep_alive: float = math.inf
    head: float = math.inf
    body: float = math.inf
    handshake: float = 10.0
    linger: float = 1.0
