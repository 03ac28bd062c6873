"""Moves make room and empty nodes, never more of them than allowed, and everything required holds after each."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence

import pytest
import trio
from attrs import evolve
from orchestrion.scheduler_interface import (
    AssignNode,
    FullScanScheduler,
    InvalidSchedulingRequest,
    NodeView,
    NoPlacement,
    SchedulingRequest,
    StaticClusterView,
    node_view,
    placed_instance,
    with_decisions,
    with_instances,
)
from orchestrion.scheduler_packing import Move, Rearrangement, empty_nodes, make_room, pack
from orchestrion.shared_types import (
    WHOLE_DEVICE,
    GpuRequest,
    InstanceAffinity,
    InstanceKey,
    Node,
    NodeId,
    NodeStatus,
    Placement,
    Spread,
    WorkloadDefinition,
    WorkloadKind,
)

from .packing_builders import ANYWHERE, a_node, a_workload


def about(number: int, by: str, *, anti: bool = False) -> Placement:
    return Placement(instance_affinities=(InstanceAffinity(match_labels={"app": str(number)}, by=by, anti=anti),))


def key_of(workload: WorkloadDefinition, index: int = 0) -> InstanceKey:
    return InstanceKey(workload.metadata.uid, index, 1)


def asking(workload: WorkloadDefinition, *indexes: int, minimum: int = 0) -> SchedulingRequest:
    slots = tuple(key_of(workload, index) for index in indexes or (0,))
    return SchedulingRequest(workload=workload, slots=slots, minimum=minimum)


def holding(
    node: Node, *placed: tuple[WorkloadDefinition, int] | tuple[WorkloadDefinition, int, dict[str, int]]
) -> NodeView:
    """A node with instances, each a workload and an index, and the shares of devices it holds."""
    instances = []
    for workload, index, *shares in placed:
        decision = AssignNode(
            slot=key_of(workload, index), node_id=node.id, device_thousandths=shares[0] if shares else {}
        )
        instances.append(placed_instance(workload, decision))
    return node_view(node, instances)


def told(steps: Iterable[Move | AssignNode]) -> list[str]:
    """Each step in words: a workload's number, from where, and to where."""
    words = []
    for step in steps:
        to = step.to if isinstance(step, Move) else step
        number = int(to.slot.workload_id[-12:])
        words.append(f"{number}: {step.from_node if isinstance(step, Move) else 'new'} -> {to.node_id}")
    return words


# -- making room


SMALL, OTHER, LARGE = a_workload(1, 3), a_workload(2, 4), a_workload(3, 9)
KNOWN = [SMALL, OTHER, LARGE]


def half_full() -> StaticClusterView:
    return StaticClusterView([holding(a_node(0), (SMALL, 0)), holding(a_node(1), (OTHER, 0))])


def test_a_slot_that_fits_needs_no_move() -> None:
    room = make_room(asking(a_workload(4, 6)), half_full(), KNOWN, max_moves=5)
    assert told(room.steps) == ["4: new -> n1"]
    assert room.moves == ()


def test_the_smallest_instance_that_helps_makes_room() -> None:
    room = make_room(asking(LARGE), half_full(), KNOWN, max_moves=5)
    assert told(room.steps) == ["1: n0 -> n1", "3: new -> n0"]
    assert [each.node_id for each in room.decisions if isinstance(each, AssignNode)] == ["n0"]


@pytest.mark.parametrize(("max_moves", "placed"), [(1, False), (2, True)])
def test_there_are_never_more_moves_than_allowed(max_moves: int, placed: bool) -> None:
    view = StaticClusterView([holding(a_node(0), (SMALL, 0), (SMALL, 1)), holding(a_node(1, 6))])
    room = make_room(asking(a_workload(4, 10)), view, KNOWN, max_moves=max_moves)
    assert isinstance(room.decisions[0], AssignNode) == placed
    assert len(room.moves) == (2 if placed else 0)


def test_a_refused_slot_is_explained_and_moves_nothing() -> None:
    room = make_room(asking(a_workload(4, 11)), half_full(), KNOWN, max_moves=5)
    (refused,) = room.decisions
    assert isinstance(refused, NoPlacement)
    assert [(group.needed, group.best_free) for group in refused.explanation.groups] == [(11, 7)]
    assert room.steps == ()


