"""`status --watch`: how workloads are doing, told again as that changes."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import trio
from attrs import define, field, frozen
from orchestrion.control_plane import HttpControl
from orchestrion.orchestrator_core import Subject, Update, UpdateKind, parse_subject
from orchestrion.shared_types import DEFAULT_NAMESPACE, Event, InstanceNotFound, OrchestrationError

from ._following import concerns
from ._node_names import names_of
from ._offline import stored_picture
from ._output import Form, is_for_people, line_for, note
from ._patience import OUTAGES, Patience
from ._picture import Key, Picture
from ._places import Place
from ._state_directory import StateDirectory
from ._status import EVENTS_IN_STATUS, Report, tree
from ._subjects import chosen
from ._words import full_name, next_action, view_name

_STORE_SECONDS: Final = 2.5
"""How long the store of an owner that has gone may take to say how things were left."""

_RETRY_SECONDS: Final = 1.0

_EVENTS_LOOKED_AT: Final = 100
"""So many of a workload's latest events are looked through for those that are told."""

_TICK_SECONDS: Final = 1.0
"""How often a table is drawn anew where nothing has changed but the ages in it."""

_PAUSE_SECONDS: Final = 0.2
"""Two drawings of a table are at least so far apart: nobody reads faster."""


@frozen(kw_only=True)
class Wish:
    """What is followed.

    Attributes:
        subject: One workload or instance; None is all.
        namespace: Where; None is everywhere, which there is only where `subject` is None.
        form: How it is told.
    """

    subject: Subject | None
    namespace: str | None
    form: Form

    @property
    def key(self) -> Key | None:
        """The one workload that is followed, or None."""
        return None if self.subject is None else (self.namespace or DEFAULT_NAMESPACE, self.subject.workload)

    def concerns(self, key: Key) -> bool:
        """Whether a workload is followed."""
        return self.key in (None, key)

    def tells(self, event: Event) -> bool:
        """Whether an event is told: it is about the one workload or instance that is followed."""
        subject, key = self.subject, self.key
        if subject is None or key is None or event.namespace != key[0]:
            return False
        if subject.index is None:
            return concerns(event, f"workload/{subject.workload}")
        kind, _, name = event.subject.partition("/")
        return kind == "instance" and subject.names(name)


@define(eq=False)
class Glimpse:
    """How things are at a moment.

    Attributes:
        picture: All that there is, as of now; it changes as the watch goes on.
        events: The latest ones about what is followed, oldest first, where one workload is.
        changed: The workloads of which anything is otherwise than at the glimpse before.
    """

    picture: Picture
    events: deque[Event] = field(factory=lambda: deque(maxlen=EVENTS_IN_STATUS))
    changed: set[Key] = field(factory=set)


async def glimpses(control: HttpControl, place: Place, wish: Wish) -> AsyncGenerator[Glimpse, None]:
    """Give how things are, and again whenever that changes. Close the iterator to end it before.

    It goes on over a restart of who is asked. It ends where an owner has gone that had nothing left to run, or that has
    ended in good order and is not there again soon.

    Args:
        control: Who is asked.
        place: Where that is.
        wish: What is followed.

    Raises:
        NetworkFailure: Nobody answers, or nobody for so long that it is given up.
    """
    # Of a server of the network nothing tells whether it has only ended for a moment.
    ended = place.has_ended if isinstance(place, StateDirectory) else lambda: False
    patience, shown = Patience(control, ended=ended), None
    while True:
        error: OrchestrationError | None = None
        glimpse = Glimpse(Picture())
        picture = glimpse.picture
        try:
            async with control.watch(namespace=wish.namespace) as updates:
                async for update in updates:
                    picture.take(update)
                    if update.kind is UpdateKind.SYNCED:
                        patience.met()
                        await _add_events(control, wish, glimpse)
                        glimpse.changed = _differing(shown, picture)
                        shown = picture
                        yield glimpse
                    elif picture.synced:
                        glimpse.changed = _changed_by(update, wish, glimpse)
                        if glimpse.changed:
                            yield glimpse
        except OUTAGES as err:
            if shown is None:
                raise
            error = err
        last = await _left(place, wish)
        if last is not None:
            if shown is not None:
                last.nodes = shown.nodes
            yield Glimpse(last, glimpse.events, _differing(shown, last))
            return
        try:
            away = await patience.wait(error)
        except OUTAGES:
            if ended():
                note("the orchestrator has ended: nothing comes after this")
                return
            raise
        if not away and error is None:
            await trio.sleep(_RETRY_SECONDS)


