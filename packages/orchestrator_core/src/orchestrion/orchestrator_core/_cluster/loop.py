"""The cluster loop: from what is wanted and what is there to bindings. Placement is one serial task."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import trio
from attrs import define, evolve, field
from orchestrion.cluster_interface import ClusterClosed, ClusterManager
from orchestrion.orchestrator_core._clock import Deadlines
from orchestrion.orchestrator_core._cluster.decisions import Stalls
from orchestrion.orchestrator_core._cluster.leadership import Campaign, Leadership, LeadershipLost
from orchestrion.orchestrator_core._cluster.node_watch import NodeWatch
from orchestrion.orchestrator_core._cluster.pending import PendingWork
from orchestrion.orchestrator_core._cluster.placing import Placer
from orchestrion.orchestrator_core._cluster.plan import WorkloadPlan
from orchestrion.orchestrator_core._cluster.pushing import Pusher
from orchestrion.orchestrator_core._cluster.refusals import Refusals
from orchestrion.orchestrator_core._cluster.suspects import Suspects
from orchestrion.orchestrator_core._cluster.taint_watch import TaintWatch
from orchestrion.orchestrator_core._cluster.telling import Teller
from orchestrion.orchestrator_core._cluster.troubles import Troubles
from orchestrion.orchestrator_core._cluster.view import placed_instance
from orchestrion.orchestrator_core._cluster.workload_plan import plan_workload
from orchestrion.orchestrator_core._cluster.writing import Writer, chunks, wanted_still
from orchestrion.orchestrator_core._observed import Observed
from orchestrion.orchestrator_core._queue import KeyedQueue
from orchestrion.orchestrator_core._state.budgets import budget_and_wait
from orchestrion.orchestrator_core._state.events import EventRecorder
from orchestrion.orchestrator_core._state.facts import Facts
from orchestrion.orchestrator_core._state.records import (
    LEADER_KEY,
    InstanceName,
    WorkloadName,
    binding_key,
    control_key,
    instance_key,
    lease_key,
    progress_key,
    spec_key,
    status_key,
    template_key,
)
from orchestrion.orchestrator_core._state.world import InstanceRecord, WorkloadRecord, World
from orchestrion.scheduler_interface import Explanation, Scheduler, ViewKeeper
from orchestrion.shared_types import (
    DesiredState,
    EventSeverity,
    Node,
    NodeId,
    OrchestrationError,
    Uid,
    Unavailable,
    WorkloadKind,
)
from orchestrion.store_interface import (
    ABSENT,
    Compare,
    Delete,
    Operation,
    RevisionConflict,
    StateStore,
    StoreClosed,
)

CAMPAIGN_PAUSE_SECONDS: Final = 0.1


@define(eq=False)
class ClusterLoop:
    """Reconciles workloads, one after the other, while it leads.

    Attributes:
        store: Where everything is recorded.
        cluster: Knows the nodes.
        scheduler: Decides where slots go.
        world: The mirror of the store.
        recorder: Takes events.
        deadlines: The clocks.
        campaign: Gets the lead.
        random: Draws jitter.
        skew_seconds: By how much two clocks may run apart.
        period_seconds: From one full pass to the next.
        only_stops: Whether nothing is done but what makes workloads end that are stopped or removed.
        observed: Who looks on is told of each workload that is reconciled.
        keeper: Knows what is placed where.
        leading: Set while this one leads.
        has_led: Set once it has led.
        pending: The workloads that lack places.
        facts: What plans depend on, as of now.
        suspects: Nodes on which one start after the other fails.
    """

    store: StateStore
    cluster: ClusterManager
    scheduler: Scheduler
    world: World
    recorder: EventRecorder
    deadlines: Deadlines
    campaign: Campaign
    random: random.Random
    skew_seconds: float = 2.0
    period_seconds: float = 30.0
    only_stops: bool = False
    observed: Observed = field(factory=Observed)
    keeper: ViewKeeper = field(factory=ViewKeeper)
    leading: trio.Event = field(factory=trio.Event)
    has_led: trio.Event = field(factory=trio.Event)
    pending: PendingWork = field(init=False)
    facts: Facts = field(init=False)
    _queue: KeyedQueue[WorkloadName] = field(init=False)
    _watch: NodeWatch = field(init=False)
    _writer: Writer = field(init=False)
    _refusals: Refusals = field(init=False)
    _placer: Placer = field(init=False)
    _taint_watch: TaintWatch = field(init=False)
    _failures: Troubles = field(init=False)
    _explained: Callable[[WorkloadName], None] = field(default=lambda _name: None)
    suspects: Suspects = field(init=False)
    _teller: Teller = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.suspects = Suspects(self.world.nodes, self.deadlines.now)
        self._teller = Teller(self.scheduler, self.world, self.keeper, self.recorder, self.deadlines.now)
        self._queue = KeyedQueue(self.random)
        self.pending = PendingWork(self.world, self.keeper, self._queue, self.random, self.deadlines)
        self._queue.rank, self._queue.prepare = self.pending.rank, self.pending.look
        self._watch = watch = NodeWatch(
            self.cluster, self.world, self.keeper, self.recorder, self.random, self.skew_seconds, self._node_changed
        )
        self._writer = Writer(self.store, self.world)
        self._refusals = Refusals(self._queue)
        stalls = Stalls()
        self.facts = Facts(
            watch.nodes,
            watch.leased,
            watch.lost,
            self.world.workloads,
            self.deadlines,
            self._refusals.known,
            stalls.undecided,
            tainted=watch.tainted,
            taints=self.world.taints,
            only_stops=self.only_stops,
        )
        self._placer = Placer(
            self.scheduler,
            self.world,
            self.keeper,
            self.facts,
            self.deadlines,
            self._writer,
            Pusher(self.world, self.keeper, self.facts, self.recorder),
            self.pending,
            self._refusals,
            stalls,
            Troubles(self.recorder),
        )
        self._failures = Troubles(self.recorder)
        self._taint_watch = TaintWatch(
            self.store, self.world, watch.nodes, self.deadlines.now, KeyedQueue[NodeId](self.random)
        )
        watch.on_node(self._taint_watch.look_at)
        watch.on_node(self._forget_suspicion)
        self.world.on_workload(self._workload_changed)
        self.world.on_instance(self._instance_changed)
        self.world.on_taints(self._look_at_instances)

    @property
    def nodes(self) -> Mapping[NodeId, Node]:
        """Every node of the cluster, by id."""
        return self._watch.nodes

    @property
    def nodes_known(self) -> trio.Event:
        """Set once the nodes are known."""
        return self._watch.known

    @property
    def explanations(self) -> Mapping[WorkloadName, Mapping[int, Explanation]]:
        """Why slots have no place, by workload and slot."""
        return self._placer.explanations

    @property
    def writes(self) -> int:
        """Transactions written so far."""
        return self._writer.writes

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be reconciled now."""
        return self._queue.idle

    @property
    def queued(self) -> int:
        """How many workloads wait to be reconciled now."""
        return self._queue.waiting

    def on_node(self, listener: Callable[[NodeId], None]) -> None:
        """Call `listener` with each node that has come, changed or gone."""
        self._watch.on_node(listener)

    def on_explained(self, listener: Callable[[WorkloadName], None]) -> None:
        """Call `listener` with each workload of which something else is to be said about slots without a place."""
        self._explained = listener

    def pass_over_everything(self) -> None:
        """Look at every workload again."""
        self._refusals.forget_room()
        self.pending.rouse_pushers()
        for node_id in self.suspects.look_again():
            self._note_suspicion(node_id)
        for name in list(self.world.workloads):
            self._queue.add(name)

    async def run(self) -> None:
        """Follow the cluster, and reconcile while leading, until cancelled.

        Raises:
            OrchestrationError: The store or the cluster manager was closed.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch.follow_cluster)
            nursery.start_soon(self._watch.watch_absences)
            await self.world.synced.wait()
            await self._watch.known.wait()
            while True:
                try:
                    async with self.campaign.lead() as leadership:
                        self.leading.set()
                        self.has_led.set()
                        await self._reconcile_while_leading(leadership)
                except* Unavailable:
                    self.leading = trio.Event()
                    await trio.sleep(CAMPAIGN_PAUSE_SECONDS)

    async def observe(self) -> None:
        """Follow the cluster until cancelled, and do nothing about it: for asking what would be done.

        The nodes that are there count as at work, as they will be once somebody leads.

        Raises:
            OrchestrationError: The cluster manager was closed.
        """
        self._watch.observes = True
        await self._watch.follow_cluster()

    async def _reconcile_while_leading(self, leadership: Leadership) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pass_periodically)
            nursery.start_soon(self._taint_watch.run, leadership)
            nursery.start_soon(self._teller.run)
            self._refusals.clear()
            self.pending.wake_all()
            self.pass_over_everything()
            while True:
                name = await self._queue.take()
                try:
                    with self.observed.step("reconcile", f"{name.namespace}/{name.name}"):
                        wake = await self.reconcile(name, leadership)
                except RevisionConflict as err:
                    if err.key == LEADER_KEY:
                        msg = "another cluster loop leads"
                        raise LeadershipLost(msg) from err
                    # The world has moved on since the plan was made; once that has been seen, plan again.
                    self._queue.failed(name)
                except (StoreClosed, ClusterClosed, LeadershipLost):
                    raise
                except OrchestrationError as err:
                    delay = self._queue.failed(name)
                    self._failures.tell(name, err.message, f"; next try in {delay:.1f} s")
                else:
                    self._queue.done(name)
                    self._failures.forget(name)
                    if wake is not None:
                        self._queue.add_after(name, wake)
                finally:
                    # The lead may end in the middle, and the queue outlives it.
                    self._queue.release(name)

    async def _pass_periodically(self) -> None:
        while True:
            await trio.sleep(self.period_seconds)
            self.pass_over_everything()

    async def reconcile(self, name: WorkloadName, leadership: Leadership) -> float | None:
        """Plan and do what is to be done about one workload.

        Returns:
            Seconds until time alone may ask for more, or None.

        Raises:
            RevisionConflict: The world has changed since; nothing of the failed step was written.
            OrchestrationError: A step failed; those before it were done.
        """
        await self._writer.seen(leadership)
        record = self.world.workloads.get(name)
        if record is None:
            self._forget_workload(name)
            return None
        plan = plan_workload(record, self.facts)
        self._note_budget(record, plan)
        said = self._placer.said(name)
        try:
            if not plan.empty:
                await self._execute(record, plan, leadership)
            if not plan.place:
                self._placer.satisfied(name)
        finally:
            if self._placer.said(name) != said:
                self._explained(name)
        return plan.wake_after

    def _note_budget(self, record: WorkloadRecord, plan: WorkloadPlan) -> None:
        """Let those be tried again at once that could push out instances of a workload, when more may be missing."""
        if self.pending.pushers_wait:
            budget, wait = budget_and_wait(record, self.facts)
            self.pending.note_budget(record.name, budget)
            if wait > 0:
                plan.wake(wait)

    async def _execute(self, record: WorkloadRecord, plan: WorkloadPlan, leadership: Leadership) -> None:
        await self._lose(plan.lose, leadership)
        await self._stop(record, plan, leadership)
        if plan.purge:
            await self._purge(record, plan, leadership)
            return
        await self._note_progress(record, plan, leadership)
        for notice in plan.notices:
            subject = f"workload/{record.name.name}" if notice.instance is None else f"instance/{notice.instance.short}"
            self.recorder.record(record.name.namespace, subject, notice.reason, notice.message, notice.severity)
        if plan.place:
            await self._placer.place(record, plan, leadership)

    async def _lose(self, instances: Sequence[InstanceRecord], leadership: Leadership) -> None:
        now = self.deadlines.now()
        for chunk in chunks(instances):
            compares = dict[str, Compare]()
            operations = list[Operation]()
            for instance in chunk:
                bound = instance.bound
                if bound is None:
                    continue
                reason = f"node {bound.binding.node_id} was away for longer than its lease"
                lost = evolve(
                    bound,
                    binding=evolve(
                        bound.binding,
                        desired=DesiredState.STOP,
                        stop_reason=reason,
                        stop_at=bound.binding.stop_at or now,
                        lost_at=now,
                    ),
                )
                lease = lease_key(bound.binding.node_id)
                compares[lease] = Compare(lease, ABSENT)
                key = binding_key(instance.name)
                compares[key] = Compare(key, instance.binding_revision)
                operations.append(self.world.put(key, lost))
            await self._writer.write(leadership, tuple(compares.values()), operations)
            for instance in chunk:
                self.recorder.record(
                    instance.name.namespace,
                    f"instance/{instance.name.short}",
                    "Lost",
                    "its node was away for longer than its lease; another epoch replaces it",
                    EventSeverity.WARNING,
                )

    async def _stop(self, record: WorkloadRecord, plan: WorkloadPlan, leadership: Leadership) -> None:
        now = self.deadlines.now()
        for chunk in chunks(plan.stop):
            compares = wanted_still(record, plan)
            operations = list[Operation]()
            for instance, reason in chunk:
                bound = instance.bound
                if bound is None:
                    continue
                stopped = evolve(
                    bound,
                    binding=evolve(bound.binding, desired=DesiredState.STOP, stop_reason=reason, stop_at=now),
                )
                compares.append(Compare(binding_key(instance.name), instance.binding_revision))
                operations.append(self.world.put(binding_key(instance.name), stopped))
            await self._writer.write(leadership, compares, operations)
            for instance, reason in chunk:
                self.recorder.record(
                    instance.name.namespace, f"instance/{instance.name.short}", "Stopping", f"it stops: {reason}"
                )

    async def _note_progress(self, record: WorkloadRecord, plan: WorkloadPlan, leadership: Leadership) -> None:
        operations = list[Operation]()
        compares = wanted_still(record, plan)
        if plan.progress is not None:
            compares.append(Compare(progress_key(record.name), record.progress_revision))
            operations.append(self.world.put(progress_key(record.name), plan.progress))
        for instance in plan.forget:
            operations.append(Delete(binding_key(instance.name)))
            operations.append(Delete(status_key(instance.name)))
        operations.extend(Delete(template_key(record.name, generation)) for generation in plan.drop_templates[:20])
        if operations:
            await self._writer.write(leadership, compares, operations)

    async def _purge(self, record: WorkloadRecord, plan: WorkloadPlan, leadership: Leadership) -> None:
        # From the last chunk to the first. The workload's own part goes last and in one transaction: as long as all of
        # it is there, a crash in between is taken up again; without the order to remove it, it would run again.
        operations: list[Operation] = [
            Delete(spec_key(record.name)),
            Delete(control_key(record.name)),
            Delete(progress_key(record.name)),
        ]
        operations.extend(Delete(template_key(record.name, generation)) for generation in record.templates)
        for instance in record.instances.values():
            operations.append(Delete(binding_key(instance.name)))
            operations.append(Delete(status_key(instance.name)))
        guard = (Compare(spec_key(record.name), plan.spec_revision),)
        for chunk in reversed(list(chunks(operations))):
            await self._writer.write(leadership, guard, chunk)
        self._refusals.forget_workload(record.name)
        subject = f"workload/{record.name.name}"
        for claim in record.spec.definition.metadata.finalizers if record.spec is not None else ():
            text = f"{claim.owner} has not done {claim.name} in time; it is removed all the same"
            self.recorder.record(record.name.namespace, subject, "FinalizerExpired", text, EventSeverity.WARNING)
        self.recorder.record(record.name.namespace, subject, "Removed", "it is removed")

    def _forget_workload(self, name: WorkloadName) -> None:
        self._placer.forget(name)
        self._failures.forget(name)
        self.deadlines.forget(name)
        self._queue.forget(name)

    def _workload_changed(self, name: WorkloadName) -> None:
        if name not in self.world.workloads:
            self._forget_workload(name)
        self._queue.add(name)
        for dependant in self.world.dependants.get(name, ()):
            other = self.world.workloads.get(dependant)
            if other is None or other.progress is None or other.progress.started_at is None:
                self._queue.add(dependant)

    def _instance_changed(self, name: InstanceName, record: InstanceRecord) -> None:
        bound = record.bound
        self._teller.note(name)
        suspicion = self.suspects.note(record)
        if suspicion is not None:
            self._note_suspicion(suspicion)
        if name not in self.world.instances:
            self.deadlines.forget(name)
        elif bound is not None:
            self._watch.expect(bound.binding.node_id)
        if bound is None or record.ended:
            workload_id = bound.workload_id if bound is not None else self._known_uid(name)
            if workload_id is not None and self.keeper.holds(instance_key(name, workload_id)):
                self.keeper.remove(instance_key(name, workload_id))
                if bound is not None:
                    self._refusals.forget_node(bound.binding.node_id)
                self.pending.nudge()
            return
        key = record.key
        if self.keeper.holds(key):
            return
        template = self.world.template(record)
        if template is not None:
            placeable = self._placer.placeable(record.owner, template, bound.binding.generation)
            self.keeper.put(bound.binding.node_id, placed_instance(key, template, placeable, bound.binding))

    def _note_suspicion(self, node_id: NodeId) -> None:
        """Let a node be shown as suspect, or as trusted again."""
        if node_id not in self.nodes:
            # It is shown so once it is there.
            return
        if self.suspects.is_suspect(node_id) and self.leading.is_set():
            text = self.suspects.describe(node_id)
            self.recorder.record("default", f"node/{node_id}", "StartsFail", text, EventSeverity.WARNING)
        self._watch.tell_of(node_id)

    def _forget_suspicion(self, node_id: NodeId) -> None:
        if node_id not in self.nodes:
            self.suspects.forget(node_id)

    def _known_uid(self, name: InstanceName) -> Uid | None:
        workload = self.world.workloads.get(name.owner)
        if workload is None:
            return None
        if workload.spec is not None:
            return workload.spec.definition.metadata.uid
        return workload.progress.uid if workload.progress is not None else None

    def _node_changed(self, node_id: NodeId) -> None:
        """Look again at what a change of a node can move: what has no place, what runs there, and daemons."""
        self._refusals.forget_node(node_id)
        self.pending.nudge()
        self._look_at_instances(node_id)
        for record in self.world.workloads.values():
            if record.spec is not None and record.spec.definition.kind is WorkloadKind.DAEMON:
                self._queue.add(record.name)

    def _look_at_instances(self, node_id: NodeId) -> None:
        """Look again at the workloads that have instances on a node."""
        for name in dict.fromkeys(instance.owner for instance in self.world.nodes.get(node_id, ())):
            self._queue.add(name)
