"""A cluster whose books the scheduler keeps itself: what it decides is committed in one go."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import accumulate
from typing import Final, overload

from librt.vecs import append, vec
from mypy_extensions import i64
from orchestrion.scheduler_interface import (
    AssignNode,
    Explanation,
    Grant,
    InvalidSchedulingRequest,
    SchedulingRequest,
    StaticClusterView,
    check_request,
    node_view,
)
from orchestrion.scheduler_packing._choice import Choice
from orchestrion.scheduler_packing._core.books import Books, Lot, count_placed
from orchestrion.scheduler_packing._core.placing import NOWHERE, Shape
from orchestrion.scheduler_packing._core.terms import Term
from orchestrion.scheduler_packing._deciding import assignment
from orchestrion.scheduler_packing._explaining import Explaining
from orchestrion.scheduler_packing._gpu_choice import Bounds, GpuChoice
from orchestrion.scheduler_packing._gpu_mix import Mix
from orchestrion.scheduler_packing._gpu_nodes import GpuNodes
from orchestrion.scheduler_packing._groups import Group, group_of
from orchestrion.scheduler_packing._history import NodeHistory
from orchestrion.scheduler_packing._index import Index
from orchestrion.scheduler_packing._learned import Learned
from orchestrion.scheduler_packing._profile import Profile, ProfileName, check_profile, sign_of, weighs_fragments
from orchestrion.scheduler_packing._score_nodes import ScoreNodes
from orchestrion.scheduler_packing._scored_choice import ScoredChoice
from orchestrion.scheduler_packing._wanted import Suitability, Wanted, wanted_of
from orchestrion.shared_types import (
    InstanceAffinity,
    InstanceKey,
    Metadata,
    Node,
    NodeId,
    Spread,
    Uid,
    WorkloadDefinition,
)

PLAIN: Final = Suitability(
    drivers=frozenset({"process"}), select=(), expressions=(), node_affinities=(), tolerations=(), devices=()
)
MIN_TERMS: Final = 256
"""So many terms are kept without a look whether anything that is remembered has them."""
NO_SHAPE: Final = Shape(vec[i64]([0, 0, 0]), 0, [])


class Placements(Sequence[AssignNode | None]):
    """Where the slots of some requests hold their places: for each slot in order its decision, or None for no place.

    The decisions are made when they are looked at; `node_ids` needs none.
    """

    def __init__(
        self,
        requests: Sequence[SchedulingRequest],
        positions: vec[i64],
        ids: list[NodeId],
        grants: dict[InstanceKey, tuple[Grant, ...]],
    ) -> None:
        self._requests = requests
        self._positions = positions
        self._ids = ids
        self._grants = grants
        self._ends: list[int] | None = None

    def __len__(self) -> int:
        return len(self._positions)

    @property
    def node_ids(self) -> list[NodeId | None]:
        """The node of each slot, or None."""
        ids = self._ids
        return [None if position < 0 else ids[position] for position in self._positions]

    @property
    def placed_count(self) -> int:
        """How many slots have a place."""
        return count_placed(self._positions)

    @overload
    def __getitem__(self, index: int) -> AssignNode | None: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[AssignNode | None]: ...
    def __getitem__(self, index: int | slice) -> AssignNode | Sequence[AssignNode | None] | None:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(index)
        position = self._positions[index]
        if position < 0:
            return None
        if self._ends is None:
            self._ends = list(accumulate(len(request.slots) for request in self._requests))
        number = bisect_right(self._ends, index)
        start = self._ends[number - 1] if number else 0
        slot = self._requests[number].slots[index - start]
        return assignment(slot, self._ids[position], self._grants.get(slot, ()), None)

    def __iter__(self) -> Iterator[AssignNode | None]:
        return (self[index] for index in range(len(self)))


class PackingLedger:
    """Nodes, and who holds a place on them: decides as `PackingScheduler` does, and commits at once.

    For programs that place at a high rate and are the only ones who place. An incarnation is placed once: asked for
    again, it is answered with the place that it has. Its key alone releases it. A request's minimum is kept. Its
    `preempt` and `explain` are passed over: nobody is pushed out, and the method `explain` says why there is no place.
    Not for several threads at once.
    """

    def __init__(
        self,
        nodes: Iterable[Node] = (),
        /,
        *,
        profile: ProfileName | Profile = "binpack",
        mix: Mix | None = None,
        learned: Learned | None = None,
        history: NodeHistory | None = None,
    ) -> None:
        """Open empty books.

        Args:
            nodes: The nodes in any order, each once.
            profile: What to prefer, as `PackingScheduler` has it, as for `learned` and `history`.
            mix: For the profile "gpu" and the plug-in "fragmentation", what is asked for; None makes one, which the
                ledger tells of every slot that holds no place when it is asked for, and of every release.
            learned: See `profile`.
            history: See `profile`.

        Raises:
            ValueError: A node is there twice, there is no such profile, it has no use for what is given, or lacks what
                it needs.
            InvalidSchedulingRequest: There are more nodes than can be told apart.
        """
        check_profile(profile, {"mix": mix, "learned": learned, "history": history})
        self._index = Index(sign_of(profile))
        self._index.show(StaticClusterView(node_view(node) for node in nodes))
        self._own_mix = Mix() if weighs_fragments(profile) and mix is None else None
        asked = mix or self._own_mix
        gpus = GpuNodes(self._index, asked) if profile == "gpu" else None
        self._gpus = gpus if gpus is not None and gpus.show() else None
        self._scores: ScoreNodes | None = None
        if isinstance(profile, Profile):
            self._scores = ScoreNodes(self._index, profile, mix=asked, learned=learned, history=history)
        self._ids = self._index.ids
        self._books = Books(self._index.fleet, self._make_lot, self._released)
        self._spread_terms: dict[tuple[Uid, Spread, Suitability], Term] = {}
        self._group_terms: dict[tuple[Group, InstanceAffinity, bool], Term] = {}
        self._many_terms = MIN_TERMS
        self._grants: dict[InstanceKey, tuple[Grant, ...]] = {}

    def place(self, requests: Sequence[SchedulingRequest], /, *, minimum: int = 0) -> Placements:
        """Give every slot of every request a place, one after the other, and keep the places.

        They are those that `PackingScheduler.schedule_batch` decides on in a view that shows what the ledger holds.

        Args:
            requests: The requests. All decisions see those before them.
            minimum: Where fewer of all slots would hold a place in the end, none that did not before gets one. It is
                about all requests together; that of each request holds for its own slots, whatever comes of others.

        Raises:
            InvalidSchedulingRequest: A slot is of another workload than its request's or has an epoch of 2^31 or more,
                a request's minimum is negative or above the number of its slots, or a demand exceeds `MAX_AMOUNT`. No
                slot has got a place then.
        """
        try:
            positions = self._books.place(requests, self._place_with_care)
        except ValueError as err:
            self._books.release(self._books.fresh)
            remedy = "Ask for each workload's own slots, no fewer than the minimum, for less, and with lower epochs."
            raise InvalidSchedulingRequest(str(err), remedy=remedy) from err
        if minimum > 0 and count_placed(positions) < minimum:
            self._books.release(self._books.fresh)
            slots = (slot for request in requests for slot in request.slots)
            positions = vec[i64]([self._books.position_of(slot) for slot in slots])
        return Placements(requests, positions, self._ids, self._grants)

    def prepare(self) -> None:
        """Work out what the next decision needs, which changes none: tables, after a lesson of the mix."""
        if self._gpus is not None:
            self._gpus.show()
        if self._scores is not None:
            self._scores.show()

    def release(self, keys: Iterable[InstanceKey], /) -> int:
        """Give up the places of incarnations, and return how many held one; the others are passed over."""
        released = self._books.release(keys)
        if self._own_mix is not None:
            self._own_mix.observe_end(released)
        return released

    def node_of(self, key: InstanceKey, /) -> NodeId | None:
        """Return the node that an incarnation holds a place on, or None."""
        position = self._books.position_of(key)
        return None if position == NOWHERE else self._ids[position]

    def explain(self, request: SchedulingRequest, /) -> Explanation:
        """Return which nodes can't take one more slot of a request, and why; no place is taken.

        It is the explanation that `PackingScheduler` gives of a refusal, or, where a node can take one, of an
        assignment without scores. Where labels are named such that different reasons read the same, a node is counted
        for each.

        Raises:
            InvalidSchedulingRequest: The request is outside what the interface allows.
        """
        check_request(request)
        wanted = wanted_of(request.workload)
        return Explaining(self._index, wanted, self._terms_of(wanted), request.only_node, is_exact=False).explain()

    def _place_with_care(self, request: SchedulingRequest, lot: Lot, placed: vec[i64]) -> vec[i64]:
        books, index = self._books, self._index
        choice = self._choice_of(request, lot) if lot.is_possible else None
        for slot in request.slots:
            if slot.workload_id != lot.uid:
                msg = f"slot {slot} does not belong to the workload whose uid is {lot.uid}"
                raise ValueError(msg)
            position = books.position_of(slot)
            if position == NOWHERE and self._own_mix is not None:
                self._own_mix.observe(request.workload)
            if position == NOWHERE and choice is not None:
                if isinstance(choice, ScoredChoice):
                    choice.begin(slot)
                found = choice.best()
                if found is not None:
                    position, grants = found
                    books.hold(lot, slot, position)
                    if grants:
                        self._grants[slot] = grants
                        for grant in grants:
                            index.device_free[position][grant.device_id] -= grant.thousandths
            placed = append(placed, position)
        return placed

    def _choice_of(self, request: SchedulingRequest, lot: Lot) -> Choice | GpuChoice | ScoredChoice:
        index = self._index
        wanted: Wanted = lot.wanted
        only = None if request.only_node is None else index.positions.get(request.only_node, NOWHERE)
        if self._scores is not None:
            return ScoredChoice(index, self._scores, wanted, lot.shape, Bounds(self._terms_of(wanted)), only)
        if self._gpus is not None:
            return GpuChoice(index, self._gpus, wanted, lot.shape, Bounds(self._terms_of(wanted)), only)
        return Choice(index, wanted, lot.shape, lot.field or index.field_of(wanted, []), only)

    def _released(self, key: InstanceKey, position: int) -> None:
        for grant in self._grants.pop(key, ()):
            self._index.device_free[position][grant.device_id] += grant.thousandths

    # -- what workloads want

    @property
    def _is_ordered(self) -> bool:
        """Whether nodes are in an order that says which is preferred."""
        return self._gpus is None and self._scores is None

    def _make_lot(self, workload: WorkloadDefinition) -> Lot:
        if len(self._spread_terms) + len(self._group_terms) > self._many_terms:
            self._forget_terms()
        try:
            wanted = wanted_of(workload)
        except ValueError as err:
            name = workload.metadata.name
            msg = f"the containers of workload {name!r} ask for more in all than can be counted"
            raise ValueError(msg) from err
        shape = self._index.shape_of(wanted)
        order = None
        if shape is not None and not wanted.suitability.devices and self._is_ordered:
            order = self._index.order_of(wanted.suitability)
            if wanted.suitability == PLAIN and wanted.is_bound_by_room_alone and not self._group_terms:
                self._books.plain = order
        uid = workload.metadata.uid
        lot = Lot(workload, wanted, uid, shape or NO_SHAPE, order, self._books.held_of(uid))
        lot.is_possible = shape is not None
        if shape is not None and self._is_ordered and not (order is not None and wanted.is_bound_by_room_alone):
            lot.field = self._index.field_of(wanted, self._terms_of(wanted))
        lot.counted_by = [
            *(term for (counted, _, _), term in self._spread_terms.items() if counted == uid),
            *(term for (group, _, _), term in self._group_terms.items() if _is_of(group, lot)),
        ]
        return lot

    def _terms_of(self, wanted: Wanted) -> list[Term]:
        """Return what the instances that are placed now mean; kept up to date by the books from now on."""
        if not (wanted.spreads or wanted.instance_affinities):
            return []
        metadata = wanted.workload.metadata
        terms = []
        for spread in wanted.spreads:
            own = (metadata.uid, spread, wanted.suitability)
            if own not in self._spread_terms:
                term = self._spread_terms[own] = self._index.spread_term(spread, wanted)
                self._count_into(term, lambda lot: lot.uid == metadata.uid)
            terms.append(self._spread_terms[own])
        for affinity, about in zip(wanted.instance_affinities, _group_keys(wanted), strict=True):
            group = about[0]
            if about not in self._group_terms:
                term = self._group_terms[about] = self._index.affinity_term(affinity, group, metadata)
                self._books.plain = None
                self._count_into(term, partial(_is_of, group))
            terms.append(self._group_terms[about])
        return terms

    def _forget_terms(self) -> None:
        """Forget the terms that no workload has of which anything is remembered."""
        lots = [lot for lot in self._books.lots if lot is not None]
        uids = {lot.uid for lot in lots}
        wanted = {id(lot.wanted): lot.wanted for lot in lots if lot.wanted is not None}
        about = {key for each in wanted.values() for key in _group_keys(each)}
        self._spread_terms = {key: term for key, term in self._spread_terms.items() if key[0] in uids}
        self._group_terms = {key: term for key, term in self._group_terms.items() if key in about}
        left = {id(term) for term in (*self._spread_terms.values(), *self._group_terms.values())}
        for lot in lots:
            if lot.counted_by:
                lot.counted_by = [term for term in lot.counted_by if id(term) in left]
        self._many_terms = max(MIN_TERMS, 2 * len(left))

    def _count_into(self, term: Term, counts: Callable[[Lot], bool]) -> None:
        for lot in self._books.lots:
            if lot is not None and counts(lot):
                self._books.count_into(lot, term)


def _group_keys(wanted: Wanted) -> list[tuple[Group, InstanceAffinity, bool]]:
    """Return what the terms of a workload's affinities to instances are kept by, in the order of these."""
    metadata = wanted.workload.metadata
    groups = ((group_of(metadata.namespace, affinity), affinity) for affinity in wanted.instance_affinities)
    return [(group, affinity, group.has(metadata.namespace, metadata.labels)) for group, affinity in groups]


def _is_of(group: Group, lot: Lot) -> bool:
    metadata: Metadata = lot.workload.metadata
    return group.has(metadata.namespace, metadata.labels)
