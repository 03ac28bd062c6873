"""Times as people write and read them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from orchestrion.shared_types import ConfigInvalid, Problem

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)([smhd])")


def moment(text: str, now: datetime, /) -> datetime:
    """Return the time that `text` means: a span such as "10m" or "1h30m" before `now`, or a time of ISO 8601.

    A time without an offset is local time.

    Raises:
        ConfigInvalid: It means none.
    """
    seconds = _seconds(text)
    try:
        if seconds is not None:
            return now - timedelta(seconds=seconds)
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as err:
        problem = Problem(f"{text!r} is no time: write a span such as 90s, 10m or 1h30m, or 2026-11-22T10:30:00")
        raise ConfigInvalid((problem,)) from err


def seconds_of(text: str, /) -> float:
    """Return how many seconds a span such as "90s", "10m" or "1h30m" is.

    Raises:
        ConfigInvalid: It is none.
    """
    seconds = _seconds(text)
    if seconds is None:
        problem = Problem(f"{text!r:.100} is no length of time: write a span such as 90s, 10m or 1h30m")
        raise ConfigInvalid((problem,))
    return seconds


def _seconds(text: str) -> float | None:
    parts = _SPAN.findall(text)
    if not parts or "".join(amount + unit for amount, unit in parts) != text:
        return None
    return sum(float(amount) * _UNITS[unit] for amount, unit in parts)


def span(seconds: float, /) -> str:
    """Return a length of time in words that are short: "12 s", "3 min", "2 h", "5 d"."""
    seconds = max(0.0, seconds)
    if seconds < 120:
        return f"{round(seconds)} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 172_800:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86400:.0f} d"


def since(then: datetime | None, now: datetime, /) -> str:
    """Return how long ago `then` was; "" for None."""
    return "" if then is None else span((now - then).total_seconds())


def clock_time(then: datetime, /) -> str:
    """Return a time as the local clock showed it."""
    return then.astimezone().strftime("%Y-%m-%d %H:%M:%S")
