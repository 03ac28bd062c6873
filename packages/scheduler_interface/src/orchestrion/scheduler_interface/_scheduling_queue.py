"""What waits for a place: in which order it is tried, and when it is worth another try."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Iterator
from itertools import count
from typing import Final, Generic, TypeVar

from orchestrion.shared_types import MissPolicy, NodeId

from ._cluster_change import ClusterChange, ClusterChangeKind
from ._queue_entry import FOREVER, Entry, QueueEntry, QueuePart
from ._sleep import Chance, Sleep
from ._types import Explanation, NodeView, SchedulingRequest

K = TypeVar("K", bound=Hashable)
T = TypeVar("T", bound=tuple[object, ...])

Look = Callable[[NodeId], NodeView | None]

JITTER: Final = 0.2
"""The share of a back-off that chance may take away."""
MAX_REMEMBERED: Final = 256
"""So many changes are remembered while an entry is being tried; of more, any may help."""

MAX_SUPERSEDED: Final = 16
"""So many superseded items of a heap are no reason to look through all."""


class SchedulingQueue(Generic[K]):
    """Requests that want a place, each under a key: active, in back-off, unschedulable, or in hand.

    It thinks and remembers, and does nothing by itself: the time is an argument, in seconds by a clock that never goes
    back, and so are the changes of the cluster.

    **Order.** Of what is active, the highest effective priority goes first: the priority, and `ageing_points` for each
    mark of the clock that was passed while waiting; there is one every `ageing_seconds`. Among equals the earliest
    deadline goes first, none being the last of all, and then who came first. So whatever comes later than
    `ageing_seconds * (gap / ageing_points + 1)` after an entry, with a priority that is higher by `gap`, goes behind
    it. That is an order of tries and no reservation: room that is too small for the first goes to others behind it, so
    that a large request may wait for as long as small ones keep taking what comes free.

    **Sleep.** What had no place sleeps until a change can help. Who shows it all changes of the cluster, each with the
    nodes as they are after it, misses no place: at any time each sleeper knows for each node a predicate which that
    node fails. An entry that was woken is looked at again when it is taken: where the room has gone to another one
    meanwhile, it goes on sleeping, and that is no try in vain. What no change can tell is caught by a try after
    `flush_seconds`.

    **Back-off.** A try without any success is followed by a time in which there is no other: `first_backoff_seconds`,
    doubled with each further one in a row, up to `max_backoff_seconds`. A try with some success is followed by none. It
    ends at once where a node passes all predicates after a change, unless the last try was for such a node and in vain.

    Any method may be called with any key and at any time; none is a checkpoint. A change costs a look at those
    sleepers which it may concern, and all else the logarithm of the number of entries.
    """

    def __init__(
        self,
        *,
        ageing_seconds: float = 300.0,
        ageing_points: int = 50,
        first_backoff_seconds: float = 1.0,
        max_backoff_seconds: float = 60.0,
        flush_seconds: float = 300.0,
        random: Callable[[], float] | None = None,
    ) -> None:
        """Make an empty queue.

        Args:
            ageing_seconds: From one mark of the clock to the next, > 0.
            ageing_points: What waiting past a mark adds to the priority, > 0.
            first_backoff_seconds: The back-off after one try in vain, >= 0.
            max_backoff_seconds: The longest, >= `first_backoff_seconds`.
            flush_seconds: The longest sleep, > 0.
            random: Returns numbers >= 0 and < 1, which make back-offs shorter by up to a fifth; None leaves them.

        Raises:
            ValueError: An argument is out of range.
        """
        if not (ageing_seconds > 0 and ageing_points > 0 and flush_seconds > 0):
            msg = "ageing_seconds, ageing_points and flush_seconds have to be above 0"
            raise ValueError(msg)
        if not 0 <= first_backoff_seconds <= max_backoff_seconds:
            msg = "first_backoff_seconds has to be from 0 to max_backoff_seconds"
            raise ValueError(msg)
        self._ageing_seconds = ageing_seconds
        self._ageing_points = ageing_points
        self._first_backoff = first_backoff_seconds
        self._max_backoff = max_backoff_seconds
        self._flush = flush_seconds
        self._random = random
        self._entries: dict[K, Entry[K]] = {}
        self._active: list[tuple[tuple[int, float, int], int, Entry[K]]] = []
        self._times: list[tuple[float, int, int, Entry[K]]] = []
        self._deadlines: list[tuple[float, int, Entry[K]]] = []
        self._listening: dict[ClusterChangeKind, dict[K, None]] = {kind: {} for kind in ClusterChangeKind}
        self._arrivals = 0
        self._pushes = count()

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        """Whether there is an entry under a key."""
        return key in self._entries

    def __iter__(self) -> Iterator[K]:
        """Iterate over the keys, as they came."""
        return iter(self._entries)

    @property
    def listens(self) -> bool:
        """Whether any change could wake an entry, or concern one in hand; else there is no need to show any."""
        return any(self._listening.values())

    def get(self, key: K, /) -> QueueEntry[K] | None:
        """Return what is known about an entry, or None where there is none."""
        entry = self._entries.get(key)
        return None if entry is None else self._told(entry)

    def order(self, key: K, /) -> tuple[int, float, int] | None:
        """Return what entries are ordered by, lower first, or None where there is none. Time does not change it."""
        entry = self._entries.get(key)
        return None if entry is None else self._order(entry)

    def add(
        self,
        key: K,
        /,
        *,
        now: float,
        priority: int = 0,
        deadline: float | None = None,
        policy: MissPolicy = MissPolicy.LATE,
    ) -> None:
        """Add an entry that may be tried at once, or note that what is asked for under a key has changed.

        A change ends its sleep, its back-off and its lateness; when it came, and how long it has waited, stay.
        """
        entry = self._entries.get(key)
        if entry is None:
            self._arrivals += 1
            entry = self._entries[key] = Entry(key, self._arrivals, now)
        is_noted = entry.deadline == deadline and not entry.late
        entry.priority, entry.deadline, entry.policy, entry.late = priority, deadline, policy, False
        entry.fruitless, entry.not_before, entry.explanation = 0, now, None
        if entry.part is QueuePart.IN_HAND:
            entry.renewed = True
        else:
            self._activate(entry)
        if deadline is not None and not is_noted:
            self._deadlines = self._tidy(self._deadlines, lambda item: self._is_open(item[2], item[0]))
            heapq.heappush(self._deadlines, (deadline, next(self._pushes), entry))

    def discard(self, key: K, /) -> None:
        """Take an entry out: it was placed, or nobody wants it any more. Unknown keys are no error."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._leave(entry)

    def pop(self, now: float, /, *, look: Look | None = None) -> QueueEntry[K] | None:
        """Take the first entry in hand, or return None where none is active; say `failed` or `discard` afterwards.

        Args:
            now: The time.
            look: Returns a node as it is now, or None where it is gone. With it, entries go on sleeping whose nodes
                have gone to others.
        """
        self._advance(now)
        while self._active:
            _, version, entry = heapq.heappop(self._active)
            if version == entry.version and self.take(entry.key, now, look=look):
                return self.get(entry.key)
        return None

    def take(self, key: K, now: float, /, *, look: Look | None = None) -> bool:
        """Take one entry in hand, if it is active; say `failed` or `discard` afterwards. See `pop`."""
        self._advance(now)
        entry = self._entries.get(key)
        if entry is None or entry.part is not QueuePart.ACTIVE or self._is_dropped(entry, now):
            return False
        if look is not None and entry.hints and entry.sleep is not None:
            nodes = [node for node in map(look, entry.hints) if node is not None]
            chance = max((entry.sleep.chance_on(node) for node in nodes), default=Chance.NONE)
            if chance is Chance.NONE:
                self._to_sleep(entry)
                return False
            entry.chance = chance
        entry.sure = entry.chance is Chance.SURE
        self._leave(entry)
        entry.part = QueuePart.IN_HAND
        entry.meanwhile, entry.untold, entry.renewed = [], False, False
        self._listen(entry, frozenset(ClusterChangeKind))
        return True

    def failed(
        self,
        key: K,
        explanation: Explanation,
        now: float,
        /,
        *,
        request: SchedulingRequest | None = None,
        fruitful: bool = False,
    ) -> None:
        """Put an entry to sleep for which there was no place; nothing happens to one that is not there.

        Changes that came while it was in hand count as if they came now. Of an entry that was not in hand, the caller
        knows that there were none.

        Args:
            key: Which entry.
            explanation: Why.
            now: The time.
            request: What was asked for. With it, only changes wake it after which a node passes all that depends on
                the node itself.
            fruitful: Whether some of what was asked for has found its place. There is no back-off then, and the entry
                counts as one that comes now, so that equals take turns.

        Raises:
            InvalidSchedulingRequest: The request is outside what the interface allows.
        """
        entry = self._entries.get(key)
        if entry is None:
            return
        was_in_hand = entry.part is QueuePart.IN_HAND
        if fruitful:
            self._arrivals += 1
            entry.since, entry.arrival = now, self._arrivals
        if was_in_hand and entry.renewed:
            self._activate(entry)
            return
        entry.sleep, entry.explanation = Sleep(explanation, request), explanation
        entry.fruitless = 0 if fruitful else entry.fruitless + 1
        entry.deceived = was_in_hand and entry.sure and not fruitful
        entry.not_before = now + self._backoff(entry.fruitless)
        entry.flush_at = now + self._flush
        self._to_sleep(entry)
        if was_in_hand and entry.untold:
            self._wake(entry, now, None)
        elif was_in_hand:
            for change in entry.meanwhile:
                self._show(entry, change, now)
        entry.meanwhile = []

    def release(self, key: K, now: float, /) -> None:
        """Give an entry back whose try came to nothing that says anything about places: it may be tried again.

        Nothing happens to one that is not in hand.
        """
        entry = self._entries.get(key)
        if entry is not None and entry.part is QueuePart.IN_HAND:
            entry.not_before = now
            self._activate(entry)

    def wake(self, change: ClusterChange, now: float, /) -> tuple[K, ...]:
        """Show a change, and return the keys of those sleepers that it is worth a try for.

        They are active then, or in back-off where theirs is not over.
        """
        self._advance(now)
        concerned = [self._entries[key] for key in self._listening[change.kind]]
        return tuple(entry.key for entry in concerned if self._show(entry, change, now))

    def wake_all(self, now: float, /) -> None:
        """Let everything that sleeps be tried, as after a change that nobody can tell."""
        for key in self._entries:
            self.rouse(key, now)

    def rouse(self, key: K, now: float, /) -> None:
        """Let one entry be tried, if it sleeps, as after a change that nobody can tell."""
        entry = self._entries.get(key)
        if entry is not None and entry.part is QueuePart.IN_HAND:
            entry.untold = True
        elif entry is not None:
            self._wake(entry, now, None)

    def missed(self, now: float, /) -> list[QueueEntry[K]]:
        """Return the entries that have missed their deadlines since this was last asked, earliest deadline first.

        A deadline is missed from its moment on. Those of policy DROP are taken out; the others are late. One in hand is
        told of once it is not.
        """
        found = list[Entry[K]]()
        in_hand = list[Entry[K]]()
        while self._deadlines and self._deadlines[0][0] <= now:
            deadline, _, entry = heapq.heappop(self._deadlines)
            if not self._is_open(entry, deadline):
                continue
            if entry.part is QueuePart.IN_HAND:
                in_hand.append(entry)
                continue
            entry.late = True
            found.append(entry)
        for entry in in_hand:
            heapq.heappush(self._deadlines, (entry.deadline or 0.0, next(self._pushes), entry))
        told = [self._told(entry) for entry in found]
        for entry in found:
            if entry.policy is MissPolicy.DROP:
                self.discard(entry.key)
        return told

    def next_time(self, now: float, /) -> float | None:
        """Return when time alone will next make an entry active or miss a deadline; None is never. May be too early."""
        self._advance(now)
        times = [heap[0][0] for heap in (self._times, self._deadlines) if heap]
        return min(times, default=None)

    def _told(self, entry: Entry[K]) -> QueueEntry[K]:
        asleep = entry.part is QueuePart.UNSCHEDULABLE
        return QueueEntry(
            key=entry.key,
            part=entry.part,
            priority=entry.priority,
            since=entry.since,
            deadline=entry.deadline,
            late=entry.late,
            fruitless=entry.fruitless,
            not_before=entry.not_before,
            flush_at=entry.flush_at if asleep else None,
            flushed=entry.flushed,
            explanation=entry.explanation,
        )

    def _is_open(self, entry: Entry[K], deadline: float) -> bool:
        """Whether an entry has this deadline, and has not missed it."""
        return self._entries.get(entry.key) is entry and entry.deadline == deadline and not entry.late

    def _tidy(self, heap: list[T], counts: Callable[[T], bool]) -> list[T]:
        """Return a heap without what no longer counts, once that may be more than what does."""
        if len(heap) <= 2 * len(self._entries) + MAX_SUPERSEDED:
            return heap
        tidied = [item for item in heap if counts(item)]
        heapq.heapify(tidied)
        return tidied

    def _order(self, entry: Entry[K]) -> tuple[int, float, int]:
        # All grow older at the same marks, so that these numbers compare as effective priorities do, at any time.
        marks = int(entry.since // self._ageing_seconds)
        deadline = FOREVER if entry.deadline is None else entry.deadline
        return self._ageing_points * marks - entry.priority, deadline, entry.arrival

    def _backoff(self, fruitless: int) -> float:
        if fruitless == 0:
            return 0.0
        seconds = min(self._max_backoff, self._first_backoff * 2.0 ** min(fruitless - 1, 60))
        return seconds * (1.0 - JITTER * self._random()) if self._random is not None else seconds

    def _is_dropped(self, entry: Entry[K], now: float) -> bool:
        return entry.policy is MissPolicy.DROP and entry.deadline is not None and entry.deadline <= now

    def _show(self, entry: Entry[K], change: ClusterChange, now: float) -> bool:
        """Show an entry a change, and return whether it has ended its sleep."""
        if entry.part is QueuePart.IN_HAND:
            if len(entry.meanwhile) < MAX_REMEMBERED:
                entry.meanwhile.append(change)
            else:
                entry.untold = True
            return False
        sleep = entry.sleep
        if sleep is None:
            return False
        if sleep.ended_by(change):
            return self._wake(entry, now, None)
        chance = sleep.helped_on(change)
        if chance is not Chance.NONE:
            return self._wake(entry, now, change.node_id, chance)
        self._listen(entry, sleep.kinds)
        return False

    def _wake(self, entry: Entry[K], now: float, node_id: NodeId | None, chance: Chance = Chance.SOME) -> bool:
        """Let an entry be tried, for the sake of one node or of any; return whether it slept."""
        slept = entry.part is QueuePart.UNSCHEDULABLE
        if not slept and not entry.hints:
            return False
        hints = {**entry.hints, node_id: None} if node_id is not None else {}
        kinds = entry.sleep.kinds if entry.sleep is not None and hints else frozenset[ClusterChangeKind]()
        chance = max(chance, entry.chance) if hints else chance
        if chance is Chance.SURE and not entry.deceived:
            entry.not_before = now
        if now >= entry.not_before:
            self._activate(entry)
        elif slept:
            self._leave(entry)
            entry.part = QueuePart.BACKOFF
            self._at(entry.not_before, entry)
        entry.hints, entry.chance = hints, chance
        self._listen(entry, kinds)
        return slept

    def _activate(self, entry: Entry[K]) -> None:
        hints = entry.hints if entry.part is QueuePart.BACKOFF else {}
        chance = entry.chance if entry.part is QueuePart.BACKOFF else Chance.NONE
        kinds = entry.listens_to if hints else frozenset[ClusterChangeKind]()
        self._leave(entry)
        entry.part, entry.hints, entry.chance, entry.flushed = QueuePart.ACTIVE, hints, chance, False
        self._listen(entry, kinds)
        self._active = self._tidy(self._active, lambda item: item[1] == item[2].version)
        heapq.heappush(self._active, (self._order(entry), entry.version, entry))

    def _at(self, time: float, entry: Entry[K]) -> None:
        self._times = self._tidy(self._times, lambda item: item[2] == item[3].version)
        heapq.heappush(self._times, (time, entry.arrival, entry.version, entry))

    def _to_sleep(self, entry: Entry[K]) -> None:
        self._leave(entry)
        entry.part, entry.flushed = QueuePart.UNSCHEDULABLE, False
        self._at(entry.flush_at, entry)
        if entry.sleep is not None:
            self._listen(entry, entry.sleep.kinds)

    def _leave(self, entry: Entry[K]) -> None:
        """Take an entry out of the part that it is in."""
        entry.version += 1
        entry.hints, entry.chance = {}, Chance.NONE
        self._listen(entry, frozenset())

    def _listen(self, entry: Entry[K], kinds: frozenset[ClusterChangeKind]) -> None:
        if kinds == entry.listens_to:
            return
        for kind in entry.listens_to - kinds:
            del self._listening[kind][entry.key]
        for kind in kinds - entry.listens_to:
            self._listening[kind][entry.key] = None
        entry.listens_to = kinds

    def _advance(self, now: float) -> None:
        """Let time end back-offs and sleeps."""
        while self._times and self._times[0][0] <= now:
            _, _, version, entry = heapq.heappop(self._times)
            if version == entry.version:
                flushed = entry.part is QueuePart.UNSCHEDULABLE
                self._activate(entry)
                entry.flushed = flushed
