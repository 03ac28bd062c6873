"""The life of an instance: every state, every transition, in one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from orchestrion.shared_types import InstanceState

TRANSITIONS: Final[Mapping[InstanceState, frozenset[InstanceState]]] = {
    InstanceState.PENDING: frozenset(
        {
            InstanceState.RUNNING,
            InstanceState.TERMINATING,
            InstanceState.UNKNOWN,
            InstanceState.SUCCEEDED,
            InstanceState.FAILED,
            InstanceState.LOST,
        }
    ),
    InstanceState.RUNNING: frozenset(
        {
            InstanceState.PENDING,
            InstanceState.TERMINATING,
            InstanceState.UNKNOWN,
            InstanceState.SUCCEEDED,
            InstanceState.FAILED,
            InstanceState.LOST,
        }
    ),
    InstanceState.TERMINATING: frozenset(
        {InstanceState.UNKNOWN, InstanceState.SUCCEEDED, InstanceState.FAILED, InstanceState.LOST}
    ),
    InstanceState.UNKNOWN: frozenset(
        {
            InstanceState.PENDING,
            InstanceState.RUNNING,
            InstanceState.TERMINATING,
            InstanceState.SUCCEEDED,
            InstanceState.FAILED,
            InstanceState.LOST,
        }
    ),
    InstanceState.SUCCEEDED: frozenset(),
    InstanceState.FAILED: frozenset(),
    InstanceState.LOST: frozenset(),
}
"""From each state, those that may follow it; staying is always permitted. A state without followers is an end."""

TERMINAL: Final = frozenset(state for state, followers in TRANSITIONS.items() if not followers)


def may_follow(before: InstanceState, after: InstanceState) -> bool:
    """Whether an instance may go from one state to another."""
    return before is after or after in TRANSITIONS[before]


STOPPED: Final = "stopped"
"""The reason of an instance that ended because it was told to; it is no completion of a batch workload."""
EXITED: Final = "exited"
START_FAILED: Final = "start-failed"
LEASE_LOST: Final = "lease-lost"
RESTARTS_EXHAUSTED: Final = "restarts-exhausted"
RESTARTING: Final = "restarting"
"""A container has ended and is started again."""
CRASH_LOOP: Final = "crash-loop"
"""A container ends again and again soon after its start."""
