"""What is kept is bounded by what is there: nothing grows with what came and went."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from orchestrion.scheduler_interface import (
    NoPlacement,
    SchedulingRequest,
    StaticClusterView,
    node_view,
)
from orchestrion.scheduler_packing import PackingLedger, PackingScheduler
from orchestrion.scheduler_packing import _ledger as ledgers
from orchestrion.scheduler_packing import _verdicts as verdicts
from orchestrion.scheduler_packing._topologies import MAX_TOPOLOGIES
from orchestrion.shared_types import (
    ContainerConfig,
    InstanceAffinity,
    InstanceKey,
    Metadata,
    Node,
    NodeId,
    Placement,
    Resources,
    Spread,
    Taint,
    Uid,
    WorkloadDefinition,
)


def node(name: str, *, taint: str = "", room: Resources | None = None) -> Node:
    amounts = room or Resources(cpu_millicores=1000, memory_bytes=1000)
    taints = (Taint(key=taint),) if taint else ()
    return Node(id=NodeId(name), name=name, capacity=amounts, allocatable=amounts, taints=taints)


def workload(name: str, cpu: int = 1, **placement: Any) -> WorkloadDefinition:
    return WorkloadDefinition(
        metadata=Metadata(name=name, uid=Uid(f"uid-{name}"), labels={"app": name}),
        containers=(ContainerConfig(name="main", resources=Resources(cpu_millicores=cpu)),),
        placement=Placement(**placement),
    )


def request(definition: WorkloadDefinition) -> SchedulingRequest:
    return SchedulingRequest(workload=definition, slots=(InstanceKey(definition.metadata.uid, 0, 1),))


def choosy(name: str) -> WorkloadDefinition:
    """Return a workload with a spread and two affinities of its own."""
    near = InstanceAffinity(match_labels={"app": name}, by="node")
    return workload(
        name,
        spreads=(Spread(by="node"),),
        instance_affinities=(near, InstanceAffinity(match_labels={"app": f"no-{name}"}, by="node", anti=True)),
    )


def test_a_ledger_forgets_the_terms_of_workloads_that_it_has_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgers, "MIN_TERMS", 12)
    ledger = PackingLedger([node(name) for name in ("n1", "n2")])
    kept = choosy("kept")
    ledger.place([request(kept)])
    sizes = []
    for number in range(60):
        one = request(choosy(f"w{number}"))
        ledger.place([one])
        ledger.release(one.slots)
        # As after so many workloads that hold nothing that the books forget them.
        ledger._books.lots[:] = [lot if lot is not None and lot.count else None for lot in ledger._books.lots]
        sizes.append(len(ledger._spread_terms) + len(ledger._group_terms))
    assert max(sizes) <= 12 + 3
    assert any(key[0] == kept.metadata.uid for key in ledger._spread_terms)
    held = next(lot for lot in ledger._books.lots if lot is not None and lot.uid == kept.metadata.uid)
    assert len(held.counted_by) <= len(ledger._spread_terms) + len(ledger._group_terms)


def test_a_term_that_is_kept_counts_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgers, "MIN_TERMS", 0)
    ledger = PackingLedger([node(name) for name in ("n1", "n2", "n3")])
    apart = workload(
        "apart", instance_affinities=(InstanceAffinity(match_labels={"app": "apart"}, by="node", anti=True),)
    )
    taken = set()
    for index in range(3):
        slot = InstanceKey(apart.metadata.uid, index, 1)
        ledger.place([SchedulingRequest(workload=apart, slots=(slot,))])
        taken.add(ledger.node_of(slot))
        other = request(choosy(f"other-{index}"))
        ledger.place([other])
    assert taken == {"n1", "n2", "n3"}
    fourth = InstanceKey(apart.metadata.uid, 3, 1)
    ledger.place([SchedulingRequest(workload=apart, slots=(fourth,))])
    assert ledger.node_of(fourth) is None


def refuse(scheduler: PackingScheduler, view: StaticClusterView, definition: WorkloadDefinition) -> None:
    (decision,) = trio.run(scheduler.schedule, request(definition), view)
    assert isinstance(decision, NoPlacement)


def test_an_index_keeps_the_domains_of_few_topologies() -> None:
    scheduler = PackingScheduler()
    view = StaticClusterView([node_view(node("n1"))])
    for number in range(2 * MAX_TOPOLOGIES):
        refuse(scheduler, view, workload(f"w{number}", spreads=(Spread(by=f"by-{number}", required=True),)))
    assert [len(index._topologies) for index in scheduler._indexes] == [MAX_TOPOLOGIES]


def test_reasons_of_nodes_as_they_once_were_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "MIN_REASONS", 10)
    scheduler = PackingScheduler()
    view = StaticClusterView([node_view(node("n1", taint="first"))])
    definition = workload("w")
    sizes = []
    for number in range(50):
        view = view.changed(node_view(node("n1", taint=f"taint-{number}")))
        refuse(scheduler, view, definition)
        (index,) = scheduler._indexes
        sizes += [len(known.reasons) for known in index.verdicts._lasting.values()]
    assert max(sizes) <= 10 + 2
    (decision,) = trio.run(scheduler.schedule, request(definition), view)
    assert isinstance(decision, NoPlacement)
    assert [group.detail for group in decision.explanation.groups] == ["taint-49"]


def test_resources_that_no_node_has_any_more_are_forgotten() -> None:
    scheduler = PackingScheduler()
    view = StaticClusterView([node_view(node("n0"))])
    for number in range(20):
        room = Resources(cpu_millicores=1000, memory_bytes=1000, extended={f"licence-{number}": 1})
        view = view.changed(node_view(node("n0", room=room)))
        trio.run(scheduler.schedule, request(workload("w")), view)
    (index,) = scheduler._indexes
    assert index.dimension_names == ["cpu_millicores", "memory_bytes", "disk_bytes", "licence-19"]
