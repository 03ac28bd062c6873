"""What pages show is what there is: amounts, maps, matrices and differences."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
import trio
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.control_plane._dashboard import workload_page
from orchestrion.control_plane._dashboard.overview import MAX_CELLS, node_line, topology
from orchestrion.control_plane._dashboard.pending import FAILS, PASSES, UNKNOWN, matrix, unplaced
from orchestrion.control_plane._dashboard.rendering import render_in_turns
from orchestrion.control_plane._dashboard.samples import Sample, Samples
from orchestrion.control_plane._dashboard.scene import Scene
from orchestrion.control_plane._dashboard.usage import LEAST_SECONDS, Usage
from orchestrion.control_plane._dashboard.words import age, amount, share, size, until
from orchestrion.control_plane.usage import Used
from orchestrion.orchestrator_core import SlotPlacement
from orchestrion.scheduler_interface import ChangeKind, Explanation, PlacementChange, Predicate, RefusalGroup
from orchestrion.shared_types import (
    Binding,
    ContainerConfig,
    ContainerState,
    ContainerStatus,
    Drain,
    Event,
    EventSeverity,
    ExitStatus,
    InstanceKey,
    InstanceState,
    InstanceStatus,
    Metadata,
    Node,
    NodeId,
    Resources,
    Topology,
    Uid,
    WorkloadDefinition,
    WorkloadInstance,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def node(name: str = "n1", **more: object) -> Node:
    whole = Resources(cpu_millicores=4000, memory_bytes=8 << 30)
    return Node(id=NodeId(name), name=name, capacity=whole, allocatable=whole, **more)  # type: ignore[arg-type]


def instance(index: int = 0, state: InstanceState = InstanceState.RUNNING, on: str = "n1") -> WorkloadInstance:
    return WorkloadInstance(
        key=InstanceKey(Uid("u"), index, 1),
        namespace="default",
        workload="web",
        binding=Binding(node_id=NodeId(on), generation=1),
        status=InstanceStatus(state=state),
    )


@pytest.mark.parametrize(
    ("dimension", "value", "words"),
    [
        ("cpu_millicores", 1500, "1.5"),
        ("cpu_millicores", 4000, "4"),
        ("memory_bytes", 1536 << 20, "1.5 GiB"),
        ("memory_bytes", 512, "512 B"),
        ("licences", 3, "3"),
    ],
)
def test_amounts_are_in_the_unit_that_people_think_in(dimension: str, value: int, words: str) -> None:
    assert amount(dimension, value) == words


@given(st.integers(0, 2**62))
def test_a_size_is_short(value: int) -> None:
    assert len(size(value)) <= 11


@given(st.integers(-5, 2**40), st.integers(-5, 2**40))
def test_a_share_is_a_percentage(part: int, whole: int) -> None:
    assert 0 <= share(part, whole) <= 100


def test_ages_are_in_their_largest_unit() -> None:
    ages = [age(NOW - timedelta(seconds=seconds), NOW) for seconds in (-3, 59, 60, 7199, 86400 * 3)]
    assert ages == ["0 s", "59 s", "1 min", "1 h", "3 d"]
    assert age(None, NOW) == ""


def test_a_node_is_as_hot_as_its_scarcest_resource() -> None:
    scene = Scene(now=NOW, allocated={NodeId("n1"): Resources(cpu_millicores=1000, memory_bytes=6 << 30)})
    line = node_line(node(), scene)
    assert [(bar["title"], bar["percent"]) for bar in line["bars"]] == [("CPU", 25), ("Memory", 75)]
    assert line["percent"] == 75
    assert line["heat"] == 7


def test_a_node_says_what_is_used_of_what_it_has() -> None:
    n1 = NodeId("n1")
    usage = Usage(1000, 2 << 30, frozenset({n1}), by_node={n1: Used(1000, 2 << 30, 1)})
    line = node_line(node(), Scene(now=NOW, usage=usage))
    assert {bar["title"]: bar["used"]["text"] for bar in line["bars"]} == {
        "CPU": "1 of 4 cores",
        "Memory": "2 GiB of 8 GiB",
    }
    assert line["used"] == 25
    once = Usage(0, 1 << 30, frozenset({n1}), by_node={n1: Used(None, 1 << 30, 1)})
    assert [bar["used"] is None for bar in node_line(node(), Scene(now=NOW, usage=once))["bars"]] == [True, False]
    other = node_line(node("n2"), Scene(now=NOW, usage=usage))
    assert other["used"] is None, "of a node that is run from elsewhere it is not known"


def test_an_instance_says_what_it_uses_of_what_is_requested() -> None:
    wanted = Resources(cpu_millicores=500, memory_bytes=64 << 20)
    usage = Usage(0, 0, frozenset(), by_instance={("default", "web.0.1"): Used(250, 16 << 20, 1)})
    scene = Scene(now=NOW, instances=(instance(0), instance(1)), demands={("default", "web", 1): wanted}, usage=usage)
    lines = workload_page.instance_lines(scene, "default", "web")["lines"]
    assert (lines[0]["cpu"], lines[0]["memory"]) == ("0.25 of 0.5", "16 MiB of 64 MiB")
    assert (lines[1]["cpu"], lines[1]["memory"]) == (workload_page.UNKNOWN, workload_page.UNKNOWN)
    assert workload_page.used_words(Used(1500, 1 << 20, 1), Resources()) == ("1.5", "1 MiB")


def test_a_node_says_what_is_done_to_it() -> None:
    scene = Scene(now=NOW)
    assert node_line(node(), scene)["status"] == "Ready"
    assert node_line(node(cordoned=True), scene)["status"] == "Cordoned"
    assert node_line(node(cordoned=True, drain=Drain(reason="disk")), scene)["status"] == "Draining"


def test_the_map_has_places_nodes_and_what_runs_there() -> None:
    scene = Scene(
        now=NOW,
        nodes=(node("a", topology=Topology(region="eu", zone="1")), node("b")),
        instances=(instance(0, on="a"), instance(1, InstanceState.FAILED, on="a"), instance(2, on="b")),
    )
    places = topology(scene)
    shown = {
        place["title"]: {each["id"]: [c["name"] for c in each["cells"]] for each in place["nodes"]} for place in places
    }
    assert shown == {"": {"b": ["web.2.1"]}, "eu / 1": {"a": ["web.0.1"]}}


def test_a_crowded_node_says_how_many_are_not_shown() -> None:
    scene = Scene(now=NOW, nodes=(node(),), instances=tuple(instance(index) for index in range(MAX_CELLS + 5)))
    (place,) = topology(scene)
    (shown,) = place["nodes"]
    assert len(shown["cells"]) == MAX_CELLS
    assert shown["hidden"] == 5


async def test_a_page_of_a_large_cluster_holds_up_nobody() -> None:
    scene = Scene(now=NOW, nodes=tuple(node(f"n{index}") for index in range(400)))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        context = {"base": "inside.html", "places": topology(scene), "node_count": 400, "hidden": 0}
        page = await render_in_turns("topology.html", **context)
        nursery.cancel_scope.cancel()
    assert page.count(b"<article") == 400
    assert turns > 5


def group(predicate: Predicate, count: int, samples: tuple[str, ...]) -> RefusalGroup:
    return RefusalGroup(predicate=predicate, node_count=count, samples=tuple(NodeId(each) for each in samples))


def test_the_matrix_says_of_no_node_what_is_not_known() -> None:
    explanation = Explanation(
        groups=(group(Predicate.CORDONED, 9, ("a", "b")), group(Predicate.TAINT, 1, ("c",))),
        nodes_considered=10,
        closest=(NodeId("d"),),
    )
    shown = matrix(explanation, {})
    assert {row["node"]: row["cells"] for row in shown["rows"]} == {
        "a": [FAILS, PASSES],
        "b": [FAILS, PASSES],
        "c": [UNKNOWN, FAILS],
        "d": [UNKNOWN, PASSES],
    }
    assert shown["rows"][0]["node"] == "d", "the node that is the nearest to fitting comes first"
    assert shown["hidden"] == 6


def test_slots_that_lack_a_place_for_the_same_reason_are_shown_together() -> None:
    why = Explanation(groups=(group(Predicate.CORDONED, 1, ("a",)),), nodes_considered=1)
    placements = [
        SlotPlacement(instance=f"web.{index}", node_id=None, explanation=why, text="cordoned") for index in range(3)
    ]
    placed = SlotPlacement(instance="web.9.1", node_id=NodeId("a"), explanation=Explanation(), text="")
    (shown,) = unplaced([*placements, placed], {})
    assert shown["slots"] == ["web.0", "web.1", "web.2"]


LONG = "01a204cd-51d9-4c7e-9d4e-111111111111"


def test_nodes_are_called_by_their_names_in_what_is_said_of_them() -> None:
    change = PlacementChange(kind=ChangeKind.LOWER_REQUEST, node_id=NodeId(LONG), subject="cpu_millicores", amount=500)
    why = Explanation(groups=(group(Predicate.CORDONED, 1, (LONG,)),), nodes_considered=1, smallest_change=(change,))
    placement = SlotPlacement(instance="web.0", node_id=None, explanation=why, text=f"node {LONG}: too small")
    (shown,) = unplaced([placement], {LONG: "vm"})
    assert shown["text"] == "node vm: too small"
    assert shown["change"].startswith("on node vm: ")
    assert [row["node"] for row in shown["matrix"]["rows"]] == ["vm"]


def test_nodes_of_the_same_name_are_told_apart() -> None:
    other = "01b204cd-51d9-4c7e-9d4e-111111111111"
    nodes = (node(LONG), node(other), node("n1"))
    scene = Scene(now=NOW, nodes=tuple(evolve(each, name="vm") if each.id != "n1" else each for each in nodes))
    assert scene.node_names() == {LONG: "vm (01a204cd)", other: "vm (01b204cd)", "n1": "n1"}


def test_what_is_to_come_is_told_by_how_soon_it_is() -> None:
    assert [until(NOW + timedelta(seconds=seconds), NOW) for seconds in (-1, 0, 26, 90)] == [
        "now",
        "now",
        "in 26 s",
        "in 1 min",
    ]


def test_what_ended_well_gives_no_reason_to_look_at_it() -> None:
    ended = ContainerStatus(name="main", state=ContainerState.EXITED, exit=ExitStatus(code=0))
    failed = evolve(ended, name="side", exit=ExitStatus(code=1))
    one = evolve(instance(), status=InstanceStatus(state=InstanceState.FAILED, containers=(ended, failed)))
    (line,) = workload_page.instance_lines(Scene(now=NOW, instances=(one,)), "default", "web")["lines"]
    assert (line["state"], line["why"], line["next_at"]) == ("Failed", "side: exited with 1", None)


def event(reason: str, index: int = 0) -> Event:
    return Event(
        uid=Uid(str(index)),
        namespace="default",
        subject="instance/web.0.1",
        reason=reason,
        message=f"{index}",
        severity=EventSeverity.NORMAL,
        at=NOW,
    )


def test_a_timeline_is_latest_first_and_counts_what_is_said_again() -> None:
    reasons = ["Placed", "BackOff", "BackOff", "BackOff", "Started"]
    shown = workload_page.timeline([event(reason, index) for index, reason in enumerate(reasons)])
    assert [(each["reason"], each["count"]) for each in shown] == [("Started", 1), ("BackOff", 3), ("Placed", 1)]
    assert shown[1]["message"] == "3", "of what was said again the latest is shown"
    assert shown[0]["workload"] == "web"


def template(generation: int, *command: str, replicas: int = 1) -> WorkloadDefinition:
    return WorkloadDefinition(
        metadata=Metadata(name="web", generation=generation),
        containers=(ContainerConfig(name="main", command=command),),
        replicas=replicas,
    )


def test_versions_differ_in_what_was_changed_and_in_nothing_else() -> None:
    templates = {1: template(1, "run"), 2: template(2, "run", "--fast"), 4: template(4, "run", "--fast", replicas=3)}
    shown = workload_page.versions(templates, None, None)
    assert (shown["old"], shown["new"]) == (2, 4)
    assert [(each["path"], each["before"], each["after"]) for each in shown["lines"]] == [("replicas", "", "3")]
    first = workload_page.versions(templates, 1, 2)
    assert [(each["path"], each["before"], each["after"]) for each in first["lines"]] == [
        ("containers[0].command", '["run"]', '["run","--fast"]')
    ]


def test_what_was_brought_back_is_the_latest_version() -> None:
    back = template(1, "run")
    back = evolve(back, metadata=evolve(back.metadata, annotations={"orchestrion/since": "3"}))
    shown = workload_page.versions({1: back, 2: template(2, "run", "--fast")}, None, None)
    assert (shown["known"], shown["old"], shown["new"]) == ([2, 1], 2, 1)
    assert workload_page.versions({1: back, 2: template(2, "run")}, None, 2)["old"] is None


def test_versions_that_are_not_kept_are_not_compared() -> None:
    assert workload_page.versions({}, 1, 2) == {"known": [], "old": None, "new": None, "lines": []}
    assert workload_page.versions({3: template(3, "run")}, None, None)["lines"] == []


def test_samples_are_apart_however_many_look() -> None:
    samples = Samples()
    for tenth in range(200):
        samples.take(Sample(NOW + timedelta(seconds=tenth / 10), {"CPU": tenth % 100}))
    times = samples.shown()["times"]
    assert len(times) == 20 / LEAST_SECONDS
    assert all(later - earlier >= LEAST_SECONDS for earlier, later in pairwise(times))


def test_a_resource_that_came_later_has_gaps_before() -> None:
    samples = Samples()
    samples.take(Sample(NOW, {"CPU": 1}))
    samples.take(Sample(NOW + timedelta(seconds=LEAST_SECONDS), {"CPU": 2, "GPUs": 50}))
    shown = {each["title"]: each["values"] for each in samples.shown()["series"]}
    assert shown == {"CPU": [1, 2], "GPUs": [None, 50]}
