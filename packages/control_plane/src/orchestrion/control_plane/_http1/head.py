"""The head of a request (RFC 9112), read strictly: what could be read in two ways is refused."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from attrs import frozen

MAX_HEAD_BYTES: Final = 32_768
MAX_TARGET_BYTES: Final = 8_192
MAX_FIELDS: Final = 100

_REQUEST_LINE = re.compile(rb"([A-Z]{1,20}) ([!-~]+) HTTP/1\.([01])")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([^\x00-\x08\x0a-\x1f\x7f]*)")
_LENGTH = re.compile(rb"[0-9]{1,15}")
_ABSOLUTE = re.compile(rb"https?://([^/?#@]+)(.*)", re.IGNORECASE)
_HEX = re.compile(rb"%(?![0-9A-Fa-f]{2})")

Fields = list[tuple[bytes, bytes]]


class BadRequest(Exception):
    """What came is no request that can be answered; the connection is of no use any more.

    Attributes:
        status: What is answered.
    """

    def __init__(self, status: int, why: str) -> None:
        """Take what is answered, and why."""
        super().__init__(why)
        self.status = status


@frozen
class Head:
    """The head of a request.

    Attributes:
        method: In capitals.
        raw_path: The path as it was sent.
        path: The path with its escapes undone.
        query: As it was sent, without the question mark.
        minor: 1 for HTTP/1.1, 0 for HTTP/1.0.
        fields: Header fields in their order, names in lower case.
        length: The bytes of the body; None where it comes in chunks.
        keeps_alive: Whether another request may follow.
        upgrade: What the client wants to change to, in lower case; empty for nothing.
        waits: Whether the client waits to be told to go on before it sends the body.
    """

    method: str
    raw_path: bytes
    path: str
    query: bytes
    minor: int
    fields: Fields
    length: int | None
    keeps_alive: bool
    upgrade: bytes
    waits: bool


def read_head(data: bytes, /) -> Head:
    """Read a head.

    Args:
        data: All of it, without the empty line at its end.

    Raises:
        BadRequest: It is none.
    """
    line, *lines = data.split(b"\r\n")
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise BadRequest(505 if b" HTTP/" in line and b" HTTP/1." not in line else 400, "no request line")
    method, target, minor = match[1], match[2], 1 if match[3] == b"1" else 0
    if len(target) > MAX_TARGET_BYTES:
        raise BadRequest(414, "the target is too long")
    if len(lines) > MAX_FIELDS:
        raise BadRequest(431, "too many header fields")
    fields: Fields = []
    known: dict[bytes, bytes] = {}
    for line in lines:
        match = _FIELD.fullmatch(line)
        if match is None:
            raise BadRequest(400, "no header field")
        name, value = match[1].lower(), match[2].strip(b" \t")
        fields.append((name, value))
        if name in _ONCE:
            if name in known:
                raise BadRequest(400, f"more than one {name.decode()}")
            known[name] = value
        elif name in _LISTS:
            known[name] = known[name] + b"," + value if name in known else value
    if minor and b"host" not in known:
        raise BadRequest(400, "no host")
    raw_path, query = _target(target, known.get(b"host"))
    path = _path(raw_path)
    length = _length(known, minor)
    connection = _words(known[b"connection"]) if b"connection" in known else ()
    upgrade = known.get(b"upgrade", b"").lower() if b"upgrade" in connection else b""
    waits = False
    if b"expect" in known:
        if known[b"expect"].lower() != b"100-continue":
            raise BadRequest(417, "an expectation that is not known")
        waits = bool(minor) and length != 0
    return Head(
        method.decode(),
        raw_path,
        path,
        query,
        minor,
        fields,
        length,
        bool(minor) and b"close" not in connection,
        upgrade,
        waits,
    )


_ONCE: Final = frozenset(
    {b"host", b"content-length", b"transfer-encoding", b"expect", b"authorization", b"content-type"}
)
_LISTS: Final = frozenset({b"connection", b"upgrade"})


def _target(target: bytes, host: bytes | None) -> tuple[bytes, bytes]:
    absolute = None if target.startswith(b"/") else _ABSOLUTE.fullmatch(target)
    if absolute is not None:
        if host is not None and absolute[1].lower() != host.lower():
            raise BadRequest(400, "target and host are not the same")
        target = absolute[2] if absolute[2].startswith(b"/") else b"/" + absolute[2]
    if not target.startswith(b"/") or b"#" in target:
        raise BadRequest(400, "no target")
    raw_path, _, query = target.partition(b"?")
    return raw_path, query


def _path(raw: bytes) -> str:
    if b"%" not in raw:
        return raw.decode()
    if _HEX.search(raw):
        raise BadRequest(400, "an escape that is none")
    try:
        path = unquote_to_bytes(raw).decode()
    except UnicodeDecodeError as err:
        raise BadRequest(400, "a path that is no text") from err
    if not path.isprintable():
        raise BadRequest(400, "a path with what is no text")
    return path


def _length(known: dict[bytes, bytes], minor: int) -> int | None:
    if b"transfer-encoding" in known:
        # Beside a length, or of an old client, this is how requests are smuggled past whoever reads it otherwise.
        if b"content-length" in known or not minor:
            raise BadRequest(400, "a length that can be read in two ways")
        if known[b"transfer-encoding"].lower() != b"chunked":
            raise BadRequest(501, "a transfer coding that is not known")
        return None
    text = known.get(b"content-length", b"0")
    if not _LENGTH.fullmatch(text):
        raise BadRequest(400, "no length")
    return int(text)


def _words(value: bytes) -> tuple[bytes, ...]:
    return tuple(word.strip().lower() for word in value.split(b","))
