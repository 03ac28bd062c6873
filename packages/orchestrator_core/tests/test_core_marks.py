"""What people say of nodes beside what the cluster manager tells: labels and taints, and that one is gone."""

from __future__ import annotations

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.orchestrator_core import NodeMarks, marked, marks_key, may_go
from orchestrion.shared_types import (
    Drain,
    Node,
    NodeId,
    NodeStatus,
    Placement,
    Taint,
    TaintEffect,
    Toleration,
    to_json,
)

from .core_stage import NODE, SECOND, THIRD, Stage, service

KEPT = Taint("team", "red", TaintEffect.NO_SCHEDULE)
BROKEN = Taint("gpu", "broken", TaintEffect.NO_EXECUTE)
SOUTH = Placement(select={"zone": "south"})

keys = st.sampled_from(["a", "b", "c"])
labels = st.dictionaries(keys, st.sampled_from(["", "x", "y"]))
taints = st.lists(
    st.builds(Taint, keys, st.sampled_from(["", "x"]), st.sampled_from(TaintEffect)),
    unique_by=lambda taint: (taint.key, taint.effect),
).map(tuple)


async def mark(stage: Stage, node_id: NodeId, marks: NodeMarks) -> None:
    """Say something of a node, and wait until nothing more happens without time passing."""
    store = stage.orchestrator.store
    await store.put(marks_key(node_id), to_json(marks))
    await stage.settle()


async def shown(stage: Stage) -> dict[str, Node]:
    """Return the nodes that people see, by id."""
    return {node.id: node for node in await stage.orchestrator.list_nodes()}


@given(labels, taints, labels, taints)
def test_what_people_say_goes_before_what_is_told_and_nothing_else_changes(
    told_labels: dict[str, str], told: tuple[Taint, ...], own_labels: dict[str, str], own: tuple[Taint, ...]
) -> None:
    node = Node(id=NODE, name="one", labels=told_labels, taints=told)
    found = marked(node, NodeMarks(labels=own_labels, taints=own))
    assert found is not None
    assert found.labels == told_labels | own_labels
    by_key = {(taint.key, taint.effect): taint for taint in (*told, *own)}
    assert {(taint.key, taint.effect): taint for taint in found.taints} == by_key
    assert len(found.taints) == len(by_key)
    assert evolve(found, labels=node.labels, taints=node.taints) == node


def test_only_what_is_drained_or_out_of_sight_may_go() -> None:
    drained = Node(id=NODE, name="one", cordoned=True, drain=Drain(reason="old", deadline=None))
    assert may_go(drained)
    assert marked(drained, NodeMarks(removed=True)) is None
    for status in NodeStatus:
        seen = status in (NodeStatus.READY, NodeStatus.NOT_READY)
        node = Node(id=NODE, name="one", status=status)
        assert may_go(node) is not seen
        assert (marked(node, NodeMarks(removed=True)) is not None) is seen


async def test_a_label_of_ones_own_is_selected_by_at_once_and_after_a_restart(stage: Stage) -> None:
    await stage.apply(service(placement=SOUTH))
    assert stage.running() == []
    await mark(stage, SECOND, NodeMarks(labels={"zone": "south"}))
    assert stage.where("web") == [SECOND]
    await stage.restart()
    assert (await shown(stage))[SECOND].labels["zone"] == "south"
    await stage.orchestrator.scale("web", 2)
    await stage.settle()
    assert stage.where("web") == [SECOND, SECOND]


async def test_a_label_of_ones_own_survives_what_the_cluster_manager_tells_next(stage: Stage) -> None:
    await mark(stage, NODE, NodeMarks(labels={"zone": "south"}))
    node = stage.cluster.get_node(NODE)
    assert node is not None
    stage.cluster.update_node(evolve(node, labels={"zone": "north", "rack": "7"}))
    await stage.settle()
    assert (await shown(stage))[NODE].labels == {"zone": "south", "rack": "7"}
    await mark(stage, NODE, NodeMarks())
    assert (await shown(stage))[NODE].labels == {"zone": "north", "rack": "7"}


async def test_a_taint_of_ones_own_keeps_new_work_off(stage: Stage) -> None:
    for node_id in (NODE, SECOND):
        await mark(stage, node_id, NodeMarks(taints=(KEPT,)))
    await stage.apply(service(replicas=4))
    assert set(stage.where("web")) == {THIRD}
    await mark(stage, THIRD, NodeMarks(taints=(KEPT,)))
    tolerant = Placement(tolerations=(Toleration(key="team", value="red"),))
    await stage.apply(service("red", placement=tolerant), service("blue"))
    assert len(stage.running("red")) == 1
    assert stage.running("blue") == []


async def test_a_taint_of_ones_own_ends_what_does_not_tolerate_it(stage: Stage) -> None:
    await stage.apply(service())
    (node_id,) = stage.where("web")
    await mark(stage, node_id, NodeMarks(taints=(BROKEN,)))
    assert node_id not in stage.where("web")
    assert len(stage.running("web")) == 1


async def test_a_node_that_is_removed_is_not_shown_until_it_is_back(stage: Stage) -> None:
    stage.down(SECOND)
    await mark(stage, SECOND, NodeMarks(removed=True))
    assert set(await shown(stage)) == {NODE, THIRD}
    await stage.restart()
    assert set(await shown(stage)) == {NODE, THIRD}
    stage.back(SECOND)
    await stage.settle()
    assert set(await shown(stage)) == {NODE, SECOND, THIRD}
    await stage.apply(service(replicas=6))
    assert SECOND in stage.where("web")


async def test_a_drained_node_that_is_removed_comes_back_when_it_is_let_work_again(stage: Stage) -> None:
    await stage.orchestrator.drain_node(NODE, reason="sold")
    await mark(stage, NODE, NodeMarks(removed=True))
    assert NODE not in await shown(stage)
    await stage.orchestrator.uncordon_node(NODE)
    await stage.settle()
    assert NODE in await shown(stage)
