"""What a scheduler learns by itself from outcomes that it is told of."""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

from orchestrion.scheduler_interface import InstanceOutcome, OutcomeKind
from orchestrion.scheduler_packing._core.scoring import MOST
from orchestrion.scheduler_packing._gpu_mix import Mix
from orchestrion.scheduler_packing._history import NodeHistory
from orchestrion.scheduler_packing._learned import Learned
from orchestrion.shared_types import InstanceKey, Uid

MAX_SEEN: Final = 2048
"""So many events are known again; what is older than all of these is disregarded."""
SCHEMA: Final = 1

GOOD: Final = frozenset({OutcomeKind.STARTED, OutcomeKind.SUCCEEDED})
BAD: Final = frozenset({OutcomeKind.START_FAILED, OutcomeKind.FAILED})
ENDS: Final = frozenset({OutcomeKind.SUCCEEDED, OutcomeKind.FAILED, OutcomeKind.RELEASED})

Event = tuple[float, InstanceKey, int, OutcomeKind]


class Seen:
    """The latest events, so that one is not counted again; by when they were, not by when they were told."""

    def __init__(self) -> None:
        """Know of none."""
        self._events: set[tuple[InstanceKey, int, OutcomeKind]] = set()
        self._ranked: list[tuple[float, tuple[str, int, int], int, str]] = []
        self._floor = -math.inf

    def is_news(self, outcome: InstanceOutcome) -> bool:
        """Whether an event is not known, and not older than what is; from now on it is known."""
        event = (outcome.slot, outcome.attempt, outcome.kind)
        if not math.isfinite(outcome.at_seconds) or outcome.at_seconds <= self._floor or event in self._events:
            return False
        slot = outcome.slot
        rank = (outcome.at_seconds, (slot.workload_id, slot.index, slot.epoch), outcome.attempt, outcome.kind.value)
        self._events.add(event)
        heapq.heappush(self._ranked, rank)
        if len(self._ranked) > MAX_SEEN:
            self._floor, (uid, index, epoch), attempt, kind = heapq.heappop(self._ranked)
            self._events.remove((InstanceKey(Uid(uid), index, epoch), attempt, OutcomeKind(kind)))
        return True

    def to_value(self) -> dict[str, Any]:
        """Return all of it as lists and numbers."""
        events = [[at, *slot, attempt, kind] for at, slot, attempt, kind in sorted(self._ranked)]
        return {"floor": self._floor if math.isfinite(self._floor) else None, "events": events}

    @classmethod
    def of_value(cls, value: Mapping[str, Any]) -> Seen:
        """Return what `to_value` was made of.

        Raises:
            KeyError, TypeError, ValueError: It is none that `to_value` returns.
        """
        seen = cls()
        for at, uid, index, epoch, attempt, kind in value["events"]:
            if not isinstance(uid, str):
                raise TypeError(uid)
            numbers = (int(index), int(epoch), int(attempt))
            seen._events.add((InstanceKey(Uid(uid), *numbers[:2]), numbers[2], OutcomeKind(kind)))
            seen._ranked.append((float(at), (uid, *numbers[:2]), numbers[2], str(kind)))
        heapq.heapify(seen._ranked)
        if len(seen._ranked) > MAX_SEEN or len(seen._events) != len(seen._ranked):
            raise ValueError(len(seen._ranked))
        seen._floor = -math.inf if value["floor"] is None else float(value["floor"])
        return seen


class Lessons:
    """The mix, the learned score and the history of a scheduler that are fed by outcomes, those that it has.

    Attributes:
        mix: What is asked for: placed counts as asked for, and each end as a departure.
        learned: How instances fare: starts and successes as well as can be, failures as badly.
        history: Which nodes failed starts.
        changes: How often any of it has changed.
    """

    def __init__(self, mix: Mix | None, learned: Learned | None, history: NodeHistory | None) -> None:
        """Feed these."""
        self.mix = mix
        self.learned = learned
        self.history = history
        self.changes = 0
        self._seen = Seen()
        self._now: float | None = None

    def observe(self, outcomes: Iterable[InstanceOutcome], now_seconds: float) -> None:
        """Take in what has become of instances; raises nothing."""
        has_news = False
        for outcome in outcomes:
            if self._seen.is_news(outcome):
                has_news = True
                # What asks for more than can be counted is refused, and says nothing about what is not.
                with suppress(ValueError):
                    self._take(outcome)
        if self.history is not None and math.isfinite(now_seconds):
            # Where nothing failed lately, time makes no difference, and nothing has to be kept anew.
            had_failures = bool(self.history.lesson)
            self.history.publish(at_seconds=now_seconds)
            has_news = has_news or ((had_failures or bool(self.history.lesson)) and now_seconds != self._now)
            self._now = now_seconds
        if has_news:
            self.changes += 1

    def _take(self, outcome: InstanceOutcome) -> None:
        if self.history is not None and outcome.kind is OutcomeKind.START_FAILED:
            self.history.failed(outcome.node_id, at_seconds=outcome.at_seconds)
        if self.mix is not None and outcome.kind is OutcomeKind.PLACED:
            self.mix.observe(outcome.workload)
        if self.mix is not None and outcome.kind in ENDS:
            self.mix.observe_end()
        if self.learned is not None and outcome.around is not None and outcome.kind in GOOD | BAD:
            self.learned.observe(outcome.workload, outcome.around, MOST if outcome.kind in GOOD else 0)

    def to_json(self) -> bytes:
        """Return all of it."""
        parts = {"mix": self.mix, "learned": self.learned, "history": self.history}
        value = {
            "schema": SCHEMA,
            "now": self._now if self.history is not None and self.history.lesson else None,
            "seen": self._seen.to_value(),
            **{name: part.to_value() for name, part in parts.items() if part is not None},
        }
        return json.dumps(value, separators=(",", ":")).encode()

    def recalled(self, data: bytes) -> Lessons:
        """Return what `to_json` of lessons like these was made of.

        Raises:
            ValueError: It is none that it returns.
        """
        try:
            value = json.loads(data)
            if value["schema"] != SCHEMA:
                raise ValueError(value["schema"])
            made = Lessons(
                None if self.mix is None else Mix.of_value(value["mix"]),
                None if self.learned is None else Learned.of_value(value["learned"]),
                None if self.history is None else NodeHistory.of_value(value["history"]),
            )
            made._seen = Seen.of_value(value["seen"])
            made._now = None if value["now"] is None else float(value["now"])
            if made.history is not None and made._now is not None:
                made.history.publish(at_seconds=made._now)
        except (AttributeError, KeyError, TypeError, ValueError) as err:
            msg = f"not what this scheduler remembers, schema {SCHEMA}: {data[:80]!r}"
            raise ValueError(msg) from err
        made.changes = self.changes + 1
        return made
