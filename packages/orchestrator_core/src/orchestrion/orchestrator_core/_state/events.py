"""Events: recorded in groups, kept in bounds."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import trio
from attrs import define, field
from orchestrion.orchestrator_core._clock import WallClock
from orchestrion.orchestrator_core._state.records import event_key
from orchestrion.shared_types import Event, EventSeverity, UidFactory, Unavailable, to_json
from orchestrion.store_interface import Delete, Operation, Put, StateStore

MAX_EVENTS: Final = 5_000
"""Events that are kept; the oldest go first."""

GROUP: Final = 60
"""Events that are written at once, each with the removal of an old one, within one transaction."""

RETRY_SECONDS: Final = 1.0

MAX_UNWRITTEN: Final = 10_000
"""Events that wait to be written while the store does not answer; the oldest are given up."""


@define(eq=False)
class EventRecorder:
    """Takes events without waiting and writes them behind.

    Attributes:
        store: Where they go.
        now: The wall clock.
        new_uid: Makes ids that sort by time.
        dropped: Events that were given up because the store did not answer for too long.
    """

    store: StateStore
    now: WallClock
    new_uid: UidFactory
    dropped: int = 0
    _listeners: list[Callable[[Event], None]] = field(factory=list)
    _unwritten: deque[Event] = field(factory=deque)
    _kept: deque[str] = field(factory=deque)
    _changed: trio.Event = field(factory=trio.Event)
    _writing: trio.Lock = field(factory=trio.Lock)

    def on_record(self, listener: Callable[[Event], None]) -> None:
        """Call `listener` with each event, before it is written."""
        self._listeners.append(listener)

    def record(
        self,
        namespace: str,
        subject: str,
        reason: str,
        message: str,
        severity: EventSeverity = EventSeverity.NORMAL,
    ) -> None:
        """Record what has happened now."""
        if len(self._unwritten) >= MAX_UNWRITTEN:
            self._unwritten.popleft()
            self.dropped += 1
        event = Event(
            uid=self.new_uid(),
            namespace=namespace,
            subject=subject,
            reason=reason,
            message=message,
            severity=severity,
            at=self.now(),
        )
        self._unwritten.append(event)
        for listener in self._listeners:
            listener(event)
        self._changed.set()

    async def run(self) -> None:
        """Write events until cancelled; what is unwritten then is written by `flush`."""
        known = False
        while True:
            try:
                if not known:
                    await self._learn_what_is_kept()
                    known = True
                if not self._unwritten:
                    self._changed = trio.Event()
                    await self._changed.wait()
                await self.flush()
            except Unavailable:
                # Events are no reason to stop: they wait, bounded, until the store answers again.
                await trio.sleep(RETRY_SECONDS)

    async def _learn_what_is_kept(self) -> None:
        listed = await self.store.list("/event/")
        kept = sorted((entry.key for entry in listed.entries), key=lambda key: key.rpartition("/")[2])
        written = set(self._kept)
        self._kept = deque([*(key for key in kept if key not in written), *self._kept])

    async def flush(self) -> None:
        """Write what is unwritten.

        Raises:
            OrchestrationError: The store failed; nothing is given up.
        """
        async with self._writing:
            while self._unwritten:
                await self._write_group()

    async def _write_group(self) -> None:
        group = [self._unwritten.popleft() for _ in range(min(GROUP, len(self._unwritten)))]
        keys = [event_key(event.namespace, event.uid) for event in group]
        surplus = max(0, min(len(self._kept) + len(group) - MAX_EVENTS, GROUP, len(self._kept)))
        operations: list[Operation] = [Put(key, to_json(event)) for key, event in zip(keys, group, strict=True)]
        operations += [Delete(self._kept[n]) for n in range(surplus)]
        written = False
        try:
            await self.store.transaction((), operations)
            written = True
        finally:
            # A write whose fate is unknown is repeated: the same keys with the same values do no harm.
            if not written:
                self._unwritten.extendleft(reversed(group))
        for _ in range(surplus):
            self._kept.popleft()
        self._kept.extend(keys)
