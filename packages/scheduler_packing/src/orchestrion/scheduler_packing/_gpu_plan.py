"""From a mix of demands and the types of node to what the core's expected fill works with."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from attrs import frozen
from librt.vecs import vec
from mypy_extensions import i64
from orchestrion.scheduler_packing._core.efill import ONE, Competition, ExpectedFill
from orchestrion.scheduler_packing._core.gpu_fleet import WHOLE, GpuFleet
from orchestrion.scheduler_packing._core.gpu_tables import MICRO, Mix, Tables, build_tables

MAX_TABLES: Final = 16
"""So many kinds of node have tables of their own; the others, those with the fewest GPUs, share those of any demand."""

MAX_WISHES: Final = 256
"""So many demands make up a mix, those that take the most."""

MOST_INSURED: Final = 0.1
"""At most such a share of the known GPU demand is added, in equal parts, as demand for just the nodes of one model: it
stands for what asks for that model and has not come yet."""

MAX_TABLES_KEPT: Final = 64
"""So many tables are remembered; those unused for longest go first."""

TOGETHER: Final = 3.0
"""What it is worth at most that free GPUs are on one node, in GPUs."""
SEVERAL: Final = 64
"""It is worth the most where demands for several GPUs are one part of all demand in so many, or more."""

INSURED_SHARE: Final = 0.005
"""Models that have a smaller share of the GPUs are not insured."""


@frozen
class NodeType:
    """Nodes that are alike when nothing is on them.

    Attributes:
        cpu: Millicores.
        memory: Bytes.
        gpus: How many GPUs each has.
        model: Their model.
        nodes: How many such nodes there are.
    """

    cpu: int
    memory: int
    gpus: int
    model: str
    nodes: int


@frozen
class Wish:
    """One kind of demand in a mix.

    Attributes:
        cpu: Millicores.
        memory: Bytes.
        whole: How many whole GPUs.
        shares: Thousandths of one GPU each.
        types: The numbers of the types of node that it may go to, as far as its size does not matter.
    """

    cpu: int
    memory: int
    whole: int
    shares: tuple[int, ...]
    types: frozenset[int]

    @property
    def gpus(self) -> int:
        """How many GPUs, whole or shared."""
        return self.whole + len(self.shares)

    @property
    def gpu(self) -> int:
        """Thousandths of GPUs in all."""
        return WHOLE * self.whole + sum(self.shares)

    def fits(self, type_: NodeType) -> bool:
        """Whether an empty node of a type has room for it."""
        return self.cpu <= type_.cpu and self.memory <= type_.memory and self.gpus <= type_.gpus


class Tabulation:
    """Works tables out, and remembers the latest."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[object, ...], Tables] = OrderedDict()

    def tables(self, demands: Sequence[tuple[int, int, int, int]], most_gpus: int, most_cpu: int) -> Tables:
        """Return the tables of nodes that may take these demands: each its cpu, GPUs, share of each, and weight."""
        content = (tuple(demands), most_gpus, most_cpu)
        tables = self._known.get(content)
        if tables is None:
            mix = Mix()
            for demand in demands:
                mix.add(*demand)
            tables = self._known[content] = build_tables(mix, most_gpus, most_cpu)
            if len(self._known) > MAX_TABLES_KEPT:
                self._known.popitem(last=False)
        self._known.move_to_end(content)
        return tables


def plan(
    fleet: GpuFleet,
    types: Sequence[NodeType],
    counts: Mapping[Wish, int],
    *,
    once: int = 0,
    turnover: int = 0,
    tabulation: Tabulation | None = None,
) -> ExpectedFill:
    """Make the policy for a mix. It is a function of the arguments' content, and takes a while: tables are worked out.

    Args:
        fleet: All nodes.
        types: Their types, by number.
        counts: How often each demand comes, as against others; > 0.
        once: What demands count at most that have been met just once. Their share of all is what is to be expected of
            those that have not been met yet (Good and Turing's estimate), which are allowed for; 0 where the mix is
            known.
        turnover: How many slots leave for each that comes, in 2^16ths, at most 2^16.
        tabulation: Where tables that were worked out before are remembered.
    """
    largest = max((type_.gpus for type_ in types), default=0)
    # What no node could ever take says nothing about what nodes are good for.
    possible = [each for each in counts.items() if each[0].gpus <= largest]
    ranked = sorted(
        possible,
        key=lambda each: (-each[1] * (1000 * each[0].gpu + each[0].cpu), each[0].cpu, each[0].memory, _order(each[0])),
    )[:MAX_WISHES]
    mix = dict(sorted(ranked, key=lambda each: (each[0].cpu, each[0].memory, _order(each[0]))))
    tables, table_of_type = _tables(types, mix, tabulation or Tabulation())
    return ExpectedFill(fleet, tables, vec[i64](table_of_type), _competition(types, mix, once, turnover))