def test_moves_of_all_slots_count_together() -> None:
    # The first slot takes one move onto n1, where the second then takes two.
    view = StaticClusterView([*half_full(), holding(a_node(2, 7))])
    room = make_room(asking(LARGE, 0, 1), view, KNOWN, max_moves=1)
    assert [isinstance(each, AssignNode) for each in room.decisions] == [True, False]
    both = make_room(asking(LARGE, 0, 1), view, KNOWN, max_moves=3)
    assert [isinstance(each, AssignNode) for each in both.decisions] == [True, True]


def test_a_gang_that_does_not_get_room_moves_nothing() -> None:
    room = make_room(asking(LARGE, 0, 1, minimum=2), half_full(), KNOWN, max_moves=5)
    assert [type(each) for each in room.decisions] == [NoPlacement, NoPlacement]
    assert room.steps == ()


def test_what_is_pinned_a_daemon_changed_or_unknown_stays() -> None:
    request = asking(LARGE)
    daemons = [evolve(each, kind=WorkloadKind.DAEMON) for each in KNOWN]
    changed = [a_workload(1, 2), a_workload(2, 2)]
    pins = [key_of(SMALL), key_of(OTHER)]
    rooms = [
        make_room(request, half_full(), KNOWN, max_moves=5, pinned=pins),
        make_room(request, half_full(), daemons, max_moves=5),
        make_room(request, half_full(), changed, max_moves=5),
        make_room(request, half_full(), [LARGE], max_moves=5),
    ]
    assert [room.steps for room in rooms] == [(), (), (), ()]


def test_nothing_is_moved_off_a_node_that_is_not_ready() -> None:
    down = evolve(a_node(0), status=NodeStatus.DOWN)
    view = StaticClusterView([holding(down, (SMALL, 0)), holding(a_node(1), (OTHER, 0))])
    assert empty_nodes(view, KNOWN, max_moves=5) == []


def test_a_port_is_freed_by_whoever_holds_it() -> None:
    web, other = a_workload(1, 1, port=80), a_workload(2, 1, port=80)
    view = StaticClusterView([holding(a_node(0), (web, 0)), node_view(a_node(1, 1))])
    pinned_to_n0 = evolve(asking(other), only_node=NodeId("n0"))
    room = make_room(pinned_to_n0, view, [web], max_moves=1)
    assert told(room.steps) == ["1: n0 -> n1", "2: new -> n0"]


def test_shares_move_together_to_free_a_whole_gpu() -> None:
    share, whole = a_workload(1, 1, gpu=GpuRequest(thousandths=400)), a_workload(2, 1, gpu=GpuRequest(count=1))
    view = StaticClusterView(
        [
            holding(a_node(0, gpus=1), (share, 0, {"n0-gpu0": 400})),
            holding(a_node(1, gpus=1), (share, 1, {"n1-gpu0": 400})),
        ]
    )
    room = make_room(asking(whole), view, [share], max_moves=1)
    assert told(room.steps) == ["1: n0 -> n1", "2: new -> n0"]
    assert room.moves[0].to.device_thousandths == {"n1-gpu0": 400}


def test_a_slot_that_is_placed_stays() -> None:
    room = make_room(asking(SMALL), half_full(), KNOWN, max_moves=5)
    assert room.steps == ()
    assert [each.node_id for each in room.decisions if isinstance(each, AssignNode)] == ["n0"]


def test_fewer_moves_than_none_are_refused() -> None:
    with pytest.raises(ValueError, match="at most -1 moves"):
        make_room(asking(LARGE), half_full(), KNOWN, max_moves=-1)
    with pytest.raises(ValueError, match="at most -1 moves"):
        empty_nodes(half_full(), KNOWN, max_moves=-1)


def test_a_request_that_the_interface_does_not_allow_is_refused() -> None:
    request = SchedulingRequest(workload=LARGE, slots=())
    with pytest.raises(InvalidSchedulingRequest, match="without slots"):
        make_room(request, half_full(), KNOWN, max_moves=1)


def test_a_rearrangement_goes_on_from_its_own_steps() -> None:
    rearrangement = Rearrangement(half_full(), KNOWN)
    first = rearrangement.make_room(asking(LARGE), max_moves=1)
    assert told(first.steps) == ["1: n0 -> n1", "3: new -> n0"]
    gang = rearrangement.make_room(asking(a_workload(4, 3), 0, 1, minimum=2), max_moves=0)
    assert gang.steps == ()
    last = rearrangement.make_room(asking(a_workload(4, 3)), max_moves=0)
    assert told(last.steps) == ["4: new -> n1"]
    assert rearrangement.empty_nodes(max_moves=9) == []


# -- emptying nodes


