"""The form of containers and their health checks."""

from __future__ import annotations

import os.path
from collections.abc import Mapping
from typing import Any

import attrs
from orchestrion.shared_types._container import (
    ContainerConfig,
    ExecProbe,
    HealthCheck,
    HttpProbe,
    TcpProbe,
)
from orchestrion.shared_types._finding import Path
from orchestrion.shared_types._resources import Resources

from ._config_form import CONFIG_USES
from ._nodes import Mapping as MappingNode
from ._nodes import Node, Scalar
from ._port_form import MOUNTS, PORTS
from ._resource_form import LIMITS, REQUESTS
from ._scalars import Text, Whole
from ._shape import INVALID, Reader
from ._shapes import Field, Forms, ListOf, Mapped, Record, Table
from ._terms import (
    ANY,
    DURATION,
    NAME,
    POSITIVE,
    POSITIVE_COUNT,
    TEXT,
    VARIABLE,
)

_PROBE_PORT = Field("port", NAME, "The name of one of the container's ports.", required=True)
_HTTP = Record(
    "http_probe",
    [_PROBE_PORT, Field("path", Text("a path such as /health", pattern="/[!-~]*"), "The request's path.")],
    HttpProbe,
    kind=HttpProbe,
    about="Healthy is an HTTP status of 200 to 399. A port's name alone asks for `/`.",
)
_TCP = Record("tcp_probe", [_PROBE_PORT], TcpProbe, kind=TcpProbe, about="Healthy is a connection that is accepted.")


def _health(**attributes: Any) -> HealthCheck:
    probes = [attributes.pop(key) for key in ("http", "tcp", "exec") if key in attributes]
    return HealthCheck(probe=probes[0], **attributes)


def _split_health(health: HealthCheck) -> Mapping[str, Any]:
    key = {HttpProbe: "http", TcpProbe: "tcp", ExecProbe: "exec"}[type(health.probe)]
    return {**attrs.asdict(health, recurse=False), key: health.probe}


HEALTH = Record(
    "health",
    [
        Field(
            "http",
            Forms(Mapped(NAME, lambda port: HttpProbe(port=port)), _HTTP),
            "An HTTP request: `{port: NAME, path: /}`, or the port's name alone.",
        ),
        Field("tcp", Forms(Mapped(NAME, lambda port: TcpProbe(port=port)), _TCP), "A connection to that port."),
        Field(
            "exec",
            Mapped(
                ListOf(ANY, words="a list of texts", least=1),
                lambda command: ExecProbe(command=command),
                lambda probe: probe.command,
            ),
            "A command inside the container; healthy is an exit with 0.",
        ),
        Field("interval", POSITIVE, "From the end of one try to the next.", "interval_seconds"),
        Field("timeout", POSITIVE, "A try that takes longer failed.", "timeout_seconds"),
        Field("healthy_threshold", POSITIVE_COUNT, "Successes in a row that make it healthy."),
        Field("unhealthy_threshold", POSITIVE_COUNT, "Failures in a row that make it unhealthy."),
        Field("start_period", DURATION, "Failures this soon after the start do not count.", "start_period_seconds"),
    ],
    _health,
    kind=HealthCheck,
    split=_split_health,
    one_of=("http", "tcp", "exec"),
    about="How to tell whether the container serves: exactly one of http, tcp and exec.",
    example="health: {http: {port: http, path: /ready}, interval: 1s, timeout: 500ms}\n",
)


class _Folder(Text):
    """A folder; a relative one starts from the manifest's."""

    def read(self, node: Node, path: Path, reader: Reader) -> Any:
        """See `Shape`."""
        text = super().read(node, path, reader)
        if text is INVALID or text.startswith("/") or "${" in text:
            return text
        if text.startswith("~"):
            return reader.fail(node, path, f"{text!r:.80}: ~ is not replaced here; write the whole path")
        if reader.folder is None:
            return reader.fail(
                node, path, f"{text!r:.80} is relative, and this manifest has no folder; write the whole path"
            )
        return os.path.normpath(os.path.join(reader.folder, text))  # noqa: PTH118 # Path does not take .. away


class _ContainerRecord(Record):
    """A container, whose working directory is on this machine unless it has an image."""

    def check(self, node: MappingNode, path: Path, reader: Reader) -> bool:
        """See `Record`."""
        if reader.folder is None or "image" not in node.entries or "working_dir" not in node.entries:
            return True
        folder = node.entries["working_dir"][1]
        if not isinstance(folder, Scalar) or folder.text.startswith("/"):
            return True
        reader.fail(folder, (*path, "working_dir"), f"{folder.text!r:.80} is not an absolute path inside the image")
        return False


def _container(**attributes: Any) -> ContainerConfig:
    resources, gpu = attributes.pop("resources", (Resources(), None))
    return ContainerConfig(**attributes, resources=resources, gpu=gpu)


def _split_container(container: ContainerConfig) -> Mapping[str, Any]:
    return {**attrs.asdict(container, recurse=False), "resources": (container.resources, container.gpu)}


_ARGUMENTS = ListOf(ANY, words="a list of texts")

CONTAINER = _ContainerRecord(
    "container",
    [
        Field("name", NAME, "Unique in the workload.", required=True),
        Field("driver", NAME, "The runtime that runs it: without it docker for an image, else process."),
        Field("image", TEXT, "What an image driver runs."),
        Field(
            "command",
            _ARGUMENTS,
            "Program and arguments; required without an image. Numbers and flags are taken as they are written.",
        ),
        Field("args", _ARGUMENTS, "Further arguments, after `command`."),
        Field(
            "working_dir",
            _Folder("a path", empty=False),
            "A relative path starts from the manifest's folder; without it a fresh private directory.",
        ),
        Field("user", Text("a user", numbers=True, empty=False), "A name or number, with an optional `:group`."),
        Field(
            "env",
            Table(VARIABLE, ANY, words="a mapping of texts"),
            "The environment; nothing is inherited but what `inherit_env` names. Numbers and true or false are taken "
            "as they are written.",
            "env_vars",
        ),
        Field("inherit_env", ListOf(VARIABLE), "Variables taken from the runtime's own environment where it has them."),
        Field("ports", PORTS, "Ports by name, or a list of names."),
        Field("resources", REQUESTS, "What is reserved.", default=(Resources(), None)),
        Field("limits", LIMITS, "What may be used at most; all is unlimited without it."),
        Field("volumes", MOUNTS, "Names of volumes, or mounts."),
        Field("config", CONFIG_USES, "ConfigMaps that it reads: names, for files, or `{NAME: {env: ...}}`."),
        Field("secrets", CONFIG_USES, "Secrets that it reads, in the same way."),
        Field("health", HEALTH, "How to tell whether it serves; without it, it is healthy while it runs."),
        Field("cpu_set", ListOf(Whole(0, 65535, "a core's number"), least=1), "The only cores that it may use."),
        Field("stop_grace", DURATION, "From SIGTERM to SIGKILL.", "stop_grace_seconds"),
    ],
    _container,
    kind=ContainerConfig,
    split=_split_container,
    about="One program of an instance. All containers of an instance run.",
    example="containers:\n  - name: server\n    command: [python3, -m, http.server, '${PORT_HTTP}']\n"
    "    ports: {http: {}}\n    health: {http: http, interval: 1s}\n",
)
