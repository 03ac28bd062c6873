"""The table of tools, and calling one."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

import trio
from orchestrion.control_plane._problems import expected
from orchestrion.shared_types import ConfigInvalid, InternalError, OrchestrationError, Unavailable

from .acting import ACTING
from .desk import Desk
from .looking import LOOKING
from .messages import INVALID_PARAMS, RpcError
from .tool import content_of, cut

CALL_SECONDS: Final = 60.0
"""What takes longer is given up: whoever asks has given it up by then."""

_WITH_STRUCTURE: Final = "2025-06-18"
"""From this version on clients know of data beside texts."""

_WITH_SOFT_REFUSALS: Final = "2025-11-25"
"""From this version on, arguments that do not fit are told to the model, which can do better."""

TOOLS: Final = {tool.name: tool for tool in (*LOOKING, *ACTING)}

_log = logging.getLogger("orchestrion.control_plane")


async def list_tools(_desk: Desk) -> dict[str, Any]:
    """Return all tools. Whether who asks may use one is said when they do."""
    await trio.lowlevel.checkpoint()
    return {"tools": [tool.declared() for tool in TOOLS.values()]}


def changes_something(message: Any) -> bool:
    """Whether a message, or one of several, calls a tool that changes something."""
    if isinstance(message, list):
        return any(changes_something(each) for each in message)
    if not isinstance(message, dict) or message.get("method") != "tools/call":
        return False
    params = message.get("params")
    name = params.get("name") if isinstance(params, dict) else None
    tool = TOOLS.get(name) if isinstance(name, str) else None
    return tool is not None and tool.changes


async def call_tool(desk: Desk, params: Mapping[str, Any], version: str) -> dict[str, Any]:
    """Call a tool, and return what it gave, or why it did not do it.

    Raises:
        RpcError: There is no such tool, or the call is none.
    """
    name, arguments = params.get("name"), params.get("arguments", {})
    if not isinstance(name, str) or name not in TOOLS:
        raise RpcError(INVALID_PARAMS, f"there is no tool {name!r:.80}")
    if not isinstance(arguments, dict):
        raise RpcError(INVALID_PARAMS, "arguments: an object is wanted")
    tool = TOOLS[name]
    try:
        given = tool.checked(arguments)
    except ConfigInvalid as err:
        if version < _WITH_SOFT_REFUSALS:
            raise RpcError(INVALID_PARAMS, err.message) from err
        return _refused(err)
    try:
        with trio.move_on_after(CALL_SECONDS):
            return content_of(await tool.act(desk, given), structured=version >= _WITH_STRUCTURE)
    except Exception as err:
        error = expected(err, f"the tool {name}")
        if isinstance(error, InternalError):
            _log.error("%s", error.message, exc_info=err)
        desk.watcher.failed(error)
        return _refused(error)
    return _refused(Unavailable(f"{name} has not been answered for {CALL_SECONDS:g} s", remedy="Try it again later."))


def _refused(error: OrchestrationError) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": cut(f"{error.code}: {error}")}], "isError": True}