def _order(wish: Wish) -> tuple[int, tuple[int, ...], list[int]]:
    return wish.whole, wish.shares, sorted(wish.types)


def _tables(
    types: Sequence[NodeType], mix: Mapping[Wish, int], tabulation: Tabulation
) -> tuple[list[Tables], list[int]]:
    """Return the tables, and the number of each type's; types that the same demands may go to share theirs."""
    wishes = [wish for wish in mix if wish.gpus]
    may_go = [tuple(number in wish.types for wish in wishes) for number in range(len(types))]
    gpus: defaultdict[tuple[bool, ...], int] = defaultdict(int)
    for type_, each in zip(types, may_go, strict=True):
        gpus[each] += type_.gpus * type_.nodes
    kinds = sorted(gpus, key=lambda kind: (-gpus[kind], kind))
    own = {kind: number for number, kind in enumerate(kinds[:MAX_TABLES])}
    most_gpus = max((type_.gpus for type_ in types), default=0)
    most_cpu = max((type_.cpu for type_ in types), default=0)
    any_demand = (True,) * len(wishes)
    tables = [tabulation.tables(_demands(mix, wishes, kind), most_gpus, most_cpu) for kind in own]
    if len(kinds) > len(own):
        own |= dict.fromkeys(kinds[MAX_TABLES:], len(tables))
        tables.append(tabulation.tables(_demands(mix, wishes, any_demand), most_gpus, most_cpu))
    return tables, [own[kind] for kind in may_go]


def _demands(
    mix: Mapping[Wish, int], wishes: Sequence[Wish], kind: tuple[bool, ...]
) -> list[tuple[int, int, int, int]]:
    """Return the demands that one kind of node may take. Several shares at once count as so many whole GPUs."""
    demands = []
    for wish, may_go in zip(wishes, kind, strict=True):
        if may_go:
            is_share = wish.whole == 0 and len(wish.shares) == 1
            demands.append((wish.cpu, wish.gpus, wish.shares[0] if is_share else WHOLE, mix[wish]))
    demands += ((wish.cpu, 0, 0, weight) for wish, weight in mix.items() if not wish.gpus)
    return demands


def _competition(types: Sequence[NodeType], mix: Mapping[Wish, int], once: int, turnover: int) -> Competition:
    competition = Competition()
    total = sum(weight * wish.gpu for wish, weight in mix.items())
    if not total:
        return competition
    largest = max(type_.gpus for type_ in types)
    demands: defaultdict[tuple[int, ...], int] = defaultdict(int)
    large = 0
    for wish, weight in mix.items():
        demands[tuple(number for number in sorted(wish.types) if wish.fits(types[number]))] += weight * wish.gpu
        if 2 * wish.gpus > largest:
            large += weight * wish.gpu
    competition.large = large * ONE // total
    for hosts, demand in sorted(demands.items()):
        if hosts and demand:
            competition.add(vec[i64](hosts), demand * ONE // total)
    competition.together = _together(mix, total, turnover)
    unmet = sum(weight * wish.gpu for wish, weight in mix.items() if weight <= once) * ONE // total
    models = _models(types)
    for numbers in models if unmet else ():
        competition.add(vec[i64](numbers), min(unmet, int(MOST_INSURED * ONE)) // len(models))
    return competition


def _together(mix: Mapping[Wish, int], total: int, turnover: int) -> vec[i64]:
    """Return what it is worth that so many free GPUs are on one node.

    A demand for several GPUs finds a place only where as many are free, which happens the sooner the fewer others are
    in use: nodes that are nearly empty are to run empty, not to be filled again. For a demand of s GPUs, k free ones
    count (k / s)^2, over all such demands. Where nothing leaves, no node ever runs empty, and it is worth nothing.
    """
    sizes: Counter[int] = Counter()
    for wish, weight in mix.items():
        if wish.gpus > 1:
            sizes[wish.gpus] += weight * wish.gpu
    several = sum(sizes.values())
    worth = [0]
    for free in range(1, max(sizes, default=0) + 1):
        squares = sum(demand * min(free, size) ** 2 * MICRO // size**2 for size, demand in sorted(sizes.items()))
        share = min(total, SEVERAL * several)
        worth.append(int(TOGETHER * ONE) * (squares * share // (several * total)) // ONE * turnover // ONE)
    return vec[i64](worth)


def _models(types: Sequence[NodeType]) -> list[list[int]]:
    """Return the types of each model that is worth insuring."""
    gpus: defaultdict[str, int] = defaultdict(int)
    numbers: defaultdict[str, list[int]] = defaultdict(list)
    for number, type_ in enumerate(types):
        if type_.gpus:
            gpus[type_.model] += type_.gpus * type_.nodes
            numbers[type_.model].append(number)
    total = sum(gpus.values())
    return [numbers[model] for model in sorted(numbers) if gpus[model] >= INSURED_SHARE * total]
