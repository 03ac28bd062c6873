"""What the tests of this package share."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import trio
from orchestrion.runtime_interface import CreateOptions, LogStream
from orchestrion.runtime_process import ProcessRuntime, _record, open_runtime
from orchestrion.shared_types import (
    ContainerConfig,
    ContainerId,
    ContainerState,
    ContainerStatus,
    InstanceKey,
    NodeId,
    Uid,
)

NODE = NodeId("node-1")
WORKLOAD = Uid("01890000-0000-7000-8000-000000000001")
PATIENCE_SECONDS = 30.0


def owner_of(state_dir: Path) -> str:
    """Return the mark of a state directory."""
    owner: str = json.loads((state_dir / "owner.json").read_text())["owner"]
    return owner


def processes_with(text: str) -> set[int]:
    """Return the live processes with a text in their environment; a zombie is none."""
    found = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if text.encode() not in (entry / "environ").read_bytes():
                continue
            state = (entry / "stat").read_bytes().rpartition(b")")[2].split()[0]
        except OSError:
            continue
        if state not in (b"Z", b"X"):
            found.add(int(entry.name))
    return found


def contained(state_dir: Path) -> set[int]:
    """Return the live processes within a state directory's containers."""
    return processes_with(f"ORCHESTRION_OWNER={owner_of(state_dir)}")


def is_alive(pid: int) -> bool:
    """Whether a process lives; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False


def cgroups_of(owner: str) -> list[str]:
    """Return the control groups of an owner's containers, in every hierarchy.

    Others' groups may go while it looks: walking minds that as little as it should.
    """
    return [
        str(Path(folder) / name)
        for folder, names, _ in os.walk("/sys/fs/cgroup")
        if Path(folder).name == f"orchestrion-{owner}"
        for name in names
    ]


def end_all(state_dir: Path) -> None:
    """Kill and remove all that a state directory's containers have, but for its files."""
    owner = owner_of(state_dir)
    while found := processes_with(owner):
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    for path in cgroups_of(owner):
        with suppress(OSError):
            Path(path).rmdir()
        with suppress(OSError):
            Path(path).parent.rmdir()


def leftovers(state_dir: Path) -> list[str]:
    """Return whatever a state directory's containers have left: processes, control groups and directories."""
    owner = owner_of(state_dir)
    found = [f"process {pid}" for pid in processes_with(owner)]
    found += [f"cgroup {path}" for path in cgroups_of(owner)]
    for folder in ("containers", "new", "trash"):
        found += [str(path) for path in (state_dir / folder).iterdir()]
    return found


def options(index: int = 0, *, epoch: int = 1, attempt: int = 0, **more: Any) -> CreateOptions:
    """Return options for a slot of the one workload."""
    return CreateOptions(node_id=NODE, instance=InstanceKey(WORKLOAD, index, epoch), attempt=attempt, **more)


def shell(script: str, **more: Any) -> ContainerConfig:
    """Return the config of a shell script."""
    return ContainerConfig(name="main", command=("sh", "-c", script), **more)


def python(script: str, **more: Any) -> ContainerConfig:
    """Return the config of a Python script."""
    return ContainerConfig(name="main", command=(sys.executable, "-ISc", script), **more)


SLEEPS = ContainerConfig(name="main", command=("sleep", "100000"))


async def exited(runtime: ProcessRuntime, container_id: ContainerId) -> ContainerStatus:
    """Wait until a container has ended; return its status."""
    with trio.fail_after(PATIENCE_SECONDS):
        async with runtime.watch_containers(NODE) as hints:
            while (status := await runtime.get_container_status(container_id)).state is not ContainerState.EXITED:
                async for hint in hints:
                    if hint.container_id in (container_id, None):
                        break
    return status


async def output(runtime: ProcessRuntime, container_id: ContainerId, stream: LogStream = LogStream.STDOUT) -> bytes:
    """Return all that a container writes, to its end."""
    with trio.fail_after(PATIENCE_SECONDS):
        async with runtime.follow_logs(container_id, stream) as chunks:
            return b"".join([chunk.data async for chunk in chunks])


async def wait_for_line(runtime: ProcessRuntime, container_id: ContainerId) -> bytes:
    """Wait until a container has written a line; return it."""
    written = b""
    with trio.fail_after(PATIENCE_SECONDS):
        async with runtime.follow_logs(container_id, LogStream.STDOUT) as chunks:
            async for chunk in chunks:
                written += chunk.data
                if b"\n" in written:
                    return written.partition(b"\n")[0]
    raise AssertionError(f"it ended after {written!r}")


async def remove_all(runtime: ProcessRuntime, node_id: NodeId = NODE) -> None:
    """Remove all containers of a node."""
    async with trio.open_nursery() as nursery:
        for summary in await runtime.list_containers(node_id):
            nursery.start_soon(runtime.remove_container, summary.container_id)


Opened = AbstractAsyncContextManager[ProcessRuntime]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., Opened]]:
    """Open a runtime on the test's state directory, with its node ready. What a failed test leaves is ended."""

    @asynccontextmanager
    async def open_it(**more: Any) -> AsyncIterator[ProcessRuntime]:
        async with open_runtime(tmp_path / "state", **more) as runtime:
            await runtime.init_node(NODE)
            yield runtime

    yield open_it
    if (tmp_path / "state" / "owner.json").exists():
        end_all(tmp_path / "state")


@pytest.fixture
async def runtime(opened: Callable[..., Opened], tmp_path: Path) -> AsyncIterator[ProcessRuntime]:
    """A runtime with its node ready; whatever it runs at the end is removed, and nothing may be left then."""
    async with opened() as runtime:
        yield runtime
        await remove_all(runtime)
    assert leftovers(tmp_path / "state") == []


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


@contextmanager
def occupied_port() -> Iterator[int]:
    """Have a port that somebody listens on."""
    with socket.socket() as holder:
        holder.bind(("", 0))
        holder.listen()
        yield int(holder.getsockname()[1])


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until something outside the program is so, which nobody announces."""
    with trio.move_on_after(PATIENCE_SECONDS):
        while not condition():
            await trio.sleep(0.005)
        return
    raise AssertionError(f"not within {PATIENCE_SECONDS} s: {what}")


@pytest.fixture
def harness() -> ModuleType:
    """The helpers of this module: tests are loaded in a way that they can't import it."""
    return sys.modules[__name__]


def log_directory(runtime: ProcessRuntime, container_id: ContainerId) -> Path:
    """Return the directory of a container's log segments."""
    return runtime._settings.state.containers / container_id / "logs"


def shim_of(state_dir: Path, container_id: ContainerId) -> int:
    """Return the pid of a container's shim."""
    shim = _record.read_head(state_dir / "containers" / container_id).shim
    assert shim is not None
    return shim.pid


def size_of(directory: Path) -> int:
    """Return how many bytes the files of a directory have."""
    total = 0
    for path in directory.iterdir():
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def memory_of(pid: int) -> int:
    """Return the resident memory of a process in bytes, or 0 if it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
    except (OSError, IndexError):
        return 0


@contextmanager
def pipe_to(fifo: Path) -> Iterator[Callable[[str], int]]:
    """Give a function that writes lines to a FIFO. It is held open both ways, so that nothing waits or is lost."""
    fd = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    try:
        yield lambda line: os.write(fd, f"{line}\n".encode())
    finally:
        os.close(fd)
