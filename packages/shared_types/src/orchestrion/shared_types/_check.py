"""What is wrong with workloads although each of their values is right: what their parts say of each other."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

from attrs import frozen

from ._container import PROCESS_DRIVER, ContainerConfig, ExecProbe, HttpProbe, PortMapping, Protocol
from ._errors import Problem
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
from ._ids import is_name
from ._suggest import unknown
from ._workload import (
    DependencyCondition,
    RestartCondition,
    UpdateStrategy,
    WorkloadDefinition,
    WorkloadKind,
)

Path = tuple[str | int, ...]
Others = Mapping[str, WorkloadDefinition | None]

NAME_RULE: Final = "1 to 63 lower-case letters, digits and inner hyphens"
_SHOWN_CYCLES = 10

ONLY_FOR: Final[Mapping[str, tuple[frozenset[WorkloadKind], str]]] = {
    "replicas": (
        frozenset({WorkloadKind.SERVICE}),
        "a batch workload has completions and parallelism, a daemon runs once on every node",
    ),
    "update": (
        frozenset({WorkloadKind.SERVICE, WorkloadKind.DAEMON}),
        "a batch workload is not updated while it runs: remove it and apply it again",
    ),
    "completions": (frozenset({WorkloadKind.BATCH}), "use replicas, or write kind: batch"),
    "parallelism": (frozenset({WorkloadKind.BATCH}), "use replicas, or write kind: batch"),
    "retries": (frozenset({WorkloadKind.BATCH}), "use restart, or write kind: batch"),
    "deadline": (frozenset({WorkloadKind.BATCH}), "write kind: batch, or leave it out"),
}
"""Keys of a workload that have a meaning for some kinds only, and what to do instead."""


@frozen
class Finding:
    """Something that is wrong, or likely not meant.

    Attributes:
        path: Where, in the terms of a manifest.
        message: What is wrong and what would be right.
        warning: True where it may be meant.
    """

    path: Path
    message: str
    warning: bool = False


def check_workloads(
    workloads: Iterable[WorkloadDefinition], *, others: Iterable[WorkloadDefinition] = ()
) -> tuple[Problem, ...]:
    """Return what keeps `workloads` from being accepted together; empty where nothing does.

    Args:
        workloads: What is to be accepted at once.
        others: Workloads that exist already, which those may come after. One with the name of one of `workloads` is
            taken to be replaced by it.
    """
    return tuple(
        Problem(finding.message, path=path_text(finding.path))
        for finding in findings(tuple(workloads), others=tuple(others))
        if not finding.warning
    )


def findings(
    workloads: Collection[WorkloadDefinition], *, others: Collection[WorkloadDefinition] = ()
) -> Iterator[Finding]:
    """Yield all errors and warnings of `workloads`, namespace by namespace."""
    namespaces = dict.fromkeys(workload.metadata.namespace for workload in workloads)
    for namespace in namespaces:
        if not is_name(namespace):
            yield Finding(("namespace",), _bad_name("namespace", namespace))
        mine = [workload for workload in workloads if workload.metadata.namespace == namespace]
        yield from findings_in(
            mine, {other.metadata.name: other for other in others if other.metadata.namespace == namespace}
        )


def findings_in(
    workloads: Collection[WorkloadDefinition], known: Others, *, volumes: Collection[str] = ()
) -> Iterator[Finding]:
    """Yield all errors and warnings of `workloads`, which are of one namespace.

    Args:
        workloads: What is to be accepted at once.
        known: All names that a workload may come after; None for one whose definition is not known.
        volumes: Names of further volumes that a mount may have been meant to name.
    """
    known = {**known, **{workload.metadata.name: workload for workload in workloads}}
    yield from _duplicates(
        ((("workloads", workload.metadata.name), workload.metadata.name) for workload in workloads), "workload"
    )
    for workload in workloads:
        at: Path = ("workloads", workload.metadata.name)
        if not is_name(workload.metadata.name):
            yield Finding(at, _bad_name("workload", workload.metadata.name))
        yield from _kind_findings(workload, at)
        yield from _volume_findings(workload, at)
        yield from _after_findings(workload, at, known)
        yield from _container_findings(workload, at, known, volumes)
        yield from _port_findings(workload, at)
    yield from _cycles(workloads)
    yield from _shared_ports(workloads)


def path_text(path: Path) -> str:
    """Return a path as people read it: `workloads.web.containers[0].env`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part and all(letter.isalnum() or letter in "_-$" for letter in part):
            text += f".{part}" if text else part
        else:
            text += f"[{part!r:.80}]"
    return text


