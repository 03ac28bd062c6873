"""Commands in containers: where one is to run, and by what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial

from orchestrion.orchestrator_core._state.world import World
from orchestrion.runtime_interface import (
    ContainerRuntime,
    ExecSession,
    RuntimeCapability,
    SupportsExec,
    SupportsTerminals,
    TerminalSize,
)
from orchestrion.shared_types import (
    ConfigInvalid,
    ContainerId,
    ContainerState,
    InstanceNotFound,
    Problem,
    Unsupported,
)

from .logs import find_instance

RunCommand = Callable[[ContainerId, Sequence[str]], AbstractAsyncContextManager[ExecSession]]


def commands_of(runtime: ContainerRuntime, terminal: TerminalSize | None) -> RunCommand:
    """Return what runs commands in containers, and refuses what is none: with pipes, or each at a terminal of a size.

    Raises:
        Unsupported: The runtime has no such thing.
    """
    if not isinstance(runtime, SupportsExec) or RuntimeCapability.EXEC not in runtime.capabilities:
        msg = "the runtime can't run commands in containers"
        raise Unsupported(msg)
    if terminal is None:
        return partial(_run_checked, runtime.exec_in_container)
    if not isinstance(runtime, SupportsTerminals) or RuntimeCapability.TERMINALS not in runtime.capabilities:
        msg = "the runtime can't run commands at terminals"
        raise Unsupported(msg, remedy="Run it without a terminal.")
    return partial(_run_checked, partial(runtime.exec_at_terminal, size=terminal))


def _run_checked(
    run: RunCommand, container: ContainerId, command: Sequence[str]
) -> AbstractAsyncContextManager[ExecSession]:
    if not command:
        raise ConfigInvalid((Problem("a program is wanted, with its arguments", path="command"),))
    bad = [number for number, word in enumerate(command) if "\0" in word]
    if bad:
        raise ConfigInvalid(tuple(Problem("no word can have a NUL in it", path=f"command[{number}]") for number in bad))
    return run(container, command)


def running_container(world: World, namespace: str, instance: str, container: str | None) -> ContainerId:
    """Return a container of an instance that runs: the one of a name, or the first.

    Raises:
        InstanceNotFound: There is no such instance, or it has no such container that runs.
    """
    record = world.instances[find_instance(world, namespace, instance)]
    for status in record.status.containers:
        if container in (None, status.name) and status.state is ContainerState.RUNNING:
            return status.container_id
    what = f"container {container!r}" if container is not None else "container"
    msg = f"instance {record.name.short!r} has no {what} that runs"
    raise InstanceNotFound(msg, remedy=f"See how it is doing: orchestrion status {record.name.workload}")
