"""What happens when things go wrong around a container."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from orchestrion.runtime_interface import LogStream, RuntimeFailure, RuntimeUnavailable, StaleEpoch
from orchestrion.runtime_process import ProcessRuntime, _record, open_runtime
from orchestrion.shared_types import ContainerId, ContainerState, StateFailure

ESCAPES = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print("ready", flush=True)
        time.sleep(100000)
    os._exit(0)
os.wait()
time.sleep(100000)
"""


def edit_slot(state_dir: Path, container_id: ContainerId, slot: int, text: str) -> None:
    """Overwrite a slot of a container's record."""
    with (state_dir / "containers" / container_id / "record").open("r+b") as file:
        file.seek(slot * 512)
        file.write((text + "\n").encode().ljust(512, b"\0") if text else bytes(512))


@pytest.fixture(params=["control groups", "no control groups"])
def groups(request: pytest.FixtureRequest) -> dict[str, Any]:
    """With and without control groups."""
    return {} if request.param == "control groups" else {"cgroup_bases": {}}


async def test_an_escaped_process_dies_with_its_container(
    harness: Any, opened: Callable[..., Any], tmp_path: Path, groups: dict[str, Any]
) -> None:
    async with opened(**groups) as runtime:
        container_id = await runtime.create_container(harness.python(ESCAPES), harness.options())
        await harness.wait_for_line(runtime, container_id)
        assert len(harness.contained(tmp_path / "state")) == 2
        await runtime.stop_container(container_id, grace_seconds=0.05)
        assert harness.contained(tmp_path / "state") == set()
        status = await runtime.get_container_status(container_id)
        assert (status.state, status.exit.signal) == (ContainerState.EXITED, signal.SIGKILL)
        await harness.remove_all(runtime)
    assert harness.leftovers(tmp_path / "state") == []


async def test_what_is_left_after_the_main_process_is_killed_at_once(
    harness: Any, opened: Callable[..., Any], groups: dict[str, Any], tmp_path: Path
) -> None:
    async with opened(**groups) as runtime:
        script = "import os,time\nif os.fork(): os._exit(4)\nos.setsid(); time.sleep(100000)"
        container_id = await runtime.create_container(harness.python(script), harness.options())
        assert (await harness.exited(runtime, container_id)).exit.code == 4
        assert harness.contained(tmp_path / "state") == set()
        await harness.remove_all(runtime)
    assert harness.leftovers(tmp_path / "state") == []


async def test_a_lost_shim_takes_its_tree_along_and_the_attempt_ends_once(
    harness: Any, opened: Callable[..., Any], tmp_path: Path, groups: dict[str, Any]
) -> None:
    state_dir = tmp_path / "state"
    async with opened(**groups) as runtime:
        container_id = await runtime.create_container(harness.python(ESCAPES), harness.options())
        await harness.wait_for_line(runtime, container_id)
        os.kill(harness.shim_of(state_dir, container_id), signal.SIGKILL)
        status = await harness.exited(runtime, container_id)
        assert status.exit.reason == "shim-lost"
        assert (status.exit.code, status.exit.signal) == (None, None)
        assert harness.contained(tmp_path / "state") == set()
    async with opened(**groups) as runtime:
        assert await runtime.get_container_status(container_id) == status
        await harness.remove_all(runtime)
    assert harness.leftovers(state_dir) == []


async def test_a_shim_that_died_while_nobody_looked_is_found_lost(
    harness: Any, opened: Callable[..., Any], tmp_path: Path, groups: dict[str, Any]
) -> None:
    state_dir = tmp_path / "state"
    async with opened(**groups) as runtime:
        container_id = await runtime.create_container(harness.python(ESCAPES), harness.options())
        await harness.wait_for_line(runtime, container_id)
    os.kill(harness.shim_of(state_dir, container_id), signal.SIGKILL)
    async with opened(**groups) as runtime:
        status = await harness.exited(runtime, container_id)  # its end may only be under way
        assert status.exit.reason == "shim-lost"
        assert harness.contained(tmp_path / "state") == set()
        await harness.remove_all(runtime)
    assert harness.leftovers(state_dir) == []


