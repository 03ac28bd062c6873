"""The kit of the runtime interface, on real processes."""

from __future__ import annotations

import shlex
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import trio
from attrs import evolve
from orchestrion.runtime_interface import ContainerRuntime, LogStream
from orchestrion.runtime_interface.conformance import (
    Behaviour,
    CannotStart,
    CopiesStdin,
    Dies,
    Exits,
    Forks,
    IgnoresSigterm,
    ListensOn,
    NotExecutable,
    Prints,
    PrintsEnvironment,
    RuntimeUnderTest,
    Sleeps,
    TellsSize,
    TrapsSigterm,
    Unsupported,
    conformance_checks,
)
from orchestrion.runtime_process import ProcessRuntime, open_runtime
from orchestrion.shared_types import ContainerConfig, NodeId

SEGMENT_BYTES, SEGMENTS = 64 << 10, 4
NODES = (NodeId("node-1"), NodeId("node-2"))

LISTEN = """
import socket, sys, signal
listener = socket.socket()
listener.bind(("127.0.0.1", int(sys.argv[1])))
listener.listen()
signal.pause()
"""


def script_for(behaviour: Behaviour, starts: Path) -> str:
    """Return a shell script that behaves so."""
    match behaviour:
        case Exits(code):
            return f"exit {code}"
        case Dies(signal):
            return f"kill -{signal} $$"
        case Sleeps(token):
            count = f"echo >> {shlex.quote(str(starts / token))}; " if token else ""
            return f"{count}exec sleep 100000"
        case TrapsSigterm(code):
            return f"trap 'exit {code}' TERM; echo ready; sleep 100000 & wait"
        case IgnoresSigterm():
            return "trap '' TERM; echo ready; exec sleep 100000"
        case Forks():
            # Neither becomes another program once it is ready: in that moment a process shows no environment.
            return "(trap '' TERM; exec setsid sh -c 'echo ready; sleep 100000; :') & wait"
        case Prints(size, stream, then_sleeps):
            to = " >&2" if stream is LogStream.STDERR else ""
            return f"seq -f %015.0f 0 16 {size} | head -c {size}{to}" + ("; exec sleep 100000" if then_sleeps else "")
        case PrintsEnvironment():
            return "exec env -0"
        case CopiesStdin():
            return "exec cat"
        case TellsSize():
            return 'while read line; do echo "size $(stty size)"; done'
        case ListensOn(port):
            return f"exec {shlex.quote(sys.executable)} -ISc {shlex.quote(LISTEN)} {port}"
    raise AssertionError(behaviour)


def config_for(behaviour: Behaviour, starts: Path) -> ContainerConfig:
    """Return a config that behaves so."""
    if isinstance(behaviour, CannotStart):
        return ContainerConfig(name="main", command=("/no/such/program",))
    if isinstance(behaviour, NotExecutable):
        return ContainerConfig(name="main", command=("/etc/passwd",))
    if isinstance(behaviour, Unsupported):
        return ContainerConfig(name="main", image="no-images-here", command=("true",))
    token = behaviour.token if isinstance(behaviour, Sleeps | Forks) else ""
    config = ContainerConfig(name="main", command=("sh", "-c", script_for(behaviour, starts)))
    return evolve(config, env_vars={"KIT_TOKEN": token}) if token else config


def command_for(behaviour: Behaviour, starts: Path) -> tuple[str, ...]:
    """Return a command that behaves so."""
    config = config_for(behaviour, starts)
    return (
        ("env", *(f"{name}={value}" for name, value in config.env_vars.items()), *config.command)
        if (config.env_vars)
        else config.command
    )


def count_processes(token: str) -> int:
    """Return how many live processes carry a token."""
    wanted = f"KIT_TOKEN={token}".encode()
    count = 0
    for entry in Path("/proc").iterdir():
        try:
            alive = entry.name.isdigit() and (entry / "stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
            count += alive and wanted in (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
    return count


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def occupied_port() -> AsyncIterator[int]:
    with socket.socket() as holder:
        holder.bind(("", 0))
        holder.listen()
        yield int(holder.getsockname()[1])


@contextmanager
def fresh_directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@asynccontextmanager
async def open_subject() -> AsyncIterator[RuntimeUnderTest]:
    """Open a runtime on a fresh directory. At the end its containers are removed, and nothing may be left."""
    with fresh_directory() as directory:
        starts = directory / "starts"
        starts.mkdir()
        current: list[ProcessRuntime] = []

        async with AsyncExitStack() as stack:

            async def open_one() -> ProcessRuntime:
                runtime = await stack.enter_async_context(
                    open_runtime(
                        directory / "state",
                        node_ids=NODES,
                        log_segment_bytes=SEGMENT_BYTES,
                        log_segments=SEGMENTS,
                    )
                )
                current.append(runtime)
                return runtime

            async def reopen() -> ContainerRuntime:
                await current[-1].aclose()
                return await open_one()

            async def count_starts(token: str) -> int:
                path = starts / token
                return len(path.read_bytes()) if path.exists() else 0

            async def processes(token: str) -> int:
                return count_processes(token)

            runtime = await open_one()
            try:
                yield RuntimeUnderTest(
                    runtime=runtime,
                    node_ids=NODES,
                    config_for=lambda behaviour: config_for(behaviour, starts),
                    command_for=lambda behaviour: command_for(behaviour, starts),
                    reopen=reopen,
                    starts=count_starts,
                    processes=processes,
                    free_port=free_port,
                    occupied_port=occupied_port,
                    log_budget_bytes=SEGMENT_BYTES * SEGMENTS,
                )
            finally:
                with trio.CancelScope(shield=True):
                    await current[-1].aclose()
        await remove_everything(directory / "state")


async def remove_everything(state_dir: Path) -> None:
    async with open_runtime(state_dir) as runtime:
        for node_id in NODES:
            await runtime.init_node(node_id)
            for summary in await runtime.list_containers(node_id):
                await runtime.remove_container(summary.container_id)
    for folder in ("containers", "new", "trash"):
        assert list((state_dir / folder).iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("check", conformance_checks(open_subject, clock="real", examples=8))
def test_conformance(check: Callable[[], None]) -> None:
    check()
