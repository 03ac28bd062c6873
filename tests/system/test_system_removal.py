"""What was removed is gone from the machine, not only from the records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.slow

FINISHED = 40


def application(system: Any, container: Callable[..., dict[str, Any]]) -> str:
    writes = container("echo done > $VOLUME_KEPT/$ORCHESTRION_INDEX", volumes=["kept"])
    kept = {"terminal_instances": 1000}
    done = {"kind": "batch", "completions": FINISHED, "containers": [writes], "retention": kept}
    runs = {"kind": "service", "replicas": 2, "containers": [container("exec sleep 100000", stop_grace="1s")]}
    return str(system.manifest({"done": done, "runs": runs}, volumes={"kept": {}}))


@pytest.mark.parametrize("owned", [True, False], ids=["with an owner", "without one"])
def test_nothing_is_left_of_what_was_removed(
    system: Any, container: Callable[..., dict[str, Any]], owned: bool
) -> None:
    up = system.up(application(system, container), "--logs", "none")
    up.wait_for(f"done: Succeeded ({FINISHED}/{FINISHED} done)")
    assert len(list((system.state / "runtime-process" / "containers").iterdir())) == FINISHED + 2
    if not owned:
        up.process.kill()
        up.end()
    removed = system.run("rm", "--yes", "done", "runs")
    assert removed.returncode == 0, removed.stderr
    if owned:
        assert up.end() == 0
    assert system.leftovers() == []
