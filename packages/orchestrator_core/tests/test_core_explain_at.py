"""Whether one node would take what a workload is made of, and which predicates fail there."""

from __future__ import annotations

import pytest
from orchestrion.scheduler_interface import ChangeKind, Predicate
from orchestrion.shared_types import NodeId, NodeNotFound, Placement, PortMapping, WorkloadNotFound

from .core_stage import NODE, SECOND, THIRD, Stage, container, daemon, service

PORT = (container("main", ports=(PortMapping(name="http", host_port=80),)),)


async def test_each_predicate_that_fails_on_the_node_is_told_and_nothing_of_others(stage: Stage) -> None:
    await stage.orchestrator.cordon_node(SECOND)
    await stage.orchestrator.cordon_node(THIRD)
    await stage.apply(service(placement=Placement(select={"disk": "fast"})))
    (at,) = await stage.orchestrator.explain("web", node=SECOND)
    assert [(group.predicate, group.node_count, group.samples) for group in at.explanation.groups] == [
        (Predicate.CORDONED, 1, (SECOND,)),
        (Predicate.SELECTOR, 1, (SECOND,)),
    ]
    assert (at.instance, at.node_id, at.text) == ("web.0", None, "cordoned; not disk=fast")
    assert {step.kind for step in at.explanation.smallest_change} == {ChangeKind.UNCORDON, ChangeKind.DROP_SELECTOR}
    assert {step.node_id for step in at.explanation.smallest_change} == {SECOND}
    (here,) = await stage.orchestrator.explain("web", node=NODE)
    assert [group.predicate for group in here.explanation.groups] == [Predicate.SELECTOR]


async def test_what_has_its_place_there_is_not_in_its_own_way(stage: Stage) -> None:
    await stage.apply(service("one", containers=PORT), service("two", containers=PORT))
    (there,), (other,) = stage.where("one"), stage.where("two")
    (own,) = await stage.orchestrator.explain("one", node=there)
    assert (own.instance, own.node_id, own.explanation.groups) == ("one.0.1", there, ())
    (refused,) = await stage.orchestrator.explain("two", node=there)
    assert (refused.node_id, [group.predicate for group in refused.explanation.groups]) == (
        None,
        [Predicate.HOST_PORT],
    )
    (free,) = {NODE, SECOND, THIRD} - {there, other}
    assert [one.node_id for one in await stage.orchestrator.explain("two", node=free)] == [free]
    assert stage.where("one") == [there]


async def test_all_slots_are_told_also_those_without_a_place(stage: Stage) -> None:
    await stage.apply(service(replicas=5, containers=PORT))
    told = await stage.orchestrator.explain("web", node=NODE)
    assert len(told) == 5
    assert [one.node_id for one in told].count(NODE) == 1
    await stage.apply(daemon())
    assert {one.node_id for one in await stage.orchestrator.explain("agent", node=NODE)} == {NODE}


async def test_what_is_not_there_is_told(stage: Stage) -> None:
    await stage.apply(service())
    with pytest.raises(NodeNotFound, match="'nowhere'"):
        await stage.orchestrator.explain("web", node=NodeId("nowhere"))
    with pytest.raises(WorkloadNotFound):
        await stage.orchestrator.explain("nope", node=NODE)