async def _add_events(control: HttpControl, wish: Wish, glimpse: Glimpse) -> None:
    if wish.key is not None:
        namespace, name = wish.key
        latest = await control.events(namespace=namespace, subject=f"workload/{name}", limit=_EVENTS_LOOKED_AT)
        glimpse.events.extend(event for event in latest if wish.tells(event))


def _changed_by(update: Update, wish: Wish, glimpse: Glimpse) -> set[Key]:
    """Return the workloads that an update is about, among those that are followed."""
    found = set[Key]()
    match update.kind:
        case UpdateKind.WORKLOAD | UpdateKind.WORKLOAD_REMOVED:
            found = {(update.namespace, update.name)}
        case UpdateKind.INSTANCE | UpdateKind.INSTANCE_REMOVED:
            found = {(update.namespace, parse_subject(update.name).workload)}
        case UpdateKind.EVENT if update.event is not None and wish.key is not None:
            event = update.event
            if wish.tells(event) and all(event.uid != other.uid for other in glimpse.events):
                glimpse.events.append(event)
                found = {wish.key}
        case _:
            pass
    return {key for key in found if wish.concerns(key)}


def _differing(before: Picture | None, after: Picture) -> set[Key]:
    """Return the workloads of which one picture shows something else than the other."""
    if before is None:
        return set(after.views)
    return {
        key
        for key in before.views.keys() | after.views.keys()
        if before.views.get(key) != after.views.get(key) or before.instances_of(key) != after.instances_of(key)
    }


async def _left(place: Place, wish: Wish) -> Picture | None:
    """Return how an owner has left things that has gone because nothing was left to do; None where that is not so."""
    if not isinstance(place, StateDirectory):
        return None
    with trio.move_on_after(_STORE_SECONDS):
        try:
            picture = await stored_picture(place)
        except OrchestrationError:
            return None
        return picture if picture.is_over(None if wish.key is None else [wish.key]) else None
    return None


def reports_of(glimpse: Glimpse, wish: Wish, keys: Iterable[Key], now: datetime) -> list[Report]:
    """Return what is to be said of workloads, those that are gone left out."""
    reports = []
    for key in sorted(keys):
        view = glimpse.picture.views.get(key)
        if view is None:
            continue
        own = glimpse.picture.instances_of(key)
        if wish.subject is not None:
            try:
                own = chosen(wish.subject, own)
            except InstanceNotFound:
                own = []
        reports.append(
            Report.of(view, own, glimpse.events if wish.key is not None else (), next_action(view, own, now))
        )
    return reports


class Teller(Protocol):
    """Tells how things are."""

    def tell(self, glimpse: Glimpse, /) -> None:
        """Tell what has changed."""
        ...


