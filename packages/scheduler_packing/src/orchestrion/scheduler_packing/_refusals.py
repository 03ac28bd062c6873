"""Why requests were refused on one view: who asks again while nothing changed gets the same explanation."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from attrs import frozen
from orchestrion.scheduler_interface import Explanation
from orchestrion.scheduler_packing._wanted import Wanted
from orchestrion.shared_types import NodeId

MAX_REFUSALS: Final = 64
"""So many are kept; an explanation may have a group for each node."""
MAX_TAKEN: Final = 256
"""Refusals after so many slots of the same request are kept."""


@frozen(eq=False)
class Refusal:
    """Why no node can take one more slot of a workload.

    Attributes:
        wanted: What a slot wants.
        taken: The positions that earlier slots of the request had taken by then.
        explanation: Why.
    """

    wanted: Wanted
    taken: tuple[int, ...]
    explanation: Explanation


class Refusals:
    """The refusals on one view, the latest for each workload and only node."""

    def __init__(self) -> None:
        """Know none."""
        self._kept: OrderedDict[tuple[int, NodeId | None], Refusal] = OrderedDict()

    def clear(self) -> None:
        """Forget all: the view is another."""
        if self._kept:
            self._kept.clear()

    def get(self, wanted: Wanted, only_node: NodeId | None) -> Refusal | None:
        """Return the latest refusal, or None."""
        return self._kept.get((id(wanted), only_node))

    def keep(self, refusal: Refusal, only_node: NodeId | None) -> None:
        """Keep a refusal and what is wanted, so that its identity stays its own; unless too many slots came before."""
        if len(refusal.taken) > MAX_TAKEN:
            return
        key = (id(refusal.wanted), only_node)
        self._kept[key] = refusal
        self._kept.move_to_end(key)
        if len(self._kept) > MAX_REFUSALS:
            self._kept.popitem(last=False)
