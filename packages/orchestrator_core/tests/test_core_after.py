"""`after:`: what waits for what, and what becomes of it when that can't hold any more."""

from __future__ import annotations

import pytest
import trio
from orchestrion.orchestrator_core import WorkloadPhase
from orchestrion.shared_types import (
    ConfigInvalid,
    Conflict,
    Dependency,
    DependencyCondition,
    ExecProbe,
    HealthCheck,
    PortMapping,
)

from .core_stage import Stage, after, batch, container, service

CHECK = HealthCheck(probe=ExecProbe(command=("true",)), unhealthy_threshold=1000)


async def test_it_waits_until_a_batch_workload_has_succeeded(stage: Stage) -> None:
    await stage.apply(batch("count", "exit", "0", "after", "5s", completions=2), batch("total", after=after("count")))
    view = await stage.view("total")
    assert (view.phase, view.message) == (WorkloadPhase.WAITING, "waits for count succeeded")
    assert {start.instance.index for start in stage.containers.start_records} == {0, 1}
    await trio.sleep(6)
    assert (await stage.view("total")).phase is WorkloadPhase.SUCCEEDED


async def test_it_waits_until_a_service_is_healthy(stage: Stage) -> None:
    stage.prober.sick = lambda _: trio.current_time() < 10
    await stage.apply(
        service("db", replicas=2, containers=(container(health=CHECK),)), service("web", after=after("db"))
    )
    await trio.sleep(9)
    assert stage.running("web") == []
    await trio.sleep(5)
    assert len(stage.running("web")) == 1


async def test_started_asks_for_no_health(stage: Stage) -> None:
    stage.prober.sick = lambda _: True
    await stage.apply(
        service("db", containers=(container(health=CHECK),)),
        service("web", after=after("db", DependencyCondition.STARTED)),
    )
    assert len(stage.running("web")) == 1


async def test_a_batch_workload_counts_as_started_with_one_instance(stage: Stage) -> None:
    await stage.apply(
        batch("count", "run", completions=3, parallelism=1),
        service("web", after=after("count", DependencyCondition.STARTED)),
    )
    assert len(stage.running("web")) == 1


async def test_it_gates_the_first_start_only(stage: Stage) -> None:
    await stage.apply(service("db"), service("web", after=after("db")))
    before = stage.ids("web")
    await stage.orchestrator.stop("db")
    await trio.sleep(10)
    assert stage.ids("web") == before
    stage.containers.vanish(before[0])
    await trio.sleep(60)
    assert len(stage.running("web")) == 1


async def test_when_the_dependency_fails_the_dependant_fails_with_its_last_words(stage: Stage) -> None:
    await stage.apply(batch("count", "print", "stderr", "no space", "exit", "3"), service("web", after=after("count")))
    view = await stage.view("web")
    assert (view.phase, view.reason) == (WorkloadPhase.FAILED, "dependency-failed")
    assert view.message == (
        "it comes after count failed: index 0 failed once: container main ended with code 3: no space"
    )
    assert stage.running("web") == []


async def test_a_failure_goes_down_the_chain(stage: Stage) -> None:
    await stage.apply(batch("a", "exit", "1"), batch("b", after=after("a")), batch("c", after=after("b")))
    assert (await stage.view("c")).phase is WorkloadPhase.FAILED
    assert len(stage.containers.start_records) == 1


async def test_the_dependant_revives_when_the_dependency_is_applied_anew(stage: Stage) -> None:
    await stage.apply(batch("count", "exit", "3"), service("web", after=after("count")))
    await stage.apply(batch("count", "exit", "0"))
    await trio.sleep(5)
    assert (await stage.view("web")).phase is WorkloadPhase.HEALTHY


async def test_what_failed_with_its_dependency_begins_with_it_and_not_before(stage: Stage) -> None:
    work = [batch("count", "exit", "3"), batch("total", after=after("count"))]
    await stage.apply(*work)
    count, total = (await stage.orchestrator.apply(work, rerun=True)).changes
    assert (count.generation, total.generation, total.note) == (2, 1, "")
    await stage.apply(batch("count"), work[1])
    await trio.sleep(5)
    assert (await stage.view("total")).phase is WorkloadPhase.SUCCEEDED


