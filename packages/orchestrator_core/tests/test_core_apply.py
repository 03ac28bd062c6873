"""The one way in: apply, plan, explain, scale, stop and remove."""

from __future__ import annotations

import pytest
import trio
from attrs import evolve
from orchestrion.orchestrator_core import MAX_APPLIED, ChangeAction, Unschedulable, WorkloadName, WorkloadPhase
from orchestrion.scheduler_interface import FullScanScheduler
from orchestrion.shared_types import (
    ConfigInvalid,
    Conflict,
    ContainerConfig,
    InstanceAffinity,
    Placement,
    PortMapping,
    Resources,
    UpdateStrategy,
    WorkloadDefinition,
    WorkloadNotFound,
)
from orchestrion.store_interface import Revision
from trio.testing import MockClock

from .core_stage import SECOND, Stage, after, batch, container, daemon, service, staged


def content(stage: Stage) -> int:
    return stage.state.revision


async def test_one_bad_workload_leaves_everything_as_it_was(stage: Stage) -> None:
    before = content(stage)
    with pytest.raises(ConfigInvalid):
        await stage.orchestrator.apply([service("good"), service("bad", containers=())])
    assert content(stage) == before
    assert await stage.orchestrator.list_workloads() == []


async def test_every_problem_is_named_at_once(stage: Stage) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        await stage.orchestrator.apply([service("a", containers=()), service("b"), service("b")])
    assert len(caught.value.problems) >= 2


async def test_more_than_one_apply_can_take_are_refused(stage: Stage) -> None:
    with pytest.raises(ConfigInvalid, match="more than 5,000"):
        await stage.orchestrator.apply([service()] * (MAX_APPLIED + 1))
    assert await stage.orchestrator.list_workloads() == []


