"""Any value of each class, whether or not it makes sense with others."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any, Final, TypeVar, cast

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from orchestrion import shared_types as o
from orchestrion.shared_types._container import MAX_SECONDS

T = TypeVar("T")

LARGEST: Final = o.MAX_AMOUNT
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz0123456789"


def texts(*, max_size: int = 12, min_size: int = 0) -> SearchStrategy[str]:
    """Return a strategy for any text that UTF-8 can hold, without the zero character."""
    letters = st.characters(codec="utf-8", exclude_characters="\0")
    return st.text(letters, min_size=min_size, max_size=max_size)


def names() -> SearchStrategy[str]:
    """Return a strategy for names of objects; see `is_name`."""
    inner = st.text(_LETTERS + "-", max_size=6)
    ends = st.sampled_from(_LETTERS)
    return st.one_of(
        st.sampled_from(["a", "web", "no", "true", "null", "0", "1e3", "0x1f", "x" * o.MAX_NAME_LENGTH]),
        st.builds(lambda first, middle, last: first + middle + last, ends, inner, ends),
    )


def times() -> SearchStrategy[datetime]:
    """Return a strategy for times with a time zone."""
    return st.datetimes(timezones=st.just(UTC))


def seconds() -> SearchStrategy[float]:
    """Return a strategy for durations in seconds."""
    return st.one_of(
        st.floats(0, MAX_SECONDS),
        st.integers(0, int(MAX_SECONDS)).map(float),
        st.integers(0, 5000).map(lambda n: n / 1000),
    )


def positive_seconds() -> SearchStrategy[float]:
    """Return a strategy for durations above 0, in seconds."""
    return seconds().filter(lambda duration: duration > 0)


def amounts() -> SearchStrategy[int]:
    """Return a strategy for amounts of a resource."""
    return st.one_of(
        st.integers(0, LARGEST),
        st.integers(0, 4096),
        st.builds(
            lambda count, unit: count * unit, st.integers(0, 999), st.sampled_from([1000, 1024, 10**6, 2**20, 2**30])
        ),
    )


def counts(low: int = 0) -> SearchStrategy[int]:
    """Return a strategy for numbers of slots."""
    return st.one_of(st.integers(low, 5), st.integers(low, o.MAX_SLOTS))


def priorities() -> SearchStrategy[int]:
    """Return a strategy for priorities, those of the standard classes among them."""
    return st.sampled_from([each.value for each in o.PRIORITY_CLASSES]) | st.integers(
        o.LOWEST_PRIORITY, o.HIGHEST_PRIORITY
    )


def labels() -> SearchStrategy[dict[str, str]]:
    """Return a strategy for labels."""
    return st.dictionaries(texts(min_size=1), texts(), max_size=3)


def several(one: SearchStrategy[T], *, least: int = 0, most: int = 3) -> SearchStrategy[tuple[T, ...]]:
    """Return a strategy for tuples."""
    return st.lists(one, min_size=least, max_size=most).map(tuple)


def maybe(one: SearchStrategy[T]) -> SearchStrategy[T | None]:
    """Return a strategy that also draws None."""
    return st.none() | one


def made(
    kind: type[T], needed: dict[str, SearchStrategy[Any]], /, **optional: SearchStrategy[Any]
) -> SearchStrategy[T]:
    """Return a strategy for values of `kind` that leave some of the optional attributes to their defaults."""
    return st.fixed_dictionaries(needed, optional=optional).map(lambda attributes: kind(**attributes))


@cache
def values(kind: type[T]) -> SearchStrategy[T]:
    """Return a strategy for any value of an exported attrs class of this package.

    Raises:
        KeyError: There is no strategy for it.
    """
    return cast("SearchStrategy[T]", st.deferred(_STRATEGIES[kind]))


def _problem() -> SearchStrategy[o.Problem]:
    return st.builds(o.Problem, texts(), texts(), texts(), st.integers(0, 99), st.integers(0, 99))


def _gpu() -> SearchStrategy[o.GpuRequest]:
    shared: dict[str, SearchStrategy[Any]] = {
        "model": maybe(texts(min_size=1)),
        "memory_bytes": amounts(),
        "capability": maybe(st.sampled_from(["8.0", "9", "7.5.1", "10.10"])),
    }
    return made(o.GpuRequest, {"count": st.integers(1, 64)}, **shared) | made(
        o.GpuRequest, {"thousandths": st.integers(1, 999)}, **shared
    )


def probes() -> SearchStrategy[o.HttpProbe | o.TcpProbe | o.ExecProbe]:
    """Return a strategy for probes of all kinds."""
    return st.one_of(values(o.HttpProbe), values(o.TcpProbe), values(o.ExecProbe))


def _expression() -> SearchStrategy[o.Expression]:
    many = st.sampled_from([o.Operator.IN, o.Operator.NOT_IN])
    one = st.sampled_from([o.Operator.GREATER, o.Operator.LESS])
    none = st.sampled_from([o.Operator.EXISTS, o.Operator.DOES_NOT_EXIST])
    key = texts(min_size=1)
    return st.one_of(
        made(o.Expression, {"key": key, "operator": many, "values": several(texts(), least=1)}),
        made(o.Expression, {"key": key, "operator": one, "values": several(texts(), least=1, most=1)}),
        made(o.Expression, {"key": key, "operator": none}),
    )


def _update() -> SearchStrategy[o.UpdateStrategy]:
    rest: dict[str, SearchStrategy[Any]] = {
        "min_healthy_seconds": seconds(),
        "progress_deadline_seconds": positive_seconds(),
        "rollback": st.booleans(),
        "canary": counts(),
    }
    return made(o.UpdateStrategy, {"max_surge": counts(1), "max_unavailable": counts()}, **rest) | made(
        o.UpdateStrategy, {"max_surge": st.just(0), "max_unavailable": counts(1)}, **rest
    )


def _container_status() -> SearchStrategy[o.ContainerStatus]:
    rest: dict[str, SearchStrategy[Any]] = {
        "container_id": texts(),
        "attempt": counts(),
        "reason": texts(),
        "created_at": maybe(times()),
        "started_at": maybe(times()),
        "finished_at": maybe(times()),
        "ports": st.dictionaries(names(), st.integers(1, 65535), max_size=2),
        "address": texts(),
        "health": st.sampled_from(o.ContainerHealth),
        "next_attempt_at": maybe(times()),
    }
    living = st.sampled_from([state for state in o.ContainerState if state is not o.ContainerState.EXITED])
    return made(o.ContainerStatus, {"name": names(), "state": living}, **rest) | made(
        o.ContainerStatus,
        {"name": names(), "state": st.just(o.ContainerState.EXITED), "exit": values(o.ExitStatus)},
        **rest,
    )


def _node() -> SearchStrategy[o.Node]:
    def fitting(pair: tuple[o.Resources, o.Resources], attributes: dict[str, Any]) -> o.Node:
        if attributes.get("drain") is not None:
            attributes["cordoned"] = True
        small = o.Resources(
            **{
                name: min(getattr(one, name) for one in pair)
                for name in ("cpu_millicores", "memory_bytes", "disk_bytes")
            }
        )
        return o.Node(capacity=pair[0], allocatable=small, **attributes)

    attributes = st.fixed_dictionaries(
        {"id": texts(min_size=1), "name": names()},
        optional={
            "address": texts(),
            "status": st.sampled_from(o.NodeStatus),
            "labels": labels(),
            "taints": several(values(o.Taint)),
            "devices": several(values(o.Device)),
            "topology": values(o.Topology),
            "drivers": st.frozensets(names(), max_size=2),
            "conditions": several(values(o.NodeCondition)),
            "cordoned": st.booleans(),
            "drain": maybe(values(o.Drain)),
        },
    )
    return st.builds(fitting, st.tuples(values(o.Resources), values(o.Resources)), attributes)


def _instance_key() -> SearchStrategy[o.InstanceKey]:
    return st.builds(o.InstanceKey, texts().map(o.Uid), counts(), counts(1))


_STRATEGIES: Final[dict[type, Any]] = {
    o.Problem: _problem,
    o.InstanceKey: _instance_key,
    o.ContainerRef: lambda: st.builds(o.ContainerRef, texts().map(o.NodeId), names(), texts().map(o.ContainerId)),
    o.OwnerReference: lambda: st.builds(o.OwnerReference, texts(), names(), texts().map(o.Uid)),
    o.Finalizer: lambda: st.builds(o.Finalizer, texts(), texts(), maybe(times())),
    o.Metadata: lambda: made(
        o.Metadata,
        {"name": names()},
        namespace=names(),
        uid=texts(),
        generation=counts(),
        revision=counts(),
        created_at=maybe(times()),
        updated_at=maybe(times()),
        labels=labels(),
        annotations=labels(),
        owners=several(values(o.OwnerReference)),
        finalizers=several(values(o.Finalizer)),
    ),
    o.Resources: lambda: made(
        o.Resources,
        {},
        cpu_millicores=amounts(),
        memory_bytes=amounts(),
        disk_bytes=amounts(),
        extended=st.dictionaries(texts(min_size=1), amounts(), max_size=2),
    ),
    o.GpuRequest: _gpu,
    o.PortMapping: lambda: made(
        o.PortMapping,
        {"name": names()},
        container_port=maybe(st.integers(1, 65535)),
        host_port=maybe(st.integers(1, 65535)),
        protocol=st.sampled_from(o.Protocol),
        listen=st.booleans(),
    ),
    o.VolumeMount: lambda: made(
        o.VolumeMount, {"volume": names()}, path=maybe(texts(min_size=1)), read_only=st.booleans()
    ),
    o.HttpProbe: lambda: made(o.HttpProbe, {"port": names()}, path=st.from_regex(r"/[!-~]{0,9}", fullmatch=True)),
    o.TcpProbe: lambda: made(o.TcpProbe, {"port": names()}),
    o.ExecProbe: lambda: made(o.ExecProbe, {"command": several(texts(), least=1)}),
    o.HealthCheck: lambda: made(
        o.HealthCheck,
        {"probe": probes()},
        interval_seconds=positive_seconds(),
        timeout_seconds=positive_seconds(),
        healthy_threshold=counts(1),
        unhealthy_threshold=counts(1),
        start_period_seconds=seconds(),
    ),
    o.ConfigUse: lambda: made(o.ConfigUse, {"name": names()}, env=labels()),
    o.ContainerConfig: lambda: made(
        o.ContainerConfig,
        {"name": names()},
        driver=maybe(names()),
        image=maybe(texts()),
        command=several(texts()),
        args=several(texts()),
        working_dir=maybe(texts()),
        user=maybe(texts()),
        env_vars=labels(),
        inherit_env=several(texts()),
        ports=several(values(o.PortMapping)),
        resources=values(o.Resources),
        limits=maybe(values(o.Resources)),
        gpu=maybe(values(o.GpuRequest)),
        volumes=several(values(o.VolumeMount)),
        config=several(values(o.ConfigUse)),
        secrets=several(values(o.ConfigUse)),
        health=maybe(values(o.HealthCheck)),
        cpu_set=maybe(several(st.integers(0, 255))),
        stop_grace_seconds=seconds(),
    ),
    o.Volume: lambda: made(o.Volume, {"name": names()}, scope=st.sampled_from(o.VolumeScope)),
    o.Expression: _expression,
    o.NodeAffinity: lambda: made(
        o.NodeAffinity, {"expressions": several(values(o.Expression), least=1)}, weight=maybe(st.integers(1, 100))
    ),
    o.InstanceAffinity: lambda: made(
        o.InstanceAffinity,
        {"match_labels": labels()},
        by=texts(min_size=1),
        anti=st.booleans(),
        weight=maybe(st.integers(1, 100)),
    ),
    o.Spread: lambda: made(o.Spread, {}, by=texts(min_size=1), max_skew=counts(1), required=st.booleans()),
    o.Toleration: lambda: made(
        o.Toleration,
        {},
        key=texts(),
        value=maybe(texts()),
        effect=maybe(st.sampled_from(o.TaintEffect)),
        seconds=maybe(seconds()),
    ),
    o.Placement: lambda: made(
        o.Placement,
        {},
        select=labels(),
        expressions=several(values(o.Expression)),
        node_affinities=several(values(o.NodeAffinity)),
        instance_affinities=several(values(o.InstanceAffinity)),
        spreads=several(values(o.Spread)),
        tolerations=several(values(o.Toleration)),
    ),
    o.RestartPolicy: lambda: made(
        o.RestartPolicy,
        {},
        condition=maybe(st.sampled_from(o.RestartCondition)),
        max_restarts=maybe(counts()),
        initial_delay_seconds=seconds(),
        factor=st.floats(1, 100),
        max_delay_seconds=seconds(),
        jitter=st.floats(0, 1),
        reset_after_seconds=seconds(),
    ),
    o.UpdateStrategy: _update,
    o.Disruption: lambda: (
        made(o.Disruption, {"max_unavailable": counts()})
        | made(o.Disruption, {"max_unavailable_percent": st.integers(0, 100)})
    ),
    o.Gang: lambda: made(o.Gang, {}, minimum=maybe(st.integers(1, o.MAX_GANG))),
    o.Dependency: lambda: made(
        o.Dependency, {"workload": names()}, condition=maybe(st.sampled_from(o.DependencyCondition))
    ),
    o.Retention: lambda: made(o.Retention, {}, terminal_instances=counts(), attempts=counts()),
    o.WorkloadDefinition: lambda: made(
        o.WorkloadDefinition,
        {"metadata": values(o.Metadata)},
        kind=st.sampled_from(o.WorkloadKind),
        containers=several(values(o.ContainerConfig), most=2),
        volumes=several(values(o.Volume)),
        replicas=counts(),
        completions=counts(1),
        parallelism=maybe(counts(1)),
        retries=counts(),
        deadline_seconds=maybe(seconds()),
        start_within_seconds=maybe(seconds()),
        missed_start=st.sampled_from(o.MissPolicy),
        placement=values(o.Placement),
        priority=priorities(),
        preempts=st.booleans(),
        restart=values(o.RestartPolicy),
        update=values(o.UpdateStrategy),
        disruption=maybe(values(o.Disruption)),
        gang=maybe(values(o.Gang)),
        after=several(values(o.Dependency)),
        retention=values(o.Retention),
    ),
    o.PriorityClass: lambda: made(
        o.PriorityClass,
        {"name": names(), "value": priorities()},
        preempts=st.booleans(),
        description=texts(),
    ),
    o.Taint: lambda: st.builds(o.Taint, texts(), texts(), st.sampled_from(o.TaintEffect)),
    o.Device: lambda: made(
        o.Device,
        {"id": texts()},
        kind=texts(),
        model=texts(),
        memory_bytes=amounts(),
        capability=texts(),
        numa_node=maybe(counts()),
    ),
    o.Topology: lambda: made(o.Topology, {}, region=texts(), zone=texts(), rack=texts()),
    o.NodeCondition: lambda: st.one_of(
        made(o.NodeCondition, {"type": texts(), "active": st.booleans()}, reason=texts(), since=maybe(times())),
        made(
            o.NodeCondition,
            {"type": texts(), "active": st.just(False), "unknown": st.just(True)},
            reason=texts(),
            since=maybe(times()),
        ),
    ),
    o.Drain: lambda: made(o.Drain, {"reason": texts()}, deadline=maybe(times())),
    o.Node: _node,
    o.ExitStatus: lambda: made(
        o.ExitStatus,
        {},
        code=maybe(st.integers(0, 255)),
        signal=maybe(st.integers(1, 64)),
        out_of_memory=st.booleans(),
        reason=texts(),
        message=texts(),
    ),
    o.ContainerStatus: _container_status,
    o.InstanceStatus: lambda: made(
        o.InstanceStatus,
        {},
        state=st.sampled_from(o.InstanceState),
        reason=texts(),
        message=texts(),
        containers=several(values(o.ContainerStatus)),
        healthy_since=maybe(times()),
        started_at=maybe(times()),
        finished_at=maybe(times()),
    ),
    o.Binding: lambda: made(
        o.Binding,
        {"node_id": texts(), "generation": counts(1)},
        desired=st.sampled_from(o.DesiredState),
        stop_reason=texts(),
        devices=st.dictionaries(names(), several(texts()), max_size=2),
        device_thousandths=st.dictionaries(texts(), st.integers(1, 999), max_size=2),
        cpu_set=st.dictionaries(names(), several(st.integers(0, 255)), max_size=2),
        retried=st.dictionaries(names(), counts(), max_size=2),
        bound_at=maybe(times()),
    ),
    o.WorkloadInstance: lambda: made(
        o.WorkloadInstance,
        {"key": values(o.InstanceKey), "namespace": names(), "workload": names(), "binding": values(o.Binding)},
        status=values(o.InstanceStatus),
    ),
    o.Event: lambda: made(
        o.Event,
        {
            "uid": texts(),
            "namespace": names(),
            "subject": texts(),
            "reason": texts(),
            "message": texts(),
            "at": times(),
        },
        severity=st.sampled_from(o.EventSeverity),
    ),
}
