"""Finds GPUs: Nvidia's through its driver's files and its own tool, others through the kernel's list of cards."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import trio
from attrs import evolve
from orchestrion.shared_types import Device

from ._files import read_fields, read_int, read_text

NVIDIA_SMI_TIMEOUT_SECONDS = 10.0

_AMD, _INTEL = 0x1002, 0x8086
_QUERY = "uuid,name,memory.total,compute_cap"
_CARD = re.compile(r"card\d+")


def find_gpus(root: Path) -> list[Device]:
    """Return the GPUs that the kernel's files tell about, ascending by id. It may block."""
    return sorted([*_nvidia(root), *_drm(root)], key=lambda device: device.id)


async def complete_from_nvidia_smi(devices: tuple[Device, ...], program: str) -> tuple[Device, ...]:
    """Return the devices with the memory and compute capability that `nvidia-smi` tells; as they are if it fails."""
    if not any(device.id.startswith("GPU-") for device in devices):
        return devices
    try:
        with trio.move_on_after(NVIDIA_SMI_TIMEOUT_SECONDS):
            done = await trio.run_process(
                [program, f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"],
                capture_stdout=True,
                stderr=subprocess.DEVNULL,
                check=False,
            )
            if done.returncode == 0:
                told = _parse_nvidia_smi(done.stdout.decode(errors="replace"))
                return tuple(told[device.id](device) if device.id in told else device for device in devices)
    except OSError:
        # The driver's files have said what is there; a tool that can't be started only leaves details out.
        return devices
    return devices


def _parse_nvidia_smi(text: str) -> Mapping[str, Callable[[Device], Device]]:
    told: dict[str, Callable[[Device], Device]] = {}
    for line in text.splitlines():
        uuid, name, mebibytes, capability, *_ = [*(part.strip() for part in line.split(",")), "", "", "", ""]
        memory_bytes = int(mebibytes) * 2**20 if mebibytes.isdigit() else 0
        known = capability if re.fullmatch(r"\d+(\.\d+)*", capability) else ""

        def complete(device: Device, name: str = name, memory_bytes: int = memory_bytes, known: str = known) -> Device:
            return evolve(device, model=name or device.model, memory_bytes=memory_bytes, capability=known)

        told[uuid] = complete
    return told


def _nvidia(root: Path) -> list[Device]:
    found = []
    for directory in _children(root / "proc/driver/nvidia/gpus"):
        fields = read_fields(directory / "information", ":")
        address = directory.name
        uuid = fields.get("GPU UUID", "")
        found.append(
            Device(
                # Before the first use of a device the driver shows a mask for its UUID.
                id=uuid if uuid and "?" not in uuid else f"pci-{address}",
                model=fields.get("Model", ""),
                numa_node=_numa_node(root / "sys/bus/pci/devices" / address),
            )
        )
    return found


def _drm(root: Path) -> list[Device]:
    found = []
    for card in _children(root / "sys/class/drm"):
        if not _CARD.fullmatch(card.name):
            continue
        device = card / "device"
        vendor = read_int(device / "vendor")
        # Only what has memory of its own: a server's console chip and a processor's graphics are no GPUs to grant.
        memory_bytes = {_AMD: device / "mem_info_vram_total", _INTEL: card / "lmem_total_bytes"}.get(vendor or 0)
        size = None if memory_bytes is None else read_int(memory_bytes)
        if not size:
            continue
        unique = read_text(device / "unique_id")
        address = read_fields(device / "uevent", "=").get("PCI_SLOT_NAME", card.name)
        maker = "AMD" if vendor == _AMD else "Intel"
        found.append(
            Device(
                id=f"{maker.lower()}-{unique}" if unique else f"pci-{address}",
                model=read_text(device / "product_name") or f"{maker} {read_text(device / 'device') or ''}".strip(),
                memory_bytes=size,
                numa_node=_numa_node(device),
            )
        )
    return found


def _numa_node(device: Path) -> int | None:
    node = read_int(device / "numa_node")
    # The kernel writes -1 where the firmware says nothing.
    return None if node is None or node < 0 else node


def _children(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []
