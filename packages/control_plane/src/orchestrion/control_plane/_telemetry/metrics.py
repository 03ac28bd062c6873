"""What a server counts, as Prometheus reads it; made when it is asked for, and not before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import trio
from attrs import define, field, frozen
from orchestrion.control_plane._limits import Lane, Limits
from orchestrion.orchestrator_core import Orchestrator, WorkloadView
from orchestrion.shared_types import Node

from .counts import Distribution, RequestCounts, StepCounts

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_AT_ONCE: Final = 200
"""Workloads that are looked at between two times at which others have their turn."""

_STEPS: Final = {
    "reconcile": ("reconcile", "plans and steps of the cluster loop for one workload"),
    "schedule": ("scheduling", "requests to the scheduler"),
    "create": ("container_create", "creations of containers, with their start"),
    "stop": ("container_stop", "stops of containers"),
    "apply": ("apply", "changes of what is wanted"),
}


@frozen
class Snapshot:
    """What a scrape tells of, put together before anything is written out."""

    nodes: list[Node]
    views: list[WorkloadView]
    instances: Mapping[str, int]


@define(eq=False)
class Metrics:
    """Tells Prometheus of a server.

    Attributes:
        orchestrator: What runs.
        requests: Counts requests.
        steps: Counts what the orchestrator does.
        limits: Knows what is at work and what waits.
        numbers: Other numbers by name, each with what it is; a name that ends in `_total` only ever grows.
    """

    orchestrator: Orchestrator
    requests: RequestCounts
    steps: StepCounts
    limits: Limits
    numbers: Mapping[str, tuple[str, Callable[[], float]]] = field(factory=dict)

    async def text(self) -> bytes:
        """Return all metrics, as Prometheus reads them."""
        snapshot = await self._snapshot()
        return await trio.to_thread.run_sync(self._written, snapshot)

    async def _snapshot(self) -> Snapshot:
        views, world = list[WorkloadView](), self.orchestrator.world
        for number, name in enumerate(list(world.workloads)):
            view = self.orchestrator.view(name)
            if view is not None:
                views.append(view)
            if number % _AT_ONCE == _AT_ONCE - 1:
                await trio.lowlevel.checkpoint()
        counted = Counter(record.state.value for record in world.instances.values())
        return Snapshot(await self.orchestrator.list_nodes(), views, counted)

    def _written(self, snapshot: Snapshot) -> bytes:
        # A server that nobody scrapes does not need it.
        from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

        registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=registry)
        registry.register(_Collected([*self._of_requests(), *self._of_work(), *_of_world(snapshot)]))
        return generate_latest(registry)

    def _of_requests(self) -> Iterator[Metric]:
        core, counts = _core(), self.requests
        answers = core.CounterMetricFamily(
            "orchestrion_http_requests", "Requests that were answered.", labels=["operation", "status"]
        )
        for (operation, status), count in list(counts.answers.items()):
            answers.add_metric([operation, str(status)], count)
        yield answers
        seconds = core.HistogramMetricFamily(
            "orchestrion_http_request_duration_seconds",
            "How long answers took, without those that stay open.",
            labels=["operation"],
        )
        for operation, found in list(counts.seconds.items()):
            seconds.add_metric([operation], list(found.cumulated()), found.total)
        yield seconds
        yield _counter("http_requests_refused", "Requests that were refused, by why.", "reason", counts.refused)
        yield _counter("limits_hit", "Requests that were too many, by lane.", "lane", counts.turned_away)
        yield _gauge("http_requests_active", "Requests that are at work.", counts.at_work)
        active = core.GaugeMetricFamily("orchestrion_lane_active", "Requests that hold a seat.", labels=["lane"])
        waiting = core.GaugeMetricFamily("orchestrion_lane_waiting", "Requests that wait for a seat.", labels=["lane"])
        for lane in Lane:
            active.add_metric([lane.value], self.limits.active(lane))
            waiting.add_metric([lane.value], self.limits.waiting(lane))
        yield active
        yield waiting
        yield _total("audit_failures", "Requests that could not be put on record.", counts.not_recorded)

    def _of_work(self) -> Iterator[Metric]:
        core, loop = _core(), self.orchestrator.cluster_loop
        for step, (name, what) in _STEPS.items():
            found = self.steps.seconds.get(step) or Distribution()
            yield _total(f"{name}_attempts", f"How many {what}.", found.count)
            yield _total(f"{name}_failures", f"How many {what} failed.", self.steps.failed[step])
            family = core.HistogramMetricFamily(
                f"orchestrion_{name}_duration_seconds",
                f"How long {what} took.",
                buckets=list(found.cumulated()),
                sum_value=found.total,
            )
            yield family
        yield _gauge("reconcile_queue_depth", "Workloads that wait for the cluster loop.", loop.queued)
        yield _gauge("leading", "1 while this server's cluster loop leads, else 0.", int(loop.leading.is_set()))
        yield _total("cluster_loop_writes", "Transactions of the cluster loop.", loop.writes)
        for name, (what, number) in self.numbers.items():
            if name.endswith("_total"):
                yield _total(name.removesuffix("_total"), what, number())
            else:
                yield _gauge(name, what, number())


def _of_world(snapshot: Snapshot) -> Iterator[Metric]:
    core = _core()
    nodes = Counter(node.status.value for node in snapshot.nodes)
    yield _labelled("nodes", "Nodes, by status.", "status", nodes)
    yield _gauge("nodes_cordoned", "Nodes that get no new work.", sum(node.cordoned for node in snapshot.nodes))
    for part in ("capacity", "allocatable"):
        cores = core.GaugeMetricFamily(f"orchestrion_node_cpu_{part}_cores", f"Cores: {part}.", labels=["node"])
        memory = core.GaugeMetricFamily(f"orchestrion_node_memory_{part}_bytes", f"Memory: {part}.", labels=["node"])
        for node in snapshot.nodes:
            resources = getattr(node, part)
            cores.add_metric([node.id], resources.cpu_millicores / 1000)
            memory.add_metric([node.id], resources.memory_bytes)
        yield cores
        yield memory
    phases = Counter(view.phase.value for view in snapshot.views)
    yield _labelled("workloads", "Workloads, by phase.", "phase", phases)
    labels = ["namespace", "workload"]
    wanted = core.GaugeMetricFamily(
        "orchestrion_workload_replicas_desired", "Instances that are wanted.", labels=labels
    )
    running = core.GaugeMetricFamily("orchestrion_workload_replicas_running", "Instances that run.", labels=labels)
    for view in snapshot.views:
        metadata = view.definition.metadata
        wanted.add_metric([metadata.namespace, metadata.name], view.replicas)
        running.add_metric([metadata.namespace, metadata.name], view.running)
    yield wanted
    yield running
    yield _labelled("instances", "Instances that are remembered, by state.", "state", snapshot.instances)


class _Collected:
    """What a registry of prometheus_client asks for metrics."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterable[Metric]:
        """Return them."""
        return self._metrics


def _core() -> Any:
    from prometheus_client import core

    return core


def _gauge(name: str, what: str, value: float) -> Metric:
    family: Metric = _core().GaugeMetricFamily(f"orchestrion_{name}", what, value=value)
    return family


def _total(name: str, what: str, value: float) -> Metric:
    family: Metric = _core().CounterMetricFamily(f"orchestrion_{name}", what, value=value)
    return family


def _labelled(name: str, what: str, label: str, counts: Mapping[str, int]) -> Metric:
    family: Any = _core().GaugeMetricFamily(f"orchestrion_{name}", what, labels=[label])
    for value, count in sorted(counts.items()):
        family.add_metric([value], count)
    made: Metric = family
    return made


def _counter(name: str, what: str, label: str, counts: Mapping[str, int]) -> Metric:
    family: Any = _core().CounterMetricFamily(f"orchestrion_{name}", what, labels=[label])
    for value, count in sorted(counts.items()):
        family.add_metric([value], count)
    made: Metric = family
    return made
