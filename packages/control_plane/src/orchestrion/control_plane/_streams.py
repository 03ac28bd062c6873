"""Streams and exec, as ASGI applications that run a request from its first byte to its last in one task.

A context of a Control may hold a nursery, so it must be left by the task that has entered it; a framework's own
streaming response is run by other tasks than its handler.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, TypeVar

import trio
from attrs import evolve, frozen
from litestar.types import Receive, Scope, Send
from orchestrion.runtime_interface import ExecSession, TerminalSession
from orchestrion.shared_types import (
    Closed,
    ConfigInvalid,
    Denied,
    ExitStatus,
    OrchestrationError,
    Problem,
    Unauthenticated,
    from_json,
    structure,
    to_json,
    unstructure,
)

from ._cloud_events import CLOUD_EVENT, cloud_event, error_event
from ._control import Control
from ._open_streams import OpenStreams
from ._problems import PROBLEM_MEDIA_TYPE, expected, problem_of, status_of
from ._standing import Refusal, Standing, always, standing_of
from ._wire import OUTPUT_MARKS, STDIN_CLOSED, STREAM_MEDIA_TYPE, ExecRequest, ResizeMessage, record_text

T = TypeVar("T")

_log = logging.getLogger("orchestrion.control_plane")

_LAST_WORDS_SECONDS = 0.25
"""How long a stream that has no end still gives what is there already, after the server was told to end."""

QUIET_SECONDS = 2.0
"""How long a stream that has an end is waited for then, of which nothing comes."""

STALLED_SECONDS = 30.0
"""How long a reader is waited for then that takes nothing."""


REFUSED: Final = 1008
"""The code of a WebSocket's close that says: not for who asks (RFC 6455, 7.4.1, policy violation)."""


@frozen(kw_only=True)
class StreamForm:
    """How a stream is written.

    Attributes:
        media_type: What it is called.
        item: From an item to what is sent for it.
        error: From a problem document to what is sent in place of all that does not come.
        end: What is sent once all has come.
    """

    media_type: str
    item: Callable[[Any], bytes]
    error: Callable[[Any], bytes]
    end: bytes


