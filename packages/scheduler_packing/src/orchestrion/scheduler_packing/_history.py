"""Which nodes failed starts lately."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from immutabledict import immutabledict
from orchestrion.scheduler_packing._core.scoring import MOST
from orchestrion.shared_types import NodeId

HALF_LIFE_SECONDS: Final = 600.0
MAX_FAILURES: Final = 1000.0
"""A node's failures count as no more than this."""
LEAST: Final = 1 / 1024
"""A node whose failures count less than this has none."""
MAX_NODES: Final = 65_536
"""So many nodes are remembered; the one whose failures count least is forgotten first."""
ONE: Final = 1 << 16
SCHEMA: Final = 1


class NodeHistory:
    """Nodes that failed starts lately, and how much that counts: half as much with every half-life that passes.

    It has no clock: times are arguments, in seconds since any moment, the same for all calls; for a history that is
    kept, one that a restart does not move. Decisions follow what was published last: a node whose failures count f then
    scores 1000 / (1 + f), rounded down, and a node without failures 1000.
    """

    def __init__(self, *, half_life_seconds: float = HALF_LIFE_SECONDS) -> None:
        """Know of no failures.

        Args:
            half_life_seconds: After so long a failure counts half; > 0.

        Raises:
            ValueError: The half-life is not a positive number.
        """
        if not 0 < half_life_seconds < math.inf:
            msg = f"a half-life of {half_life_seconds} s; it has to be positive"
            raise ValueError(msg)
        self._half_life = half_life_seconds
        self._failures: dict[NodeId, tuple[float, float]] = {}
        self._lesson: Mapping[NodeId, int] = immutabledict()

    @property
    def lesson(self) -> Mapping[NodeId, int]:
        """What the nodes that failed score, as published last; another object if something has changed."""
        return self._lesson

    def failed(self, node_id: NodeId, /, *, at_seconds: float) -> None:
        """Note that a start failed on a node; in any order of times.

        Raises:
            ValueError: The time is no finite number.
        """
        _check_time(at_seconds)
        count, since = self._failures.get(node_id, (0.0, at_seconds))
        latest = max(since, at_seconds)
        total = self._decayed(count, latest - since) + self._decayed(1.0, latest - at_seconds)
        self._failures[node_id] = (min(MAX_FAILURES, total), latest)

    def publish(self, *, at_seconds: float) -> bool:
        """Let decisions follow what is known, as it counts at a time; return whether that changes a score.

        Raises:
            ValueError: The time is no finite number.
        """
        _check_time(at_seconds)
        now = {
            node_id: (self._decayed(count, at_seconds - since), max(since, at_seconds))
            for node_id, (count, since) in self._failures.items()
        }
        ranked = sorted(now, key=lambda node_id: (-now[node_id][0], node_id))[:MAX_NODES]
        self._failures = {node_id: now[node_id] for node_id in sorted(ranked) if now[node_id][0] >= LEAST}
        scores = {node_id: MOST * ONE // (ONE + int(ONE * count)) for node_id, (count, _) in self._failures.items()}
        lesson = {node_id: score for node_id, score in scores.items() if score < MOST}
        if lesson == self._lesson:
            return False
        self._lesson = immutabledict(lesson)
        return True

    def to_value(self) -> dict[str, Any]:
        """Return all that is known but what was published as lists and numbers, which JSON can hold."""
        failures = [[node_id, count, since] for node_id, (count, since) in self._failures.items()]
        return {"schema": SCHEMA, "half_life_seconds": self._half_life, "failures": failures}

    @classmethod
    def of_value(cls, value: Mapping[str, Any], /) -> NodeHistory:
        """Return what `to_value` was made of, with nothing published.

        Raises:
            ValueError: The value is not one that `to_value` returns.
        """
        try:
            if value["schema"] != SCHEMA:
                raise ValueError(value["schema"])
            history = cls(half_life_seconds=float(value["half_life_seconds"]))
            for node_id, count, since in value["failures"]:
                _check_time(since)
                if not isinstance(node_id, str) or not 0 <= count <= MAX_FAILURES:
                    raise ValueError(node_id)
                history._failures[NodeId(node_id)] = (float(count), float(since))
        except (KeyError, TypeError, ValueError) as err:
            msg = f"no value of a node history of schema {SCHEMA}: {value!r:.80}"
            raise ValueError(msg) from err
        return history

    def _decayed(self, count: float, elapsed: float) -> float:
        # A time before the latest failure is one at which it counts in full.
        return count * math.pow(0.5, max(0.0, elapsed) / self._half_life)


def _check_time(at_seconds: float) -> None:
    if not math.isfinite(at_seconds):
        msg = f"{at_seconds} s is no moment"
        raise ValueError(msg)