async def test_the_exit_of_a_container_that_ended_while_nobody_looked_is_told(
    harness: Any, opened: Callable[..., Any], tmp_path: Path
) -> None:
    async with opened() as runtime:
        container_id = await runtime.create_container(harness.shell("exit 41"), harness.options())
        waits = await runtime.create_container(harness.shell("mkfifo f; read x < f; exit 42"), harness.options(1))
    shim = harness.shim_of(tmp_path / "state", container_id)
    async with opened() as runtime:
        assert (await harness.exited(runtime, container_id)).exit.code == 41
        # It writes down the exit before it ends itself.
        await harness.until(lambda: not Path(f"/proc/{shim}").exists(), "a shim of ours is reaped")
        fifo = tmp_path / "state/containers" / waits / "work/f"
        await harness.until(fifo.exists, "the fifo is made")
        with harness.pipe_to(fifo) as tell:
            tell("go")
            assert (await harness.exited(runtime, waits)).exit.code == 42
        await harness.remove_all(runtime)


async def test_a_pid_that_passed_to_a_stranger_is_left_alone(
    harness: Any, opened: Callable[..., Any], tmp_path: Path
) -> None:
    state_dir = tmp_path / "state"
    async with opened() as runtime:
        container_id = await runtime.create_container(harness.SLEEPS, harness.options())
        boot_id = (state_dir / "containers" / container_id / "record").read_bytes()[512:1024].split()[3].rstrip(b"\n\0")
    shim = harness.shim_of(state_dir, container_id)
    with subprocess.Popen(["sleep", "100000"]) as stranger:
        # As if the shim had died and its number had come to the stranger.
        edit_slot(state_dir, container_id, 1, f"shim {stranger.pid} 12345 {boot_id.decode()}")
        edit_slot(state_dir, container_id, 2, f"main {stranger.pid} 12345 1")
        async with opened() as runtime:
            status = await runtime.get_container_status(container_id)
            assert status.exit.reason == "shim-lost"
            await harness.remove_all(runtime)
        assert stranger.poll() is None, "the stranger lives"
        stranger.kill()
    await harness.until(lambda: not harness.is_alive(shim), "the true shim is swept as a stray")
    assert harness.leftovers(state_dir) == []


