"""What an apply would lead to: the cluster loop's own plans, carried out on a draft of the world."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

import trio
from attrs import define, evolve, field
from orchestrion.orchestrator_core._clock import Deadlines
from orchestrion.orchestrator_core._cluster.gangs import of_the_whole_gang
from orchestrion.orchestrator_core._cluster.plan import WantedSlot, WorkloadPlan, by_node, portions, refusal_of
from orchestrion.orchestrator_core._cluster.pushing import (
    Outlook,
    Push,
    find_pushes,
    name_of,
    stop_reason,
    victims_words,
)
from orchestrion.orchestrator_core._cluster.view import Placeable, placed_instance
from orchestrion.orchestrator_core._cluster.workload_plan import plan_workload
from orchestrion.orchestrator_core._control.admission import Admission, noted, templated
from orchestrion.orchestrator_core._control.placed import place_words
from orchestrion.orchestrator_core._control.ports import refusal_words
from orchestrion.orchestrator_core._control.refused import refused_nodes
from orchestrion.orchestrator_core._control.views import ChangeAction, Plan, SlotPlacement
from orchestrion.orchestrator_core._state.facts import DEPENDENCY_FAILED, Facts, Refusal, dependencies_of
from orchestrion.orchestrator_core._state.lifecycle import STOPPED
from orchestrion.orchestrator_core._state.records import (
    BindingRecord,
    InstanceName,
    Outcome,
    WorkloadName,
    instance_key,
)
from orchestrion.orchestrator_core._state.roll import Roll, Standing
from orchestrion.orchestrator_core._state.taints import for_new_work
from orchestrion.orchestrator_core._state.world import InstanceRecord, WorkloadRecord
from orchestrion.scheduler_interface import (
    AssignNode,
    Draft,
    Explanation,
    KeptView,
    PlacedInstance,
    Scheduler,
    SchedulingRequest,
)
from orchestrion.shared_types import (
    Binding,
    DesiredState,
    InstanceKey,
    InstanceState,
    InstanceStatus,
    NodeId,
    WorkloadDefinition,
    WorkloadKind,
)

MAX_ROUNDS: Final = 1000
"""Plans of each workload that are carried out at most."""

MAX_LOOKS: Final = 200_000
"""Instances that are looked at in all those plans at most: an update of very many is foreseen only in part."""


@define(eq=False)
class _Foresight(Deadlines):
    """Clocks in a world where everything that is awaited comes, and no deadline passes."""

    def remaining(self, key: object, since: datetime, length_seconds: float) -> float:
        """Return 0 for a wait that only delays, and the whole length of any other."""
        delays = isinstance(key, tuple) and key[0] in {"healthy", "replace"}
        return 0.0 if delays else length_seconds


@define(eq=False)
class Preview:
    """What would become of some workloads if all goes well: what starts is healthy at once, and batch work succeeds.

    Attributes:
        facts: The real world, and in it the drafts of these workloads.
        scheduler: Decides where slots would go.
        draft: What would be placed where.
        records: The workloads, as they would be.
        placed: Instances that would come, by name.
        unplaced: Slots that would find no place, by workload.
    """

    facts: Facts
    scheduler: Scheduler
    draft: Draft
    records: dict[WorkloadName, WorkloadRecord]
    refusals: dict[tuple[WorkloadName, int], dict[NodeId, Refusal]]
    placed: dict[InstanceName, SlotPlacement] = field(factory=dict)
    unplaced: dict[WorkloadName, dict[int, SlotPlacement]] = field(factory=dict)
    _changed: set[WorkloadName] = field(factory=set)
    _refused: int = 0

    @classmethod
    def of(cls, admissions: Sequence[Admission], facts: Facts, scheduler: Scheduler, view: KeptView) -> Preview:
        """Return the preview of an apply, of which nothing is foreseen yet."""
        records = {record.name: record for record in map(_draft_of, admissions)}
        now = facts.deadlines.now()
        refusals = dict[tuple[WorkloadName, int], dict[NodeId, Refusal]]()
        drafted = Facts(
            facts.nodes,
            frozenset(facts.leased),
            frozenset(facts.lost),
            {**facts.workloads, **records},
            _Foresight(lambda: now),
            refusals,
            tainted=facts.tainted,
            taints=facts.taints,
        )
        changed = {
            WorkloadName(admission.change.namespace, admission.change.name)
            for admission in admissions
            if admission.change.action is not ChangeAction.UNCHANGED
        }
        return cls(drafted, scheduler, Draft(view), records, refusals, changed=changed)

    async def foresee(self) -> None:
        """Do what the cluster loop would do, until it would have nothing more to do."""
        if not self._changed:
            return
        instances = sum(len(record.instances) for record in self.records.values())
        for _ in range(max(10, min(MAX_ROUNDS, MAX_LOOKS // max(1, instances)))):
            moved = False
            for record in self.records.values():
                moved |= await self._step(record)
            if not moved and not self._end_batches():
                return

    def plan(self, admissions: Sequence[Admission]) -> Plan:
        """Return what is foreseen, for each change that it was made of."""
        names = [WorkloadName(admission.change.namespace, admission.change.name) for admission in admissions]
        changes = [noted(admission, self.note(name)) for admission, name in zip(admissions, names, strict=True)]
        return Plan(changes=tuple(changes), placements=tuple(self.placements()))

    def placements(self) -> list[SlotPlacement]:
        """Return where slots would go, and those that would go nowhere."""
        found = list[SlotPlacement]()
        for name, record in self.records.items():
            found.extend(self.placed[instance] for instance in sorted(self.placed) if instance.owner == name)
            if name not in self._changed:
                continue
            if record.spec is not None and record.spec.definition.kind is WorkloadKind.DAEMON:
                found.extend(refused_nodes(record, self.facts, shortages_only=True))
            else:
                found.extend(placement for _, placement in sorted(self.unplaced.get(name, {}).items()))
        return found

    def note(self, name: WorkloadName) -> str:
        """Return why nothing of a workload would start yet, or ""."""
        record = self.records[name]
        progress = record.progress
        if progress is not None and progress.outcome is not None and progress.reason == DEPENDENCY_FAILED:
            return progress.message
        if record.control.stopped or (progress is not None and progress.started_at is not None):
            return ""
        waiting = dependencies_of(record, self.facts).waiting_for
        return f"waits for {', '.join(waiting)}" if waiting else ""

    async def _step(self, record: WorkloadRecord) -> bool:
        """Carry out one plan of a workload; return whether anything has moved."""
        await trio.lowlevel.checkpoint()
        plan = plan_workload(record, self.facts)
        if plan.purge:
            return False
        stopping = _stopping(record)
        moved = bool(plan.lose or plan.stop or plan.forget or plan.progress is not None)
        for instance in plan.lose:
            self._change(record, instance, lost_at=self.facts.deadlines.now())
            self._release(instance)
            self.placed.pop(instance.name, None)
        for instance, reason in plan.stop:
            self._change(record, instance, desired=DesiredState.STOP, stop_reason=reason)
        for instance in plan.forget:
            record.instances.pop(instance.name, None)
            record.roll.forget(instance.name)
        if plan.progress is not None:
            record.progress = plan.progress
        # Those that stop hold their places for as long as the next ones take to start, as they do in the world.
        refused = self._refused
        arrived = await self._place(record, plan)
        for instance in stopping:
            self._end(record, instance, reason=STOPPED)
            self.placed.pop(instance.name, None)
        for instance in arrived:
            record.note(instance)
        return moved or bool(arrived or stopping) or self._refused > refused

    def _change(self, record: WorkloadRecord, instance: InstanceRecord, **changes: object) -> None:
        bound = instance.bound
        if bound is not None:
            binding = evolve(bound.binding, **changes)  # type: ignore[arg-type] # the fields of Binding
            instance.bound = evolve(bound, binding=binding)
            record.note(instance)

    def _release(self, instance: InstanceRecord) -> None:
        if instance.bound is None:
            return
        node_id = instance.bound.binding.node_id
        self.draft.remove(node_id, instance_key(instance.name, instance.bound.workload_id))
        for refused in self.refusals.values():
            refused.pop(node_id, None)

    def _end(self, record: WorkloadRecord, instance: InstanceRecord, reason: str = "") -> None:
        now = self.facts.deadlines.now()
        instance.status = evolve(instance.status, state=InstanceState.SUCCEEDED, reason=reason, finished_at=now)
        record.note(instance)
        self._release(instance)

    async def _place(self, record: WorkloadRecord, plan: WorkloadPlan) -> list[InstanceRecord]:
        template = record.templates.get(plan.generation)
        arrived = list[InstanceRecord]()
        unplaced = self.unplaced[record.name] = {}
        if template is None:
            return arrived
        for only_node, slots in by_node(plan.place):
            asked = 0
            for chunk, minimum in portions(slots, plan.minimum):
                came = await self._place_chunk(record, template, plan, only_node, chunk, minimum, unplaced)
                arrived.extend(came)
                asked += len(chunk)
                if not came:
                    said = unplaced[chunk[-1].name.slot]
                    for slot in slots[asked:]:
                        instance = f"{record.name.name}.{slot.name.slot}"
                        unplaced[slot.name.slot] = evolve(said, instance=instance)
                    break
        return arrived

    async def _place_chunk(
        self,
        record: WorkloadRecord,
        template: WorkloadDefinition,
        plan: WorkloadPlan,
        only_node: NodeId | None,
        slots: Sequence[WantedSlot],
        minimum: int,
        unplaced: dict[int, SlotPlacement],
    ) -> list[InstanceRecord]:
        generation = plan.generation
        names = {instance_key(slot.name, template.metadata.uid): slot.name for slot in slots}
        request = SchedulingRequest(
            workload=for_new_work(template), slots=tuple(names), minimum=minimum, only_node=only_node, explain=True
        )
        arrived = list[InstanceRecord]()
        refused = list[InstanceKey]()
        view = self.draft.view()
        for decision in await self.scheduler.schedule(request, view):
            name = names[decision.slot]
            explanation = of_the_whole_gang(decision.explanation or Explanation(), plan.present)
            assigned = isinstance(decision, AssignNode)
            placement = SlotPlacement(
                instance=f"{record.name.name}.{name.slot}",
                node_id=decision.node_id if isinstance(decision, AssignNode) else None,
                explanation=explanation,
                text=place_words(explanation, stays=False) if assigned else refusal_words(explanation, view),
            )
            if not isinstance(decision, AssignNode):
                unplaced[name.slot] = placement
                if only_node is not None:
                    self.refusals.setdefault((record.name, generation), {})[only_node] = refusal_of(explanation)
                    self._refused += 1
                refused.append(decision.slot)
                continue
            self.placed[name] = placement
            arrived.append(self._arrived(decision, name, template, generation))
        self._hold(arrived, template)
        if refused:
            pushed = list[InstanceRecord]()
            together = 0 if arrived else minimum
            for push in await find_pushes(
                template, refused, only_node, self.draft.view(), self.facts, self.scheduler, Outlook(), together
            ):
                name = names[push.decision.slot]
                del unplaced[name.slot]
                self._push_out(push, name)
                pushed.append(self._arrived(push.decision, name, template, generation))
            self._hold(pushed, template)
            arrived.extend(pushed)
        return arrived

    def _arrived(
        self, decision: AssignNode, name: InstanceName, template: WorkloadDefinition, generation: int
    ) -> InstanceRecord:
        """Return the instance that a slot becomes, at work."""
        now = self.facts.deadlines.now()
        binding = Binding(
            node_id=decision.node_id,
            generation=generation,
            devices=decision.devices,
            device_thousandths=decision.device_thousandths,
            bound_at=now,
        )
        status = InstanceStatus(state=InstanceState.RUNNING, started_at=now, healthy_since=now)
        return InstanceRecord(name, BindingRecord(workload_id=template.metadata.uid, binding=binding), status=status)

    def _hold(self, arrived: Iterable[InstanceRecord], template: WorkloadDefinition) -> None:
        """Let instances hold their places."""
        placeable = Placeable.of(template)
        held = dict[NodeId, list[PlacedInstance]]()
        for instance in arrived:
            if instance.bound is not None:
                binding = instance.bound.binding
                key = instance_key(instance.name, instance.bound.workload_id)
                held.setdefault(binding.node_id, []).append(placed_instance(key, template, placeable, binding))
        for node_id, placed in held.items():
            self.draft.put(node_id, placed)

    def _push_out(self, push: Push, by: InstanceName) -> None:
        """Take from their places those that have to go for a slot; what is foreseen of their workloads takes it in."""
        for victim in push.victims:
            self.draft.remove(push.decision.node_id, victim.key)
            name = name_of(victim)
            record = self.records.get(name.owner)
            instance = record.instances.get(name) if record is not None else None
            if record is not None and instance is not None:
                self._change(record, instance, desired=DesiredState.STOP, stop_reason=stop_reason(by))
        self.placed[by] = SlotPlacement(
            instance=f"{by.workload}.{by.slot}",
            node_id=push.decision.node_id,
            explanation=push.decision.explanation or Explanation(),
            text=f"nothing else has room; it pushes out {victims_words(push)}"
            if push.victims
            else "there is room for it beside others that push their way in",
            victims=tuple(str(name_of(victim)) for victim in push.victims),
        )

    def _end_batches(self) -> bool:
        """Let batch work succeed that others wait for, once nothing else would happen; return whether any did."""
        awaited = {
            WorkloadName(record.name.namespace, dependency.workload)
            for record in self.records.values()
            if record.spec is not None and (record.progress is None or record.progress.started_at is None)
            for dependency in record.spec.definition.after
        }
        ended = False
        for name in awaited & self.records.keys():
            record = self.records[name]
            progress = record.progress
            live = [instance for instance in record.instances.values() if not instance.ended]
            batch = record.spec is not None and record.spec.definition.kind is WorkloadKind.BATCH
            if not batch or progress is None or progress.outcome is not None or not live or record.control.stopped:
                continue
            record.progress = evolve(progress, outcome=Outcome.SUCCEEDED, finished_at=self.facts.deadlines.now())
            for instance in live:
                self._end(record, instance)
            ended = True
        return ended


def _stopping(record: WorkloadRecord) -> list[InstanceRecord]:
    return [instance for _, group in record.roll.standing(Standing.STOPPING) for instance in group.values()]


def _draft_of(admission: Admission) -> WorkloadRecord:
    """Return a workload as it would be right after the apply; what is real is not touched by changes of it."""
    before = admission.record
    record = WorkloadRecord(WorkloadName(admission.change.namespace, admission.change.name))
    if before is not None:
        record = evolve(before, templates=dict(before.templates), instances={}, roll=Roll())
        for instance in before.instances.values():
            record.note(evolve(instance))
    if admission.spec is not None:
        record.spec = admission.spec
        record.templates[admission.spec.template_generation] = templated(admission.spec, before)
    if admission.control is not None:
        record.control = admission.control
    return record
