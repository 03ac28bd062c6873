"""What a machine has is read from the files in which the kernel tells it; here from fake ones."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from orchestrion.cluster_interface import ClusterUnavailable
from orchestrion.cluster_local import DiskUsage, open_cluster
from orchestrion.shared_types import ConfigInvalid, Device, Node, Resources, Topology

GIB = 2**30
V2_MOUNT = "31 23 0:28 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNTS = (
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
)


async def detected(machine: Any, **options: Any) -> Node:
    async with machine.open(**options) as cluster:
        await cluster.initialize()
        node: Node
        (node,) = await cluster.list_nodes()
        return node


async def test_a_plain_machine(machine: Any) -> None:
    node = await detected(machine, reserve=Resources())
    assert node.capacity == node.allocatable
    assert node.capacity == Resources(cpu_millicores=4000, memory_bytes=16 * GIB, disk_bytes=100 * GIB)
    assert node.name == "box"
    assert node.address == "127.0.0.1"
    assert node.labels == {"os": "linux", "arch": "x86_64", "hostname": "box", "kernel": "6.18.0"}
    assert node.drivers == {"process"}
    assert node.devices == ()
    assert not any(condition.active for condition in node.conditions)


async def test_this_real_machine(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        await cluster.initialize()
        (node,) = await cluster.list_nodes()
    assert node.capacity.cpu_millicores >= 1
    assert node.capacity.memory_bytes > 2**20
    assert node.capacity.disk_bytes > 2**20
    assert node.allocatable.fits_in(node.capacity)
    assert all(node.labels[name] for name in ("os", "arch", "hostname", "kernel"))


async def test_what_the_caller_says_comes_on_top(machine: Any) -> None:
    topology = Topology(region="eu", zone="a", rack="7")
    node = await detected(
        machine, drivers=["process", "docker"], labels={"tier": "gold", "hostname": "mine"}, topology=topology
    )
    assert node.drivers == {"process", "docker"}
    assert node.labels == {"os": "linux", "arch": "x86_64", "hostname": "mine", "kernel": "6.18.0", "tier": "gold"}
    assert node.topology == topology


@pytest.mark.parametrize(
    ("allowed", "online", "millicores"),
    [("0-7", "0-3", 4000), ("0,2", "0-3", 2000), ("3", "0-3", 1000), ("0-1,4-5", "0-7", 4000), ("0-127", "0", 1000)],
)
async def test_affinity_and_processors_that_are_off_count(
    machine: Any, allowed: str, online: str, millicores: int
) -> None:
    machine.set_cpus(allowed, online)
    assert (await detected(machine)).capacity.cpu_millicores == millicores


@pytest.mark.parametrize(
    ("inner", "outer", "millicores"),
    [
        ("max 100000", "max 100000", 4000),
        ("150000 100000", "max 100000", 1500),
        ("max 100000", "50000 100000", 500),
        ("300000 100000", "200000 100000", 2000),
        ("800000 100000", "max 100000", 4000),
        ("1000 100000", "max 100000", 10),
        ("nonsense", "", 4000),
    ],
)
async def test_the_smallest_cpu_quota_of_cgroups_v2_counts(
    machine: Any, inner: str, outer: str, millicores: int
) -> None:
    machine.write("proc/self/mountinfo", V2_MOUNT)
    machine.write("proc/self/cgroup", "0::/user.slice/app.scope\n")
    machine.write("sys/fs/cgroup/user.slice/app.scope/cpu.max", inner)
    machine.write("sys/fs/cgroup/user.slice/cpu.max", outer)
    assert (await detected(machine)).capacity.cpu_millicores == millicores


@pytest.mark.parametrize(
    ("inner", "outer", "memory"),
    [("max", "max", 16), (str(2 * GIB), "max", 2), ("max", str(GIB), 1), (str(99 * GIB), "max", 16)],
)
async def test_the_smallest_memory_limit_of_cgroups_v2_counts(
    machine: Any, inner: str, outer: str, memory: int
) -> None:
    machine.write("proc/self/mountinfo", V2_MOUNT)
    machine.write("proc/self/cgroup", "0::/a/b\n")
    machine.write("sys/fs/cgroup/a/b/memory.max", inner)
    machine.write("sys/fs/cgroup/a/memory.max", outer)
    assert (await detected(machine)).capacity.memory_bytes == memory * GIB


async def test_cgroups_v1_count(machine: Any) -> None:
    machine.write("proc/self/mountinfo", V1_MOUNTS)
    machine.write("proc/self/cgroup", "5:memory:/job\n4:cpu,cpuacct:/job/inner\n0::/\n")
    machine.write("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "250000")
    machine.write("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "100000")
    machine.write("sys/fs/cgroup/cpu,cpuacct/job/inner/cpu.cfs_quota_us", "-1")
    machine.write("sys/fs/cgroup/memory/job/memory.limit_in_bytes", str(3 * GIB))
    machine.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712")
    node = await detected(machine)
    assert node.capacity.cpu_millicores == 2500
    assert node.capacity.memory_bytes == 3 * GIB


async def test_a_container_that_sees_only_its_own_cgroup_finds_it(machine: Any) -> None:
    machine.write("proc/self/mountinfo", V2_MOUNT.replace(" / /sys", " /docker/abc /sys"))
    machine.write("proc/self/cgroup", "0::/docker/abc\n")
    machine.write("sys/fs/cgroup/memory.max", str(GIB))
    assert (await detected(machine)).capacity.memory_bytes == GIB


@pytest.mark.parametrize("path", ["/../../other", "/elsewhere"])
async def test_of_a_cgroup_outside_of_the_mount_only_the_top_is_looked_at(machine: Any, path: str) -> None:
    machine.write("proc/self/mountinfo", V2_MOUNT.replace(" / /sys", " /docker/abc /sys"))
    machine.write("proc/self/cgroup", f"0::{path}\n")
    machine.write("sys/fs/cgroup/memory.max", str(2 * GIB))
    assert (await detected(machine)).capacity.memory_bytes == 2 * GIB


async def test_a_mount_point_with_a_space_is_found(machine: Any) -> None:
    machine.write("proc/self/mountinfo", V2_MOUNT.replace("/sys/fs/cgroup", "/sys/fs/c\\040group"))
    machine.write("proc/self/cgroup", "0::/\n")
    machine.write("sys/fs/c group/memory.max", str(GIB))
    assert (await detected(machine)).capacity.memory_bytes == GIB


async def test_the_default_reserve_is_a_twentieth_with_a_ceiling(machine: Any) -> None:
    node = await detected(machine)
    assert node.allocatable == Resources(cpu_millicores=4000, memory_bytes=16 * GIB - 512 * 2**20, disk_bytes=95 * GIB)
    machine.set_memory(2 * GIB, GIB)
    assert (await detected(machine)).allocatable.memory_bytes == 2 * GIB - 2 * GIB // 20


async def test_a_reserve_is_kept(machine: Any) -> None:
    node = await detected(machine, reserve=Resources(cpu_millicores=500, memory_bytes=GIB))
    assert node.allocatable == Resources(cpu_millicores=3500, memory_bytes=15 * GIB, disk_bytes=100 * GIB)


async def test_a_reserve_that_takes_everything_is_refused_and_nothing_is_written(machine: Any) -> None:
    with pytest.raises(ConfigInvalid, match=r"reserve\.cpu_millicores: 4000 is not below the 4000"):
        await detected(machine, reserve=Resources(cpu_millicores=4000))
    assert not machine.state_dir.exists()


async def test_without_proc_the_error_says_what_is_missing(machine: Any) -> None:
    (machine.root / "proc/meminfo").unlink()
    with pytest.raises(ClusterUnavailable, match="meminfo does not say how much memory"):
        await detected(machine)
    (machine.root / "proc/self/status").unlink()
    with pytest.raises(ClusterUnavailable, match="which processors"):
        await detected(machine)
    assert not machine.state_dir.exists()


async def test_a_disk_that_cannot_be_measured_is_an_error(machine: Any) -> None:
    machine.disk_error = OSError(5, "Input/output error")
    with pytest.raises(ClusterUnavailable, match=r"state: Input/output error|Input/output error"):
        await detected(machine)


async def test_a_disk_whose_size_changes_with_what_is_written_stays_the_same_node(machine: Any) -> None:
    async with machine.open() as cluster:
        await cluster.initialize()
        before = await cluster.list_nodes()
        machine.disk = DiskUsage(101 * GIB, 50 * GIB)
        await cluster.sample_now()
        assert await cluster.list_nodes() == before


def add_nvidia(machine: Any, address: str, uuid: str, numa: str) -> None:
    machine.write(
        f"proc/driver/nvidia/gpus/{address}/information",
        f"Model: \t\t NVIDIA A100-SXM4-40GB\nIRQ:   \t\t 120\nGPU UUID: \t {uuid}\nBus Location: \t {address}\n",
    )
    machine.write(f"sys/bus/pci/devices/{address}/numa_node", numa)


async def test_nvidia_gpus_come_from_the_drivers_files(machine: Any) -> None:
    add_nvidia(machine, "0000:3b:00.0", "GPU-bb", "1\n")
    add_nvidia(machine, "0000:1a:00.0", "GPU-????????-????", "-1\n")
    node = await detected(machine)
    assert node.devices == (
        Device(id="GPU-bb", model="NVIDIA A100-SXM4-40GB", numa_node=1),
        Device(id="pci-0000:1a:00.0", model="NVIDIA A100-SXM4-40GB"),
    )


def fake_nvidia_smi(directory: Path, body: str) -> str:
    program = directory / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


async def test_nvidia_smi_adds_memory_and_capability(machine: Any, tmp_path: Path) -> None:
    add_nvidia(machine, "0000:3b:00.0", "GPU-bb", "1\n")
    add_nvidia(machine, "0000:3c:00.0", "GPU-cc", "1\n")
    program = fake_nvidia_smi(
        tmp_path,
        "printf 'GPU-bb, NVIDIA A100, 40960, 8.0\\nGPU-zz, other, 1, 1.0\\nGPU-cc, NVIDIA A100, [N/A], [N/A]\\n'",
    )
    node = await detected(machine, nvidia_smi=lambda: program)
    assert node.devices == (
        Device(id="GPU-bb", model="NVIDIA A100", memory_bytes=40 * GIB, capability="8.0", numa_node=1),
        Device(id="GPU-cc", model="NVIDIA A100", numa_node=1),
    )


@pytest.mark.parametrize("body", ["exit 9", "echo nonsense", "printf '\\377,,,,\\n'"])
async def test_a_broken_nvidia_smi_leaves_the_devices_as_the_driver_told_them(
    machine: Any, tmp_path: Path, body: str
) -> None:
    add_nvidia(machine, "0000:3b:00.0", "GPU-bb", "1\n")
    program = fake_nvidia_smi(tmp_path, body)
    (device,) = (await detected(machine, nvidia_smi=lambda: program)).devices
    assert device == Device(id="GPU-bb", model="NVIDIA A100-SXM4-40GB", numa_node=1)


async def test_an_nvidia_smi_that_cannot_be_started_leaves_the_devices(machine: Any, tmp_path: Path) -> None:
    add_nvidia(machine, "0000:3b:00.0", "GPU-bb", "1\n")
    (device,) = (await detected(machine, nvidia_smi=lambda: str(tmp_path / "none"))).devices
    assert device.id == "GPU-bb"


async def test_other_cards_count_only_with_memory_of_their_own(machine: Any) -> None:
    card = "sys/class/drm/card0/device"
    machine.write(f"{card}/vendor", "0x1002\n")
    machine.write(f"{card}/device", "0x740f\n")
    machine.write(f"{card}/mem_info_vram_total", str(64 * GIB))
    machine.write(f"{card}/unique_id", "a1b2\n")
    machine.write(f"{card}/numa_node", "0\n")
    machine.write("sys/class/drm/card1/device/vendor", "0x1a03\n")
    machine.write("sys/class/drm/card2/device/vendor", "0x8086\n")
    machine.write("sys/class/drm/card3/device/vendor", "0x8086\n")
    machine.write("sys/class/drm/card3/device/uevent", "DRIVER=i915\nPCI_SLOT_NAME=0000:03:00.0\n")
    machine.write("sys/class/drm/card3/device/product_name", "Flex 170\n")
    machine.write("sys/class/drm/card3/lmem_total_bytes", str(16 * GIB))
    machine.write("sys/class/drm/card0-HDMI-A-1/status", "connected\n")
    machine.write("sys/class/drm/version", "drm 1.1.0\n")
    node = await detected(machine)
    assert node.devices == (
        Device(id="amd-a1b2", model="AMD 0x740f", memory_bytes=64 * GIB, numa_node=0),
        Device(id="pci-0000:03:00.0", model="Flex 170", memory_bytes=16 * GIB),
    )
