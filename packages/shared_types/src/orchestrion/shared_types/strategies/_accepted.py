"""Workloads that can be applied together: names are unique, and what they name is there."""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from orchestrion import shared_types as o

from ._values import LARGEST, counts, labels, maybe, names, priorities, seconds, several, texts, values

_VARIABLES = st.from_regex(r"[A-NQ-UW-Z_][A-Z0-9_]{0,5}", fullmatch=True)


def accepted_workloads(*, most: int = 3) -> SearchStrategy[tuple[o.WorkloadDefinition, ...]]:
    """Return a strategy for one or more workloads of one namespace that `check_workloads` accepts.

    Their metadata has what an author writes and nothing else.
    """
    return _workloads(most)


@st.composite
def _workloads(draw: DrawFn, most: int) -> tuple[o.WorkloadDefinition, ...]:
    namespace = draw(st.just(o.DEFAULT_NAMESPACE) | names())
    found: list[o.WorkloadDefinition] = []
    for name in draw(st.lists(names(), min_size=1, max_size=most, unique=True)):
        metadata = draw(
            st.builds(
                o.Metadata, name=st.just(name), namespace=st.just(namespace), labels=labels(), annotations=labels()
            )
        )
        found.append(draw(_workload(metadata, tuple(found))))
    return tuple(found)


@st.composite
def _workload(draw: DrawFn, metadata: o.Metadata, before: tuple[o.WorkloadDefinition, ...]) -> o.WorkloadDefinition:
    kind = draw(st.sampled_from(o.WorkloadKind))
    volumes = draw(st.lists(values(o.Volume), max_size=3, unique_by=lambda volume: volume.name))
    ports = draw(
        st.lists(values(o.PortMapping), max_size=3, unique_by=(lambda port: port.name, lambda port: port.host_port))
    )
    containers = []
    for name in draw(st.lists(names(), min_size=1, max_size=2, unique=True)):
        containers.append(draw(_container(name, tuple(volumes), tuple(ports))))
        ports = []
    own: dict[str, SearchStrategy[Any]] = {}
    restart = values(o.RestartPolicy)
    if kind is o.WorkloadKind.BATCH:
        own = {
            "completions": counts(1),
            "parallelism": maybe(counts(1)),
            "retries": counts(),
            "deadline_seconds": maybe(seconds()),
            "start_within_seconds": maybe(seconds()),
            "missed_start": st.sampled_from(o.MissPolicy),
        }
        restart = restart.filter(lambda policy: policy.condition is not o.RestartCondition.ALWAYS)
    elif kind is o.WorkloadKind.SERVICE:
        own = {"replicas": counts(), "update": values(o.UpdateStrategy)}
    else:
        own = {"update": values(o.UpdateStrategy).map(lambda update: attrs.evolve(update, canary=0))}
    optional = {
        "placement": values(o.Placement),
        "priority": priorities(),
        "preempts": st.booleans(),
        "restart": restart,
        "disruption": maybe(values(o.Disruption)),
        "retention": values(o.Retention),
        "after": _after(before),
        **own,
    }
    attributes = draw(st.fixed_dictionaries({}, optional=optional))
    if kind is o.WorkloadKind.SERVICE and "update" in attributes and attributes.get("replicas", 1):
        update = attributes["update"]
        attributes["update"] = attrs.evolve(update, canary=min(update.canary, attributes.get("replicas", 1)))
    wanted = attributes.get("completions" if kind is o.WorkloadKind.BATCH else "replicas", 1)
    if kind is not o.WorkloadKind.DAEMON and (attributes.get("parallelism") or wanted) >= wanted:
        attributes["gang"] = draw(_gang(wanted))
    return o.WorkloadDefinition(
        metadata=metadata, kind=kind, containers=tuple(containers), volumes=tuple(volumes), **attributes
    )


def _gang(wanted: int) -> SearchStrategy[o.Gang | None]:
    most = min(o.MAX_GANG, wanted or o.MAX_GANG)
    numbers = st.integers(1, most).map(lambda minimum: o.Gang(minimum=minimum))
    return st.none() | numbers | (st.just(o.Gang()) if wanted <= o.MAX_GANG else st.nothing())


