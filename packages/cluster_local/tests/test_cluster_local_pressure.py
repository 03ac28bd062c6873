"""Conditions come when little is left, stay until clearly more is free, and only changes are told."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import trio
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.cluster_interface import NodeUpdated, Snapshot
from orchestrion.cluster_local import DiskUsage, Watermark
from orchestrion.cluster_local._pressure import next_pressure
from orchestrion.shared_types import Node, NodeCondition
from trio.testing import MockClock, wait_all_tasks_blocked

GIB = 2**30
NOW = datetime(2030, 1, 1, tzinfo=UTC)
CALM = NodeCondition(type="DiskPressure", active=False)
PRESSED = NodeCondition(type="DiskPressure", active=True)


def active(node: Node, kind: str) -> bool:
    return next(condition.active for condition in node.conditions if condition.type == kind)


def next_active(before: NodeCondition, available: int) -> bool:
    mark = Watermark(share=0.1, amount_bytes=1000, recovery=1.5)
    return next_pressure(before, mark, available_bytes=available, total_bytes=100_000, now=NOW).active


def test_a_condition_comes_below_the_mark_and_goes_at_the_higher_one() -> None:
    assert not next_active(CALM, 1000)
    assert next_active(CALM, 999)
    assert next_active(PRESSED, 1499)
    assert not next_active(PRESSED, 1500)


def test_the_mark_is_the_smaller_of_share_and_amount() -> None:
    mark = Watermark(share=0.05, amount_bytes=2 * GIB)
    assert mark.low_bytes(10 * GIB) == GIB // 2
    assert mark.low_bytes(1000 * GIB) == 2 * GIB


def test_a_crossing_says_when_and_how_much() -> None:
    mark = Watermark(share=0.05, amount_bytes=2 * GIB)
    after = next_pressure(CALM, mark, available_bytes=GIB, total_bytes=100 * GIB, now=NOW)
    assert after == NodeCondition(
        type="DiskPressure", active=True, reason="1024 MiB available, below 2048 MiB", since=NOW
    )


@given(st.lists(st.integers(min_value=0, max_value=2000), max_size=30))
def test_a_condition_changes_only_when_a_mark_is_crossed(amounts: list[int]) -> None:
    mark = Watermark(share=1.0, amount_bytes=1000, recovery=1.5)
    condition = CALM
    for available in amounts:
        after = next_pressure(condition, mark, available_bytes=available, total_bytes=2000, now=NOW)
        if 1000 <= available < 1500:
            assert after is condition
        else:
            assert after.active is (available < 1000)
        condition = after


async def test_disk_and_memory_pressure_are_told_apart(machine: Any) -> None:
    async with machine.open() as cluster:
        await cluster.initialize()
        machine.disk = DiskUsage(100 * GIB, GIB)
        await cluster.sample_now()
        (node,) = await cluster.list_nodes()
        assert (active(node, "DiskPressure"), active(node, "MemoryPressure")) == (True, False)
        machine.disk = DiskUsage(100 * GIB, 50 * GIB)
        machine.set_memory(16 * GIB, GIB // 8)
        await cluster.sample_now()
        (node,) = await cluster.list_nodes()
        assert (active(node, "DiskPressure"), active(node, "MemoryPressure")) == (False, True)


async def test_memory_that_a_cgroup_uses_up_is_pressure_though_the_machine_has_more(machine: Any) -> None:
    machine.write("proc/self/mountinfo", "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
    machine.write("proc/self/cgroup", "0::/a\n")
    machine.write("sys/fs/cgroup/a/memory.max", str(GIB))
    machine.write("sys/fs/cgroup/a/memory.current", str(GIB - 1000))
    machine.write("sys/fs/cgroup/a/memory.stat", f"anon 5\ninactive_file {GIB // 2}\n")
    async with machine.open() as cluster:
        await cluster.initialize()
        assert not active((await cluster.list_nodes())[0], "MemoryPressure")
        machine.write("sys/fs/cgroup/a/memory.stat", "anon 5\ninactive_file 0\n")
        await cluster.sample_now()
        assert active((await cluster.list_nodes())[0], "MemoryPressure")


async def test_pressure_at_the_start_is_told_at_once(machine: Any) -> None:
    machine.disk = DiskUsage(100 * GIB, 0)
    async with machine.open() as cluster:
        await cluster.initialize()
        assert active((await cluster.list_nodes())[0], "DiskPressure")


async def test_samples_without_a_difference_give_no_event(machine: Any) -> None:
    async with machine.open() as cluster:
        await cluster.initialize()
        async with cluster.subscribe_to_events() as stream:
            first = await anext(stream)
            for available in (50, 40, 30):
                machine.disk = DiskUsage(100 * GIB, available * GIB)
                machine.set_memory(16 * GIB, available * GIB // 10)
                await cluster.sample_now()
            machine.disk = DiskUsage(100 * GIB, GIB)
            await cluster.sample_now()
            event = await anext(stream)
    assert isinstance(first, Snapshot)
    assert isinstance(event, NodeUpdated)
    assert event.revision == first.revision + 1


async def test_the_machine_is_looked_at_again_after_the_period(machine: Any, mock_clock: MockClock) -> None:
    async with machine.open(sample_seconds=10) as cluster:
        await cluster.initialize()
        async with cluster.subscribe_to_events() as stream:
            await anext(stream)
            machine.disk = DiskUsage(100 * GIB, GIB)
            for seconds, expected in ((9.9, False), (0.2, True)):
                await wait_all_tasks_blocked()
                mock_clock.jump(seconds)
                if expected:
                    event = await anext(stream)
                    assert isinstance(event, NodeUpdated)
                    assert active(event.node, "DiskPressure")
                else:
                    await wait_all_tasks_blocked()
                    assert not active((await cluster.list_nodes())[0], "DiskPressure")


async def test_a_limit_that_is_changed_while_we_run_changes_the_node(machine: Any) -> None:
    async with machine.open() as cluster:
        await cluster.initialize()
        machine.set_cpus("0-1", "0-3")
        await cluster.sample_now()
        (node,) = await cluster.list_nodes()
    assert node.capacity.cpu_millicores == 2000


async def test_a_machine_that_cannot_be_looked_at_says_so_once_and_recovers(machine: Any) -> None:
    async with machine.open() as cluster:
        await cluster.initialize()
        machine.disk_error = OSError(5, "Input/output error")
        await cluster.sample_now()
        failed = await cluster.list_nodes()
        assert active(failed[0], "SamplingFailed")
        assert "Input/output error" in str(failed[0].conditions)
        await cluster.sample_now()
        assert await cluster.list_nodes() == failed
        machine.disk_error = None
        await cluster.sample_now()
        assert not active((await cluster.list_nodes())[0], "SamplingFailed")


async def test_closing_ends_the_sampling(machine: Any, mock_clock: MockClock) -> None:
    before = trio.lowlevel.current_statistics().tasks_living
    async with machine.open() as cluster:
        await cluster.initialize()
        await wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == before + 1
        await cluster.aclose()
        await wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == before
