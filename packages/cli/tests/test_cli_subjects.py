"""Names on the command line: workloads, slots, instances, containers and nodes."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import datetime

import pytest
from attrs import evolve
from orchestrion.cli._logs import record_line
from orchestrion.cli._look import placement_lines, row_lines
from orchestrion.cli._node_marks import marks_words
from orchestrion.cli._node_names import names_of
from orchestrion.cli._subjects import check_container, chosen, event_subject, runnable
from orchestrion.orchestrator_core import LogRecord, SlotPlacement, WorkloadPhase, WorkloadView, parse_subject
from orchestrion.runtime_interface import LogStream
from orchestrion.scheduler_interface import ChangeKind, Explanation, PlacementChange, Predicate, RefusalGroup
from orchestrion.shared_types import (
    Binding,
    ConfigInvalid,
    ContainerConfig,
    ContainerNotFound,
    Event,
    InstanceKey,
    InstanceNotFound,
    InstanceState,
    InstanceStatus,
    Metadata,
    Node,
    NodeId,
    Uid,
    WorkloadDefinition,
    WorkloadInstance,
)

LONG_ID = NodeId("0f9e4c1a-7d7b-4d0e-9a51-5b1a3c9a0001")
OTHER_ID = NodeId("77e4c1a0-7d7b-4d0e-9a51-5b1a3c9a0002")


def instance(index: int, epoch: int, state: InstanceState = InstanceState.RUNNING) -> WorkloadInstance:
    return WorkloadInstance(
        key=InstanceKey(Uid("u"), index, epoch),
        namespace="default",
        workload="web",
        binding=Binding(node_id=NodeId("n"), generation=1),
        status=InstanceStatus(state=state),
    )


class Known:
    """A reader that knows one workload."""

    def __init__(self, *instances: WorkloadInstance) -> None:
        self.instances = list(instances)

    async def list_workloads(self, *, namespace: str | None = None) -> list[WorkloadView]:
        return [await self.get_workload("web", namespace=namespace or "default")]

    async def get_workload(self, name: str, /, *, namespace: str = "default") -> WorkloadView:
        main = ContainerConfig(name="main", command=("true",))
        definition = WorkloadDefinition(metadata=Metadata(name=name, namespace=namespace), containers=(main,))
        return WorkloadView(definition=definition, phase=WorkloadPhase.HEALTHY)

    async def list_instances(
        self, *, namespace: str | None = None, workload: str | None = None
    ) -> list[WorkloadInstance]:
        return [one for one in self.instances if namespace in (None, "default") and workload in (None, one.workload)]

    async def list_nodes(self) -> list[Node]:
        return []

    async def events(
        self,
        *,
        namespace: str | None = None,
        subject: str | None = None,
        since: datetime | None = None,
        limit: int = 1000,
        types: Collection[str] = (),
    ) -> list[Event]:
        return []


@pytest.mark.parametrize(
    ("text", "names"),
    [("web", ["web.0.1", "web.0.2", "web.1.1"]), ("web.0", ["web.0.2"]), ("web.0.1", ["web.0.1"])],
)
def test_an_index_alone_is_the_latest_epoch(text: str, names: Sequence[str]) -> None:
    instances = [instance(0, 1), instance(0, 2), instance(1, 1)]
    assert [one.name for one in chosen(parse_subject(text), instances)] == names


def test_an_instance_that_is_not_remembered_is_told() -> None:
    with pytest.raises(InstanceNotFound, match=r"orchestrion status web"):
        chosen(parse_subject("web.7"), [instance(0, 1)])


async def test_events_of_a_slot_are_those_of_its_latest_instance() -> None:
    known = Known(instance(0, 1), instance(0, 2))
    assert await event_subject("web.0", None, known) == ("instance/web.0.2", "default")
    assert await event_subject("web.0.1", None, known) == ("instance/web.0.1", None)
    assert await event_subject("web", "other", known) == ("workload/web", "other")
    assert await event_subject("workload/web.0", None, known) == ("workload/web.0", None)


async def test_a_command_runs_in_the_only_instance_that_runs() -> None:
    known = Known(instance(0, 1, InstanceState.FAILED), instance(0, 2))
    assert await runnable("web", "default", known) == "web.0.2"
    assert await runnable("web.5", "default", known) == "web.5"


async def test_a_command_for_one_of_several_asks_which() -> None:
    with pytest.raises(ConfigInvalid, match=r"web\.0\.1, web\.1\.1"):
        await runnable("web", "default", Known(instance(0, 1), instance(1, 1)))
    with pytest.raises(InstanceNotFound, match="no instance of 'web' runs"):
        await runnable("web", "default", Known(instance(0, 1, InstanceState.FAILED)))


async def test_a_container_that_is_not_there_is_told_with_those_that_are() -> None:
    await check_container("main", parse_subject("web"), "default", Known())
    with pytest.raises(ContainerNotFound, match="It has: main"):
        await check_container("nope", parse_subject("web"), "default", Known())


def record(data: bytes) -> LogRecord:
    return LogRecord(instance="web.0.1", container="main", attempt=0, stream=LogStream.STDOUT, offset=0, data=data)


def test_output_as_data_is_text_where_it_can_be() -> None:
    told = json.loads(record_line(record("caf\u00e9\n".encode())))
    assert told["data"] == "caf\u00e9\n"
    assert "data_base64" not in told
    assert (told["instance"], told["stream"], told["offset"]) == ("web.0.1", "stdout", 0)
    assert json.loads(record_line(record(b"\xff\x00"))) == {**told, "data": None, "data_base64": "/wA="}


def test_a_node_is_told_by_its_name_and_the_beginning_of_its_id() -> None:
    names = names_of([Node(id=LONG_ID, name="laptop"), Node(id=NodeId("n1"), name="n1")])
    assert names.of(LONG_ID) == "laptop (0f9e4c1a)"
    assert names.of(NodeId("n1")) == "n1"
    assert names.of(OTHER_ID) == "77e4c1a0-7d7"
    assert names.within(f"on node {LONG_ID}: lower n1") == "on node laptop (0f9e4c1a): lower n1"


def test_a_place_is_told_with_its_score_and_the_next_best() -> None:
    names = names_of([Node(id=LONG_ID, name="a"), Node(id=OTHER_ID, name="b")])
    placement = SlotPlacement(
        instance="web.0",
        node_id=LONG_ID,
        explanation=Explanation(nodes_considered=2, scores={LONG_ID: 0.75, OTHER_ID: 0.5}),
        text="the best of 2 nodes",
    )
    assert list(placement_lines([placement], names)) == [
        "web.0: on a (0f9e4c1a): the best of 2 nodes",
        "    score 0.75; next best b (77e4c1a0) with 0.5",
    ]


def test_a_score_is_told_with_what_each_preference_gave_it() -> None:
    names = names_of([Node(id=LONG_ID, name="a"), Node(id=OTHER_ID, name="b")])
    placement = SlotPlacement(
        instance="web.0",
        node_id=LONG_ID,
        explanation=Explanation(
            nodes_considered=2,
            scores={LONG_ID: 2500, OTHER_ID: 1900},
            parts={LONG_ID: {"spread": 1600, "balance": 900}, OTHER_ID: {"spread": 1000, "balance": 900}},
            weights={"spread": 2, "balance": 1},
        ),
        text="it fits there",
    )
    assert list(placement_lines([placement], names)) == [
        "web.0: on a (0f9e4c1a): it fits there",
        "    score 2500 = 800 spread x 2 + 900 balance x 1",
        "    next best b (77e4c1a0) with 1900 = 500 spread x 2 + 900 balance x 1",
    ]


def test_slots_that_are_refused_for_the_same_reasons_are_told_as_one() -> None:
    names = names_of([Node(id=LONG_ID, name="a")])
    lower = PlacementChange(kind=ChangeKind.LOWER_REQUEST, node_id=LONG_ID, subject="cpu_millicores", amount=500)
    explanation = Explanation(nodes_considered=1, closest=(LONG_ID,), smallest_change=(lower,))
    placements = [
        SlotPlacement(instance=instance, node_id=None, explanation=explanation, text=text)
        for instance, text in (
            ("web.0", "1 node: cordoned"),
            ("web.1", "1 node: cordoned"),
            ("web.2", "1 node: cordoned"),
            ("web.3", "1 node: status down"),
            ("db.0", "1 node: status down"),
        )
    ]
    advice = ["    closest: a (0f9e4c1a)", "    it would fit: on node a (0f9e4c1a): lower cpu to 0.5 cores"]
    assert list(placement_lines(placements, names)) == [
        "web.0 to web.2 (3 slots): nowhere: 1 node: cordoned",
        *advice,
        "web.3: nowhere: 1 node: status down",
        *advice,
        "db.0: nowhere: 1 node: status down",
        *advice,
    ]


def test_a_node_that_would_be_better_by_now_is_told() -> None:
    names = names_of([Node(id=LONG_ID, name="a"), Node(id=OTHER_ID, name="b")])
    explanation = Explanation(nodes_considered=2, scores={LONG_ID: 3, OTHER_ID: 5})
    placement = SlotPlacement(instance="web.0.1", node_id=LONG_ID, explanation=explanation, text="it stays")
    assert list(placement_lines([placement], names))[1:] == [
        "    score 3",
        "    better by now b (77e4c1a0) with 5",
    ]


def test_what_fits_one_node_alone_has_nothing_to_be_compared_with() -> None:
    explanation = Explanation(nodes_considered=2, scores={LONG_ID: -452_985.0})
    placement = SlotPlacement(instance="web.0", node_id=LONG_ID, explanation=explanation, text="it fits there")
    assert list(placement_lines([placement], names_of([Node(id=LONG_ID, name="a")]))) == [
        "web.0: on a (0f9e4c1a): it fits there",
        "    no other node would do",
    ]
    alone = evolve(placement, explanation=evolve(explanation, nodes_considered=1))
    assert list(placement_lines([alone], names_of([])))[1:] == ["    there is no other node"]


def test_nothing_that_a_node_is_tainted_with_reaches_the_terminal_as_an_order() -> None:
    evil = "x\x1b]0;hi\x07"
    names = names_of([Node(id=LONG_ID, name=f"a{evil}"), Node(id=OTHER_ID, name="b")])
    change = PlacementChange(kind=ChangeKind.TOLERATE_TAINT, node_id=LONG_ID, subject=evil)
    group = RefusalGroup(predicate=Predicate.TAINT, detail=evil, node_count=1, samples=(LONG_ID,))
    explanation = Explanation(nodes_considered=1, closest=(LONG_ID,), groups=(group,), smallest_change=(change,))
    refused = SlotPlacement(instance=f"web.0{evil}", node_id=None, explanation=explanation, text=evil)
    taken = evolve(
        refused, node_id=LONG_ID, explanation=evolve(explanation, groups=(), scores={LONG_ID: 1, OTHER_ID: 2})
    )
    again = evolve(refused, instance=f"web.1{evil}")
    told = [*placement_lines([refused, again, taken], names), *row_lines([refused, again, taken], "a", names)]
    assert any("x ]0;hi " in line for line in told)
    node = {"metadata": {"labels": {"a": evil}}, "spec": {"taints": [{"key": evil, "value": evil}]}}
    told.append(marks_words(node))
    assert [line for line in told if not line.isprintable()] == []
