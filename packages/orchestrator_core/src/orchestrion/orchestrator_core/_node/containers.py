"""What a node's runtime has, and whose it is."""

from __future__ import annotations

from collections.abc import Callable

import trio
from attrs import define, evolve, field
from orchestrion.orchestrator_core._node.ports import PortTable
from orchestrion.orchestrator_core._state.records import InstanceName, instance_key
from orchestrion.orchestrator_core._state.world import World
from orchestrion.runtime_interface import (
    ContainerRuntime,
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
    NodeId,
    OrchestrationError,
    Uid,
)
from orchestrion.store_interface import Revision


@define(eq=False)
class HeldInstance:
    """What a node loop remembers of an instance beyond what is stored.

    Attributes:
        name: Its name; None where no binding has named it yet.
        workload_id: Its workload's uid.
        containers: What the runtime has of it, all attempts.
        never_created: Attempts that could not be started, by container.
        checks: Health checks with their references replaced, by container.
        unsure: Whether a container may exist whose creation got no reply.
        stopping: The grace of each container that is being stopped.
        written: The status that was written last.
        written_revision: Its revision.
        ports: Owners of the ports that are leased for it.
        settled: The revision of the binding for which nothing was left to do, not even to wait; None where there is.
    """

    name: InstanceName | None = None
    workload_id: Uid = Uid("")
    containers: dict[ContainerId, ContainerSummary] = field(factory=dict)
    never_created: dict[str, ContainerStatus] = field(factory=dict)
    checks: dict[ContainerId, HealthCheck] = field(factory=dict)
    unsure: bool = False
    stopping: dict[ContainerId, float] = field(factory=dict)
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
        node_id: Which node.
        runtime: What it keeps up with.
        world: The mirror of the store.
        ports: The node's table of dynamic ports.
        changed: Called with each instance of which something has changed.
        poll_seconds: How often the runtime is asked where it does not announce changes.
        instances: What is known, by instance.
        keys: The instance of each name.
        owners: The instance of each container.
        creating: Creations under way.
        hinted_early: Containers that were announced while creations are under way, and belong to nobody yet.
    """

    node_id: NodeId
    runtime: ContainerRuntime
    world: World
    ports: PortTable
    changed: Callable[[InstanceKey], None]
    poll_seconds: float
    instances: dict[InstanceKey, HeldInstance] = field(factory=dict)
    keys: dict[InstanceName, InstanceKey] = field(factory=dict)
    owners: dict[ContainerId, InstanceKey] = field(factory=dict)
    creating: int = 0
    hinted_early: set[ContainerId] = field(factory=set)

    def bind(self, name: InstanceName) -> None:
        """Note that an instance's binding to this node has come, changed or gone."""
        record = self.world.nodes.get(self.node_id, {}).get(name)
        if record is not None and record.bound is not None:
            key = instance_key(name, record.bound.workload_id)
            instance = self.instances.get(key)
            if instance is None:
                instance = self.instances[key] = HeldInstance()
            instance.name = name
            instance.workload_id = record.bound.workload_id
            self.keys[name] = key
        known = self.keys.get(name)
        if known is not None:
            self.changed(known)

    async def follow(self) -> None:
        """Keep up with the runtime until cancelled.

        Raises:
            RuntimeClosed: The runtime was closed.
        """
        runtime = self.runtime
        if RuntimeCapability.EVENTS not in runtime.capabilities or not isinstance(runtime, SupportsEvents):
            while True:
                await trio.sleep(self.poll_seconds)
                await self.list_if_possible()
        while True:
            try:
                async with runtime.watch_containers(self.node_id) as hints:
                    # What changed before the watch was armed is found by asking once more.
                    await self.list()
                    async for hint in hints:
                        if hint.container_id is None:
                            await self.list()
                        else:
                            await self.ask(hint.container_id)
            except* RuntimeClosed:
                raise
            except* OrchestrationError:
                # A runtime's watch may have tasks of its own, whose nursery makes a group of what is raised within it.
                # The periodic pass covers what is missed meanwhile.
                pass
            await trio.sleep(self.poll_seconds)

    async def list(self) -> None:
        """Learn what the runtime has, and look at every instance that differs from what was known."""
        listed = {summary.container_id: summary for summary in await self.runtime.list_containers(self.node_id)}
        # A port is noted for what holds it now, not for what has had it.
        for summary in sorted(listed.values(), key=_has_ended_and_older):
            self._note(summary)
        for container_id in [known for known in self.owners if known not in listed]:
            key = self.owners.get(container_id)
            if key is not None:
                await self._check_missing(key, self.instances[key], container_id)

    async def list_if_possible(self) -> None:
        """Do as `list`, unless the runtime fails."""
        try:
            await self.list()
        except RuntimeClosed:
            raise
        except OrchestrationError:
            # The next pass asks again.
            return

    async def find_unlisted(self) -> None:
        """Ask for what is recorded as running and is not in the list: only then is it believed to be lost."""
        for name, record in list(self.world.nodes.get(self.node_id, {}).items()):
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
                    await self._check_missing(key, instance, recorded.container_id)

    async def ask(self, container_id: ContainerId) -> None:
        """Learn what has become of a container."""
        key = self.owners.get(container_id)
        if key is None:
            # Its creation is under way, and asks by itself; or it is a stray, which the periodic pass finds.
            if self.creating:
                self.hinted_early.add(container_id)
            return
        instance = self.instances[key]
        summary = instance.containers[container_id]
        try:
            status = await self.runtime.get_container_status(container_id)
        except ContainerNotFound:
            self.drop(instance, container_id)
            self.changed(key)
        else:
            self._note(evolve(summary, status=status))

    def hold(self, instance: HeldInstance, summary: ContainerSummary) -> None:
        """Note a container as it is now."""
        instance.containers[summary.container_id] = summary
        self.owners[summary.container_id] = summary.instance

    def drop(self, instance: HeldInstance, container_id: ContainerId) -> None:
        """Note that a container is gone."""
        instance.containers.pop(container_id, None)
        instance.checks.pop(container_id, None)
        self.owners.pop(container_id, None)

    async def _check_missing(self, key: InstanceKey, instance: HeldInstance, container_id: ContainerId) -> None:
        """Ask for a container that a list did not have: the list may be older than the container."""
        try:
            status = await self.runtime.get_container_status(container_id)
        except ContainerNotFound:
            if container_id in instance.containers:
                self.drop(instance, container_id)
                self.changed(key)
        else:
            self._note(ContainerSummary(container_id=container_id, node_id=self.node_id, instance=key, status=status))

    def _note(self, summary: ContainerSummary) -> None:
        instance = self._instance(summary.instance)
        held = instance.containers.get(summary.container_id)
        if held is summary:
            return
        if held == summary:
            # The runtime's own object: the next comparison is one of identity.
            instance.containers[summary.container_id] = summary
        else:
            self.hold(instance, summary)
            for port_name, number in summary.status.ports.items():
                self._adopt_port(summary, instance, port_name, number)
            self.changed(summary.instance)

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
        instance = self.instances.get(key)
        if instance is None:
            instance = self.instances[key] = HeldInstance()
            for name, record in self.world.nodes.get(self.node_id, {}).items():
                if record.bound is not None and instance_key(name, record.bound.workload_id) == key:
                    instance.name = name
                    self.keys[name] = key
                    break
        return instance


def _has_ended_and_older(summary: ContainerSummary) -> tuple[bool, int]:
    return summary.status.state is ContainerState.EXITED, -summary.status.attempt