def not_for(key: str, kind: WorkloadKind) -> str | None:
    """Return why a workload of this kind can't have `key`, or None where it can."""
    kinds, remedy = ONLY_FOR.get(key, (frozenset(WorkloadKind), ""))
    return None if kind in kinds else f"{key} has no meaning for a {kind}; {remedy}"


def _kind_findings(workload: WorkloadDefinition, at: Path) -> Iterator[Finding]:
    changed = {
        "replicas": workload.replicas != 1,
        "update": workload.update != UpdateStrategy(),
        "completions": workload.completions != 1,
        "parallelism": workload.parallelism is not None,
        "retries": workload.retries != 0,
        "deadline": workload.deadline_seconds is not None,
    }
    for key, given in changed.items():
        refusal = not_for(key, workload.kind) if given else None
        if refusal is not None:
            yield Finding((*at, key), refusal)
    if workload.kind is WorkloadKind.BATCH and workload.restart.condition is RestartCondition.ALWAYS:
        yield Finding((*at, "restart"), "a batch workload that always restarts never ends; use on-failure or never")


def _volume_findings(workload: WorkloadDefinition, at: Path) -> Iterator[Finding]:
    at = (*at, "volumes")
    yield from _duplicates((((*at, volume.name), volume.name) for volume in workload.volumes), "volume")
    for volume in workload.volumes:
        if not is_name(volume.name):
            yield Finding((*at, volume.name), _bad_name("volume", volume.name))


def _after_findings(workload: WorkloadDefinition, at: Path, known: Others) -> Iterator[Finding]:
    at = (*at, "after")
    yield from _duplicates((((*at, one.workload), one.workload) for one in workload.after), "workload")
    for dependency in workload.after:
        here = (*at, dependency.workload)
        if dependency.workload not in known:
            yield Finding(here, unknown("workload", dependency.workload, known))
            continue
        other = known[dependency.workload]
        if other is None:
            continue
        if dependency.condition is DependencyCondition.SUCCEEDED and other.kind is not WorkloadKind.BATCH:
            yield Finding(
                here,
                f"{dependency.workload!r} is a {other.kind}, which never succeeds; wait for healthy or started",
            )
        if dependency.condition is DependencyCondition.HEALTHY and other.kind is WorkloadKind.BATCH:
            yield Finding(
                here,
                f"{dependency.workload!r} is a batch workload, which is never healthy as a whole; "
                "wait for succeeded or started",
            )


def _container_findings(
    workload: WorkloadDefinition, at: Path, known: Others, further_volumes: Collection[str]
) -> Iterator[Finding]:
    at = (*at, "containers")
    if not workload.containers:
        yield Finding(at, "a workload needs at least one container, with a name and a command")
    yield from _duplicates((((*at, i, "name"), one.name) for i, one in enumerate(workload.containers)), "container")
    volumes = [volume.name for volume in workload.volumes]
    outside = _outside_variables(workload, known)
    for index, container in enumerate(workload.containers):
        here = (*at, index)
        if not is_name(container.name):
            yield Finding((*here, "name"), _bad_name("container", container.name))
        yield from _driver_findings(container, here)
        yield from _mount_findings(container, here, volumes, further_volumes)
        yield from _health_findings(container, here)
        yield from _limit_findings(container, here)
        yield from _variable_findings(container, here, outside, workload, known)


def _driver_findings(container: ContainerConfig, at: Path) -> Iterator[Finding]:
    process = container.effective_driver == PROCESS_DRIVER
    if container.driver is not None and not is_name(container.driver):
        yield Finding((*at, "driver"), _bad_name("driver", container.driver))
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
    yield from _duplicates((((*at, one.volume), one.volume) for one in container.volumes), "volume")
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
    given = outside | own
    unseen = tuple(
        endpoints_variable(one.workload, "") for one in workload.after if known.get(one.workload, workload) is None
    )
    scope = set(given)
    for index, name in enumerate(container.inherit_env):
        if not is_variable_name(name):
            yield Finding((*at, "inherit_env", index), _bad_variable(name))
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

    for name, text in container.env_vars.items():
        here = (*at, "env", name)
        if not is_variable_name(name):
            yield Finding(here, _bad_variable(name))
        if name in given or name.startswith("ORCHESTRION_"):
            yield Finding(here, f"{name} is set by the orchestrator; choose another name")
        yield from check(text, here)
        scope.add(name)
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


def _outside_variables(workload: WorkloadDefinition, known: Others) -> frozenset[str]:
    names = set(GIVEN_VARIABLES)
    for dependency in workload.after:
        other = known.get(dependency.workload)
        for container in () if other is None else other.containers:
            names.update(endpoints_variable(dependency.workload, port.name) for port in container.ports)
    return frozenset(names)


