"""The directories behind volumes."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import trio
from attrs import define
from orchestrion.runtime_interface import VolumeSource
from orchestrion.shared_types import RuntimeFailure, VolumeScope, WorkloadDefinition

from ._records import InstanceName


class VolumeProvider(Protocol):
    """Makes and removes the directories of one node."""

    async def provide(self, name: InstanceName, template: WorkloadDefinition, /) -> tuple[VolumeSource, ...]:
        """Make the directories of an instance's volumes, where they are not there yet, and return them all."""
        ...

    async def release(self, name: InstanceName, /) -> None:
        """Remove the directories that only this instance uses."""
        ...

    async def retain_instances(self, names: frozenset[InstanceName], /) -> None:
        """Remove the directories that only instances use which are not among `names`."""
        ...

    async def retain_shared(self, namespace: str, names: frozenset[str], /) -> None:
        """Remove the shared directories of a namespace that are not among `names`."""
        ...


@define(eq=False)
class DirectoryVolumes:
    """Volumes as directories below one directory of this machine.

    Attributes:
        root: An absolute path; made when it is first needed.
    """

    root: Path

    async def provide(self, name: InstanceName, template: WorkloadDefinition, /) -> tuple[VolumeSource, ...]:
        """Make the directories of an instance's volumes, and return them.

        Raises:
            RuntimeFailure: A directory can't be made.
        """
        if not template.volumes:
            await trio.lowlevel.checkpoint()
            return ()
        sources = []
        for volume in template.volumes:
            shared = volume.scope is VolumeScope.SHARED
            base = self._shared(name.namespace) if shared else self._own(name)
            sources.append(VolumeSource(volume=volume.name, host_path=str(base / volume.name)))
        try:
            await trio.to_thread.run_sync(_make, [source.host_path for source in sources])
        except OSError as err:
            msg = f"a directory for the volumes of {name} can't be made: {err.strerror}"
            raise RuntimeFailure(msg) from err
        return tuple(sources)

    async def release(self, name: InstanceName, /) -> None:
        """Remove the directories of an instance's own volumes; nothing there is success."""
        await trio.to_thread.run_sync(_remove, self._own(name))

    async def retain_instances(self, names: frozenset[InstanceName], /) -> None:
        """Remove the directories of instances that are not among `names`."""
        kept = frozenset(str(self._own(name)) for name in names)
        await trio.to_thread.run_sync(_remove_strays, self.root, kept)

    async def retain_shared(self, namespace: str, names: frozenset[str], /) -> None:
        """Remove the shared directories of a namespace that are not among `names`."""
        await trio.to_thread.run_sync(_remove_others, self._shared(namespace), names)

    def _shared(self, namespace: str) -> Path:
        return self.root / namespace / "shared"

    def _own(self, name: InstanceName) -> Path:
        return self.root / name.namespace / "instances" / name.short


@define(eq=False)
class NoVolumes:
    """Volumes that are only names: for runtimes that make no use of this machine's directories."""

    async def provide(self, name: InstanceName, template: WorkloadDefinition, /) -> tuple[VolumeSource, ...]:
        """Return made-up paths."""
        await trio.lowlevel.checkpoint()
        return tuple(
            VolumeSource(volume=volume.name, host_path=f"/volumes/{name.namespace}/{volume.name}")
            for volume in template.volumes
        )

    async def release(self, name: InstanceName, /) -> None:
        """Do nothing."""
        await trio.lowlevel.checkpoint()

    async def retain_instances(self, names: frozenset[InstanceName], /) -> None:
        """Do nothing."""
        await trio.lowlevel.checkpoint()

    async def retain_shared(self, namespace: str, names: frozenset[str], /) -> None:
        """Do nothing."""
        await trio.lowlevel.checkpoint()


def _make(paths: Iterable[str]) -> None:
    for path in paths:
        Path(path).mkdir(parents=True, exist_ok=True)


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)


def _remove_strays(root: Path, kept: frozenset[str]) -> None:
    for path in root.glob("*/instances/*"):
        if str(path) not in kept:
            shutil.rmtree(path, ignore_errors=True)


def _remove_others(parent: Path, names: frozenset[str]) -> None:
    if parent.is_dir():
        for child in parent.iterdir():
            if child.name not in names:
                shutil.rmtree(child, ignore_errors=True)
