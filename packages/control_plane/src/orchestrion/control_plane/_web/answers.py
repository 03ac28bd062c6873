"""Answers that are bytes already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from attrs import evolve, frozen
from litestar.types import Receive, Scope, Send
from orchestrion.control_plane._history.event import Item
from orchestrion.control_plane._objects.kinds import Kind
from orchestrion.shared_types import to_json, unstructure

JSON: Final = "application/json"
ETAG: Final = b"etag"

_NOT_MODIFIED: Final = 304


@frozen
class Raw:
    """An answer, as an ASGI application."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    media_type: str = JSON

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send it."""
        headers = [(b"cache-control", b"no-store"), *self.headers]
        if self.status != _NOT_MODIFIED:  # whose length would be taken for that of what the client has
            headers = [
                (b"content-type", self.media_type.encode()),
                (b"content-length", b"%d" % len(self.body)),
                *headers,
            ]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


def object_answer(item: Item, *, status: int = 200, location: str = "") -> Raw:
    """Return an answer that is one object, with what tells it from itself at other times as the ETag."""
    headers = [(ETAG, b'"%b"' % item.tag.encode())]
    if location:
        headers.append((b"location", location.encode()))
    return Raw(status, item.data, tuple(headers))


def read_answer(scope: Any, item: Item) -> Raw:
    """Return the answer to who reads one object: nothing but its ETag to who says to have just that already."""
    known = [value for name, value in scope["headers"] if name == b"if-none-match"]
    answer = object_answer(item)
    if known and _is_among(known, answer.headers[0][1]):
        return Raw(_NOT_MODIFIED, b"", answer.headers)
    return answer


def _is_among(known: Sequence[bytes], etag: bytes) -> bool:
    """Whether `If-None-Match` names an ETag; whether weakly makes no difference here (RFC 9110, 13.1.2)."""
    given = [each.strip() for value in known for each in value.split(b",")]
    return b"*" in given or etag in [each.removeprefix(b"W/") for each in given]


def without_etag(answer: Raw) -> Raw:
    """Return an answer that shows what is not there, as that of a dry run: nobody is to ask for it again."""
    return evolve(answer, headers=tuple(each for each in answer.headers if each[0] != ETAG))


def list_answer(kind: Kind, items: Sequence[Item], revision: int, token: str) -> Raw:
    """Return an answer that is a page of objects; the token asks for the next one, and is empty at the end."""
    more = f',"continue":"{token}"' if token else ""
    head = f'{{"kind":"{kind.name}List","metadata":{{"revision":{revision}{more}}},"items":['
    return Raw(200, head.encode() + b",".join([item.data for item in items]) + b"]}")


def value_answer(value: Any, *, status: int = 200) -> Raw:
    """Return an answer that is a value of ours, as it is in the store."""
    return Raw(status, to_json(unstructure(value)))


def items_answer(values: Sequence[Any]) -> Raw:
    """Return an answer that is several values."""
    return value_answer({"items": [unstructure(value) for value in values]})
