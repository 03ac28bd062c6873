"""Events are chosen by what they are of, before the latest of them are taken."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from orchestrion.mocks import MemoryState, MemoryStore
from orchestrion.orchestrator_core import StoreReader
from orchestrion.shared_types import Event, EventSeverity, Uid, to_json

AT = datetime(2026, 1, 1, tzinfo=UTC)


async def reader() -> StoreReader:
    """Return what reads three warnings, and nine other events after each."""
    store = MemoryStore(MemoryState())
    for number in range(30):
        severity = EventSeverity.NORMAL if number % 10 else EventSeverity.WARNING
        reason = "Started" if number % 10 else ("BackOff", "Failed", "BackOff")[number // 10]
        uid = Uid(f"u{number:02}")
        event = Event(
            uid=uid, namespace="a", subject="workload/w", reason=reason, message="m", severity=severity, at=AT
        )
        await store.put(f"/event/a/{uid}", to_json(event))
    return StoreReader(store)


@pytest.mark.parametrize(
    ("types", "limit", "uids"),
    [
        (("Warning",), 1000, ["u00", "u10", "u20"]),
        (("warning",), 2, ["u10", "u20"]),
        (("backoff", "Failed"), 2, ["u10", "u20"]),
        (("BackOff",), 1000, ["u00", "u20"]),
        (("Wrong",), 1000, []),
        ((), 2, ["u28", "u29"]),
    ],
)
async def test_the_latest_of_a_severity_or_a_reason_are_found(
    types: tuple[str, ...], limit: int, uids: list[str]
) -> None:
    assert [event.uid for event in await (await reader()).events(types=types, limit=limit)] == uids
