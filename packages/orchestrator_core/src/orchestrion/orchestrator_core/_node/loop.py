"""The node loop: from bindings to containers, and back to statuses. One per node, wherever it runs."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import trio
from attrs import define, evolve, field
from orchestrion.orchestrator_core._clock import Deadlines
from orchestrion.orchestrator_core._node.complaints import Complaints
from orchestrion.orchestrator_core._node.config import ConfigMissing, ConfigReader, ConfigSource, NoConfig
from orchestrion.orchestrator_core._node.config_waits import ConfigWaits
from orchestrion.orchestrator_core._node.containers import ContainerBook, HeldInstance
from orchestrion.orchestrator_core._node.engine import Engine, NoAnswer, Slots
from orchestrion.orchestrator_core._node.health import Prober
from orchestrion.orchestrator_core._node.health_checks import HealthChecks
from orchestrion.orchestrator_core._node.lease import LeaseKeeper
from orchestrion.orchestrator_core._node.plan import InstanceFacts, InstancePlan, plan_instance
from orchestrion.orchestrator_core._node.ports import PortTable
from orchestrion.orchestrator_core._node.remains import Remains
from orchestrion.orchestrator_core._node.reports import announce, with_last_output
from orchestrion.orchestrator_core._node.starts import Starter
from orchestrion.orchestrator_core._node.volumes import VolumeOwner, VolumeProvider
from orchestrion.orchestrator_core._observed import Observed
from orchestrion.orchestrator_core._queue import KeyedQueue
from orchestrion.orchestrator_core._state.events import EventRecorder
from orchestrion.orchestrator_core._state.lifecycle import TERMINAL
from orchestrion.orchestrator_core._state.records import (
    BindingRecord,
    InstanceName,
    binding_key,
    instance_key,
    status_key,
)
from orchestrion.orchestrator_core._state.world import InstanceRecord, World
from orchestrion.runtime_interface import (
    ContainerRuntime,
    RuntimeClosed,
    RuntimeUnavailable,
)
from orchestrion.shared_types import (
    ContainerHealth,
    ContainerId,
    ContainerNotFound,
    ContainerState,
    ContainerStatus,
    DesiredState,
    EventSeverity,
    InstanceKey,
    InstanceState,
    InstanceStatus,
    NodeId,
    OrchestrationError,
    RuntimeFailure,
    UidFactory,
    WorkloadDefinition,
)
from orchestrion.store_interface import (
    Compare,
    Revision,
    RevisionConflict,
    StateStore,
    StoreClosed,
)

MAX_STOP_RETRY_SECONDS: Final = 10.0
"""The longest wait before a container that could not be stopped is tried again."""

MAX_INIT_RETRY_SECONDS: Final = 10.0


@define(eq=False)
class NodeLoop:
    """Makes what runs on one node what its bindings say.

    It takes part, which is to say it holds the node's lease, while the cluster sees the node (`resume`, `let_go`) and
    the engine has been made ready. Without a lease it starts nothing, and stops what it reaches once the last one has
    lapsed; until then what runs is left alone.

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
        config: Knows ConfigMaps and Secrets.
        only_stops: Whether what is to run is left as it is: neither started nor stopped, and not checked.
        observed: Who looks on is told of what is asked of the runtime.
        on_trouble: Called when `trouble` has changed.
        ready: Set once the node has a lease and has taken up what runs.
        tried: Set once it is ready, or need not be waited for: the runtime has failed, or the node is out of sight.
        trouble: Why the engine can't be used, while that keeps the node from taking part; else "".
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
    config: ConfigSource = field(factory=NoConfig)
    only_stops: bool = False
    observed: Observed = field(factory=Observed)
    on_trouble: Callable[[], None] = field(default=lambda: None)
    ready: trio.Event = field(factory=trio.Event)
    tried: trio.Event = field(factory=trio.Event)
    trouble: str = ""
    _queue: KeyedQueue[InstanceKey] = field(init=False)
    _engine: Engine = field(init=False)
    _book: ContainerBook = field(init=False)
    _complaints: Complaints = field(init=False)
    _health: HealthChecks = field(init=False)
    _lease: LeaseKeeper = field(init=False)
    _starter: Starter = field(init=False)
    _config: ConfigReader = field(init=False)
    _config_waits: ConfigWaits = field(init=False)
    _remains: Remains = field(init=False)
    _nursery: trio.Nursery | None = None
    _removals: Slots = field(init=False)
    _to_stop: set[InstanceKey] = field(factory=set)
    _taken_up: bool = False
    _away: bool = False
    _sight: trio.Event = field(factory=trio.Event)

    def __attrs_post_init__(self) -> None:
        self._queue = KeyedQueue(self.random)
        self._engine = Engine(self.runtime, self.node_id, self.observed)
        self._book = ContainerBook(
            self._engine, self.world, self.ports, self._queue.add, self._queue.is_at_work, self.poll_seconds
        )
        self._complaints = Complaints(self.recorder)
        self._health = HealthChecks(self.prober)
        # A call that hangs holds up its own kind only, and not for long; what runs is stopped in any case.
        starts, self._removals = Slots(self.at_once), Slots(self.at_once)
        self._config = ConfigReader(self.config, self.volumes)
        self._config_waits = ConfigWaits(self.config, self._queue.add)
        self._starter = Starter(
            self._book, self._engine, self.volumes, self._config, self.environment, starts, self.deadlines.now
        )
        self._remains = Remains(self._book, self.volumes, self._complaints)
        self._lease = LeaseKeeper(
            self.node_id,
            self.store,
            self.new_uid(),
            self.lease_seconds,
            self.skew_seconds,
            obtained=self._lease_obtained,
            lost=self._lease_lost,
        )

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be done now."""
        return self._queue.idle and not any(instance.stopping for instance in self._book.instances.values())

    @property
    def away(self) -> bool:
        """Whether the cluster has lost sight of the node."""
        return self._away

    def let_go(self) -> None:
        """Take no part any more, because the cluster does not see the node: its lease lapses unless it is back before.

        Until then what runs is left alone and reported; then all that can be reached is stopped. Nothing is started.
        """
        if not self._away:
            self._away = True
            self._lease.let_go()
            self.tried.set()
            self._sight_changed()

    def resume(self) -> None:
        """Take part again: the cluster sees the node."""
        if self._away:
            self._away = False
            self._sight_changed()
            self._wake_all()

    def _sight_changed(self) -> None:
        self._sight.set()
        self._sight = trio.Event()
        self._remains.changed()

    async def wait_cleared(self) -> None:
        """Wait until nothing is left here of instances that are no longer bound to this node; not while it is away."""
        while self._taken_up and not self._away and not self._remains.cleared:
            await self._remains.wait_changed()

    async def wait_stopped(self) -> None:
        """Wait until the lease has lapsed and all is stopped that was known to run."""
        while self._taken_up and not (
            self._lease.lapsed and not any(instance.lives for instance in self._book.instances.values())
        ):
            await self._remains.wait_changed()

    async def run(self) -> None:
        """Keep the node's lease and its containers, until cancelled. What runs then goes on running.

        Raises:
            OrchestrationError: The store or the runtime was closed.
        """
        await self.world.synced.wait()
        trusted_until = trio.current_time() + self.lease_seconds - self.skew_seconds
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self.world.on_node(self.node_id, self._book.bind)
            try:
                for name in list(self.world.nodes.get(self.node_id, ())):
                    self._book.bind(name)
                await self._take_up()
                nursery.start_soon(self._book.follow)
                nursery.start_soon(self._remains.run)
                nursery.start_soon(self._pass_periodically)
                # However long the engine took, there is time for a first try to get a lease.
                nursery.start_soon(self._lease.run, max(trusted_until, trio.current_time() + self.skew_seconds))
                nursery.start_soon(self._take_part)
                await self._work(nursery)
            finally:
                self.world.on_node(self.node_id, None)

    async def _take_part(self) -> None:
        """Claim the lease whenever the cluster sees the node; after a lapse once its engine is ready again."""
        while True:
            if not self._away:
                if self._lease.lapsed:
                    await self._take_up()
                if not self._away:
                    self._lease.claim()
            await self._sight.wait()

    def _lease_obtained(self) -> None:
        self.ready.set()
        self.tried.set()
        self._wake_all()

    def _lease_lost(self) -> None:
        """Stop everything: others may be told that this node is lost, and start the same elsewhere."""
        why = (
            "the cluster does not see the node, and its lease has run out" if self._away else "the node lost its lease"
        )
        text = f"{why}; it stops everything"
        self.recorder.record("default", f"node/{self.node_id}", "LeaseLost", text, EventSeverity.WARNING)
        self._starter.cancel_all()
        assert self._nursery is not None  # noqa: S101 - for the type checker: the lease is kept by a task in it
        # At once: whoever works on an instance may be held up by a store or an engine that does not answer.
        for key, instance in self._book.instances.items():
            self._stop_fenced(instance, self._nursery, key)
        self._wake_all()
        self._remains.changed()

    def _wake_all(self) -> None:
        for key in list(self._book.instances):
            self._queue.add(key)

    async def _take_up(self) -> None:
        delay = 0.1
        while True:
            try:
                await self._engine.init_node()
                await self._book.list()
                self._book.find_unlisted()
            except RuntimeClosed:
                raise
            except OrchestrationError as err:
                self._complaints.say("default", f"node/{self.node_id}", "RuntimeUnavailable", err.message, delay)
                self._set_trouble(err.message)
                self.tried.set()
                await trio.sleep(delay)
                delay = min(MAX_INIT_RETRY_SECONDS, delay * 2)
            else:
                self._set_trouble("")
                self._taken_up = True
                # Not before others: to remove much takes long, and nobody needs to wait for it.
                self._remains.sweep_soon()
                return

    def _set_trouble(self, text: str) -> None:
        if self.trouble != text:
            self.trouble = text
            self.on_trouble()

    async def _pass_periodically(self) -> None:
        while True:
            await trio.sleep(self.period_seconds)
            await self.pass_over_everything()

    async def pass_over_everything(self) -> None:
        """Ask the runtime what it has, and look again at every instance that differs or has something left to do.

        What is settled would be planned the same: its binding has not changed, and neither have its containers.
        """
        await self._book.list_if_possible()
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
            instance = self._book.instances.get(key)
            if (
                self._complaints.any
                and instance is not None
                and instance.settled is not None
                and instance.name is not None
            ):
                self._complaints.forget(*_subject(instance.name))
        held = self._book.instances.get(key)
        if held is not None and held.hinted:
            await self._book.ask(key, held)

    def _complain(self, key: InstanceKey, err: OrchestrationError, delay: float) -> None:
        if isinstance(err, RevisionConflict):
            # The world has moved on since the plan was made: nothing is wrong.
            return
        if isinstance(err, RuntimeUnavailable) and not isinstance(err, NoAnswer):
            # It is no matter of this instance.
            self._complaints.say("default", f"node/{self.node_id}", "RuntimeUnavailable", err.message, delay)
            return
        instance = self._book.instances.get(key)
        if instance is not None and instance.name is not None:
            self._complaints.say(*_subject(instance.name), "Retry", err.message, delay)

    async def _reconcile(self, key: InstanceKey, nursery: trio.Nursery) -> float | None:
        instance = self._book.instances.get(key)
        if instance is None or (self._lease.guard is None and not self._lease.lapsed):
            # A former run's lease may be good for what runs. Both a lease and its lapse lead here again.
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
            self._stop_fenced(instance, nursery, key)
            if instance.unsure:
                # A create that was cancelled when the lease was lost may have left a container all the same.
                await self._book.list()
                self._stop_fenced(instance, nursery, key)
            return None
        bound = await self._learn(key, record, instance)
        if bound is None:
            # That it has gone meanwhile leads here again.
            return None
        plan = plan_instance(self._facts(record, bound, instance, template))
        if self.only_stops and bound.binding.desired is DesiredState.RUN:
            await self._write_status(record, instance, plan.status)
            instance.settled = record.binding_revision
            return None
        if plan.status.state is InstanceState.TERMINATING:
            # On record first: what ends from now on has been stopped, and has not ended by itself.
            await self._write_status(record, instance, plan.status)
        held_back = False
        for container_id, grace in plan.stop:
            self._stop_soon(key, instance, container_id, grace, nursery)
        for container_id in plan.remove:
            await self._remove(instance, container_id)
        if self._away or self._lease.guard is None:
            # Nothing new, until the cluster sees the node again; that leads here again, as does a lease.
            plan.start.clear()
            held_back = True
        if plan.start and self._is_to_stop(record):
            # Its binding will say so. What was killed meanwhile must not be stopped once more, with all its grace.
            plan.start.clear()
            held_back = True
            if key not in self._to_stop:
                self._to_stop.add(key)
                nursery.start_soon(self._await_stop, key, record)
        if plan.start and bound.binding.waits_for and (others := self._in_the_way(bound)):
            # They are told to stop, and their end leads here again.
            plan.start.clear()
            held_back = True
            plan.status = evolve(plan.status, message=f"waits for {', '.join(others)} to end")
            if key not in self._to_stop:
                self._to_stop.add(key)
                nursery.start_soon(self._await_room, key, record)
        if plan.start and self._book.older_lives(key):
            # The end of the older one brings this one back at once; the wait is for a stop that fails.
            plan.start.clear()
            plan.wake(self.poll_seconds)
        if plan.start:
            try:
                if not await self._starter.start(key, record, instance, template, plan.start):
                    return None
            except (StoreClosed, RuntimeClosed):
                raise
            except OrchestrationError as err:
                if isinstance(err, ConfigMissing):
                    self._config_waits.wait_for(record.name.namespace, key, nursery)
                plan = plan_instance(self._facts(record, bound, instance, template))
                if plan.status.state is InstanceState.PENDING:
                    # Whoever waits for it to start sees what it waits for; the next plan has no such words.
                    await self._write_status(record, instance, evolve(plan.status, message=err.message))
                raise
            # What has become of the starts goes into the status.
            plan = plan_instance(self._facts(record, bound, instance, template))
            if plan.stop or plan.remove or plan.start:
                self._queue.add_after(key, 0.0)
        await self._follow_health(key, record, instance, template, plan, nursery)
        await self._write_status(record, instance, plan.status)
        if plan.status.state in TERMINAL and not instance.lives:
            self._release_ports(instance)
            await self._config.forget(VolumeOwner(record.name, key.workload_id), template)
        if plan.wake_after is None and not (plan.stop or plan.remove or plan.start or held_back):
            instance.settled = record.binding_revision
        return plan.wake_after

    def _is_to_stop(self, record: InstanceRecord) -> bool:
        """Whether it is on record that the workload is stopped or goes; bindings follow that."""
        workload = self.world.workloads.get(record.owner)
        return workload is not None and (workload.control.stopped or workload.control.removed)

    async def _await_stop(self, key: InstanceKey, record: InstanceRecord) -> None:
        """Look at an instance again as soon as its binding says what it is to do, or it is to run after all."""
        try:
            while (
                record.bound is not None
                and record.bound.binding.desired is DesiredState.RUN
                and self._is_to_stop(record)
            ):
                await self.world.wait_for(Revision(self.world.revision + 1))
        finally:
            self._to_stop.discard(key)
        self._queue.add(key)

    def _in_the_way(self, bound: BindingRecord) -> list[str]:
        """Return who has not ended, or still has something that runs, of those whose place an instance takes."""
        waits_for = bound.binding.waits_for
        living = {
            instance_key(name, record.bound.workload_id): name.short
            for name, record in self.world.nodes.get(self.node_id, {}).items()
            if record.bound is not None and not record.ended
        }
        # What is given up as lost has ended on record before its containers have.
        held = {key for key in waits_for if key in self._book.instances and self._book.instances[key].lives}
        return sorted(living.get(key, str(key)) for key in waits_for if key in living or key in held)

    async def _await_room(self, key: InstanceKey, record: InstanceRecord) -> None:
        """Look at an instance again as soon as those have ended whose place it takes, or it is to stop."""
        try:
            while (
                record.bound is not None
                and record.bound.binding.desired is DesiredState.RUN
                and self._in_the_way(record.bound)
            ):
                await self.world.wait_for(Revision(self.world.revision + 1))
        finally:
            self._to_stop.discard(key)
        self._queue.add(key)

    async def _learn(self, key: InstanceKey, record: InstanceRecord, instance: HeldInstance) -> BindingRecord | None:
        """Ask what has become of an instance's containers where that is not known; return its binding after that."""
        try:
            if instance.unsure:
                # A create whose reply was lost may have left a container that must not outlive the instance's end.
                await self._book.list()
                instance.unsure = False
            failed, instance.ask_failed = instance.ask_failed, None
            if failed is not None:
                raise failed
            await self._book.refresh(key, instance)
        except RuntimeClosed:
            raise
        except OrchestrationError as err:
            status = self._status(record, instance)
            if status.state not in TERMINAL:
                # Nothing else is known to have changed; the next plan has no such words.
                await self._write_status(record, instance, evolve(status, message=err.message))
            raise
        return record.bound

    def _facts(
        self, record: InstanceRecord, bound: BindingRecord, instance: HeldInstance, template: WorkloadDefinition
    ) -> InstanceFacts:
        containers = [self._health.with_health(summary.status) for summary in instance.containers.values()]
        containers.extend(instance.never_created.values())
        return InstanceFacts(
            name=record.name,
            binding=bound.binding,
            template=template,
            status=self._status(record, instance),
            containers=containers,
            unhealthy=self._health.unhealthy,
            fenced=instance.fenced.keys(),
            deadlines=self.deadlines,
            trouble=instance.trouble,
        )

    def _status(self, record: InstanceRecord, instance: HeldInstance) -> InstanceStatus:
        if instance.written is not None and instance.written_revision >= record.status_revision:
            return instance.written
        return record.status

    def _stop_fenced(self, instance: HeldInstance, nursery: trio.Nursery, key: InstanceKey) -> None:
        for container_id, summary in instance.containers.items():
            if summary.status.state is not ContainerState.EXITED:
                instance.fenced[container_id] = None
                self._stop_soon(key, instance, container_id, 0.0, nursery)

    async def _clear(self, key: InstanceKey, instance: HeldInstance, nursery: trio.Nursery) -> None:
        """Remove all that is left of an instance that has no binding here."""
        if instance.unsure:
            await self._book.list()
            instance.unsure = False
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
        for container_id in instance.tried:
            self._health.forget(container_id)
        name = instance.name
        if name is not None:
            await self.volumes.release(VolumeOwner(name, key.workload_id))
            self.deadlines.forget(name)
            self._complaints.forget(*_subject(name))
        self._book.forget(key)
        self._remains.changed()

    def _release_ports(self, instance: HeldInstance) -> None:
        for owner in instance.ports:
            self.ports.release(owner)
        instance.ports.clear()

    async def _remove(self, instance: HeldInstance, container_id: ContainerId) -> None:
        self._health.forget(container_id)
        instance.tried.pop(container_id, None)
        place = await self._removals.take()
        try:
            await self._engine.remove(container_id)
        finally:
            self._removals.give_back(place)
        self._book.drop(instance, container_id)
        instance.fenced.pop(container_id, None)

    def _stop_soon(
        self, key: InstanceKey, instance: HeldInstance, container_id: ContainerId, grace: float, nursery: trio.Nursery
    ) -> None:
        known = instance.stopping.get(container_id)
        if known is not None and known <= grace:
            return
        instance.stopping[container_id] = grace
        nursery.start_soon(self._stop, key, instance, container_id, grace)

    async def _stop(self, key: InstanceKey, instance: HeldInstance, container_id: ContainerId, grace: float) -> None:
        delay = 0.0
        try:
            status = await self._engine.stop(container_id, grace)
        except ContainerNotFound:
            self._book.drop(instance, container_id)
        except RuntimeClosed:
            raise
        except OrchestrationError as err:
            delay = min(MAX_STOP_RETRY_SECONDS, self.poll_seconds * 2.0 ** min(instance.stop_failures, 10))
            instance.stop_failures += 1
            instance.trouble = err.message
            self._complain(key, err, delay)
        else:
            instance.stop_failures, instance.trouble = 0, ""
            summary = instance.containers.get(container_id)
            if summary is not None:
                self._book.hold(instance, evolve(summary, status=status))
        finally:
            if instance.stopping.get(container_id) == grace:
                del instance.stopping[container_id]
        if delay:
            self._queue.add_after(key, delay)
        else:
            self._queue.add(key)
            self._remains.changed()

    async def _write_status(self, record: InstanceRecord, instance: HeldInstance, status: InstanceStatus) -> None:
        before = self._status(record, instance)
        if status == before:
            return
        guard = self._lease.guard
        if guard is None or record.bound is None:
            return
        if status.state is InstanceState.FAILED and before.state not in TERMINAL:
            status = evolve(status, message=await with_last_output(self.runtime, status, instance.containers))
        operations = [self.world.put(status_key(record.name), status)]
        compares = (guard, Compare(binding_key(record.name), record.binding_revision))
        revision = await self.store.transaction(compares, operations)
        instance.written, instance.written_revision = status, revision
        announce(self.recorder, self.deadlines.now, record.name, before, status)

    async def _follow_health(
        self,
        key: InstanceKey,
        record: InstanceRecord,
        instance: HeldInstance,
        template: WorkloadDefinition,
        plan: InstancePlan,
        nursery: trio.Nursery,
    ) -> None:
        configs = {config.name: config for config in template.containers if config.health is not None}
        if not configs:
            return
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
                instance.checks[container_id] = await self._starter.check_of(
                    key, record, template, config, config.health, summary.status
                )
            before = recorded.get(container_id)
            instance.tried[container_id] = None
            self._health.start(
                instance.checks[container_id],
                before.health if before is not None else ContainerHealth.UNCHECKED,
                before.reason if before is not None else "",
                container_id,
                partial(_status_of, instance, container_id),
                partial(self._queue.add, key),
                nursery,
            )


def _subject(name: InstanceName) -> tuple[str, str]:
    return name.namespace, f"instance/{name.short}"


def _status_of(instance: HeldInstance, container_id: ContainerId) -> ContainerStatus | None:
    summary = instance.containers.get(container_id)
    return None if summary is None else summary.status
