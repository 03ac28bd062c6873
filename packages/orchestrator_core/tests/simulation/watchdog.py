"""Rules that hold at every store write and at every start of a container."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import trio
from attrs import define, field
from orchestrion.mocks import ContainerWorld, MemoryState, MockContainer
from orchestrion.orchestrator_core import TERMINAL, may_follow
from orchestrion.orchestrator_core._state.records import (
    BindingRecord,
    InstanceName,
    Outcome,
    WorkloadControl,
    WorkloadName,
    WorkloadProgress,
    WorkloadSpec,
    control_key,
    parse_instance,
    progress_key,
    spec_key,
    template_key,
    template_of,
)
from orchestrion.scheduler_interface import demand_of
from orchestrion.shared_types import (
    DesiredState,
    InstanceKey,
    InstanceState,
    InstanceStatus,
    Node,
    NodeId,
    Resources,
    Uid,
    WorkloadDefinition,
    WorkloadKind,
    from_json,
)
from orchestrion.store_interface import Entry, LeaseId

from .trace import Trace

MAX_WRITES_PER_SECOND: Final = 1000
"""More than that in a second of simulated time is a loop that nothing slows down."""

FORGOTTEN_SECONDS: Final = 120.0
"""Whoever decides may not have seen for so long that the last of a gang has gone."""

Write = tuple[str, bytes | None, LeaseId | None]
Record = tuple[str, Entry | None, Entry | None]


@define(eq=False)
class ObservedState(MemoryState):
    """A state that tells of each write.

    Attributes:
        observers: Told of what each write changed.
    """

    observers: list[Callable[[Sequence[Record]], None]] = field(factory=list)

    def write(self, writes: Sequence[Write], /) -> Sequence[Record]:
        records = MemoryState.write(self, writes)
        if records:
            for observer in self.observers:
                observer(records)
        return records


@define(eq=False)
class ObservedContainers(ContainerWorld):
    """Containers whose starts are told.

    Attributes:
        observers: Told of each start.
    """

    observers: list[Callable[[MockContainer], None]] = field(factory=list, kw_only=True)

    def _run(self, container: MockContainer, when: float) -> None:
        for observer in self.observers:
            observer(container)
        ContainerWorld._run(self, container, when)


def canary_at(state: MemoryState, name: WorkloadName) -> tuple[Uid, int, int] | None:
    """Return the uid and generation of a template that only a canary may run, and of how many; None for no such one."""
    entry, control = state.entries.get(spec_key(name)), state.entries.get(control_key(name))
    status = state.entries.get(progress_key(name))
    if entry is None or status is None:
        return None
    spec, progress = from_json(entry.value, WorkloadSpec), from_json(status.value, WorkloadProgress)
    uid, target, stable = spec.definition.metadata.uid, spec.template_generation, progress.stable_generation
    promoted = 0 if control is None else from_json(control.value, WorkloadControl).promoted
    canary = spec.definition.update.canary
    if not canary or promoted == target or progress.uid != uid or stable in (0, target):
        return None
    if progress.failed_generation == target:
        return None
    kept = [state.entries.get(template_key(name, generation)) for generation in (stable, target)]
    before, after = (None if each is None else template_of(from_json(each.value, WorkloadDefinition)) for each in kept)
    return None if before is None or before == after else (uid, target, canary)


@define(eq=False)
class _Placed:
    """A binding as it was last seen."""

    record: BindingRecord
    demand: Resources
    template: WorkloadDefinition
    ended: bool = False

    @property
    def goes_on(self) -> bool:
        """Whether it is to run and has not ended."""
        return not self.ended and self.record.binding.desired is DesiredState.RUN


@define(eq=False)
class Watchdog:
    """Checks each write of the store and each start of a container.

    Attributes:
        trace: Takes what is wrong.
        state: What is stored.
        containers: What runs.
        node: Finds a node as it is now.
        lists_lie: Whether a runtime may deny containers that it has; two attempts may then run for a while.
        fences: Whether a node that has lost its lease is able to stop what it runs before others start it.
        writes: Writes so far.
        vanished: What was removed by hand, perhaps before anybody had recorded it: it may start again.
        preempted: How many instances were pushed out so far.
        canaries: How many instances were placed so far of updates that waited for being promoted.
        emptied: Nodes that had to be emptied at any time: what leaves them is replaced before it ends.
        gangs: How many gangs have begun from nothing so far.
        completions: How often each index of each run of a batch workload has succeeded: (uid, generation, slot).
    """

    trace: Trace
    state: MemoryState
    containers: ContainerWorld
    node: Callable[[NodeId], Node | None]
    lists_lie: bool
    fences: Callable[[NodeId], bool]
    completions: Counter[tuple[Uid, int, int]] = field(factory=Counter)
    writes: int = 0
    preempted: int = 0
    vanished: set[tuple[InstanceKey, str, int]] = field(factory=set)
    gangs: int = 0
    canaries: int = 0
    emptied: set[NodeId] = field(factory=set)
    _held_at: dict[Uid, float] = field(factory=dict)
    _pace: int = 0
    _second: int = -1
    _placed: dict[InstanceName, _Placed] = field(factory=dict)
    _epochs: dict[tuple[Uid, int], int] = field(factory=dict)
    _by_key: dict[InstanceKey, InstanceName] = field(factory=dict)
    _outcomes: dict[tuple[Uid, int], Outcome] = field(factory=dict)

    def observe(self, records: Sequence[Record]) -> None:
        """Check what a write changed."""
        self.writes += 1
        self._check_pace()
        bound: dict[NodeId, None] = {}
        fresh = Counter[tuple[WorkloadName, Uid]]()
        self._note_held(records)
        for key, now, before in records:
            _, kind, namespace, name, *parts = key.split("/")
            if kind == "event":
                self._note_event(now)
                continue
            self.trace.add(f"store: {'-' if now is None else '+'} {key}")
            if kind == "instance" and parts == ["binding"]:
                instance = parse_instance(namespace, name)
                is_new = instance not in self._placed
                self._binding(instance, now, bound)
                if is_new and instance in self._placed:
                    fresh[instance.owner, self._placed[instance].record.workload_id] += 1
            elif kind == "instance":
                self._status(parse_instance(namespace, name), now, before)
            elif kind == "workload" and parts == ["status"] and now is not None:
                self._progress(key, now, before)
        for node_id in bound:
            self._check_allocation(node_id)
        for (owner, uid), count in fresh.items():
            self._check_gang(owner, uid, count)

    def _note_held(self, records: Sequence[Record]) -> None:
        """Note which workloads hold places, of those that a write is about."""
        for key, _, _ in records:
            _, kind, namespace, name, *_ = key.split("/")
            known = self._placed.get(parse_instance(namespace, name)) if kind == "instance" else None
            if known is not None and known.goes_on:
                self._held_at[known.record.workload_id] = trio.current_time()

    def _check_gang(self, owner: WorkloadName, uid: Uid, count: int) -> None:
        """Check that what begins from nothing is no less of a gang than it has to be."""
        entry, control = self.state.entries.get(spec_key(owner)), self.state.entries.get(control_key(owner))
        spec = None if entry is None else from_json(entry.value, WorkloadSpec)
        if spec is None or spec.definition.gang is None or spec.definition.metadata.uid != uid:
            return
        definition, gang = spec.definition, spec.definition.gang
        others = sum(placed.record.workload_id == uid and placed.goes_on for placed in self._placed.values()) - count
        if others or trio.current_time() - self._held_at.get(uid, -math.inf) < FORGOTTEN_SECONDS:
            return
        wanted = definition.replicas if definition.kind is WorkloadKind.SERVICE else definition.completions
        asked = None if control is None else from_json(control.value, WorkloadControl)
        if asked is not None and asked.replicas is not None and asked.scaled_from == definition.replicas:
            wanted = asked.replicas
        run = (uid, spec.template_generation)
        done = sum((one, generation) == run for one, generation, _ in self.completions)
        if count < gang.least_of(wanted) - done:
            self.trace.violated(f"{count} of {owner} begin, a gang of {gang.least_of(wanted)}")
        self.gangs += 1

    def place_of(self, name: InstanceName) -> NodeId | None:
        """Return the node that an instance is bound to."""
        placed = self._placed.get(name)
        return None if placed is None else placed.record.binding.node_id

    def _check_pace(self) -> None:
        second = int(trio.current_time())
        self._pace = self._pace + 1 if second == self._second else 1
        self._second = second
        if self._pace == MAX_WRITES_PER_SECOND:
            self.trace.violated(f"more than {MAX_WRITES_PER_SECOND} writes within a second")
        if self._pace > 2 * MAX_WRITES_PER_SECOND:
            self.trace.raise_if_violated()

    def _note_event(self, now: Entry | None) -> None:
        if now is not None:
            self.trace.add(f"event: {now.value.decode()}")

    def _binding(self, name: InstanceName, now: Entry | None, bound: dict[NodeId, None]) -> None:
        known = self._placed.get(name)
        if now is None:
            if known is not None:
                del self._placed[name]
                if not known.ended and known.record.binding.lost_at is None:
                    self.trace.violated(f"the binding of {name} was removed before it had ended")
            return
        record = from_json(now.value, BindingRecord)
        binding = record.binding
        if known is None:
            slot = (record.workload_id, name.slot)
            if name.epoch <= self._epochs.get(slot, 0):
                self.trace.violated(f"{name} reuses an epoch: {self._epochs[slot]} was bound before")
            self._epochs[slot] = name.epoch
            template = self._template(name, binding.generation)
            if template is None:
                self.trace.violated(f"{name} is bound to generation {binding.generation}, which has no template")
                return
            placed = self._placed[name] = _Placed(record, demand_of(template), template)
            self._by_key[InstanceKey(record.workload_id, name.slot, name.epoch)] = name
            bound[binding.node_id] = None
            self._check_rank(name, placed)
            self._check_canary(name, placed)
            return
        old = known.record.binding
        if (old.node_id, old.generation, old.bound_at) != (binding.node_id, binding.generation, binding.bound_at):
            self.trace.violated(f"the binding of {name} moved")
        if old.desired is DesiredState.STOP and (binding.desired, binding.stop_at) != (old.desired, old.stop_at):
            self.trace.violated(f"{name} was told to stop, and then something else")
        if old.desired is DesiredState.RUN and binding.stop_reason.startswith("evicted"):
            tolerations = known.template.placement.tolerations
            if any(toleration.seconds is None for toleration in tolerations):
                self.trace.violated(f"{name} was {binding.stop_reason}, which it tolerates for ever")
        if old.desired is DesiredState.RUN and binding.stop_reason.endswith("replaces it"):
            self._check_replaced(name, known)
        if old.lost_at is not None and binding.lost_at != old.lost_at:
            self.trace.violated(f"{name} was lost twice")
        if known.ended and binding.lost_at is not None and old.lost_at is None:
            self.trace.violated(f"{name} was lost after it had ended")
        known.record = record

    def _check_rank(self, name: InstanceName, pusher: _Placed) -> None:
        """Check that those whose place a slot takes are told to stop, and are below it if it is they who make room."""
        for key in pusher.record.binding.waits_for:
            victim = self._placed.get(self._by_key[key])
            if victim is None or victim.ended:
                continue
            binding = victim.record.binding
            if binding.desired is DesiredState.RUN:
                self.trace.violated(f"{name} takes the place of {self._by_key[key]}, which goes on")
            if binding.node_id != pusher.record.binding.node_id:
                self.trace.violated(f"{name} takes the place of {self._by_key[key]}, which is elsewhere")
            if binding.stop_reason == f"preempted: {name} takes its place":
                self.preempted += 1
                if not pusher.template.preempts or victim.template.priority >= pusher.template.priority:
                    self.trace.violated(f"{name} pushes out {self._by_key[key]}, which is not below it")

    def _check_canary(self, name: InstanceName, placed: _Placed) -> None:
        """Check that of a template that nobody has promoted there are no more instances than its canary."""
        uid, generation = placed.record.workload_id, placed.record.binding.generation
        canary = canary_at(self.state, name.owner)
        if canary is None or canary != (uid, generation, canary[2]):
            return
        self.canaries += 1
        there = sum(
            (each.record.workload_id, each.record.binding.generation) == (uid, generation)
            and each.goes_on
            and each.record.binding.lost_at is None
            and each.record.binding.node_id not in self.emptied
            for each in self._placed.values()
        )
        if there > canary[2]:
            self.trace.violated(f"{name} is one of {there} of generation {generation}, whose canary is {canary[2]}")

    def _check_replaced(self, name: InstanceName, placed: _Placed) -> None:
        """Check that what was rolled out is not replaced by others of the same, unless a restart was asked for."""
        entry = self.state.entries.get(spec_key(name.owner))
        status = self.state.entries.get(progress_key(name.owner))
        if entry is None or status is None:
            return
        spec, progress = from_json(entry.value, WorkloadSpec), from_json(status.value, WorkloadProgress)
        uid, generation = placed.record.workload_id, placed.record.binding.generation
        if (spec.definition.metadata.uid, progress.uid, progress.stable_generation) != (uid, uid, generation):
            return
        if spec.template_generation == generation or spec.restarted > generation:
            return
        if template_of(placed.template) == template_of(spec.definition):
            self.trace.violated(f"{name} is replaced by generation {spec.template_generation}, which runs the same")

    def _template(self, name: InstanceName, generation: int) -> WorkloadDefinition | None:
        entry = self.state.entries.get(template_key(name.owner, generation))
        return None if entry is None else from_json(entry.value, WorkloadDefinition)

    def _status(self, name: InstanceName, now: Entry | None, before: Entry | None) -> None:
        if now is None:
            return
        status = from_json(now.value, InstanceStatus)
        old = InstanceStatus() if before is None else from_json(before.value, InstanceStatus)
        self.trace.add(f"state: {name} is {status.state} {status.reason} {status.message}")
        if not may_follow(old.state, status.state):
            self.trace.violated(f"{name} went from {old.state} to {status.state}")
        if old.state in TERMINAL and status != old:
            self.trace.violated(f"{name} changed after its end as {old.state}")
        placed = self._placed.get(name)
        if placed is None:
            self.trace.violated(f"{name} has a status and no binding")
            return
        if status.state in TERMINAL and not placed.ended:
            if placed.record.binding.lost_at is not None:
                self.trace.violated(f"{name} ended as {status.state} after it was lost")
            placed.ended = True
            if (
                placed.template.kind is WorkloadKind.BATCH
                and status.state is InstanceState.SUCCEEDED
                and status.reason != "stopped"
            ):
                self._complete(name, placed)

    def _complete(self, name: InstanceName, placed: _Placed) -> None:
        run = (placed.record.workload_id, placed.record.binding.generation, name.slot)
        self.completions[run] += 1
        if self.completions[run] > 1:
            self.trace.violated(f"index {name.slot} of {name.owner} completed again, as {name}")

    def _progress(self, key: str, now: Entry, before: Entry | None) -> None:
        progress = from_json(now.value, WorkloadProgress)
        if before is not None:
            old = from_json(before.value, WorkloadProgress)
            if old.epoch_floor > progress.epoch_floor:
                self.trace.violated(f"{key}: the floor of epochs sank")
        if progress.outcome is None or progress.reason == "dependency-failed":
            return
        run = (progress.uid, progress.run_generation)
        known = self._outcomes.setdefault(run, progress.outcome)
        if known is not progress.outcome:
            self.trace.violated(f"{key}: the outcome was {known} and became {progress.outcome}")

    def _check_allocation(self, node_id: NodeId) -> None:
        node = self.node(node_id)
        if node is None:
            return
        total = Resources()
        for placed in self._placed.values():
            binding = placed.record.binding
            there = binding.node_id == node_id and not placed.ended and binding.lost_at is None
            if there and not self._waits(placed):
                total = total + placed.demand
        if not total.fits_in(node.allocatable):
            self.trace.violated(f"node {node_id} has promised {total} of {node.allocatable}")

    def on_start(self, container: MockContainer) -> None:
        """Check a container that is about to run."""
        key, name = container.options.instance, container.config.name
        self.trace.add(f"start: {container.options.workload} {key} {name} attempt {container.options.attempt}")
        self._check_turn(container)
        if self.containers.starts[container.key] and container.key not in self.vanished:
            self.trace.violated(f"attempt {container.options.attempt} of {name} of {key} started twice")
        for other in self.containers.containers.values():
            there = other.options.instance
            if other is container or (there.workload_id, there.index) != (key.workload_id, key.index):
                continue
            self.containers.advance(self.containers.nodes[other.options.node_id])
            if not other.live:
                continue
            if there.epoch == key.epoch:
                self._same_epoch(container, other)
            else:
                self._other_epoch(container, other)

    def _waits(self, placed: _Placed) -> bool:
        """Whether an instance does not start yet, because those have not ended whose place it takes."""
        others = (self._placed.get(self._by_key[key]) for key in placed.record.binding.waits_for)
        return any(other is not None and not other.ended and other.record.binding.lost_at is None for other in others)

    def _check_turn(self, container: MockContainer) -> None:
        """Check that nothing starts before those have ended whose place it takes."""
        name = self._by_key.get(container.options.instance)
        placed = self._placed.get(name) if name is not None else None
        if placed is None:
            return
        waits_for = placed.record.binding.waits_for
        if placed.record.binding.lost_at is None and self._waits(placed):
            self.trace.violated(f"{name} starts before all of {waits_for} have ended")
        for other in self.containers.containers.values():
            if other.live and other.options.instance in waits_for and not self.lists_lie:
                self.trace.violated(f"{name} starts while {other.container_id} of {other.options.instance} runs")

    def _same_epoch(self, container: MockContainer, other: MockContainer) -> None:
        key = container.options.instance
        if other.options.node_id != container.options.node_id:
            self.trace.violated(f"{key} runs on two nodes")
        elif other.config.name == container.config.name and not self.lists_lie:
            self.trace.violated(
                f"attempt {container.options.attempt} of {container.config.name} of {key} starts while attempt "
                f"{other.options.attempt} runs"
            )

    def _other_epoch(self, container: MockContainer, other: MockContainer) -> None:
        key, there = container.options.instance, other.options.instance
        older, newer = (other, container) if there.epoch < key.epoch else (container, other)
        name = self._by_key.get(older.options.instance)
        placed = self._placed.get(name) if name is not None else None
        if placed is not None and placed.record.binding.lost_at is None:
            self.trace.violated(f"{newer.options.instance} runs while {name}, which was not given up, runs too")
        elif self.fences(older.options.node_id):
            self.trace.violated(
                f"{newer.options.instance} runs while {older.options.instance} was not stopped by its node"
            )
