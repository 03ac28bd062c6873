"""Services: their size, their updates, and what replaces what has failed."""

from __future__ import annotations

from itertools import pairwise

import pytest
import trio
from attrs import evolve
from orchestrion.orchestrator_core import WorkloadPhase
from orchestrion.orchestrator_core._cluster.workload_plan import plan_workload
from orchestrion.orchestrator_core._state.facts import Facts
from orchestrion.shared_types import (
    ExecProbe,
    HealthCheck,
    InstanceState,
    Resources,
    RestartCondition,
    RestartPolicy,
    UpdateStrategy,
    WorkloadDefinition,
)

from .core_stage import NODE, Stage, container, service


async def test_all_containers_of_an_instance_run(stage: Stage) -> None:
    await stage.apply(service(containers=(container("server"), container("proxy"), container("logger"))))
    assert [running.config.name for running in stage.running()] == ["logger", "proxy", "server"]
    (instance,) = await stage.instances("web")
    assert [status.name for status in instance.status.containers] == ["server", "proxy", "logger"]
    assert instance.status.state is InstanceState.RUNNING


async def test_a_service_gets_its_replicas_and_is_healthy(stage: Stage) -> None:
    await stage.apply(service(replicas=5))
    assert stage.slots("web") == [(slot, 1) for slot in range(5)]
    view = await stage.view("web")
    assert (view.phase, view.available, view.updated) == (WorkloadPhase.HEALTHY, 5, 5)


async def test_scaling_up_adds_instances_and_leaves_the_others_alone(stage: Stage) -> None:
    await stage.apply(service(replicas=2))
    before = stage.ids()
    await stage.orchestrator.scale("web", 4)
    await stage.settle()
    assert len(stage.running()) == 4
    assert stage.ids()[:2] == before


async def test_scaling_down_takes_the_newest_first(stage: Stage) -> None:
    await stage.apply(service(replicas=2))
    await trio.sleep(5)
    await stage.orchestrator.scale("web", 4)
    await trio.sleep(5)
    await stage.orchestrator.scale("web", 2)
    await stage.settle()
    assert stage.slots("web") == [(0, 1), (1, 1)]


async def test_scaling_down_takes_the_unhealthy_before_the_newest(stage: Stage) -> None:
    check = HealthCheck(probe=ExecProbe(command=("true",)), unhealthy_threshold=100)
    stage.prober.sick = lambda tried: tried.options.instance.index == 0
    await stage.apply(service(replicas=3, containers=(container(health=check),)))
    await trio.sleep(1)
    await stage.orchestrator.scale("web", 2)
    await stage.settle()
    assert stage.slots("web") == [(1, 1), (2, 1)]


async def test_scaling_to_zero_stops_everything_and_back_starts_it(stage: Stage) -> None:
    await stage.apply(service(replicas=3))
    await stage.orchestrator.scale("web", 0)
    await stage.settle()
    assert stage.running() == []
    assert (await stage.view("web")).phase is WorkloadPhase.HEALTHY
    await stage.orchestrator.scale("web", 1)
    await stage.settle()
    assert stage.slots("web") == [(0, 2)]


async def test_a_new_template_replaces_every_instance(stage: Stage) -> None:
    await stage.apply(service(replicas=3))
    await stage.apply(service("web", "run", "token", "new", replicas=3))
    await trio.sleep(5)
    assert [running.behaviour.token for running in stage.running()] == ["new"] * 3
    view = await stage.view("web")
    assert (view.phase, view.generation) == (WorkloadPhase.HEALTHY, 2)


async def test_what_does_not_change_the_template_replaces_nothing(stage: Stage) -> None:
    await stage.apply(service(replicas=2))
    before = stage.ids()
    await stage.apply(service(replicas=3, update=UpdateStrategy(max_surge=2)))
    assert stage.ids()[:2] == before
    assert len(stage.running()) == 3


async def test_an_update_waits_until_the_new_instance_was_healthy_for_long_enough(stage: Stage) -> None:
    strategy = UpdateStrategy(max_surge=1, max_unavailable=0, min_healthy_seconds=10)
    await stage.apply(service(replicas=1, update=strategy))
    await trio.sleep(20)
    await stage.apply(service("web", "run", "token", "new", replicas=1, update=strategy))
    await trio.sleep(9)
    assert [running.behaviour.token for running in stage.running()] == ["", "new"]
    await trio.sleep(2)
    assert [running.behaviour.token for running in stage.running()] == ["new"]


