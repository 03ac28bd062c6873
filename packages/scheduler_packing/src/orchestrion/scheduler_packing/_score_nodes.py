"""The nodes of an index as the plug-ins of a profile see them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Final

from attrs import define, frozen
from librt.vecs import vec
from mypy_extensions import i64
from orchestrion.scheduler_interface import FULL_WEIGHT, STEP_POINTS
from orchestrion.scheduler_packing._core.gpu_board import Policy
from orchestrion.scheduler_packing._core.placing import Shape
from orchestrion.scheduler_packing._core.scoring import (
    BALANCE,
    BINPACK,
    FRAGMENTATION,
    GPU_LOCALITY,
    HIGHEST_ID,
    INSTANCE_AFFINITY,
    LEARNED,
    LEAST_LOADED,
    LOWEST_ID,
    MOST,
    MOST_LOADED,
    NODE_AFFINITY,
    NODE_HISTORY,
    PLUG_INS,
    PREFER_NO_SCHEDULE,
    ROUND_ROBIN,
    SPREAD,
    TOPOLOGY_SPREAD,
    Allocatable,
    Preferences,
    Scoring,
)
from orchestrion.scheduler_packing._fragmentation import FragmentedNodes
from orchestrion.scheduler_packing._gpu_mix import Mix
from orchestrion.scheduler_packing._history import NodeHistory
from orchestrion.scheduler_packing._index import Index
from orchestrion.scheduler_packing._learned import Learned, priority_of, sigmoid_table
from orchestrion.scheduler_packing._locality import device_count, near_grants
from orchestrion.scheduler_packing._profile import PlugIn, Profile, Ties
from orchestrion.scheduler_packing._suitability import dislikes_of
from orchestrion.scheduler_packing._wanted import Suitability, Wanted
from orchestrion.shared_types import WHOLE_DEVICE, Node, NodeId, Resources

NUMBERS: Final[Mapping[PlugIn, int]] = {
    "binpack": BINPACK,
    "spread": SPREAD,
    "balance": BALANCE,
    "learned": LEARNED,
    "node-affinity": NODE_AFFINITY,
    "prefer-no-schedule": PREFER_NO_SCHEDULE,
    "gpu-locality": GPU_LOCALITY,
    "fragmentation": FRAGMENTATION,
    "node-history": NODE_HISTORY,
    "instance-affinity": INSTANCE_AFFINITY,
    "topology-spread": TOPOLOGY_SPREAD,
}
TIES: Final[Mapping[Ties, int]] = {
    "lowest-id": LOWEST_ID,
    "highest-id": HIGHEST_ID,
    "least-loaded": LEAST_LOADED,
    "most-loaded": MOST_LOADED,
    "round-robin": ROUND_ROBIN,
}

MAX_SUITED: Final = 64
"""What so many kinds of workload find of nodes, whatever is free there, is kept."""
MIN_SCORINGS: Final = 16
SCORING_CELLS: Final = 1 << 20
"""So many scores are kept, one for each node and kind of slot, or as many as `MIN_SCORINGS` take."""


@frozen(eq=False)
class Suited:
    """What a kind of workload finds of each node, whatever is free there.

    Attributes:
        members: 1 if the node suits, else 0.
        taints: The points of "prefer-no-schedule".
        affinity: The points of "node-affinity".
    """

    members: vec[i64]
    taints: vec[i64]
    affinity: vec[i64]

    def note(self, position: int, node: Node, suitability: Suitability) -> None:
        """Take over what a node is like."""
        dislikes = dislikes_of(node, suitability)
        self.members[position] = 0 if dislikes is None else 1
        if dislikes is not None:
            weights = [each.weight for each in suitability.node_affinities if each.weight is not None]
            self.taints[position] = MOST // (1 + dislikes.taints // STEP_POINTS)
            self.affinity[position] = MOST * dislikes.held // max(FULL_WEIGHT, sum(weights))


@frozen(cache_hash=True)
class Sort:
    """What slots agree in that score the same on all nodes, as long as nothing is around."""

    suitability: Suitability
    demand: Resources
    host_ports: tuple[int, ...]
    priority: int


@define(eq=False)
class Kept:
    """Scores, and what they look at that depends on what is free.

    Attributes:
        scoring: The scores.
        wanted: What a slot wants.
        columns: Columns that no other kind of slot has, by the number of the plug-in.
        cursor: How many of the fleet's changes the columns know.
    """

    scoring: Scoring
    wanted: Wanted
    columns: dict[int, vec[i64]]
    cursor: int


class ScoreNodes:
    """What an index knows of nodes for a profile's plug-ins; kept up by the index's log of changes."""

    def __init__(
        self,
        index: Index,
        profile: Profile,
        *,
        mix: Mix | None = None,
        learned: Learned | None = None,
        history: NodeHistory | None = None,
    ) -> None:
        """Look at nothing yet.

        Args:
            index: The nodes.
            profile: What weighs how much.
            mix: For "fragmentation", what is asked for; None takes what is placed for a sample of it.
            learned: For "learned".
            history: For "node-history".
        """
        self._index = index
        self.profile = profile
        self._weights = [0] * PLUG_INS
        for name, weight in profile.weights.items():
            self._weights[NUMBERS[name]] = weight  # type: ignore[index] # a profile has no other names
        self._learned = learned
        self._history = history
        self._fragmented = FragmentedNodes(index, mix) if self._weights[FRAGMENTATION] else None
        self._policy: Policy | None = None
        self._had_gpus = False
        self._source = index.fleet
        self._cursor = -1
        self._nodes: list[Node] = []
        self._allocatable = Allocatable(vec[i64](), vec[i64](), vec[i64]())
        self._suited: OrderedDict[Suitability, Suited] = OrderedDict()
        self._scorings: OrderedDict[Sort, Kept] = OrderedDict()
        self._failed: Mapping[NodeId, int] | None = None
        self._past = vec[i64]()
        self._lesson: tuple[int, ...] | None = None
        self._preferences = self._prefer(())

    def show(self) -> None:
        """Take over what has changed in the index, and the latest lessons."""
        source = self._index.fleet
        if source is not self._source or self._cursor < source.logged:
            self._take_all()
        elif self._cursor != source.changes:
            changed = set(source.log[self._cursor - source.logged :])
            self._cursor = source.changes
            self._take_changed(changed)
        if self._learned is not None and self._learned.weights is not self._lesson:
            self._lesson = self._learned.weights
            self._preferences = self._prefer(self._lesson)
            self._scorings.clear()
        if self._history is not None and self._history.lesson is not self._failed:
            failed = self._failed = self._history.lesson
            self._past = vec[i64]([failed.get(node.id, MOST) for node in self._nodes])
            self._scorings.clear()
        if self._fragmented is not None:
            has_gpus = self._fragmented.show()
            # Without GPUs there are no columns of the policy's, and it stays the one that was made last.
            if self._fragmented.policy is not self._policy or has_gpus != self._had_gpus:
                self._policy, self._had_gpus = self._fragmented.policy, has_gpus
                self._scorings.clear()

    def scoring_of(self, wanted: Wanted, shape: Shape) -> Scoring:
        """Return the scores of all nodes for a workload's slots; `show` comes before."""
        sort = Sort(wanted.suitability, wanted.demand, wanted.host_ports, priority_of(wanted.workload))
        known = self._scorings.get(sort)
        if known is None:
            known = self._scorings[sort] = self._score(wanted, shape, sort.priority)
            if len(self._scorings) > max(MIN_SCORINGS, SCORING_CELLS // (1 + len(self._nodes))):
                self._scorings.popitem(last=False)
        self._scorings.move_to_end(sort)
        if known.columns and known.cursor != self._cursor:
            self._look_again(known)
        return known.scoring

    def residue_of(self, wanted: Wanted, position: int) -> int | None:
        """Return how many thousandths the GPU that is to take a share has free; None where it makes no difference."""
        if self._fragmented is None or not self._fragmented.has_gpus:
            return None
        return self._fragmented.policy.residue(position, self._fragmented.board_of(wanted).demand)

    @property
    def prefers_near_devices(self) -> bool:
        """Whether devices are granted that are near each other."""
        return self._weights[GPU_LOCALITY] > 0

    # -- what plug-ins say

    def _prefer(self, learned: tuple[int, ...]) -> Preferences:
        table = sigmoid_table() if learned else ()
        return Preferences(vec[i64](self._weights), TIES[self.profile.ties], vec[i64](learned), vec[i64](table))

    def _score(self, wanted: Wanted, shape: Shape, priority: int) -> Kept:
        suited = self._suited_of(wanted.suitability)
        scoring = Scoring(self._source, shape, self._preferences, self._allocatable, suited.members, priority)
        own: dict[int, vec[i64]] = {}
        if self._weights[PREFER_NO_SCHEDULE]:
            scoring.add_column(PREFER_NO_SCHEDULE, suited.taints)
        if self._weights[NODE_AFFINITY] and wanted.suitability.node_affinities:
            scoring.add_column(NODE_AFFINITY, suited.affinity)
        if self._weights[NODE_HISTORY]:
            scoring.add_column(NODE_HISTORY, self._past)
        everywhere = range(len(self._nodes))
        if self.prefers_near_devices and device_count(wanted.suitability.devices) > 1:
            own[GPU_LOCALITY] = vec[i64](self._points_of(GPU_LOCALITY, wanted, everywhere))
        if self._fragmented is not None and self._fragmented.has_gpus:
            own[FRAGMENTATION] = vec[i64](self._points_of(FRAGMENTATION, wanted, everywhere))
        for number, column in own.items():
            scoring.add_column(number, column)
        return Kept(scoring, wanted, own, self._cursor)

    def _suited_of(self, suitability: Suitability) -> Suited:
        suited = self._suited.get(suitability)
        if suited is None:
            nothing = [0] * len(self._nodes)
            suited = Suited(vec[i64](nothing), vec[i64](nothing), vec[i64](nothing))
            for position, node in enumerate(self._nodes):
                suited.note(position, node, suitability)
            if len(self._suited) == MAX_SUITED:
                # Scores and what they look at go together.
                self._scorings.clear()
                self._suited.clear()
            self._suited[suitability] = suited
        return suited

    def _nearness(self, wanted: Wanted, positions: Iterable[int]) -> list[int]:
        found = []
        for position in positions:
            free = self._index.device_free.get(position)
            near = near_grants(wanted.suitability.devices, self._nodes[position], free) if free else None
            found.append(-1 if near is None else near.points)
        return found

    # -- keeping up

    def _take_all(self) -> None:
        self._source = self._index.fleet
        self._cursor = self._source.changes
        self._nodes = list(self._index.nodes)
        rooms = [node.allocatable for node in self._nodes]
        self._allocatable = Allocatable(
            vec[i64]([room.cpu_millicores for room in rooms]),
            vec[i64]([room.memory_bytes for room in rooms]),
            vec[i64]([WHOLE_DEVICE * len(node.devices) for node in self._nodes]),
        )
        self._suited.clear()
        self._scorings.clear()
        self._failed = None

    def _take_changed(self, changed: set[int]) -> None:
        for position in changed:
            node = self._index.nodes[position]
            if node is not self._nodes[position]:
                self._nodes[position] = node
                room, all_of = node.allocatable, self._allocatable
                all_of.cpu[position] = room.cpu_millicores
                all_of.memory[position] = room.memory_bytes
                all_of.gpu[position] = WHOLE_DEVICE * len(node.devices)
                for suitability, suited in self._suited.items():
                    suited.note(position, node, suitability)

    def _look_again(self, kept: Kept) -> None:
        """Take columns over that depend on what is free, for the nodes where that has changed."""
        source = self._source
        start = kept.cursor - source.logged
        kept.cursor = self._cursor
        changed = set(source.log[start:]) if start >= 0 else range(len(self._nodes))
        for number, column in kept.columns.items():
            for position, points in zip(changed, self._points_of(number, kept.wanted, changed), strict=True):
                column[position] = points

    def _points_of(self, number: int, wanted: Wanted, positions: Iterable[int]) -> list[int]:
        if number == GPU_LOCALITY or self._fragmented is None:
            return self._nearness(wanted, positions)
        return self._fragmented.points_of(wanted, positions)
