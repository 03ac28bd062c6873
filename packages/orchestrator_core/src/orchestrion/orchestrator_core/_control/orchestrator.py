"""Both loops together, and the one way in."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import datetime
from functools import partial

import trio
from attrs import define, evolve, field
from orchestrion.cluster_interface import ClusterManager
from orchestrion.orchestrator_core._clock import Deadlines, WallClock, system_time
from orchestrion.orchestrator_core._cluster.decisions import TimedScheduler
from orchestrion.orchestrator_core._cluster.leadership import Campaign
from orchestrion.orchestrator_core._cluster.loop import ClusterLoop
from orchestrion.orchestrator_core._control.admission import Starts
from orchestrion.orchestrator_core._control.applying import Applying
from orchestrion.orchestrator_core._control.classes import ClassSource, StandardClasses
from orchestrion.orchestrator_core._control.commands import commands_of, running_container
from orchestrion.orchestrator_core._control.controls import (
    DELETED,
    Controls,
    check_expected,
    checked_for_scale,
    stopped_unless_ended,
    unrelated,
)
from orchestrion.orchestrator_core._control.explaining import Explainer
from orchestrion.orchestrator_core._control.gate import NOTHING_BESIDE, Beside, Gate, no_gate
from orchestrion.orchestrator_core._control.logs import LogReader, find_instance
from orchestrion.orchestrator_core._control.node_loops import NodeLoops
from orchestrion.orchestrator_core._control.node_orders import cordoning
from orchestrion.orchestrator_core._control.promoting import hold, promote
from orchestrion.orchestrator_core._control.reader import instances_of, not_found, read_events, view_of
from orchestrion.orchestrator_core._control.retrying import Retrying
from orchestrion.orchestrator_core._control.since import SinceGate
from orchestrion.orchestrator_core._control.timings import Timings
from orchestrion.orchestrator_core._control.updates import Subscriber, Subscribers
from orchestrion.orchestrator_core._control.views import (
    ApplyResult,
    LogQuery,
    LogRecord,
    Plan,
    SlotPlacement,
    Update,
    WorkloadView,
)
from orchestrion.orchestrator_core._node.complaints import Complaints
from orchestrion.orchestrator_core._node.config import ConfigSource, NoConfig
from orchestrion.orchestrator_core._node.health import NetworkProber, Prober
from orchestrion.orchestrator_core._node.loop import NodeLoop
from orchestrion.orchestrator_core._node.ports import PortTable, dynamic_range
from orchestrion.orchestrator_core._node.shared_volumes import SharedVolumes
from orchestrion.orchestrator_core._node.volumes import NoVolumes, VolumeProvider
from orchestrion.orchestrator_core._observed import Observed
from orchestrion.orchestrator_core._state.commits import look_after
from orchestrion.orchestrator_core._state.events import EventRecorder
from orchestrion.orchestrator_core._state.records import WorkloadName
from orchestrion.orchestrator_core._state.world import World
from orchestrion.runtime_interface import ContainerRuntime, ExecSession, TerminalSize
from orchestrion.scheduler_interface import Scheduler
from orchestrion.shared_types import (
    DEFAULT_NAMESPACE,
    Conflict,
    Event,
    Metadata,
    Node,
    NodeId,
    OrchestrationError,
    UidFactory,
    WorkloadDefinition,
    WorkloadInstance,
    new_uid,
)
from orchestrion.store_interface import Revision, StateStore


@define(eq=False)
class Orchestrator:
    """Runs workloads on a cluster: the cluster loop, and a node loop for each node, over injected implementations.

    `run` does the work; everything else may be called while it runs, from any task.

    Attributes:
        runtime: Runs containers; `RoutingRuntime` makes one of several.
        cluster: Knows the nodes; initialised by `run`.
        scheduler: Decides where slots go.
        store: Where everything is recorded.
        volumes: Makes the directories behind volumes; None makes none.
        config: Knows the ConfigMaps and Secrets that containers read.
        classes: Knows the priority classes that workloads name.
        prober: Tries whether containers serve; None does it over the network and by commands.
        ports: Makes the table of dynamic ports of a node.
        refuse_impossible: Whether a workload that no node could ever run is refused, not kept as Pending.
        take_over: Whether to lead at once: for the sole owner of a store.
        timings: How long things may take.
        now: The wall clock.
        new_uid: Makes ids that sort by time.
        random: Draws the jitter of back-off.
        runs_node: Whether the node loop of a node runs here; without, each does.
        only_stops: Whether only workloads that are stopped or removed are made to end; what else ends is only noted.
        observed: Who looks on is told here of what is done.
    """

    runtime: ContainerRuntime
    cluster: ClusterManager
    scheduler: Scheduler
    store: StateStore
    volumes: VolumeProvider = field(factory=NoVolumes, kw_only=True)
    config: ConfigSource = field(factory=NoConfig, kw_only=True)
    classes: ClassSource = field(factory=StandardClasses, kw_only=True)
    prober: Prober | None = field(default=None, kw_only=True)
    ports: Callable[[], PortTable] = field(default=lambda: PortTable(dynamic_range()), kw_only=True)
    refuse_impossible: bool = field(default=False, kw_only=True)
    take_over: bool = field(default=True, kw_only=True)
    timings: Timings = field(factory=Timings, kw_only=True)
    now: WallClock = field(default=system_time, kw_only=True)
    new_uid: UidFactory = field(default=new_uid, kw_only=True)
    random: random.Random = field(factory=random.Random, kw_only=True)
    runs_node: Callable[[Node], bool] = field(default=lambda _node: True, kw_only=True)
    only_stops: bool = field(default=False, kw_only=True)
    observed: Observed = field(factory=Observed, init=False)
    world: World = field(factory=World, init=False)
    recorder: EventRecorder = field(init=False)
    cluster_loop: ClusterLoop = field(init=False)
    _controls: Controls = field(init=False)
    _deadlines: Deadlines = field(init=False)
    _decider: TimedScheduler = field(init=False)
    _logs: LogReader = field(init=False)
    _shared_volumes: SharedVolumes = field(init=False)
    _subscribers: Subscribers = field(factory=Subscribers, init=False)
    _nodes: NodeLoops = field(init=False)
    _observes: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._controls = Controls(self.world, self.store, self.now)
        self._deadlines = Deadlines(self.now)
        self.recorder = EventRecorder(self.store, self.now, self.new_uid)
        campaign = Campaign(self.store, self.new_uid(), self.timings.lease, self.take_over)
        self._decider = TimedScheduler(self.scheduler, self.timings.lease, self.observed)
        self.cluster_loop = ClusterLoop(
            self.store,
            self.cluster,
            self._decider,
            self.world,
            self.recorder,
            self._deadlines,
            campaign,
            self.random,
            skew_seconds=self.timings.skew,
            period_seconds=self.timings.period,
            only_stops=self.only_stops,
            observed=self.observed,
        )
        self._shared_volumes = SharedVolumes(self.world, self.volumes, Complaints(self.recorder))
        self._logs = LogReader(self.world, self.runtime)
        timings, subscribers = self.timings, self._subscribers
        patience = timings.lease + timings.skew + timings.period
        self._nodes = NodeLoops(self.cluster_loop, self.runs_node, self._node_loop, subscribers, patience)
        self.recorder.on_record(subscribers.event_recorded)
        self.world.on_workload(subscribers.workload_changed)
        self.cluster_loop.on_explained(subscribers.workload_changed)
        self.world.on_instance(lambda name, _record: subscribers.instance_changed(name))

    @property
    def node_loops(self) -> Mapping[NodeId, NodeLoop]:
        """The node loops that run here, by node."""
        return self._nodes.loops

    # -- running --------------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work until cancelled; what runs then goes on running, and is taken up by the next run.

        It counts as started once the world is loaded, the nodes are known, and this machine's loops are at work; a node
        whose engine fails, or does not answer for the length of a lease, does not hold up the others.

        Raises:
            OrchestrationError: The store, the cluster manager or the runtime was closed or can't be used.
        """
        await self.cluster.initialize()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.world.follow, self.store)
                nursery.start_soon(look_after, self.store, self.world.gate)
                await self.world.synced.wait()
                nursery.start_soon(self.recorder.run)
                nursery.start_soon(self._shared_volumes.run)
                self.cluster_loop.on_node(lambda node_id: self._nodes.look_after(node_id, nursery))
                nursery.start_soon(self.cluster_loop.run)
                await self.cluster_loop.nodes_known.wait()
                await self.cluster_loop.has_led.wait()
                with trio.move_on_after(self.timings.lease):
                    await self._nodes.wait_tried()
                task_status.started()
                await trio.sleep_forever()
        finally:
            with trio.move_on_after(2.0, shield=True), suppress(OrchestrationError):
                await self.recorder.flush()

    async def observe(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Know the world until cancelled, and neither start nor write anything: for asking, where nobody runs it.

        `plan` and `explain` answer as if what runs were left as it is; what changes anything is not to be called. It
        counts as started once the world is loaded and the nodes are known.

        Raises:
            OrchestrationError: The store or the cluster manager was closed or can't be used.
        """
        self._observes = True
        await self.cluster.initialize()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.world.follow, self.store)
            await self.world.synced.wait()
            self.cluster_loop.on_node(self._nodes.show)
            nursery.start_soon(self.cluster_loop.observe)
            await self.cluster_loop.nodes_known.wait()
            task_status.started()
            await trio.sleep_forever()

    def _node_loop(self, node_id: NodeId) -> NodeLoop:
        return NodeLoop(
            node_id,
            self.store,
            self.runtime,
            self.world,
            self.recorder,
            self._deadlines,
            self.ports(),
            self.volumes,
            self.prober or NetworkProber(self.runtime),
            self.new_uid,
            self.random,
            lease_seconds=self.timings.lease,
            skew_seconds=self.timings.skew,
            period_seconds=self.timings.period,
            poll_seconds=self.timings.poll,
            config=self.config,
            only_stops=self.only_stops,
            observed=self.observed,
            on_trouble=partial(self._nodes.show, node_id),
        )

    async def stop_all(self) -> None:
        """Stop every workload, and wait until nothing runs. They stay defined; `apply` starts them again.

        What has ended stays as it ended.

        **Cancellation.** Only the waiting is given up: that all are to stop is brought on record before, also for who
        is cancelled meanwhile, unless the store takes longer than five seconds for it.

        Raises:
            Conflict: Others kept changing workloads.
        """
        await self._controls.stop_all()
        async with self.watch() as updates:
            async for _ in updates:
                if not any(record.roll.held_slots for record in self.world.workloads.values()):
                    return

    async def wait_cleared(self) -> None:
        """Wait until the nodes whose loops run here have removed what is left of instances that were forgotten.

        A removal is answered once it is on record; containers, output and directories go after that.
        """
        await self._nodes.wait_cleared()
        await self._shared_volumes.wait_idle()

    # -- asking ---------------------------------------------------------------------------------------------------

    async def list_workloads(self, *, namespace: str | None = None) -> list[WorkloadView]:
        """Return all workloads, of one namespace or of all, by namespace and name."""
        await self._controls.catch_up()
        views = [self.view(name) for name in sorted(self.world.workloads) if namespace in (None, name.namespace)]
        return [view for view in views if view is not None]

    async def get_workload(self, name: str, /, *, namespace: str = DEFAULT_NAMESPACE) -> WorkloadView:
        """Return one workload.

        Raises:
            WorkloadNotFound: There is none of that name.
        """
        await self._controls.catch_up()
        view = self.view(WorkloadName(namespace, name))
        if view is None:
            raise not_found(WorkloadName(namespace, name))
        return view

    async def list_instances(
        self, *, namespace: str | None = None, workload: str | None = None
    ) -> list[WorkloadInstance]:
        """Return instances, ended ones too as long as they are remembered, by namespace, workload, slot and epoch."""
        await self._controls.catch_up()
        return instances_of(self.world, namespace, workload)

    async def list_nodes(self) -> list[Node]:
        """Return all nodes, by id."""
        await trio.lowlevel.checkpoint()
        shown = self._nodes.shown
        return [shown[node_id] for node_id in sorted(shown)]

    async def events(
        self,
        *,
        namespace: str | None = None,
        subject: str | None = None,
        since: datetime | None = None,
        limit: int = 1000,
        types: Collection[str] = (),
    ) -> list[Event]:
        """Return the latest events, oldest first."""
        await self.recorder.flush()
        return await read_events(self.store, namespace, subject, since, limit, types)

    @asynccontextmanager
    async def watch(self, *, namespace: str | None = None) -> AsyncIterator[AsyncIterator[Update]]:
        """Follow everything: first all that there is, then SYNCED, then each change."""
        await self._controls.catch_up()
        subscriber = Subscriber(self.world, self._nodes.shown, self.view, namespace)
        async with self._subscribers.reading(subscriber) as updates:
            yield updates

    def logs(self, query: LogQuery, /) -> AbstractAsyncContextManager[AsyncIterator[LogRecord]]:
        """Read output; see `LogQuery`."""
        return self._logs.read(query)

    def finish_logs(self) -> None:
        """Let every `logs` that follows, now or later, come to its end after what there is at this moment.

        For who is about to end this orchestrator: readers get all that was written by then, however long they take.
        """
        self._logs.finish()

    @asynccontextmanager
    async def exec(
        self,
        instance: str,
        command: Sequence[str],
        /,
        *,
        namespace: str = DEFAULT_NAMESPACE,
        container: str | None = None,
        terminal: TerminalSize | None = None,
    ) -> AsyncIterator[ExecSession]:
        """Run a command in a running container of an instance; at a terminal it is a `TerminalSession`.

        Raises:
            ConfigInvalid: The command names no program, or a word of it has a NUL.
            InstanceNotFound: There is no such instance, or it has no such container that runs.
            Unsupported: The runtime can't run commands in containers, or not at terminals.
        """
        run = commands_of(self.runtime, terminal)
        await self._controls.catch_up()
        async with run(running_container(self.world, namespace, instance, container), command) as session:
            yield session

    def view(self, name: WorkloadName) -> WorkloadView | None:
        """Return how a workload is doing by what is known already, without waiting; None where there is none."""
        loop = self.cluster_loop
        retry = loop.pending.retry_words(name) if loop.pending.is_backing_off(name) else ""
        return view_of(self.world, loop.facts, name, loop.explanations.get(name), retry)

    # -- wanting --------------------------------------------------------------------------------------------------

    async def apply(
        self,
        workloads: Sequence[WorkloadDefinition],
        /,
        *,
        dry_run: bool = False,
        rerun: bool = False,
        starts: Starts = True,
        only_new: bool = False,
        promoted: bool = False,
        manager: str = "control",
        force: bool = False,
        if_index: int | None = None,
        gate: Gate = no_gate,
    ) -> ApplyResult:
        """Want these workloads, all of them or none; see `Control.apply`.

        Applying the same again changes nothing: a batch workload that has succeeded or failed is left as it ended. A
        changed definition runs it again; where only the way it is run has changed, as retries or parallelism, only if
        it had failed; where only its metadata has changed, not at all. Where services and daemons are to run again what
        they did before, instances that still run that stay.

        Args:
            workloads: Each (namespace, name) once.
            dry_run: True checks and compares, and changes nothing.
            rerun: True runs work that has ended once more, even where it is unchanged. What has not ended goes on.
            starts: False leaves what was stopped as it is, and does not try again what was rolled back unless what its
                instances run from has changed; names do so, and without `rerun`, but for those.
            only_new: True refuses all of it where there is a workload of one of these names.
            promoted: True lets the updates that it leads to, and no others, go on beyond their canaries at once.
            manager: Whose word it is; it matters to those who keep who says what, and not here.
            force: Whether it goes before that of others; it matters to them, too.
            if_index: As for `Control.apply`.
            gate: Has its say before anything is written, and writes with it; asked for a dry run too.

        **Idempotency.** Applying the same again changes nothing. **Cancellation.** Indeterminate: all of it is on
        record, or will be, or nothing.

        Raises:
            ConfigInvalid: They can't be accepted, or are more than `MAX_APPLIED`.
            Unschedulable: No node could ever run some of them, alone or beside the others because of a port, and that
                is not tolerated here; it names them all.
            Conflict: A workload of that name is being removed, others kept changing them at the same time, or, with
                `only_new`, there is one already.
            PreconditionFailed: One of them was changed, made or removed after `if_index`.
        """
        del manager, force
        if if_index is not None:
            gate = SinceGate(self.store, if_index, gate)
        names = (f"{workload.metadata.namespace}/{workload.metadata.name}" for workload in workloads)
        with self.observed.step("apply", ",".join(names)):
            return await self._applying().apply(
                workloads, gate, dry_run=dry_run, rerun=rerun, starts=starts, only_new=only_new, promoted=promoted
            )

    async def restart(
        self, name: str, /, *, namespace: str = DEFAULT_NAMESPACE, dry_run: bool = False, gate: Gate = no_gate
    ) -> ApplyResult:
        """Replace all instances of a service or a daemon by new ones that run the same, as an update does.

        It is a new generation of the workload, which is rolled out by its update strategy, is rolled back where it does
        not work, and whose template names its cause. The definition stays: applying it again changes nothing.

        **Idempotency.** None: each call is a restart. **Cancellation.** Indeterminate.

        Args:
            name: The workload's name.
            namespace: Its namespace.
            dry_run: True checks everything, and changes nothing.
            gate: Has its say before anything is written, and writes with it; asked for a dry run too.

        Raises:
            WorkloadNotFound: There is none of that name.
            ConfigInvalid: It is batch work, whose runs are no updates.
            Conflict: It is stopped, is being removed, its updates are paused, the last one was rolled back, or others
                kept changing it.
        """
        with self.observed.step("restart", f"{namespace}/{name}"):
            return await self._applying().restart(WorkloadName(namespace, name), gate, dry_run=dry_run)

    async def plan(
        self, workloads: Sequence[WorkloadDefinition], /, *, rerun: bool = False, starts: Starts = True
    ) -> Plan:
        """Say what `apply` would do: what it changes, and where new instances would then go.

        The placements are those that the cluster loop would make from how things are now, if all goes well: what starts
        is healthy, what it comes after succeeds, nobody else changes anything. An update that is done step by step is
        foreseen to its end; of a batch workload, the instances that begin at once.

        Args:
            workloads: Each (namespace, name) once.
            rerun: As for `apply`.
            starts: As for `apply`.

        Raises:
            ConfigInvalid: They can't be accepted.
            Conflict: A workload of that name is being removed.
        """
        return await self._applying().plan(workloads, rerun=rerun, starts=starts)

    async def explain(
        self, name: str, /, *, namespace: str = DEFAULT_NAMESPACE, node: NodeId | None = None
    ) -> list[SlotPlacement]:
        """Say for each slot why it is where it is, or why it is nowhere; for a daemon also why it is not on a node.

        What has its place is told with what its node and the best of the others would score, were it placed anew.

        Args:
            name: The workload's name.
            namespace: Its namespace.
            node: Say only whether this node would take each slot, were it placed anew: an explanation is about that
                node then, with each predicate that fails, and what has the node's id would be taken.

        Raises:
            WorkloadNotFound: There is none of that name.
            NodeNotFound: There is no such node.
        """
        await self._controls.catch_up()
        record = self._controls.record(WorkloadName(namespace, name))
        explainer = Explainer(self.world, self.cluster_loop, self._decider, only_observes=self._observes)
        return await (explainer.explain(record) if node is None else explainer.explain_at(record, node))

    async def scale(
        self,
        name: str,
        replicas: int | None,
        /,
        *,
        namespace: str = DEFAULT_NAMESPACE,
        gate: Gate = no_gate,
        dry_run: bool = False,
    ) -> WorkloadView:
        """Set a service's number of instances, and remember it; None goes back to the file's number.

        Args:
            name: The workload's name.
            replicas: How many, or None.
            namespace: Its namespace.
            gate: Has its say before anything is written, and writes with it; asked for a dry run too.
            dry_run: True checks everything, changes nothing, and returns the workload as it is.

        Raises:
            WorkloadNotFound: There is none of that name.
            ConfigInvalid: It is no service, the number is out of range, or more than can come up together.
            Conflict: It is stopped; `apply` starts it again.
        """
        await self._controls.catch_up()
        record = self._controls.record(WorkloadName(namespace, name))
        definition = checked_for_scale(record, replicas)
        scaled_from = definition.replicas if replicas is not None else 0
        await self._controls.change(
            record.name,
            lambda now: evolve(now.control, replicas=replicas, scaled_from=scaled_from),
            gate,
            dry_run=dry_run,
        )
        if not dry_run:
            text = "back to the file's number" if replicas is None else f"to {replicas} instances"
            self.recorder.record(namespace, f"workload/{name}", "Scaled", text)
        return await self.get_workload(name, namespace=namespace)

    async def pause(self, name: str, /, *, namespace: str = DEFAULT_NAMESPACE, gate: Gate = no_gate) -> WorkloadView:
        """Hold up the updates of a service or a daemon, the one that is going on and those to come, until `resume`.

        Nothing of a new template starts, and nothing that runs is stopped for it. What has to be replaced, because it
        failed, its node was lost or is drained, or more of it is wanted, runs what was there before the update; where
        there was nothing before, there is nothing to hold up. What was started of the update stays, also beyond the
        number that is wanted as far as it may surge. Nor does an update that is held up fail or roll back.

        **Idempotency.** What is paused stays so, as it is. **Cancellation.** Indeterminate.

        Raises:
            WorkloadNotFound: There is none of that name.
            ConfigInvalid: It is batch work, whose runs are no updates.
            Conflict: Others kept changing it.
        """
        await hold(self._controls, self.recorder, WorkloadName(namespace, name), gate, paused=True)
        return await self.get_workload(name, namespace=namespace)

    async def resume(self, name: str, /, *, namespace: str = DEFAULT_NAMESPACE, gate: Gate = no_gate) -> WorkloadView:
        """Let updates go on that were paused; the time for which an update may make no progress begins anew.

        **Idempotency.** What is not paused is left as it is. **Cancellation.** Indeterminate.

        Raises:
            WorkloadNotFound: There is none of that name.
            ConfigInvalid: It is batch work, whose runs are no updates.
            Conflict: Others kept changing it.
        """
        await hold(self._controls, self.recorder, WorkloadName(namespace, name), gate, paused=False)
        return await self.get_workload(name, namespace=namespace)

    async def promote(
        self, name: str, /, *, namespace: str = DEFAULT_NAMESPACE, gate: Gate = no_gate, dry_run: bool = False
    ) -> WorkloadView:
        """Let the update of a service go on beyond its canary, by its update strategy, whether or not that is healthy.

        An update that is paused goes on once it is resumed, too. The next update has a canary of its own.

        **Idempotency.** What is promoted already stays so. **Cancellation.** Indeterminate.

        Raises:
            WorkloadNotFound: There is none of that name.
            Conflict: No update of it is to be promoted, or others kept changing it.
        """
        await promote(self._controls, self.recorder, WorkloadName(namespace, name), gate, dry_run=dry_run)
        return await self.get_workload(name, namespace=namespace)

    async def stop(
        self,
        name: str,
        /,
        *,
        namespace: str = DEFAULT_NAMESPACE,
        gate: Gate = no_gate,
        dry_run: bool = False,
    ) -> WorkloadView:
        """Stop all instances, and keep the workload; `apply` starts it again. What has ended stays as it ended.

        Args:
            name: The workload's name.
            namespace: Its namespace.
            gate: Has its say before anything is written, and writes with it; asked for a dry run too.
            dry_run: True checks everything, changes nothing, and returns the workload as it is.

        Raises:
            WorkloadNotFound: There is none of that name.
        """
        await self._controls.catch_up()
        await self._controls.change(WorkloadName(namespace, name), stopped_unless_ended, gate, dry_run=dry_run)
        return await self.get_workload(name, namespace=namespace)

    async def stop_instance(
        self,
        instance: str,
        /,
        *,
        namespace: str = DEFAULT_NAMESPACE,
        expected: int | None = None,
        beside: Beside = NOTHING_BESIDE,
    ) -> None:
        """Stop one instance as its workload would, with its grace; its workload replaces it, as far as it is to run.

        A disruption budget does not hold it up: who asks for it means this one. It is no failure of the workload: of
        batch work the index is done again, and no retry is used up.

        **Idempotency.** What stops already, or has ended, is left as it is. **Cancellation.** Indeterminate.

        Args:
            instance: `workload.index.epoch`, or `workload.index` for the latest.
            namespace: Its namespace.
            expected: Only if its last change was at this revision, of what is wanted of it or what it reports; None is
                whatever it is.
            beside: What is written with that, and what it depends on besides.

        Raises:
            InstanceNotFound: There is none.
            PreconditionFailed: Its revision is another one.
            Conflict: Others kept changing it.
            RevisionConflict: What it depends on besides does not hold.
        """
        await self._controls.catch_up()
        name = find_instance(self.world, namespace, instance)
        if await self._controls.stop_instance(name, self.now(), expected, beside):
            self.recorder.record(namespace, f"instance/{name.short}", "Stopping", f"it stops: {DELETED}")

    async def retry(self, subject: str, /, *, namespace: str = DEFAULT_NAMESPACE) -> list[str]:
        """End the waits of back-offs: what waits to be started again, or to be replaced, is not waited for this time.

        An attempt that is brought forward counts against no limit of restarts, and how long is waited after it, if it
        fails too, is as if this wait had come to its end.

        **Idempotency.** What does not wait is left as it is. **Cancellation.** Indeterminate: each wait has ended, will
        end, or goes on.

        Args:
            subject: A workload's name, or an instance's: `workload.index` for the latest epoch of an index. After an
                instance of a service has failed, that is the wait which all of its replacements have in common.
            namespace: Its namespace.

        Returns:
            The names of the instances whose waits were ended, failed ones too.

        Raises:
            WorkloadNotFound: There is none of that name.
            InstanceNotFound: There is none.
            Conflict: Others kept changing them.
        """
        return await Retrying(self._controls, self.recorder).retry(subject, namespace)

    async def remove(
        self,
        name: str,
        /,
        *,
        namespace: str = DEFAULT_NAMESPACE,
        expected: Revision | None = None,
        relate: Callable[[Metadata], Metadata] = unrelated,
        beside: Beside = NOTHING_BESIDE,
        dry_run: bool = False,
    ) -> None:
        """Stop all instances, and then forget the workload; follow it with `watch`.

        Args:
            name: The workload's name.
            namespace: Its namespace.
            expected: Only if what is wanted of it was last written at this revision; None is whatever it is.
            relate: Changes its owners and finalizers with that, as `relate` does; called again if others come before.
            beside: What is written with that, and what it depends on besides.
            dry_run: True checks everything, and changes nothing.

        Raises:
            WorkloadNotFound: There is none of that name.
            Conflict: Workloads that stay come after it, or others kept changing it.
            PreconditionFailed: Its revision is another one.
            RevisionConflict: What it depends on besides does not hold.
        """
        await self._controls.catch_up()
        record = self._controls.record(WorkloadName(namespace, name))
        check_expected(record, expected)
        waiting = sorted(dependant.name for dependant in self.world.waiting_for(record.name))
        if waiting:
            msg = f"workload {name!r} can't be removed: {', '.join(waiting)} waits for it"
            raise Conflict(msg, remedy=f"Remove first: {', '.join(waiting)}")
        if not dry_run:
            await self._controls.remove(record.name, expected, relate, beside)

    async def relate(
        self, name: str, change: Callable[[Metadata], Metadata], /, *, namespace: str = DEFAULT_NAMESPACE
    ) -> Revision:
        """Change a workload's owners and finalizers, also while it is removed; nothing starts or stops by it.

        A removed workload stays on record until it has no finalizer left whose deadline is still to come.

        Args:
            name: The workload's name.
            change: From its metadata to what they should be; called again where others came before.
            namespace: Its namespace.

        Returns:
            The revision of the definition's last write.

        Raises:
            WorkloadNotFound: There is none of that name, or Conflict: others kept changing it.
        """
        await self._controls.catch_up()
        return await self._controls.relate(WorkloadName(namespace, name), change)

    async def cordon_node(self, node_id: NodeId, /) -> None:
        """Keep new work off a node; see `SupportsCordon`."""
        await cordoning(self.cluster).cordon_node(node_id)

    async def drain_node(self, node_id: NodeId, /, *, reason: str, deadline: datetime | None = None) -> None:
        """Move everything off a node; see `SupportsCordon`."""
        await cordoning(self.cluster).drain_node(node_id, reason=reason, deadline=deadline)

    async def uncordon_node(self, node_id: NodeId, /) -> None:
        """Let work on a node again; see `SupportsCordon`."""
        await cordoning(self.cluster).uncordon_node(node_id)

    def check_takes_node_orders(self) -> None:
        """Make sure that nodes can be cordoned and drained here.

        Raises:
            Unsupported: The cluster manager can't do that.
        """
        cordoning(self.cluster)

    # -- inside ---------------------------------------------------------------------------------------------------

    def _applying(self) -> Applying:
        return Applying(
            self._controls,
            self.cluster_loop,
            self._decider,
            self.classes,
            self.recorder,
            self.new_uid,
            self.refuse_impossible,
        )
