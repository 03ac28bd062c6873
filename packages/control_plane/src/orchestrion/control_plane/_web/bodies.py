"""What the bodies of requests say."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, Final

import trio
from orchestrion.control_plane._limits import LaneSize, Seats
from orchestrion.control_plane._objects.json_patch import apply_patch
from orchestrion.control_plane._objects.json_values import check_size, measure
from orchestrion.control_plane._objects.merge_patch import merge_patch
from orchestrion.shared_types import ConfigInvalid, Problem
from orchestrion.shared_types.manifest import MAX_BYTES, MAX_DEPTH, MAX_NODES, plain_documents

from .caller import APPLY_JSON, APPLY_YAML, caller_of, media_type_of
from .off_loop import read_json
from .queries import AnyRequest

MERGE_PATCH: Final = "application/merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"
YAML: Final = "application/yaml"

PATCH_TYPES: Final[Mapping[str, str]] = {
    MERGE_PATCH: "MergePatch",
    JSON_PATCH: "JsonPatch",
    APPLY_JSON: "Part",
    APPLY_YAML: "Part",
}
"""The forms of a patch, and the names of their schemas."""


_AT_ONCE_BYTES: Final = 8_192
"""YAML up to this size is read at once; what takes longer is read in a thread, so that nobody waits for it."""

_READING: Final = Seats(LaneSize(each=1, all=2, queue=8, queue_seconds=30))


async def body_of(request: AnyRequest) -> Any:
    """Return a request's body as plain data.

    Raises:
        ConfigInvalid: It is no JSON, or it is too large or too deep.
    """
    body = await request.body()
    try:
        plain = _loaded(body.decode())
    except (ValueError, RecursionError) as err:
        raise ConfigInvalid((Problem(f"the body is no JSON: {err}"),)) from err
    check_size(plain, "the body")
    return plain


def _loaded(text: str) -> Any:
    found = json.loads(text, parse_constant=_no_number, parse_float=_finite, object_pairs_hook=_each_once)
    if "\\u" in text:
        # An escape can make half of a surrogate pair, a text that could never be written again.
        json.dumps(found, ensure_ascii=False).encode()
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        _no_number(text)
    return number


def _no_number(word: str) -> float:
    msg = f"{word:.80} is no number of JSON"
    raise ValueError(msg)


async def documents_of(request: AnyRequest) -> list[Any]:
    """Return the documents that a request's body holds, YAML or JSON, as plain data.

    Raises:
        ConfigInvalid: It is neither, or it is too large or too deep.
        TooManyRequests: Too many large ones are being read.
    """
    body = await request.body()
    found = await read_json(body, _as_json, caller_of(request).subject) if body[:1] in (b"{", b"[") else None
    if found is not None:
        return [found]
    if len(body) <= _AT_ONCE_BYTES:
        return plain_documents(body)
    async with _READING.taken(caller_of(request).subject):
        return await trio.to_thread.run_sync(plain_documents, body)


def _as_json(body: bytes) -> Any:
    """Return what a body says that is JSON, which is read many times faster; None where it is not, or may be refused.

    Who reads YAML, of which JSON is a part, says what is wrong with it.
    """
    if body[:1] not in (b"{", b"[") or len(body) > MAX_BYTES:
        return None
    try:
        found = _loaded(body.decode())
    except (ValueError, RecursionError):
        return None
    count, depth = measure(found, enough=MAX_NODES)
    return found if count <= MAX_NODES and depth < MAX_DEPTH else None


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen = set[str]()
        for name, _ in pairs:
            if name in seen:
                msg = f"the key {name!r:.80} is there twice"
                raise ValueError(msg)
            seen.add(name)
    return found


def is_apply(request: AnyRequest) -> bool:
    """Whether a patch is a part that is applied."""
    return media_type_of(request) in (APPLY_JSON, APPLY_YAML)


async def part_of(request: AnyRequest) -> Any:
    """Return the part that a request applies.

    Raises:
        ConfigInvalid: It can't be read.
    """
    if media_type_of(request) == APPLY_JSON:
        return await body_of(request)
    documents = await documents_of(request)
    if len(documents) != 1:
        raise ConfigInvalid((Problem(f"one document is wanted, not {len(documents)}"),))
    return documents[0]


async def edit_of(request: AnyRequest) -> Callable[[Any], Any]:
    """Return the change that a patch makes.

    Raises:
        ConfigInvalid: It is no patch that is known.
    """
    data, media_type = await body_of(request), media_type_of(request)
    if media_type == JSON_PATCH:
        return lambda document: apply_patch(document, data)
    if media_type in (MERGE_PATCH, "application/json"):
        return lambda document: merge_patch(document, data)
    text = f"a patch is {', '.join(PATCH_TYPES)}, not {media_type!r:.80}"
    raise ConfigInvalid((Problem(text, path="Content-Type"),))
