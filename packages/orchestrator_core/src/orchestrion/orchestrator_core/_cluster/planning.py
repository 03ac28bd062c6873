"""The scratch pad of one plan."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Set

from attrs import define, field
from orchestrion.orchestrator_core._cluster.plan import Notice, WantedSlot, WorkloadPlan
from orchestrion.orchestrator_core._cluster.stopping import stopping_on
from orchestrion.orchestrator_core._state.facts import Canary, Facts, available_of, is_retried
from orchestrion.orchestrator_core._state.lifecycle import STOPPED
from orchestrion.orchestrator_core._state.records import InstanceName, WorkloadProgress
from orchestrion.orchestrator_core._state.restart import delay_before
from orchestrion.orchestrator_core._state.roll import Instances, Standing
from orchestrion.orchestrator_core._state.taints import Eviction, eviction_of
from orchestrion.orchestrator_core._state.world import InstanceRecord, WorkloadRecord
from orchestrion.shared_types import (
    DesiredState,
    EventSeverity,
    InstanceKey,
    InstanceState,
    NodeId,
    WorkloadDefinition,
    WorkloadKind,
)


@define(eq=False)
class Planning:
    """A plan in the making, and what it is made from.

    Attributes:
        record: The workload.
        facts: The rest of the world.
        plan: What has been decided so far.
        definition: What the author wants.
        progress: The cluster loop's part, as it is to be.
        generation: The template generation that instances are to run.
        held: Whether an update is held up: what is there stays, of whatever generation, and `generation` is what new
            places run.
        canary: Where the update is to stop until it is promoted, or None; some of what there was stays until then.
        evicted: Instances that this plan stops whatever replaces them: because of their node's taints, or because they
            wait for what does not end.
        departing: Instances that will have to leave because of a taint, by its text, and may do so within the budget.
    """

    record: WorkloadRecord
    facts: Facts
    plan: WorkloadPlan
    definition: WorkloadDefinition
    progress: WorkloadProgress
    generation: int
    held: bool = False
    canary: Canary | None = None
    evicted: set[InstanceName] = field(factory=set)
    departing: dict[InstanceName, str] = field(factory=dict)
    _free: Iterator[int] | None = None
    _epochs: dict[int, int] = field(factory=dict)

    def is_old(self, instance: InstanceRecord) -> bool:
        """Whether an instance runs another template than it should."""
        if instance.bound is None:
            return True
        generation = instance.bound.binding.generation
        if self.held or (self.canary is not None and self.canary.is_before(generation)):
            return False
        return generation != self.generation

    def is_leaving(self, instance: InstanceRecord) -> bool:
        """Whether an instance's node is to be emptied, or it will have to leave that node."""
        if instance.name in self.departing:
            return True
        return instance.bound is not None and self.facts.is_leaving(instance.bound.binding.node_id)

    def is_completion(self, instance: InstanceRecord) -> bool:
        """Whether an instance has ended with success, by itself."""
        return instance.status.state is InstanceState.SUCCEEDED and instance.status.reason != STOPPED

    @property
    def lost(self) -> frozenset[InstanceName]:
        """The instances that are given up."""
        return frozenset(instance.name for instance in self.plan.lose)

    def stop(self, instance: InstanceRecord, reason: str) -> None:
        """Stop one instance."""
        self.plan.stop.append((instance, reason))

    def evict(self) -> None:
        """Stop what may not stay on its node because of a taint; it is not waited for until something replaces it.

        A service with a disruption budget uses the second half of the time for which a taint is tolerated: those that
        will have to leave do so within the budget, so that they need not all go at once in the end.
        """
        nodes, facts = self.record.roll.nodes, self.facts
        for node_id in sorted(node_id for node_id in facts.tainted if node_id in nodes and node_id not in facts.lost):
            for name, instance in sorted(nodes[node_id].items()):
                bound = instance.bound
                if bound is None or bound.binding.desired is not DesiredState.RUN:
                    continue
                eviction = eviction_of(instance, self.record.templates.get(bound.binding.generation), self.facts)
                if eviction is None:
                    continue
                if eviction.left_seconds > 0:
                    self._depart(name, eviction)
                    continue
                self.evicted.add(name)
                self.stop(instance, f"evicted: taint {eviction.taint}")
                message = f"it leaves node {node_id}, which has the taint {eviction.taint}"
                self.plan.notices.append(Notice("Evicted", message, EventSeverity.WARNING, name))

    def _depart(self, name: InstanceName, eviction: Eviction) -> None:
        self.plan.wake(eviction.left_seconds)
        if self.definition.kind is not WorkloadKind.SERVICE or self.definition.disruption is None:
            return
        early = eviction.left_seconds - eviction.tolerated_seconds / 2
        if early > 0:
            self.plan.wake(early)
        else:
            self.departing[name] = eviction.taint

    def stop_waiting(self) -> None:
        """Stop what was given the place of others that should have ended long ago; it gets another place."""
        waiting = self.record.roll.waiting
        if not waiting:
            return
        stopping = dict[NodeId, dict[InstanceKey, tuple[InstanceName, float]]]()
        for name, instance in sorted(waiting.items()):
            bound = instance.bound
            if bound is None or instance.status.state is not InstanceState.PENDING or name in self.evicted:
                continue
            node_id = bound.binding.node_id
            if node_id in self.facts.lost:
                continue
            if node_id not in stopping:
                stopping[node_id] = stopping_on(node_id, self.facts)
            others = [stopping[node_id][key] for key in bound.binding.waits_for if key in stopping[node_id]]
            overdue = [other for other, left in others if left == 0]
            if not overdue:
                if others:
                    self.plan.wake(min(left for _, left in others))
                continue
            self.evicted.add(name)
            words = ", ".join(other.short for other in sorted(overdue))
            self.stop(instance, f"{words} should have ended before it, and does not end")
            message = f"it gets another place: {words} on node {node_id} should have ended before it, and does not end"
            self.plan.notices.append(Notice("WaitedInVain", message, EventSeverity.WARNING, name))

    def stop_all(self, reason: str) -> None:
        """Stop every instance that is there."""
        for group in self.active():
            for instance in group.values():
                self.stop(instance, reason)

    def active(self) -> tuple[Instances, Instances]:
        """Return the instances that are there and are to stay, and those that are there and are to be replaced.

        The latter run another template than they should, or on a node that is to be emptied or that they have to leave.
        """
        roll, facts = self.record.roll, self.facts
        current = {**roll.of(Standing.SERVING, self.generation), **roll.of(Standing.STARTING, self.generation)}
        outgoing = dict[InstanceName, InstanceRecord]()
        for generation, group in roll.standing(Standing.SERVING, Standing.STARTING):
            if generation != self.generation:
                (current if self.held else outgoing).update(group)
        for node_id in roll.nodes.keys() & facts.lost:
            for name in roll.nodes[node_id]:
                current.pop(name, None)
                outgoing.pop(name, None)
        for name in self.evicted:
            current.pop(name, None)
            outgoing.pop(name, None)
        for node_id, group in roll.nodes.items():
            if facts.is_leaving(node_id):
                outgoing.update((name, current.pop(name)) for name in group if name in current)
        outgoing.update((name, current.pop(name)) for name in self.departing if name in current)
        if self.canary is not None:
            self._share(self.canary, current, outgoing)
        return current, outgoing

    def _share(
        self,
        canary: Canary,
        current: dict[InstanceName, InstanceRecord],
        outgoing: dict[InstanceName, InstanceRecord],
    ) -> None:
        """Let as many of what there was stay as the canary leaves, and no more of the canary than it has."""
        serving = self.record.roll.of(Standing.SERVING, canary.overtaken)
        there = [one for one in self.of_generation(canary.overtaken, outgoing) if one.name in serving]
        there += self.of_generation(canary.stable, outgoing)
        rest = [one for one in there if not self.is_leaving(one)]
        surplus = self.of_generation(canary.generation, current)[canary.count :]
        current.update((one.name, outgoing.pop(one.name)) for one in rest[: canary.rest])
        outgoing.update((one.name, current.pop(one.name)) for one in surplus)

    def of_generation(self, generation: int, instances: Instances) -> list[InstanceRecord]:
        """Return those that run one template generation: those that serve first, of them those placed first."""

        def rank(instance: InstanceRecord) -> tuple[bool, float, int]:
            bound_at = instance.bound.binding.bound_at if instance.bound is not None else None
            return (
                instance.status.healthy_since is None,
                bound_at.timestamp() if bound_at is not None else 0.0,
                instance.name.slot,
            )

        found = (one for one in instances.values() if one.bound and one.bound.binding.generation == generation)
        return sorted(found, key=rank)

    def available(self) -> set[InstanceName]:
        """Return those that have been healthy for long enough; if that is a matter of time, look again then."""
        found, wait = available_of(self.record, self.definition.update, self.facts)
        if wait > 0:
            self.plan.wake(wait)
        found.difference_update(self.evicted)
        return found

    def place(self, slot: int, only_node: NodeId | None = None, *, generation: int | None = None) -> None:
        """Place a slot, as a new epoch; all that one plan places are of one template generation."""
        self.plan.generation = self.generation if generation is None else generation
        name = InstanceName(self.record.name.namespace, self.record.name.name, slot, self._next_epoch(slot))
        self.plan.place.append(WantedSlot(name, only_node))

    def free_slots(self, count: int) -> Iterator[int]:
        """Yield the lowest slots that no instance holds, each once per plan."""
        if self._free is None:
            self._free = itertools.filterfalse(self.held_slots().__contains__, itertools.count())
        yield from itertools.islice(self._free, count)

    def held_slots(self) -> Set[int]:
        """Return the slots that an instance holds, but for those of which all are given up."""
        roll, lost = self.record.roll, self.lost
        slots = {instance.name.slot for instance in self.plan.lose}
        freed = {slot for slot in slots if all(i.ended or i.name in lost for i in roll.in_slot(slot))}
        return roll.held_slots.keys() - freed if freed else roll.held_slots.keys()

    def backoff(self, failed: Iterable[InstanceRecord], key: object) -> float:
        """Return the seconds to wait before failed instances are replaced; 0 is now.

        The wait grows with the number of failures that are not long past, as restarts in place do. After the latest
        there is none where somebody asked for that.
        """
        recent = [
            (instance.status.finished_at, instance)
            for instance in failed
            if instance.status.finished_at is not None and self.counts_as_recent(instance) > 0
        ]
        if not recent:
            return 0.0
        last, latest = max(recent, key=lambda each: each[0])
        if is_retried(latest):
            return 0.0
        delay = delay_before(self.definition.restart, len(recent) - 1, 0.0)
        wait = self.facts.deadlines.remaining(("replace", self.record.name, key), last, delay)
        if wait > 0:
            self.plan.wake(wait)
        return wait

    def counts_as_recent(self, failed: InstanceRecord) -> float:
        """Return the seconds for which a failure still makes the next replacement wait; 0 or less is no more."""
        ended = failed.status.finished_at
        if ended is None:
            return 0.0
        window = self.definition.restart.reset_after_seconds + self.definition.restart.max_delay_seconds
        # The wall clock may have been set back since: a failure far in the future counts no more than one long past.
        return window - abs((self.facts.deadlines.now() - ended).total_seconds())

    def _next_epoch(self, slot: int) -> int:
        known = max((instance.name.epoch for instance in self.record.roll.in_slot(slot)), default=0)
        epoch = max(self.progress.epoch_floor, known, self._epochs.get(slot, 0)) + 1
        self._epochs[slot] = epoch
        return epoch
