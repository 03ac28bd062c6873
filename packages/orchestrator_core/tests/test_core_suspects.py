"""A node on which one start after the other fails is taken last, until it is trusted again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
import trio
from attrs import define, evolve
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.orchestrator_core import WorkloadPhase
from orchestrion.orchestrator_core._cluster.suspects import (
    MAX_REMEMBERED,
    REMEMBERED_SECONDS,
    STARTS_IN_ROW,
    SUSPECT_SECONDS,
    SUSPECT_TAINT,
    Suspects,
)
from orchestrion.orchestrator_core._state.lifecycle import START_FAILED
from orchestrion.orchestrator_core._state.records import BindingRecord, InstanceName
from orchestrion.orchestrator_core._state.world import InstanceRecord
from orchestrion.scheduler_interface import SimpleScheduler
from orchestrion.shared_types import (
    Binding,
    ContainerState,
    ContainerStatus,
    ExitStatus,
    InstanceState,
    InstanceStatus,
    NodeId,
    RestartPolicy,
    Uid,
)
from orchestrion.store_interface import Revision
from trio.testing import MockClock

from .core_stage import NODE, SECOND, THIRD, BadNodeRuntime, Stage, batch, service

BEGIN = datetime(2000, 1, 1, tzinfo=UTC)
AT_ONCE = RestartPolicy(initial_delay_seconds=0.0, jitter=0.0)
MINUTE = 60.0


@pytest.fixture
async def stage(autojump_clock: MockClock) -> AsyncIterator[Stage]:
    """Give an orchestrator at work on three nodes, of which every start fails on the first."""
    async with trio.open_nursery() as nursery:
        made = Stage.build(nursery, 3)
        made.scheduler = SimpleScheduler
        made.runtime_class = BadNodeRuntime
        await made.start()
        yield made
        nursery.cancel_scope.cancel()
    assert made.forbidden == []


async def tainted(stage: Stage) -> set[NodeId]:
    return {node.id for node in await stage.orchestrator.list_nodes() if SUSPECT_TAINT in node.taints}


async def swallow(stage: Stage, count: int = STARTS_IN_ROW, name: str = "job") -> None:
    for n in range(count):
        await stage.apply(batch(f"{name}{n}", restart=AT_ONCE))


def mend(stage: Stage) -> None:
    """Let starts succeed everywhere from now on."""
    assert isinstance(stage.runtime, BadNodeRuntime)
    stage.runtime.broken = frozenset()


async def nodes_of(stage: Stage, name: str) -> set[NodeId]:
    return {each.binding.node_id for each in await stage.orchestrator.list_instances(workload=name)}


async def test_after_three_jobs_that_a_node_swallowed_the_next_go_elsewhere(stage: Stage) -> None:
    await swallow(stage)
    assert await tainted(stage) == {NODE}

    await stage.apply(batch("next", completions=4, restart=AT_ONCE), service("web", replicas=4))

    assert not await nodes_of(stage, "next") & {NODE}
    assert not {*stage.where("web")} & {NODE}
    assert len(stage.where("web")) == 4


async def test_a_job_with_retries_outlives_a_bad_node(stage: Stage) -> None:
    await stage.apply(batch("big", completions=10, retries=1, restart=AT_ONCE))
    await trio.sleep(MINUTE)

    assert (await stage.view("big")).phase is WorkloadPhase.SUCCEEDED
    assert {each.status.state for each in await stage.ended("big") if each.binding.node_id == NODE} == {
        InstanceState.FAILED
    }


async def test_two_failed_starts_mean_nothing_yet(stage: Stage) -> None:
    await swallow(stage, STARTS_IN_ROW - 1)
    assert await tainted(stage) == set()


async def test_people_are_told_once_why_a_node_is_avoided(stage: Stage) -> None:
    await swallow(stage)
    events = await stage.orchestrator.events(subject=f"node/{NODE}")
    assert [event.reason for event in events] == ["StartsFail"]
    assert "3 instances" in events[0].message
    assert "default/job0, default/job1, default/job2" in events[0].message


async def test_where_there_is_nowhere_else_a_suspect_node_is_taken(stage: Stage) -> None:
    await swallow(stage)
    for node_id in (SECOND, THIRD):
        node = stage.cluster.get_node(node_id)
        assert node is not None
        stage.cluster.update_node(evolve(node, cordoned=True))
    mend(stage)

    await stage.apply(service("web"))

    assert stage.where("web") == [NODE]
    assert await tainted(stage) == set()


async def test_a_suspect_node_is_trusted_again_after_ten_minutes_without_failures(stage: Stage) -> None:
    await swallow(stage)
    await trio.sleep(SUSPECT_SECONDS - MINUTE)
    assert await tainted(stage) == {NODE}
    await trio.sleep(2 * MINUTE)
    assert await tainted(stage) == set()


async def test_after_that_the_first_job_that_it_swallows_makes_it_suspect_again(stage: Stage) -> None:
    await swallow(stage)
    await trio.sleep(SUSPECT_SECONDS + MINUTE)
    await swallow(stage, 1, "later")
    assert await tainted(stage) == {NODE}


async def test_what_is_on_record_makes_a_node_suspect_after_a_restart(stage: Stage) -> None:
    await swallow(stage)
    await stage.restart()
    assert await tainted(stage) == {NODE}
    assert len(await stage.orchestrator.events(subject=f"node/{NODE}")) == 1
    await stage.apply(batch("next", restart=AT_ONCE))
    assert not await nodes_of(stage, "next") & {NODE}


async def test_a_node_that_has_left_is_forgotten(stage: Stage) -> None:
    await swallow(stage)
    node = stage.cluster.get_node(NODE)
    assert node is not None
    stage.cluster.remove_node(NODE)
    await trio.sleep(2 * MINUTE)
    mend(stage)
    stage.cluster.add_node(evolve(node))
    await stage.settle()
    assert await tainted(stage) == set()


# -- the rule alone


@define
class Clock:
    seconds: float = 0.0

    def __call__(self) -> datetime:
        return BEGIN + timedelta(seconds=self.seconds)


def record(slot: int, *, failed: float | None = None, started: float | None = None) -> InstanceRecord:
    at = BEGIN + timedelta(seconds=(started if failed is None else failed) or 0.0)
    status = ContainerStatus(name="main", state=ContainerState.RUNNING, started_at=at)
    if failed is not None:
        status = ContainerStatus(
            name="main", state=ContainerState.EXITED, exit=ExitStatus(reason=START_FAILED), finished_at=at
        )
    return InstanceRecord(
        InstanceName("default", "job", slot, 1),
        bound=BindingRecord(workload_id=Uid("u"), binding=Binding(node_id=NODE, generation=1)),
        binding_revision=Revision(1),
        status=InstanceStatus(containers=(status,)),
        status_revision=Revision(2),
    )


def told(records: Iterable[InstanceRecord], *, at: float) -> Suspects:
    """Return what follows from records that come one after the other."""
    world: dict[NodeId, dict[InstanceName, InstanceRecord]] = {NODE: {}}
    suspects = Suspects(world, Clock(at))
    for each in records:
        world[NODE][each.name] = each
        suspects.note(each)
    return suspects


def test_a_start_that_succeeds_clears_what_was_before_it() -> None:
    failures = [record(slot, failed=slot) for slot in range(STARTS_IN_ROW)]
    assert told(failures, at=10).is_suspect(NODE)
    assert not told([*failures, record(9, started=5)], at=10).is_suspect(NODE)

    later = [record(slot, failed=6 + slot) for slot in range(10, 10 + STARTS_IN_ROW)]
    assert told([*failures, record(9, started=5), *later], at=100).is_suspect(NODE)


def test_the_same_slot_again_and_again_is_one_failure() -> None:
    assert not told([record(0, failed=second) for second in range(10)], at=10).is_suspect(NODE)


def test_of_a_node_that_never_starts_anything_little_is_remembered() -> None:
    suspects = told([record(slot, failed=slot) for slot in range(10 * MAX_REMEMBERED)], at=200)
    assert [len(failed) for failed in suspects._failed.values()] == [MAX_REMEMBERED]
    assert isinstance(suspects.now, Clock)
    suspects.now.seconds += REMEMBERED_SECONDS
    assert suspects.look_again() == [NODE]
    assert suspects._failed == {}


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 700)), max_size=8).map(
        lambda drawn: [
            record(slot, failed=at) if fails else record(slot, started=at) for slot, (fails, at) in enumerate(drawn)
        ]
    ),
    st.randoms(use_true_random=False),
)
def test_the_order_in_which_records_come_and_how_often_makes_no_difference(
    records: list[InstanceRecord], random: Random
) -> None:
    shuffled = [*records, *records]
    random.shuffle(shuffled)
    assert told(records, at=700).is_suspect(NODE) == told(shuffled, at=700).is_suspect(NODE)
