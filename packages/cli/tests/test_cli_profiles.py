"""A scheduler with another profile is chosen by a name, and `plan` tells how nodes score."""

from __future__ import annotations

import json
from typing import Any

import pytest
from orchestrion.cli._plugins import load_plugin

APP = """
    workloads:
      web:
        kind: service
        containers: [{name: main, command: [sleep, "1"], resources: {cpu: 1000m, memory: 1Gi}}]
    """
MODULE = """
    from contextlib import asynccontextmanager

    from orchestrion.mocks import ClusterWorld, MockClusterManager
    from orchestrion.scheduler_packing import PackingScheduler, Profile
    from orchestrion.shared_types import Node, NodeId, Resources


    @asynccontextmanager
    async def open_cluster(folder):
        rooms = [Resources(cpu_millicores=cpu, memory_bytes=4 << 30, disk_bytes=1 << 40) for cpu in (2000, 4000)]
        nodes = [
            Node(id=NodeId(f"n{number}"), name=f"n{number}", capacity=room, allocatable=room)
            for number, room in enumerate(rooms)
        ]
        manager = MockClusterManager(ClusterWorld(nodes))
        await manager.initialize()
        yield manager


    def make_scheduler():
        return PackingScheduler(profile=Profile(name="mine", weights={"spread": 2, "balance": 1}))
    """


@pytest.mark.parametrize(
    "name",
    ["packing", "packing-spread", "packing-gpu", "packing-throughput", "packing-history", "packing-learning"],
)
def test_profiles_are_chosen_by_the_name_of_a_scheduler(name: str) -> None:
    assert load_plugin("scheduler", name)().capabilities >= load_plugin("scheduler", "packing")().capabilities


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scheduler", "told"),
    [
        (
            "mine=ours:make_scheduler",
            [
                "    score 2500 = 750 spread x 2 + 1000 balance x 1",
                "    next best n0 with 2000 = 625 spread x 2 + 750 balance x 1",
            ],
        ),
        ("packing", ["    score -", "    next best n1 with -"]),
        ("packing-throughput", ["    score 0", "    next best n1 with 0"]),
    ],
)
def test_a_plan_tells_what_nodes_score(shell: Any, scheduler: str, told: list[str]) -> None:
    shell.write("ours.py", MODULE)
    shell.state.mkdir(mode=0o700)
    plugins = {"cluster": "two=ours:open_cluster", "scheduler": scheduler}
    (shell.state / "lock").write_text(json.dumps({"at_work": False, "plugins": plugins}))
    planned = shell.run("plan", str(shell.write("app.yaml", APP)))
    assert planned.returncode == 1, planned.stderr
    lines = [line for line in planned.stdout.splitlines() if "score" in line or "next best" in line]
    assert [line.startswith(begin) for line, begin in zip(lines, told, strict=True)] == [True, True], planned.stdout
