"""Streams and exec, as ASGI applications that run a request from its first byte to its last in one task.

A context of a Control may hold a nursery, so it must be left by the task that has entered it; a framework's own
streaming response is run by other tasks than its handler.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

import trio
from litestar.types import Receive, Scope, Send
from orchestrion.runtime_interface import ExecSession
from orchestrion.shared_types import (
    ConfigInvalid,
    ExitStatus,
    OrchestrationError,
    Problem,
    from_json,
    to_json,
    unstructure,
)

from ._control import Control
from ._problems import PROBLEM_MEDIA_TYPE, expected, problem_of, status_of
from ._wire import OUTPUT_MARKS, STREAM_MEDIA_TYPE, ExecRequest

T = TypeVar("T")

_log = logging.getLogger("orchestrion.control_plane")

_LAST_WORDS_SECONDS = 0.25
"""What a stream still gives after the server was told to end: what is there already."""


class LineStream:
    """An ASGI application that sends all items of a context as lines."""

    def __init__(
        self, opened: Callable[[], AbstractAsyncContextManager[AsyncIterator[Any]]], ending: trio.Event, /
    ) -> None:
        """Take what opens the context, and the event after which streams are to end."""
        self._opened = opened
        self._ending = ending
        self._started = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. When the client goes, the context is left."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_on_disconnect, receive, nursery.cancel_scope)
            await self._answer(send)
            nursery.cancel_scope.cancel()

    async def _answer(self, send: Send) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_on_end, self._ending, nursery.cancel_scope)
                async with self._opened() as opened, _closing(opened) as items:
                    await self._start(send, 200, STREAM_MEDIA_TYPE)
                    async for item in items:
                        await _send_body(send, _line({"item": unstructure(item)}), more=True)
                nursery.cancel_scope.cancel()
        except Exception as err:
            error = _told(err, "streaming")
            if not self._started:
                await self._start(send, status_of(error), PROBLEM_MEDIA_TYPE)
                await _send_body(send, json.dumps(problem_of(error)).encode(), more=False)
            else:
                await _send_body(send, _line({"error": problem_of(error)}), more=False)
            return
        if not self._started:
            await self._start(send, 200, STREAM_MEDIA_TYPE)
        await _send_body(send, _line({"end": True}), more=False)

    async def _start(self, send: Send, status: int, media_type: str) -> None:
        self._started = True
        headers = [(b"content-type", media_type.encode()), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": status, "headers": headers})


async def serve_exec(control: Control, receive: Receive, send: Send) -> None:
    """Serve one WebSocket connection that runs one command. When the client goes, the command is killed."""
    await receive()  # the connection's own first event
    await send({"type": "websocket.accept", "subprotocol": None, "headers": []})
    try:
        request = await _exec_request(receive)
        if request is None:
            return
        status = await _run(control, request, receive, send)
        if status is None:
            return
        await _send_text(send, {"exit": unstructure(status)})
    except Exception as err:
        await _send_text(send, {"error": problem_of(_told(err, "running a command"))})
    await send({"type": "websocket.close", "code": 1000, "reason": ""})


async def _run(control: Control, request: ExecRequest, receive: Receive, send: Send) -> ExitStatus | None:
    """Run the command to its end; None where the client has gone before."""
    opened = control.exec(request.instance, request.command, namespace=request.namespace, container=request.container)
    status = None
    async with opened as session, trio.open_nursery() as nursery:
        await _send_text(send, {"started": True})
        nursery.start_soon(_take_input, session, receive, nursery.cancel_scope)
        async with _closing(session.output()) as outputs:
            async for output in outputs:
                data = OUTPUT_MARKS[output.stream] + output.data
                await send({"type": "websocket.send", "bytes": data, "text": None})
        status = await session.wait()
        nursery.cancel_scope.cancel()
    return status


async def _exec_request(receive: Receive) -> ExecRequest | None:
    message: Any = await receive()
    if message["type"] == "websocket.disconnect":
        return None
    if message.get("text") is None:
        raise ConfigInvalid((Problem("the first message must be a text that says what to run"),))
    return from_json(message["text"].encode(), ExecRequest)


async def _take_input(session: ExecSession, receive: Receive, scope: trio.CancelScope) -> None:
    while True:
        message: Any = await receive()
        if message["type"] == "websocket.disconnect":
            scope.cancel()
            return
        if message.get("bytes") is not None:
            await session.send_stdin(message["bytes"])
        else:
            await session.close_stdin()


async def _cancel_on_disconnect(receive: Receive, scope: trio.CancelScope) -> None:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            scope.cancel()
            return


async def _cancel_on_end(ending: trio.Event, scope: trio.CancelScope) -> None:
    await ending.wait()
    await trio.sleep(_LAST_WORDS_SECONDS)
    scope.cancel()


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


def _line(value: object) -> bytes:
    return to_json(value) + b"\n"


async def _send_body(send: Send, body: bytes, *, more: bool) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def _send_text(send: Send, value: object) -> None:
    await send({"type": "websocket.send", "bytes": None, "text": to_json(value).decode()})
