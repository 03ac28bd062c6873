"""A client of the object API: documents as plain data, as they are on the wire."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from attrs import field, frozen
from orchestrion.shared_types import ConfigInvalid, Problem

from ._answers import check_shape, document_of, foreign, is_json, refusal_of
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
        expects: Mapping[str, type] | None = None,
        may_be_text: bool = False,
    ) -> Reply:
        """Send a request, and return what it was answered with.

        Args:
            method: Such as "GET".
            path: With its escapes, without a query.
            data: The body, as plain data or as bytes; None is none.
            query: Parameters; None is left out.
            headers: More headers, by names in lower case, such as a content type.
            expects: Keys that the answer has to have, and the types of their values.
            may_be_text: Whether the answer need not be JSON.

        Raises:
            NetworkFailure: What answers is no orchestrator, or answers something else than is expected.
        """
        body = None if data is None else _encoded(data)
        async with request(self.peer, method, path, query or {}, body, headers) as answer:
            text = await answer.read()
        if answer.succeeded and may_be_text and not is_json(answer):
            return Reply(status=answer.status, headers=answer.headers, data=text.decode(errors="replace"))
        read = document_of(self.peer, answer, text)
        check_shape(self.peer, answer, read, expects or {})
        return Reply(status=answer.status, headers=answer.headers, data=read)

    @asynccontextmanager
    async def lines(self, path: str, /, *, query: Mapping[str, Any] | None = None) -> AsyncIterator[AsyncIterator[Any]]:
        """Ask for a stream of lines of JSON, and give what each line holds.

        A line that tells of an error (`{"type": "ERROR"}`, as a watch has it) raises that.
        """
        async with request(self.peer, "GET", path, query or {}, None, {"accept": "application/x-ndjson"}) as answer:
            if not answer.succeeded:
                raise refusal_of(self.peer, answer, await answer.read())
            if not is_json(answer):
                raise foreign(self.peer, answer)
            yield _Lines(self.peer, answer)


class _Lines:
    """The lines of an answer. It can be dropped at any place, which a generator can't."""

    def __init__(self, peer: Peer, answer: Answer) -> None:
        self._peer = peer
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
        try:
            data = json.loads(self._whole.pop())
        except ValueError as err:
            raise foreign(self._peer, self._answer, "a line is no JSON") from err
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
