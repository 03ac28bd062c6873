"""The orchestrator as a service in somebody's own nursery."""

from __future__ import annotations

from collections.abc import Callable

import trio
from orchestrion.cluster_interface import ClusterManager
from orchestrion.orchestrator_core._control.orchestrator import Orchestrator
from orchestrion.runtime_interface import ContainerRuntime
from orchestrion.scheduler_interface import Scheduler
from orchestrion.store_interface import StateStore

Options = Callable[[ContainerRuntime, ClusterManager, Scheduler, StateStore], Orchestrator]


async def start_orchestrator_service(
    runtime: ContainerRuntime,
    cluster: ClusterManager,
    scheduler: Scheduler,
    store: StateStore,
    make: Options = Orchestrator,
    *,
    task_status: trio.TaskStatus[Orchestrator] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run an orchestrator until cancelled; `await nursery.start(...)` gives it as the handle once it is at work.

    Args:
        runtime: Runs containers.
        cluster: Knows the nodes.
        scheduler: Decides where slots go.
        store: Where everything is recorded.
        make: Makes the orchestrator; replace it to set options, by a function of the same four.
        task_status: Set by the nursery.

    Raises:
        OrchestrationError: As `Orchestrator.run`.
    """
    orchestrator = make(runtime, cluster, scheduler, store)

    async def announce(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        await orchestrator.run(task_status=task_status)

    async with trio.open_nursery() as nursery:
        await nursery.start(announce)
        task_status.started(orchestrator)
