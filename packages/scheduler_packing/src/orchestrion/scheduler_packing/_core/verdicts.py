"""Why nodes can't take one more slot, counted over all of them in one pass."""

from __future__ import annotations

from typing import Final, final

from librt.vecs import append, vec
from mypy_extensions import i64
from orchestrion.scheduler_packing._core.fleet import Fleet, zeros
from orchestrion.scheduler_packing._core.placing import NOWHERE, Shape
from orchestrion.scheduler_packing._core.terms import Term

MAX_SAMPLES: Final = 5
MAX_CLOSEST: Final = 3

PASSES: Final = 0
"""The verdict on nodes that fail nothing."""
UNKNOWN: Final = -1
"""The verdict on nodes that were not looked at."""
NO_STEPS: Final = -1
"""No change helps."""

_SAFE: Final = 1 << 53
"""A thousand times anything below is less than what a native number holds."""


@final
class Verdicts:
    """For what reasons each node fails some predicates. Nodes that fail for the same ones have the same verdict.

    Attributes:
        of: The number of each node's verdict, or `UNKNOWN`.
        reasons: For each verdict, how many reasons it has.
        steps: For each verdict, how many steps do away with all of them, or `NO_STEPS`.
    """

    def __init__(self, count: i64) -> None:
        """Know nothing of any node; the one verdict that there is, is `PASSES`."""
        self.of: vec[i64] = filled(count, UNKNOWN)
        self.reasons: vec[i64] = zeros(1)
        self.steps: vec[i64] = zeros(1)

    def add(self, reasons: i64, steps: i64) -> int:
        """Return the number of a further verdict."""
        self.reasons = append(self.reasons, reasons)
        self.steps = append(self.steps, steps)
        number: i64 = len(self.reasons) - 1
        return number

    def let_pass(self, members: vec[i64], first: i64, end: i64) -> None:
        """Note of the nodes that are members, from `first` to before `end`, that they pass."""
        while first < end:
            if members[first] != 0:
                self.of[first] = PASSES
            first += 1

    def unknown(self, first: i64, end: i64) -> list[int]:
        """Return the positions from `first` to before `end` whose verdict is not known."""
        found: list[int] = []
        while first < end:
            if self.of[first] == UNKNOWN:
                found.append(first)
            first += 1
        return found

    def forget_changed(self, fleet: Fleet, since: i64) -> None:
        """Forget the verdicts on all nodes that the fleet has logged since it had logged so many."""
        at: i64 = since - fleet.logged
        end: i64 = len(fleet.log)
        if at < 0:
            self.of = filled(len(self.of), UNKNOWN)
            return
        log = fleet.log
        while at < end:
            self.of[log[at]] = UNKNOWN
            at += 1


@final
class Counted:
    """How many nodes fail for each of some reasons, and the first of them."""

    def __init__(self, reasons: i64) -> None:
        """Start with none."""
        self.numbers: vec[i64] = zeros(reasons)
        self._samples: vec[i64] = zeros(reasons * MAX_SAMPLES)

    def add(self, reason: i64, position: i64) -> None:
        """Count a node; positions ascend."""
        number: i64 = self.numbers[reason]
        if number < MAX_SAMPLES:
            self._samples[reason * MAX_SAMPLES + number] = position
        self.numbers[reason] = number + 1

    def failing(self) -> list[int]:
        """Return the reasons for which any node fails, ascending."""
        found: list[int] = []
        reason: i64 = 0
        end: i64 = len(self.numbers)
        while reason < end:
            if self.numbers[reason] > 0:
                found.append(reason)
            reason += 1
        return found

    def samples(self, reason: i64) -> list[int]:
        """Return the first positions that fail for a reason, at most `MAX_SAMPLES`."""
        start: i64 = reason * MAX_SAMPLES
        number: i64 = self.numbers[reason]
        if number > MAX_SAMPLES:
            number = MAX_SAMPLES
        found: list[int] = []
        at: i64 = 0
        while at < number:
            found.append(self._samples[start + at])
            at += 1
        return found