@st.composite
def _after(draw: DrawFn, before: tuple[o.WorkloadDefinition, ...]) -> tuple[o.Dependency, ...]:
    dependencies = []
    for other in before:
        if not draw(st.booleans()):
            continue
        never = o.DependencyCondition.HEALTHY if other.kind is o.WorkloadKind.BATCH else o.DependencyCondition.SUCCEEDED
        conditions = [None, *(condition for condition in o.DependencyCondition if condition is not never)]
        dependencies.append(o.Dependency(workload=other.metadata.name, condition=draw(st.sampled_from(conditions))))
    return tuple(dependencies)


@st.composite
def _container(
    draw: DrawFn, name: str, volumes: tuple[o.Volume, ...], ports: tuple[o.PortMapping, ...]
) -> o.ContainerConfig:
    any_one: o.ContainerConfig = draw(values(o.ContainerConfig))
    image = draw(maybe(texts(min_size=1)))
    driver = draw(st.sampled_from([None, "docker", "slurm"] if image else [None, "process"]))
    process = image is None and driver in (None, "process")
    path = st.none() if process else maybe(texts().map(lambda text: f"/{text}"))
    mounts = [
        o.VolumeMount(volume=volume.name, path=draw(path), read_only=draw(st.booleans()))
        for volume in volumes
        if draw(st.booleans())
    ]
    if process:
        ports = tuple(attrs.evolve(port, container_port=None) for port in ports)
    tcp = [port.name for port in ports if port.protocol is o.Protocol.TCP]
    health = any_one.health
    if health is not None and not isinstance(health.probe, o.ExecProbe):
        health = (
            attrs.evolve(health, probe=attrs.evolve(health.probe, port=draw(st.sampled_from(tcp)))) if tcp else None
        )
    command = [draw(texts(min_size=1)), *any_one.command] if image is None or draw(st.booleans()) else []
    return attrs.evolve(
        any_one,
        name=name,
        driver=driver,
        image=image,
        command=tuple(_escaped(text) for text in command),
        args=tuple(_escaped(text) for text in any_one.args),
        working_dir=draw(maybe(texts().map(lambda text: "/" + text.replace("$", "")))),
        user=draw(maybe(texts(min_size=1))),
        env_vars=draw(st.dictionaries(_VARIABLES, texts().map(_escaped), max_size=3)),
        inherit_env=draw(several(_VARIABLES)),
        ports=ports,
        limits=None if any_one.limits is None else _room_for(any_one.resources, any_one.limits),
        volumes=tuple(mounts),
        config=draw(_config("X_")),
        secrets=draw(_config("Y_")),
        health=None if health is None else _escaped_health(health),
        cpu_set=draw(maybe(st.lists(st.integers(0, 255), min_size=1, max_size=3, unique=True).map(tuple))),
    )


@st.composite
def _config(draw: DrawFn, prefix: str) -> tuple[o.ConfigUse, ...]:
    uses = []
    for index, name in enumerate(draw(st.lists(names(), max_size=2, unique_by=lambda name: name.replace("-", "_")))):
        keys = draw(st.lists(st.from_regex(r"[a-z][a-z._-]{0,5}", fullmatch=True), max_size=2))
        env = {f"{prefix}{index}_{place}": key for place, key in enumerate(keys)}
        uses.append(o.ConfigUse(name=name, env=env, files=not env or draw(st.booleans())))
    return tuple(uses)


def _escaped(text: str) -> str:
    return text.replace("$", "$$")


def _escaped_health(health: o.HealthCheck) -> o.HealthCheck:
    match health.probe:
        case o.HttpProbe(path=path) as probe:
            return attrs.evolve(health, probe=attrs.evolve(probe, path=_escaped(path)))
        case o.ExecProbe(command=command):
            return attrs.evolve(health, probe=o.ExecProbe(command=tuple(_escaped(text) for text in command)))
        case _:
            return health


def _room_for(requests: o.Resources, limits: o.Resources) -> o.Resources:
    def room(request: int, limit: int) -> int:
        return min(max(request, limit), LARGEST) if limit else 0

    return o.Resources(
        cpu_millicores=room(requests.cpu_millicores, limits.cpu_millicores),
        memory_bytes=room(requests.memory_bytes, limits.memory_bytes),
        disk_bytes=room(requests.disk_bytes, limits.disk_bytes),
        extended={name: room(requests.extended.get(name, 0), amount) for name, amount in limits.extended.items()},
    )
