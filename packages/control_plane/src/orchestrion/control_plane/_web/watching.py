"""Following objects over HTTP: lines of JSON, or server-sent events."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, Final, Protocol

import trio
from attrs import define
from litestar.types import ASGIApp, Receive, Scope, Send
from orchestrion.control_plane._cloud_events import is_wanted
from orchestrion.control_plane._history.event import Item, Position, parse_position
from orchestrion.control_plane._objects.kinds import EVENT, Kind
from orchestrion.control_plane._open_streams import OpenStreams
from orchestrion.control_plane._problems import PROBLEM_MEDIA_TYPE, problem_of, status_of
from orchestrion.control_plane._service.objects import Objects
from orchestrion.control_plane._service.reading import Selection
from orchestrion.control_plane._standing import Standing, always, standing_of
from orchestrion.shared_types import ConfigInvalid, OrchestrationError, Problem, to_json

from .queries import AnyRequest, number
from .watch_forms import CLOUD_LINES, LINES, MESSAGES, SSE, WatchForm

BOOKMARK_SECONDS: Final = 10.0
"""How long a watch is silent at most, whatever happens to others: then it says up to where all is known."""

_PIECE_BYTES: Final = 65_536
"""After how many bytes of events they are sent, so that who is far behind takes no more memory than others."""

MAX_SECONDS: Final = 366 * 86_400
"""The longest that a stream may be asked to last."""


class Outlet(Protocol):
    """Where a watch goes to."""

    async def begin(self, media_type: str, /) -> None:
        """Say that it was let in."""
        ...

    async def give(self, parts: Iterable[bytes], standing: Standing, /) -> bool:
        """Send parts, but for those that are empty, while they may be; return whether there were any."""
        ...

    async def fail(self, error: OrchestrationError, known: Position | None, /) -> None:
        """Say why it ends, and up to where all was told."""
        ...

    async def refuse(self, error: OrchestrationError, /) -> None:
        """Say why it was not let in."""
        ...


def watch_stream(
    objects: Objects,
    streams: OpenStreams,
    request: AnyRequest,
    kind: Kind,
    namespace: str | None,
    wanted: Selection | None = None,
) -> ASGIApp:
    """Return what answers a request to follow objects.

    Raises:
        ConfigInvalid: It does not say from where in a way that can be read.
    """
    if request.query_params.get("continue"):
        problem = Problem("a page of a list goes on with it, and a watch from a revision", path="continue")
        raise ConfigInvalid((problem,), remedy="List to the last page, then watch with since=REVISION of that list.")
    given = request.headers.get("last-event-id") or request.query_params.get("since")
    since = parse_position(given) if given else None
    accept = request.headers.get("accept", "")
    form = MESSAGES if SSE in accept else CLOUD_LINES if kind is EVENT and is_wanted(accept) else LINES
    by_status = "status" in request.query_params.get("field_selector", "")
    watch = Watch(objects, kind, namespace, since, wanted, by_status, form, time_limit(request))
    return _Answer(watch, streams)


def time_limit(request: AnyRequest) -> float:
    """Return after how many seconds a stream comes to its end; infinite where that is not said.

    Raises:
        ConfigInvalid: It is no number.
    """
    seconds = number(request, "timeout_seconds", -1)
    return math.inf if seconds < 0 else float(min(seconds, MAX_SECONDS))


@define(eq=False)
class Watch:
    """One watch.

    Attributes:
        objects: What is followed.
        kind: Objects of this kind.
        namespace: Of this namespace; None is all.
        since: What was seen already; None is nothing, and all there is comes first.
        wanted: Which of them; None is all.
        by_status: Whether that depends on their status.
        form: How it is written.
        seconds: How long it lasts; infinite without end.
    """

    objects: Objects
    kind: Kind
    namespace: str | None
    since: Position | None
    wanted: Selection | None
    by_status: bool
    form: WatchForm
    seconds: float

    async def give(self, outlet: Outlet, standing: Standing) -> None:
        """Give what happens, until the time is over, or it may not go on, of which the reason is given."""
        begun, known = False, self.since
        try:
            since = self.since if self.since is not None else self.objects.history.position
            following = self.objects.follow(self.kind, self.namespace, since, self.wanted, by_status=self.by_status)
            async with following as follower:
                # Taken before anything is waited for: what happens from here on comes as an event, and only so.
                there_is, position = self._everything() if self.since is None else [], follower.position
                await outlet.begin(self.form.media_type)
                begun = True
                if self.since is None:
                    # Written out piece by piece: who takes nothing costs no more than a piece.
                    there = map(self.form.addition, there_is)
                    await outlet.give(chain(there, [self.form.bookmark(position)]), standing)
                    known = position
                there_is = []
                end = trio.current_time() + self.seconds
                silent_since = trio.current_time()
                while True:
                    standing()
                    events = follower.behind()
                    now_known = follower.position
                    if await outlet.give(map(self.form.event, events), always):
                        silent_since = trio.current_time()
                    known = now_known
                    now = trio.current_time()
                    if now >= end:
                        return
                    if now >= silent_since + BOOKMARK_SECONDS:
                        await outlet.give([self.form.bookmark(now_known)], always)
                        silent_since = now
                        continue
                    with standing.awake(min(silent_since + BOOKMARK_SECONDS, end) - now):
                        await follower.wait()
        except OrchestrationError as err:
            if begun:
                await outlet.fail(err, known)
            else:
                await outlet.refuse(err)

    def _everything(self) -> list[Item]:
        """Return all that there is."""
        history = self.objects.history
        items = [history.get(name) for name in history.names(self.kind.plural, self.namespace)]
        return [item for item in items if item is not None and (self.wanted is None or self.wanted(item))]


@define(eq=False)
class _Answer:
    """A watch as the answer of a request, as an ASGI application."""

    watch: Watch
    streams: OpenStreams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, until its client goes or the server ends."""
        outlet = _Body(send, self.watch.form)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel_on_disconnect, receive, nursery.cancel_scope)
            nursery.start_soon(cancel_on_end, self.streams, nursery.cancel_scope)
            await self.watch.give(outlet, standing_of(scope))
            nursery.cancel_scope.cancel()
        if outlet.begun:
            await send({"type": "http.response.body", "body": b"", "more_body": False})


