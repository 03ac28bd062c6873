"""A command in a container, by way of a websocket that a page opens."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from typing import Any

from litestar.types import Receive, Send
from orchestrion.control_plane._control import Control
from orchestrion.control_plane._standing import Standing
from orchestrion.control_plane._streams import serve_exec
from orchestrion.shared_types import ConfigInvalid, OrchestrationError, Problem

from .keeper import TERMINAL_PROTOCOL


async def serve_terminal(
    control: Control,
    namespace: str,
    instance: str,
    standing: Standing,
    receive: Receive,
    send: Send,
    *,
    protocol: bool = False,
    failed: Callable[[OrchestrationError], None] | None = None,
) -> None:
    """Serve one websocket that runs one command, until the command ends, the page goes, or its right is over.

    What it runs in is said by the address alone, for which the page's rights were checked; the first message says the
    rest: `{"command": "...", "container": NAME or null, "terminal": {"rows": N, "columns": N} or null}`. The command is
    a line as for a shell, of which quotes and backslashes say where its words begin and end; all else is up to the
    command. With a size it runs at a terminal, and later texts `{"resize": {...}}` give that another size; where the
    runtime has no terminals, that is the answer, and the page may ask again without.

    Args:
        control: Runs it.
        namespace: Of the instance.
        instance: In which it runs.
        standing: Says whether the page's session and its right go on; else the command is killed, and the page is told.
        receive: Gives what comes from the page.
        send: Takes what goes to the page.
        protocol: Whether the page has named protocols, of which one has to be named in turn.
        failed: Is told what goes wrong; see `serve_exec`.
    """
    begun = False

    async def checked() -> Any:
        nonlocal begun
        received: Any = await receive()
        if not begun and received["type"] == "websocket.receive" and received.get("text") is not None:
            begun = True
            received = {**received, "text": json.dumps(_request(received["text"], namespace, instance))}
        return received

    async def named(message: Any) -> None:
        if protocol and message["type"] == "websocket.accept":
            message = {**message, "subprotocol": TERMINAL_PROTOCOL}
        await send(message)

    given = {"namespace": namespace, "instance": instance}
    await serve_exec(control, checked, named, given, standing=standing, failed=failed)


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
        "command": _words(asked.get("command")),
        "container": asked.get("container"),
        "terminal": asked.get("terminal"),
    }


def _words(line: object) -> object:
    if not isinstance(line, str):
        return line
    try:
        return shlex.split(line)
    except ValueError as err:
        raise ConfigInvalid((Problem(f"the line is no command: {err}", path="command"),)) from err
