"""The form of ports, volumes and mounts."""

from __future__ import annotations

from typing import Any

import attrs
from orchestrion.shared_types._container import (
    PortMapping,
    Protocol,
    VolumeMount,
)
from orchestrion.shared_types._finding import Path
from orchestrion.shared_types._workload import (
    Volume,
    VolumeScope,
)

from ._nodes import Node, Scalar
from ._scalars import Flag, Nothing, Text, Word
from ._shape import Reader
from ._shapes import Field, Forms, ListOf, Mapped, Record, Table
from ._terms import (
    NAME,
    PORT_NUMBER,
    TEXT,
    is_but,
)

_PORT = Record(
    "port",
    [
        Field("port", PORT_NUMBER, "The port on the node; without it the node leases one.", "host_port"),
        Field(
            "container_port",
            PORT_NUMBER,
            "The port inside the container, for drivers whose containers have ports of their own; the same without it.",
        ),
        Field("protocol", Word(Protocol), "The transport protocol."),
        Field("listen", Flag(), "True hands over the open socket (`LISTEN_FDS`) instead of the number alone."),
    ],
    dict,
    kind=PortMapping,
    split=lambda port: attrs.asdict(port, recurse=False),
    about="A port that the container listens on; `PORT_<NAME>` has its number.",
    example="ports:\n  http: {}          # the node leases one\n  admin: 8080       # that one\n"
    "  dns: {port: 5353, protocol: udp}\n",
)


class _PortName(Text):
    """The name of a port; who writes a number wants that port, and has to name it too."""

    def read(self, node: Node, path: Path, reader: Reader) -> Any:
        """See `Shape`."""
        if isinstance(node, Scalar) and type(node.value) is int:
            return reader.fail(node, path, f"a port has a name; write {{http: {node.text}}} instead of the list")
        return super().read(node, path, reader)


_PORT_FORM = Forms(Mapped(Nothing(), lambda _: {}), Mapped(PORT_NUMBER, lambda number: {"host_port": number}), _PORT)
PORTS = Forms(
    Mapped(
        ListOf(_PortName(NAME.words, pattern=NAME.pattern)),
        lambda names: tuple(PortMapping(name=name) for name in names),
    ),
    Mapped(
        Table(NAME, _PORT_FORM),
        lambda ports: tuple(PortMapping(name=name, **port) for name, port in ports.items()),
        lambda ports: {port.name: port for port in ports},
    ),
)

_VOLUME = Record(
    "volume",
    [
        Field(
            "scope",
            Word(VolumeScope),
            "`shared`: a directory on the node for all instances of the namespace that mount it; `instance`: one for "
            "each instance, removed with it.",
        )
    ],
    dict,
    kind=Volume,
    about="A named directory.",
    example="volumes:\n  counts: {}\n  scratch: {scope: instance}\n",
)
VOLUMES = Forms(
    Mapped(ListOf(NAME), lambda names: tuple(Volume(name=name) for name in names)),
    Mapped(
        Table(NAME, Forms(Mapped(Nothing(), lambda _: {}), _VOLUME)),
        lambda volumes: tuple(Volume(name=name, **volume) for name, volume in volumes.items()),
        lambda volumes: {volume.name: volume for volume in volumes},
    ),
)

_MOUNT_FIELDS = [
    Field("path", TEXT, "Where it appears, for drivers whose containers have a file system of their own; absolute."),
    Field("read_only", Flag(), "True refuses writes where the driver can."),
]
_MOUNT = Record(
    "mount",
    [Field("volume", NAME, "The volume's name.", required=True), *_MOUNT_FIELDS],
    VolumeMount,
    kind=VolumeMount,
    about="A volume in the container; `VOLUME_<NAME>` has its path. A name alone is a mount with defaults.",
    example="volumes: [counts, {volume: data, path: /data, read_only: true}]\n",
)
_NAMED_MOUNT = Record("named_mount", _MOUNT_FIELDS, dict, kind=VolumeMount, about="A mount under its volume's name.")
MOUNTS = Forms(
    Mapped(
        Table(
            NAME,
            Forms(
                Mapped(Nothing(), lambda _: {}),
                Mapped(TEXT, lambda path: {"path": path}),
                _NAMED_MOUNT,
            ),
        ),
        lambda mounts: tuple(VolumeMount(volume=name, **mount) for name, mount in mounts.items()),
    ),
    ListOf(
        Forms(
            Mapped(NAME, lambda name: VolumeMount(volume=name), lambda mount: mount.volume),
            _MOUNT,
            choose=lambda mount: 0 if is_but(mount, VolumeMount, volume="volume") else 1,
        )
    ),
)
