"""A command in a container, by way of a websocket that a page opens."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import trio
from litestar.types import Receive, Send
from orchestrion.control_plane._control import Control
from orchestrion.control_plane._standing import LOOK_SECONDS
from orchestrion.control_plane._streams import serve_exec

from .sight import Sight


async def serve_terminal(
    control: Control,
    namespace: str,
    instance: str,
    sight_now: Callable[[], Sight | None],
    receive: Receive,
    send: Send,
) -> None:
    """Serve one websocket that runs one command, until the command ends, the page goes, or its right is over.

    What it runs in is said by the address alone, for which the page's rights were checked; the first message says the
    rest: `{"command": [...], "container": NAME or null}`.
    """
    begun = False

    async def checked() -> Any:
        nonlocal begun
        received: Any = await receive()
        if not begun and received["type"] == "websocket.receive" and received.get("text") is not None:
            begun = True
            received = {**received, "text": json.dumps(_request(received["text"], namespace, instance))}
        return received

    async with trio.open_nursery() as nursery:
        nursery.start_soon(_end_with_session, sight_now, nursery.cancel_scope)
        await serve_exec(control, checked, send, {"namespace": namespace, "instance": instance})
        nursery.cancel_scope.cancel()


def _request(text: str, namespace: str, instance: str) -> dict[str, Any]:
    try:
        asked = json.loads(text)
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        asked = {}
    return {
        "instance": instance,
        "namespace": namespace,
        "command": asked.get("command"),
        "container": asked.get("container"),
    }


async def _end_with_session(sight_now: Callable[[], Sight | None], scope: trio.CancelScope) -> None:
    while sight_now() is not None:  # noqa: ASYNC110 - a session ends by the clock too, of which nothing tells
        await trio.sleep(LOOK_SECONDS)
    scope.cancel()