def test_the_node_with_the_fewest_instances_is_emptied_onto_the_fullest() -> None:
    view = StaticClusterView(
        [
            holding(a_node(0), (SMALL, 0)),
            holding(a_node(1), (SMALL, 1), (SMALL, 2)),
            holding(a_node(2), (OTHER, 0), (SMALL, 3)),
            node_view(a_node(3)),
        ]
    )
    assert told(empty_nodes(view, KNOWN, max_moves=1)) == ["1: n0 -> n2"]


def test_a_node_is_emptied_wholly_or_not_touched() -> None:
    view = StaticClusterView([holding(a_node(0), (SMALL, 0), (OTHER, 0)), holding(a_node(1), (a_workload(4, 6), 0))])
    assert empty_nodes(view, KNOWN, max_moves=9) == []


def test_what_others_have_to_be_near_stays() -> None:
    near = a_workload(4, 1, placement=about(1, "node"))
    view = StaticClusterView([holding(a_node(0), (SMALL, 0)), holding(a_node(1), (OTHER, 0))])
    beside = StaticClusterView(
        [holding(a_node(0), (SMALL, 0), (near, 0)), holding(a_node(1, 20), (OTHER, 0), (OTHER, 1))]
    )
    assert told(empty_nodes(view, KNOWN, max_moves=1)) == ["1: n0 -> n1"]
    assert empty_nodes(beside, [*KNOWN, near], max_moves=2, pinned=[key_of(OTHER), key_of(OTHER, 1)]) == []


def test_nothing_moves_to_where_another_can_not_have_it() -> None:
    away = a_workload(4, 1, placement=about(1, "node", anti=True))
    view = StaticClusterView([holding(a_node(0), (SMALL, 0)), holding(a_node(1), (away, 0), (OTHER, 0))])
    assert empty_nodes(view, [SMALL, away], max_moves=1) == []
    assert told(empty_nodes(view, [SMALL], max_moves=1)) == ["1: n0 -> n1"]


def test_a_required_spread_keeps_instances_in_their_domains() -> None:
    spread = a_workload(4, 2, placement=Placement(spreads=(Spread(by="zone", required=True),)))
    nodes = [a_node(0, zone="a"), a_node(1, zone="b"), a_node(2, zone="b")]
    view = StaticClusterView(
        [holding(nodes[0], (spread, 0)), holding(nodes[1], (spread, 1)), holding(nodes[2], (SMALL, 0), (SMALL, 1))]
    )
    assert told(empty_nodes(view, [spread], max_moves=2)) == ["4: n1 -> n2"]


# -- at each step


PLACEMENTS = (
    ANYWHERE,
    ANYWHERE,
    Placement(spreads=(Spread(by="zone", required=True),)),
    Placement(spreads=(Spread(by="zone", max_skew=2, required=True),)),
    Placement(select={"zone": "a"}),
    about(0, "zone"),
    about(1, "node", anti=True),
    about(2, "zone", anti=True),
)
GPUS = (None, None, None, GpuRequest(count=1), GpuRequest(thousandths=300), GpuRequest(thousandths=400))


SEEDS = 250


def a_cluster(chance: random.Random) -> tuple[StaticClusterView, list[WorkloadDefinition]]:
    """A cluster on whose nodes instances are scattered, as far as they may be where they were thrown."""
    nodes = [
        a_node(number, chance.randint(8, 14), gpus=chance.choice([0, 1, 2]), zone=chance.choice("ab"))
        for number in range(chance.randint(2, 5))
    ]
    workloads = [
        a_workload(
            number,
            chance.randint(1, 4),
            chance.randint(0, 30),
            placement=chance.choice(PLACEMENTS),
            gpu=chance.choice(GPUS),
            port=chance.choice([None, None, None, None, None, 80]),
        )
        for number in range(chance.randint(2, 4))
    ]
    requests = [
        evolve(asking(chance.choice(workloads), index), only_node=chance.choice(nodes).id)
        for index in range(chance.randint(4, 16))
    ]
    view = StaticClusterView(node_view(node) for node in nodes)
    for request, decisions in zip(requests, pack(requests, view), strict=True):
        view = with_decisions(view, request.workload, decisions)
    return view, workloads


def broken(view: StaticClusterView, workloads: Sequence[WorkloadDefinition]) -> set[InstanceKey]:
    """The instances that would not get their nodes again."""
    by_uid = {each.metadata.uid: each for each in workloads}

    async def ask() -> set[InstanceKey]:
        found = set()
        for each in view:
            for key in each.instances:
                others = node_view(each.node, (other for other in each.instances.values() if other.key != key))
                request = SchedulingRequest(workload=by_uid[key.workload_id], slots=(key,), only_node=each.node.id)
                (decision,) = await FullScanScheduler().schedule(request, view.changed(others))
                if isinstance(decision, NoPlacement):
                    found.add(key)
        return found

    return trio.run(ask)


