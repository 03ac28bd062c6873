"""Puts objects under admission and quotas, and has what is to go of itself collected."""

from __future__ import annotations

from functools import partial

import trio
from attrs import define
from orchestrion.control_plane._admission.admission import Admission
from orchestrion.control_plane._admission.hooks import Hooks
from orchestrion.control_plane._admission.quota import WorkloadGate
from orchestrion.control_plane._reach import Reach
from orchestrion.orchestrator_core import Orchestrator

from .collecting import Collector, Recorder
from .intent import May, everybody
from .managed import ManagedControl
from .objects import Objects
from .quota_status import QuotaStatus

ANYWHERE_PUBLIC = Reach()


@define(eq=False)
class Management:
    """What looks after the objects of a server.

    Attributes:
        objects: The objects.
        control: The way in for who speaks `Control`.
        collector: Removes what is to go of itself.
        quotas: Shows what is used.
    """

    objects: Objects
    control: ManagedControl
    collector: Collector
    quotas: QuotaStatus

    async def run(self) -> None:
        """Work until cancelled. The objects must be running."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.collector.run)
            nursery.start_soon(self.quotas.run)


def managed(
    objects: Objects,
    reach: Reach = ANYWHERE_PUBLIC,
    *,
    needs_namespaces: bool = True,
    may: May = everybody,
    recorder: Recorder | None = None,
) -> Management:
    """Put every change of objects under admission, and return what looks after them.

    Args:
        objects: The objects; their writers are told. What the writer asked before has its say last.
        reach: Where webhooks may be.
        may: Says whether somebody may do something that only admission knows to be done.
        needs_namespaces: Whether a workload's namespace has to be there before it.
        recorder: Where it is put down what is removed of itself; None is nowhere.
    """
    hooks = Hooks(objects.history, reach)
    admission = Admission(
        objects.kinds,
        objects.history,
        hooks,
        objects.writer.admit,
        may=may,
        resources=partial(_resources, objects.orchestrator),
    )
    gate = WorkloadGate(objects.orchestrator, objects.history, needs_namespaces)
    objects.writer.admit = admission
    objects.workloads.admit = admission
    objects.workloads.act = admission.act
    objects.workloads.may = may
    objects.workloads.quota = gate
    objects.workloads.turn = gate.turn
    return Management(
        objects=objects,
        control=ManagedControl(objects.orchestrator, admission, gate),
        collector=Collector(objects, recorder=recorder),
        quotas=QuotaStatus(objects, gate),
    )


def _resources(orchestrator: Orchestrator) -> set[str] | None:
    """Return what nodes have beside what all have; None while it is not known which nodes there are."""
    cluster = orchestrator.cluster_loop
    if not cluster.nodes_known.is_set():
        return None
    return {name for node in cluster.nodes.values() for name in (*node.capacity.extended, *node.allocatable.extended)}
