"""The values that a runtime takes and gives."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from attrs import field, frozen, validators
from immutabledict import immutabledict
from orchestrion.shared_types import ContainerId, ContainerStatus, InstanceKey, NodeId


class RuntimeCapability(StrEnum):
    """An ability that not every runtime has; each has a Protocol of its own."""

    LOGS = "logs"
    EXEC = "exec"
    STATS = "stats"
    EVENTS = "events"
    TERMINALS = "terminals"


@frozen(kw_only=True)
class VolumeSource:
    """A directory on the node that stands behind a volume.

    Attributes:
        volume: The volume's name, as in `VolumeMount.volume`.
        host_path: The directory's absolute path; it exists.
    """

    volume: str
    host_path: str


@frozen(kw_only=True)
class CreateOptions:
    """Whose container it is to be, and what it was granted.

    Attributes:
        node_id: The node that it is to run on.
        instance: The incarnation that it belongs to.
        attempt: 0 for the first start, one more for each restart in place.
        namespace: The workload's namespace, for people.
        workload: The workload's name, for people.
        volumes: One for each of the config's mounts.
        device_ids: Ids of granted devices.
    """

    node_id: NodeId
    instance: InstanceKey
    attempt: int = field(default=0, validator=validators.ge(0))
    namespace: str = "default"
    workload: str = ""
    volumes: tuple[VolumeSource, ...] = ()
    device_ids: tuple[str, ...] = ()


@frozen(kw_only=True)
class ContainerSummary:
    """A container in a list.

    Attributes:
        container_id: Its id.
        node_id: The node that it runs on.
        instance: The incarnation that it belongs to.
        status: What it is like, as `get_container_status` says.
    """

    container_id: ContainerId
    node_id: NodeId
    instance: InstanceKey
    status: ContainerStatus


class LogStream(StrEnum):
    """Which output of a container."""

    STDOUT = "stdout"
    STDERR = "stderr"


@frozen(kw_only=True)
class LogChunk:
    """A piece of a container's output.

    Attributes:
        stream: Which output.
        offset: The place of the first byte of `data` in all that the container ever wrote to the stream.
        data: The bytes; empty if and only if this chunk only reports a gap or the end.
        gap_bytes: Bytes before `offset`, after what was asked for or given last, that are no longer kept; 0 for none.
        written_at: When the first byte was written (UTC); None where unknown.
        final: The container has ended and nothing comes after this chunk.
    """

    stream: LogStream
    offset: int
    data: bytes = b""
    gap_bytes: int = 0
    written_at: datetime | None = None
    final: bool = False


@frozen(kw_only=True)
class ExecOutput:
    """A piece of what a command in a container wrote.

    Attributes:
        stream: Which output.
        data: The bytes, not empty.
    """

    stream: LogStream
    data: bytes


_MOST_CELLS = 65535
"""What a terminal of Linux can count (`struct winsize` of ioctl_tty(2))."""


@frozen(kw_only=True)
class TerminalSize:
    """How much a terminal shows.

    Attributes:
        rows: Lines, 1 to 65535.
        columns: Characters in a line, 1 to 65535.
    """

    rows: int = field(default=24, validator=[validators.ge(1), validators.le(_MOST_CELLS)])
    columns: int = field(default=80, validator=[validators.ge(1), validators.le(_MOST_CELLS)])


@frozen(kw_only=True)
class ContainerStats:
    """What a container uses and used.

    Attributes:
        sampled_at: When (UTC).
        cpu_nanoseconds: Processor time since the start; never falls.
        memory_bytes: Memory in use.
        processes: Processes and threads, or processes alone where the system counts those.
        extended: Anything else, by name.
    """

    sampled_at: datetime
    cpu_nanoseconds: int
    memory_bytes: int
    processes: int
    extended: Mapping[str, int] = field(factory=immutabledict, converter=immutabledict)


@frozen(kw_only=True)
class ContainerHint:
    """Something about a container may have changed: ask for its status.

    Attributes:
        container_id: Which; None says that any may have, because hints were lost.
        status: What the container was like at the change or later, where the runtime has that at hand; who knows that
            much already need not ask. By the time it is read it may be out of date.
    """

    container_id: ContainerId | None
    status: ContainerStatus | None = None