@final
class Rule:
    """Domains of one topology, some of which refuse one more slot.

    Attributes:
        domains: For each position the number of its domain.
        refuses: For each domain 1 if it refuses, else 0.
        counted: The nodes that it refuses, by domain; under 0 where all domains are one reason.
        is_one: Whether they are.
    """

    def __init__(self, terms: list[Term], is_one: bool) -> None:
        """Refuse what any of these terms does, one or more of the same topology."""
        self.is_one: bool = is_one
        first = terms[0]
        self.domains: vec[i64] = first.domains
        count: i64 = first.domain_count
        self.refuses: vec[i64] = zeros(count)
        self.counted: Counted = Counted(1 if is_one else count)
        domain: i64 = 0
        while domain < count:
            for term in terms:
                if not term.allows_domain(domain):
                    self.refuses[domain] = 1
            domain += 1


@final
class Survey:
    """One look at nodes, position by position.

    Attributes:
        able: How many nodes can take one more slot.
        lasting: The nodes by the verdict on what no placement changes.
        devices: The nodes by the verdict on devices.
        short: The nodes that have too little, by resource.
        most: By resource, the most that any node has free that has too little.
        ports: The nodes where a port is taken, by the port's place in the shape.
        closest: The positions with the fewest reasons, then the lowest; at most `MAX_CLOSEST`.
        best: The position that takes the fewest steps, then lacks the least, then is the lowest; or -1.
    """

    def __init__(
        self,
        fleet: Fleet,
        shape: Shape,
        lacking: i64,
        lasting: Verdicts,
        devices: Verdicts | None,
        rules: list[Rule],
        is_spread: bool,
    ) -> None:
        """Look at nothing yet.

        Args:
            fleet: What is free.
            shape: What a slot takes.
            lacking: How many further resources it takes, which no node has.
            lasting: What no placement changes; known for all that are looked at.
            devices: What is said of devices; known for all that are looked at. None where a slot takes none.
            rules: What is placed elsewhere.
            is_spread: Whether a spread is required, which leaves no steps but about room.
        """
        self.able: i64 = 0
        self.lasting: Counted = Counted(len(lasting.reasons))
        self.devices: Counted = Counted(0 if devices is None else len(devices.reasons))
        self.short: Counted = Counted(len(shape.amounts))
        self.most: vec[i64] = zeros(len(shape.amounts))
        self.ports: Counted = Counted(len(shape.ports))
        self.closest: list[int] = []
        self.best: i64 = NOWHERE
        self._closest_reasons: list[int] = []
        self._best_steps: i64 = 0
        self._best_missing: i64 = 0
        self._fleet: Fleet = fleet
        self._shape: Shape = shape
        self._lacking: i64 = lacking
        self._lasting: Verdicts = lasting
        self._devices: Verdicts | None = devices
        self._rules: list[Rule] = rules
        self._is_spread: bool = is_spread
        self._reasons: i64 = 0
        self._steps: i64 = 0

    def look(self, first: i64, end: i64) -> None:
        """Look at the nodes from `first` to before `end`; ranges ascend."""
        position: i64 = first
        while position < end:
            self._reasons = self._lacking
            self._steps = NO_STEPS if self._lacking > 0 else 0
            self._look_at_verdicts(position)
            self._look_at_room(position)
            for rule in self._rules:
                domain: i64 = rule.domains[position]
                if rule.refuses[domain] != 0:
                    rule.counted.add(0 if rule.is_one else domain, position)
                    self._fail(NO_STEPS)
            if self._reasons == 0:
                self.able += 1
            else:
                self._compare(position)
            position += 1

    def _fail(self, steps: i64) -> None:
        self._reasons += 1
        if steps == NO_STEPS or self._steps == NO_STEPS:
            self._steps = NO_STEPS
        else:
            self._steps += steps

    def _look_at_verdicts(self, position: i64) -> None:
        verdict: i64 = self._lasting.of[position]
        if verdict != PASSES:
            self.lasting.add(verdict, position)
            self._reasons += self._lasting.reasons[verdict]
            steps: i64 = self._lasting.steps[verdict]
            if steps == NO_STEPS or self._steps == NO_STEPS or self._is_spread:
                self._steps = NO_STEPS
            else:
                self._steps += steps
        devices = self._devices
        if devices is not None:
            verdict = devices.of[position]
            if verdict != PASSES:
                self.devices.add(verdict, position)
                self._reasons += devices.reasons[verdict]
                self._steps = NO_STEPS

    def _look_at_room(self, position: i64) -> None:
        fleet = self._fleet
        shape = self._shape
        at: i64 = 0
        end: i64 = len(shape.amounts)
        while at < end:
            free: i64 = fleet.free[at][position]
            if free < shape.amounts[at]:
                self.short.add(at, position)
                if free > self.most[at]:
                    self.most[at] = free
                self._fail(1 if free > 0 else NO_STEPS)
            at += 1
        if shape.ports and position in fleet.ports:
            taken = fleet.ports[position]
            for place, port in enumerate(shape.ports):
                if port in taken:
                    self.ports.add(place, position)
                    self._fail(1)

    def _compare(self, position: i64) -> None:
        # Positions ascend, so that of equals the one that was there first stays.
        at: i64 = len(self.closest)
        while at > 0 and self._closest_reasons[at - 1] > self._reasons:
            at -= 1
        if at < MAX_CLOSEST:
            self.closest.insert(at, position)
            self._closest_reasons.insert(at, self._reasons)
            if len(self.closest) > MAX_CLOSEST:
                self.closest.pop()
                self._closest_reasons.pop()
        if self._steps == NO_STEPS or (self.best >= 0 and self._steps > self._best_steps):
            return
        missing: i64 = self._missing(position)
        if self.best < 0 or self._steps < self._best_steps or missing < self._best_missing:
            self.best = position
            self._best_steps = self._steps
            self._best_missing = missing

    def _missing(self, position: i64) -> i64:
        """Return how much of the request a node lacks, in thousandths of what is needed, over all resources."""
        amounts = self._shape.amounts
        missing: i64 = 0
        at: i64 = 0
        end: i64 = len(amounts)
        while at < end:
            needed: i64 = amounts[at]
            free: i64 = self._fleet.free[at][position]
            if free < needed:
                missing += thousandths(needed - free, needed)
            at += 1
        return missing


