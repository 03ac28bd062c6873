"""Workloads that authors apply: good ones, and ones that do not work."""

from __future__ import annotations

import random
from typing import Final

from attrs import evolve
from orchestrion.shared_types import (
    ContainerConfig,
    Dependency,
    DependencyCondition,
    Disruption,
    ExecProbe,
    Gang,
    HealthCheck,
    Metadata,
    Placement,
    PortMapping,
    Resources,
    RestartCondition,
    RestartPolicy,
    Retention,
    Taint,
    TaintEffect,
    Toleration,
    UpdateStrategy,
    Volume,
    VolumeMount,
    VolumeScope,
    WorkloadDefinition,
    WorkloadKind,
)

from .world import SICK

QUALITY: Final = "quality"
"""The label that says whether a workload can work."""

SERVICES: Final = ("web", "api", "flaky-web", "front")
BATCHES: Final = ("job", "flaky-job", "total")
DAEMONS: Final = ("watcher",)

AFTER: Final = {
    "front": Dependency(workload="web"),
    "total": Dependency(workload="job", condition=DependencyCondition.SUCCEEDED),
}

BROKEN: Final = Taint("broken", "", TaintEffect.NO_EXECUTE)
"""A taint that ends what does not tolerate it."""

FOR_EVER: Final = Toleration(key=BROKEN.key)

_GOOD: Final = (
    ("run",),
    ("run", "trap", "0"),
    ("run", "term-takes", "2s"),
    ("starting", "1s"),
    ("queued", "2s"),
    ("ignore-term",),
)
_BAD: Final = (("exit", "1"), ("exit", "1", "after", "1s"), ("fail", "no"), ("unsupported", "no"), ("run", SICK))
# What only a health check finds out is no fault of work that has to end by itself.
_BAD_WORK: Final = tuple(command for command in _BAD if SICK not in command)
_WORK: Final = (
    ("exit", "0"),
    ("exit", "0", "after", "3s"),
    ("exit", "0", "after", "20s"),
    ("exit", "0", "queued", "1s"),
)


def workload(name: str, chance: random.Random, *, good: bool = True) -> WorkloadDefinition:
    """Return a workload of that name; each draw gives another one."""
    kind = _kind(name)
    containers = tuple(_container(f"c{n}", kind, chance, good or n > 0) for n in range(chance.choice((1, 1, 2))))
    volumes = {mount.volume for container in containers for mount in container.volumes}
    definition = WorkloadDefinition(
        metadata=Metadata(name=name, labels={QUALITY: "good" if good else "bad"}),
        kind=kind,
        containers=containers,
        volumes=tuple(Volume(name=volume, scope=VolumeScope.INSTANCE) for volume in sorted(volumes)),
        placement=Placement(
            select=chance.choice(({}, {}, {}, {"disk": "fast"})),
            tolerations=chance.choice(((), (), (Toleration(key=BROKEN.key, seconds=5.0),), (FOR_EVER,))),
        ),
        priority=chance.choice((0, 10, 20, 30)),
        preempts=chance.random() < 0.7,
        disruption=chance.choice((None, None, Disruption(max_unavailable=1), Disruption(max_unavailable_percent=50))),
        restart=_restart(kind, chance),
        after=(AFTER[name],) if name in AFTER else (),
        retention=Retention(terminal_instances=chance.randint(0, 4), attempts=chance.randint(0, 2)),
    )
    match kind:
        case WorkloadKind.SERVICE:
            return _careful(_together(evolve(definition, replicas=chance.randint(0, 4), update=_update(chance))))
        case WorkloadKind.DAEMON:
            return evolve(definition, update=_update(chance))
        case WorkloadKind.BATCH:
            batch = evolve(
                definition,
                completions=chance.randint(1, 4),
                parallelism=chance.choice((None, 1, 2)),
                retries=chance.randint(0, 3),
                deadline_seconds=chance.choice((None, None, 40.0)),
            )
            return _together(batch)


def _together(definition: WorkloadDefinition) -> WorkloadDefinition:
    """Return a workload of which, now and then, several instances come up together."""
    wanted = definition.replicas if definition.kind is WorkloadKind.SERVICE else definition.completions
    if (definition.parallelism or wanted) < wanted:
        return definition
    # A chance of its own, so that what else a seed does stays as it is.
    own = random.Random(repr((definition.metadata.name, definition.containers, definition.restart, wanted)))
    some = Gang(minimum=own.randint(1, max(1, wanted)))
    return evolve(definition, gang=own.choice((None, None, Gang(), some)))


def _careful(definition: WorkloadDefinition) -> WorkloadDefinition:
    """Return a service whose updates, now and then, begin with a canary."""
    # A chance of its own, as above.
    own = random.Random(repr(("canary", definition.metadata.name, definition.containers, definition.update)))
    canary = min(own.choice((0, 0, 1, 1, 2)), definition.replicas)
    return evolve(definition, update=evolve(definition.update, canary=canary))


def _kind(name: str) -> WorkloadKind:
    if name in BATCHES:
        return WorkloadKind.BATCH
    return WorkloadKind.DAEMON if name in DAEMONS else WorkloadKind.SERVICE


def _container(name: str, kind: WorkloadKind, chance: random.Random, good: bool) -> ContainerConfig:
    batch = kind is WorkloadKind.BATCH
    bad = _BAD_WORK if batch else _BAD
    command = chance.choice(_WORK if batch else _GOOD) if good else chance.choice(bad)
    sick = SICK in command
    checked = not batch and (sick or chance.random() < 0.4)
    config = ContainerConfig(
        name=name,
        command=tuple(word for word in command if word != SICK),
        resources=Resources(cpu_millicores=50, memory_bytes=1 << 20),
        ports=(PortMapping(name=f"http-{name}"),) if chance.random() < 0.4 else (),
        volumes=(VolumeMount(volume="scratch"),) if chance.random() < 0.3 else (),
        stop_grace_seconds=chance.choice((0.0, 3.0)),
    )
    if sick:
        config = evolve(config, env_vars={SICK: "1"})
    if checked:
        health = HealthCheck(
            probe=ExecProbe(command=("true",)), interval_seconds=5.0, timeout_seconds=2.0, unhealthy_threshold=2
        )
        config = evolve(config, health=health)
    return config


def _restart(kind: WorkloadKind, chance: random.Random) -> RestartPolicy:
    never = RestartCondition.NEVER
    condition = chance.choice(
        (None, None, RestartCondition.ON_FAILURE, never if kind is not WorkloadKind.BATCH else None)
    )
    return RestartPolicy(
        condition=condition,
        max_restarts=chance.choice((None, None, 0, 2)),
        initial_delay_seconds=chance.choice((0.0, 0.5)),
        max_delay_seconds=4.0,
        reset_after_seconds=20.0,
    )


def _update(chance: random.Random) -> UpdateStrategy:
    surge, unavailable = chance.choice(((1, 0), (0, 1), (2, 1)))
    return UpdateStrategy(
        max_surge=surge,
        max_unavailable=unavailable,
        min_healthy_seconds=chance.choice((0.0, 2.0)),
        progress_deadline_seconds=30.0,
        rollback=chance.random() < 0.7,
    )