@define(eq=False)
class LineTeller:
    """Tells of each workload that has changed, below what was told before; what would be said again is left out.

    Attributes:
        wish: What is followed.
        tells_gone: Whether people are told of what is gone.
    """

    wish: Wish
    _told: dict[Key, Report] = field(factory=dict)
    _titled: bool = False

    def tell(self, glimpse: Glimpse, /) -> None:
        """Print what has changed."""
        now = datetime.now(UTC)
        reports = reports_of(glimpse, self.wish, glimpse.changed, now)
        news = [report for report in reports if self._is_news(report)]
        for line in self._lines(news, glimpse, now):
            print(line, flush=True)
        for key in sorted(glimpse.changed - glimpse.picture.views.keys()):
            if self._told.pop(key, None) is not None:
                note(f"{full_name(*key)}: gone")

    def _is_news(self, report: Report) -> bool:
        metadata = report.workload.definition.metadata
        key = (metadata.namespace, metadata.name)
        before, self._told[key] = self._told.get(key), report
        return before != report

    def _lines(self, news: Sequence[Report], glimpse: Glimpse, now: datetime) -> Iterable[str]:
        form = self.wish.form
        if form == "name":
            return [view_name(report.workload) for report in news]
        if not is_for_people(form):
            return [line_for(report, form) for report in news]
        names = names_of(glimpse.picture.nodes.values())
        detailed = self.wish.subject is not None
        lines = list(tree(news, names, now, detailed=detailed, wide=form == "wide", titles=not self._titled))
        self._titled = self._titled or bool(lines)
        return lines


@define(eq=False)
class ScreenTeller:
    """Draws a table anew, in the same place of a terminal.

    Attributes:
        wish: What is followed.
        live: A `rich.live.Live` that does not draw by itself.
    """

    wish: Wish
    live: Any

    def tell(self, glimpse: Glimpse, /) -> None:
        """Draw all that there is."""
        from rich.text import Text

        now = datetime.now(UTC)
        keys = [key for key in glimpse.picture.views if self.wish.concerns(key)]
        lines = tree(
            reports_of(glimpse, self.wish, keys, now),
            names_of(glimpse.picture.nodes.values()),
            now,
            detailed=self.wish.subject is not None,
            wide=self.wish.form == "wide",
        )
        nothing = "no workloads" if self.wish.key is None else f"{full_name(*self.wish.key)}: gone"
        text = "\n".join(lines) or nothing
        self.live.update(Text.from_ansi(text, no_wrap=True, overflow="ellipsis"), refresh=True)


async def follow_status(control: HttpControl, place: Place, wish: Wish) -> None:
    """Tell how workloads are doing until that is interrupted, or what is followed is gone.

    Raises:
        WorkloadNotFound: The one workload that is followed is not there.
        NetworkFailure: Nobody answers, or nobody for so long that it is given up.
    """
    if wish.key is not None:
        await control.get_workload(wish.key[1], namespace=wish.key[0])
    if not redraws(wish.form):
        await _tell_all(control, place, wish, LineTeller(wish))
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(), auto_refresh=False) as live:
        await draw_all(control, place, wish, ScreenTeller(wish, live))


def redraws(form: Form) -> bool:
    """Whether a table is drawn in the same place over and over: for people, at a terminal that can do it."""
    return is_for_people(form) and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def _is_gone(glimpse: Glimpse, wish: Wish) -> bool:
    return wish.key is not None and wish.key not in glimpse.picture.views


async def _tell_all(control: HttpControl, place: Place, wish: Wish, teller: Teller) -> None:
    async with aclosing(glimpses(control, place, wish)) as found:
        async for glimpse in found:
            teller.tell(glimpse)
            if _is_gone(glimpse, wish):
                return


async def draw_all(control: HttpControl, place: Place, wish: Wish, teller: Teller) -> None:
    """Draw how things are, as often as they change, though not too often, and as time goes by."""
    latest: Glimpse | None = None
    news = trio.Event()

    async def draw() -> None:
        nonlocal news
        while True:
            with trio.move_on_after(_TICK_SECONDS):
                await news.wait()
            news = trio.Event()
            if latest is not None:
                teller.tell(latest)
            await trio.sleep(_PAUSE_SECONDS)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(draw)
        async with aclosing(glimpses(control, place, wish)) as found:
            async for glimpse in found:
                latest = glimpse
                news.set()
                if _is_gone(glimpse, wish):
                    break
        nursery.cancel_scope.cancel()
    if latest is not None:
        teller.tell(latest)
