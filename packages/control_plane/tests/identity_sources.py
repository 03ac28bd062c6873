"""Time and chance as the tests of identity want them."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Final

from attrs import define
from orchestrion.control_plane._service.replies import Replies
from orchestrion.control_plane._web.keeper import Doorkeeper
from orchestrion.control_plane._web.once import Once

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


def once_of(keeper: Doorkeeper) -> Once:
    """Return what does requests once over the store of the tokens."""
    return Once(Replies(keeper.tokens.store, keeper.tokens.now, b"secret"))