def assert_within(view: StaticClusterView) -> None:
    for each in view:
        assert each.reserved.fits_in(each.node.allocatable)
        assert max(each.device_thousandths.values(), default=0) <= WHOLE_DEVICE
        assert set(each.device_thousandths) <= {device.id for device in each.node.devices}
        ports = Counter(port for instance in each.instances.values() for port in instance.host_ports)
        assert max(ports.values(), default=0) <= 1


def carried_out(
    view: StaticClusterView, step: Move | AssignNode, workloads: Sequence[WorkloadDefinition]
) -> StaticClusterView:
    to = step.to if isinstance(step, Move) else step
    workload = next(each for each in workloads if each.metadata.uid == to.slot.workload_id)
    if isinstance(step, Move):
        source = view.get(step.from_node)
        assert source is not None
        assert to.slot in source.instances
        assert to.node_id != step.from_node
        view = view.changed(node_view(source.node, (each for key, each in source.instances.items() if key != to.slot)))
    target = view.get(to.node_id)
    assert target is not None
    placed = placed_instance(workload, to)
    gpu = workload.containers[0].gpu
    wanted = 0 if gpu is None else gpu.thousandths or gpu.count * WHOLE_DEVICE
    assert sum(placed.device_thousandths.values()) == wanted
    return view.changed(with_instances(target, [placed]))


def idle(view: StaticClusterView) -> set[NodeId]:
    return {each.node.id for each in view if not each.instances}


@pytest.mark.slow
def test_emptying_nodes_keeps_everything_that_is_required() -> None:
    emptied = 0
    for seed in range(SEEDS):
        chance = random.Random(seed)
        view, workloads = a_cluster(chance)
        max_moves = chance.randint(0, 5)
        moves = empty_nodes(view, workloads, max_moves=max_moves)
        assert len(moves) <= max_moves, seed
        idle_before = idle(view)
        for move in moves:
            before = broken(view, workloads)
            view = carried_out(view, move, workloads)
            assert_within(view)
            assert broken(view, workloads) <= before, seed
        sources = {move.from_node for move in moves}
        assert idle(view) == idle_before | sources, seed
        emptied += len(sources)
    assert emptied > SEEDS // 4, "little was tested"


@pytest.mark.slow
def test_making_room_keeps_everything_that_is_required() -> None:
    by_moves = 0
    for seed in range(2 * SEEDS):
        chance = random.Random(seed)
        view, workloads = a_cluster(chance)
        wanted = a_workload(
            9,
            chance.randint(3, 10),
            chance.randint(0, 70),
            placement=chance.choice(PLACEMENTS),
            gpu=chance.choice(GPUS),
            port=chance.choice([None, None, None, 80]),
        )
        count = chance.randint(1, 3)
        request = asking(wanted, *range(count), minimum=chance.choice([0, 0, count]))
        max_moves = chance.randint(0, 4)
        room = make_room(request, view, workloads, max_moves=max_moves)
        assert len(room.moves) <= max_moves, seed
        assert [each.slot for each in room.decisions] == list(request.slots)
        new = [step for step in room.steps if isinstance(step, AssignNode)]
        assert new == [each for each in room.decisions if isinstance(each, AssignNode)]
        assert len(new) >= request.minimum or not room.steps
        everybody = [*workloads, wanted]
        for step in room.steps:
            before = broken(view, everybody)
            view = carried_out(view, step, everybody)
            assert_within(view)
            if isinstance(step, Move):
                assert broken(view, everybody) <= before, seed
            else:
                assert step.slot not in broken(view, everybody), seed
        by_moves += bool(room.moves)
    assert by_moves > SEEDS // 10, "little was tested"


@pytest.mark.slow
def test_without_moves_room_is_what_the_scheduler_finds() -> None:
    found = Counter[bool]()
    for seed in range(SEEDS):
        chance = random.Random(seed)
        view, workloads = a_cluster(chance)
        request = asking(a_workload(9, chance.randint(1, 12), placement=chance.choice(PLACEMENTS)), 0, 1)
        room = make_room(request, view, workloads, max_moves=0)
        assert list(room.decisions) == trio.run(FullScanScheduler().schedule, request, view), seed
        found.update(isinstance(each, AssignNode) for each in room.decisions)
    assert min(found.values()) > SEEDS // 4, "little was tested"
