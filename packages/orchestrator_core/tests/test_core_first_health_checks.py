"""Until the first verdict a container is tried often, and given up no sooner than its author said."""

from __future__ import annotations

import trio
from orchestrion.shared_types import ExecProbe, HealthCheck, RestartPolicy

from .core_stage import Stage, container, service

POLICY = RestartPolicy(initial_delay_seconds=1, factor=2, max_delay_seconds=5, jitter=0)
CHECK = HealthCheck(probe=ExecProbe(command=("true",)), interval_seconds=2, unhealthy_threshold=3)


async def test_a_slow_start_is_not_given_up_before_the_failures_that_the_author_allows(stage: Stage) -> None:
    stage.prober.sick = lambda _: trio.current_time() < 5
    await stage.apply(service(containers=(container(health=CHECK),), restart=POLICY))
    await trio.sleep(5.5)
    (instance,) = await stage.instances("web")
    assert instance.status.healthy_since is not None
    assert [start.attempt for start in stage.containers.start_records] == [0]


async def test_a_container_that_never_serves_is_given_up_after_the_failures_that_the_author_allows(
    stage: Stage,
) -> None:
    stage.prober.sick = lambda _: True
    await stage.apply(service(containers=(container(health=CHECK),), restart=POLICY))
    await trio.sleep(5.5)
    assert [start.attempt for start in stage.containers.start_records] == [0]
    await trio.sleep(4)
    assert len(stage.containers.start_records) > 1