async def test_more_than_a_transaction_takes_is_applied_as_one(stage: Stage) -> None:
    seen = set[int]()
    world = stage.orchestrator.world

    async def look() -> None:
        while True:
            seen.add(len(world.workloads))
            await world.wait_for(Revision(world.revision + 1))

    names = [f"w{n:03}" for n in range(100)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        result = await stage.orchestrator.apply([service(name, replicas=0) for name in names])
        await stage.settle()
        nursery.cancel_scope.cancel()
    assert seen == {0, 100}
    views = await stage.orchestrator.list_workloads()
    assert [view.definition.metadata.name for view in views] == names
    assert max(world.workloads[WorkloadName("default", name)].spec_revision for name in names) == result.revision
    again = await stage.orchestrator.apply([service(name, replicas=0) for name in names])
    assert {change.action for change in again.changes} == {ChangeAction.UNCHANGED}


async def test_a_dependant_never_misses_what_comes_with_it(stage: Stage) -> None:
    # The names are in the order in which they are written: what all others come after is the last.
    first = [batch(f"a{n:03}", after=after("z")) for n in range(60)]
    await stage.apply(*first, batch("z"))
    await stage.settle()
    assert {view.phase for view in await stage.orchestrator.list_workloads()} == {WorkloadPhase.SUCCEEDED}


async def test_applying_the_same_again_writes_nothing(stage: Stage) -> None:
    await stage.apply(service(replicas=2))
    before = content(stage)
    result = await stage.orchestrator.apply([service(replicas=2)])
    assert content(stage) == before
    assert [change.action for change in result.changes] == [ChangeAction.UNCHANGED]
    assert result.changes[0].generation == 1


async def test_a_dry_run_says_what_would_change_and_changes_nothing(stage: Stage) -> None:
    await stage.apply(service())
    before = content(stage)
    result = await stage.orchestrator.apply([service(replicas=2), service("new")], dry_run=True)
    await trio.sleep(1)
    assert [change.action for change in result.changes] == [ChangeAction.UPDATE, ChangeAction.CREATE]
    assert content(stage) == before


async def test_a_plan_shows_each_field_that_changes(stage: Stage) -> None:
    await stage.apply(service(replicas=2))
    plan = await stage.orchestrator.plan([service("web", "run", "token", "new", replicas=3)])
    (change,) = plan.changes
    assert plan.changes_anything
    assert change.restarts
    shown = {difference.path: (difference.before, difference.after) for difference in change.differences}
    assert shown == {
        "containers[0].command": ('["run"]', '["run", "token", "new"]'),
        "replicas": ("2", "3"),
    }
    assert not (await stage.orchestrator.plan([service(replicas=2)])).changes_anything


async def test_a_plan_says_where_new_slots_would_go_and_why_not(stage: Stage) -> None:
    huge = container("main", "run", resources=Resources(cpu_millicores=1_000_000))
    plan = await stage.orchestrator.plan([service("ok", replicas=2), service("huge", containers=(huge,))])
    placed = {placement.instance: placement for placement in plan.placements}
    assert placed["ok.0"].node_id is not None
    assert placed["huge.0"].node_id is None
    assert "cpu" in placed["huge.0"].text
    assert stage.running() == []


async def test_explain_says_why_a_slot_is_nowhere_until_it_has_a_place(stage: Stage) -> None:
    await stage.apply(service(placement=Placement(select={"disk": "ssd"})))
    (placement,) = await stage.orchestrator.explain("web")
    assert (placement.instance, placement.node_id) == ("web.0", None)
    assert placement.text
    view = await stage.view("web")
    assert (view.phase, view.reason) == (WorkloadPhase.PENDING, "unplaceable")
    node = stage.cluster.get_node(SECOND)
    assert node is not None
    stage.cluster.update_node(evolve(node, labels={"disk": "ssd"}))
    await stage.settle()
    (placement,) = await stage.orchestrator.explain("web")
    assert (placement.instance, placement.node_id) == ("web.0.1", SECOND)
    assert placement.text == "it was placed there, and stays"


async def test_explain_tells_what_nodes_would_score_for_what_has_its_place() -> None:
    async with staged(scheduler=FullScanScheduler) as stage:
        await stage.apply(service(replicas=2))
        before = stage.orchestrator.cluster_loop.keeper.view()
        for placement in await stage.orchestrator.explain("web"):
            assert placement.node_id is not None
            assert placement.text == "it was placed there, and stays"
            scores = placement.explanation.scores
            assert len(scores) == 2
            assert scores[placement.node_id] == max(scores.values())
            assert placement.explanation.parts.keys() == scores.keys()
        assert stage.orchestrator.cluster_loop.keeper.view().revision == before.revision


async def test_explain_tells_a_node_that_would_be_better_by_now() -> None:
    async with staged(scheduler=FullScanScheduler) as stage:
        await stage.apply(service())
        (placed,) = await stage.orchestrator.explain("web")
        assert placed.node_id is not None
        others = sorted({node.id for node in stage.cluster.list_nodes()} - {placed.node_id})
        for node_id in others:
            await stage.apply(service(f"for-{node_id}", placement=Placement(select={"node": node_id})))
        (placed,) = await stage.orchestrator.explain("web")
        scores = placed.explanation.scores
        assert placed.node_id is not None
        assert scores.keys() == {placed.node_id, others[0]}
        assert scores[others[0]] > scores[placed.node_id]


async def test_explain_scores_nothing_where_an_instance_could_not_be_placed_anew() -> None:
    async with staged(scheduler=FullScanScheduler) as stage:
        await stage.apply(service())
        (placed,) = await stage.orchestrator.explain("web")
        assert placed.node_id is not None
        node = stage.cluster.get_node(placed.node_id)
        assert node is not None
        stage.cluster.update_node(evolve(node, cordoned=True))
        await stage.settle()
        (placed,) = await stage.orchestrator.explain("web")
        assert placed.explanation.scores == {}


async def test_a_plan_says_why_a_slot_would_go_there(stage: Stage) -> None:
    (placement,) = (await stage.orchestrator.plan([service(placement=Placement(select={"name": "a"}))])).placements
    assert placement.node_id is None
    assert placement.text.startswith("3 nodes: ")
    (placement,) = (await stage.orchestrator.plan([service()])).placements
    assert placement.node_id is not None
    assert placement.text == "it fits there"


async def test_what_has_no_place_gets_one_as_soon_as_something_ends(stage: Stage) -> None:
    big = (container("main", "run", resources=Resources(cpu_millicores=4000)),)
    await stage.apply(service("a", replicas=3, containers=big))
    await stage.apply(service("b", containers=big))
    assert stage.running("b") == []
    await stage.orchestrator.scale("a", 2)
    await stage.settle()
    assert len(stage.running("b")) == 1


async def test_embedded_a_workload_that_no_node_could_run_is_refused(stage: Stage) -> None:
    stage.orchestrator.refuse_impossible = True
    before = content(stage)
    huge = (container("main", "run", resources=Resources(cpu_millicores=1_000_000)),)
    with pytest.raises(Unschedulable) as caught:
        await stage.orchestrator.apply([service("fine"), service("huge", containers=huge)])
    assert caught.value.workload == "huge"
    assert content(stage) == before


async def test_all_that_no_node_can_run_are_named_at_once_each_with_what_would_help(stage: Stage) -> None:
    stage.orchestrator.refuse_impossible = True
    huge = (container("main", "run", resources=Resources(cpu_millicores=1_000_000)),)
    zoned = Placement(select={"zone": "a"})
    with pytest.raises(Unschedulable) as caught:
        await stage.orchestrator.apply(
            [service("huge", containers=huge), service("fine"), service("zoned", placement=zoned)]
        )
    assert [refused.workload for refused in caught.value.impossible] == ["huge", "zoned"]
    title, first, second = caught.value.message.splitlines()
    assert title == "no node could ever run 2 of these workloads"
    assert first.startswith("'huge': 3 nodes: cpu short by")
    assert "; it would fit: on node node-00000: lower cpu to" in first
    assert second == "'zoned': 3 nodes: not zone=a; it would fit: on node node-00000: drop selector zone"


@pytest.mark.parametrize("at_once", [True, False], ids=["in_one_manifest", "one_after_the_other"])
async def test_embedded_who_requires_a_neighbour_is_accepted_and_runs_beside_it(
    autojump_clock: MockClock, at_once: bool
) -> None:
    beside = Placement(instance_affinities=(InstanceAffinity(match_labels={"grp": "x"}),))
    owner, guest = service("b2", labels={"grp": "x"}), service("b3", placement=beside)
    async with staged(scheduler=FullScanScheduler) as stage:
        stage.orchestrator.refuse_impossible = True
        for together in [[guest, owner]] if at_once else [[owner], [guest]]:
            await stage.apply(*together)
        await trio.sleep(2)
        assert (await stage.view("b3")).phase is WorkloadPhase.HEALTHY
        (home,) = await stage.orchestrator.explain("b2")
        (place,) = await stage.orchestrator.explain("b3")
        assert home.node_id is not None
        assert place.node_id == home.node_id


async def test_embedded_who_requires_a_neighbour_must_fit_on_a_node_otherwise(autojump_clock: MockClock) -> None:
    beside = Placement(select={"zone": "none"}, instance_affinities=(InstanceAffinity(match_labels={"grp": "x"}),))
    async with staged(scheduler=FullScanScheduler) as stage:
        stage.orchestrator.refuse_impossible = True
        with pytest.raises(Unschedulable, match="not zone=none"):
            await stage.orchestrator.apply([service("b3", placement=beside)])


def listening(port: int | None = 8080) -> tuple[ContainerConfig, ...]:
    return (container("main", "run", ports=(PortMapping(name="http", host_port=port),)),)


@pytest.mark.parametrize("second", [service("b", containers=listening()), daemon("b", containers=listening())])
async def test_embedded_who_wants_a_port_more_often_than_there_are_nodes_is_refused(
    autojump_clock: MockClock, second: WorkloadDefinition
) -> None:
    async with staged(1) as stage:
        stage.orchestrator.refuse_impossible = True
        before = content(stage)
        with pytest.raises(Unschedulable) as caught:
            await stage.orchestrator.apply([service("a", containers=listening()), second])
        assert caught.value.message.startswith("workloads 'a' and 'b' ask for the same port 8080/tcp")
        assert caught.value.message.endswith("2 instances at the same time, and only 1 node could ever run them")
        assert "another port" in caught.value.remedy
        assert [refused.workload for refused in caught.value.impossible] == ["a", "b"]
        assert content(stage) == before


async def test_embedded_a_clash_with_what_the_same_manifest_brought_before_is_refused(
    autojump_clock: MockClock,
) -> None:
    first = service("a", containers=listening())
    async with staged(1) as stage:
        stage.orchestrator.refuse_impossible = True
        await stage.apply(first)
        with pytest.raises(Unschedulable, match="8080/tcp"):
            await stage.orchestrator.apply([first, service("b", containers=listening())])


@pytest.mark.parametrize(
    ("nodes", "others"),
    [
        (2, [service("b", containers=listening())]),
        (1, [service("b", containers=listening(8081))]),
        (1, [service("b", containers=listening(None)), service("c", containers=listening(None))]),
        (1, [service("b", containers=listening(), replicas=0)]),
        (1, [batch("b", containers=listening()), batch("c", containers=listening())]),
    ],
    ids=["nodes_enough", "another_port", "leased_ports", "none_wanted", "batch_ends"],
)
async def test_embedded_who_can_share_the_nodes_ports_is_accepted(
    autojump_clock: MockClock, nodes: int, others: list[WorkloadDefinition]
) -> None:
    async with staged(nodes) as stage:
        stage.orchestrator.refuse_impossible = True
        result = await stage.orchestrator.apply([service("a", containers=listening()), *others])
        assert [change.action for change in result.changes] == [ChangeAction.CREATE] * (1 + len(others))


async def test_embedded_only_nodes_that_could_run_them_have_the_port(stage: Stage) -> None:
    stage.orchestrator.refuse_impossible = True
    there = Placement(select={"node": "node-00001"})
    pinned = [service(name, containers=listening(), placement=there) for name in ("a", "b")]
    with pytest.raises(Unschedulable, match="only 1 node could"):
        await stage.orchestrator.apply(pinned)


async def test_a_server_keeps_such_a_workload_as_pending(stage: Stage) -> None:
    huge = (container("main", "run", resources=Resources(cpu_millicores=1_000_000)),)
    await stage.apply(service("huge", containers=huge))
    assert (await stage.view("huge")).phase is WorkloadPhase.PENDING
    (event,) = [event for event in await stage.orchestrator.events() if event.reason == "Unplaceable"]
    assert event.message.startswith("1 instance has no place: 3 nodes: ")


async def test_scale_is_remembered_when_the_same_file_is_applied_again(stage: Stage) -> None:
    await stage.apply(service(replicas=2))
    await stage.orchestrator.scale("web", 4)
    await stage.apply(service("web", "run", "token", "new", replicas=2))
    await trio.sleep(10)
    view = await stage.view("web")
    assert (view.replicas, view.scaled, len(stage.running())) == (4, True, 4)
    (change,) = (await stage.orchestrator.plan([service("web", "run", "token", "new", replicas=2)])).changes
    assert change.note == "scale keeps it at 4 instead of 2"


async def test_another_number_in_the_file_takes_over_from_scale(stage: Stage) -> None:
    await stage.apply(service(replicas=2))
    await stage.orchestrator.scale("web", 4)
    await stage.apply(service(replicas=3))
    view = await stage.view("web")
    assert (view.replicas, view.scaled, len(stage.running())) == (3, False, 3)
    await stage.apply(service(replicas=2))
    assert len(stage.running()) == 2


async def test_scale_to_none_goes_back_to_the_file(stage: Stage) -> None:
    await stage.apply(service(replicas=2))
    await stage.orchestrator.scale("web", 4)
    assert (await stage.orchestrator.scale("web", None)).replicas == 2
    await stage.settle()
    assert len(stage.running()) == 2


@pytest.mark.parametrize("replicas", [-1, 10**9])
async def test_scale_refuses_absurd_numbers(stage: Stage, replicas: int) -> None:
    await stage.apply(service())
    with pytest.raises(ConfigInvalid):
        await stage.orchestrator.scale("web", replicas)


async def test_scaling_what_is_stopped_says_what_to_do_instead(stage: Stage) -> None:
    await stage.apply(service(replicas=2))
    await stage.orchestrator.stop("web")
    await stage.settle()
    before = content(stage)
    with pytest.raises(Conflict, match="is stopped") as caught:
        await stage.orchestrator.scale("web", 3)
    assert "orchestrion start web" in str(caught.value.remedy)
    assert content(stage) == before


async def test_only_services_are_scaled(stage: Stage) -> None:
    await stage.apply(batch(), daemon())
    for name in ("job", "agent"):
        with pytest.raises(ConfigInvalid):
            await stage.orchestrator.scale(name, 3)


async def test_what_does_not_exist_is_not_found(stage: Stage) -> None:
    for ask in (
        lambda: stage.orchestrator.get_workload("x"),
        lambda: stage.orchestrator.explain("x"),
        lambda: stage.orchestrator.scale("x", 1),
        lambda: stage.orchestrator.stop("x"),
        lambda: stage.orchestrator.remove("x"),
    ):
        with pytest.raises(WorkloadNotFound):
            await ask()


async def test_remove_stops_everything_and_leaves_nothing(stage: Stage) -> None:
    await stage.apply(service("web", "run", "term-takes", "3s", replicas=2))
    await stage.orchestrator.remove("web")
    await trio.sleep(1)
    assert (await stage.view("web")).phase is WorkloadPhase.STOPPING
    await trio.sleep(5)
    assert await stage.orchestrator.list_workloads() == []
    assert stage.containers.containers == {}
    keys = [entry.key for entry in (await stage.orchestrator.store.list("/")).entries]
    assert {key.split("/")[1] for key in keys} == {"event", "lease", "leader"}


async def test_while_it_is_being_removed_it_can_not_be_applied(stage: Stage) -> None:
    await stage.apply(service("web", "run", "term-takes", "3s"))
    await stage.orchestrator.remove("web")
    with pytest.raises(Conflict):
        await stage.orchestrator.apply([service()])


async def test_a_namesake_of_a_removed_workload_is_another_workload(stage: Stage) -> None:
    await stage.apply(service())
    before = await stage.view("web")
    await stage.orchestrator.remove("web")
    await stage.settle()
    await stage.apply(service())
    now = await stage.view("web")
    assert now.definition.metadata.uid != before.definition.metadata.uid
    assert now.definition.metadata.generation == 1
    assert len(stage.running()) == 1


async def test_stop_keeps_the_workload_and_apply_starts_it_again(stage: Stage) -> None:
    await stage.apply(service(replicas=2))
    await stage.orchestrator.stop("web")
    await stage.settle()
    assert stage.running() == []
    assert (await stage.view("web")).phase is WorkloadPhase.STOPPED
    result = await stage.orchestrator.apply([service(replicas=2)])
    await stage.settle()
    assert result.changes[0].differences[0].note == "it was stopped, and starts again"
    assert len(stage.running()) == 2


async def test_only_those_start_that_are_named(stage: Stage) -> None:
    names = ("a", "b")
    await stage.apply(*(service(name) for name in names))
    for name in names:
        await stage.orchestrator.stop(name)
    await stage.settle()
    starts = {WorkloadName("default", "b")}
    plan = await stage.orchestrator.plan([service(name) for name in names], starts=starts)
    result = await stage.orchestrator.apply([service(name) for name in names], starts=starts)
    assert plan.changes == result.changes
    assert [change.note for change in result.changes] == ["it is stopped, and stays so", ""]
    assert [placement.instance.partition(".")[0] for placement in plan.placements] == ["b"]
    await stage.settle()
    assert [(await stage.view(name)).phase for name in names] == [WorkloadPhase.STOPPED, WorkloadPhase.HEALTHY]


async def test_a_stopped_workload_can_be_changed_without_being_started(stage: Stage) -> None:
    await stage.apply(service(replicas=2))
    await stage.orchestrator.stop("web")
    await stage.settle()
    result = await stage.orchestrator.apply([service(replicas=3)], starts=False)
    await stage.settle()
    assert (result.changes[0].generation, stage.running()) == (2, [])
    assert (result.changes[0].note, result.changes[0].restarts) == ("it is stopped, and stays so", False)
    await stage.orchestrator.apply([service(replicas=3)])
    await stage.settle()
    assert len(stage.running()) == 3


async def test_two_authors_at_once_both_get_their_way_or_a_conflict(stage: Stage) -> None:
    async def author(number: int) -> None:
        await stage.orchestrator.apply([service(replicas=number), service(f"own{number}")])

    async with trio.open_nursery() as nursery:
        for number in range(1, 5):
            nursery.start_soon(author, number)
    await stage.settle()
    view = await stage.view("web")
    assert view.definition.metadata.generation == 4
    assert len(stage.running("web")) == view.replicas
    assert {v.definition.metadata.name for v in await stage.orchestrator.list_workloads()} == {
        "web",
        *(f"own{number}" for number in range(1, 5)),
    }


async def test_namespaces_keep_namesakes_apart(stage: Stage) -> None:
    await stage.apply(service(), service(namespace="other", replicas=2))
    assert len(stage.running("web")) == 3
    await stage.orchestrator.remove("web", namespace="other")
    await stage.settle()
    assert len(stage.running("web")) == 1
    assert [v.definition.metadata.namespace for v in await stage.orchestrator.list_workloads()] == ["default"]


async def test_a_strategy_alone_can_change_while_an_update_runs(stage: Stage) -> None:
    slow = UpdateStrategy(min_healthy_seconds=1000)
    await stage.apply(service(replicas=2, update=slow))
    await trio.sleep(1100)
    await stage.apply(service("web", "run", "token", "new", replicas=2, update=slow))
    await trio.sleep(10)
    assert sum(c.behaviour.token == "new" for c in stage.running()) == 1
    await stage.apply(service("web", "run", "token", "new", replicas=2))
    await trio.sleep(10)
    assert [c.behaviour.token for c in stage.running()] == ["new", "new"]


async def test_who_wants_a_port_that_others_hold_everywhere_is_told_who_they_are(autojump_clock: MockClock) -> None:
    async with staged(2, scheduler=FullScanScheduler) as stage:
        await stage.apply(service("holds", replicas=2, containers=listening()))
        wants = service("wants", containers=listening())
        (change,) = (await stage.orchestrator.apply([wants], dry_run=True)).changes
        told = "2 nodes: port tcp/8080 is taken; tcp/8080 is held by holds"
        assert change.note == f"no node takes it now: {told}"
        (placement,) = (await stage.orchestrator.plan([wants])).placements
        assert (placement.node_id, placement.text) == (None, told)
        await stage.apply(wants)
        (explained,) = await stage.orchestrator.explain("wants")
        assert explained.text.startswith(told)


@pytest.mark.parametrize(
    "applied",
    [
        (service("wants", containers=listening(8081)),),
        (service("wants", containers=listening(None)),),
        (service("wants", containers=listening()), service("holds", replicas=2, containers=listening(9090))),
        (service("holds", "run", "anew", replicas=2, containers=listening()),),
        (service("holds", replicas=2, containers=listening()),),
    ],
    ids=["another_port", "leased_port", "given_back_with_it", "its_own", "unchanged"],
)
async def test_a_port_that_is_not_in_the_way_is_not_told_of(
    autojump_clock: MockClock, applied: tuple[WorkloadDefinition, ...]
) -> None:
    async with staged(2, scheduler=FullScanScheduler) as stage:
        await stage.apply(service("holds", replicas=2, containers=listening()))
        changes = (await stage.orchestrator.apply(applied, dry_run=True)).changes
        assert [change.note for change in changes] == [""] * len(applied)


@pytest.mark.parametrize("preempts", [True, False])
async def test_a_port_is_told_of_unless_it_can_be_taken_from_its_holder(
    autojump_clock: MockClock, preempts: bool
) -> None:
    async with staged(2, scheduler=FullScanScheduler) as stage:
        await stage.apply(service("holds", replicas=2, containers=listening(), priority=0))
        wants = service("wants", containers=listening(), priority=1, preempts=preempts)
        (change,) = (await stage.orchestrator.apply([wants], dry_run=True)).changes
        assert bool(change.note) is not preempts


async def test_a_priority_class_that_was_passed_on_is_looked_up_among_the_standard_ones(stage: Stage) -> None:
    await stage.apply(service(priority_class="batch"))
    definition = (await stage.view("web")).definition
    assert (definition.priority, definition.preempts, definition.priority_class) == (10_000, False, "")
    before = content(stage)
    with pytest.raises(ConfigInvalid, match="unknown priority class 'gold'"):
        await stage.orchestrator.apply([service("good"), service("other", priority_class="gold")])
    assert content(stage) == before
