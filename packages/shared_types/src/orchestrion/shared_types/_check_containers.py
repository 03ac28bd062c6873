"""What is wrong with containers: with what their parts say of each other."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ._check_config import config_findings, config_folders, config_variables
from ._container import PROCESS_DRIVER, ContainerConfig, ExecProbe, HttpProbe, Protocol
from ._expand import (
    GIVEN_VARIABLES,
    ReferenceInvalid,
    endpoints_variable,
    is_variable_name,
    port_variable,
    references,
    unknown_variable,
    volume_variable,
)
from ._finding import Finding, Others, Path, bad_name, bad_variable, duplicates
from ._ids import is_name
from ._suggest import unknown
from ._workload import (
    WorkloadDefinition,
)


def container_findings(
    workload: WorkloadDefinition, at: Path, known: Others, further_volumes: Collection[str]
) -> Iterator[Finding]:
    """Yield what is wrong with the containers of a workload."""
    at = (*at, "containers")
    if not workload.containers:
        yield Finding(at, "a workload needs at least one container, with a name and a command")
    yield from duplicates((((*at, i, "name"), one.name) for i, one in enumerate(workload.containers)), "container")
    volumes = [volume.name for volume in workload.volumes]
    outside = _outside_variables(workload, known)
    for index, container in enumerate(workload.containers):
        here = (*at, index)
        if not is_name(container.name):
            yield Finding((*here, "name"), bad_name("container", container.name))
        yield from _driver_findings(container, here)
        yield from _mount_findings(container, here, volumes, further_volumes)
        yield from config_findings(container, here)
        yield from _health_findings(container, here)
        yield from _limit_findings(container, here)
        yield from _variable_findings(container, here, outside, workload, known)


def _driver_findings(container: ContainerConfig, at: Path) -> Iterator[Finding]:
    process = container.effective_driver == PROCESS_DRIVER
    if container.driver is not None and not is_name(container.driver):
        yield Finding((*at, "driver"), bad_name("driver", container.driver))
    if container.image is None and not container.command:
        yield Finding(
            at, "command is missing; write command: [program, argument, ...], or an image that brings its own"
        )
    if container.command and not container.command[0]:
        yield Finding((*at, "command", 0), "the program's name is empty")
    if process and container.image is not None:
        yield Finding((*at, "image"), "the process driver has no images; leave out the image, or the driver")
    if container.working_dir is not None and "${" in container.working_dir:
        yield Finding(
            (*at, "working_dir"), "variables are not replaced here; use command: [sh, -c, 'cd ... && exec ...']"
        )
    elif container.working_dir is not None and not container.working_dir.startswith("/"):
        yield Finding((*at, "working_dir"), f"{container.working_dir!r:.80} is not an absolute path")
    if container.cpu_set is not None:
        cores = container.cpu_set
        if not cores or len(set(cores)) != len(cores) or min(cores) < 0:
            yield Finding((*at, "cpu_set"), "a cpu_set names one or more different cores, from 0")
    for port in container.ports:
        if process and port.container_port is not None and port.container_port != port.host_port:
            yield Finding(
                (*at, "ports", port.name),
                "a process has no ports of its own, so container_port can't differ; write port, or leave both out",
            )


def _mount_findings(
    container: ContainerConfig, at: Path, volumes: Collection[str], further: Collection[str]
) -> Iterator[Finding]:
    at = (*at, "volumes")
    yield from duplicates((((*at, one.volume), one.volume) for one in container.volumes), "volume")
    for mount in container.volumes:
        here = (*at, mount.volume)
        if mount.volume not in volumes:
            yield Finding(here, f"{unknown('volume', mount.volume, {*volumes, *further})} (volumes: declares them)")
        if mount.path is None:
            continue
        if container.effective_driver == PROCESS_DRIVER:
            yield Finding(
                here,
                f"a process sees a volume where the host has it; leave out path and use "
                f"${{{volume_variable(mount.volume)}}}",
            )
        elif not mount.path.startswith("/"):
            yield Finding(here, f"{mount.path!r:.80} is not an absolute path")


def _health_findings(container: ContainerConfig, at: Path) -> Iterator[Finding]:
    if container.health is None or isinstance(container.health.probe, ExecProbe):
        return
    probe = container.health.probe
    at = (*at, "health", "http" if isinstance(probe, HttpProbe) else "tcp")
    ports = {port.name: port for port in container.ports}
    if probe.port not in ports:
        yield Finding(at, f"{unknown('port', probe.port, ports)} (ports: declares them)")
    elif ports[probe.port].protocol is not Protocol.TCP:
        yield Finding(at, f"port {probe.port!r} is {ports[probe.port].protocol}; a check needs tcp, or use exec")


def _limit_findings(container: ContainerConfig, at: Path) -> Iterator[Finding]:
    if container.limits is None:
        return
    limits = dict(container.limits.dimensions())
    keys = {"cpu_millicores": "cpu", "memory_bytes": "memory", "disk_bytes": "disk"}
    for dimension, amount in container.resources.dimensions():
        limit = limits.get(dimension, 0)
        if 0 < limit < amount:
            key = keys.get(dimension, dimension)
            yield Finding((*at, "limits", key), f"the limit of {key} ({limit}) is below the request ({amount})")


def _variable_findings(
    container: ContainerConfig, at: Path, outside: frozenset[str], workload: WorkloadDefinition, known: Others
) -> Iterator[Finding]:
    own = {volume_variable(mount.volume) for mount in container.volumes}
    own.update(port_variable(port.name) for port in container.ports)
    own.update(config_folders(container))
    given = outside | own
    read = config_variables(container)
    unseen = tuple(
        endpoints_variable(one.workload, "") for one in workload.after if known.get(one.workload, workload) is None
    )
    scope = {*given, *read}
    for name, here in read.items():
        if name in given or name.startswith("ORCHESTRION_"):
            yield Finding((*at, *here), f"{name} is set by the orchestrator; choose another name")
    hidden = {name for name, here in read.items() if here[0] == "secrets"}
    for index, name in enumerate(container.inherit_env):
        if not is_variable_name(name):
            yield Finding((*at, "inherit_env", index), bad_variable(name))
        scope.add(name)

    def check(text: str, here: Path) -> Iterator[Finding]:
        try:
            names = references(text)
        except ReferenceInvalid as err:
            yield Finding(here, err.problems[0].message)
            return
        for name in names:
            if name not in scope and not name.startswith(unseen):
                yield Finding(here, unknown_variable(name, frozenset(scope)))
            elif name in hidden and here[len(at)] != "env":
                yield Finding(
                    here, f"${{{name}}} is of a secret, and would be seen here by others; let the program read it"
                )

    for name, text in container.env_vars.items():
        here = (*at, "env", name)
        if not is_variable_name(name):
            yield Finding(here, bad_variable(name))
        if name in given or name.startswith("ORCHESTRION_"):
            yield Finding(here, f"{name} is set by the orchestrator; choose another name")
        if name in read:
            yield Finding(here, f"{name} is read from {read[name][0]} too; choose another name")
        yield from check(text, here)
        scope.add(name)
        if not hidden.isdisjoint(_references(text)):
            hidden.add(name)
    for index, text in enumerate(container.command):
        yield from check(text, (*at, "command", index))
    for index, text in enumerate(container.args):
        yield from check(text, (*at, "args", index))
    match container.health and container.health.probe:
        case HttpProbe(path=text):
            yield from check(text, (*at, "health", "http", "path"))
        case ExecProbe(command=texts):
            for index, text in enumerate(texts):
                yield from check(text, (*at, "health", "exec", index))


def _references(text: str) -> tuple[str, ...]:
    try:
        return references(text)
    except ReferenceInvalid:
        return ()


def _outside_variables(workload: WorkloadDefinition, known: Others) -> frozenset[str]:
    names = set(GIVEN_VARIABLES)
    for dependency in workload.after:
        other = known.get(dependency.workload)
        for container in () if other is None else other.containers:
            names.update(endpoints_variable(dependency.workload, port.name) for port in container.ports)
    return frozenset(names)