async def test_an_update_waits_for_the_health_check(stage: Stage) -> None:
    check = HealthCheck(probe=ExecProbe(command=("true",)), unhealthy_threshold=1000)
    old = service(replicas=2, containers=(container(health=check),))
    await stage.apply(old)
    await trio.sleep(1)
    stage.prober.sick = lambda tried: tried.behaviour.token == "new"
    await stage.apply(evolve(old, containers=(container("main", "run", "token", "new", health=check),)))
    await trio.sleep(60)
    assert [running.behaviour.token for running in stage.running()].count("") == 2
    stage.prober.sick = lambda _: False
    await trio.sleep(60)
    assert [running.behaviour.token for running in stage.running()] == ["new", "new"]


async def test_an_update_that_makes_no_progress_within_its_deadline_is_rolled_back(stage: Stage) -> None:
    check = HealthCheck(probe=ExecProbe(command=("true",)), unhealthy_threshold=1000)
    strategy = UpdateStrategy(progress_deadline_seconds=30)
    old = service(replicas=2, containers=(container(health=check),), update=strategy)
    await stage.apply(old)
    await trio.sleep(1)
    before = stage.ids()
    stage.prober.sick = lambda tried: tried.behaviour.token == "new"
    await stage.apply(evolve(old, containers=(container("main", "run", "token", "new", health=check),)))
    await trio.sleep(29)
    assert len(stage.running()) == 3
    await trio.sleep(5)
    assert stage.ids() == before
    view = await stage.view("web")
    assert (view.phase, view.reason, view.generation) == (WorkloadPhase.HEALTHY, "rolled-back", 1)
    assert "made no progress" in view.message
    assert "RolledBack" in await stage.event_reasons("workload/web")


async def test_an_update_whose_starts_fail_is_rolled_back_long_before_its_deadline(stage: Stage) -> None:
    await stage.apply(service(replicas=2))
    before = stage.ids()
    await stage.apply(service("web", "exit", "7", replicas=2))
    await trio.sleep(30)
    assert stage.ids() == before
    view = await stage.view("web")
    assert (view.phase, view.reason) == (WorkloadPhase.HEALTHY, "rolled-back")
    assert "starts failed" in view.message


async def test_after_a_rollback_the_next_template_is_tried_again(stage: Stage) -> None:
    await stage.apply(service(replicas=1))
    await stage.apply(service("web", "exit", "7", replicas=1))
    await trio.sleep(30)
    await stage.apply(service("web", "run", "token", "good", replicas=1))
    await trio.sleep(5)
    assert [running.behaviour.token for running in stage.running()] == ["good"]
    view = await stage.view("web")
    assert (view.phase, view.reason, view.generation) == (WorkloadPhase.HEALTHY, "", 3)


async def test_without_rollback_a_failed_update_stays_and_says_so(stage: Stage) -> None:
    strategy = UpdateStrategy(rollback=False)
    await stage.apply(service(replicas=2, update=strategy))
    before = stage.ids()
    await stage.apply(service("web", "exit", "7", replicas=2, update=strategy))
    await trio.sleep(60)
    assert set(before) <= set(stage.ids())
    view = await stage.view("web")
    assert (view.phase, view.reason, view.generation) == (WorkloadPhase.DEGRADED, "update-failed", 2)


async def test_the_first_template_has_nothing_to_go_back_to(stage: Stage) -> None:
    await stage.apply(service("web", "exit", "7"))
    await trio.sleep(60)
    view = await stage.view("web")
    assert (view.phase, view.reason) == (WorkloadPhase.DEGRADED, "update-failed")


@pytest.mark.parametrize(("surge", "unavailable"), [(1, 0), (0, 1), (2, 1), (3, 0)])
async def test_an_update_keeps_its_bounds_at_every_step(stage: Stage, surge: int, unavailable: int) -> None:
    replicas = 4
    strategy = UpdateStrategy(max_surge=surge, max_unavailable=unavailable, min_healthy_seconds=1)
    await stage.apply(service("web", "starting", "300ms", "term-takes", "2s", replicas=replicas, update=strategy))
    await trio.sleep(10)
    seen = list[tuple[int, int]]()

    def look() -> None:
        now = [record for record in stage.orchestrator.world.instances.values() if not record.ended]
        serving = sum(
            record.state is InstanceState.RUNNING and record.status.healthy_since is not None for record in now
        )
        wanted = sum(record.state is not InstanceState.TERMINATING for record in now)
        seen.append((wanted, serving))

    stage.orchestrator.world.on_instance(lambda _name, _record: look())
    await stage.apply(service("web", "starting", "300ms", "token", "new", replicas=replicas, update=strategy))
    await trio.sleep(60)
    assert [running.behaviour.token for running in stage.running()] == ["new"] * replicas
    assert max(wanted for wanted, _ in seen) <= replicas + surge
    assert min(serving for _, serving in seen) >= replicas - unavailable
    assert (max(wanted for wanted, _ in seen) > replicas) == (surge > 0)


