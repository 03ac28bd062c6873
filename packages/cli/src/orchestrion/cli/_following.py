"""Output and events as they come, over restarts of who gives them: nothing is left out, and nothing given twice."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Iterator
from datetime import datetime
from typing import Final

import trio
from attrs import define, evolve, field
from orchestrion.control_plane import HttpControl
from orchestrion.orchestrator_core import LogQuery, LogRecord, UpdateKind, parse_subject
from orchestrion.shared_types import Event, NotFound, OrchestrationError

from ._lines import Source
from ._patience import OUTAGES, Patience
from ._places import Place
from ._watching import stored_if

_RETRY_SECONDS: Final = 1.0

MOST_EVENTS: Final = 10_000
"""As many of the latest are asked for after an outage; twice as many that were given are remembered."""


async def followed_logs(
    control: HttpControl,
    place: Place,
    query: LogQuery,
    patience: Patience,
    *,
    ends: dict[Source, int] | None = None,
) -> AsyncGenerator[LogRecord, None]:
    """Give output as it comes, until what writes it has ended or is gone. Close the iterator to end it before.

    Args:
        control: Who gives it.
        place: Where that is.
        query: What is wanted; it follows.
        patience: Waits for who gives it.
        ends: By source what is not wanted because it is known, up to there; it is kept up to date. `query.tail_bytes`
            is for the beginning then: what was missed in an outage is asked for whatever its size.

    Raises:
        NetworkFailure: Nobody answers, or nobody for so long that it is given up.
        NotFound: There is no such workload or instance.
    """
    again = query if ends is None else evolve(query, tail_bytes=None)
    ends, begun = {} if ends is None else ends, False
    while True:
        error: OrchestrationError | None = None
        try:
            # What was followed may have been replaced meanwhile, and has written more before that.
            also = tuple(sorted({source[0] for source in ends}))
            async with control.logs(evolve(again, also=also) if begun else query) as records:
                begun = True
                patience.met()
                async for record in records:
                    new = unseen(record, ends)
                    if new is not None:
                        yield new
        except OUTAGES as err:
            if not begun:
                raise
            error = err
        except NotFound:
            if not begun:
                raise
            return  # it was removed meanwhile, and what it wrote with it
        if (error is None and await patience.answers()) or await _is_over(place, query):
            return
        try:
            await patience.wait(error)
        except OUTAGES:
            if await _is_over(place, query):
                return  # its owner went only after it had waited for others
            raise


def unseen(record: LogRecord, ends: dict[Source, int], /) -> LogRecord | None:
    """Return what of a piece of output was not given yet, or None.

    Args:
        record: The piece.
        ends: By source where what was given ends; this piece is noted there.
    """
    source = (record.instance, record.container, record.attempt, record.stream)
    end, known = record.offset + len(record.data), ends.get(source)
    ends[source] = end if known is None else max(end, known)
    if known is None or record.offset - record.gap_bytes >= known:
        return record
    if end <= known:
        return None
    if record.offset >= known:
        return evolve(record, gap_bytes=record.offset - known)
    return evolve(record, offset=known, data=record.data[known - record.offset :], gap_bytes=0, written_at=None)


async def _is_over(place: Place, query: LogQuery) -> bool:
    """Whether an owner has gone because nothing was left to do, which its store says."""
    key = (query.namespace, parse_subject(query.subject).workload)
    return await stored_if(place, lambda picture: picture.is_over([key])) is not None


async def followed_events(
    control: HttpControl,
    subject: str | None,
    namespace: str | None,
    start: datetime | None,
    limit: int,
    types: Collection[str] = (),
    *,
    ended: Callable[[], bool] = lambda: False,
) -> AsyncGenerator[Event, None]:
    """Give the latest events that there are, and then each as it comes. Close the iterator to end it.

    It comes to its end where who gives them has ended in good order and is not there again soon.

    Args:
        control: Who gives them.
        subject: What they are about, as `kind/name`: a workload is with its instances; None is anything.
        namespace: Where; None is everywhere.
        start: None from before.
        limit: How many there are at most to begin with.
        types: Only those whose severity or reason is one of these words; none are all.
        ended: Says whether who gives them has ended in good order.

    Raises:
        NetworkFailure: Nobody answers, or nobody for so long that it is given up.
    """
    patience, given, begun = Patience(control, ended=ended), _Given(), False
    while True:
        error: OrchestrationError | None = None
        try:
            # The watch is entered before what there is is asked for, so that none is missed.
            async with control.watch(namespace=namespace) as updates:
                most = MOST_EVENTS if begun else limit
                there = await control.events(namespace=namespace, subject=subject, since=start, limit=most, types=types)
                if not begun:
                    given.begin(there)
                begun = True
                patience.met()
                for event in given.new(there):
                    yield event
                async for update in updates:
                    happened = update.event if update.kind is UpdateKind.EVENT else None
                    if happened is None or not concerns(happened, subject) or not happened.is_of(types):
                        continue
                    if start is None or happened.at >= start:
                        for event in given.new([happened]):
                            yield event
        except OUTAGES as err:
            if not begun:
                raise
            error = err
        try:
            away = await patience.wait(error)
        except OUTAGES:
            if ended():
                return
            raise
        if not away and error is None:
            await trio.sleep(_RETRY_SECONDS)


@define(eq=False)
class _Given:
    """The events that were given, by their uids, which order them; the latest ones alone, where there are many."""

    _uids: dict[str, None] = field(factory=dict)
    _first: str = ""

    def begin(self, there: Iterable[Event]) -> None:
        """Begin with the latest ones: those before them are not wanted later either."""
        self._first = min((event.uid for event in there), default="")

    def new(self, events: Iterable[Event]) -> Iterator[Event]:
        """Give those that were not given, and note them."""
        for event in events:
            if event.uid in self._uids or event.uid < self._first:
                continue
            self._uids[event.uid] = None
            if len(self._uids) > 2 * MOST_EVENTS:
                self._uids = dict.fromkeys(list(self._uids)[-MOST_EVENTS:])
            yield event


def concerns(event: Event, subject: str | None, /) -> bool:
    """Whether an event is about a subject, as `kind/name`: a workload is with its instances; None is anything."""
    if subject is None or event.subject == subject:
        return True
    kind, _, name = subject.partition("/")
    return kind == "workload" and event.subject.startswith(f"instance/{name}.")
