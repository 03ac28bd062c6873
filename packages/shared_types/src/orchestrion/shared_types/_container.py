"""What a container is to be."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from attrs import field, frozen, validators

from ._mappings import EMPTY, unchanging
from ._resources import GpuRequest, Resources

PROCESS_DRIVER: Final = "process"
"""The driver of a container that names no image."""


MAX_SECONDS: Final = 366 * 86400.0
"""The longest time that can be asked for: a year."""


class Protocol(StrEnum):
    """A transport protocol."""

    TCP = "tcp"
    UDP = "udp"


_port = validators.optional(validators.and_(validators.ge(1), validators.le(65535)))


@frozen(kw_only=True)
class PortMapping:
    """A port that a container listens on.

    Attributes:
        name: Unique in the container; `PORT_<NAME>` tells the instance the number, with `-` as `_`.
        container_port: The port inside the container, or None for the same as the host's.
        host_port: 1 to 65535 for that one; None for one that the node leases. A runtime is always given a number.
        protocol: tcp or udp.
        listen: True asks for the open socket instead of the number alone: the process finds it as its file descriptors
            from 3 on, with LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES set (systemd's sd_listen_fds(3)).
    """

    name: str
    container_port: int | None = field(default=None, validator=_port)
    host_port: int | None = field(default=None, validator=_port)
    protocol: Protocol = Protocol.TCP
    listen: bool = False


@frozen(kw_only=True)
class VolumeMount:
    """A volume in a container.

    Attributes:
        volume: The name of one of the workload's volumes; `VOLUME_<NAME>` tells the instance the path.
        path: Where it appears: an absolute path for drivers with a file system of their own; None leaves it where the
            host has it, the only choice of the process driver.
        read_only: True refuses writes where the driver can.
    """

    volume: str
    path: str | None = None
    read_only: bool = False


@frozen(kw_only=True)
class ConfigUse:
    """A ConfigMap or a Secret of the workload's namespace that a container reads. It is read anew at each start.

    Attributes:
        name: Its name.
        env: By names of variables, the keys of the texts that they get.
        files: Whether each of its texts is a file, named by its key, of a directory whose path `CONFIG_<NAME>` or
            `SECRET_<NAME>` tells. Only the container's user may read it.
    """

    name: str
    env: Mapping[str, str] = field(default=EMPTY, converter=unchanging)
    files: bool = True

    def __attrs_post_init__(self) -> None:
        if not self.files and not self.env:
            msg = f"{self.name!r} is named, and none of it is read: say env, or files"
            raise ValueError(msg)


@frozen(kw_only=True)
class HttpProbe:
    """Healthy is an HTTP status of 200 to 399.

    Attributes:
        port: The name of one of the container's ports.
        path: The request's path, with a leading slash.
    """

    port: str
    path: str = field(default="/", validator=validators.matches_re(r"/[!-~]*"))


@frozen(kw_only=True)
class TcpProbe:
    """Healthy is a connection that is accepted.

    Attributes:
        port: The name of one of the container's ports.
    """

    port: str


@frozen(kw_only=True)
class ExecProbe:
    """Healthy is a command that ends with 0 inside the container.

    Attributes:
        command: Program and arguments; not empty.
    """

    command: tuple[str, ...] = field(validator=validators.min_len(1))


Probe = HttpProbe | TcpProbe | ExecProbe

_seconds = [validators.ge(0.0), validators.le(MAX_SECONDS)]
_positive_seconds = [validators.gt(0.0), validators.le(MAX_SECONDS)]


@frozen(kw_only=True)
class HealthCheck:
    """How to tell whether a running container serves.

    Attributes:
        probe: What is tried.
        interval_seconds: From the end of one try to the next, > 0.
        timeout_seconds: A try that takes longer failed, > 0.
        healthy_threshold: Successes in a row that make it healthy, >= 1.
        unhealthy_threshold: Failures in a row that make it unhealthy, >= 1.
        start_period_seconds: Failures this soon after the start do not count.
    """

    probe: Probe
    interval_seconds: float = field(default=2.0, validator=_positive_seconds)
    timeout_seconds: float = field(default=2.0, validator=_positive_seconds)
    healthy_threshold: int = field(default=1, validator=validators.ge(1))
    unhealthy_threshold: int = field(default=3, validator=validators.ge(1))
    start_period_seconds: float = field(default=0.0, validator=_seconds)


@frozen(kw_only=True)
class ContainerConfig:
    """One container of an instance.

    Attributes:
        name: Unique in the workload, a DNS label.
        driver: The runtime that runs it; None is decided by `effective_driver`.
        image: What an image driver runs; None for drivers without images.
        command: Program and first arguments; empty leaves it to the image.
        args: Further arguments, after `command`.
        working_dir: An absolute path, or None for a fresh private directory.
        user: A name or number, with an optional `:group`; None is the runtime's own user.
        env_vars: The environment; nothing else is inherited but what `inherit_env` names.
        inherit_env: Names of variables taken from the runtime's own environment where it has them.
        ports: Names are unique.
        resources: What the scheduler reserves and the container is promised.
        limits: What the container may use at most; a dimension of 0 is unlimited. None is all unlimited.
        gpu: GPUs that it needs, or None.
        volumes: At most one mount per volume.
        config: ConfigMaps that it reads; names are unique.
        secrets: Secrets that it reads; names are unique.
        health: How to tell whether it serves; None: it is healthy while it runs.
        cpu_set: Numbers of the only cores that it may use; None for all.
        stop_grace_seconds: From SIGTERM to SIGKILL.
    """

    name: str
    driver: str | None = None
    image: str | None = None
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str | None = None
    user: str | None = None
    env_vars: Mapping[str, str] = field(default=EMPTY, converter=unchanging)
    inherit_env: tuple[str, ...] = ()
    ports: tuple[PortMapping, ...] = ()
    resources: Resources = Resources()
    limits: Resources | None = None
    gpu: GpuRequest | None = None
    volumes: tuple[VolumeMount, ...] = ()
    config: tuple[ConfigUse, ...] = ()
    secrets: tuple[ConfigUse, ...] = ()
    health: HealthCheck | None = None
    cpu_set: tuple[int, ...] | None = None
    stop_grace_seconds: float = field(default=10.0, validator=_seconds)

    @property
    def effective_driver(self) -> str:
        """`driver`, or else "docker" for a container with an image and "process" for one without."""
        if self.driver is not None:
            return self.driver
        return PROCESS_DRIVER if self.image is None else "docker"
