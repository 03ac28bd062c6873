"""Answers that are bytes already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from attrs import frozen
from litestar.types import Receive, Scope, Send
from orchestrion.control_plane._history.event import Item
from orchestrion.control_plane._objects.kinds import Kind
from orchestrion.shared_types import to_json, unstructure

JSON: Final = "application/json"


@frozen
class Raw:
    """An answer, as an ASGI application."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    media_type: str = JSON

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send it."""
        headers = [
            (b"content-type", self.media_type.encode()),
            (b"cache-control", b"no-store"),
            (b"content-length", b"%d" % len(self.body)),
            *self.headers,
        ]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


def object_answer(item: Item, *, status: int = 200, location: str = "") -> Raw:
    """Return an answer that is one object, with its revision as the ETag."""
    headers = [(b"etag", b'"%d"' % item.revision)]
    if location:
        headers.append((b"location", location.encode()))
    return Raw(status, item.data, tuple(headers))


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
