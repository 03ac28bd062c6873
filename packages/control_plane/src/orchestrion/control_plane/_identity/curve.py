"""Which 32 bytes are a public key of Ed25519 that only who has its private key can sign for.

A point of small order needs no private key: signatures of any text by it can be worked out by anybody. Those who verify
need not refuse it (RFC 8032, section 5.1.7, checks no order; "Taming the many EdDSAs", Chalkias, Garillot and
Nikolaenko, 2020, has what follows from that), so it is refused before it is trusted.
"""

from __future__ import annotations

from typing import Final

_PRIME: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, -1, _PRIME) % _PRIME
"""Of the curve -x² + y² = 1 + dx²y² (RFC 8032, section 5.1)."""


def is_good_key(key: bytes, /) -> bool:
    """Whether 32 bytes are a point of the curve, written as RFC 8032 does it, whose order is not small."""
    y = int.from_bytes(key, "little") & (2**255 - 1)
    if y >= _PRIME or _has_small_order(y):
        return False
    square = y * y % _PRIME
    # x² = (y² - 1) / (dy² + 1), and is never zero here; a number and its inverse are squares together.
    return pow((square - 1) * (_D * square + 1), (_PRIME - 1) // 2, _PRIME) == 1


def _has_small_order(y: int) -> bool:
    """Whether eight times the points of this y, if there are any, is the neutral one.

    That one has the order 1 and y = 1, that of order 2 has y = -1, and those of order 4 have y = 0. Twice one of order
    8 has y = 0, so that y² = -x², which the curve makes dy⁴ + 2y² = 1.
    """
    square = y * y % _PRIME
    return y in (0, 1, _PRIME - 1) or (_D * square * square + 2 * square - 1) % _PRIME == 0
