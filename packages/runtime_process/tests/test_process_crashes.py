"""The owner of a runtime, its containers and their shims, killed at random moments under load."""

from __future__ import annotations

import importlib.util
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import trio
from orchestrion.runtime_process import ProcessRuntime, _processes, _record
from orchestrion.runtime_process._record import ProcessName
from orchestrion.shared_types import ContainerState

PROGRAM = Path(__file__).with_name("crash_owner.py")
SEED = int(os.environ.get("ORCHESTRION_CRASH_SEED", "7"))
KILLS = int(os.environ.get("ORCHESTRION_CRASH_KILLS", "100"))


@pytest.fixture
def owner() -> ModuleType:
    """The program that is killed, as a module."""
    spec = importlib.util.spec_from_file_location("runtime_process_crash_owner", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def running_processes(state_dir: Path) -> dict[int, tuple[ProcessName, ProcessName]]:
    """Return the shim and the main process of each container that is said to run, by its slot."""
    found = {}
    for directory in (state_dir / "containers").iterdir():
        with suppress(OSError, _record.RecordDamaged):
            head, body = _record.parse_record((directory / "record").read_bytes())
            if head.shim is not None and head.main_pid is not None and head.exit is None:
                main = ProcessName(boot_id=head.shim.boot_id, pid=head.main_pid, start_time=head.main_start_time)
                found[body.options.instance.index] = (head.shim, main)
    return found


def await_running(state_dir: Path) -> dict[int, tuple[ProcessName, ProcessName]]:
    """Return what runs, as soon as something does; nothing where that takes too long."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if (state_dir / "containers").exists() and (running := running_processes(state_dir)):
            return running
        time.sleep(0.01)
    return {}


def crash(state_dir: Path, starts: Path, seed: int, rounds: int) -> tuple[set[int], set[int]]:
    """Kill the owner `rounds` times, now and then a container or a shim. Return whose containers and whose shims."""
    chance = random.Random(seed)
    killed: set[int] = set()
    lost: set[int] = set()
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, str(PROGRAM), str(state_dir), str(starts)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        for number in range(rounds):
            # Ten rounds have the same containers to create: what one leaves the next must take up.
            program.stdin.write(f"{number // 10 * 40} {chance.randrange(1 << 30)}\n")
            program.stdin.flush()
            worker = int(program.stdout.readline())
            time.sleep(chance.uniform(0.0, 0.25))
            running = await_running(state_dir) if number % 3 == 0 else {}
            if running:
                index = chance.choice(sorted(running))
                shim, main = running[index]
                victim, victims = (shim, lost) if number % 2 else (main, killed)
                pidfd = _processes.open_process(victim, victim.boot_id)
                if pidfd is not None:
                    _processes.send_signal(pidfd, signal.SIGKILL)
                    os.close(pidfd)
                    victims.add(index)
            os.kill(worker, signal.SIGKILL)
            assert program.stdout.readline() == "ended\n"
        program.stdin.close()
    return killed, lost


async def settle(
    runtime: ProcessRuntime, harness: Any, owner: ModuleType, starts: Path, indexes: range
) -> dict[int, Any]:
    """Ask for every container once more; return how each ended, or None for one that runs."""
    ends: dict[int, Any] = {}

    async def settle_one(index: int) -> None:
        container_id = await runtime.create_container(owner.config(index, starts), owner.options(index))
        status = await runtime.get_container_status(container_id)
        if owner.exit_code(index) is not None:
            status = await harness.exited(runtime, container_id)
        ends[index] = status.exit if status.state is ContainerState.EXITED else None

    async with trio.open_nursery() as nursery:
        for index in indexes:
            nursery.start_soon(settle_one, index)
    return ends


@pytest.mark.slow
async def test_no_exit_code_is_lost_nothing_runs_twice_and_nothing_is_left(
    harness: Any, opened: Callable[..., Any], owner: ModuleType, tmp_path: Path
) -> None:
    state_dir, starts = tmp_path / "state", tmp_path / "starts"
    starts.mkdir()
    killed, lost = await trio.to_thread.run_sync(crash, state_dir, starts, SEED, KILLS)
    assert killed
    assert lost
    indexes = range((KILLS + 9) // 10 * 40)
    async with opened() as runtime:
        ends = await settle(runtime, harness, owner, starts, indexes)
        for index in indexes:
            mark = starts / str(index)
            started = len(mark.read_bytes()) if mark.exists() else 0
            status = ends[index]
            if index in lost:
                assert started <= 2, f"slot {index}"
                continue
            if index in killed and status is not None and status.signal == signal.SIGKILL:
                assert started <= 1, f"slot {index}, which may have been killed before it left its mark"
                continue
            assert started == 1, f"slot {index} was started {started} times"
            wanted = owner.exit_code(index)
            assert (None if status is None else status.code) == wanted, f"slot {index}: {status}"
        for index in lost:
            assert ends[index] is None or ends[index].reason in ("shim-lost", ""), ends[index]
        await harness.remove_all(runtime)
    assert harness.leftovers(state_dir) == []
