"""Whether a server is alive, ready, and well."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from typing import Final

import trio
from attrs import define, field, frozen
from orchestrion.shared_types import OrchestrationError

ANSWER_SECONDS: Final = 2.0
"""How long a part may take to say how it is."""

KEPT_SECONDS: Final = 1.0
"""How long what was found out is told again: who asks often does not make work."""


class Condition(StrEnum):
    """How something is; the later, the worse."""

    HEALTHY = "Healthy"
    DEGRADED = "Degraded"
    """It works, and somebody should look after it."""
    UNKNOWN = "Unknown"
    """It does not say."""
    UNHEALTHY = "Unhealthy"


_ORDER: Final = tuple(Condition)

Probe = Callable[[], Awaitable[Condition]]
"""Says how a part is. What it raises, and no answer in time, are as good as an answer."""


def worst_of(conditions: Mapping[str, Condition], /) -> Condition:
    """Return the worst; of nothing it is healthy."""
    return max(conditions.values(), key=_ORDER.index, default=Condition.HEALTHY)


@frozen
class Health:
    """How a server is.

    Attributes:
        condition: The worst of the parts.
        parts: How each is.
    """

    condition: Condition
    parts: Mapping[str, Condition]

    @property
    def works(self) -> bool:
        """Whether it does what it is for."""
        return self.condition in (Condition.HEALTHY, Condition.DEGRADED)


@define(eq=False)
class Checkup:
    """Finds out how a server is.

    Attributes:
        probes: What says how each part is.
        answer_seconds: How long each may take.
        kept_seconds: How long an answer is told again.
    """

    probes: Mapping[str, Probe]
    answer_seconds: float = ANSWER_SECONDS
    kept_seconds: float = KEPT_SECONDS
    _last: Health | None = field(default=None, init=False)
    _until: float = field(default=0.0, init=False)
    _lock: trio.Lock = field(factory=trio.Lock, init=False)

    async def health(self) -> Health:
        """Return how it is now, or was less than `kept_seconds` ago."""
        async with self._lock:
            if self._last is None or trio.current_time() >= self._until:
                parts = dict[str, Condition]()
                async with trio.open_nursery() as nursery:
                    for name, probe in self.probes.items():
                        nursery.start_soon(self._ask, name, probe, parts)
                parts = {name: parts[name] for name in self.probes}
                self._last = Health(worst_of(parts), parts)
                self._until = trio.current_time() + self.kept_seconds
            return self._last

    async def _ask(self, name: str, probe: Probe, parts: dict[str, Condition]) -> None:
        parts[name] = Condition.UNKNOWN
        with trio.move_on_after(self.answer_seconds):
            try:
                parts[name] = await probe()
            except OrchestrationError:
                parts[name] = Condition.UNHEALTHY
