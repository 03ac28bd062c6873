"""What the core knows of each node's GPUs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from librt.vecs import vec
from mypy_extensions import i64
from orchestrion.scheduler_packing._core.gpu_fleet import BLOCK, EMPTY, WHOLE, Demand, GpuFleet, has_room

FREE = st.lists(st.sampled_from([0, 10, 190, 250, 500, 999, WHOLE]), max_size=12)


def fleet_of(*frees: list[int], types: list[int] | None = None) -> GpuFleet:
    most = max(map(len, frees), default=0)
    fleet = GpuFleet(vec[i64](types or [0] * len(frees)), vec[i64]([len(free) for free in frees]), most)
    for position, free in enumerate(frees):
        fleet.fill(position, 64_000, 1 << 40, vec[i64](free))
    return fleet


def free_of(fleet: GpuFleet, position: int) -> list[int]:
    start = position * fleet.stride
    residues = [fleet.residues[at] for at in range(start, start + fleet.partial[position])]
    return [WHOLE] * fleet.whole[position] + residues


@given(FREE)
def test_free_gpus_are_kept_with_the_largest_first(free: list[int]) -> None:
    assert free_of(fleet_of(free), 0) == sorted((each for each in free if each), reverse=True)


@given(FREE, st.integers(1, WHOLE - 1), st.data())
def test_what_a_share_takes_it_gives_back(free: list[int], share: int, data: st.DataObject) -> None:
    fleet = fleet_of([*free, WHOLE])
    demand = Demand(2000, 1 << 30, 0, vec[i64]([share]))
    residue = data.draw(st.sampled_from([each for each in free_of(fleet, 0) if each >= share]))
    before = sorted(free_of(fleet, 0))
    fleet.take(0, demand, residue)
    assert sum(free_of(fleet, 0)) == sum(before) - share
    assert fleet.cpu[0] == 62_000
    fleet.release(0, demand, residue - share)
    assert sorted(free_of(fleet, 0)) == before
    assert (fleet.cpu[0], fleet.memory[0]) == (64_000, 1 << 40)


def test_whole_gpus_are_taken_and_given_back_by_number() -> None:
    fleet = fleet_of([WHOLE] * 16)
    demand = Demand(0, 0, 12, vec[i64]())
    fleet.take(0, demand, WHOLE)
    assert fleet.whole[0] == 4
    assert not has_room(fleet, demand, 0)
    fleet.release(0, demand, WHOLE)
    assert fleet.whole[0] == 16


@given(FREE, st.integers(0, 3), st.integers(1, WHOLE - 1))
def test_there_is_room_exactly_where_some_gpus_do(free: list[int], whole: int, share: int) -> None:
    fleet = fleet_of(free)
    idle = free.count(WHOLE) - whole
    expected = idle > 0 or (idle == 0 and any(share <= each < WHOLE for each in free))
    assert has_room(fleet, Demand(64_000, 1 << 40, whole, vec[i64]([share])), 0) == expected
    assert has_room(fleet, Demand(0, 0, whole, vec[i64]()), 0) == (idle >= 0)


@given(FREE, st.lists(st.integers(1, WHOLE - 1), min_size=2, max_size=4))
def test_several_shares_are_never_refused_by_mistake(free: list[int], shares: list[int]) -> None:
    fleet = fleet_of(free)
    demand = Demand(0, 0, 0, vec[i64](sorted(shares, reverse=True)))
    if not has_room(fleet, demand, 0):
        assert sum(free) < sum(shares) or max(free, default=0) < max(shares)


def test_a_node_without_the_cpu_or_the_memory_has_no_room() -> None:
    fleet = fleet_of([WHOLE])
    assert has_room(fleet, Demand(64_000, 1 << 40, 1, vec[i64]()), 0)
    assert not has_room(fleet, Demand(64_001, 0, 1, vec[i64]()), 0)
    assert not has_room(fleet, Demand(0, (1 << 40) + 1, 1, vec[i64]()), 0)


def test_nodes_of_one_type_lie_together_by_position_in_blocks_of_their_own() -> None:
    types = [2, 0, 2, 0, 1]
    fleet = fleet_of(*[[WHOLE]] * 5, types=types)
    assert [fleet.position_of[slot] for slot in (0, 1, BLOCK, 2 * BLOCK, 2 * BLOCK + 1)] == [1, 3, 4, 0, 2]
    assert [each for each in fleet.position_of if each != EMPTY] == [1, 3, 4, 0, 2]
    assert list(fleet.type_of_block) == [0, 1, 2]
    assert all(fleet.position_of[fleet.slot_of[position]] == position for position in range(5))


def test_a_long_log_is_cut_and_what_was_cut_is_counted() -> None:
    fleet = fleet_of([WHOLE])
    for _ in range(5000):
        fleet.touch(0)
    assert fleet.changes == 5001
    assert len(fleet.log) + fleet.logged == 5001
    assert fleet.logged > 0
