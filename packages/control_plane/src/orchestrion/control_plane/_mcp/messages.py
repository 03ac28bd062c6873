"""JSON-RPC 2.0, as the Model Context Protocol uses it: what a message is, and what is wrong with one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
SERVER_ERROR: Final = -32000
RESOURCE_NOT_FOUND: Final = -32002

MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024
"""The longest message: a manifest of the largest size, with room for how a text is written in JSON."""

RequestId = str | int

Message = dict[str, Any]


class RpcError(Exception):
    """A request that is answered with an error.

    Attributes:
        code: The number that says what kind of error it is.
        message: One sentence for people.
        data: More, as plain JSON data, or None.
    """

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


@frozen
class Call:
    """A request, or a notification, which has no id and no answer.

    Attributes:
        method: What is wanted.
        params: With what.
        request_id: Whose answer is whose; None for a notification.
    """

    method: str
    params: Mapping[str, Any]
    request_id: RequestId | None


def decode(data: bytes) -> Any:
    """Return the JSON value of a message.

    Raises:
        RpcError: It is none.
    """
    if len(data) > MAX_MESSAGE_BYTES:
        raise RpcError(PARSE_ERROR, f"a message has at most {MAX_MESSAGE_BYTES} bytes")
    try:
        value = json.loads(data, parse_constant=_refuse_constant)
        if b"\\u" in data:
            # Half of a pair of surrogates is no text, and could be neither stored nor sent.
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as err:
        raise RpcError(PARSE_ERROR, f"no JSON: {err}") from err
    return value


def encode(message: Any) -> bytes:
    """Return a message as one line, without its end."""
    return json.dumps(message, separators=(",", ":")).encode()


def read_call(message: Any) -> Call | None:
    """Return what a message asks for; None where it is an answer, of which none is expected.

    Raises:
        RpcError: It is no message.
    """
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        raise RpcError(INVALID_REQUEST, 'a message is an object with "jsonrpc": "2.0"')
    if "method" not in message and ("result" in message or "error" in message):
        return None
    method, params = message.get("method"), message.get("params", {})
    if not isinstance(method, str):
        raise RpcError(INVALID_REQUEST, "method: a text is wanted")
    if not isinstance(params, dict):
        raise RpcError(INVALID_PARAMS, "params: an object is wanted")
    if "id" not in message:
        return Call(method, params, None)
    request_id = id_of(message)
    if request_id is None:
        raise RpcError(INVALID_REQUEST, "id: a text or a whole number is wanted")
    return Call(method, params, request_id)


def id_of(message: Any) -> RequestId | None:
    """Return the id of a message, if it has one that can be used."""
    found = message.get("id") if isinstance(message, dict) else None
    return found if isinstance(found, str | int) and not isinstance(found, bool) else None


def success(request_id: RequestId, result: Mapping[str, Any]) -> Message:
    """Return the answer to a request."""
    return {"jsonrpc": "2.0", "id": request_id, "result": result}


def failure(request_id: RequestId | None, error: RpcError) -> Message:
    """Return the answer to a request that failed; without an id to one that could not be read."""
    told: Message = {"code": error.code, "message": error.message}
    if error.data is not None:
        told["data"] = error.data
    return {"jsonrpc": "2.0", "id": request_id, "error": told}


def _refuse_constant(name: str) -> Any:
    msg = f"{name} is no number of JSON"
    raise ValueError(msg)
