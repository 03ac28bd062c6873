"""Explanations, from one pass over the columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from attrs import define, field
from librt.vecs import vec
from mypy_extensions import i64
from orchestrion.scheduler_interface import (
    ChangeKind,
    Explanation,
    PlacementChange,
    Predicate,
    RefusalGroup,
    domain_text,
    neighbours_text,
)
from orchestrion.scheduler_packing._core.placing import NOWHERE, Shape
from orchestrion.scheduler_packing._core.terms import Term
from orchestrion.scheduler_packing._core.verdicts import MAX_SAMPLES, PASSES, Counted, Rule, Survey, may_join
from orchestrion.scheduler_packing._index import Index
from orchestrion.scheduler_packing._verdicts import Known
from orchestrion.scheduler_packing._wanted import Wanted, port_text
from orchestrion.shared_types import InstanceAffinity, NodeId

GroupKey = tuple[Predicate, str, str]
RuleKey = tuple[str, InstanceAffinity | None]
"""A topology, and an affinity; None for spreads."""


class AmbiguousWords(Exception):
    """Different reasons read the same, so that nodes can't be counted by where they come from."""


@define(eq=False)
class _Group:
    number: int = 0
    samples: list[int] = field(factory=list)
    dimension: str = ""
    needed: int = 0
    best_free: int = 0
    owner: object = None

    def add(self, counted: Counted, reason: int) -> None:
        self.number += counted.numbers[reason]
        self.samples += counted.samples(reason)


