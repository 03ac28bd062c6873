"""Daemons: updates that do not go well."""

from __future__ import annotations

import trio
from orchestrion.shared_types import PortMapping, RestartCondition, RestartPolicy, UpdateStrategy

from .core_stage import Stage, container, daemon

IN_PLACE = UpdateStrategy(max_surge=0, max_unavailable=1)
NEVER = RestartPolicy(condition=RestartCondition.NEVER, jitter=0.0)


async def test_a_template_that_does_not_work_takes_a_daemon_off_no_more_nodes_than_permitted(stage: Stage) -> None:
    await stage.apply(daemon(update=IN_PLACE))
    await stage.apply(daemon("agent", "exit", "1", update=IN_PLACE, restart=NEVER))
    for _ in range(60):
        await trio.sleep(60)
        assert len(stage.running("agent")) >= 2


async def test_a_daemon_with_a_static_port_is_updated_in_place(stage: Stage) -> None:
    ports = (PortMapping(name="p", host_port=9100),)
    await stage.apply(daemon(containers=(container("main", "run", "token", "old", ports=ports),)))
    await trio.sleep(5)
    await stage.apply(daemon(containers=(container("main", "run", "token", "new", ports=ports),)))
    for _ in range(30):
        await trio.sleep(1)
        assert len(stage.running("agent")) >= 2
    await trio.sleep(300)
    assert [running.behaviour.token for running in stage.running("agent")] == ["new"] * 3
