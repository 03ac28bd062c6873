"""A program that has no descriptor left: whatever is asked for is refused or done, and all goes on afterwards."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from orchestrion.runtime_interface import LogStream, RuntimeFailure, RuntimeUnavailable
from orchestrion.runtime_process import ProcessRuntime
from orchestrion.runtime_process._file_limit import FILE_LIMIT
from orchestrion.shared_types import ContainerState


@contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """Let this program open so many more descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
    fillers = []
    try:
        while (fd := os.open("/dev/null", os.O_RDONLY)) < highest:
            fillers.append(fd)
        os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1 + count, hard))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in fillers:
            os.close(fd)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again soon what the system refuses."""
    monkeypatch.setattr("orchestrion.runtime_process._keeper.RETRY_SECONDS", 0.01)


@pytest.mark.slow
async def test_containers_are_made_whole_or_not_at_all_however_few_descriptors_are_left(
    harness: Any, runtime: ProcessRuntime
) -> None:
    refused = 0
    for left in range(24):
        with descriptors_left(left), trio.move_on_after(1):
            try:
                await runtime.create_container(harness.SLEEPS, harness.options(left))
            except RuntimeUnavailable:
                refused += 1
    assert 0 < refused < 24
    with trio.fail_after(harness.PATIENCE_SECONDS):
        for left in range(24):
            await runtime.create_container(harness.SLEEPS, harness.options(left))
    assert len(await runtime.list_containers(harness.NODE)) == 24


@pytest.mark.slow
async def test_what_runs_is_taken_up_or_not_but_never_taken_for_dead(
    harness: Any, opened: Callable[..., Any], tmp_path: Path
) -> None:
    async with opened() as runtime:
        for index in range(4):
            await runtime.create_container(harness.SLEEPS, harness.options(index))
    refused = 0
    for left in range(20):
        # A runtime that is open already has the limit raised, and so the next one leaves it as it is.
        with FILE_LIMIT.raised(), descriptors_left(left):
            try:
                async with opened() as runtime:
                    states = [found.status.state for found in await runtime.list_containers(harness.NODE)]
            except RuntimeUnavailable:
                refused += 1
            else:
                assert states == [ContainerState.RUNNING] * 4, f"with {left} descriptors left"
    assert 0 < refused < 20
    async with opened() as runtime:
        states = [found.status.state for found in await runtime.list_containers(harness.NODE)]
        assert states == [ContainerState.RUNNING] * 4
        await harness.remove_all(runtime)
    assert harness.leftovers(tmp_path / "state") == []


@pytest.mark.slow
async def test_only_who_asks_suffers_when_no_descriptor_is_left(harness: Any, runtime: ProcessRuntime) -> None:
    container_id = await runtime.create_container(harness.shell("echo; exec sleep 100000"), harness.options())
    await harness.wait_for_line(runtime, container_id)

    async def run() -> None:
        async with runtime.exec_in_container(container_id, ["true"]) as session:
            await session.wait()

    async def read() -> None:
        await runtime.read_logs(container_id, LogStream.STDOUT)

    async def count() -> None:
        await runtime.get_container_stats(container_id)

    refused = set()
    for left in range(20):
        for ask in (run, read, count):
            with descriptors_left(left):
                try:
                    await ask()
                except RuntimeFailure:
                    refused.add(ask)
    assert refused == {run, read, count}
    assert (await runtime.get_container_status(container_id)).state is ContainerState.RUNNING


async def test_a_stop_waits_for_descriptors(
    harness: Any, runtime: ProcessRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    container_id = await runtime.create_container(harness.SLEEPS, harness.options())
    with trio.fail_after(harness.PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            with descriptors_left(0):
                nursery.start_soon(partial(runtime.stop_container, container_id, grace_seconds=10))
                await harness.until(lambda: "trying again" in caplog.text, "it was tried")
                assert (await runtime.get_container_status(container_id)).state is ContainerState.RUNNING
    assert (await harness.exited(runtime, container_id)).exit.signal == signal.SIGTERM
