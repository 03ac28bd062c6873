"""Time and chance as the tests of identity want them."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Final

from attrs import define

NOW: Final = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)


@define
class Clock:
    """A wall clock that a test sets."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now


@define
class Chance:
    """Bytes that differ from call to call, and are the same in each run."""

    calls: int = 0

    def __call__(self, size: int) -> bytes:
        """Return so many bytes, 64 at most."""
        self.calls += 1
        return hashlib.sha512(b"%d" % self.calls).digest()[:size]
