"""Decides when little is left, with hysteresis: a condition that came goes only when clearly more is free again."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from attrs import evolve, field, frozen, validators
from orchestrion.shared_types import NodeCondition

DISK_PRESSURE: Final = "DiskPressure"
MEMORY_PRESSURE: Final = "MemoryPressure"
SAMPLING_FAILED: Final = "SamplingFailed"


@frozen(kw_only=True)
class Watermark:
    """When something is short: below the smaller of a share of it and an amount, so that large disks are not wasted.

    Attributes:
        share: Of the total, 0 to 1.
        amount_bytes: >= 0.
        recovery: The condition goes when that many times the mark is free, >= 1.
    """

    share: float = field(validator=[validators.ge(0), validators.le(1)])
    amount_bytes: int = field(validator=validators.ge(0))
    recovery: float = field(default=1.5, validator=validators.ge(1))

    def low_bytes(self, total_bytes: int) -> int:
        """Return below how many available bytes the condition comes."""
        return min(int(total_bytes * self.share), self.amount_bytes)

    def high_bytes(self, total_bytes: int) -> int:
        """Return from how many available bytes on the condition goes."""
        return int(self.low_bytes(total_bytes) * self.recovery)


DISK_WATERMARK: Final = Watermark(share=0.05, amount_bytes=2 * 2**30)
MEMORY_WATERMARK: Final = Watermark(share=0.03, amount_bytes=256 * 2**20)


def next_pressure(
    before: NodeCondition, mark: Watermark, *, available_bytes: int, total_bytes: int, now: datetime
) -> NodeCondition:
    """Return the condition after this sample: the same one unless a mark was crossed."""
    low, high = mark.low_bytes(total_bytes), mark.high_bytes(total_bytes)
    if not before.active and available_bytes < low:
        reason = f"{_mebibytes(available_bytes)} available, below {_mebibytes(low)}"
        return evolve(before, active=True, reason=reason, since=now)
    if before.active and available_bytes >= high:
        return evolve(before, active=False, reason=f"at least {_mebibytes(high)} available again", since=now)
    return before


def _mebibytes(amount: int) -> str:
    return f"{amount / 2**20:.0f} MiB"
