"""What is placed, as a sample of what is asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from immutabledict import immutabledict
from orchestrion.scheduler_interface import NodeView, PlacedInstance
from orchestrion.scheduler_packing._core.efill import ONE
from orchestrion.scheduler_packing._gpu_mix import Kind
from orchestrion.shared_types import WHOLE_DEVICE, InstanceKey

LEAST: Final = 32
"""Fewer instances than these are no sample."""

SHARES: Final = 4096
"""Kinds that make up a smaller part of the instances than one in so many are left out."""

_NOTHING: Final[Mapping[InstanceKey, PlacedInstance]] = immutabledict()


class PlacedMix:
    """How often each kind of slot is among what the nodes hold.

    It depends on what is placed now, and on nothing else. So that not every instance makes for another mix, whose
    tables would have to be worked out, numbers count coarsely: the instances in all by their three leading bits, and
    each kind's share of them by one.

    What was refused is not among what is placed, and what an instance requires of its node can't be seen.
    """

    def __init__(self) -> None:
        """Know nothing."""
        self._seen: list[Mapping[InstanceKey, PlacedInstance]] = []
        self._counts: Counter[Kind] = Counter()
        self._total = 0
        self._about = 0
        self._weights: dict[Kind, int] = {}
        self._lesson: Mapping[Kind, int] | None = immutabledict()

    @property
    def once(self) -> int:
        """What a kind counts at most that is placed once."""
        return SHARES // self._about if self._about else 0

    @property
    def turnover(self) -> int:
        """As much as can be: what leaves can't be seen either, and most of what is placed does so some day."""
        return ONE

    @property
    def lesson(self) -> Mapping[Kind, int]:
        """How often each kind is placed, as against others; another object only if something has changed."""
        if self._lesson is None:
            self._lesson = immutabledict(self._weights)
        return self._lesson

    def take_all(self, views: Sequence[NodeView]) -> None:
        """Take over what is placed on all nodes."""
        self._counts.clear()
        self._weights.clear()
        self._total = self._about = 0
        self._lesson = None
        self._seen = [_NOTHING] * len(views)
        for position, view in enumerate(views):
            self.take(position, view)

    def take(self, position: int, view: NodeView) -> None:
        """Take over what is placed on one node."""
        before, after = self._seen[position], view.instances
        if after is before:
            return
        self._seen[position] = after
        changed = set()
        for instances, others, number in ((before, after, -1), (after, before, 1)):
            for key, instance in instances.items():
                if others.get(key) is not instance:
                    kind = _kind_of(instance)
                    self._counts[kind] += number
                    self._total += number
                    changed.add(kind)
        about = _about(self._total)
        if about != self._about:
            self._about = about
            changed = {*self._counts}
        for kind in changed:
            self._weigh(kind)

    def _weigh(self, kind: Kind) -> None:
        count = self._counts[kind]
        if not count:
            del self._counts[kind]
        share = count * SHARES // self._about if self._about else 0
        weight = 1 << share.bit_length() - 1 if share else 0
        if weight == self._weights.get(kind, 0):
            return
        self._lesson = None
        if weight:
            self._weights[kind] = weight
        else:
            del self._weights[kind]


def _about(total: int) -> int:
    if total < LEAST:
        return 0
    bits = total.bit_length() - 3
    return total >> bits << bits


def _kind_of(instance: PlacedInstance) -> Kind:
    thousandths = instance.device_thousandths.values()
    return Kind(
        cpu=instance.demand.cpu_millicores,
        memory=instance.demand.memory_bytes,
        whole=sum(each == WHOLE_DEVICE for each in thousandths),
        shares=tuple(sorted((each for each in thousandths if each != WHOLE_DEVICE), reverse=True)),
        suitability=None,
    )
