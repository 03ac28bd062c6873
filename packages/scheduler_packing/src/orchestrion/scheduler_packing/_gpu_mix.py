"""What kinds of slots are asked for, and how often: what expected fill learns from."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from attrs import evolve, frozen
from immutabledict import immutabledict
from orchestrion.scheduler_interface import DeviceWant
from orchestrion.scheduler_packing._core.efill import ONE
from orchestrion.scheduler_packing._wanted import Suitability, Wanted, wanted_of
from orchestrion.shared_types import ConfigInvalid, WorkloadDefinition, structure, unstructure

ONCE: Final = 1024
"""What one arrival counts; half as much with every horizon that has passed since."""

FORGOTTEN: Final = 16
"""What counts less is forgotten."""

FIRST_LESSON: Final = 32
"""After so many arrivals, and then whenever they have doubled, up to the horizon, what was counted is put to use."""

HORIZON: Final = 4096

MAX_KINDS: Final = 4096
"""Of so many kinds of slot is counted on after a lesson; those that came least are forgotten first."""

SCHEMA: Final = 1

MAX_REMEMBERED: Final = 8192
"""What so many workloads ask for is remembered; the one that was met first goes first."""


@frozen(cache_hash=True)
class Kind:
    """What one slot asks for, as far as the value of nodes depends on it.

    Attributes:
        cpu: Millicores.
        memory: Bytes.
        whole: How many whole GPUs.
        shares: Thousandths of one GPU each, the largest first.
        suitability: What a node must be, whatever it has free; of devices one of each kind is asked for. None where it
            is not known.
    """

    cpu: int
    memory: int
    whole: int
    shares: tuple[int, ...]
    suitability: Suitability | None


def kind_of(wanted: Wanted) -> Kind:
    """Return what kind of slot a workload asks for."""
    wants = wanted.suitability.devices
    demand = wanted.demand
    return Kind(
        cpu=demand.cpu_millicores,
        memory=demand.memory_bytes,
        whole=sum(want.count for want in wants if not want.request.thousandths),
        shares=tuple(
            sorted((want.thousandths for want in wants if want.request.thousandths), reverse=True),
        ),
        suitability=_of_kinds(wanted.suitability),
    )


@lru_cache(maxsize=1024)
def _of_kinds(suitability: Suitability) -> Suitability:
    """Return what suits where it matters only which kinds of device there are."""
    requests = {evolve(want.request, count=0, thousandths=1) for want in suitability.devices}
    devices = tuple(DeviceWant("", request) for request in sorted(requests, key=repr))
    return suitability if devices == suitability.devices else evolve(suitability, devices=devices)


class Mix:
    """How often each kind of slot is asked for, as its owner tells.

    A scheduler decides by the request, the view, and what it was made with: it may not learn by itself what is asked
    for, or its answers would depend on earlier questions. So whoever knows what arrives makes a mix, makes the
    scheduler with it, and tells the mix of every slot that is asked for the first time, placed or not.

    How much leaves for what comes matters, too: only where slots leave do nodes run empty. So the owner tells of those
    as well that gave their places up.

    Decisions follow the mix as it was at its latest lesson, not every arrival: after 32 arrivals, 64, 128 and so on up
    to the horizon, and then after every horizon. At each of these the past counts half as much as before.
    """

    def __init__(self, *, horizon: int = HORIZON) -> None:
        """Know nothing.

        Args:
            horizon: After so many arrivals, at least 32, what was counted before counts half.

        Raises:
            ValueError: The horizon is too short.
        """
        if horizon < FIRST_LESSON:
            msg = f"a horizon of {horizon} arrivals; at least {FIRST_LESSON} are needed"
            raise ValueError(msg)
        self._horizon = horizon
        self._counts: dict[Kind, int] = {}
        self._arrivals = 0
        self._due = FIRST_LESSON
        self._known: OrderedDict[int, tuple[WorkloadDefinition, Kind]] = OrderedDict()
        self._lesson: Mapping[Kind, int] = immutabledict()
        self._lessons = 0
        self._departures = 0
        self._since = 0
        self._turnover = 0

    @property
    def once(self) -> int:
        """What a kind counts that came once lately."""
        return ONCE

    @property
    def lesson(self) -> Mapping[Kind, int]:
        """How often each kind came, as against others, as of the latest lesson."""
        return self._lesson

    @property
    def turnover(self) -> int:
        """For each slot that came between the two latest lessons, how many left, in 2^16ths; at most 2^16."""
        return self._turnover

    def observe_end(self, count: int = 1) -> None:
        """Count slots that gave up the places that they had."""
        self._departures += count

    def observe(self, workload: WorkloadDefinition, count: int = 1) -> bool:
        """Count slots of a workload that are asked for, and return whether that made for a lesson.

        The first decision after a lesson takes longer, by milliseconds to tenths of a second: tables are worked out.
        `PackingScheduler.prepare` does that at a time of one's own choice.

        Raises:
            ValueError: The workload's demand exceeds `MAX_AMOUNT`.
        """
        kind = self._kind_of(workload)
        before = self._lessons
        while count > 0:
            step = min(count, self._due - self._arrivals)
            self._counts[kind] = self._counts.get(kind, 0) + step * ONCE
            self._arrivals += step
            count -= step
            if self._arrivals == self._due:
                self._learn()
        return self._lessons > before

    def _learn(self) -> None:
        self._lesson = immutabledict(self._counts)
        self._turnover = min(ONE, self._departures * ONE // (self._arrivals - self._since))
        self._since, self._departures = self._arrivals, 0
        self._lessons += 1
        if self._due < self._horizon:
            self._due = min(self._horizon, 2 * self._due)
            self._forget_rare()
            return
        self._due += self._horizon
        self._counts = {kind: count // 2 for kind, count in self._counts.items() if count // 2 >= FORGOTTEN}
        self._forget_rare()

    def _forget_rare(self) -> None:
        if len(self._counts) > MAX_KINDS:
            frequent = set(sorted(self._counts, key=lambda kind: -self._counts[kind])[:MAX_KINDS])
            self._counts = {kind: count for kind, count in self._counts.items() if kind in frequent}

    def to_value(self) -> dict[str, Any]:
        """Return all that it knows as lists, texts and numbers, which JSON can hold."""
        kinds = {kind: number for number, kind in enumerate(dict.fromkeys([*self._counts, *self._lesson]))}
        return {
            "schema": SCHEMA,
            "horizon": self._horizon,
            "kinds": [unstructure(kind) for kind in kinds],
            "counts": [[kinds[kind], count] for kind, count in self._counts.items()],
            "lesson": [[kinds[kind], count] for kind, count in self._lesson.items()],
            "numbers": [self._arrivals, self._due, self._lessons, self._departures, self._since, self._turnover],
        }

    @classmethod
    def of_value(cls, value: Mapping[str, Any], /) -> Mix:
        """Return what `to_value` was made of: it goes on as if it had never ended.

        Raises:
            ValueError: The value is not one that `to_value` returns.
        """
        try:
            if value["schema"] != SCHEMA:
                raise ValueError(value["schema"])
            mix = cls(horizon=_count(value["horizon"]))
            kinds = [structure(each, Kind) for each in value["kinds"]]
            mix._counts = {kinds[_count(number)]: _count(count) for number, count in value["counts"]}
            mix._lesson = immutabledict({kinds[_count(number)]: _count(count) for number, count in value["lesson"]})
            arrivals, due, mix._lessons, mix._departures, since, turnover = map(_count, value["numbers"])
            mix._arrivals, mix._due, mix._since, mix._turnover = arrivals, due, since, turnover
            if not since <= arrivals < due <= arrivals + mix._horizon or turnover > ONE:
                raise ValueError(value["numbers"])
        except (ConfigInvalid, IndexError, KeyError, TypeError, ValueError) as err:
            msg = f"no value of a mix of schema {SCHEMA}: {value!r:.80}"
            raise ValueError(msg) from err
        return mix

    def _kind_of(self, workload: WorkloadDefinition) -> Kind:
        known = self._known.get(id(workload))
        if known is not None:
            return known[1]
        kind = kind_of(wanted_of(workload))
        self._known[id(workload)] = (workload, kind)
        if len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)
        return kind


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(value)
    return value
