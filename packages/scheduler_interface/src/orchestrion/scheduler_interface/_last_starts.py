"""On which nodes the latest start failed: all that the readable scheduler learns from outcomes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from orchestrion.shared_types import NodeId

from ._outcomes import InstanceOutcome, OutcomeKind

AVOIDED_SECONDS: Final = 3600.0
"""So long after a failed start, without one that succeeds, a node is avoided."""
MAX_NODES: Final = 65_536
"""So many nodes are remembered; the one of which there was news longest ago goes first."""
SCHEMA: Final = 1


class LastStarts:
    """When, on each node, a start last succeeded and failed.

    Of each only the latest time counts, so that neither the order of outcomes nor how often they come matters.
    """

    def __init__(self) -> None:
        """Know of no starts."""
        self._starts: dict[NodeId, tuple[float, float]] = {}
        self._now = -math.inf
        self.changes = 0

    def observe(self, outcomes: Iterable[InstanceOutcome], now_seconds: float) -> None:
        """Take in what has become of starts."""
        before = dict(self._starts), self._shown_now
        for outcome in outcomes:
            if outcome.kind not in {OutcomeKind.STARTED, OutcomeKind.START_FAILED}:
                continue
            succeeded, failed = self._starts.pop(outcome.node_id, (-math.inf, -math.inf))
            if outcome.kind is OutcomeKind.STARTED:
                succeeded = max(succeeded, outcome.at_seconds)
            else:
                failed = max(failed, outcome.at_seconds)
            self._starts[outcome.node_id] = (succeeded, failed)
        self._now = max(self._now, now_seconds)
        for node_id, (succeeded, failed) in self._starts.items():
            if self._now - failed >= AVOIDED_SECONDS:
                self._starts[node_id] = (succeeded, -math.inf)
        if len(self._starts) > MAX_NODES:
            ranked = sorted(self._starts, key=lambda node_id: (-max(self._starts[node_id]), node_id))
            self._starts = {node_id: self._starts[node_id] for node_id in ranked[:MAX_NODES]}
        if (self._starts, self._shown_now) != before:
            self.changes += 1

    @property
    def _shown_now(self) -> float:
        """How late it is, where that makes a difference: only then it has to be kept anew."""
        return self._now if self.failing else -math.inf

    @property
    def failing(self) -> frozenset[NodeId]:
        """The nodes whose latest start failed, and not too long ago."""
        return frozenset(
            node_id
            for node_id, (succeeded, failed) in self._starts.items()
            if failed > succeeded and self._now - failed < AVOIDED_SECONDS
        )

    def to_json(self) -> bytes:
        """Return all of it."""
        starts = [[node_id, *map(_or_none, self._starts[node_id])] for node_id in sorted(self._starts)]
        return json.dumps({"schema": SCHEMA, "now": _or_none(self._shown_now), "starts": starts}).encode()

    @classmethod
    def of_json(cls, data: bytes) -> LastStarts:
        """Return what `to_json` was made of.

        Raises:
            ValueError: It is none that `to_json` returns.
        """
        made = cls()
        try:
            value: Mapping[str, Any] = json.loads(data)
            if value["schema"] != SCHEMA:
                raise ValueError(value["schema"])
            made._now = _time(value["now"])
            for node_id, succeeded, failed in value["starts"]:
                if not isinstance(node_id, str):
                    raise TypeError(node_id)
                made._starts[NodeId(node_id)] = (_time(succeeded), _time(failed))
        except (KeyError, TypeError, ValueError) as err:
            msg = f"not what a scheduler remembers of starts, schema {SCHEMA}: {data[:80]!r}"
            raise ValueError(msg) from err
        return made


def _or_none(time: float) -> float | None:
    return time if math.isfinite(time) else None


def _time(value: object) -> float:
    if value is None:
        return -math.inf
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(value)
    return float(value)
