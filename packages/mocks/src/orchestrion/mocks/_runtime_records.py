"""What a mock world knows of one container, one slot and one node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, NamedTuple

import trio
from attrs import define, field
from orchestrion.runtime_interface import ContainerSummary, CreateOptions, LogChunk, LogStream
from orchestrion.shared_types import (
    ContainerConfig,
    ContainerId,
    ContainerState,
    ContainerStatus,
    ExitStatus,
    InstanceKey,
    NodeId,
    Protocol,
    Uid,
)

from ._runtime_behaviour import MockBehaviour, Output

ADDRESS: Final = "127.0.0.1"
"""Where the ports of all mock containers are said to be reached."""

ContainerKey = tuple[InstanceKey, str, int]
"""What names a container: instance, name, attempt."""

_NO_PORTS: Final[Mapping[str, int]] = {}


@define(eq=False)
class Pulse:
    """Wakes all that wait for a change; waiting costs nothing while nobody does."""

    _event: trio.Event | None = None

    async def wait(self) -> None:
        """Wait for the next change."""
        if self._event is None:
            self._event = trio.Event()
        await self._event.wait()

    def fire(self) -> None:
        """Wake those that wait now."""
        if self._event is not None:
            self._event.set()
            self._event = None


@define(eq=False)
class MockLog:
    """What one stream holds.

    Attributes:
        budget_bytes: The most bytes kept.
        start: The offset of the first byte kept.
        kept: The bytes kept.
        written: From which offset on bytes were written when, ascending; what is kept begins within the first.
    """

    budget_bytes: int
    start: int = 0
    kept: bytearray = field(factory=bytearray)
    written: list[tuple[int, datetime]] = field(factory=list)

    @property
    def end(self) -> int:
        """The offset after the last byte written."""
        return self.start + len(self.kept)

    def write(self, data: bytes, written_at: datetime) -> None:
        """Append, and give up the oldest bytes beyond the budget."""
        if not self.written or self.written[-1][1] != written_at:
            self.written.append((self.end, written_at))
        self.kept += data
        if (excess := len(self.kept) - self.budget_bytes) > 0:
            del self.kept[:excess]
            self.start += excess
            while len(self.written) > 1 and self.written[1][0] <= self.start:
                del self.written[0]

    def read(self, stream: LogStream, offset: int, max_bytes: int, *, ended: bool) -> LogChunk:
        """Return the chunk at `offset`, counted from the end where it is negative."""
        wanted = min(max(0, self.end + offset) if offset < 0 else offset, self.end)
        first = max(wanted, self.start)
        data = bytes(self.kept[first - self.start : first - self.start + max_bytes])
        return LogChunk(
            stream=stream,
            offset=first,
            data=data,
            gap_bytes=first - wanted,
            written_at=next(at for start, at in reversed(self.written) if start <= first) if data else None,
            final=ended and first + len(data) == self.end,
        )


@define(eq=False)
class MockContainer:
    """One container of the world. Tests may read all of it; only the world changes it.

    Attributes:
        container_id: Its id.
        config: As it was created.
        options: As it was created.
        behaviour: What it does.
        created_at: When it was created (UTC).
        created: When it was created, by the world's clock.
        state: Where it is in its life.
        exit: How it ended, or None.
        started_at: When it began to run (UTC), or None.
        finished_at: When it ended (UTC), or None.
        started: When it began to run, by the world's clock.
        cpu_seconds: How long it ran, once it has ended.
        term_sent: Whether it got SIGTERM.
        kill_at: When it gets SIGKILL, by the world's clock; None while nobody asked for it.
        removed: Whether it was removed.
        logs: What it wrote, by stream.
        pending: What it will write, in the order of time, last first.
        changed: Fires at each change of its state and with each output.
    """

    container_id: ContainerId
    config: ContainerConfig
    options: CreateOptions
    behaviour: MockBehaviour
    created_at: datetime
    created: float
    state: ContainerState = ContainerState.QUEUED
    exit: ExitStatus | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    started: float = 0.0
    cpu_seconds: float = 0.0
    term_sent: bool = False
    kill_at: float | None = None
    removed: bool = False
    logs: dict[LogStream, MockLog] | None = None
    pending: list[Output] | None = None
    changed: Pulse = field(factory=Pulse)
    _summary: ContainerSummary | None = None

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self.state is ContainerState.EXITED

    @property
    def live(self) -> bool:
        """Whether its processes run."""
        return self.state in {ContainerState.STARTING, ContainerState.RUNNING}

    @property
    def key(self) -> ContainerKey:
        """What names it: instance, name, attempt."""
        return (self.options.instance, self.config.name, self.options.attempt)

    @property
    def host_ports(self) -> Mapping[str, int]:
        """Host ports by port name."""
        if not self.config.ports:
            return _NO_PORTS
        return {port.name: port.host_port for port in self.config.ports if port.host_port is not None}

    def forget_summary(self) -> None:
        """Have the summary made anew when it is next asked for."""
        self._summary = None

    def summary(self) -> ContainerSummary:
        """Return what a list shows of it."""
        if self._summary is None:
            self._summary = ContainerSummary(
                container_id=self.container_id,
                node_id=self.options.node_id,
                instance=self.options.instance,
                status=ContainerStatus(
                    name=self.config.name,
                    container_id=self.container_id,
                    state=self.state,
                    attempt=self.options.attempt,
                    exit=self.exit,
                    created_at=self.created_at,
                    started_at=self.started_at,
                    finished_at=self.finished_at,
                    ports=self.host_ports,
                    address=ADDRESS,
                ),
            )
        return self._summary

    def log(self, stream: LogStream, budget_bytes: int) -> MockLog:
        """Return the log of a stream."""
        if self.logs is None:
            self.logs = {}
        return self.logs.setdefault(stream, MockLog(budget_bytes))


HintListener = Callable[[ContainerId | None], None]
"""Wants to know which containers of a node changed; None: any may have."""

Due = tuple[float, int, MockContainer, Callable[[MockContainer, float], None]]
"""When something is to happen, the order among what happens then, to what, and what."""


@define(eq=False)
class MockSlot:
    """What is remembered of one slot.

    Attributes:
        epoch: The highest epoch that was asked for.
        attempts: The highest attempt above 0 of that epoch that was asked for, by container name.
        containers: How many containers of the slot exist.
    """

    epoch: int = 0
    attempts: dict[str, int] = field(factory=dict)
    containers: int = 0


@define(eq=False)
class SlotMemory:
    """The slots and keys that one engine knows.

    Attributes:
        capacity: How many slots without containers are remembered.
        slots: By workload id and index.
        idle: Those without containers, the longest idle first.
        keys: Containers by instance, name and attempt.
    """

    capacity: int
    slots: dict[tuple[Uid, int], MockSlot] = field(factory=dict)
    idle: dict[tuple[Uid, int], None] = field(factory=dict)
    keys: dict[ContainerKey, MockContainer] = field(factory=dict)

    def slot(self, instance: InstanceKey) -> MockSlot:
        """Return the slot, a new one where it is not known."""
        name = (instance.workload_id, instance.index)
        slot = self.slots.get(name)
        if slot is None:
            slot = self.slots[name] = MockSlot()
            self._rest(name)
        return slot

    def add(self, container: MockContainer) -> None:
        """Take up a container."""
        instance = container.options.instance
        name = (instance.workload_id, instance.index)
        self.slots[name].containers += 1
        self.idle.pop(name, None)
        self.keys[container.key] = container

    def discard(self, container: MockContainer) -> None:
        """Give up a container; its slot is still remembered for a while."""
        instance = container.options.instance
        name = (instance.workload_id, instance.index)
        del self.keys[container.key]
        slot = self.slots[name]
        slot.containers -= 1
        if not slot.containers:
            self._rest(name)

    def _rest(self, name: tuple[Uid, int]) -> None:
        self.idle.pop(name, None)
        self.idle[name] = None
        while len(self.idle) > self.capacity:
            oldest = next(iter(self.idle))
            del self.idle[oldest], self.slots[oldest]


@define(eq=False)
class MockNode:
    """One node of the world.

    Attributes:
        node_id: Its id.
        memory: The slots and keys of the engine that runs it.
        reachable: False while calls about it raise `RuntimeUnavailable`.
        containers: Those that were not removed, by id.
        ports: Host ports in use.
        due: A heap of what is to happen.
        changed: Fires at each change on it.
        listeners: Called with the id of each container whose status changed; with None when any may have.
    """

    node_id: NodeId
    memory: SlotMemory
    reachable: bool = True
    containers: dict[ContainerId, MockContainer] = field(factory=dict)
    ports: set[tuple[Protocol, int]] = field(factory=set)
    due: list[Due] = field(factory=list)
    changed: Pulse = field(factory=Pulse)
    listeners: list[HintListener] = field(factory=list)

    def wake_all(self) -> None:
        """Have everybody who waits for something on it look again."""
        self.changed.fire()
        for container in self.containers.values():
            container.changed.fire()


class Start(NamedTuple):
    """One start of one attempt, as the world saw it.

    Attributes:
        instance: The incarnation.
        name: The container's name.
        attempt: Which attempt.
        node_id: Where.
        container_id: The container's id.
        at: When, by the world's clock.
    """

    instance: InstanceKey
    name: str
    attempt: int
    node_id: NodeId
    container_id: ContainerId
    at: float
