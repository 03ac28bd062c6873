"""When a container is started again."""

from __future__ import annotations

from typing import Final

from orchestrion.shared_types import ContainerStatus, ExitStatus, RestartCondition, RestartPolicy, WorkloadKind

FIRST_FLOOR_SECONDS: Final = 0.05
LAST_FLOOR_SECONDS: Final = 1.0
"""The second restart in a row waits for the one at least, later ones longer, up to the other: a policy without waits
must not let what fails at once keep the store and the runtime busy."""


def condition_of(policy: RestartPolicy, kind: WorkloadKind) -> RestartCondition:
    """Return the policy's condition, or the kind's own where it names none."""
    if policy.condition is not None:
        return policy.condition
    return RestartCondition.NEVER if kind is WorkloadKind.BATCH else RestartCondition.ALWAYS


def is_restarted(policy: RestartPolicy, kind: WorkloadKind, exit_status: ExitStatus) -> bool:
    """Whether this way of ending is followed by a restart, if the number of restarts permits."""
    match condition_of(policy, kind):
        case RestartCondition.ALWAYS:
            return True
        case RestartCondition.ON_FAILURE:
            return not exit_status.succeeded
        case RestartCondition.NEVER:
            return False


def delay_before(policy: RestartPolicy, restarts_in_row: int, jitter: float) -> float:
    """Return the seconds to wait before the next restart.

    Args:
        policy: The policy.
        restarts_in_row: Restarts in the row so far, >= 0.
        jitter: 0 to 1, the random part.
    """
    grown = policy.initial_delay_seconds * policy.factor ** min(restarts_in_row, 64)
    floor = min(LAST_FLOOR_SECONDS, FIRST_FLOOR_SECONDS * (2.0 ** min(restarts_in_row, 64) - 1.0))
    return max(floor, min(grown, policy.max_delay_seconds) * (1.0 - policy.jitter * jitter))


def row_after(policy: RestartPolicy, ended: ContainerStatus) -> int:
    """Return the restarts in a row that count when an attempt has ended: none if it ran for long enough."""
    if ended.started_at is None or ended.finished_at is None:
        return ended.restarts_in_row
    ran = (ended.finished_at - ended.started_at).total_seconds()
    return 0 if ran >= policy.reset_after_seconds else ended.restarts_in_row
