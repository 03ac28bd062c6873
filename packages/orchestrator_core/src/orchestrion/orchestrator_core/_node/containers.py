"""What a node's runtime has, and whose it is."""

from __future__ import annotations

from collections.abc import Callable

import trio
from attrs import define, field
from orchestrion.orchestrator_core._node.engine import Engine
from orchestrion.orchestrator_core._node.ports import PortTable
from orchestrion.orchestrator_core._state.records import InstanceName, instance_key
from orchestrion.orchestrator_core._state.world import World
from orchestrion.runtime_interface import (
    ContainerSummary,
    RuntimeCapability,
    RuntimeClosed,
    SupportsEvents,
)
from orchestrion.shared_types import (
    ContainerId,
    ContainerNotFound,
    ContainerState,
    ContainerStatus,
    HealthCheck,
    InstanceKey,
    InstanceStatus,
    OrchestrationError,
    Uid,
)
from orchestrion.store_interface import Revision


@define(eq=False)
class HeldInstance:
    """What a node loop remembers of an instance beyond what is stored.

    Attributes:
        name: Its name; None where no binding has named it yet.
        containers: What the runtime has of it, all attempts.
        never_created: Attempts that could not be started, by container.
        checks: Health checks with their references replaced, by container.
        unsure: Whether a container may exist whose creation got no reply.
        given_up: Creations in a row that were given up for want of an answer.
        asked: Containers whose status is to be asked for, in order, with what a hint has said that it is.
        asking: Whether that is under way.
        hinted: Whether a hint came while somebody worked on it.
        ask_failed: How it went wrong, until whoever works on the instance has told of it.
        stopping: The grace of each container that is being stopped.
        stop_failures: Stops in a row that failed.
        trouble: Why the last one did; "" once one has succeeded.
        fenced: Containers that were killed because the node had lost its lease; their end is not their own.
        tried: Containers whose health was tried.
        written: The status that was written last.
        written_revision: Its revision.
        ports: Owners of the ports that are leased for it.
        settled: The revision of the binding for which nothing was left to do, not even to wait; None where there is.
    """

    name: InstanceName | None = None
    containers: dict[ContainerId, ContainerSummary] = field(factory=dict)
    never_created: dict[str, ContainerStatus] = field(factory=dict)
    checks: dict[ContainerId, HealthCheck] = field(factory=dict)
    unsure: bool = False
    given_up: int = 0
    asked: dict[ContainerId, ContainerStatus | None] = field(factory=dict)
    asking: bool = False
    hinted: bool = False
    ask_failed: OrchestrationError | None = None
    stopping: dict[ContainerId, float] = field(factory=dict)
    stop_failures: int = 0
    trouble: str = ""
    fenced: dict[ContainerId, None] = field(factory=dict)
    tried: dict[ContainerId, None] = field(factory=dict)
    written: InstanceStatus | None = None
    written_revision: Revision = Revision(0)
    ports: set[tuple[InstanceKey, str, str]] = field(factory=set)
    settled: Revision | None = None

    @property
    def lives(self) -> bool:
        """Whether any of its containers has not ended."""
        return any(summary.status.state is not ContainerState.EXITED for summary in self.containers.values())