def thousandths(part: i64, whole: i64) -> i64:
    """Return how many thousandths of a whole a part is, rounded down; 0 <= part <= whole < 2^62, whole > 0."""
    if part < _SAFE:
        return part * 1000 // whole
    # Long division, bit by bit of the factor: no step exceeds twice the whole.
    quotient: i64 = 0
    rest: i64 = 0
    bit: i64 = 512
    while bit > 0:
        quotient *= 2
        rest *= 2
        if rest >= whole:
            rest -= whole
            quotient += 1
        if 1000 & bit:
            rest += part
            while rest >= whole:
                rest -= whole
                quotient += 1
        bit = bit >> 1
    return quotient


def may_join(terms: list[Term], has_shared_domains: bool) -> bool:
    """Whether a node that joins may be in a domain of one topology in which all terms allow one more slot.

    Args:
        terms: All terms of that topology, one or more.
        has_shared_domains: Whether a node may join a domain that there is already.
    """
    new = True
    for term in terms:
        if not term.would_allow_new():
            new = False
    if new:
        return True
    domain: i64 = 1
    while has_shared_domains and domain < terms[0].domain_count:
        allowed = True
        for term in terms:
            if not term.would_allow(domain):
                allowed = False
        if allowed:
            return True
        domain += 1
    return False


def filled(count: i64, value: i64) -> vec[i64]:
    """Return a column that has the same value everywhere."""
    column = vec[i64]()
    done: i64 = 0
    while done < count:
        column = append(column, value)
        done += 1
    return column
