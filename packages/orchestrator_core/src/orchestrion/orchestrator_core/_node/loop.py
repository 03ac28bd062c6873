"""The node loop: from bindings to containers, and back to statuses. One per node, wherever it runs."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping, Set
from functools import partial
from typing import Final

import trio
from attrs import define, evolve, field
from orchestrion.orchestrator_core._clock import Deadlines
from orchestrion.orchestrator_core._node.containers import ContainerBook, HeldInstance
from orchestrion.orchestrator_core._node.environment import (
    complete_config,
    dependencies_of_template,
    instance_variables,
)
from orchestrion.orchestrator_core._node.health import Prober
from orchestrion.orchestrator_core._node.health_checks import HealthChecks
from orchestrion.orchestrator_core._node.lease import LeaseKeeper
from orchestrion.orchestrator_core._node.plan import ContainerStart, InstanceFacts, InstancePlan, plan_instance
from orchestrion.orchestrator_core._node.ports import PortTable
from orchestrion.orchestrator_core._node.reports import announce, with_last_output
from orchestrion.orchestrator_core._node.volumes import VolumeOwner, VolumeProvider
from orchestrion.orchestrator_core._queue import KeyedQueue
from orchestrion.orchestrator_core._state.events import EventRecorder
from orchestrion.orchestrator_core._state.lifecycle import START_FAILED, TERMINAL
from orchestrion.orchestrator_core._state.records import WorkloadName, binding_key, status_key
from orchestrion.orchestrator_core._state.world import InstanceRecord, World
from orchestrion.runtime_interface import (
    ConfigUnsupported,
    ContainerConflict,
    ContainerRuntime,
    ContainerSummary,
    CreateOptions,
    PortTaken,
    RuntimeClosed,
    StaleEpoch,
    StartFailed,
    VolumeSource,
)
from orchestrion.shared_types import (
    ContainerConfig,
    ContainerHealth,
    ContainerId,
    ContainerNotFound,
    ContainerState,
    ContainerStatus,
    EventSeverity,
    ExitStatus,
    HealthCheck,
    InstanceKey,
    InstanceState,
    InstanceStatus,
    NodeId,
    OrchestrationError,
    PortMapping,
    ReferenceInvalid,
    RuntimeFailure,
    UidFactory,
    VolumeScope,
    WorkloadDefinition,
)
from orchestrion.store_interface import (
    Compare,
    RevisionConflict,
    StateStore,
    StoreClosed,
)

PORT_TRIES: Final = 5
"""Leased ports that are tried in a row where others have taken them."""


@define(eq=False)
class NodeLoop:
    """Makes what runs on one node what its bindings say.

    Attributes:
        node_id: Which node.
        store: Where statuses are recorded.
        runtime: Runs the containers.
        world: The mirror of the store.
        recorder: Takes events.
        deadlines: The clocks.
        ports: The node's table of dynamic ports.
        volumes: Makes the directories behind volumes.
        prober: Tries whether containers serve.
        new_uid: Makes fresh ids.
        random: Draws the jitter of back-off.
        lease_seconds: How long the node is believed alive without a word from it.
        skew_seconds: By how much two clocks may run apart; the node gives up so long before its lease ends.
        period_seconds: From one full pass to the next.
        poll_seconds: How often the runtime is asked where it does not announce changes.
        at_once: Instances that are started at once, and containers that are removed at once.
        environment: What `inherit_env` names variables of.
        ready: Set once the node has a lease and has taken up what runs.
        tried: Set once it is ready, or the runtime has failed for the first time and is asked again and again.
    """

    node_id: NodeId
    store: StateStore
    runtime: ContainerRuntime
    world: World
    recorder: EventRecorder
    deadlines: Deadlines
    ports: PortTable
    volumes: VolumeProvider
    prober: Prober
    new_uid: UidFactory
    random: random.Random
    lease_seconds: float = 10.0
    skew_seconds: float = 2.0
    period_seconds: float = 30.0
    poll_seconds: float = 1.0
    at_once: int = 16
    environment: Mapping[str, str] = field(factory=lambda: os.environ)
    ready: trio.Event = field(factory=trio.Event)
    tried: trio.Event = field(factory=trio.Event)
    _queue: KeyedQueue[InstanceKey] = field(init=False)
    _book: ContainerBook = field(init=False)
    _health: HealthChecks = field(init=False)
    _lease: LeaseKeeper = field(init=False)
    _fenced: set[ContainerId] = field(factory=set)
    _nursery: trio.Nursery | None = None
    _start_limit: trio.CapacityLimiter = field(init=False)
    _remove_limit: trio.CapacityLimiter = field(init=False)
    _starts: set[trio.CancelScope] = field(factory=set)
    _cleared: trio.Event = field(factory=trio.Event)
    _cleared_owners: set[WorkloadName] = field(factory=set)

    def __attrs_post_init__(self) -> None:
        self._queue = KeyedQueue(self.random)
        self._book = ContainerBook(
            self.node_id, self.runtime, self.world, self.ports, self._queue.add, self.poll_seconds
        )
        self._health = HealthChecks(self.prober)
        # A call that hangs holds up its own kind only; what runs is stopped in any case.
        self._start_limit = trio.CapacityLimiter(self.at_once)
        self._remove_limit = trio.CapacityLimiter(self.at_once)
        self._lease = LeaseKeeper(
            self.node_id,
            self.store,
            self.new_uid(),
            self.lease_seconds,
            self.skew_seconds,
            obtained=self._wake_all,
            lost=self._lease_lost,
        )

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be done now."""
        return self._queue.idle and not any(instance.stopping for instance in self._book.instances.values())

    async def wait_cleared(self) -> None:
        """Wait until nothing is left here of instances that are no longer bound to this node."""
        while True:
            bound = self.world.nodes.get(self.node_id, {})
            if all(instance.name in bound for instance in self._book.instances.values()):
                return
            if self._cleared.is_set():
                self._cleared = trio.Event()
            await self._cleared.wait()

    async def run(self) -> None:
        """Keep the node's lease and its containers, until cancelled. What runs then goes on running.

        Raises:
            OrchestrationError: The store or the runtime was closed.
        """
        await self.world.synced.wait()
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await nursery.start(self._lease.run)
            await self._take_up()
            self.world.on_node(self.node_id, self._book.bind)
            try:
                for name in list(self.world.nodes.get(self.node_id, ())):
                    self._book.bind(name)
                nursery.start_soon(self._book.follow)
                nursery.start_soon(self._pass_periodically)
                self.ready.set()
                self.tried.set()
                await self._work(nursery)
            finally:
                self.world.on_node(self.node_id, None)

    def _lease_lost(self) -> None:
        """Stop everything: others may be told that this node is lost, and start the same elsewhere."""
        text = "the node lost its lease; it stops everything"
        self.recorder.record("default", f"node/{self.node_id}", "LeaseLost", text, EventSeverity.WARNING)
        for scope in self._starts:
            scope.cancel()
        assert self._nursery is not None  # noqa: S101 - for the type checker: the lease is kept by a task in it
        # At once: whoever works on an instance may be held up by a store or an engine that does not answer.
        for key, instance in self._book.instances.items():
            self._stop_fenced(instance, self._nursery, key)
        self._wake_all()

    def _wake_all(self) -> None:
        for key in list(self._book.instances):
            self._queue.add(key)

    async def _take_up(self) -> None:
        delay = 0.1
        while True:
            try:
                await self.runtime.init_node(self.node_id)
                await self._book.list()
                await self._book.find_unlisted()
                # What a former run could not release any more has no owner but this.
                await self.volumes.retain_instances(self._volume_owners)
                await self.volumes.retain_shared(self._shared_volumes)
            except RuntimeClosed:
                raise
            except OrchestrationError as err:
                self.recorder.record(
                    "default", f"node/{self.node_id}", "RuntimeUnavailable", err.message, EventSeverity.WARNING
                )
                self.tried.set()
                await trio.sleep(delay)
                delay = min(10.0, delay * 2)
            else:
                return

    async def _pass_periodically(self) -> None:
        while True:
            await trio.sleep(self.period_seconds)
            await self.pass_over_everything()

    async def pass_over_everything(self) -> None:
        """Ask the runtime what it has, and look again at every instance that differs or has something left to do.

        What is settled would be planned the same: its binding has not changed, and neither have its containers.
        """
        await self._book.list_if_possible()
        await self._release_shared()
        for name, record in self.world.nodes.get(self.node_id, {}).items():
            key = self._book.keys.get(name)
            if key is None:
                self._book.bind(name)
            elif self._book.instances[key].settled != record.binding_revision:
                self._queue.add(key)
        for key, instance in self._book.instances.items():
            if instance.settled is None:
                self._queue.add(key)

    async def _work(self, nursery: trio.Nursery) -> None:
        while True:
            key = await self._queue.take()
            nursery.start_soon(self._work_on, key, nursery)

    async def _work_on(self, key: InstanceKey, nursery: trio.Nursery) -> None:
        try:
            wake = await self._reconcile(key, nursery)
        except (StoreClosed, RuntimeClosed):
            raise
        except OrchestrationError as err:
            delay = self._queue.failed(key)
            self._complain(key, err, delay)
        else:
            self._queue.done(key)
            if wake is not None:
                self._queue.add_after(key, wake)

    def _complain(self, key: InstanceKey, err: OrchestrationError, delay: float) -> None:
        if isinstance(err, RevisionConflict):
            # The world has moved on since the plan was made: nothing is wrong.
            return
        instance = self._book.instances.get(key)
        if instance is not None and instance.name is not None:
            self.recorder.record(
                instance.name.namespace,
                f"instance/{instance.name.short}",
                "Retry",
                f"{err.message}; next try in {delay:.1f} s",
                EventSeverity.WARNING,
            )

    async def _reconcile(self, key: InstanceKey, nursery: trio.Nursery) -> float | None:
        instance = self._book.instances.get(key)
        if instance is None:
            return None
        instance.settled = None
        record = self.world.nodes.get(self.node_id, {}).get(instance.name) if instance.name is not None else None
        if record is not None and record.bound is not None and record.bound.workload_id != key.workload_id:
            record = None
        if record is None or record.bound is None:
            await self._clear(key, instance, nursery)
            return None
        template = self.world.template(record)
        if template is None:
            msg = f"instance {record.name}: its template is missing"
            raise RuntimeFailure(msg)
        if self._lease.guard is None:
            if instance.unsure:
                # A create that was cancelled when the lease was lost may have left a container all the same.
                await self._book.list()
            self._stop_fenced(instance, nursery, key)
            return None
        if instance.unsure:
            # A create whose reply was lost may have left a container that must not outlive the instance's end.
            await self._book.list()
            instance.unsure = False
        plan = plan_instance(self._facts(record, instance, template))
        if plan.status.state is InstanceState.TERMINATING:
            # On record first: what ends from now on has been stopped, and has not ended by itself.
            await self._write_status(record, instance, plan.status)
        for container_id, grace in plan.stop:
            self._stop_soon(key, instance, container_id, grace, nursery)
        for container_id in plan.remove:
            await self._remove(instance, container_id)
        if plan.start and self._older_epoch_lives(key):
            # The end of the older one brings this one back at once; the wait is for a stop that fails.
            plan.start.clear()
            plan.wake(self.poll_seconds)
        if plan.start:
            try:
                if not await self._start_unless_fenced(key, record, instance, template, plan):
                    return None
            except (StoreClosed, RuntimeClosed):
                raise
            except OrchestrationError as err:
                plan = plan_instance(self._facts(record, instance, template))
                if plan.status.state is InstanceState.PENDING:
                    # Whoever waits for it to start sees what it waits for; the next plan has no such words.
                    await self._write_status(record, instance, evolve(plan.status, message=err.message))
                raise
            # What has become of the starts goes into the status.
            plan = plan_instance(self._facts(record, instance, template))
            if plan.start:
                self._queue.add_after(key, 0.0)
        await self._follow_health(key, record, instance, template, plan, nursery)
        await self._write_status(record, instance, plan.status)
        if plan.status.state in TERMINAL and not instance.lives:
            self._release_ports(instance)
        if plan.wake_after is None and not (plan.stop or plan.remove or plan.start):
            instance.settled = record.binding_revision
        return plan.wake_after

    def _facts(self, record: InstanceRecord, instance: HeldInstance, template: WorkloadDefinition) -> InstanceFacts:
        assert record.bound is not None  # noqa: S101 - for the type checker: the caller has looked
        containers = [self._health.with_health(summary.status) for summary in instance.containers.values()]
        containers.extend(instance.never_created.values())
        return InstanceFacts(
            name=record.name,
            binding=record.bound.binding,
            template=template,
            status=self._status(record, instance),
            containers=containers,
            unhealthy=self._health.unhealthy,
            fenced=self._fenced,
            deadlines=self.deadlines,
        )

    def _status(self, record: InstanceRecord, instance: HeldInstance) -> InstanceStatus:
        if instance.written is not None and instance.written_revision >= record.status_revision:
            return instance.written
        return record.status

    def _older_epoch_lives(self, key: InstanceKey) -> bool:
        """Whether containers of an older epoch of the same slot still run here."""
        return any(
            summary.status.state is not ContainerState.EXITED
            for other, held in self._book.instances.items()
            if (other.workload_id, other.index) == (key.workload_id, key.index) and other.epoch < key.epoch
            for summary in held.containers.values()
        )

    def _stop_fenced(self, instance: HeldInstance, nursery: trio.Nursery, key: InstanceKey) -> None:
        for container_id, summary in instance.containers.items():
            if summary.status.state is not ContainerState.EXITED:
                self._fenced.add(container_id)
                self._stop_soon(key, instance, container_id, 0.0, nursery)

    async def _clear(self, key: InstanceKey, instance: HeldInstance, nursery: trio.Nursery) -> None:
        """Remove all that is left of an instance that has no binding here."""
        running = False
        for container_id, summary in list(instance.containers.items()):
            if summary.status.state is ContainerState.EXITED:
                await self._remove(instance, container_id)
            else:
                running = True
                # Whoever took the binding away has given its place to another, or knows that it had ended.
                self._stop_soon(key, instance, container_id, 0.0, nursery)
        if running:
            return
        self._release_ports(instance)
        if instance.name is not None:
            await self.volumes.release(VolumeOwner(instance.name, key.workload_id))
            self._cleared_owners.add(instance.name.owner)
            await self._release_shared()
            if self._book.keys.get(instance.name) == key:
                del self._book.keys[instance.name]
        del self._book.instances[key]
        self._cleared.set()

    def _release_ports(self, instance: HeldInstance) -> None:
        for owner in instance.ports:
            self.ports.release(owner)
        instance.ports.clear()

    async def _release_shared(self) -> None:
        """Remove the shared directories of workloads that had instances here and are gone."""
        gone = {
            name
            for name in self._cleared_owners
            if name not in self.world.workloads or self.world.workloads[name].spec is None
        }
        if gone:
            await self.volumes.retain_shared(self._shared_volumes)
            self._cleared_owners -= gone

    def _volume_owners(self) -> Set[VolumeOwner]:
        return {
            VolumeOwner(name, record.bound.workload_id)
            for name, record in self.world.instances.items()
            if record.bound is not None
        }

    def _shared_volumes(self) -> Set[tuple[str, str]]:
        return {
            (workload.name.namespace, volume.name)
            for workload in self.world.workloads.values()
            for template in (*workload.templates.values(), *((workload.spec.definition,) if workload.spec else ()))
            for volume in template.volumes
            if volume.scope is VolumeScope.SHARED
        }

    async def _remove(self, instance: HeldInstance, container_id: ContainerId) -> None:
        self._health.forget(container_id)
        async with self._remove_limit:
            await self.runtime.remove_container(container_id)
        self._book.drop(instance, container_id)
        self._fenced.discard(container_id)

    def _stop_soon(
        self, key: InstanceKey, instance: HeldInstance, container_id: ContainerId, grace: float, nursery: trio.Nursery
    ) -> None:
        known = instance.stopping.get(container_id)
        if known is not None and known <= grace:
            return
        instance.stopping[container_id] = grace
        nursery.start_soon(self._stop, key, instance, container_id, grace)

    async def _stop(self, key: InstanceKey, instance: HeldInstance, container_id: ContainerId, grace: float) -> None:
        try:
            await self.runtime.stop_container(container_id, grace_seconds=grace)
            status = await self.runtime.get_container_status(container_id)
        except ContainerNotFound:
            self._book.drop(instance, container_id)
        except RuntimeClosed:
            raise
        except OrchestrationError as err:
            self._complain(key, err, self.poll_seconds)
            await trio.sleep(self.poll_seconds)
        else:
            summary = instance.containers.get(container_id)
            if summary is not None:
                self._book.hold(instance, evolve(summary, status=status))
        finally:
            if instance.stopping.get(container_id) == grace:
                del instance.stopping[container_id]
        self._queue.add(key)

    async def _start_unless_fenced(
        self,
        key: InstanceKey,
        record: InstanceRecord,
        instance: HeldInstance,
        template: WorkloadDefinition,
        plan: InstancePlan,
    ) -> bool:
        """Start containers, and return whether that was not cut short by the loss of the lease."""
        scope = trio.CancelScope()
        self._starts.add(scope)
        try:
            with scope:
                async with self._start_limit:
                    await self._start(key, record, instance, template, plan)
        finally:
            self._starts.remove(scope)
        return not scope.cancelled_caught

    async def _start(
        self,
        key: InstanceKey,
        record: InstanceRecord,
        instance: HeldInstance,
        template: WorkloadDefinition,
        plan: InstancePlan,
    ) -> None:
        volumes = await self.volumes.provide(VolumeOwner(record.name, key.workload_id), template)
        variables = self._variables(record, template, volumes)
        for start in plan.start:
            mounted = {mount.volume for mount in start.config.volumes}
            options = CreateOptions(
                node_id=self.node_id,
                instance=key,
                attempt=start.attempt,
                namespace=record.name.namespace,
                workload=record.name.workload,
                volumes=tuple(source for source in volumes if source.volume in mounted),
                device_ids=record.bound.binding.devices.get(start.config.name, ()) if record.bound is not None else (),
            )
            self._book.creating += 1
            try:
                await self._create(key, instance, start, options, variables)
            finally:
                self._book.creating -= 1
                if not self._book.creating:
                    self._book.hinted_early.clear()

    async def _create(
        self,
        key: InstanceKey,
        instance: HeldInstance,
        start: ContainerStart,
        options: CreateOptions,
        variables: Mapping[str, str],
    ) -> None:
        name = start.config.name
        for tried in range(PORT_TRIES):
            try:
                config = complete_config(
                    start.config, variables, start.attempt, self._lease_port(key, instance, name), self.environment
                )
                instance.unsure = True
                container_id = await self.runtime.create_container(config, options)
                status = await self.runtime.get_container_status(container_id)
            except PortTaken as err:
                instance.unsure = False
                if not self._give_up_ports(key, instance, start.config, err.ports) or tried == PORT_TRIES - 1:
                    raise
            except (StartFailed, ConfigUnsupported, StaleEpoch) as err:
                instance.unsure = False
                instance.never_created[name] = self._not_started(start, err)
                return
            except ContainerConflict:
                # A call whose reply was lost has created it, with other ports or endpoints: it is taken as it is.
                await self._book.list()
                if not any(
                    c.status.name == name and c.status.attempt == start.attempt for c in instance.containers.values()
                ):
                    raise
                return
            else:
                instance.unsure = False
                if config.health is not None:
                    instance.checks[container_id] = config.health
                instance.never_created.pop(name, None)
                if start.restarts_in_row:
                    status = evolve(status, restarts_in_row=start.restarts_in_row)
                self._book.hold(
                    instance,
                    ContainerSummary(container_id=container_id, node_id=self.node_id, instance=key, status=status),
                )
                if container_id in self._book.hinted_early:
                    self._book.hinted_early.remove(container_id)
                    await self._book.ask(container_id)
                return

    def _lease_port(self, key: InstanceKey, instance: HeldInstance, name: str) -> Callable[[PortMapping], int]:
        def lease(port: PortMapping) -> int:
            owner = (key, name, port.name)
            instance.ports.add(owner)
            return self.ports.lease(owner, port.protocol)

        return lease

    def _give_up_ports(
        self, key: InstanceKey, instance: HeldInstance, config: ContainerConfig, taken: tuple[int, ...]
    ) -> bool:
        """Give up leased ports that others have taken, and return whether all that were taken are of that kind."""
        static = {port.host_port for port in config.ports}
        for port in config.ports:
            owner = (key, config.name, port.name)
            if port.host_port is None and owner in instance.ports and self.ports.lease(owner, port.protocol) in taken:
                self.ports.release(owner)
        return not static.intersection(taken)

    def _not_started(self, start: ContainerStart, err: OrchestrationError) -> ContainerStatus:
        now = self.deadlines.now()
        return ContainerStatus(
            name=start.config.name,
            state=ContainerState.EXITED,
            attempt=start.attempt,
            exit=ExitStatus(reason=START_FAILED, message=err.message),
            created_at=now,
            finished_at=now,
            restarts_in_row=start.restarts_in_row,
        )

    async def _write_status(self, record: InstanceRecord, instance: HeldInstance, status: InstanceStatus) -> None:
        before = self._status(record, instance)
        if status == before:
            return
        guard = self._lease.guard
        if guard is None:
            return
        if status.state is InstanceState.FAILED and before.state not in TERMINAL:
            status = evolve(status, message=await with_last_output(self.runtime, status, instance.containers))
        operations = [self.world.put(status_key(record.name), status)]
        compares = (guard, Compare(binding_key(record.name), record.binding_revision))
        revision = await self.store.transaction(compares, operations)
        instance.written, instance.written_revision = status, revision
        announce(self.recorder, self.deadlines.now(), record.name, before, status)

    async def _check_of(
        self,
        key: InstanceKey,
        record: InstanceRecord,
        template: WorkloadDefinition,
        config: ContainerConfig,
        status: ContainerStatus,
    ) -> HealthCheck:
        """Return a container's health check with its references replaced, as when the container was created."""
        assert config.health is not None  # noqa: S101 - for the type checker: the caller has looked
        owner = VolumeOwner(record.name, key.workload_id)
        variables = self._variables(record, template, await self.volumes.provide(owner, template))
        try:
            completed = complete_config(
                config, variables, status.attempt, lambda port: status.ports.get(port.name, 0), self.environment
            )
        except ReferenceInvalid:
            # What it inherited is no longer there for this run of the program; the container still runs.
            return config.health
        return completed.health or config.health

    def _variables(
        self, record: InstanceRecord, template: WorkloadDefinition, volumes: tuple[VolumeSource, ...]
    ) -> dict[str, str]:
        workload = self.world.workloads[record.name.owner]
        dependencies = dependencies_of_template(workload, self.world.workloads)
        return instance_variables(record.name, self.node_id, template, workload, volumes, dependencies)

    async def _follow_health(
        self,
        key: InstanceKey,
        record: InstanceRecord,
        instance: HeldInstance,
        template: WorkloadDefinition,
        plan: InstancePlan,
        nursery: trio.Nursery,
    ) -> None:
        configs = {config.name: config for config in template.containers}
        stays = plan.status.state in {InstanceState.PENDING, InstanceState.RUNNING}
        recorded = {container.container_id: container for container in self._status(record, instance).containers}
        for container_id, summary in list(instance.containers.items()):
            config = configs.get(summary.status.name)
            if config is None or config.health is None:
                continue
            if not stays or summary.status.state is not ContainerState.RUNNING:
                self._health.end(container_id)
                continue
            if self._health.is_tried(container_id):
                continue
            if container_id not in instance.checks:
                instance.checks[container_id] = await self._check_of(key, record, template, config, summary.status)
            before = recorded.get(container_id)
            self._health.start(
                instance.checks[container_id],
                before.health if before is not None else ContainerHealth.UNCHECKED,
                before.reason if before is not None else "",
                container_id,
                partial(_status_of, instance, container_id),
                partial(self._queue.add, key),
                nursery,
            )


def _status_of(instance: HeldInstance, container_id: ContainerId) -> ContainerStatus | None:
    summary = instance.containers.get(container_id)
    return None if summary is None else summary.status