@define(eq=False)
class ContainerBook:
    """Knows the containers of one node by instance, and keeps up with the runtime.

    Attributes:
        engine: What it keeps up with.
        world: The mirror of the store.
        ports: The node's table of dynamic ports.
        changed: Called with each instance of which something has changed.
        at_work: Whether somebody works on an instance.
        poll_seconds: How often the runtime is asked where it does not announce changes.
        instances: What is known, by instance.
        keys: The instance of each name.
        owners: The instance of each container.
        slots: The instances of each slot.
    """

    engine: Engine
    world: World
    ports: PortTable
    changed: Callable[[InstanceKey], None]
    at_work: Callable[[InstanceKey], bool]
    poll_seconds: float
    instances: dict[InstanceKey, HeldInstance] = field(factory=dict)
    keys: dict[InstanceName, InstanceKey] = field(factory=dict)
    owners: dict[ContainerId, InstanceKey] = field(factory=dict)
    slots: dict[tuple[Uid, int], tuple[InstanceKey, ...]] = field(factory=dict)
    _failed: bool = False

    def bind(self, name: InstanceName) -> None:
        """Note that an instance's binding to this node has come, changed or gone.

        Where its workload was removed and made anew before either was seen here, both have changed: what is left of the
        former one has no binding any more.
        """
        record = self.world.nodes.get(self.engine.node_id, {}).get(name)
        former = self.keys.get(name)
        if record is not None and record.bound is not None:
            key = record.key
            self._instance(key).name = name
            self.keys[name] = key
        known = self.keys.get(name)
        if known is not None:
            self.changed(known)
        if former is not None and former != known:
            self.changed(former)

    def older_lives(self, key: InstanceKey) -> bool:
        """Whether containers of an older epoch of the same slot still run."""
        others = self.slots.get((key.workload_id, key.index), ())
        return any(other.epoch < key.epoch and self.instances[other].lives for other in others)

    async def follow(self) -> None:
        """Keep up with the runtime until cancelled.

        Raises:
            RuntimeClosed: The runtime was closed.
        """
        runtime = self.engine.runtime
        if RuntimeCapability.EVENTS not in runtime.capabilities or not isinstance(runtime, SupportsEvents):
            while True:
                await trio.sleep(self.poll_seconds)
                await self.list_if_possible()
        async with trio.open_nursery() as nursery:
            while True:
                try:
                    async with runtime.watch_containers(self.engine.node_id) as hints:
                        # What changed before the watch was armed is found by asking once more.
                        await self.list()
                        async for hint in hints:
                            if hint.container_id is None:
                                await self.list()
                            else:
                                self._hint(hint.container_id, hint.status, nursery)
                except* RuntimeClosed:
                    raise
                except* OrchestrationError:
                    # A runtime's watch may have tasks of its own, whose nursery makes a group of what is raised in it.
                    # The periodic pass covers what is missed meanwhile.
                    self._failed = True
                await trio.sleep(self.poll_seconds)

    async def list(self) -> None:
        """Learn what the runtime has, and look at every instance that differs from what was known."""
        try:
            listed = {summary.container_id: summary for summary in await self.engine.list()}
        except OrchestrationError:
            self._failed = True
            raise
        # A port is noted for what holds it now, not for what has had it.
        for summary in sorted(listed.values(), key=_has_ended_and_older):
            if self._note(summary):
                self.changed(summary.instance)
        for container_id, key in list(self.owners.items()):
            if container_id not in listed:
                # The list may be older than the container.
                self._ask_for(container_id, key)
        if self._failed:
            self._failed = False
            for key, instance in self.instances.items():
                if instance.settled is None:
                    self.changed(key)

    async def list_if_possible(self) -> None:
        """Do as `list`, unless the runtime fails."""
        try:
            await self.list()
        except RuntimeClosed:
            raise
        except OrchestrationError:
            # The next pass asks again.
            return

    def find_unlisted(self) -> None:
        """See that what is recorded as running and is not in the list is asked for: only then it is believed lost."""
        for name, record in self.world.nodes.get(self.engine.node_id, {}).items():
            if record.bound is None or record.ended:
                continue
            key = instance_key(name, record.bound.workload_id)
            instance = self._instance(key)
            for recorded in record.status.containers:
                if (
                    recorded.container_id
                    and recorded.state is not ContainerState.EXITED
                    and recorded.container_id not in instance.containers
                ):
                    self._ask_for(recorded.container_id, key)

    def _hint(self, container_id: ContainerId, status: ContainerStatus | None, nursery: trio.Nursery) -> None:
        """Ask for a container's status, unless that is about to be done; many hints ask once."""
        key = self.owners.get(container_id)
        instance = self.instances.get(key) if key is not None else None
        if key is None or instance is None:
            # It is being created, and asked for then; or it is a stray that the next pass finds.
            return
        held = instance.containers.get(container_id)
        if held is not None and (held.status is status or held.status == status):
            # Were it out of date by now, a hint would follow.
            return
        instance.asked[container_id] = status
        if self.at_work(key):
            instance.hinted = True
        elif held is not None:
            # A task for each instance: an engine that does not answer about one keeps nobody from hearing of others.
            nursery.start_soon(self.ask, key, instance)

    async def ask(self, key: InstanceKey, instance: HeldInstance) -> None:
        """Learn what has become of those containers of an instance that are to be asked for, unless that is under way.

        Whoever works on an instance does it in the end if hints came meanwhile.

        Raises:
            RuntimeClosed: The runtime was closed.
        """
        instance.hinted = False
        if instance.asking or not instance.asked:
            return
        instance.asking = True
        try:
            changed = await self.refresh(key, instance)
        except RuntimeClosed:
            raise
        except OrchestrationError as err:
            instance.ask_failed = err
            changed = True
        finally:
            instance.asking = False
        if changed:
            self.changed(key)

    def _ask_for(self, container_id: ContainerId, key: InstanceKey) -> None:
        instance = self.instances.get(key)
        if instance is None:
            # Its creation got no reply before its instance went.
            del self.owners[container_id]
            return
        instance.asked[container_id] = None
        self.changed(key)

    async def refresh(self, key: InstanceKey, instance: HeldInstance) -> bool:
        """Learn what has become of those containers of an instance that are to be asked for; return whether it is new.

        Raises:
            OrchestrationError: The runtime failed; those that are left are asked for the next time.
        """
        changed = False
        while instance.asked:
            container_id = next(iter(instance.asked))
            # Before the question: what is announced while it is under way asks another one.
            del instance.asked[container_id]
            try:
                status = await self.engine.status(container_id)
            except ContainerNotFound:
                self.drop(instance, container_id)
                changed = True
            except OrchestrationError:
                instance.asked[container_id] = None
                raise
            else:
                node_id = self.engine.node_id
                summary = ContainerSummary(container_id=container_id, node_id=node_id, instance=key, status=status)
                changed = self._note(summary) or changed
        return changed

    def own(self, key: InstanceKey, container_id: ContainerId) -> None:
        """Note whose a container is that was created just now."""
        self.owners[container_id] = key

    def hold(self, instance: HeldInstance, summary: ContainerSummary) -> None:
        """Note a container as it is now."""
        instance.containers[summary.container_id] = summary
        self.owners[summary.container_id] = summary.instance

    def drop(self, instance: HeldInstance, container_id: ContainerId) -> None:
        """Note that a container is gone."""
        instance.containers.pop(container_id, None)
        instance.asked.pop(container_id, None)
        instance.checks.pop(container_id, None)
        self.owners.pop(container_id, None)

    def forget(self, key: InstanceKey) -> None:
        """Note that nothing is left of an instance, and that it is not to come back."""
        instance = self.instances.pop(key)
        if instance.name is not None and self.keys.get(instance.name) == key:
            del self.keys[instance.name]
        slot = (key.workload_id, key.index)
        others = tuple(other for other in self.slots[slot] if other != key)
        if others:
            self.slots[slot] = others
        else:
            del self.slots[slot]

    def _note(self, summary: ContainerSummary) -> bool:
        """Note a container as the runtime tells of it, and return whether that is new."""
        instance = self._instance(summary.instance)
        held = instance.containers.get(summary.container_id)
        if held is summary:
            return False
        if held == summary:
            # The runtime's own object: the next comparison is one of identity.
            instance.containers[summary.container_id] = summary
            return False
        self.hold(instance, summary)
        for port_name, number in summary.status.ports.items():
            self._adopt_port(summary, instance, port_name, number)
        return True

    def _adopt_port(self, summary: ContainerSummary, instance: HeldInstance, port_name: str, number: int) -> None:
        owner = (summary.instance, summary.status.name, port_name)
        record = self.world.instances.get(instance.name) if instance.name is not None else None
        template = self.world.template(record) if record is not None else None
        if template is None or record is None or record.ended:
            return
        if owner in instance.ports and summary.status.state is ContainerState.EXITED:
            # The next attempt may have another port already.
            return
        for config in template.containers:
            for port in config.ports:
                leased = (config.name, port.name, port.host_port) == (summary.status.name, port_name, None)
                if leased and self.ports.adopt(owner, port.protocol, number):
                    instance.ports.add(owner)

    def _instance(self, key: InstanceKey) -> HeldInstance:
        # Whatever is bound here has its name by `bind`; what has none is not to be here.
        instance = self.instances.get(key)
        if instance is None:
            instance = self.instances[key] = HeldInstance()
            slot = (key.workload_id, key.index)
            self.slots[slot] = (*self.slots.get(slot, ()), key)
        return instance


def _has_ended_and_older(summary: ContainerSummary) -> tuple[bool, int]:
    return summary.status.state is ContainerState.EXITED, -summary.status.attempt