async def test_the_dependant_is_told_the_endpoints(stage: Stage) -> None:
    server = container("server", ports=(PortMapping(name="http"),))
    await stage.apply(service("web", replicas=2, containers=(server,)), batch("client", "run", after=after("web")))
    (client,) = stage.running("client")
    ports = sorted(running.config.env_vars["PORT_HTTP"] for running in stage.running("web"))
    told = client.config.env_vars["ORCHESTRION_ENDPOINTS_WEB_HTTP"].split(",")
    assert sorted(endpoint.rpartition(":")[2] for endpoint in told) == ports


async def test_what_it_comes_after_must_exist(stage: Stage) -> None:
    with pytest.raises(ConfigInvalid):
        await stage.orchestrator.apply([service("web", after=after("nothing"))])
    assert await stage.orchestrator.list_workloads() == []


async def test_a_circle_is_refused(stage: Stage) -> None:
    with pytest.raises(ConfigInvalid):
        await stage.orchestrator.apply([service("a", after=after("b")), service("b", after=after("a"))])
    await stage.apply(service("a"), service("b", after=after("a")))
    with pytest.raises(ConfigInvalid):
        await stage.orchestrator.apply([service("a", after=after("b"))])


async def test_what_others_wait_for_is_not_removed(stage: Stage) -> None:
    await stage.apply(batch("count", "run"), service("web", after=after("count")))
    with pytest.raises(Conflict, match="web waits for it"):
        await stage.orchestrator.remove("count")
    await stage.orchestrator.remove("web")
    await stage.settle()
    await stage.orchestrator.remove("count")
    await stage.settle()
    assert await stage.orchestrator.list_workloads() == []


async def test_several_dependencies_must_all_hold(stage: Stage) -> None:
    waits = (Dependency(workload="a"), Dependency(workload="b"))
    await stage.apply(
        batch("a", "exit", "0", "after", "5s"), batch("b", "exit", "0", "after", "10s"), batch("c", after=waits)
    )
    await trio.sleep(6)
    assert (await stage.view("c")).message == "waits for b succeeded"
    await trio.sleep(5)
    assert (await stage.view("c")).phase is WorkloadPhase.SUCCEEDED


async def test_a_chain_that_runs_again_runs_in_its_order_again(stage: Stage) -> None:
    chain = [batch("count", "exit", "0", "after", "5s"), batch("total", after=after("count"))]
    await stage.apply(*chain)
    await trio.sleep(10)
    await stage.orchestrator.apply(chain, rerun=True)
    await trio.sleep(2)
    assert (await stage.view("total")).message == "waits for count succeeded"
    await trio.sleep(10)
    assert (await stage.view("total")).phase is WorkloadPhase.SUCCEEDED
    assert len(stage.containers.start_records) == 4


async def test_it_is_woken_by_a_dependency_that_is_scaled_up_again(stage: Stage) -> None:
    await stage.apply(service("db"))
    await stage.orchestrator.scale("db", 0)
    await stage.apply(service("app", after=after("db")), service("web", after=after("app")))
    await trio.sleep(5)
    assert stage.running() == []
    await stage.orchestrator.scale("db", 1)
    await stage.settle()
    assert (len(stage.running("app")), len(stage.running("web"))) == (1, 1)


async def test_what_was_stopped_while_it_waited_does_not_start(stage: Stage) -> None:
    await stage.apply(batch("count", "exit", "0", "after", "5s"), service("web", after=after("count")))
    await stage.orchestrator.stop("web")
    await trio.sleep(10)
    assert ((await stage.view("web")).phase, stage.running("web")) == (WorkloadPhase.STOPPED, [])
    await stage.apply(service("web", after=after("count")))
    assert len(stage.running("web")) == 1


async def test_a_run_that_has_to_wait_ends_the_run_before_it(stage: Stage) -> None:
    await stage.apply(batch("first"), batch("second", "run", after=after("first")))
    assert len(stage.running("second")) == 1
    await stage.apply(batch("first", "run"), batch("second", "run", "trap", "0", after=after("first")))
    assert stage.running("second") == []
    stage.exit(stage.running("first")[0], 0)
    await stage.settle()
    assert stage.slots("second") == [(0, 2)]