def _port_findings(workload: WorkloadDefinition, at: Path) -> Iterator[Finding]:
    names: set[str] = set()
    taken: dict[tuple[int, Protocol], str] = {}
    for index, container in enumerate(workload.containers):
        for port in container.ports:
            here = (*at, "containers", index, "ports", port.name)
            if not is_name(port.name):
                yield Finding(here, _bad_name("port", port.name))
            if port.name in names:
                yield Finding(
                    here, f"port {port.name!r} is named twice in the workload; {port_variable(port.name)} is one"
                )
            names.add(port.name)
            if port.host_port is None:
                continue
            owner = taken.setdefault((port.host_port, port.protocol), port.name)
            if owner != port.name:
                yield Finding(here, f"port {port.host_port}/{port.protocol} is asked for by {owner!r} already")
            reason = _crowded(workload)
            if reason:
                yield Finding(
                    here,
                    f"port {port.host_port} is there once per node, but {reason}; leave the number to the node: {{}}",
                    True,
                )


def _crowded(workload: WorkloadDefinition) -> str:
    """Return why two instances of a workload may want the same node, or nothing."""
    match workload.kind:
        case WorkloadKind.SERVICE if workload.replicas > 1:
            return f"there are {workload.replicas} replicas"
        case WorkloadKind.SERVICE if workload.replicas == 1 and workload.update.max_surge > 0:
            return "an update starts a second instance first (update: {max_surge: 0, max_unavailable: 1} does not)"
        case WorkloadKind.BATCH if min(workload.completions, workload.parallelism or workload.completions) > 1:
            return "several completions run at once"
        case _:
            return ""


def _shared_ports(workloads: Collection[WorkloadDefinition]) -> Iterator[Finding]:
    owners: dict[tuple[int, Protocol], str] = {}
    for workload, index, port in _static_ports(workloads):
        name = workload.metadata.name
        owner = owners.setdefault((port.host_port or 0, port.protocol), name)
        if owner != name:
            yield Finding(
                ("workloads", name, "containers", index, "ports", port.name),
                f"port {port.host_port} is asked for by workload {owner!r} too; they can't share a node",
                True,
            )


def _static_ports(
    workloads: Iterable[WorkloadDefinition],
) -> Iterator[tuple[WorkloadDefinition, int, PortMapping]]:
    for workload in workloads:
        for index, container in enumerate(workload.containers):
            for port in container.ports:
                if port.host_port is not None:
                    yield workload, index, port


def _cycles(workloads: Collection[WorkloadDefinition]) -> Iterator[Finding]:
    """Yield each cycle of `after` once, by taking away what depends on nothing until only cycles feed the rest."""
    waits = {one.metadata.name: [after.workload for after in one.after] for one in workloads}
    for _ in range(_SHOWN_CYCLES):
        _peel(waits)
        if not waits:
            return
        walk: dict[str, None] = {}
        name = next(iter(waits))
        while name not in walk:
            walk[name] = None
            name = next(other for other in waits[name] if other in waits)
        names = list(walk)
        cycle = names[names.index(name) :]
        path: Path = ("workloads", cycle[0], "after", next(iter(cycle[1:]), cycle[0]))
        yield Finding(
            path, f"these wait for each other for ever: {' -> '.join([*cycle, cycle[0]])}; leave out one of them"
        )
        for member in cycle:
            del waits[member]


def _peel(waits: dict[str, list[str]]) -> None:
    open_ends = {name: len({other for other in others if other in waits}) for name, others in waits.items()}
    dependants: dict[str, list[str]] = {}
    for name, others in waits.items():
        for other in set(others):
            dependants.setdefault(other, []).append(name)
    ready = [name for name, count in open_ends.items() if count == 0]
    while ready:
        name = ready.pop()
        del waits[name]
        for dependant in dependants.get(name, ()):
            open_ends[dependant] -= 1
            if open_ends[dependant] == 0:
                ready.append(dependant)


def _duplicates(named: Iterable[tuple[Path, str]], what: str) -> Iterator[Finding]:
    seen: set[str] = set()
    for path, name in named:
        if name in seen:
            yield Finding(path, f"{what} {name!r} is named twice")
        seen.add(name)


def _bad_name(what: str, name: str) -> str:
    return f"{name!r:.80} can't name a {what}; a name is {NAME_RULE}"


def _bad_variable(name: str) -> str:
    return f"{name!r:.80} can't name a variable; a name is a letter or _, then letters, digits and _"
