"""What a config means on this machine: pure decisions, before anything is done."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

from orchestrion.runtime_interface import ConfigUnsupported, CreateOptions
from orchestrion.shared_types import ContainerConfig, ContainerId

from ._cgroups import Limits
from ._processes import CONTAINER_VARIABLE, OWNER_VARIABLE

DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MAX_SOCKETS: Final = 128
PIDS_RESOURCE: Final = "pids"
"""The name in `limits.extended` that limits the number of processes and threads."""

_READABLE = re.compile(r"[^a-z0-9-]")


def container_id_of(name: str, options: CreateOptions) -> ContainerId:
    """Return the id of a container: the same for the same (instance, name, attempt), whoever asks and when."""
    instance = options.instance
    exact = "\0".join((instance.workload_id, str(instance.index), str(instance.epoch), name, str(options.attempt)))
    digest = hashlib.sha256(exact.encode()).hexdigest()[:16]
    readable = _READABLE.sub("-", name.lower())[:40]
    return ContainerId(f"{readable}-{instance.index}-{instance.epoch}-{options.attempt}-{digest}")


def refuse_unsupported(config: ContainerConfig, options: CreateOptions) -> None:
    """Refuse what no process on any machine could be.

    Raises:
        ConfigUnsupported: The text names the field.
    """
    reason = _unsupported(config, options)
    if reason:
        msg = f"container {config.name!r}: {reason}"
        raise ConfigUnsupported(msg)


def _unsupported(config: ContainerConfig, options: CreateOptions) -> str:
    if config.image is not None:
        return f"image {config.image!r}: processes have no images; give a command without an image, or another driver"
    if not config.command or not config.command[0]:
        return "command: it is empty; name a program"
    if config.working_dir is not None and not PurePosixPath(config.working_dir).is_absolute():
        return f"working_dir {config.working_dir!r}: it must be an absolute path"
    texts = [*config.command, *config.args, *config.env_vars, *config.env_vars.values(), config.working_dir or ""]
    if any("\0" in text for text in texts):
        return "a text has a NUL character, which no process can be given"
    bad = [name for name in config.env_vars if not name or "=" in name]
    if bad:
        return f"env_vars: {bad[0]!r} can't be the name of a variable"
    return _unsupported_ports(config) or _unsupported_volumes(config, options)


def _unsupported_ports(config: ContainerConfig) -> str:
    for port in config.ports:
        if port.host_port is None:
            return f"ports: {port.name!r} has no host port"
        if port.container_port not in (None, port.host_port):
            return (
                f"ports: {port.name!r} maps host port {port.host_port} to {port.container_port}; a process listens on "
                "the host itself, so both must be the same"
            )
        if port.listen and ":" in port.name:
            return f"ports: {port.name!r} has a colon, which separates names in LISTEN_FDNAMES"
    if sum(port.listen for port in config.ports) > MAX_SOCKETS:
        return f"ports: more than {MAX_SOCKETS} with `listen`"
    return ""


def _unsupported_volumes(config: ContainerConfig, options: CreateOptions) -> str:
    sources = {source.volume: source.host_path for source in options.volumes}
    for mount in config.volumes:
        source = sources.get(mount.volume)
        if source is None:
            return f"volumes: the options have no source for {mount.volume!r}"
        if mount.path not in (None, source):
            return (
                f"volumes: {mount.volume!r} can't appear at {mount.path}; a process finds it where it is, at {source}"
            )
    return ""


def environment_of(
    config: ContainerConfig,
    *,
    inherited: Mapping[str, str],
    search_path: str,
    temporary: str,
    owner: str,
    container_id: str,
) -> dict[str, str]:
    """Return all of a container's environment, but for LISTEN_PID.

    Beyond what the config says there are PATH and TMPDIR, unless it has them, the descriptors of listening sockets, and
    the marks of the owner.
    """
    environment = {"PATH": search_path, "TMPDIR": temporary}
    environment.update({name: inherited[name] for name in config.inherit_env if name in inherited})
    environment.update(config.env_vars)
    names = [port.name for port in config.ports if port.listen]
    if names:
        environment["LISTEN_FDS"] = str(len(names))
        environment["LISTEN_FDNAMES"] = ":".join(names)
    environment[OWNER_VARIABLE] = owner
    environment[CONTAINER_VARIABLE] = container_id
    return environment


def limits_of(config: ContainerConfig, *, max_processes: int) -> Limits:
    """Return what a container's control groups are to enforce."""
    limits = config.limits
    processes = max_processes
    if limits is not None and limits.extended.get(PIDS_RESOURCE, 0):
        processes = limits.extended[PIDS_RESOURCE]
    return Limits(
        memory_bytes=0 if limits is None else limits.memory_bytes,
        cpu_millicores=0 if limits is None else limits.cpu_millicores,
        processes=processes,
        cpu_share_millicores=config.resources.cpu_millicores,
    )
