"""The instances of a workload, sorted change by change, are where a look at each of them would put them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.mocks import mock_nodes
from orchestrion.orchestrator_core._clock import Deadlines
from orchestrion.orchestrator_core._cluster.plan import WorkloadPlan
from orchestrion.orchestrator_core._cluster.planning import Planning
from orchestrion.orchestrator_core._control.summary import summarize
from orchestrion.orchestrator_core._state.facts import Facts, available_of, healthy_wait
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
    InstanceKey,
    InstanceState,
    InstanceStatus,
    InternalError,
    NodeId,
    Uid,
    UpdateStrategy,
)
from orchestrion.store_interface import Revision

from .core_stage import service

NOW = datetime(2030, 1, 1, tzinfo=UTC)
STATES = [state for state in InstanceState if state is not InstanceState.LOST]

bindings = st.none() | st.builds(
    lambda node, generation, stop, lost: BindingRecord(
        workload_id=Uid("u"),
        binding=Binding(
            node_id=NodeId(f"node-{node}"),
            generation=generation,
            desired=DesiredState.STOP if stop or lost else DesiredState.RUN,
            lost_at=NOW if lost else None,
        ),
    ),
    st.integers(0, 2),
    st.integers(1, 3),
    st.booleans(),
    st.booleans(),
)
statuses = st.none() | st.builds(
    lambda state, healthy: InstanceStatus(state=state, healthy_since=NOW if healthy else None),
    st.sampled_from(STATES),
    st.booleans(),
)
changes = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3), bindings, statuses), max_size=40)


def workload_after(
    taken: Iterable[tuple[int, int, BindingRecord | None, InstanceStatus | None]],
    after_each: Callable[[WorkloadRecord], object] = lambda _: None,
) -> WorkloadRecord:
    """Return a workload whose instances have changed so, one after another."""
    workload = WorkloadRecord(WorkloadName("default", "web"))
    records = dict[InstanceName, InstanceRecord]()
    for slot, epoch, bound, status in taken:
        name = InstanceName("default", "web", slot, epoch)
        record = records.setdefault(name, InstanceRecord(name))
        # When an instance was placed does not change.
        placed = NOW + timedelta(seconds=7 * slot + epoch) if epoch < 3 else None
        record.bound = bound and evolve(bound, binding=evolve(bound.binding, bound_at=placed))
        record.status = status or InstanceStatus()
        record.status_revision = Revision(0) if status is None else Revision(7)
        workload.note(record)
        if name not in workload.instances:
            del records[name]
        after_each(workload)
    assert workload.instances == records
    return workload


def standing_of(record: InstanceRecord) -> Standing:
    """Return where an instance stands, from what the words mean."""
    bound, status = record.bound, record.status
    if record.ended:
        return Standing.FAILED if status.state is InstanceState.FAILED else Standing.ENDED
    if bound is None:
        return Standing.UNBOUND
    if bound.binding.desired is DesiredState.STOP:
        return Standing.STOPPING
    serves = status.state is InstanceState.RUNNING and status.healthy_since is not None
    return Standing.SERVING if serves else Standing.STARTING


def is_active(record: InstanceRecord, facts: Facts) -> bool:
    """Whether an instance is there and is to stay, from what the words mean."""
    bound = record.bound
    wanted = bound is not None and bound.binding.desired is DesiredState.RUN
    return wanted and bound is not None and not record.ended and bound.binding.node_id not in facts.lost


@given(changes)
def test_each_instance_is_found_where_it_stands_and_nowhere_else(
    taken: list[tuple[int, int, BindingRecord | None, InstanceStatus | None]],
) -> None:
    workload = workload_after(taken)
    roll = workload.roll
    found = {
        record.name: (standing, generation)
        for standing in Standing
        for generation, group in roll.standing(standing)
        for record in group.values()
    }
    assert found == {
        name: (standing_of(record), record.bound.binding.generation if record.bound is not None else 0)
        for name, record in workload.instances.items()
    }
    assert sum(len(group) for standing in Standing for _, group in roll.standing(standing)) == len(found)
    for name, (standing, generation) in found.items():
        assert roll.of(standing, generation)[name] is workload.instances[name]


@given(changes)
def test_nodes_slots_and_ends_are_those_of_the_instances(
    taken: list[tuple[int, int, BindingRecord | None, InstanceStatus | None]],
) -> None:
    workload = workload_after(taken)
    records = list(workload.instances.values())
    roll = workload.roll
    on_nodes = {(node_id, name) for node_id, group in roll.nodes.items() for name in group}
    assert on_nodes == {(r.bound.binding.node_id, r.name) for r in records if r.bound is not None and not r.ended}
    assert all(roll.nodes.values())
    for slot in range(5):
        assert {r.name for r in roll.in_slot(slot)} == {r.name for r in records if r.name.slot == slot}
    assert roll.held_slots == Counter(r.name.slot for r in records if not r.ended)
    assert all(roll.held_slots.values())
    assert {r.name for r in roll.ended} == {r.name for r in records if r.ended}
    for generation in range(1, 4):
        bound_to_it = {r.name for r in records if r.bound is not None and r.bound.binding.generation == generation}
        assert sorted(r.name for r in roll.of_generation(generation)) == sorted(bound_to_it)
    assert roll.generations == {r.bound.binding.generation for r in records if r.bound is not None}


@given(changes, st.sampled_from([None, 1, 2, 3]))
def test_the_first_placed_is_the_earliest_of_those_that_are_there(
    taken: list[tuple[int, int, BindingRecord | None, InstanceStatus | None]], generation: int | None
) -> None:
    # It is asked after each change, so that what was known before might outlive what it was known from.
    workload = workload_after(taken, after_each=lambda so_far: so_far.roll.first_placed(generation))
    bindings = [record.bound.binding for record in workload.instances.values() if record.bound is not None]
    placed = [each.bound_at for each in bindings if generation in (None, each.generation) and each.bound_at is not None]
    assert workload.roll.first_placed(generation) == min(placed, default=None)


@given(changes, st.sets(st.integers(0, 2)), st.sampled_from([0.0, 10.0, 60.0]))
def test_a_summary_counts_instances_as_a_look_at_each_would(
    taken: list[tuple[int, int, BindingRecord | None, InstanceStatus | None]], leased: set[int], min_healthy: float
) -> None:
    workload = workload_after(taken)
    definition = service(update=UpdateStrategy(min_healthy_seconds=min_healthy))
    workload.spec = WorkloadSpec(definition=definition, template_generation=2)
    facts = Facts(
        {},
        {NodeId(f"node-{n}") for n in leased},
        frozenset(),
        {},
        Deadlines(lambda: NOW + timedelta(seconds=30), lambda: 0.0),
    )
    view = summarize(workload, facts)
    records = workload.instances.values()
    live = [record for record in records if not record.ended]
    assert view is not None
    assert view.placed == len(live)
    assert view.available == sum(healthy_wait(record, definition.update, facts) == 0 for record in live)
    assert view.running == sum(record.state is InstanceState.RUNNING for record in live)
    assert view.updated == sum(r.bound is not None and r.bound.binding.generation == 2 for r in live)
    assert view.failed == sum(record.state is InstanceState.FAILED for record in records)


@given(
    changes,
    st.integers(1, 3),
    st.sets(st.integers(0, 2)),
    st.sets(st.integers(0, 2)),
    st.sets(st.integers(0, 2)),
    st.sampled_from([0.0, 60.0]),
)
def test_a_plan_sorts_instances_as_a_look_at_each_would(
    taken: list[tuple[int, int, BindingRecord | None, InstanceStatus | None]],
    generation: int,
    leased: set[int],
    lost: set[int],
    drained: set[int],
    min_healthy: float,
) -> None:
    workload = workload_after(taken)
    definition = service(update=UpdateStrategy(min_healthy_seconds=min_healthy))
    nodes = [evolve(node, id=NodeId(f"node-{n}")) for n, node in enumerate(mock_nodes(3))]
    facts = Facts(
        {
            node.id: evolve(node, cordoned=True, drain=Drain(reason="repair")) if n in drained else node
            for n, node in enumerate(nodes)
        },
        {NodeId(f"node-{n}") for n in leased - lost},
        {NodeId(f"node-{n}") for n in lost},
        {},
        Deadlines(lambda: NOW + timedelta(seconds=30), lambda: 0.0),
    )
    planning = Planning(workload, facts, WorkloadPlan(), definition, WorkloadProgress(uid=Uid("u")), generation)

    active = [record for record in workload.instances.values() if is_active(record, facts)]
    going = {record.name for record in active if planning.is_old(record) or planning.is_leaving(record)}
    current, outgoing = planning.active()
    assert outgoing.keys() == going
    assert current.keys() == {record.name for record in active} - going
    waits = {record.name: healthy_wait(record, definition.update, facts) for record in workload.instances.values()}
    assert planning.available() == {name for name, wait in waits.items() if wait == 0}
    later = [wait for wait in waits.values() if wait]
    assert planning.plan.wake_after == (min(later) if later else None)
    assert available_of(workload, definition.update, facts) == (planning.available(), min(later, default=0.0))
    held = {record.name.slot for record in workload.instances.values() if not record.ended}
    assert list(planning.free_slots(3)) == [slot for slot in range(10) if slot not in held][:3]


def test_nothing_is_left_of_instances_that_have_come_and_gone() -> None:
    bound = BindingRecord(workload_id=Uid("u"), binding=Binding(node_id=NodeId("n"), generation=1))
    workload = workload_after(
        (slot, epoch, kept, None) for slot in range(20) for epoch in range(1, 4) for kept in (bound, None)
    )
    assert workload.empty
    assert not workload.roll.nodes
    assert not workload.roll.held_slots
    assert not workload.roll.generations
    assert workload.roll.first_placed() is None
    assert not any(workload.roll.in_slot(slot) for slot in range(20))


def test_an_instance_is_known_by_one_key_for_as_long_as_it_is_bound_to_the_same_workload() -> None:
    """A workload that is removed and applied again has another id, and its instances may have the names of old ones."""
    binding = Binding(node_id=NodeId("n"), generation=1)
    record = InstanceRecord(
        InstanceName("default", "web", 3, 2), BindingRecord(workload_id=Uid("old"), binding=binding)
    )
    old = record.key

    assert old == InstanceKey(Uid("old"), 3, 2)
    assert record.key is old

    record.bound = BindingRecord(workload_id=Uid("new"), binding=binding)
    assert record.key == InstanceKey(Uid("new"), 3, 2)

    record.bound = None
    with pytest.raises(InternalError, match="no binding"):
        _ = record.key