async def test_after_a_reboot_what_ran_has_ended(harness: Any, opened: Callable[..., Any], tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    async with opened() as runtime:
        container_id = await runtime.create_container(harness.SLEEPS, harness.options())
        ended = await runtime.create_container(harness.shell("exit 5"), harness.options(1))
        before = await harness.exited(runtime, ended)
    shim = _record.read_head(state_dir / "containers" / container_id).shim
    assert shim is not None
    os.kill(shim.pid, signal.SIGKILL)
    for one in (container_id, ended):
        path = state_dir / "containers" / one / "record"
        path.write_bytes(path.read_bytes().replace(shim.boot_id.encode(), b"0" * 36))
    async with opened() as runtime:
        status = await runtime.get_container_status(container_id)
        assert status.exit.reason == "node-rebooted"
        assert await runtime.get_container_status(ended) == before
        await harness.remove_all(runtime)
    await harness.until(lambda: harness.leftovers(state_dir) == [], "what the test killed is gone")


async def test_an_intent_that_never_started_is_removed_but_its_epoch_is_known(
    harness: Any, opened: Callable[..., Any], tmp_path: Path
) -> None:
    state_dir = tmp_path / "state"
    async with opened() as runtime:
        container_id = await runtime.create_container(harness.shell("exit 0"), harness.options(epoch=5))
        await harness.exited(runtime, container_id)
    for slot in (1, 2, 3, 4):
        edit_slot(state_dir, container_id, slot, "")
    async with opened() as runtime:
        assert await runtime.list_containers(harness.NODE) == []
        with pytest.raises(StaleEpoch) as caught:
            await runtime.create_container(harness.SLEEPS, harness.options(epoch=4))
        assert caught.value.known == 5
    assert harness.leftovers(state_dir) == []


@pytest.mark.parametrize(
    "change", [{"image": "busybox"}, {"args": ("\ud800",)}, {"command": ("no-such-program",)}], ids=str
)
async def test_the_epoch_of_what_was_refused_is_known_to_the_next_program(
    harness: Any, opened: Callable[..., Any], change: dict[str, Any]
) -> None:
    async with opened() as runtime:
        with pytest.raises(RuntimeFailure):
            await runtime.create_container(evolve(harness.SLEEPS, **change), harness.options(epoch=5))
    async with opened() as runtime:
        with pytest.raises(StaleEpoch) as caught:
            await runtime.create_container(harness.SLEEPS, harness.options(epoch=4))
        assert caught.value.known == 5


async def test_strays_of_this_owner_are_swept_and_those_of_others_are_not(
    harness: Any, opened: Callable[..., Any], tmp_path: Path
) -> None:
    state_dir = tmp_path / "state"
    async with opened() as runtime:
        lost = await runtime.create_container(harness.SLEEPS, harness.options())
    shutil.rmtree(state_dir / "containers" / lost)
    environment = {"ORCHESTRION_OWNER": "another", "ORCHESTRION_CONTAINER_ID": lost, "PATH": os.environ["PATH"]}
    with subprocess.Popen(["sleep", "100000"], env=environment) as stranger:
        async with opened() as runtime:
            assert await runtime.list_containers(harness.NODE) == []
            await harness.until(lambda: harness.leftovers(state_dir) == [], "the stray is swept")
        assert stranger.poll() is None
        stranger.kill()


async def test_a_damaged_record_is_put_aside_and_what_ran_for_it_is_killed(
    harness: Any, opened: Callable[..., Any], tmp_path: Path
) -> None:
    state_dir = tmp_path / "state"
    async with opened() as runtime:
        container_id = await runtime.create_container(harness.SLEEPS, harness.options())
    record = state_dir / "containers" / container_id / "record"
    record.write_bytes(record.read_bytes()[:4100])
    async with opened() as runtime:
        assert await runtime.list_containers(harness.NODE) == []
        await harness.until(lambda: harness.leftovers(state_dir) == [], "its tree is swept")
    assert (state_dir / "damaged" / container_id / "record").exists()


async def test_a_record_of_a_later_version_is_refused_and_nothing_is_touched(
    harness: Any, opened: Callable[..., Any], tmp_path: Path
) -> None:
    state_dir = tmp_path / "state"
    async with opened() as runtime:
        container_id = await runtime.create_container(harness.shell("exit 0"), harness.options())
        await harness.exited(runtime, container_id)
    record = state_dir / "containers" / container_id / "record"
    now, later = record.read_bytes(), record.read_bytes().replace(b"container 1\n", b"container 2\n")
    record.write_bytes(later)
    with pytest.raises(StateFailure, match="version 2"):
        async with open_runtime(state_dir):
            pass
    assert record.read_bytes() == later
    record.write_bytes(now)
    async with opened() as runtime:
        await harness.remove_all(runtime)


async def test_a_state_directory_has_one_user_at_a_time(opened: Callable[..., Any], tmp_path: Path) -> None:
    async with opened():
        with pytest.raises(RuntimeUnavailable, match="in use by another program"):
            async with opened():
                pass
    async with opened():
        pass


async def test_a_lock_that_outlives_a_killed_owner_for_a_moment_is_waited_for(
    opened: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened():
        pass
    # What a killed program has left of itself: a process that still has its descriptors.
    left = os.open(tmp_path / "state" / "lock", os.O_RDWR)
    fcntl.flock(left, fcntl.LOCK_EX)
    monkeypatch.setattr("orchestrion.runtime_process._state_dir.time.sleep", lambda _: os.close(left))
    async with opened():
        pass


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 1}', '{"version": "1", "owner": "x"}', "\xff"])
async def test_a_damaged_mark_of_the_owner_is_refused_and_the_directory_is_free_again(
    harness: Any, opened: Callable[..., Any], tmp_path: Path, text: str
) -> None:
    mark = tmp_path / "state" / "owner.json"
    async with opened():
        pass
    whole = mark.read_bytes()
    mark.write_bytes(text.encode("latin-1"))
    with pytest.raises(StateFailure, match="damaged"):
        async with opened():
            pass
    mark.write_bytes(whole)
    async with opened():
        pass


async def test_a_shim_whose_directory_was_taken_away_ends_with_its_container(
    harness: Any, opened: Callable[..., Any], tmp_path: Path
) -> None:
    state_dir = tmp_path / "state"
    async with opened() as runtime:
        container_id = await runtime.create_container(harness.shell("echo; exec sleep 100000"), harness.options())
        await harness.wait_for_line(runtime, container_id)
    shim = harness.shim_of(state_dir, container_id)
    main = next(iter(harness.contained(state_dir)))
    shutil.rmtree(state_dir / "containers" / container_id)
    os.kill(main, signal.SIGTERM)
    await harness.until(lambda: not harness.is_alive(shim), "the shim ends")


async def test_a_hung_shim_is_killed_in_the_end(
    harness: Any, runtime: ProcessRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrion.runtime_process._keeper.SHIM_SECONDS", 0.05)
    container_id = await runtime.create_container(harness.SLEEPS, harness.options())
    os.kill(harness.shim_of(tmp_path / "state", container_id), signal.SIGSTOP)
    await runtime.stop_container(container_id, grace_seconds=0)
    assert (await harness.exited(runtime, container_id)).exit.reason == "shim-lost"


async def test_sigterm_for_the_shim_reaches_the_container(
    harness: Any, runtime: ProcessRuntime, tmp_path: Path
) -> None:
    container_id = await runtime.create_container(harness.SLEEPS, harness.options())
    os.kill(harness.shim_of(tmp_path / "state", container_id), signal.SIGTERM)
    assert (await harness.exited(runtime, container_id)).exit.signal == signal.SIGTERM


async def test_a_directory_without_permissions_is_removed_with_its_container(
    harness: Any, runtime: ProcessRuntime
) -> None:
    container_id = await runtime.create_container(
        harness.shell("mkdir a; touch a/b; chmod 0 a; ln -s / root"), harness.options()
    )
    await harness.exited(runtime, container_id)
    await runtime.remove_container(container_id)
    assert Path("/etc").exists(), "links are not followed"


async def test_what_the_caller_raises_comes_out_as_it_was(opened: Callable[..., Any]) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with opened():
            raise KeyError("mine")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.fail(f"tests marked `engine` mount file systems, and this one may not: {mounted.stderr}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.engine
@pytest.mark.slow
async def test_a_full_disk_loses_log_bytes_and_counts_them_but_no_exit_status(harness: Any, small_disk: Path) -> None:
    state_dir = small_disk / "state"
    async with open_runtime(state_dir) as runtime:
        await runtime.init_node(harness.NODE)
        printer = await runtime.create_container(
            harness.python(
                "import sys\nfor n in range(8000): sys.stdout.buffer.write(b'%01023d\\n' % n)\nsys.stdout.flush()\n"
                "sys.exit(9)"
            ),
            harness.options(),
        )
        waits = await runtime.create_container(
            harness.shell("read x < /dev/null; exec sleep 100000"), harness.options(1)
        )
        status = await harness.exited(runtime, printer)
        assert status.exit.code == 9, "the container was not stopped by its log"
        assert shutil.disk_usage(small_disk).free < 65536

        with pytest.raises(RuntimeUnavailable, match="the disk is full"):
            await runtime.create_container(harness.SLEEPS, harness.options(2))
        assert len(await runtime.list_containers(harness.NODE)) == 2

        await runtime.stop_container(waits, grace_seconds=10)
        assert (await harness.exited(runtime, waits)).exit.signal == signal.SIGTERM

        kept = lost = 0
        async with runtime.follow_logs(printer, LogStream.STDOUT) as chunks:
            async for chunk in chunks:
                kept += len(chunk.data)
                lost += chunk.gap_bytes
        assert kept + lost == 8000 * 1024
        assert lost > 0

        # Removing is what frees space, so it must work.
        await runtime.remove_container(printer)
        await runtime.create_container(harness.shell("exit 0"), harness.options(3))
        await harness.remove_all(runtime)
    assert harness.leftovers(state_dir) == []
