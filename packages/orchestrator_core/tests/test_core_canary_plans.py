"""Whatever happens to instances, plans bring no more of a new template than its canary until it is promoted."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from attrs import define, evolve, field
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.mocks import mock_nodes
from orchestrion.orchestrator_core._clock import Deadlines
from orchestrion.orchestrator_core._cluster.plan import WorkloadPlan
from orchestrion.orchestrator_core._cluster.workload_plan import plan_workload
from orchestrion.orchestrator_core._state.facts import Facts, target_generation, wanted_replicas
from orchestrion.orchestrator_core._state.records import (
    BindingRecord,
    InstanceName,
    WorkloadName,
    WorkloadProgress,
    WorkloadSpec,
)
from orchestrion.orchestrator_core._state.roll import Standing
from orchestrion.orchestrator_core._state.world import InstanceRecord, WorkloadRecord
from orchestrion.shared_types import (
    Binding,
    DesiredState,
    Drain,
    Gang,
    InstanceState,
    Node,
    NodeId,
    Uid,
    UpdateStrategy,
)
from orchestrion.store_interface import Revision

from .core_stage import service

UID = Uid("u")
START = datetime(2030, 1, 1, tzinfo=UTC)
NODES: Mapping[NodeId, Node] = {node.id: node for node in mock_nodes(1)}


@define(eq=False)
class Model:
    """A service in the middle of an update from generation 1 to generation 2, whose plans are carried out at once."""

    update: UpdateStrategy
    record: WorkloadRecord
    now: datetime = START
    clock: float = 0.0
    facts: Facts = field(init=False)

    def __attrs_post_init__(self) -> None:
        deadlines = Deadlines(lambda: self.now, lambda: self.clock)
        self.facts = Facts(NODES, NODES.keys(), frozenset(), {}, deadlines)

    @classmethod
    def of(cls, replicas: int, update: UpdateStrategy, gang: Gang | None) -> Model:
        """Return a service that was fully rolled out, and is to run another template."""
        made = service(replicas=replicas, update=update, gang=gang)
        made = evolve(made, metadata=evolve(made.metadata, uid=UID))
        after = evolve(made, containers=service("web", "run", "new").containers)
        record = WorkloadRecord(
            WorkloadName("default", "web"),
            spec=WorkloadSpec(definition=after, template_generation=2),
            progress=WorkloadProgress(uid=UID, run_generation=2, stable_generation=1, started_at=START),
            templates={1: made, 2: after},
        )
        model = cls(update, record)
        for slot in range(replicas):
            model.bind(InstanceName("default", "web", slot, 1), 1)
            model.become_healthy()
        return model

    def bind(self, name: InstanceName, generation: int) -> None:
        """Let an instance have its place."""
        binding = Binding(node_id=next(iter(NODES)), generation=generation, bound_at=self.now)
        instance = InstanceRecord(name, BindingRecord(workload_id=UID, binding=binding))
        instance.status_revision = Revision(1)
        self.record.note(instance)

    def change(self, instance: InstanceRecord, state: InstanceState, *, healthy: bool = False) -> None:
        """Let a node report an instance."""
        ended = state in (InstanceState.FAILED, InstanceState.SUCCEEDED)
        instance.status = evolve(
            instance.status,
            state=state,
            started_at=self.now,
            healthy_since=self.now if healthy else None,
            finished_at=self.now if ended else None,
        )
        self.record.note(instance)

    def carry_out(self) -> WorkloadPlan:
        """Make a plan, check it, and do what it says."""
        serving = {name for _, group in self.record.roll.standing(Standing.SERVING) for name in group}
        plan = plan_workload(self.record, self.facts)
        left = serving - {instance.name for instance, _ in plan.stop}
        floor = wanted_replicas(self.record) - self.update.max_unavailable
        assert len(left) >= min(len(serving), floor)
        for instance, reason in plan.stop:
            assert instance.bound is not None
            binding = evolve(instance.bound.binding, desired=DesiredState.STOP, stop_reason=reason)
            instance.bound = evolve(instance.bound, binding=binding)
            self.record.note(instance)
        for instance in plan.forget:
            del self.record.instances[instance.name]
            self.record.roll.forget(instance.name)
        if plan.progress is not None:
            self.record.progress = plan.progress
        for slot in plan.place:
            self.bind(slot.name, plan.generation)
        for generation in plan.drop_templates:
            del self.record.templates[generation]
        return plan

    def live(self, generation: int) -> int:
        """Return how many instances of a template are there and are to stay."""
        return sum(len(self.record.roll.of(each, generation)) for each in (Standing.SERVING, Standing.STARTING))

    def become_healthy(self) -> None:
        """Let all that is to run serve, and all that is to stop end."""
        for instance in list(self.record.instances.values()):
            if instance.ended or instance.bound is None:
                continue
            if instance.bound.binding.desired is DesiredState.STOP:
                self.change(instance, InstanceState.SUCCEEDED)
            elif instance.status.healthy_since is None:
                self.change(instance, InstanceState.RUNNING, healthy=True)

    def come_to_rest(self) -> None:
        """Let all go well until a plan of it has nothing more to do."""
        for _ in range(100):
            self.pass_by(120.0)
            self.become_healthy()
            if self.carry_out().empty and not self.record.roll.waiting:
                return
        msg = "it does not come to rest"
        raise AssertionError(msg)

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)
        self.clock += seconds


updates = st.builds(
    UpdateStrategy,
    max_surge=st.integers(1, 2),
    max_unavailable=st.integers(0, 2),
    canary=st.integers(1, 4),
    progress_deadline_seconds=st.just(1e6),
    rollback=st.booleans(),
) | st.builds(
    UpdateStrategy,
    max_surge=st.just(0),
    max_unavailable=st.integers(1, 2),
    canary=st.integers(1, 4),
    progress_deadline_seconds=st.just(1e6),
)
models = st.builds(Model.of, st.integers(1, 5), updates, st.sampled_from([None, None, Gang(), Gang(minimum=1)]))
what_happens = st.lists(
    st.tuples(st.sampled_from(["healthy", "sick", "fails", "ends", "scale", "later"]), st.integers(0, 7)), max_size=20
)


def happen(model: Model, what: str, which: int) -> None:
    """Let something happen to one of the instances, or to the service."""
    live = [each for each in model.record.instances.values() if not each.ended]
    chosen = live[which % len(live)] if live else None
    if what == "scale":
        control = evolve(model.record.control, replicas=which, scaled_from=len_of(model))
        model.record.control = control
    elif what == "later":
        model.pass_by(10.0 * which)
    elif chosen is not None and chosen.bound is not None:
        stops = chosen.bound.binding.desired is DesiredState.STOP
        if what == "fails":
            model.change(chosen, InstanceState.FAILED)
        elif stops or what == "ends":
            model.change(chosen, InstanceState.SUCCEEDED)
        else:
            model.change(chosen, InstanceState.RUNNING, healthy=what == "healthy")


def len_of(model: Model) -> int:
    """Return how many instances the author wants."""
    assert model.record.spec is not None
    return model.record.spec.definition.replicas


def test_what_was_there_leaves_a_node_that_is_drained_and_is_replaced_by_the_same() -> None:
    model = Model.of(4, UpdateStrategy(max_surge=1, max_unavailable=0, canary=1), None)
    model.come_to_rest()
    assert (model.live(1), model.live(2)) == (3, 1)
    drain = Drain(reason="repair")
    model.facts.nodes = {node_id: evolve(node, cordoned=True, drain=drain) for node_id, node in NODES.items()}
    plan = plan_workload(model.record, model.facts)
    assert (len(plan.place), plan.generation) == (1, 1)


def test_a_service_that_was_removed_and_made_again_has_no_canary() -> None:
    model = Model.of(4, UpdateStrategy(canary=1), None)
    for instance in list(model.record.instances.values()):
        del model.record.instances[instance.name]
        model.record.roll.forget(instance.name)
    assert model.record.progress is not None
    model.record.progress = evolve(model.record.progress, uid=Uid("of the one before"))
    plan = plan_workload(model.record, model.facts)
    assert (len(plan.place), plan.generation) == (4, 2)


@pytest.mark.slow
@given(models, what_happens)
def test_there_are_never_more_of_the_new_template_than_the_canary(model: Model, things: list[tuple[str, int]]) -> None:
    for what, which in things:
        happen(model, what, which)
        model.carry_out()
        assert model.live(2) <= model.update.canary
    model.come_to_rest()
    wanted = wanted_replicas(model.record)
    rolled_back = target_generation(model.record) == 1
    new = 0 if rolled_back else min(model.update.canary, wanted)
    assert (model.live(1), model.live(2)) == (wanted - new, new)
    # While it waits nothing is written, and no time counts.
    plan = plan_workload(model.record, model.facts)
    assert (plan.empty, plan.wake_after) == (True, None)


@pytest.mark.slow
@given(models, what_happens, what_happens)
def test_an_update_that_is_promoted_ends_with_nothing_but_the_new_template(
    model: Model, before: list[tuple[str, int]], after: list[tuple[str, int]]
) -> None:
    for what, which in before:
        happen(model, what, which)
        model.carry_out()
    model.record.control = evolve(model.record.control, promoted=2)
    for what, which in after:
        happen(model, what, which)
        model.carry_out()
    model.come_to_rest()
    old = wanted_replicas(model.record) if target_generation(model.record) == 1 else 0
    assert (model.live(1), model.live(2)) == (old, wanted_replicas(model.record) - old)
