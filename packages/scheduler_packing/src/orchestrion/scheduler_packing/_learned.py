"""A score that is learned from how instances fared."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

from orchestrion.scheduler_interface import NodeView
from orchestrion.scheduler_packing._core.scoring import FEATURES, LOGIT, MOST, SIGMOID_REACH, SIGMOID_STEPS
from orchestrion.scheduler_packing._wanted import Wanted, wanted_of
from orchestrion.shared_types import WHOLE_DEVICE, WorkloadDefinition

MAX_HISTORY: Final = 512
"""So many observations are remembered; the oldest is forgotten first."""
LESSON: Final = 32
"""After so many observations what was observed is put to use."""
MAX_WEIGHT: Final = 4 * LOGIT
"""The weight of a feature stays between this and its negative."""
RATE: Final = LOGIT // 20
"""How far one observation moves the weights: 0.05."""
FULL_PRIORITY: Final = 100_000
"""A workload of this priority, or more, has 1000 thousandths of it."""
SCHEMA: Final = 1


class Learned:
    """What is known of how instances fare on nodes: a logistic model, trained by its own loss.

    Its features are those of the core: how much of cpu, memory and devices is taken before the slot is there, how much
    of cpu and memory is left with it, its priority, whether it wants devices, and 1. The score of a node is the sigmoid
    of their weighted sum. Each observation moves the weights against the gradient of the cross entropy, which is the
    error times the feature.

    A scheduler may not learn by itself, or its answers would depend on earlier questions: whoever knows how instances
    fared makes one of these, makes the scheduler with it, and tells it. Decisions follow its weights as they were at
    the latest lesson: after every 32 observations all that is remembered is gone through once, oldest first. Everything
    is in whole numbers, and the same observations make the same weights.

    The idea is that of the "learned" scheduler of Forge Orchestration 0.4.
    """

    def __init__(self) -> None:
        """Know nothing: every node scores 500."""
        self._weights: tuple[int, ...] = (0,) * FEATURES
        self._history: deque[tuple[int, ...]] = deque(maxlen=MAX_HISTORY)
        self._pending = 0

    @property
    def weights(self) -> tuple[int, ...]:
        """The weight of each feature as of the latest lesson, in 2^16ths; another object after each."""
        return self._weights

    def observe(self, workload: WorkloadDefinition, view: NodeView, outcome: int, /) -> bool:
        """Note how an instance fared on a node, and return whether that made for a lesson.

        Args:
            workload: The instance's workload.
            view: The node as it was before the instance was placed there.
            outcome: How it fared, from 0 for as badly as can be to 1000.

        Raises:
            ValueError: The outcome is out of range, or the workload's demand exceeds `MAX_AMOUNT`.
        """
        _check_amount("the outcome", outcome, 0, MOST)
        self._history.append((*features_of(wanted_of(workload), view), outcome))
        self._pending += 1
        if self._pending < LESSON:
            return False
        self._pending = 0
        self._learn()
        return True

    def to_value(self) -> dict[str, Any]:
        """Return all that it knows as lists and numbers, which JSON can hold."""
        return {
            "schema": SCHEMA,
            "weights": list(self._weights),
            "history": [list(each) for each in self._history],
            "pending": self._pending,
        }

    @classmethod
    def of_value(cls, value: Mapping[str, Any], /) -> Learned:
        """Return what `to_value` was made of: it goes on as if it had never ended.

        Raises:
            ValueError: The value is not one that `to_value` returns.
        """
        if not isinstance(value, Mapping) or value.get("schema") != SCHEMA:
            msg = f"no value of a learned score of schema {SCHEMA}: {value!r:.80}"
            raise ValueError(msg)
        learned = cls()
        learned._weights = _numbers("weights", value.get("weights"), FEATURES, -MAX_WEIGHT, MAX_WEIGHT)
        history = value.get("history")
        if not isinstance(history, Sequence) or len(history) > MAX_HISTORY:
            msg = f"the history of a learned score has to be a list of at most {MAX_HISTORY} observations"
            raise ValueError(msg)
        learned._history.extend(_numbers("an observation", each, FEATURES + 1, 0, MOST) for each in history)
        learned._pending = _check_amount("the number of pending observations", value.get("pending"), 0, LESSON - 1)
        return learned

    def _learn(self) -> None:
        weights = list(self._weights)
        for *features, outcome in self._history:
            error = outcome - sigmoid(sum(map(int.__mul__, weights, features)))
            for number, feature in enumerate(features):
                step = abs(error) * feature * RATE // (MOST * MOST)
                moved = weights[number] + (step if error > 0 else -step)
                weights[number] = max(-MAX_WEIGHT, min(MAX_WEIGHT, moved))
        self._weights = tuple(weights)


def features_of(wanted: Wanted, view: NodeView) -> tuple[int, ...]:
    """Return the features of a node for a slot, each 0 to 1000, in the core's order."""
    node, free, asked = view.node, view.free, wanted.demand
    room = node.allocatable
    gpu = WHOLE_DEVICE * len(node.devices)
    held = sum(min(WHOLE_DEVICE, view.device_thousandths.get(device.id, 0)) for device in node.devices)
    cpu_left, memory_left = free.cpu_millicores - asked.cpu_millicores, free.memory_bytes - asked.memory_bytes
    return (
        _taken(room.cpu_millicores - free.cpu_millicores, room.cpu_millicores),
        _taken(room.memory_bytes - free.memory_bytes, room.memory_bytes),
        _taken(held, gpu),
        MOST - _taken(room.cpu_millicores - cpu_left, room.cpu_millicores),
        MOST - _taken(room.memory_bytes - memory_left, room.memory_bytes),
        priority_of(wanted.workload),
        MOST if wanted.device_thousandths else 0,
        MOST,
    )


def priority_of(workload: WorkloadDefinition) -> int:
    """Return a workload's priority as a feature."""
    return MOST * max(0, min(FULL_PRIORITY, workload.priority)) // FULL_PRIORITY


def sigmoid(logit: int) -> int:
    """Return the sigmoid of a logit, which is in 2^16ths of thousandths, in thousandths; as the core has it."""
    table = sigmoid_table()
    step = logit * SIGMOID_STEPS // (LOGIT * MOST) + SIGMOID_STEPS * SIGMOID_REACH
    return table[max(0, min(len(table) - 1, step))]


@cache
def sigmoid_table() -> tuple[int, ...]:
    """Return the sigmoid of each logit in thousandths, from the least to the greatest."""
    end = SIGMOID_STEPS * SIGMOID_REACH
    return tuple(round(MOST / (1 + math.exp(-step / SIGMOID_STEPS))) for step in range(-end, end + 1))


def _taken(part: int, whole: int) -> int:
    return min(MOST, part * MOST // whole) if whole else 0


def _numbers(what: str, value: object, count: int, least: int, most: int) -> tuple[int, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != count:
        msg = f"{what} of a learned score: {count} numbers are needed, not {value!r:.80}"
        raise ValueError(msg)
    return tuple(_check_amount(f"a number of {what}", each, least, most) for each in value)


def _check_amount(what: str, value: object, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        msg = f"{what} is {value!r:.80}; it has to be a whole number, {least} to {most}"
        raise ValueError(msg)
    return value
