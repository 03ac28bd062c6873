"""Containers that do what no container should, on purpose or not: it costs them, and nobody else."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import trio
from orchestrion.runtime_process import ProcessRuntime
from orchestrion.shared_types import ContainerState

DIGS = """
import os
for _ in range(1100):
    os.mkdir("deeper-than-any-path")
    os.chdir("deeper-than-any-path")
    open("file", "w").close()
"""

HOPS = """
import os
if os.fork():
    os._exit(5)
os.setsid()
while True:
    if os.fork():
        os._exit(0)
"""


@pytest.mark.slow
async def test_directories_deeper_than_any_path_are_removed(harness: Any, runtime: ProcessRuntime) -> None:
    container_id = await runtime.create_container(harness.python(DIGS), harness.options())
    assert (await harness.exited(runtime, container_id)).exit.code == 0
    await runtime.remove_container(container_id)


async def test_what_forks_faster_than_it_can_be_found_ends_with_its_container(
    harness: Any, runtime: ProcessRuntime, tmp_path: Path
) -> None:
    container_id = await runtime.create_container(harness.python(HOPS), harness.options())
    with trio.fail_after(8):
        assert (await harness.exited(runtime, container_id)).exit.code == 5
    assert harness.contained(tmp_path / "state") == set()


async def test_groups_that_a_container_makes_within_its_own_go_with_it(harness: Any, runtime: ProcessRuntime) -> None:
    script = """
import os, sys, time
for line in open("/proc/self/cgroup"):
    number, controllers, path = line.strip().split(":", 2)
    if "orchestrion" in path and controllers in ("pids", "freezer"):
        inner = "/sys/fs/cgroup/" + controllers + path + "/mine/deeper"
        os.makedirs(inner)
        with open(inner + "/cgroup.procs", "w") as file:
            file.write("0")
print("ready", flush=True)
time.sleep(100000)
"""
    container_id = await runtime.create_container(harness.python(script), harness.options())
    await harness.wait_for_line(runtime, container_id)
    with trio.fail_after(8):
        await runtime.stop_container(container_id, grace_seconds=0)


async def test_a_record_that_a_container_overwrites_costs_only_its_own_exit_status(
    harness: Any, runtime: ProcessRuntime, tmp_path: Path
) -> None:
    other = await runtime.create_container(harness.SLEEPS, harness.options(1))
    config = harness.shell("mkfifo f; read x < f; echo gone > ../record")
    container_id = await runtime.create_container(config, harness.options())
    fifo = tmp_path / "state/containers" / container_id / "work/f"
    await harness.until(fifo.exists, "the fifo is made")
    with harness.pipe_to(fifo) as tell:
        tell("go")
        status = await harness.exited(runtime, container_id)
    assert status.exit.reason == "record-lost"
    assert (await runtime.get_container_status(other)).state is ContainerState.RUNNING


async def test_a_container_whose_directory_is_taken_away_ends_and_can_be_removed(
    harness: Any, runtime: ProcessRuntime, tmp_path: Path
) -> None:
    container_id = await runtime.create_container(harness.shell("echo; exec sleep 100000"), harness.options())
    await harness.wait_for_line(runtime, container_id)
    shutil.rmtree(tmp_path / "state/containers" / container_id)
    with trio.fail_after(8):
        await runtime.stop_container(container_id, grace_seconds=0)
        status = await runtime.get_container_status(container_id)
        assert status.exit is not None
        await runtime.remove_container(container_id)
