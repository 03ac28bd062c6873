"""Following objects over HTTP: lines of JSON, or server-sent events."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, Final

import trio
from attrs import define
from litestar.types import ASGIApp, Receive, Scope, Send
from orchestrion.control_plane._history.event import (
    EventType,
    Item,
    ObjectEvent,
    Position,
    bookmark,
    line,
    message,
    parse_position,
)
from orchestrion.control_plane._objects.kinds import Kind
from orchestrion.control_plane._open_streams import OpenStreams
from orchestrion.control_plane._problems import PROBLEM_MEDIA_TYPE, problem_of, status_of
from orchestrion.control_plane._service.objects import Objects
from orchestrion.control_plane._service.reading import Selection
from orchestrion.control_plane._standing import Standing, standing_of
from orchestrion.shared_types import OrchestrationError, to_json

from .queries import AnyRequest, number

BOOKMARK_SECONDS: Final = 10.0
"""How long a watch is silent at most, whatever happens to others: then it says up to where all is known."""

_PIECE_BYTES: Final = 65_536
"""After how many bytes of events they are sent, so that who is far behind takes no more memory than others."""

MAX_SECONDS: Final = 366 * 86_400
"""The longest that a stream may be asked to last."""

NDJSON: Final = "application/x-ndjson"
SSE: Final = "text/event-stream"

Encode = Callable[[ObjectEvent], bytes]


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
    given = request.headers.get("last-event-id") or request.query_params.get("since")
    since = parse_position(given) if given else None
    as_messages = SSE in request.headers.get("accept", "")
    by_status = "status" in request.query_params.get("field_selector", "")
    return _Watch(objects, streams, kind, namespace, since, wanted, by_status, as_messages, time_limit(request))


def time_limit(request: AnyRequest) -> float:
    """Return after how many seconds a stream comes to its end; infinite where that is not said.

    Raises:
        ConfigInvalid: It is no number.
    """
    seconds = number(request, "timeout_seconds", -1)
    return math.inf if seconds < 0 else float(min(seconds, MAX_SECONDS))


@define(eq=False)
class _Watch:
    """One watch, as an ASGI application."""

    objects: Objects
    streams: OpenStreams
    kind: Kind
    namespace: str | None
    since: Position | None
    wanted: Selection | None
    by_status: bool
    as_messages: bool
    seconds: float
    _started: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, until its client goes or the server ends."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_on_disconnect, receive, nursery.cancel_scope)
            nursery.start_soon(_cancel_on_end, self.streams, nursery.cancel_scope)
            await self._answer(send, standing_of(scope))
            nursery.cancel_scope.cancel()
        if self._started:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _answer(self, send: Send, standing: Standing) -> None:
        try:
            since = self.since if self.since is not None else self.objects.history.position
            following = self.objects.follow(self.kind, self.namespace, since, self.wanted, by_status=self.by_status)
            async with following as follower:
                # Taken before anything is waited for: what happens from here on comes as an event, and only so.
                there_is, position = self._everything() if self.since is None else [], follower.position
                await self._start(send)
                if self.since is None:
                    # Written out piece by piece: who takes nothing costs no more than a piece.
                    for piece in _pieces(chain(map(self._addition, there_is), [self._bookmark(position)])):
                        standing()
                        await self._send(send, piece)
                there_is = []
                end = trio.current_time() + self.seconds
                silent_since = trio.current_time()
                while True:
                    standing()
                    events = follower.behind()
                    known = follower.position
                    for piece in _pieces(map(self._encoded, events)):
                        await self._send(send, piece)
                        silent_since = trio.current_time()
                    now = trio.current_time()
                    if now >= end:
                        return
                    if now >= silent_since + BOOKMARK_SECONDS:
                        await self._send(send, self._bookmark(known))
                        silent_since = now
                        continue
                    with trio.move_on_at(min(silent_since + BOOKMARK_SECONDS, end)):
                        await follower.wait()
        except OrchestrationError as err:
            problem = to_json(problem_of(err))
            if self._started:
                form = b"event: ERROR\ndata: %b\n\n" if self.as_messages else b'{"type":"ERROR","object":%b}\n'
                await self._send(send, form % problem)
            else:
                headers = [(b"content-type", PROBLEM_MEDIA_TYPE.encode())]
                await send({"type": "http.response.start", "status": status_of(err), "headers": headers})
                await send({"type": "http.response.body", "body": problem, "more_body": False})

    def _everything(self) -> list[Item]:
        """Return all that there is."""
        history = self.objects.history
        items = [history.get(name) for name in history.names(self.kind.plural, self.namespace)]
        return [item for item in items if item is not None and (self.wanted is None or self.wanted(item))]

    def _addition(self, item: Item) -> bytes:
        form = message if self.as_messages else line
        return form(EventType.ADDED, None, item.data)

    def _encoded(self, event: ObjectEvent) -> bytes:
        return event.message if self.as_messages else event.line

    def _bookmark(self, position: Position) -> bytes:
        form = message if self.as_messages else line
        return form(EventType.BOOKMARK, position, bookmark(position))

    async def _start(self, send: Send) -> None:
        media_type = SSE if self.as_messages else NDJSON
        headers = [(b"content-type", media_type.encode()), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        self._started = True

    async def _send(self, send: Send, body: bytes) -> None:
        # A reader that takes nothing for too long is cut off by the connection, and may go on where it was.
        await send({"type": "http.response.body", "body": body, "more_body": True})


def _pieces(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Give parts together, as many as make a piece; each is made only when its piece is."""
    piece, size = list[bytes](), 0
    for part in parts:
        piece.append(part)
        size += len(part)
        if size >= _PIECE_BYTES:
            yield b"".join(piece)
            piece, size = [], 0
    if piece:
        yield b"".join(piece)


async def _cancel_on_disconnect(receive: Receive, scope: trio.CancelScope) -> None:
    while True:
        received: Any = await receive()
        if received["type"] == "http.disconnect":
            scope.cancel()
            return


async def _cancel_on_end(streams: OpenStreams, scope: trio.CancelScope) -> None:
    await streams.ending.wait()
    scope.cancel()
