"""The nodes of an index as fragmentation gradient descent sees them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from librt.vecs import vec
from mypy_extensions import i64
from orchestrion.scheduler_packing._core.fgd import MOST_POINTS, FragmentationDescent, Typical
from orchestrion.scheduler_packing._core.gpu_board import UNFIT, Policy
from orchestrion.scheduler_packing._core.gpu_fleet import WHOLE
from orchestrion.scheduler_packing._core.scoring import MOST
from orchestrion.scheduler_packing._gpu_nodes import GpuNodes
from orchestrion.scheduler_packing._gpu_plan import NodeType, Wish
from orchestrion.scheduler_packing._wanted import Wanted

SCALE: Final = MOST // MOST_POINTS
COVERED: Final = 0.95
"""The most frequent demands that make up so much of all are the typical ones, as the paper has it."""
MAX_TYPICAL: Final = 64


class FragmentedNodes(GpuNodes):
    """What an index knows of nodes with GPUs, valued by what typical demands can't use of them."""

    def points_of(self, wanted: Wanted, positions: Iterable[int]) -> list[int]:
        """Return how little each node is fragmented by taking a slot, 0 to 1000; 0 where it has no room for it."""
        board = self.board_of(wanted)
        return [SCALE * gain if (gain := board.gain_of(position)) != UNFIT else 0 for position in positions]

    def _policy_for(self, types: list[NodeType], counts: Counter[Wish]) -> Policy:
        typical = Typical()
        total, covered = sum(counts.values()), 0
        for wish in sorted(counts, key=lambda each: (-counts[each], _content(each))):
            if covered >= COVERED * total or len(typical.cpu) == MAX_TYPICAL:
                break
            covered += counts[wish]
            share = WHOLE if wish.whole else max(wish.shares, default=0)
            gpus = wish.whole or min(1, len(wish.shares))
            allowed = vec[i64]([1 if number in wish.types else 0 for number in range(len(types))])
            typical.add(wish.cpu, gpus, share, counts[wish] / total, allowed)
        return FragmentationDescent(self.fleet, typical)


def _content(wish: Wish) -> tuple[object, ...]:
    return wish.cpu, wish.memory, wish.whole, wish.shares, sorted(wish.types)
