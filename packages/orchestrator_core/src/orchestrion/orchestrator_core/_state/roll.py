"""The instances of one workload, sorted by what plans ask for, so that a change of one costs nothing for the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from attrs import define, field
from orchestrion.orchestrator_core._state.records import InstanceName
from orchestrion.shared_types import DesiredState, InstanceState, NodeId

if TYPE_CHECKING:
    from orchestrion.orchestrator_core._state.world import InstanceRecord

K = TypeVar("K")


class Standing(StrEnum):
    """Where an instance stands, as far as its own records tell."""

    SERVING = "serving"
    """It is to run, runs, and is healthy."""
    STARTING = "starting"
    """It is to run, and does not serve yet or at present."""
    STOPPING = "stopping"
    """It was told to stop, and has not ended."""
    UNBOUND = "unbound"
    """Only a status is left of it, and that has not ended."""
    FAILED = "failed"
    """It has ended by failing."""
    ENDED = "ended"
    """It has ended in any other way."""


ENDS: Final = frozenset({Standing.FAILED, Standing.ENDED})


class Filing(NamedTuple):
    """Under what an instance is filed.

    Attributes:
        standing: Where it stands.
        generation: The template generation that it is bound to; 0 where it is not bound.
        node_id: The node that it is bound to, or None.
    """

    standing: Standing
    generation: int
    node_id: NodeId | None


Instances = Mapping[InstanceName, "InstanceRecord"]

_NONE: Final[Instances] = {}


@define(eq=False)
class Roll:
    """The instances of one workload. All of it follows from the records: it only saves the search."""

    _groups: dict[tuple[Standing, int], dict[InstanceName, InstanceRecord]] = field(factory=dict)
    _nodes: dict[NodeId, dict[InstanceName, InstanceRecord]] = field(factory=dict)
    _slots: dict[int, tuple[InstanceRecord, ...]] = field(factory=dict)
    _held: Counter[int] = field(factory=Counter)
    _filed: dict[InstanceName, Filing] = field(factory=dict)
    _waiting: dict[InstanceName, InstanceRecord] = field(factory=dict)
    _placed: dict[int, datetime] = field(factory=dict)
    _left: set[int] = field(factory=set)

    def note(self, record: InstanceRecord) -> None:
        """File an instance that has come or changed."""
        name, filing = record.name, _filing(record)
        before = self._filed.get(name)
        if before == filing:
            return
        if before is None:
            self._slots[name.slot] = (*self._slots.get(name.slot, ()), record)
        else:
            self._take_out(name, before)
            if before.generation != filing.generation:
                self._left.add(before.generation)
        self._filed[name] = filing
        self._groups.setdefault((filing.standing, filing.generation), {})[name] = record
        if filing.standing not in ENDS:
            self._held[name.slot] += 1
            if filing.node_id is not None:
                self._nodes.setdefault(filing.node_id, {})[name] = record
        if filing.standing is Standing.STARTING and record.bound is not None and record.bound.binding.waits_for:
            self._waiting[name] = record
        at = record.bound.binding.bound_at if record.bound is not None else None
        if at is not None:
            self._placed[filing.generation] = min(at, self._placed.get(filing.generation, at))

    def forget(self, name: InstanceName) -> None:
        """Take out an instance that is gone."""
        before = self._filed.pop(name, None)
        if before is None:
            return
        self._take_out(name, before)
        self._left.add(before.generation)
        others = tuple(record for record in self._slots[name.slot] if record.name != name)
        if others:
            self._slots[name.slot] = others
        else:
            del self._slots[name.slot]

    def of(self, standing: Standing, generation: int) -> Instances:
        """Return the instances of one generation that stand so."""
        return self._groups.get((standing, generation), _NONE)

    def standing(self, *standings: Standing) -> Iterator[tuple[int, Instances]]:
        """Yield each generation of which instances stand in one of these ways, and those instances."""
        for (standing, generation), group in self._groups.items():
            if standing in standings:
                yield generation, group

    def of_generation(self, generation: int) -> Iterator[InstanceRecord]:
        """Yield the instances that are bound to a generation, ended ones too."""
        for (_, bound_to), group in self._groups.items():
            if bound_to == generation:
                yield from group.values()

    def first_placed(self, generation: int | None = None) -> datetime | None:
        """Return when the first instance of a generation, or of all, was placed; None where none was."""
        for gone in self._left:
            # It may have been the first one.
            there = (one.bound.binding.bound_at for one in self.of_generation(gone) if one.bound is not None)
            first = min((at for at in there if at is not None), default=None)
            if first is None:
                self._placed.pop(gone, None)
            else:
                self._placed[gone] = first
        self._left.clear()
        if generation is not None:
            return self._placed.get(generation)
        return min(self._placed.values(), default=None)

    @property
    def ended(self) -> list[InstanceRecord]:
        """All that have come to an end."""
        return [record for _, group in self.standing(*ENDS) for record in group.values()]

    @property
    def generations(self) -> frozenset[int]:
        """The generations that instances are bound to, ended ones too."""
        return frozenset(generation for _, generation in self._groups if generation)

    @property
    def nodes(self) -> Mapping[NodeId, Instances]:
        """Those that have not ended, by the node that they are bound to."""
        return self._nodes

    @property
    def waiting(self) -> Instances:
        """Those that do not serve and were given the place of others, whether or not these have ended."""
        return self._waiting

    @property
    def held_slots(self) -> Mapping[int, int]:
        """How many have not ended in each slot in which any have not."""
        return self._held

    def in_slot(self, slot: int) -> tuple[InstanceRecord, ...]:
        """Return the instances of a slot, ended ones too."""
        return self._slots.get(slot, ())

    def _take_out(self, name: InstanceName, filing: Filing) -> None:
        _discard(self._groups, (filing.standing, filing.generation), name)
        self._waiting.pop(name, None)
        if filing.standing not in ENDS:
            self._held[name.slot] -= 1
            if not self._held[name.slot]:
                del self._held[name.slot]
            if filing.node_id is not None:
                _discard(self._nodes, filing.node_id, name)


def _filing(record: InstanceRecord) -> Filing:
    bound = record.bound
    if record.ended:
        standing = Standing.FAILED if record.state is InstanceState.FAILED else Standing.ENDED
    elif bound is None:
        standing = Standing.UNBOUND
    elif bound.binding.desired is DesiredState.STOP:
        standing = Standing.STOPPING
    elif record.status.state is InstanceState.RUNNING and record.status.healthy_since is not None:
        standing = Standing.SERVING
    else:
        standing = Standing.STARTING
    if bound is None:
        return Filing(standing, 0, None)
    return Filing(standing, bound.binding.generation, bound.binding.node_id)


def _discard(groups: dict[K, dict[InstanceName, InstanceRecord]], key: K, name: InstanceName) -> None:
    group = groups[key]
    del group[name]
    if not group:
        del groups[key]
