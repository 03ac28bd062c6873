"""How a mock world's containers live: created, started, ended and removed, in the time of an injected clock."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

import trio
from attrs import define, evolve, field
from orchestrion.runtime_interface import (
    ContainerConflict,
    CreateOptions,
    NodeNotFound,
    PortTaken,
    StaleEpoch,
)
from orchestrion.shared_types import (
    ContainerConfig,
    ContainerId,
    ContainerNotFound,
    ContainerState,
    ExitStatus,
    NodeId,
    PortMapping,
)

from ._runtime_behaviour import SIGKILL, SIGTERM, MockBehaviour, Output, Script, behaviour_of
from ._runtime_records import ContainerKey, MockContainer, MockNode, Pulse, SlotMemory, Start

EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""The wall time at which a world's clock is 0, unless another wall clock is given."""

_KILLED: Final = ExitStatus(signal=SIGKILL)
_CANCELLED: Final = ExitStatus(signal=SIGTERM, reason="cancelled", message="stopped while it was queued")


def _set_or_none(node_ids: Iterable[NodeId] | None) -> set[NodeId] | None:
    return None if node_ids is None else set(node_ids)


@define(eq=False)
class MockEngine:
    """The part of a world that mock runtimes use; `ContainerWorld` adds what tests use.

    Nothing runs in the background. What time brings is worked out when somebody looks or waits, so that a world with
    nobody looking costs nothing.

    Attributes:
        node_ids: The nodes that exist; None lets a node exist as soon as it is asked for.
        script: Chooses what a container does; None leaves it to its command (see `behaviour_of`).
        clock: Seconds, for waiting.
        now: The wall time; by default it goes with `clock` from `EPOCH`.
        memory_per_node: Whether each node has an engine of its own, which remembers epochs and keys of that node alone.
            False is one engine for all nodes.
        slots_remembered: How many slots without containers an engine remembers.
        log_budget_bytes: The most bytes that are kept of each stream of a container.
        nodes: What is on each node.
        containers: All that were not removed, by id.
        starts: How often each attempt of each container was started, ever.
        start_records: Each start, in the order of time.
    """

    node_ids: set[NodeId] | None = field(default=None, converter=_set_or_none)
    script: Script | None = field(default=None, kw_only=True)
    clock: Callable[[], float] = field(default=trio.current_time, kw_only=True)
    now: Callable[[], datetime] = field(kw_only=True)
    memory_per_node: bool = field(default=False, kw_only=True)
    slots_remembered: int = field(default=10_000, kw_only=True)
    log_budget_bytes: int = field(default=1 << 20, kw_only=True)
    nodes: dict[NodeId, MockNode] = field(factory=dict, init=False)
    containers: dict[ContainerId, MockContainer] = field(factory=dict, init=False)
    starts: Counter[ContainerKey] = field(factory=Counter, init=False)
    start_records: list[Start] = field(factory=list, init=False)
    _tokens: Counter[str] = field(factory=Counter, init=False)
    _memory: SlotMemory = field(init=False)
    _order: Iterator[int] = field(factory=itertools.count, init=False)
    _ids: Iterator[int] = field(factory=lambda: itertools.count(1), init=False)

    @now.default
    def _now_by_clock(self) -> Callable[[], datetime]:
        return lambda: EPOCH + timedelta(seconds=self.clock())

    @_memory.default
    def _one_memory(self) -> SlotMemory:
        return SlotMemory(self.slots_remembered)

    def node(self, node_id: NodeId) -> MockNode:
        """Return a node, reachable or not.

        Raises:
            NodeNotFound: It does not exist.
        """
        node = self.nodes.get(node_id)
        if node is None:
            if self.node_ids is not None and node_id not in self.node_ids:
                msg = f"no such node: {node_id!r}"
                raise NodeNotFound(msg)
            memory = SlotMemory(self.slots_remembered) if self.memory_per_node else self._memory
            node = self.nodes[node_id] = MockNode(node_id, memory)
        return node

    def container(self, container_id: ContainerId) -> MockContainer:
        """Return a container as it is now.

        Raises:
            ContainerNotFound: No such container.
        """
        container = self.containers.get(container_id)
        if container is None:
            msg = f"no such container: {container_id!r}"
            raise ContainerNotFound(msg)
        self.advance(self.nodes[container.options.node_id])
        return container

    def create(self, config: ContainerConfig, options: CreateOptions) -> MockContainer:
        """Return the container of that key, a new one if there is none; a new one may still be starting.

        Raises:
            RuntimeFailure: As `ContainerRuntime.create_container`.
        """
        node = self.node(options.node_id)
        self.advance(node)
        instance, attempt = options.instance, options.attempt
        memory = node.memory
        slot = memory.slot(instance)
        if instance.epoch < slot.epoch:
            msg = f"instance {instance}: epoch {slot.epoch} of its slot was asked for before"
            raise StaleEpoch(msg, known=slot.epoch)
        existing = memory.keys.get((instance, config.name, attempt))
        if existing is not None:
            if existing.config != config or existing.options != options:
                msg = f"instance {instance}: container {config.name!r}, attempt {attempt}, exists with other content"
                raise ContainerConflict(msg)
            return existing
        if instance.epoch > slot.epoch:
            slot.epoch = instance.epoch
            slot.attempts.clear()
        if attempt < (highest := slot.attempts.get(config.name, 0)):
            msg = f"instance {instance}: attempt {highest} of container {config.name!r} was asked for before"
            raise StaleEpoch(msg, known=highest)
        if attempt:
            slot.attempts[config.name] = attempt
        behaviour = self._behaviour(config, options)
        if behaviour.failure is not None:
            raise behaviour.failure()
        self._claim_ports(node, config.ports)
        created = self.clock()
        container_id = ContainerId(f"mock-{next(self._ids)}")
        container = MockContainer(container_id, config, options, behaviour, self.now(), created)
        node.containers[container_id] = self.containers[container_id] = container
        memory.add(container)
        if behaviour.queued_seconds:
            self._schedule(container, created + behaviour.queued_seconds, self._start)
            self._announce(container)
        else:
            self._start(container, created)
        return container

    def terminate(self, container: MockContainer, grace_seconds: float) -> None:
        """Send SIGTERM, unless it got it before, and see to it that SIGKILL comes after the grace at the latest."""
        now = self.clock()
        if container.ended:
            return
        if container.state is ContainerState.QUEUED:
            self._end(container, now, _CANCELLED)
            return
        if grace_seconds <= 0:
            self._end(container, now, _KILLED)
            return
        kill_at = now + grace_seconds
        if container.kill_at is None or kill_at < container.kill_at:
            container.kill_at = kill_at
            self._schedule(container, kill_at, self._kill)
        if not container.term_sent:
            container.term_sent = True
            if (status := container.behaviour.on_term) is not None:
                end = now + container.behaviour.term_seconds
                self._schedule(container, end, partial(self._end, status=status))
                self.advance(self.nodes[container.options.node_id])

    def remove(self, container: MockContainer) -> None:
        """Kill and forget a container."""
        self._end(container, self.clock(), _CANCELLED if container.state is ContainerState.QUEUED else _KILLED)
        container.removed = True
        node = self.nodes[container.options.node_id]
        del node.containers[container.container_id], self.containers[container.container_id]
        node.memory.discard(container)
        container.changed.fire()

    async def wait(self, changed: Pulse, node: MockNode) -> None:
        """Wait until `changed` fires, or time brings something on the node."""
        timeout = max(0.0, node.due[0][0] - self.clock()) if node.due else math.inf
        with trio.move_on_after(timeout):
            await changed.wait()
        self.advance(node)

    def advance(self, node: MockNode) -> None:
        """Let everything happen on a node that is due by now."""
        due = node.due
        if not due:
            return
        now = self.clock()
        while due and due[0][0] <= now:
            when, _, container, action = heapq.heappop(due)
            if not container.ended:
                action(container, when)

    # What happens to containers

    def _behaviour(self, config: ContainerConfig, options: CreateOptions) -> MockBehaviour:
        behaviour = None
        if self.script is not None:
            behaviour = self.script(options.workload, options.instance, options.attempt)
        if behaviour is None:
            behaviour = behaviour_of(config.command + config.args)
        if behaviour.copies_stdin:
            behaviour = evolve(behaviour, exit=ExitStatus(code=0))
        return behaviour

    def _claim_ports(self, node: MockNode, ports: Iterable[PortMapping]) -> None:
        wanted = [(port.protocol, port.host_port) for port in ports if port.host_port is not None]
        taken = tuple(number for protocol, number in wanted if (protocol, number) in node.ports)
        if taken:
            msg = f"node {node.node_id}: in use: {', '.join(str(port) for port in taken)}"
            raise PortTaken(msg, ports=taken)
        node.ports.update(wanted)

    def _schedule(self, container: MockContainer, when: float, action: Callable[[MockContainer, float], None]) -> None:
        node = self.nodes[container.options.node_id]
        heapq.heappush(node.due, (when, next(self._order), container, action))
        container.changed.fire()
        node.changed.fire()

    def _start(self, container: MockContainer, when: float) -> None:
        if container.behaviour.starting_seconds:
            container.state = ContainerState.STARTING
            self._schedule(container, when + container.behaviour.starting_seconds, self._run)
            self._announce(container)
        else:
            self._run(container, when)

    def _run(self, container: MockContainer, when: float) -> None:
        options, behaviour = container.options, container.behaviour
        container.state = ContainerState.RUNNING
        container.started = when
        container.started_at = (
            self._wall_after(container.created_at, when) if when > container.created else container.created_at
        )
        self.starts[container.key] += 1
        if behaviour.token:
            self._tokens[behaviour.token] += 1
        self.start_records.append(
            Start(
                options.instance, container.config.name, options.attempt, options.node_id, container.container_id, when
            )
        )
        for output in behaviour.all_output(container.config.env_vars):
            if output.after_seconds:
                self._schedule(container, when + output.after_seconds, partial(self._write, output=output))
            else:
                self._write(container, when, output)
        if (status := behaviour.exit) is not None:
            self._schedule(container, when + behaviour.after_seconds, partial(self._end, status=status))
        self._announce(container)
        self.advance(self.nodes[options.node_id])

    def _write(self, container: MockContainer, when: float, output: Output) -> None:
        container.log(output.stream, self.log_budget_bytes).write(output.data, self._wall(when))
        container.changed.fire()

    def _kill(self, container: MockContainer, when: float) -> None:
        if container.kill_at is not None and when >= container.kill_at:
            self._end(container, when, _KILLED)

    def _end(self, container: MockContainer, when: float, status: ExitStatus) -> None:
        if container.ended:
            return
        if container.started_at is not None:
            container.cpu_seconds = when - container.started
        container.state = ContainerState.EXITED
        container.exit = status
        container.finished_at = self._wall_after(container.started_at or container.created_at, when)
        node = self.nodes[container.options.node_id]
        for port in container.config.ports:
            if port.host_port is not None:
                node.ports.discard((port.protocol, port.host_port))
        self._announce(container)

    def _announce(self, container: MockContainer) -> None:
        container.forget_summary()
        container.changed.fire()
        node = self.nodes[container.options.node_id]
        node.changed.fire()
        for listener in node.listeners:
            listener(container.container_id)

    def _wall_after(self, earlier: datetime, when: float) -> datetime:
        return max(earlier, self._wall(when))

    def _wall(self, when: float) -> datetime:
        return self.now() - timedelta(seconds=max(0.0, self.clock() - when))