async def test_a_failed_instance_is_replaced_after_a_wait_that_grows(stage: Stage) -> None:
    policy = RestartPolicy(condition=RestartCondition.NEVER, initial_delay_seconds=2, factor=3, jitter=0)
    await stage.apply(service("web", "exit", "1", "after", "1s", restart=policy))
    await trio.sleep(60)
    starts = [start.at for start in stage.containers.start_records]
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    assert gaps[:3] == pytest.approx([3.0, 7.0, 19.0], abs=0.1)
    assert [start.instance.epoch for start in stage.containers.start_records] == list(range(1, len(starts) + 1))


async def test_a_service_whose_container_vanishes_gets_another(stage: Stage) -> None:
    await stage.apply(service())
    (before,) = stage.ids()
    stage.containers.vanish(before)
    await trio.sleep(40)
    (after,) = stage.running()
    assert after.container_id != before
    assert after.options.attempt == 1


async def test_stop_all_stops_everything_and_apply_starts_it_again(stage: Stage) -> None:
    await stage.apply(service("a", "term-takes", "3s", replicas=2), service("b"))
    await stage.orchestrator.stop_all()
    assert stage.running() == []
    assert {view.phase for view in await stage.orchestrator.list_workloads()} == {WorkloadPhase.STOPPED}
    await stage.apply(service("a", "term-takes", "3s", replicas=2))
    assert len(stage.running("a")) == 2
    assert stage.running("b") == []


async def test_a_container_that_ignores_sigterm_is_killed_after_its_grace(stage: Stage) -> None:
    await stage.apply(service(containers=(container("main", "run", "ignore-term", stop_grace_seconds=4),)))
    await stage.orchestrator.stop("web")
    await trio.sleep(3.5)
    assert len(stage.running()) == 1
    assert (await stage.view("web")).phase is WorkloadPhase.STOPPING
    await trio.sleep(1)
    assert stage.running() == []


async def test_where_there_is_no_room_beside_what_does_not_serve_it_goes_first(stage: Stage) -> None:
    node = stage.cluster.get_node(NODE)
    assert node is not None
    whole = Resources(cpu_millicores=node.allocatable.cpu_millicores)
    check = HealthCheck(probe=ExecProbe(command=("true",)), unhealthy_threshold=1000)
    sick = {0, 2}
    stage.prober.sick = lambda tried: tried.options.instance.epoch == 1 and tried.options.instance.index in sick

    def whole_nodes(*command: str) -> WorkloadDefinition:
        return service(replicas=3, containers=(container("main", *command, resources=whole, health=check),))

    await stage.apply(whole_nodes("run"))
    await trio.sleep(60)
    assert (await stage.view("web")).available == 1
    await stage.apply(whole_nodes("run", "token", "new"))
    await trio.sleep(60)
    # The one that serves stays: nothing may be unavailable, and there is no room beside it.
    assert [(c.options.instance.index, c.behaviour.token) for c in stage.running()] == [(0, "new"), (1, ""), (2, "new")]
    sick.add(1)
    await trio.sleep(2000)
    assert [c.behaviour.token for c in stage.running()] == ["new"] * 3


async def test_what_nobody_can_speak_for_may_serve_and_does_not_go_first(stage: Stage) -> None:
    check = HealthCheck(probe=ExecProbe(command=("true",)), unhealthy_threshold=1000)
    stage.prober.sick = lambda _: True
    await stage.apply(service(replicas=3, containers=(container(health=check),)))
    await trio.sleep(5)
    record = next(iter(stage.orchestrator.world.workloads.values()))
    assert record.spec is not None
    record.templates[2] = record.spec.definition
    record.spec = evolve(record.spec, template_generation=2)
    facts = stage.orchestrator.cluster_loop.facts
    assert len(plan_workload(record, facts).stop) == 3
    unled = Facts(facts.nodes, frozenset(), frozenset(), facts.workloads, facts.deadlines)
    assert plan_workload(record, unled).stop == []
