"""The directories behind volumes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Set
from pathlib import Path
from tempfile import mkdtemp
from typing import Final, Protocol

import trio
from attrs import define, field, frozen
from orchestrion.orchestrator_core._node.volume_access import make_passable, make_private, make_volume
from orchestrion.orchestrator_core._state.records import InstanceName
from orchestrion.runtime_interface import VolumeSource
from orchestrion.shared_types import ContainerConfig, RuntimeFailure, Uid, VolumeScope, WorkloadDefinition

_ASIDE: Final = ".removed-"
"""How names begin that directories have while they are removed; no volume or instance is called so."""


@frozen
class VolumeOwner:
    """An instance that directories belong to: a workload that is removed and applied again owns others.

    Attributes:
        name: The instance.
        workload_id: Its workload.
    """

    name: InstanceName
    workload_id: Uid


class VolumeProvider(Protocol):
    """Makes and removes the directories of one node."""

    async def provide(self, owner: VolumeOwner, template: WorkloadDefinition, /) -> tuple[VolumeSource, ...]:
        """Make the directories of an instance's volumes, where they are not there yet, and return them all."""
        ...

    async def release(self, owner: VolumeOwner, /) -> None:
        """Remove the directories that only this instance uses."""
        ...

    async def retain_instances(self, used: Callable[[], Set[VolumeOwner]], /) -> None:
        """Remove the directories that only instances use which are not among `used`.

        It is asked for those while no directory is being made, so that none is removed that it would name now.
        """
        ...

    async def retain_shared(self, used: Callable[[], Set[tuple[str, str]]], /) -> None:
        """Remove the shared directories, named by namespace and volume, that are not among `used`; asked as above."""
        ...


@define(eq=False)
class DirectoryVolumes:
    """Volumes as directories below one directory of this machine.

    A volume is private (mode 0700) to the orchestrator's user, or to the one other user whose containers mount it. As
    soon as containers of several other users do, every user of the machine may use it, as /tmp (mode 1777). Those above
    it can be passed through and not listed (mode 0711).

    Attributes:
        root: An absolute path; made when it is first needed.
    """

    root: Path
    _lock: trio.Lock = field(factory=trio.Lock)

    async def write_files(
        self, owner: VolumeOwner, config: ContainerConfig, folders: Mapping[str, Mapping[str, str]], /
    ) -> str:
        """Write files (mode 0600) of the container's user, in a directory (0700) of theirs.

        Raises:
            RuntimeFailure: They can't be written.
        """
        place = self._files(owner) / config.name
        try:
            async with self._lock:
                await trio.to_thread.run_sync(_write_files, place, config.user, folders)
        except OSError as err:
            # The texts are in none of the error's words.
            msg = f"files for container {config.name!r} of {owner.name} can't be written: {err.strerror}"
            raise RuntimeFailure(msg) from None
        return str(place)

    async def remove_files(self, owner: VolumeOwner, /) -> None:
        """Remove the files of an instance's containers; none is success."""
        await trio.to_thread.run_sync(_remove, self._files(owner))

    async def provide(self, owner: VolumeOwner, template: WorkloadDefinition, /) -> tuple[VolumeSource, ...]:
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
            base = self._shared(owner.name.namespace) if shared else self._own(owner)
            sources.append(VolumeSource(volume=volume.name, host_path=str(base / volume.name)))
        wanted = [(Path(source.host_path), _users_of(template, source.volume)) for source in sources]
        try:
            async with self._lock:
                await trio.to_thread.run_sync(_make, wanted)
        except OSError as err:
            msg = f"a directory for the volumes of {owner.name} can't be made: {err.strerror}"
            raise RuntimeFailure(msg) from err
        return tuple(sources)

    async def release(self, owner: VolumeOwner, /) -> None:
        """Remove the directories of an instance's own volumes; nothing there is success."""
        await trio.to_thread.run_sync(_remove, self._own(owner))

    async def retain_instances(self, used: Callable[[], Set[VolumeOwner]], /) -> None:
        """Remove the directories of instances that are not among `used`."""
        await self._retain("*/instances/*", lambda: frozenset(self._own(owner) for owner in used()))

    async def retain_shared(self, used: Callable[[], Set[tuple[str, str]]], /) -> None:
        """Remove the shared directories that are not among `used`."""
        await self._retain(
            "*/shared/*", lambda: frozenset(self._shared(namespace) / volume for namespace, volume in used())
        )

    async def _retain(self, pattern: str, kept: Callable[[], frozenset[Path]]) -> None:
        # Under its name no longer, a directory may take its time to go: another of that name can be made meanwhile.
        async with self._lock:
            aside = await trio.to_thread.run_sync(_put_aside, self.root, pattern, kept())
        for path in aside:
            await trio.to_thread.run_sync(_remove, path)

    def _files(self, owner: VolumeOwner) -> Path:
        # No volume has such a name.
        return self._own(owner) / ".config"

    def _shared(self, namespace: str) -> Path:
        return self.root / namespace / "shared"

    def _own(self, owner: VolumeOwner) -> Path:
        # The end of the id tells workloads of one name apart, and keeps paths short enough for sockets.
        end = owner.workload_id.rpartition("-")[2]
        return self.root / owner.name.namespace / "instances" / f"{owner.name.short}-{end}"


