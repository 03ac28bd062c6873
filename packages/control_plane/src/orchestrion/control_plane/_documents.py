"""A client of the object API: documents as plain data, as they are on the wire."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from attrs import field, frozen
from orchestrion.shared_types import ConfigInvalid, InternalError, OrchestrationError, Problem

from ._http import Answer, request
from ._peer import Peer
from ._problems import error_of

_MAX_LINE_BYTES: Final = 64 * 1024 * 1024


@frozen(kw_only=True)
class Reply:
    """What a request was answered with.

    Attributes:
        status: The HTTP status, one of success.
        headers: By names in lower case.
        data: The body: plain data, or text where it is no JSON.
    """

    status: int
    headers: Mapping[str, str] = field(factory=dict)
    data: Any = None


@frozen
class ApiClient:
    """Asks a peer for documents.

    What it raises is what the other side raised, the same class with the same text; beyond that, NetworkFailure where
    nobody answers or a connection is cut off.

    **Cancellation.** Indeterminate: the other side may have had the request.

    **Concurrency.** Any number of tasks may call any methods at once.

    Attributes:
        peer: Whom to ask.
    """

    peer: Peer

    async def ask(
        self,
        method: str,
        path: str,
        data: Any = None,
        /,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send a request, and return what it was answered with.

        Args:
            method: Such as "GET".
            path: With its escapes, without a query.
            data: The body, as plain data or as bytes; None is none.
            query: Parameters; None is left out.
            headers: More headers, by names in lower case, such as a content type.
        """
        body = None if data is None else _encoded(data)
        async with request(self.peer, method, path, query or {}, body, headers) as answer:
            text = await answer.read()
        if not answer.succeeded:
            raise _refusal(answer, text)
        return Reply(status=answer.status, headers=answer.headers, data=_read(answer, text))

    @asynccontextmanager
    async def lines(self, path: str, /, *, query: Mapping[str, Any] | None = None) -> AsyncIterator[AsyncIterator[Any]]:
        """Ask for a stream of lines of JSON, and give what each line holds.

        A line that tells of an error (`{"type": "ERROR"}`, as a watch has it) raises that.
        """
        async with request(self.peer, "GET", path, query or {}, None, {"accept": "application/x-ndjson"}) as answer:
            if not answer.succeeded:
                raise _refusal(answer, await answer.read())
            yield _Lines(answer)


class _Lines:
    """The lines of an answer. It can be dropped at any place, which a generator can't."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._rest = b""
        self._whole: list[bytes] = []

    def __aiter__(self) -> _Lines:
        return self

    async def __anext__(self) -> Any:
        while not self._whole:
            chunk = await anext(self._answer, b"")
            if not chunk or len(self._rest) > _MAX_LINE_BYTES:
                raise StopAsyncIteration
            *whole, self._rest = (self._rest + chunk).split(b"\n")
            self._whole = [line for line in whole if line][::-1]
        data = json.loads(self._whole.pop())
        if isinstance(data, dict) and data.get("type") == "ERROR":
            raise error_of(data.get("object") or {})
        return data


def _encoded(data: Any) -> bytes:
    if isinstance(data, bytes):
        return data
    try:
        return json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError as err:
        raise ConfigInvalid((Problem(f"not a text that can be sent: {err.object!r:.80}"),)) from err


def _read(answer: Answer, text: bytes) -> Any:
    if "json" not in answer.headers.get("content-type", ""):
        return text.decode(errors="replace")
    try:
        return json.loads(text)
    except ValueError as err:
        msg = f"the server's answer is not JSON: {text[:200]!r}"
        raise InternalError(msg, remedy="What answers there may be no server of Orchestrion.") from err


def _refusal(answer: Answer, text: bytes) -> OrchestrationError:
    try:
        document = json.loads(text)
    except ValueError:
        document = {}
    if isinstance(document, Mapping) and ("code" in document or "message" in document):
        return error_of(document)
    msg = f"the server refused the request (HTTP status {answer.status})"
    return InternalError(msg, remedy="What answers there may be no server of Orchestrion.")
