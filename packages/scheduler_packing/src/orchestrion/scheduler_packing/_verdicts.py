"""For what lasting reasons nodes fail, and for want of which devices: looked at once per node that changes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Protocol

from attrs import define, field, frozen
from orchestrion.scheduler_interface import (
    REFUSING_EFFECTS,
    ChangeKind,
    DeviceWant,
    Predicate,
    expression_matches,
    expression_text,
    find_grants,
    label_text,
    selector_matches,
)
from orchestrion.scheduler_packing._core.fleet import Fleet
from orchestrion.scheduler_packing._core.order import Order
from orchestrion.scheduler_packing._core.verdicts import NO_STEPS, PASSES, UNKNOWN, Verdicts
from orchestrion.scheduler_packing._wanted import Suitability
from orchestrion.shared_types import Device, Node, NodeStatus

MAX_KEPT: Final = 64
"""The verdicts on so many suitabilities, and on as many wants of devices, are kept."""
MIN_REASONS: Final = 1024
"""What nodes fail for, in one respect, is looked at anew once that has made for so many different verdicts, or for
twice as many as there are nodes: those of nodes as they once were are not kept."""
MAX_ALIKE: Final = 4096
"""Of so many sets of devices is remembered what is wanting."""


@frozen(cache_hash=True)
class Why:
    """A reason that does not depend on how much a node has free.

    Attributes:
        predicate: What fails.
        detail: What exactly, as `RefusalGroup.detail` has it.
        kind: The step that would do away with it; None where there is none.
        subject: What the step is about.
    """

    predicate: Predicate
    detail: str = ""
    kind: ChangeKind | None = None
    subject: str = ""


Reasons = tuple[Why, ...]


def lasting_reasons(node: Node, suitability: Suitability) -> Iterator[Why]:
    """Yield the reasons why a node does not suit, devices apart; some may be there twice."""
    if node.status is not NodeStatus.READY:
        yield Why(Predicate.NODE_STATUS, node.status.value)
    if node.cordoned:
        yield Why(Predicate.CORDONED, "", ChangeKind.UNCORDON)
    for condition in node.conditions:
        if condition.active:
            yield Why(Predicate.NODE_CONDITION, condition.type)
    for driver in suitability.drivers - node.drivers:
        yield Why(Predicate.DRIVER, driver, ChangeKind.ENABLE_DRIVER, driver)
    for key, value in suitability.select:
        if not selector_matches(node, key, value):
            yield Why(Predicate.SELECTOR, label_text(key, value), ChangeKind.DROP_SELECTOR, key)
    for expression in suitability.expressions:
        if not expression_matches(node.labels, expression):
            yield Why(Predicate.EXPRESSION, expression_text(expression), ChangeKind.DROP_EXPRESSION, expression.key)
    for taint in node.taints:
        if taint.effect in REFUSING_EFFECTS and taint not in suitability.tolerated:
            yield Why(Predicate.TAINT, label_text(taint.key, taint.value), ChangeKind.TOLERATE_TAINT, taint.key)
    for affinity in suitability.node_affinities:
        for expression in affinity.expressions:
            if affinity.weight is None and not expression_matches(node.labels, expression):
                yield Why(Predicate.NODE_AFFINITY, expression_text(expression))


class Nodes(Protocol):
    """What the verdicts are on."""

    @property
    def fleet(self) -> Fleet: ...
    @property
    def device_free(self) -> Mapping[int, Mapping[str, int]]: ...
    def node_at(self, position: int) -> Node: ...


@define(eq=False)
class Known:
    """The verdicts on all nodes in one respect, each number with its reasons."""

    column: Verdicts
    reasons: list[Reasons] = field(factory=lambda: [()])
    _numbers: dict[frozenset[Why], int] = field(factory=lambda: {frozenset(): PASSES})

    @property
    def is_worn(self) -> bool:
        """Whether most verdicts are of nodes as they once were."""
        return len(self.reasons) > max(MIN_REASONS, 2 * len(self.column.of))

    def number_of(self, reasons: Iterable[Why]) -> int:
        """Return the number of the verdict with these reasons."""
        distinct = frozenset(reasons)
        number = self._numbers.get(distinct)
        if number is None:
            keys = {(why.predicate, why.detail) for why in distinct}
            steps = {(why.kind, why.subject) for why in distinct}
            is_hopeless = any(why.kind is None for why in distinct)
            number = self.column.add(len(keys), NO_STEPS if is_hopeless else len(steps))
            self._numbers[distinct] = number
            self.reasons.append(tuple(distinct))
        return number


@define(eq=False)
class _KnownDevices:
    """What is wanting of devices on each node."""

    wants: tuple[DeviceWant, ...]
    known: Known
    logged: int = 0
    """How many changes the fleet had logged when the verdicts were last brought up to date."""
    _alike: dict[tuple[tuple[str, str, int, str, int], ...], int] = field(factory=dict)

    def catch_up(self, nodes: Nodes) -> None:
        fleet, column = nodes.fleet, self.known.column
        column.forget_changed(fleet, self.logged)
        self.logged = fleet.changes
        for position in column.unknown(0, fleet.count):
            column.of[position] = self._number_at(nodes, position)

    def _number_at(self, nodes: Nodes, position: int) -> int:
        free = nodes.device_free.get(position, {})
        devices = sorted(nodes.node_at(position).devices, key=_id_of) if free else []
        # Which devices have which ids makes no difference to whether they suffice, but for their order.
        signature = tuple(
            (each.kind, each.model, each.memory_bytes, each.capability, free[each.id]) for each in devices
        )
        number = self._alike.get(signature)
        if number is None:
            if len(self._alike) >= MAX_ALIKE:
                self._alike.clear()
            number = self._alike[signature] = self.known.number_of(self._reasons(devices, free))
        return number

    def _reasons(self, devices: list[Device], free: Mapping[str, int]) -> Iterator[Why]:
        if find_grants(self.wants, devices, free) is not None:
            return
        alone = [f"of container {want.container}" for want in self.wants if find_grants([want], devices, free) is None]
        for detail in alone or ["of all containers together"]:
            yield Why(Predicate.DEVICE, detail)


class KeptVerdicts:
    """The verdicts that are kept from one refusal to the next."""

    def __init__(self) -> None:
        """Keep none yet."""
        self._lasting: OrderedDict[Suitability, Known] = OrderedDict()
        self._devices: OrderedDict[tuple[DeviceWant, ...], _KnownDevices] = OrderedDict()

    def forget(self) -> None:
        """Forget all: positions are no longer what they were."""
        self._lasting.clear()
        self._devices.clear()

    def forget_node(self, position: int) -> None:
        """Forget the lasting verdicts on a node that is no longer as it was."""
        for known in self._lasting.values():
            known.column.of[position] = UNKNOWN

    def lasting(self, suitability: Suitability, nodes: Nodes, order: Order, first: int, end: int) -> Known:
        """Return what nodes fail whatever is free on them, known from `first` to before `end`.

        Args:
            suitability: What they must be.
            nodes: The nodes.
            order: Those that suit.
            first: A position.
            end: See above.
        """
        known = self._lasting.get(suitability)
        if known is None or known.is_worn:
            known = self._lasting[suitability] = Known(Verdicts(nodes.fleet.count))
            if len(self._lasting) > MAX_KEPT:
                self._lasting.popitem(last=False)
        self._lasting.move_to_end(suitability)
        column = known.column
        column.let_pass(order.members, first, end)
        for position in column.unknown(first, end):
            column.of[position] = known.number_of(lasting_reasons(nodes.node_at(position), suitability))
        return known

    def devices(self, wants: tuple[DeviceWant, ...], nodes: Nodes) -> Known:
        """Return what is wanting of devices on all nodes, as they are now."""
        kept = self._devices.get(wants)
        if kept is None or kept.known.is_worn:
            kept = self._devices[wants] = _KnownDevices(wants, Known(Verdicts(nodes.fleet.count)))
            if len(self._devices) > MAX_KEPT:
                self._devices.popitem(last=False)
        self._devices.move_to_end(wants)
        kept.catch_up(nodes)
        return kept.known


def _id_of(device: Device) -> str:
    return device.id