@define(eq=False)
class NoVolumes:
    """Volumes that are only names: for runtimes that make no use of this machine's directories."""

    async def provide(self, owner: VolumeOwner, template: WorkloadDefinition, /) -> tuple[VolumeSource, ...]:
        """Return made-up paths."""
        await trio.lowlevel.checkpoint()
        return tuple(
            VolumeSource(volume=volume.name, host_path=f"/volumes/{owner.name.namespace}/{volume.name}")
            for volume in template.volumes
        )

    async def write_files(
        self, owner: VolumeOwner, config: ContainerConfig, _folders: Mapping[str, Mapping[str, str]], /
    ) -> str:
        """Return a made-up path."""
        await trio.lowlevel.checkpoint()
        return f"/volumes/{owner.name.namespace}/{owner.name.short}/{config.name}"

    async def remove_files(self, owner: VolumeOwner, /) -> None:
        """Do nothing."""
        await trio.lowlevel.checkpoint()

    async def release(self, owner: VolumeOwner, /) -> None:
        """Do nothing."""
        await trio.lowlevel.checkpoint()

    async def retain_instances(self, used: Callable[[], Set[VolumeOwner]], /) -> None:
        """Do nothing."""
        await trio.lowlevel.checkpoint()

    async def retain_shared(self, used: Callable[[], Set[tuple[str, str]]], /) -> None:
        """Do nothing."""
        await trio.lowlevel.checkpoint()


def _users_of(template: WorkloadDefinition, volume: str) -> frozenset[str]:
    """Return the users that containers with a mount of a volume are to run as, as far as they name any."""
    return frozenset(
        container.user
        for container in template.containers
        if container.user is not None and any(mount.volume == volume for mount in container.volumes)
    )


def _make(wanted: Iterable[tuple[Path, Set[str]]]) -> None:
    for path, users in wanted:
        make_passable(path.parent)
        make_volume(path, users)


def _write_files(place: Path, user: str | None, folders: Mapping[str, Mapping[str, str]]) -> None:
    make_passable(place.parent)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(mode=0o700)
    made = [place]
    for folder, texts in folders.items():
        kind, _, name = folder.partition("/")
        if not (place / kind).is_dir():
            made.append(_made(place / kind))
        made.append(_made(place / kind / name))
        made.extend(_written(place / folder / key, text) for key, text in texts.items())
    make_private(made, user)


def _made(path: Path) -> Path:
    path.mkdir(mode=0o700)
    return path


def _written(path: Path, text: str) -> Path:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text.encode(errors="surrogatepass"))
    return path


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)


def _put_aside(root: Path, pattern: str, kept: frozenset[Path]) -> list[Path]:
    """Give all but the kept ones names of no volume, and return those names, with those of a removal cut short."""
    aside = list[Path]()
    for path in [path for path in root.glob(pattern) if path not in kept]:
        if path.name.startswith(_ASIDE):
            aside.append(path)
            continue
        try:
            # Beside it: a directory of another user may not be moved into another one.
            aside.append(Path(mkdtemp(prefix=_ASIDE, dir=path.parent)))
            path.rename(aside[-1])
        except OSError:
            _remove(path)
    return aside
