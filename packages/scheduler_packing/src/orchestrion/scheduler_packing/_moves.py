"""Making room, and emptying nodes, by a bounded number of moves."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from attrs import frozen
from orchestrion.scheduler_interface import (
    AssignNode,
    ClusterView,
    Explanation,
    NoPlacement,
    PlacedInstance,
    ScheduleDecision,
    SchedulingRequest,
    check_request,
    explain,
    keep_minimum,
)
from orchestrion.scheduler_packing._choice import Choice
from orchestrion.scheduler_packing._core.placing import Shape
from orchestrion.scheduler_packing._deciding import assignment
from orchestrion.scheduler_packing._eviction import evictions, size_of
from orchestrion.scheduler_packing._mover import Move, Mover, only_position, tightest
from orchestrion.scheduler_packing._scheduler import CAPABILITIES
from orchestrion.scheduler_packing._wanted import Wanted, wanted_of
from orchestrion.shared_types import InstanceKey, WorkloadDefinition

MAX_TRIES: Final = 64
"""So many nodes are tried for a slot that has no place without moves."""


@frozen(kw_only=True)
class Room:
    """How slots get places.

    Attributes:
        decisions: One for each slot of the request, in their order.
        steps: The moves and new assignments, in the order in which they are to be carried out.
    """

    decisions: tuple[ScheduleDecision, ...]
    steps: tuple[Move | AssignNode, ...]

    @property
    def moves(self) -> tuple[Move, ...]:
        """The moves among the steps."""
        return tuple(step for step in self.steps if isinstance(step, Move))


def make_room(
    request: SchedulingRequest,
    view: ClusterView,
    workloads: Iterable[WorkloadDefinition],
    /,
    *,
    max_moves: int,
    pinned: Collection[InstanceKey] = (),
) -> Room:
    """Find places for slots, and where there are none, move instances out of the way.

    Each slot goes to the best node as it is, by the order of `PackingScheduler`; where none has room, to one that gets
    room by the fewest moves that were found, of the smallest instances. What is moved goes to the best node that has
    room for it; nothing else moves in turn for that.

    After each step, in their order, nothing is over-committed. A move keeps all that the instance requires, and what
    instances of the given workloads require of those around them; a new assignment, as any scheduler's, keeps what its
    own workload requires. An instance that moves is in one place at a time as far as these
    count. Instances of workloads that are not given stay, and what these require of others is not known. So do those of
    daemons, those that are not as their workload is now, and those on nodes that are not ready. An instance that others
    are required to be near, and one that is required to be spread, stays in its domain of that topology.

    It is a function of its arguments, and has no effect. It is a heuristic: where it finds nothing, a cleverer plan may
    exist.

    Args:
        request: What is to be placed.
        view: The cluster.
        workloads: Those whose instances may be moved, as they are now, and those whose requirements are to be kept.
        max_moves: How many moves there may be at most, >= 0.
        pinned: Instances that are to stay.

    Raises:
        ValueError: `max_moves` is negative, or a workload's demand exceeds `MAX_AMOUNT`.
        InvalidSchedulingRequest: The request is outside what the interface allows, or the view has more nodes than can
            be told apart.
    """
    return Rearrangement(view, workloads, pinned=pinned).make_room(request, max_moves=max_moves)


def empty_nodes(
    view: ClusterView,
    workloads: Iterable[WorkloadDefinition],
    /,
    *,
    max_moves: int,
    pinned: Collection[InstanceKey] = (),
) -> list[Move]:
    """Return moves, in their order, that empty nodes: whole nodes, or none is touched.

    Nodes that hold the fewest instances are emptied first. What is moved goes to the fullest node that will do among
    those that hold something. What holds after each step, and what stays, is as `make_room` says; a node with an
    instance that stays is not emptied.

    Args:
        view: The cluster.
        workloads: Those whose instances may be moved, as they are now, and those whose requirements are to be kept.
        max_moves: How many moves there may be at most, >= 0.
        pinned: Instances that are to stay.

    Raises:
        ValueError: `max_moves` is negative, or a workload's demand exceeds `MAX_AMOUNT`.
        InvalidSchedulingRequest: The view has more nodes than can be told apart.
    """
    return Rearrangement(view, workloads, pinned=pinned).empty_nodes(max_moves=max_moves)


class Rearrangement:
    """A plan that grows: each call goes on from the cluster as it is once all steps before are carried out.

    For many requests in a row this takes much less time than a look at the whole cluster for each.
    """

    def __init__(
        self, view: ClusterView, workloads: Iterable[WorkloadDefinition], /, *, pinned: Collection[InstanceKey] = ()
    ) -> None:
        """Start from a view; see `make_room` for the arguments.

        Raises:
            ValueError: A workload's demand exceeds `MAX_AMOUNT`.
            InvalidSchedulingRequest: The view has more nodes than can be told apart.
        """
        self._mover = Mover(view, workloads, pinned)

    def make_room(self, request: SchedulingRequest, /, *, max_moves: int) -> Room:
        """Find places for slots by at most so many moves; see `make_room`.

        Raises:
            ValueError: `max_moves` is negative.
            InvalidSchedulingRequest: The request is outside what the interface allows.
        """
        _check(max_moves)
        check_request(request)
        with self._mover.pinning(request.slots):
            return _MakingRoom(request, self._mover, max_moves).find()

    def empty_nodes(self, *, max_moves: int) -> list[Move]:
        """Return at most so many moves that empty nodes; see `empty_nodes`.

        Raises:
            ValueError: `max_moves` is negative.
        """
        _check(max_moves)
        mover = self._mover
        moves: list[Move] = []
        held = {number: len(each.instances) for number, each in enumerate(mover.draft.index.views) if each.instances}
        for position in sorted(held, key=lambda position: (held[position], position)):
            here = mover.draft.index.views[position]
            leaving = mover.may_leave(here)
            if len(leaving) < len(here.instances) or len(moves) + len(leaving) > max_moves:
                continue
            leaving.sort(key=lambda each: -size_of(each, here))
            found = mover.move_all(leaving, to_idle=False)
            if found:
                moves += found
                mover.look_again()
        return moves


def _check(max_moves: int) -> None:
    if max_moves < 0:
        msg = f"at most {max_moves} moves; there can't be less than none"
        raise ValueError(msg)


class _MakingRoom:
    """One call of `make_room`."""

    def __init__(self, request: SchedulingRequest, mover: Mover, max_moves: int) -> None:
        self._request = request
        self._mover = mover
        self._left = max_moves
        self._wanted: Wanted = wanted_of(request.workload)
        self._steps: list[Move | AssignNode] = []

    def find(self) -> Room:
        """Return places for as many slots as can be."""
        request, draft = self._request, self._mover.draft
        held = {slot: draft.index.holders[slot] for slot in request.slots if slot in draft.index.holders}
        shape = draft.index.shape_of(self._wanted)
        decisions: list[ScheduleDecision] = []
        refusal: Explanation | None = None
        mark = draft.mark()
        for slot in request.slots:
            if slot in held:
                decisions.append(self._stays(slot, held[slot]))
                continue
            decision = None
            if shape is not None and refusal is None:
                decision = self._directly(slot, shape)
                if decision is not None:
                    self._steps.append(decision)
                else:
                    decision = self._by_moves(slot, shape)
            if decision is None:
                refusal = refusal or explain(request, draft.view, capabilities=CAPABILITIES)
                decisions.append(NoPlacement(slot=slot, explanation=refusal))
            else:
                decisions.append(decision)
        kept = keep_minimum(request, decisions, held)
        if kept is not decisions:
            draft.back_to(mark)
            self._steps.clear()
        return Room(decisions=tuple(kept), steps=tuple(self._steps))

    def _stays(self, slot: InstanceKey, position: int) -> AssignNode:
        view = self._mover.draft.index.views[position]
        explanation = Explanation(nodes_considered=len(self._mover.draft.view)) if self._request.explain else None
        shares = view.instances[slot].device_thousandths
        return AssignNode(slot=slot, node_id=view.node.id, device_thousandths=shares, explanation=explanation)

    def _directly(self, slot: InstanceKey, shape: Shape, only: int | None = None) -> AssignNode | None:
        draft, request = self._mover.draft, self._request
        where = only_position(draft, request.only_node) if only is None else only
        choice = Choice(draft.index, self._wanted, shape, draft.index.field_of(self._wanted), where)
        found = next(tightest(choice), None)
        if found is None:
            return None
        position, grants = found
        explanation = explain(request, draft.view, capabilities=CAPABILITIES) if request.explain else None
        decision = assignment(slot, draft.index.views[position].node.id, grants, explanation)
        draft.place(request.workload, [decision])
        return decision

    def _by_moves(self, slot: InstanceKey, shape: Shape) -> AssignNode | None:
        mover, draft = self._mover, self._mover.draft
        for position, leaving in self._options():
            mark = draft.mark()
            moves = mover.move_all(leaving, to_idle=True)
            if moves is None:
                continue
            decision = self._directly(slot, shape, position)
            if decision is not None:
                self._left -= len(moves)
                self._mover.look_again()
                self._steps += [*moves, decision]
                return decision
            draft.back_to(mark)
        return None

    def _options(self) -> list[tuple[int, tuple[PlacedInstance, ...]]]:
        """Return nodes, and what would have to leave them, those first that need the fewest and smallest moves."""
        index = self._mover.draft.index
        only = only_position(self._mover.draft, self._request.only_node)
        field = index.field_of(self._wanted)
        found = []
        for position, view in enumerate(index.views):
            if only not in (None, position) or not field.is_member(position) or not field.allows(position):
                continue
            leaving = self._mover.may_leave(view)
            gone = evictions(self._wanted, view, leaving, self._left)
            if gone:
                found.append((len(gone), sum(size_of(each, view) for each in gone), position, gone))
        found.sort(key=lambda option: option[:3])
        return [(position, gone) for _, _, position, gone in found[:MAX_TRIES]]
