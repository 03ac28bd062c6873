"""Which request is being answered: told by its answer, by problem documents and by what is logged meanwhile."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Final

from attrs import define

_TRACEPARENT: Final = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
"""W3C Trace Context, section 3.2; a version that is not known may have more behind what this one has."""


@define(eq=False)
class AtRequest:
    """A request while it is being answered.

    Attributes:
        request_id: What tells it from others.
        trace_id: What it is a part of, in several programs: the id of its trace, or its own id where it has none.
        over: Whether it was answered. What was begun for it and goes on is no part of it.
    """

    request_id: str
    trace_id: str
    over: bool = False


_AT: ContextVar[AtRequest | None] = ContextVar("orchestrion.request", default=None)


def at_request() -> AtRequest | None:
    """Return the request that is being answered here, or None."""
    found = _AT.get()
    return None if found is None or found.over else found


class answering:  # noqa: N801 - it is used as a function that gives a context, and is a class because that is quicker
    """Be at a request while inside."""

    __slots__ = ("_before", "_request")

    def __init__(self, request: AtRequest, /) -> None:
        """Take the request."""
        self._request = request

    def __enter__(self) -> AtRequest:
        """Begin, and give the request."""
        self._before = _AT.set(self._request)
        return self._request

    def __exit__(self, *_: object) -> None:
        """End; the request is over."""
        self._request.over = True
        _AT.reset(self._before)


def trace_id_of(headers: Iterable[tuple[bytes, bytes]], /) -> str:
    """Return the id of the trace that a request says it is part of; empty where it says none, or two."""
    given = [value for name, value in headers if name == b"traceparent"]
    if not given:
        return ""
    match = _TRACEPARENT.fullmatch(given[0]) if len(given) == 1 else None
    if match is None or (match[2] is not None and given[0].startswith(b"00")):
        return ""
    return match[1].decode()
