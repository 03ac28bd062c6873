"""The nodes of an index as expected fill sees them."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from typing import Final, Protocol

from attrs import frozen
from librt.vecs import vec
from mypy_extensions import i64
from orchestrion.scheduler_packing._core.efill import Competition, ExpectedFill
from orchestrion.scheduler_packing._core.fleet import CPU, MEMORY
from orchestrion.scheduler_packing._core.gpu_board import Board, Policy
from orchestrion.scheduler_packing._core.gpu_fleet import Demand, GpuFleet
from orchestrion.scheduler_packing._gpu_mix import Kind, kind_of
from orchestrion.scheduler_packing._gpu_placed import PlacedMix
from orchestrion.scheduler_packing._gpu_plan import MAX_WISHES, NodeType, Tabulation, Wish, plan
from orchestrion.scheduler_packing._index import Index
from orchestrion.scheduler_packing._suitability import points_of
from orchestrion.scheduler_packing._wanted import Suitability, Wanted
from orchestrion.shared_types import WHOLE_DEVICE, Device, Node, NodeStatus, Taint

MAX_TYPES: Final = 64
"""Nodes that are equally large are told apart by what may go there only if that makes no more types of node."""

MIN_BOARDS: Final = 64
BOARD_CELLS: Final = 1 << 19
"""So many numbers are kept in boards, one for each node and kind of slot, or as many as `MIN_BOARDS` take."""

MAX_KINDS: Final = 8192
"""What kind of slot so many workloads ask for is remembered; the one that was met first goes first."""

MAX_COLUMNS: Final = 256
"""The points of all nodes are kept for what the mix tells of, and for so many other kinds of slot."""

UNSUITED: Final = -1

ANYTHING: Final = Suitability(
    drivers=frozenset(), select=(), expressions=(), node_affinities=(), tolerations=(), devices=()
)


class Lessons(Protocol):
    """What is known of the kinds of slots that are asked for."""

    @property
    def lesson(self) -> Mapping[Kind, int]:
        """How often each kind comes, as against others; another object if something has changed."""
        ...

    @property
    def once(self) -> int:
        """What a kind counts at most that has come once."""
        ...

    @property
    def turnover(self) -> int:
        """How many slots leave for each that comes, in 2^16ths."""
        ...


@frozen(cache_hash=True)
class Traits:
    """What, but for its name and place, makes a node suit or not: nodes that agree in it suit the same."""

    is_open: bool
    drivers: frozenset[str]
    labels: tuple[tuple[str, str], ...]
    taints: tuple[Taint, ...]
    devices: tuple[tuple[str, str, int, str], ...]


@frozen
class Hardware:
    """What a node is when nothing is on it.

    Attributes:
        size: What nodes of one type agree in: cpu, memory, and the models of all GPUs.
        gpus: Its GPUs by id.
    """

    size: tuple[int, int, tuple[str, ...]]
    gpus: tuple[Device, ...]


class GpuNodes:
    """What an index knows of nodes with GPUs, for the core; kept up by the index's log of changes."""

    def __init__(self, index: Index, mix: Lessons | None = None, *, samples: bool = False) -> None:
        """Look at nothing yet.

        Args:
            index: The nodes.
            mix: What is asked for; None takes what is placed for a sample of it.
            samples: Whether what is placed is also taken for a sample as long as the mix has had no lesson.
        """
        self._index = index
        self._placed = PlacedMix() if mix is None or samples else None
        self._told = mix
        self._mix: Lessons = self._placed or mix or PlacedMix()
        self._source = index.fleet
        self._cursor = -1
        self._lesson: Mapping[Kind, int] | None = None
        self._nodes: list[Node] = []
        self._hardware: list[Hardware] = []
        self._alike: list[list[int]] | None = None
        self._columns: dict[Suitability, vec[i64]] = {}
        self._telling: list[Suitability] = []
        self._boards: OrderedDict[Kind, Board] = OrderedDict()
        self._kinds: OrderedDict[int, tuple[Wanted, Kind]] = OrderedDict()
        self._tabulation = Tabulation()
        self._layout: tuple[list[int], list[int]] = ([], [])
        self._is_filled = False
        self.has_gpus = False
        self.fleet = GpuFleet(vec[i64](), vec[i64](), 0)
        self.policy: Policy = ExpectedFill(self.fleet, [], vec[i64](), Competition())

    def show(self) -> bool:
        """Take over what has changed in the index and in the mix; return whether any node has GPUs."""
        source = self._index.fleet
        if self._placed is not None and self._told is not None and self._told.lesson:
            self._placed, self._mix = None, self._told
        if source is not self._source or self._cursor < source.logged:
            self._take_all()
        elif self._cursor != source.changes:
            self._take_changed()
        if self.has_gpus and self._lesson is not self._mix.lesson:
            self._plan()
        return self.has_gpus

    def gpus_of(self, position: int) -> tuple[Device, ...]:
        """Return a node's GPUs by id."""
        return self._hardware[position].gpus

    def board_of(self, wanted: Wanted) -> Board:
        """Return the scores of all nodes for a workload's slots, up to date and weighed."""
        kind = self._kind_of(wanted)
        board = self._boards.get(kind)
        if board is None:
            points = self._column(kind.suitability or ANYTHING)
            demand = Demand(kind.cpu, kind.memory, min(kind.whole, self.fleet.stride + 1), vec[i64](kind.shares))
            board = self._boards[kind] = Board(self.policy, demand, points)
            if len(self._boards) > max(MIN_BOARDS, BOARD_CELLS // (1 + self.fleet.count)):
                self._boards.popitem(last=False)
        self._boards.move_to_end(kind)
        board.catch_up()
        self.policy.weigh(board.demand)
        return board

    def _kind_of(self, wanted: Wanted) -> Kind:
        known = self._kinds.get(id(wanted))
        if known is not None:
            return known[1]
        kind = kind_of(wanted)
        self._kinds[id(wanted)] = (wanted, kind)
        if len(self._kinds) > MAX_KINDS:
            self._kinds.popitem(last=False)
        return kind

    def _column(self, suitability: Suitability) -> vec[i64]:
        """Return the points of each node that suits, and `UNSUITED` of the others."""
        column = self._columns.get(suitability)
        if column is None:
            if len(self._columns) >= MAX_COLUMNS + len(self._telling):
                # A board and the points that it looks at go together.
                self._boards.clear()
                self._forget_columns()
            column = self._columns[suitability] = vec[i64](self._points_of_all(suitability))
        return column

    def _forget_columns(self) -> None:
        """Forget the points of what the mix does not tell of, for which there are no boards now."""
        self._columns = {each: self._columns[each] for each in self._telling}

    def _points_of_all(self, suitability: Suitability) -> list[int]:
        # What is selected may be a node's name, which no other node has; all else nodes that are alike agree in.
        if suitability.select:
            return [_points(node, suitability) for node in self._nodes]
        if self._alike is None:
            groups: dict[Traits, list[int]] = {}
            for position, node in enumerate(self._nodes):
                groups.setdefault(_traits_of(node), []).append(position)
            self._alike = list(groups.values())
        points = [UNSUITED] * len(self._nodes)
        for positions in self._alike:
            here = _points(self._nodes[positions[0]], suitability)
            if here != UNSUITED:
                for position in positions:
                    points[position] = here
        return points

    # -- keeping up

    def _take_all(self) -> None:
        index = self._index
        self._source = index.fleet
        self._cursor = index.fleet.changes
        self._nodes = list(index.nodes)
        self._hardware = [_hardware_of(node) for node in self._nodes]
        self.has_gpus = any(hardware.gpus for hardware in self._hardware)
        self._alike = None
        self._columns.clear()
        self._lesson = None
        self._is_filled = False
        if self._placed is not None:
            self._placed.take_all(index.views)

    def _take_changed(self) -> None:
        index, source = self._index, self._source
        start, self._cursor = self._cursor - source.logged, source.changes
        changed = set(source.log[start:])
        for position in changed:
            if index.nodes[position] is not self._nodes[position]:
                self._take_node(position, index.nodes[position])
            if self._placed is not None:
                self._placed.take(position, index.views[position])
        if self._lesson is None:
            self.has_gpus = any(hardware.gpus for hardware in self._hardware)
            self._is_filled = False
            return
        for position in changed:
            self._fill(position)

    def _take_node(self, position: int, node: Node) -> None:
        self._nodes[position] = node
        self._alike = None
        hardware = _hardware_of(node)
        if hardware != self._hardware[position]:
            self._hardware[position] = hardware
            self._lesson = None
        for suitability, column in self._columns.items():
            points = _points(node, suitability)
            if (points < 0) != (column[position] < 0) and suitability in self._telling:
                self._lesson = None
            column[position] = points

    def _fill(self, position: int) -> None:
        columns = self._source.free
        cpu, memory = columns[CPU][position], columns[MEMORY][position]
        free = self._index.device_free.get(position)
        gpus = vec[i64]([free[gpu.id] for gpu in self._hardware[position].gpus] if free else ())
        self.fleet.fill(position, cpu, memory, gpus)

    def _plan(self) -> None:
        """Value the nodes anew, by the mix as it is now."""
        lesson = self._lesson = self._mix.lesson
        kinds = _foremost(lesson)
        known = {kind.suitability for kind in kinds if kind.suitability is not None}
        self._telling = sorted(known, key=_rank)
        types, suited = self._tell_apart()
        counts: Counter[Wish] = Counter()
        everywhere = frozenset(range(len(types)))
        for kind, weight in kinds.items():
            may_go = everywhere if kind.suitability is None else suited[kind.suitability]
            counts[Wish(kind.cpu, kind.memory, kind.whole, kind.shares, may_go)] += weight
        self._boards.clear()
        self._forget_columns()
        self.policy = self._policy_for(types, counts)

    def _policy_for(self, types: list[NodeType], counts: Counter[Wish]) -> Policy:
        """Return what values the nodes of the fleet, by what is asked for."""
        return plan(
            self.fleet,
            types,
            counts,
            once=self._mix.once,
            turnover=self._mix.turnover,
            tabulation=self._tabulation,
        )

    def _tell_apart(self) -> tuple[list[NodeType], dict[Suitability, frozenset[int]]]:
        """Make the fleet of the types of node, and return them, and which of them suits each kind."""
        columns = [self._column(suitability) for suitability in self._telling]
        for telling in (columns, columns[:0]):
            marks = [
                (hardware.size, tuple(column[position] >= 0 for column in telling))
                for position, hardware in enumerate(self._hardware)
            ]
            numbers = {mark: number for number, mark in enumerate(sorted(set(marks)))}
            if len(numbers) <= MAX_TYPES:
                break
        number_of = [numbers[mark] for mark in marks]
        nodes = Counter(number_of)
        types = [
            NodeType(cpu, memory, len(models), ",".join(sorted({*models})), nodes[number])
            for number, ((cpu, memory, models), _) in enumerate(numbers)
        ]
        suited = {
            suitability: frozenset(number_of[position] for position in range(len(number_of)) if column[position] >= 0)
            for suitability, column in zip(self._telling, columns, strict=True)
        }
        gpus = [len(hardware.gpus) for hardware in self._hardware]
        if not self._is_filled or self._layout != (number_of, gpus):
            self._layout = (number_of, gpus)
            self.fleet = GpuFleet(vec[i64](number_of), vec[i64](gpus), max(gpus, default=0))
            for position in range(len(number_of)):
                self._fill(position)
            self._is_filled = True
        return types, suited


def _foremost(lesson: Mapping[Kind, int]) -> Mapping[Kind, int]:
    """Return the kinds that ask for the most, if there are more than can be told apart."""
    if len(lesson) <= MAX_WISHES:
        return lesson
    ranked = sorted(lesson.items(), key=lambda each: (-each[1] * _asked(each[0]), _content(each[0])))
    return dict(ranked[:MAX_WISHES])


def _asked(kind: Kind) -> int:
    return 1000 * (WHOLE_DEVICE * kind.whole + sum(kind.shares)) + kind.cpu


def _content(kind: Kind) -> tuple[object, ...]:
    told = () if kind.suitability is None else _rank(kind.suitability)
    return kind.cpu, kind.memory, kind.whole, kind.shares, told


def _points(node: Node, suitability: Suitability) -> int:
    points = points_of(node, suitability)
    return UNSUITED if points is None else points


def _traits_of(node: Node) -> Traits:
    return Traits(
        is_open=node.status is NodeStatus.READY
        and not node.cordoned
        and not any(condition.active for condition in node.conditions),
        drivers=node.drivers,
        labels=tuple(sorted(node.labels.items())),
        taints=tuple(node.taints),
        devices=tuple((each.kind, each.model, each.memory_bytes, each.capability) for each in node.devices),
    )


def _hardware_of(node: Node) -> Hardware:
    gpus = tuple(sorted((device for device in node.devices if device.kind == "gpu"), key=lambda gpu: gpu.id))
    allocatable = node.allocatable
    models = tuple(sorted(gpu.model for gpu in gpus))
    return Hardware((allocatable.cpu_millicores, allocatable.memory_bytes, models), gpus)


def _rank(suitability: Suitability) -> tuple[object, ...]:
    return (sorted(suitability.drivers), suitability.select, *map(repr, _parts(suitability)))


def _parts(suitability: Suitability) -> Iterable[object]:
    return (suitability.expressions, suitability.node_affinities, suitability.tolerations, suitability.devices)
