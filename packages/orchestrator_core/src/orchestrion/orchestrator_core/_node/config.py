"""What containers read of ConfigMaps and Secrets: fetched at each start, told as variables and written as files."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol, runtime_checkable

import trio
from attrs import define, evolve, frozen
from orchestrion.orchestrator_core._node.volumes import VolumeOwner, VolumeProvider
from orchestrion.runtime_interface import VolumeSource
from orchestrion.shared_types import (
    KEY_RULE,
    PROCESS_DRIVER,
    ConfigUse,
    ContainerConfig,
    NotFound,
    RuntimeFailure,
    VolumeMount,
    WorkloadDefinition,
    config_variable,
    is_config_key,
    secret_variable,
)

CONFIG_VOLUME: Final = ".config"
"""What the directory is called where it is mounted; no volume of an author's can have that name."""

INSIDE: Final = "/run/orchestrion"
"""Where containers find it that have a file system of their own."""

Folders = Mapping[str, Mapping[str, str]]
"""Texts by the names of their files, by folders such as `secrets/database`."""


class ConfigMissing(NotFound):
    """A container reads what is not there. It starts once it is."""

    code = "config-missing"


class ConfigSource(Protocol):
    """Knows the ConfigMaps and Secrets that containers read. Only a node that starts one of them asks."""

    async def read_config(self, namespace: str, name: str, /) -> Mapping[str, str]:
        """Return the texts of a ConfigMap as they are now, by their keys.

        **Cancellation.** Nothing has an effect.

        Raises:
            ConfigMissing: There is none of that name.
            OrchestrationError: It can't be read now.
        """
        ...

    async def read_secret(self, namespace: str, name: str, /) -> Mapping[str, str]:
        """Return the texts of a Secret as they are now, open, by their keys; see `read_config`."""
        ...


@runtime_checkable
class SupportsConfigHints(Protocol):
    """A ConfigSource that says when something may have come."""

    def watch_config(self, namespace: str, /) -> AbstractAsyncContextManager[AsyncIterator[None]]:
        """Follow the ConfigMaps and Secrets of a namespace.

        Entering arms it: after each change since then an item comes, which may be about several, or about nothing. Who
        gets one looks at what there is.

        Raises:
            OrchestrationError: They can't be followed now, on entering or later.
        """
        ...


class NoConfig:
    """Where there are neither ConfigMaps nor Secrets."""

    async def read_config(self, namespace: str, name: str, /) -> Mapping[str, str]:
        """Raise ConfigMissing."""
        await trio.lowlevel.checkpoint()
        raise missing("ConfigMap", namespace, name)

    async def read_secret(self, namespace: str, name: str, /) -> Mapping[str, str]:
        """Raise ConfigMissing."""
        await trio.lowlevel.checkpoint()
        raise missing("Secret", namespace, name)


@runtime_checkable
class SupportsFiles(Protocol):
    """A VolumeProvider that also writes files that only one container's user may read."""

    async def write_files(self, owner: VolumeOwner, config: ContainerConfig, folders: Folders, /) -> str:
        """Write files for a container of an instance in place of those that it had; return where they are.

        **Cancellation.** *Indeterminate*; it may be repeated. **Concurrency.** Any number of tasks, one per container.

        Raises:
            RuntimeFailure: They can't be written.
        """
        ...

    async def remove_files(self, owner: VolumeOwner, /) -> None:
        """Remove the files of all containers of an instance; none is success. `release` removes them, too."""
        ...


@frozen
class Reading:
    """What a container is to be started with.

    Attributes:
        config: As its author wrote it; with a mount of the files where it has a file system of its own.
        variables: What it is told.
        volumes: What is behind that mount.
    """

    config: ContainerConfig
    variables: Mapping[str, str]
    volumes: tuple[VolumeSource, ...] = ()


@define(eq=False)
class ConfigReader:
    """Reads for containers.

    Attributes:
        source: Knows what there is.
        volumes: Writes files, if it can.
    """

    source: ConfigSource
    volumes: VolumeProvider

    async def read(self, owner: VolumeOwner, config: ContainerConfig) -> Reading:
        """Return what a container is to be started with; its files are there then.

        Raises:
            ConfigMissing: Something that it names is not there; the text says what.
            RuntimeFailure: Files can't be written.
            OrchestrationError: What is there can't be read now.
        """
        variables, folders = dict[str, str](), dict[str, Mapping[str, str]]()
        for folder, variable, use in _uses(config):
            texts = await self._texts(owner.name.namespace, folder, use)
            for name, key in use.env.items():
                if key not in texts:
                    what = f"{_KINDS[folder]} {use.name!r} in namespace {owner.name.namespace!r}"
                    msg = f"waits for {key!r} in {what}, which has no such text"
                    raise ConfigMissing(msg, remedy=f"It has: {', '.join(sorted(texts)) or 'nothing'}")
                variables[name] = texts[key]
            if use.files:
                folders[f"{folder}/{use.name}"] = texts
                variables[variable] = f"{folder}/{use.name}"
        if not folders:
            return Reading(config, variables)
        if not isinstance(self.volumes, SupportsFiles):
            msg = f"container {config.name!r} reads files of ConfigMaps or Secrets, which this node can't write"
            raise RuntimeFailure(msg)
        place = await self.volumes.write_files(owner, config, folders)
        own = config.effective_driver != PROCESS_DRIVER
        seen = INSIDE if own else place
        for _, variable, use in _uses(config):
            if use.files:
                variables[variable] = f"{seen}/{variables[variable]}"
        if not own:
            return Reading(config, variables)
        mount = VolumeMount(volume=CONFIG_VOLUME, path=INSIDE, read_only=True)
        mounted = evolve(config, volumes=(*config.volumes, mount))
        return Reading(mounted, variables, (VolumeSource(volume=CONFIG_VOLUME, host_path=place),))

    async def forget(self, owner: VolumeOwner, template: WorkloadDefinition) -> None:
        """Remove the files of an instance whose containers have ended for good."""
        if isinstance(self.volumes, SupportsFiles) and any(reads_files(each) for each in template.containers):
            await self.volumes.remove_files(owner)

    async def _texts(self, namespace: str, folder: str, use: ConfigUse) -> Mapping[str, str]:
        read = self.source.read_secret if folder == _SECRETS else self.source.read_config
        texts = await read(namespace, use.name)
        bad = next((key for key in texts if not is_config_key(key)), None)
        if bad is not None and use.files:
            msg = f"waits for {_KINDS[folder]} {use.name!r}, whose key {bad!r:.80} can't name a file"
            raise ConfigMissing(msg, remedy=f"A key is {KEY_RULE}.")
        return texts


_CONFIG: Final = "config"
_SECRETS: Final = "secrets"
_KINDS: Final = {_CONFIG: "ConfigMap", _SECRETS: "Secret"}


def _uses(config: ContainerConfig) -> Iterator[tuple[str, str, ConfigUse]]:
    """Yield what a container reads, with the folder of its files and the variable that tells where that is."""
    yield from ((_CONFIG, config_variable(use.name), use) for use in config.config)
    yield from ((_SECRETS, secret_variable(use.name), use) for use in config.secrets)


def reads_files(config: ContainerConfig) -> bool:
    """Whether files are written for a container."""
    return any(use.files for _, _, use in _uses(config))


def missing(kind: str, namespace: str, name: str) -> ConfigMissing:
    """Return the error for what is not there."""
    msg = f"waits for {kind} {name!r}, which is not in namespace {namespace!r}"
    return ConfigMissing(msg, remedy="Create it; the instance then starts.")


RETRY_SECONDS: Final = 30.0
"""What is missing is looked for at least so often."""
