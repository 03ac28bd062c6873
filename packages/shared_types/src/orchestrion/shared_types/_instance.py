"""What runs: one placement of one slot, and its containers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from attrs import field, frozen, validators

from ._ids import ContainerId, InstanceKey, NodeId
from ._mappings import EMPTY, unchanging


class ContainerState(StrEnum):
    """Where a container is in its life; `EXITED` is the only end."""

    QUEUED = "Queued"
    """An engine with a queue of its own has accepted it; a start deadline does not count this time."""
    STARTING = "Starting"
    RUNNING = "Running"
    EXITED = "Exited"
    UNKNOWN = "Unknown"
    """The runtime can't tell at present."""


class ContainerHealth(StrEnum):
    """What its health check says."""

    UNCHECKED = "Unchecked"
    """It has no health check, or none has concluded yet."""
    HEALTHY = "Healthy"
    UNHEALTHY = "Unhealthy"


@frozen(kw_only=True)
class ExitStatus:
    """How a container ended. Success is `code == 0`.

    Attributes:
        code: The exit code, 0 to 255, or None where it did not exit by itself.
        signal: The number of the signal that ended it, or None.
        out_of_memory: Whether it was ended for exceeding its memory limit.
        reason: A stable word where neither code nor signal tells ("shim-lost", "start-failed"), or empty.
        message: One line for people, or empty.
    """

    code: int | None = None
    signal: int | None = None
    out_of_memory: bool = False
    reason: str = ""
    message: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether it ended with code 0."""
        return self.code == 0

    @property
    def words(self) -> str:
        """How it ended, for people: `exited with 3`, `ended by SIGKILL`."""
        if self.out_of_memory:
            how = "out of memory"
        elif self.signal is not None:
            how = f"ended by {_signal_name(self.signal)}"
        elif self.code is not None:
            how = f"exited with {self.code}"
        else:
            how = self.reason or "ended"
        return f"{how} ({self.message})" if self.message else how


def _signal_name(number: int) -> str:
    import signal  # here, because few who import this ever tell of a signal

    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@frozen(kw_only=True)
class ContainerStatus:
    """One attempt of one container, as its runtime and its health check see it.

    Attributes:
        name: The container's name in its workload.
        container_id: The runtime's id; empty before there is one.
        state: Where it is in its life.
        attempt: 0 for the first start, one more for each restart in place.
        exit: How it ended; not None if and only if `state` is EXITED.
        reason: One line for people: why it is queued, unknown or waiting; may be empty.
        created_at: When the runtime accepted it (UTC).
        started_at: When it began to run (UTC), or None.
        finished_at: When it ended (UTC), or None.
        ports: Actual host ports by port name.
        address: Where its ports can be reached; empty where unknown.
        health: What its health check says.
        next_attempt_at: When the next restart is due (UTC); None where none is.
        restarts_in_row: Restarts since it last ran for long enough to count as a success; the next wait grows with it.
    """

    name: str
    container_id: ContainerId = ContainerId("")
    state: ContainerState = ContainerState.STARTING
    attempt: int = field(default=0, validator=validators.ge(0))
    exit: ExitStatus | None = None
    reason: str = ""
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    ports: Mapping[str, int] = field(default=EMPTY, converter=unchanging)
    address: str = ""
    health: ContainerHealth = ContainerHealth.UNCHECKED
    next_attempt_at: datetime | None = None
    restarts_in_row: int = field(default=0, validator=validators.ge(0))

    def __attrs_post_init__(self) -> None:
        if (self.exit is not None) != (self.state is ContainerState.EXITED):
            msg = f"container {self.name!r}: an exit status goes with the state Exited, and with no other"
            raise ValueError(msg)


class InstanceState(StrEnum):
    """Where an instance is in its life; Succeeded, Failed and Lost are ends and never change."""

    PENDING = "Pending"
    """Bound or to be bound; no container runs yet."""
    RUNNING = "Running"
    """Containers run, or wait for a restart."""
    TERMINATING = "Terminating"
    """It was told to stop."""
    UNKNOWN = "Unknown"
    """Its node does not answer."""
    SUCCEEDED = "Succeeded"
    """All containers ended with success, or it was told to stop."""
    FAILED = "Failed"
    LOST = "Lost"
    """Its node was away for longer than its lease; the epoch is fenced."""


class DesiredState(StrEnum):
    """What the cluster loop wants of a bound instance."""

    RUN = "run"
    STOP = "stop"


@frozen(kw_only=True)
class Binding:
    """The cluster loop's part of an instance: where it is to run, and what it was granted.

    Attributes:
        node_id: The node.
        generation: The workload's generation whose template it runs.
        desired: Whether it is to run.
        stop_reason: Why it is to stop; empty while it is to run.
        devices: Ids of granted devices by container name.
        device_thousandths: The share of each granted device, by device id; absent is the whole device.
        cpu_set: Cores granted by container name.
        waits_for: Instances on the node that have to have ended before this one starts, as it takes their place;
            ascending.
        retried: By container name the attempt after which the next one is not waited for, because somebody asked for
            that; of an instance that has failed, its last ones, and its replacement is not waited for.
        bound_at: When the slot was bound (UTC).
        stop_at: When it was told to stop (UTC); None while it is to run.
        lost_at: When its node was given up and the epoch fenced (UTC), or None. The instance is then Lost, whatever its
            status says.
    """

    node_id: NodeId
    generation: int = field(validator=validators.ge(1))
    desired: DesiredState = DesiredState.RUN
    stop_reason: str = ""
    devices: Mapping[str, tuple[str, ...]] = field(default=EMPTY, converter=unchanging)
    device_thousandths: Mapping[str, int] = field(default=EMPTY, converter=unchanging)
    cpu_set: Mapping[str, tuple[int, ...]] = field(default=EMPTY, converter=unchanging)
    waits_for: tuple[InstanceKey, ...] = ()
    retried: Mapping[str, int] = field(default=EMPTY, converter=unchanging)
    bound_at: datetime | None = None
    stop_at: datetime | None = None
    lost_at: datetime | None = None


@frozen(kw_only=True)
class InstanceStatus:
    """The node loop's part of an instance: what became of it.

    Attributes:
        state: Where it is in its life.
        reason: A stable word, such as "exited", "stopped", "unhealthy" or "node-lost"; empty while all is well.
        message: One line for people, or empty.
        containers: The latest attempt of each container, in the workload's order.
        healthy_since: Since when all its containers run and each that has a health check is healthy (UTC); None while
            that is not so.
        started_at: When its first container began to run (UTC), or None.
        finished_at: When it came to an end (UTC), or None.
    """

    state: InstanceState = InstanceState.PENDING
    reason: str = ""
    message: str = ""
    containers: tuple[ContainerStatus, ...] = ()
    healthy_since: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None


@frozen(kw_only=True)
class WorkloadInstance:
    """One placement of one slot, all parts together.

    Attributes:
        key: Which incarnation of which slot.
        namespace: The workload's namespace.
        workload: The workload's name.
        binding: The cluster loop's part.
        status: The node loop's part.
    """

    key: InstanceKey
    namespace: str
    workload: str
    binding: Binding
    status: InstanceStatus = InstanceStatus()

    @property
    def name(self) -> str:
        """The instance's name for people and in keys: `workload.index.epoch`."""
        return f"{self.workload}.{self.key.index}.{self.key.epoch}"
