"""From a mix of demands and the types of node to what the core's expected fill works with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from attrs import frozen
from librt.vecs import vec
from mypy_extensions import i64
from orchestrion.scheduler_packing._core.efill import ONE, Competition, ExpectedFill
from orchestrion.scheduler_packing._core.gpu_fleet import WHOLE, GpuFleet
from orchestrion.scheduler_packing._core.gpu_tables import Mix, Tables, build_tables

MAX_TABLES: Final = 16
"""So many kinds of node have tables of their own; the others, those with the fewest GPUs, share those of any demand."""

MAX_WISHES: Final = 256
"""So many demands make up a mix, those that take the most."""

INSURANCE: Final = 0.1
"""What share of the known GPU demand is added, in equal parts, as demand for just the nodes of one model: it stands for
what asks for that model and has not come yet."""

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


def plan(fleet: GpuFleet, types: Sequence[NodeType], counts: Mapping[Wish, int], *, insured: bool) -> ExpectedFill:
    """Make the policy for a mix. It is a function of the arguments' content, and takes a while: tables are worked out.

    Args:
        fleet: All nodes.
        types: Their types, by number.
        counts: How often each demand comes, as against others; > 0.
        insured: Whether to allow for demands that have not been met yet.
    """
    ranked = sorted(
        counts.items(),
        key=lambda each: (-each[1] * (each[0].gpu + each[0].cpu / 1000), each[0].cpu, each[0].memory, _order(each[0])),
    )[:MAX_WISHES]
    mix = dict(sorted(ranked, key=lambda each: (each[0].cpu, each[0].memory, _order(each[0]))))
    tables, table_of_type = _tables(types, mix)
    return ExpectedFill(fleet, tables, vec[i64](table_of_type), _competition(types, mix, insured))


def _order(wish: Wish) -> tuple[int, tuple[int, ...], list[int]]:
    return wish.whole, wish.shares, sorted(wish.types)


def _tables(types: Sequence[NodeType], mix: Mapping[Wish, int]) -> tuple[list[Tables], list[int]]:
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
    tables = [_table(mix, wishes, kind, most_gpus, most_cpu) for kind in own]
    if len(kinds) > len(own):
        own |= dict.fromkeys(kinds[MAX_TABLES:], len(tables))
        tables.append(_table(mix, wishes, any_demand, most_gpus, most_cpu))
    return tables, [own[kind] for kind in may_go]


def _table(
    mix: Mapping[Wish, int], wishes: Sequence[Wish], kind: tuple[bool, ...], most_gpus: int, most_cpu: int
) -> Tables:
    column = Mix()
    for wish, may_go in zip(wishes, kind, strict=True):
        if may_go:
            is_share = wish.whole == 0 and len(wish.shares) == 1
            column.add(wish.cpu, wish.gpus, wish.shares[0] if is_share else WHOLE, mix[wish])
    for wish, weight in mix.items():
        if not wish.gpus:
            column.add(wish.cpu, 0, 0, weight)
    return build_tables(column, most_gpus, most_cpu)


def _competition(types: Sequence[NodeType], mix: Mapping[Wish, int], insured: bool) -> Competition:
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
    if insured:
        models = _models(types)
        for numbers in models:
            competition.add(vec[i64](numbers), int(INSURANCE * ONE) // len(models))
    return competition


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
