"""How the package is found, and what it is."""

from __future__ import annotations

from importlib.metadata import entry_points

from orchestrion.runtime_interface import (
    ContainerRuntime,
    SupportsEvents,
    SupportsExec,
    SupportsLogs,
    SupportsStats,
    SupportsTerminals,
)
from orchestrion.runtime_process import ProcessRuntime, open_runtime


def test_it_is_found_as_the_runtime_named_process() -> None:
    (found,) = entry_points(group="orchestrion.runtimes", name="process")
    assert found.load() is open_runtime


async def test_it_is_a_runtime_with_every_ability(runtime: ProcessRuntime) -> None:
    checked: ContainerRuntime = runtime
    logs: SupportsLogs = runtime
    commands: SupportsExec = runtime
    terminals: SupportsTerminals = runtime
    stats: SupportsStats = runtime
    events: SupportsEvents = runtime
    assert {checked, logs, commands, terminals, stats, events} == {runtime}
    assert len(runtime.capabilities) == 5
