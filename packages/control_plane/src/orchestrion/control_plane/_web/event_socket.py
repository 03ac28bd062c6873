"""What happens, over a WebSocket."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import trio
from attrs import define
from litestar import Router, WebSocket, websocket
from litestar.types import Receive, Send
from orchestrion.control_plane._access import ACCESS, Needs
from orchestrion.control_plane._cloud_events import SUBPROTOCOL
from orchestrion.control_plane._history.event import Position, parse_position
from orchestrion.control_plane._objects.kinds import EVENT
from orchestrion.control_plane._open_streams import OpenStreams
from orchestrion.control_plane._problems import problem_of
from orchestrion.control_plane._service.objects import Objects
from orchestrion.control_plane._service.owning import Owning
from orchestrion.control_plane._standing import Standing, always, standing_of
from orchestrion.control_plane._streams import REFUSED, close_reason
from orchestrion.shared_types import (
    Closed,
    Compacted,
    ConfigInvalid,
    OrchestrationError,
    Problem,
    TooManyRequests,
    Unavailable,
)

from .queries import AnyRequest
from .selecting import selection_of
from .watch_forms import CLOUD_LINES, LINES, WatchForm
from .watching import Watch, cancel_on_disconnect, cancel_on_end, time_limit

GOING_AWAY: Final = 1001
CUT: Final = 1013
"""Try again later (IANA, WebSocket Close Code Number Registry): the same may be answered then."""

_CUT_BY: Final = (Compacted, Unavailable, Closed, TooManyRequests)

_PARAMETERS: Final = frozenset({"namespace", "subject", "label_selector", "field_selector", "since", "timeout_seconds"})


def event_socket_handlers(objects: Objects, streams: OpenStreams) -> Router:
    """Return the handler of the WebSocket."""

    @websocket("/v1/events", opt={ACCESS: Needs("watch", EVENT.plural, query=("namespace",), narrowed=True)})
    async def events(socket: WebSocket[Any, Any, Any]) -> None:
        clouds = SUBPROTOCOL in socket.scope.get("subprotocols", ())
        form = CLOUD_LINES if clouds else LINES
        outlet = _Socket(socket.send, form, SUBPROTOCOL if clouds else None)
        receive: Receive = socket.receive
        await receive()  # the connection's own first event
        ended = True
        try:
            watch = _watch_of(objects, socket, form)
        except OrchestrationError as err:
            await outlet.refuse(err)
        else:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cancel_on_disconnect, receive, nursery.cancel_scope)
                nursery.start_soon(cancel_on_end, streams, nursery.cancel_scope)
                await watch.give(outlet, standing_of(socket.scope))
                ended = False
                nursery.cancel_scope.cancel()
        if not outlet.cut:
            code = GOING_AWAY if ended and streams.ending.is_set() else 1000
            await socket.send({"type": "websocket.close", "code": code, "reason": ""})

    return Router("/", route_handlers=[events], dto=None, return_dto=None)


def _watch_of(objects: Objects, socket: Any, form: WatchForm) -> Watch:
    request: AnyRequest = socket  # what is asked of it, a query and a scope, both have
    unknown = sorted(set(request.query_params.keys()) - _PARAMETERS)
    if unknown:
        raise ConfigInvalid(tuple(Problem("there is no such parameter here", path=name[:80]) for name in unknown[:10]))
    given = request.query_params.get("since", "")
    return Watch(
        objects,
        EVENT,
        request.query_params.get("namespace") or None,
        parse_position(given) if given else None,
        selection_of(request, EVENT, Owning(objects)),
        "status" in request.query_params.get("field_selector", ""),
        form,
        time_limit(request),
    )


@define(eq=False)
class _Socket:
    """A WebSocket that takes each event as a text."""

    send: Send
    form: WatchForm
    subprotocol: str | None
    cut: bool = False

    async def begin(self, _media_type: str, /) -> None:
        await self.send({"type": "websocket.accept", "subprotocol": self.subprotocol, "headers": []})

    async def give(self, parts: Iterable[bytes], standing: Standing, /) -> bool:
        any_given = False
        for part in parts:
            if part:
                standing()
                await self.send({"type": "websocket.send", "bytes": None, "text": part.decode().rstrip("\n")})
                any_given = True
        return any_given

    async def fail(self, error: OrchestrationError, known: Position | None, /) -> None:
        await self.give([self.form.error(problem_of(error), known)], always)
        self.cut = True
        code = CUT if isinstance(error, _CUT_BY) else REFUSED
        await self.send({"type": "websocket.close", "code": code, "reason": close_reason(error)})

    async def refuse(self, error: OrchestrationError, /) -> None:
        # Before it is accepted there is no text: the status alone would not say what is wrong.
        await self.begin("")
        await self.fail(error, None)