@define(eq=False)
class Explaining:
    """Explains why nodes can't take one more slot of a workload, on an index as it is now.

    Attributes:
        index: The nodes.
        wanted: What a slot wants.
        terms: What the instances that are placed mean, in the order of `wanted.topologies`.
        only_node: The only node that will do; None for any.
        is_exact: Whether nodes must not be counted where different reasons read the same. Else one that fails for two
            of them is counted twice.
    """

    index: Index
    wanted: Wanted
    terms: Sequence[Term]
    only_node: NodeId | None = None
    is_exact: bool = True
    _amounts: list[int] = field(init=False)
    _lacking: list[tuple[str, int]] = field(init=False)
    _groups: dict[GroupKey, _Group] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        """Sort out what no node has any of."""
        self._amounts, self._lacking = self.index.amounts_of(self.wanted)

    def explain(self) -> Explanation:
        """Return the whole explanation but for scores.

        Raises:
            AmbiguousWords: It is to be exact, and the names of topologies and labels are such that different reasons
                read the same.
        """
        index, suitability = self.index, self.wanted.suitability
        count = len(index.nodes)
        first, end = self._range(count)
        lasting = index.verdicts.lasting(suitability, index, index.order_of(suitability), first, end)
        devices = index.verdicts.devices(suitability.devices, index) if suitability.devices else None
        rules = self._rules()
        shape = Shape(vec[i64](self._amounts), 0, list(self.wanted.host_ports))
        survey = Survey(
            index.fleet,
            shape,
            len(self._lacking),
            lasting.column,
            None if devices is None else devices.column,
            list(rules.values()),
            any(spread.required for spread in self.wanted.spreads),
        )
        survey.look(first, end)
        self._group_verdicts(lasting, survey.lasting)
        if devices is not None:
            self._group_verdicts(devices, survey.devices)
        self._group_room(survey, range(first, end))
        for key, rule in rules.items():
            self._group_rule(key, rule)
        if self.only_node is not None and count > end - first:
            self._group_others(first, count - (end - first))
        if survey.able > 0:
            return Explanation(groups=self._listed(), nodes_considered=count)
        return Explanation(
            groups=self._listed(),
            nodes_considered=count,
            closest=tuple(index.ids[position] for position in survey.closest),
            smallest_change=self._change(survey, lasting),
        )

    def _range(self, count: int) -> tuple[int, int]:
        """Return which positions the slot may go to at all."""
        if self.only_node is None:
            return 0, count
        only = self.index.positions.get(self.only_node)
        return (0, 0) if only is None else (only, only + 1)

    # -- groups

    def _rules(self) -> dict[RuleKey, Rule]:
        terms: dict[RuleKey, list[Term]] = {}
        spreads, affinities = self.wanted.spreads, self.wanted.instance_affinities
        for spread, term in zip(spreads, self.terms, strict=False):
            if spread.required:
                terms.setdefault((spread.by, None), []).append(term)
        for affinity, term in zip(affinities, self.terms[len(spreads) :], strict=True):
            if affinity.weight is None:
                terms.setdefault((affinity.by, affinity), []).append(term)
        return {(by, affinity): Rule(each, by == "node") for (by, affinity), each in terms.items()}

    def _group_verdicts(self, known: Known, counted: Counted) -> None:
        for verdict in counted.failing():
            for predicate, detail in {(why.predicate, why.detail) for why in known.reasons[verdict]}:
                self._group(predicate, detail, known).add(counted, verdict)

    def _group_room(self, survey: Survey, looked_at: range) -> None:
        names = self.index.dimension_names
        for at in survey.short.failing():
            group = self._group_resource(names[at], self._amounts[at])
            group.best_free = survey.most[at]
            group.add(survey.short, at)
        for name, amount in self._lacking if looked_at else ():
            group = self._group_resource(name, amount)
            group.number = len(looked_at)
            group.samples = list(looked_at[:MAX_SAMPLES])
        for at in survey.ports.failing():
            self._group(Predicate.HOST_PORT, port_text(self.wanted.host_ports[at]), survey).add(survey.ports, at)

    def _group_rule(self, key: RuleKey, rule: Rule) -> None:
        by, affinity = key
        failing = rule.counted.failing()
        names: list[str | None] = [None, *self.index.domain_names(by)] if failing else []
        for domain in failing:
            words = domain_text(by, names[domain])
            if affinity is None:
                self._group(Predicate.SPREAD, words, rule).add(rule.counted, domain)
            else:
                words = neighbours_text(affinity, words)
                self._group(Predicate.INSTANCE_AFFINITY, words, rule).add(rule.counted, domain)

    def _group_others(self, first: int, number: int) -> None:
        group = self._group(Predicate.OTHER_NODE, "", self)
        group.number = number
        only = first if number < len(self.index.nodes) else NOWHERE
        others = (position for position in range(len(self.index.nodes)) if position != only)
        group.samples = list(islice(others, MAX_SAMPLES))

    def _group_resource(self, dimension: str, needed: int) -> _Group:
        group = self._groups[Predicate.RESOURCE, "", dimension] = _Group(dimension=dimension, needed=needed)
        return group

    def _group(self, predicate: Predicate, detail: str, owner: object) -> _Group:
        group = self._groups.setdefault((predicate, detail, ""), _Group(owner=owner))
        if group.owner is not owner and self.is_exact:
            raise AmbiguousWords(detail)
        return group

    def _listed(self) -> tuple[RefusalGroup, ...]:
        ids = self.index.ids
        listed = sorted(self._groups.items(), key=_most_first)
        return tuple(
            RefusalGroup(
                predicate=predicate,
                detail=detail,
                dimension=dimension,
                node_count=group.number,
                samples=tuple(ids[position] for position in sorted(group.samples)[:MAX_SAMPLES]),
                needed=group.needed,
                best_free=group.best_free,
            )
            for (predicate, detail, dimension), group in listed
        )

    # -- what would have to change

    def _change(self, survey: Survey, lasting: Known) -> tuple[PlacementChange, ...]:
        if survey.best != NOWHERE:
            steps = set(self._steps(survey.best, lasting))
            return tuple(sorted(steps, key=lambda step: (step.kind.value, step.subject)))
        return self._new_node() if self.only_node is None and self._may_join() else ()

    def _steps(self, position: int, lasting: Known) -> Iterable[PlacementChange]:
        """Yield what has to be done for one node."""
        index = self.index
        node_id = index.ids[position]
        verdict = lasting.column.of[position]
        for why in lasting.reasons[verdict] if verdict != PASSES else ():
            if why.kind is not None:
                yield PlacementChange(kind=why.kind, node_id=node_id, subject=why.subject)
        for at, (name, needed) in enumerate(zip(index.dimension_names, self._amounts, strict=True)):
            free = index.fleet.free[at][position]
            if needed > free:
                yield PlacementChange(kind=ChangeKind.LOWER_REQUEST, node_id=node_id, subject=name, amount=free)
        for port in self.wanted.host_ports:
            if port in index.fleet.ports.get(position, ()):
                yield PlacementChange(kind=ChangeKind.FREE_PORT, node_id=node_id, subject=port_text(port))

    def _may_join(self) -> bool:
        """Whether a new node may be where all required spreads and affinities to instances hold."""
        # In a domain of its own, a node is within every spread.
        bound = {each.by for each in self.wanted.instance_affinities if each.weight is None}
        bys = self.wanted.topologies
        return all(
            may_join([term for each, term in zip(bys, self.terms, strict=True) if each == by], by != "node")
            for by in bound
        )

    def _new_node(self) -> tuple[PlacementChange, ...]:
        amounts = {name: amount for name, amount in self.wanted.demand.dimensions() if amount > 0}
        if wants := self.wanted.suitability.devices:
            amounts["gpu"] = sum(want.count for want in wants)
        return tuple(
            PlacementChange(kind=ChangeKind.ADD_NODE, subject=subject, amount=amount)
            for subject, amount in sorted((amounts or {"": 0}).items())
        )


def _most_first(item: tuple[GroupKey, _Group]) -> tuple[int, str, str, str]:
    (predicate, detail, dimension), group = item
    return -group.number, predicate.value, detail, dimension
