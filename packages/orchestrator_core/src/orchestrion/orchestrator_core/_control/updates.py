"""Streams of what changes, for those who look on."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sized
from contextlib import aclosing, asynccontextmanager
from typing import Final

import trio
from attrs import define, field
from orchestrion.orchestrator_core._control.views import Update, UpdateKind, WorkloadView
from orchestrion.orchestrator_core._state.records import InstanceName, WorkloadName
from orchestrion.orchestrator_core._state.world import World
from orchestrion.shared_types import Event, Node, NodeId

MAX_UNREAD_EVENTS: Final = 10_000
"""Events that a slow reader may be behind; the oldest are given up, and can be asked for by `events`."""


@define(eq=False)
class Subscriber:
    """One reader's unread changes: each thing once, as it is when it is read.

    Attributes:
        world: The mirror of the store.
        nodes: Every node.
        summarize: Says how a workload is doing, or None where it is gone.
        namespace: Only this namespace; None is all.
    """

    world: World
    nodes: Mapping[NodeId, Node]
    summarize: Callable[[WorkloadName], WorkloadView | None]
    namespace: str | None
    _workloads: dict[WorkloadName, None] = field(factory=dict)
    _instances: dict[InstanceName, None] = field(factory=dict)
    _touched_nodes: dict[NodeId, None] = field(factory=dict)
    _events: deque[Event] = field(factory=lambda: deque(maxlen=MAX_UNREAD_EVENTS))
    _shown: dict[WorkloadName, WorkloadView] = field(factory=dict)
    _arrived: trio.Event = field(factory=trio.Event)
    _turns: deque[tuple[Sized, Callable[[], Update | None]]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        # In turn: what changes all the time must not keep the rest from being read.
        self._turns = deque(
            (
                (self._touched_nodes, self._next_node),
                (self._events, self._next_event),
                (self._instances, self._next_instance),
                (self._workloads, self._next_workload),
            )
        )

    def begin(self) -> None:
        """Let everything that there is be read first."""
        for name in sorted(self.world.workloads):
            self.workload_changed(name)
        for instance in sorted(self.world.instances):
            self.instance_changed(instance)
        for node_id in sorted(self.nodes):
            self.node_changed(node_id)

    def workload_changed(self, name: WorkloadName) -> None:
        """Note a change."""
        if self.namespace in (None, name.namespace):
            self._workloads[name] = None
            self._arrived.set()

    def instance_changed(self, name: InstanceName) -> None:
        """Note a change."""
        if self.namespace in (None, name.namespace):
            self._instances[name] = None
            self._workloads[name.owner] = None
            self._arrived.set()

    def node_changed(self, node_id: NodeId) -> None:
        """Note a change."""
        self._touched_nodes[node_id] = None
        self._arrived.set()

    def event_recorded(self, event: Event) -> None:
        """Note an event."""
        if self.namespace in (None, event.namespace):
            self._events.append(event)
            self._arrived.set()

    async def updates(self) -> AsyncGenerator[Update, None]:
        """Iterate over what there is, SYNCED, and then what changes, for ever."""
        synced = False
        while True:
            update = self._next()
            if update is not None:
                yield update
                continue
            if not (self._workloads or self._instances or self._touched_nodes or self._events):
                if not synced:
                    synced = True
                    yield Update(kind=UpdateKind.SYNCED)
                    continue
                self._arrived = trio.Event()
                await self._arrived.wait()
            else:
                await trio.lowlevel.checkpoint()

    def _next(self) -> Update | None:
        for _ in range(len(self._turns)):
            unread, take = self._turns[0]
            self._turns.rotate(-1)
            if unread:
                return take()
        return None

    def _next_node(self) -> Update:
        node_id = next(iter(self._touched_nodes))
        del self._touched_nodes[node_id]
        node = self.nodes.get(node_id)
        return Update(kind=UpdateKind.NODE_REMOVED if node is None else UpdateKind.NODE, name=node_id, node=node)

    def _next_event(self) -> Update:
        event = self._events.popleft()
        return Update(kind=UpdateKind.EVENT, namespace=event.namespace, name=event.subject, event=event)

    def _next_instance(self) -> Update | None:
        name = next(iter(self._instances))
        del self._instances[name]
        record = self.world.instances.get(name)
        if record is None:
            return Update(kind=UpdateKind.INSTANCE_REMOVED, namespace=name.namespace, name=name.short)
        if record.bound is None:
            return None
        return Update(kind=UpdateKind.INSTANCE, namespace=name.namespace, name=name.short, instance=record.instance())

    def _next_workload(self) -> Update | None:
        name = next(iter(self._workloads))
        del self._workloads[name]
        view = self.summarize(name)
        before = self._shown.get(name)
        if view is None:
            self._shown.pop(name, None)
            if before is None:
                return None
            return Update(kind=UpdateKind.WORKLOAD_REMOVED, namespace=name.namespace, name=name.name)
        if view == before:
            return None
        self._shown[name] = view
        return Update(kind=UpdateKind.WORKLOAD, namespace=name.namespace, name=name.name, workload=view)


@define(eq=False)
class Subscribers:
    """All who look on."""

    _all: set[Subscriber] = field(factory=set)

    @asynccontextmanager
    async def reading(self, subscriber: Subscriber) -> AsyncIterator[AsyncIterator[Update]]:
        """Let one look on: at what there is, and then at what changes until the block is left."""
        subscriber.begin()
        self._all.add(subscriber)
        try:
            async with aclosing(subscriber.updates()) as updates:
                yield updates
        finally:
            self._all.discard(subscriber)

    def workload_changed(self, name: WorkloadName) -> None:
        """Tell all of a change."""
        for subscriber in self._all:
            subscriber.workload_changed(name)

    def instance_changed(self, name: InstanceName) -> None:
        """Tell all of a change."""
        for subscriber in self._all:
            subscriber.instance_changed(name)

    def node_changed(self, node_id: NodeId) -> None:
        """Tell all of a change."""
        for subscriber in self._all:
            subscriber.node_changed(node_id)

    def event_recorded(self, event: Event) -> None:
        """Tell all of an event."""
        for subscriber in self._all:
            subscriber.event_recorded(event)
