"""Moving instances from node to node, one after the other, so that everything required holds at each step."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager

from attrs import frozen
from librt.vecs import vec
from mypy_extensions import i64
from orchestrion.scheduler_interface import (
    AssignNode,
    ClusterView,
    Grant,
    NodeView,
    PlacedInstance,
    find_grants,
    host_ports_of,
    is_meant,
    topology_domain,
)
from orchestrion.scheduler_packing._choice import Choice
from orchestrion.scheduler_packing._core.fitting import TIGHTEST, Rule, best_by
from orchestrion.scheduler_packing._core.placing import NOWHERE
from orchestrion.scheduler_packing._deciding import assignment
from orchestrion.scheduler_packing._draft import Draft
from orchestrion.scheduler_packing._wanted import Wanted, wanted_of
from orchestrion.shared_types import InstanceKey, NodeId, NodeStatus, Uid, WorkloadDefinition, WorkloadKind


@frozen(kw_only=True)
class Move:
    """An instance goes to another node.

    Attributes:
        from_node: Where it is.
        to: Where it goes, with the devices that it gets there; the slot is the instance's key as it is now.
    """

    from_node: NodeId
    to: AssignNode


@frozen(eq=False)
class Ties:
    """What others require of an instance of one workload.

    Attributes:
        stays_in: By these topologies it may not leave its domain.
        keeps_away_from: By such a topology, instances of such a workload can't have it in their domain.
    """

    stays_in: frozenset[str]
    keeps_away_from: tuple[tuple[str, Uid], ...]


class Mover:
    """A draft of a cluster on which instances can be moved.

    Attributes:
        draft: The cluster as it is after the moves so far.
    """

    def __init__(
        self, view: ClusterView, workloads: Iterable[WorkloadDefinition], pinned: Collection[InstanceKey]
    ) -> None:
        """Look at everything once.

        Raises:
            ValueError: A workload's demand exceeds `MAX_AMOUNT`.
            InvalidSchedulingRequest: The view has more nodes than can be told apart.
        """
        self.draft = Draft(view)
        self._pinned = frozenset(pinned)
        self._wanted = {workload.metadata.uid: wanted_of(workload) for workload in workloads}
        self._ties: dict[Uid, Ties] = {}
        self._has_place: dict[Uid, bool] = {}

    @contextmanager
    def pinning(self, keys: Iterable[InstanceKey]) -> Iterator[None]:
        """Have more instances stay where they are, for a while."""
        before = self._pinned
        self._pinned = before.union(keys)
        try:
            yield
        finally:
            self._pinned = before

    def may_leave(self, view: NodeView) -> list[PlacedInstance]:
        """Return the instances of a node that may be moved and that there may be a place for, by key."""
        if view.node.status is not NodeStatus.READY:
            return []
        return sorted(
            (
                each
                for key, each in view.instances.items()
                if key not in self._pinned and self._is_known(each) and self._may_have_place(key.workload_id)
            ),
            key=lambda each: (each.key.workload_id, each.key.index, each.key.epoch),
        )

    def look_again(self) -> None:
        """Note that steps were taken: there may be places where there were none."""
        self._has_place.clear()

    def move_all(self, leaving: Sequence[PlacedInstance], *, to_idle: bool) -> list[Move] | None:
        """Move instances of one node to the best other nodes that will do; None, and no move, where one has none.

        Args:
            leaving: Instances that may leave, in the order in which they are moved.
            to_idle: Whether nodes that hold nothing will do.
        """
        mark = self.draft.mark()
        moves = []
        for each in leaving:
            move = self._move(each, to_idle)
            if move is None:
                self.draft.back_to(mark)
                return None
            moves.append(move)
        return moves

    def _move(self, instance: PlacedInstance, to_idle: bool) -> Move | None:
        draft, index = self.draft, self.draft.index
        wanted = self._wanted[instance.key.workload_id]
        origin = index.holders[instance.key]
        draft.remove(instance.key)
        shape = index.shape_of(wanted)
        if shape is None:
            return None
        for position, grants in tightest(Choice(index, wanted, shape, index.field_of(wanted))):
            if position == origin or not self._lets(instance, origin, position):
                continue
            if not to_idle and index.fleet.loads[position] == 0:
                continue
            decision = assignment(instance.key, index.views[position].node.id, grants, None)
            draft.place(wanted.workload, [decision])
            return Move(from_node=index.views[origin].node.id, to=decision)
        return None

    def _may_have_place(self, uid: Uid) -> bool:
        """Whether there might be a place for one more of a workload's instances, wherever it comes from."""
        known = self._has_place.get(uid)
        if known is None:
            wanted, index = self._wanted[uid], self.draft.index
            shape = index.shape_of(wanted)
            # Where an instance leaves, others of its kind may have been in its way.
            is_open = bool(wanted.spreads or wanted.instance_affinities or wanted.host_ports)
            if shape is not None and not is_open:
                is_open = next(tightest(Choice(index, wanted, shape, index.field_of(wanted))), None) is not None
            known = self._has_place[uid] = is_open
        return known

    def _is_known(self, instance: PlacedInstance) -> bool:
        """Whether it is known what an instance requires: one of an earlier template may require something else."""
        wanted = self._wanted.get(instance.key.workload_id)
        if wanted is None or wanted.workload.kind is WorkloadKind.DAEMON:
            return False
        metadata = wanted.workload.metadata
        return (
            instance.demand == wanted.demand
            and instance.namespace == metadata.namespace
            and instance.labels == metadata.labels
            and instance.host_ports == host_ports_of(wanted.workload.containers)
            and sum(instance.device_thousandths.values()) == wanted.device_thousandths
        )

    def _lets(self, instance: PlacedInstance, origin: int, position: int) -> bool:
        """Whether nothing that is required of where instances are to each other stops holding by a move."""
        ties = self._ties_of(instance)
        views = self.draft.index.views
        before, after = views[origin].node, views[position].node
        if any(topology_domain(before, by) != topology_domain(after, by) for by in ties.stays_in):
            return False
        for by, uid in ties.keeps_away_from:
            domain = topology_domain(after, by)
            if domain is None or domain == topology_domain(before, by):
                continue
            if any(
                key.workload_id == uid
                for view in views
                if topology_domain(view.node, by) == domain
                for key in view.instances
            ):
                return False
        return True

    def _ties_of(self, instance: PlacedInstance) -> Ties:
        uid = instance.key.workload_id
        known = self._ties.get(uid)
        if known is None:
            own: Wanted = self._wanted[uid]
            stays_in = {spread.by for spread in own.spreads if spread.required}
            away: list[tuple[str, Uid]] = []
            for other, wanted in self._wanted.items():
                namespace = wanted.workload.metadata.namespace
                for affinity in wanted.instance_affinities:
                    if affinity.weight is not None or not is_meant(affinity, namespace, instance):
                        continue
                    if affinity.anti:
                        away.append((affinity.by, other))
                    else:
                        stays_in.add(affinity.by)
            known = self._ties[uid] = Ties(frozenset(stays_in), tuple(away))
        return known


def tightest(choice: Choice) -> Iterator[tuple[int, tuple[Grant, ...]]]:
    """Yield the positions that will do, the best first, and the devices there."""
    index, wants, rule = choice.index, choice.wanted.suitability.devices, Rule(TIGHTEST, vec[i64]())
    choice.field.cells.order.catch_up()
    found = vec[i64]()
    while found := best_by(rule, index.fleet, choice.field, choice.shape, found):
        position = found[-1]
        if choice.only not in (None, position):
            continue
        grants: tuple[Grant, ...] | None = ()
        if wants:
            free = index.device_free.get(position, {})
            # Most nodes whose devices have enough free in all have it in pieces.
            if any(sum(each >= want.thousandths for each in free.values()) < want.count for want in wants):
                continue
            grants = find_grants(wants, index.views[position].node.devices, free)
        if grants is not None:
            yield position, grants


def only_position(draft: Draft, node_id: NodeId | None) -> int | None:
    """Return the position that alone will do, `NOWHERE` for a node that there is not; None where any will do."""
    return None if node_id is None else draft.index.positions.get(node_id, NOWHERE)