class LineStream:
    """An ASGI application that sends all items of a context, as lines if nothing else is said."""

    def __init__(
        self,
        opened: Callable[[], AbstractAsyncContextManager[AsyncIterator[Any]]],
        streams: OpenStreams,
        /,
        *,
        to_its_end: bool = False,
        form: StreamForm | None = None,
        seconds: float = math.inf,
    ) -> None:
        """Take what opens the context, and what counts streams and says when they are to end.

        With `to_its_end` all items are sent also then; it is given up when none comes, or none is taken, for too long.
        After `seconds` it comes to its end in any case.
        """
        self._opened = opened
        self._streams = streams
        self._to_its_end = to_its_end
        self._seconds = seconds
        self._form = form if form is not None else LINES
        self._started = False
        self._sending = False
        self._moved_at = trio.current_time()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. When the client goes, the context is left."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_on_disconnect, receive, nursery.cancel_scope)
            await self._answer(send, Refusal(standing_of(scope)))
            nursery.cancel_scope.cancel()

    async def _answer(self, send: Send, refusal: Refusal) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(refusal.end, nursery.cancel_scope)
                nursery.start_soon(self._cancel_on_end, nursery.cancel_scope)
                if self._seconds < math.inf:
                    nursery.start_soon(_cancel_after, self._seconds, nursery.cancel_scope)
                async with self._opened() as opened, _closing(opened) as items:
                    await self._start(send, 200, self._form.media_type)
                    async for item in items:
                        self._move(sending=True)
                        await _send_body(send, self._form.item(item), more=True)
                        self._move(sending=False)
                nursery.cancel_scope.cancel()
            refusal.check()
        except Exception as err:
            error = _told(err, "streaming")
            if not self._started:
                await self._start(send, status_of(error), PROBLEM_MEDIA_TYPE)
                await _send_body(send, json.dumps(problem_of(error)).encode(), more=False)
            else:
                await _send_body(send, self._form.error(problem_of(error)), more=False)
            return
        if not self._started:
            await self._start(send, 200, self._form.media_type)
        await _send_body(send, self._form.end, more=False)

    def _move(self, *, sending: bool) -> None:
        self._sending, self._moved_at = sending, trio.current_time()

    async def _cancel_on_end(self, scope: trio.CancelScope) -> None:
        if not self._to_its_end:
            await self._streams.ending.wait()
            await trio.sleep(_LAST_WORDS_SECONDS)
        else:
            with self._streams.counted():
                await self._streams.ending.wait()
                await self._wait_stuck(since=trio.current_time())
        scope.cancel()

    async def _wait_stuck(self, since: float) -> None:
        while True:
            patience = STALLED_SECONDS if self._sending else QUIET_SECONDS
            left = max(since, self._moved_at) + patience - trio.current_time()
            if left <= 0:
                return
            # What moves meanwhile may have less patience left than this.
            await trio.sleep(min(left, QUIET_SECONDS))

    async def _start(self, send: Send, status: int, media_type: str) -> None:
        self._started = True
        headers = [(b"content-type", media_type.encode()), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": status, "headers": headers})


async def serve_exec(
    control: Control,
    receive: Receive,
    send: Send,
    given: Mapping[str, str],
    *,
    standing: Standing = always,
    found: Callable[[], Awaitable[str]] | None = None,
    failed: Callable[[OrchestrationError], None] | None = None,
) -> None:
    """Serve one WebSocket connection that runs one command. When the client goes, the command is killed.

    Why it does not run, or no longer, is said as a text. Where that is because who asks may not, the connection closes
    with 1008 and says it there too, otherwise with 1000.

    Args:
        control: Runs it.
        receive: Gives what comes from the client.
        send: Takes what goes to the client.
        given: What the address of the connection says, for which it was let in, and what comes can't say otherwise.
        standing: Says whether the command may go on; else it is killed, and the client is told why.
        found: Finds the instance where the address names something else; None takes the one of that name.
        failed: Is told what goes wrong before the client is, so that a record of it says so; None for nobody.
    """
    closing = _close(1000)
    await receive()  # the connection's own first event
    await send({"type": "websocket.accept", "subprotocol": None, "headers": []})
    try:
        request = await _exec_request(receive, given)
        if request is None:
            raise Closed("the client went before it said what to run")
        if found is not None:
            request = evolve(request, instance=await found())
        status = await _run(control, request, receive, send, Refusal(standing))
        if status is None:
            return
        await _send_text(send, {"exit": unstructure(status)})
    except Exception as err:
        error = _told(err, "running a command")
        if failed is not None:
            failed(error)
        await _send_text(send, {"error": problem_of(error)})
        if isinstance(error, (Denied, Unauthenticated)):
            closing = _close(REFUSED, close_reason(error))
    await send(closing)


def close_reason(error: OrchestrationError) -> str:
    """Return what a WebSocket's close has room for of an error: one line in plain words."""
    return error.message.partition("\n")[0]


def _close(code: int, reason: str = "") -> Any:
    return {"type": "websocket.close", "code": code, "reason": reason}


async def _run(
    control: Control, request: ExecRequest, receive: Receive, send: Send, refusal: Refusal
) -> ExitStatus | None:
    """Run the command to its end; None where the client has gone before."""
    opened = control.exec(
        request.instance,
        request.command,
        namespace=request.namespace,
        container=request.container,
        terminal=request.terminal,
    )
    status = None
    async with opened as session, trio.open_nursery() as nursery:
        await _send_text(send, {"started": True})
        nursery.start_soon(_take_input, session, receive, nursery.cancel_scope)
        nursery.start_soon(refusal.end, nursery.cancel_scope)
        async with _closing(session.output()) as outputs:
            async for output in outputs:
                data = OUTPUT_MARKS[output.stream] + output.data
                await send({"type": "websocket.send", "bytes": data, "text": None})
        status = await session.wait()
        nursery.cancel_scope.cancel()
    refusal.check()
    return status


async def _exec_request(receive: Receive, given: Mapping[str, str]) -> ExecRequest | None:
    message: Any = await receive()
    if message["type"] == "websocket.disconnect":
        return None
    if message.get("text") is None:
        raise ConfigInvalid((Problem("the first message must be a text that says what to run"),))
    asked = from_json(message["text"].encode(), dict[str, Any])
    others = [key for key, value in given.items() if asked.get(key, value) != value]
    if others:
        raise ConfigInvalid(tuple(Problem("the address says another one", path=key) for key in others))
    return structure({**asked, **given}, ExecRequest)


async def _take_input(session: ExecSession, receive: Receive, scope: trio.CancelScope) -> None:
    while True:
        message: Any = await receive()
        if message["type"] == "websocket.disconnect":
            scope.cancel()
            return
        if message.get("bytes") is not None:
            await session.send_stdin(message["bytes"])
            continue
        text = message.get("text") or ""
        if text == STDIN_CLOSED:
            await session.close_stdin()
        elif isinstance(session, TerminalSession):
            await session.resize(from_json(text.encode(), ResizeMessage).resize)
        else:
            raise ConfigInvalid((Problem(f"a text that is not {STDIN_CLOSED!r} says nothing to a command"),))


async def _cancel_after(seconds: float, scope: trio.CancelScope) -> None:
    await trio.sleep(seconds)
    scope.cancel()


async def _cancel_on_disconnect(receive: Receive, scope: trio.CancelScope) -> None:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            scope.cancel()
            return


@asynccontextmanager
async def _closing(items: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """Close the iterator at the end, if it is one that can be closed: a generator must not be left to the collector."""
    try:
        yield items
    finally:
        if isinstance(items, AsyncGenerator):
            await items.aclose()


def _told(error: Exception, doing: str) -> OrchestrationError:
    told = expected(error, doing)
    if told.code == "internal":
        _log.error("%s", told.message, exc_info=error)
    return told


def line_of(value: object) -> bytes:
    return to_json(value) + b"\n"


async def _send_body(send: Send, body: bytes, *, more: bool) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def _send_text(send: Send, value: object) -> None:
    await send({"type": "websocket.send", "bytes": None, "text": to_json(value).decode()})


LINES: Final = StreamForm(
    media_type=STREAM_MEDIA_TYPE,
    item=lambda item: line_of({"item": unstructure(item)}),
    error=lambda problem: line_of({"error": problem}),
    end=line_of({"end": True}),
)

RECORD_LINES: Final = evolve(LINES, item=lambda record: b'{"item":%b}\n' % record_text(record))
"""Pieces of output as lines."""

HAPPENED: Final = StreamForm(
    media_type=CLOUD_EVENT,
    item=lambda update: b"" if update.event is None else line_of(cloud_event(update.event)),
    error=lambda problem: error_event(problem, "") + b"\n",
    end=b"",
)
"""Of updates what has happened, as CloudEvents."""
