"""Mappings that nobody can change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from immutabledict import immutabledict

EMPTY: Final[immutabledict[Any, Any]] = immutabledict()
"""One for all: most mappings are empty, and values have several."""


def unchanging(mapping: Mapping[Any, Any]) -> immutabledict[Any, Any]:
    """Return an immutable copy, or the mapping itself where it is one: values are made from others by the million."""
    if not mapping:
        return EMPTY
    return mapping if type(mapping) is immutabledict else immutabledict(mapping)