@define(eq=False)
class _Body:
    """The body of an answer."""

    send: Send
    form: WatchForm
    begun: bool = False

    async def begin(self, media_type: str, /) -> None:
        headers = [(b"content-type", media_type.encode()), (b"cache-control", b"no-store")]
        await self.send({"type": "http.response.start", "status": 200, "headers": headers})
        self.begun = True

    async def give(self, parts: Iterable[bytes], standing: Standing, /) -> bool:
        any_given = False
        for piece in _pieces(parts):
            standing()
            # A reader that takes nothing for too long is cut off by the connection, and may go on where it was.
            await self.send({"type": "http.response.body", "body": piece, "more_body": True})
            any_given = True
        return any_given

    async def fail(self, error: OrchestrationError, known: Position | None, /) -> None:
        await self.give([self.form.error(problem_of(error), known)], always)

    async def refuse(self, error: OrchestrationError, /) -> None:
        headers = [(b"content-type", PROBLEM_MEDIA_TYPE.encode())]
        await self.send({"type": "http.response.start", "status": status_of(error), "headers": headers})
        body = to_json(problem_of(error))
        await self.send({"type": "http.response.body", "body": body, "more_body": False})


def _pieces(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Give parts together, as many as make a piece; each is made only when its piece is."""
    piece, size = list[bytes](), 0
    for part in parts:
        if part:
            piece.append(part)
        size += len(part)
        if size >= _PIECE_BYTES:
            yield b"".join(piece)
            piece, size = [], 0
    if piece:
        yield b"".join(piece)


async def cancel_on_disconnect(receive: Receive, scope: trio.CancelScope) -> None:
    """Cancel a scope once a client has gone; what it says meanwhile is passed over."""
    while True:
        received: Any = await receive()
        if received["type"] in ("http.disconnect", "websocket.disconnect"):
            scope.cancel()
            return


async def cancel_on_end(streams: OpenStreams, scope: trio.CancelScope) -> None:
    """Cancel a scope once streams are to end."""
    await streams.ending.wait()
    scope.cancel()
