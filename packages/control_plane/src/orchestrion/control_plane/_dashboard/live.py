"""The one stream that keeps a page up to date: what has changed, and the output that it follows."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from typing import Any, Final

import trio
from attrs import define
from litestar.types import Receive, Scope, Send
from orchestrion.control_plane._history.event import ObjectEvent, Position
from orchestrion.control_plane._open_streams import OpenStreams
from orchestrion.control_plane._problems import expected
from orchestrion.control_plane._service.objects import Objects
from orchestrion.orchestrator_core import LogQuery
from orchestrion.shared_types import Compacted, Denied, to_json

from .sight import Sight

BEAT_SECONDS: Final = 10.0
"""How long the stream is silent at most; then it also looks whether its session is still good."""

STALLED_SECONDS: Final = 20.0
"""How long a browser that takes nothing is waited for; it comes again and goes on where it was."""

LAST_SECONDS: Final = 1.0
"""How long the end of the stream may take to be sent."""

RETRY_MS: Final = 1_000
"""After how long a browser comes again whose stream was cut off."""

MAX_NAMES: Final = 200
"""How many names of a kind a message has; where there would be more it says `*`, all."""

WATCHED: Final = frozenset({"workloads", "instances", "nodes", "events", "resourcequotas", "namespaces"})
"""The kinds that pages show."""


def changed(events: Iterable[ObjectEvent], sight: Sight) -> dict[str, list[str]]:
    """Return which objects have changed, by kind, of those that somebody sees."""
    found = dict[str, dict[str, None]]()
    for event in events:
        if event.kind in WATCHED and sight.sees(event.kind, event.namespace):
            title = f"{event.namespace}/{event.name}" if event.namespace else event.name
            if event.kind == "events":
                title = f"{event.namespace}/{event.item.document.spec.get('subject', '')}"
            found.setdefault(event.kind, {})[title] = None
    return {kind: list(names) if len(names) <= MAX_NAMES else ["*"] for kind, names in found.items()}


def message(event: str, data: Any, position: Position | None = None) -> bytes:
    """Return a server-sent event; JSON has no line ends of its own."""
    given = b"" if position is None else b"id: %b\n" % str(position).encode()
    return b"%bevent: %b\ndata: %b\n\n" % (given, event.encode(), to_json(data))


@define(eq=False)
class LiveStream:
    """One browser's stream, as an ASGI application.

    Changes carry positions, so that a browser whose stream was cut off goes on where it was; where that is no longer
    kept it is told to look at everything again. Output carries its offsets, by which the page knows what it has.

    Attributes:
        objects: All objects.
        streams: Says when the server ends.
        sight_now: Says what its principal sees now; None once its session is over.
        since: Where it begins; None is now.
        output: The output that it follows besides, or None.
    """

    objects: Objects
    streams: OpenStreams
    sight_now: Callable[[], Sight | None]
    since: Position | None
    output: LogQuery | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, until its browser goes, its session is over or the server ends."""
        headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"retry: %d\n\n" % RETRY_MS, "more_body": True})
        sends, receives = trio.open_memory_channel[bytes](0)
        last = b""
        async with trio.open_nursery() as nursery, sends:
            nursery.start_soon(_cancel_on_disconnect, receive, nursery.cancel_scope)
            nursery.start_soon(_cancel_on_end, self.streams, nursery.cancel_scope)
            nursery.start_soon(_send_all, receives, send, nursery.cancel_scope)
            if self.output is not None:
                nursery.start_soon(self._output, self.output, sends.clone())
            await self._changes(sends)
            last = message("over", {})
            nursery.cancel_scope.cancel()
        with trio.move_on_after(LAST_SECONDS):
            await send({"type": "http.response.body", "body": last, "more_body": False})

    async def _changes(self, sends: trio.MemorySendChannel[bytes]) -> None:
        """Send what changes, until the session is over."""
        history = self.objects.history
        since = self.since
        while True:
            begun = history.position
            try:
                async with history.follow(since if since is not None else begun) as follower:
                    await sends.send(message("begun", {}, None if since is not None else begun))
                    while True:
                        events = follower.behind()
                        sight = self.sight_now()
                        if sight is None:
                            return
                        found = changed(events, sight)
                        if found:
                            places = [event.position for event in events if event.position is not None]
                            await sends.send(message("changed", found, places[-1] if places else None))
                        with trio.move_on_after(BEAT_SECONDS) as waiting:
                            await follower.wait()
                        if waiting.cancelled_caught:
                            await sends.send(message("beat", {}, follower.position))
            except Compacted:
                since = None
                await sends.send(message("everything", {}))

    async def _output(self, query: LogQuery, sends: trio.MemorySendChannel[bytes]) -> None:
        async with sends:
            try:
                async with self.objects.orchestrator.logs(query) as records:
                    async for record in records:
                        self._check_output(query)
                        data = {
                            "instance": record.instance,
                            "container": record.container,
                            "attempt": record.attempt,
                            "stream": record.stream.value,
                            "offset": record.offset,
                            "gap": record.gap_bytes,
                            "at": record.written_at.isoformat() if record.written_at is not None else None,
                            "data": base64.b64encode(record.data).decode(),
                        }
                        await sends.send(message("output", data))
                await sends.send(message("output-end", {}))
            except Exception as err:
                told = expected(err, "reading output")
                await sends.send(message("output-failed", {"text": str(told)}))

    def _check_output(self, query: LogQuery) -> None:
        """Make sure that the output may still be read; rights end while it is."""
        sight = self.sight_now()
        if sight is None or not sight.may("logs", "workloads", query.namespace, query.subject.partition(".")[0]):
            raise Denied("the right to read this output has ended", remedy="Ask an administrator for it.")


async def _send_all(receives: trio.MemoryReceiveChannel[bytes], send: Send, scope: trio.CancelScope) -> None:
    async with receives:
        async for body in receives:
            with trio.move_on_after(STALLED_SECONDS) as sending:
                await send({"type": "http.response.body", "body": body, "more_body": True})
            if sending.cancelled_caught:
                break
    scope.cancel()


async def _cancel_on_disconnect(receive: Receive, scope: trio.CancelScope) -> None:
    while True:
        received: Any = await receive()
        if received["type"] == "http.disconnect":
            scope.cancel()
            return


async def _cancel_on_end(streams: OpenStreams, scope: trio.CancelScope) -> None:
    await streams.ending.wait()
    scope.cancel()
