"""What the audit log has of each thing that was done or tried, and how a line of it is chained to the one before."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from attrs import frozen

NO_HASH: Final = "0" * 64
"""What the first record has in the place of its predecessor's hash."""

MAX_TEXT: Final = 1024
"""The most characters of a field; of longer ones the beginning is kept."""

TORN_MARK: Final = b"#torn "
_HASH_END = re.compile(rb',"hash":"([0-9a-f]{64})"\}')
_HASH_END_BYTES: Final = len(b',"hash":""}') + 64


class Outcome(StrEnum):
    """How it ended."""

    DONE = "done"
    DENIED = "denied"
    """Who asked was known, and may not."""
    UNAUTHENTICATED = "unauthenticated"
    FAILED = "failed"


@frozen
class AuditRecord:
    """One thing that was done or tried.

    Attributes:
        at: When (UTC).
        principal: Who, as `Principal.subject`.
        via: How that was known, as `Principal.via`.
        verb: What.
        resource: With what kind of object.
        namespace: Where; empty for what is cluster-wide.
        name: Which; empty for none in particular.
        from_revision: The object's revision before; 0 where there was none or it was not changed.
        to_revision: The object's revision after; 0 where it was removed or not changed.
        outcome: How it ended.
        reason: Why it was allowed or not.
        request_id: What tells the request from others in logs and traces.
        source: The address it came from.
        count: Of how many things it tells: what is refused to who is not known is summed up.
    """

    at: datetime
    principal: str
    verb: str
    resource: str
    outcome: Outcome
    via: str = ""
    namespace: str = ""
    name: str = ""
    from_revision: int = 0
    to_revision: int = 0
    reason: str = ""
    request_id: str = ""
    source: str = ""
    count: int = 1


@frozen
class Head:
    """The last record of a log. Kept elsewhere, it proves later that nothing before it was taken away or changed.

    Attributes:
        sequence: The record's number, from 1; 0 of an empty log.
        hash: The record's hash.
    """

    sequence: int = 0
    hash: str = NO_HASH


def line_of(record: AuditRecord, head: Head, /) -> tuple[bytes, Head]:
    """Return a record's line after `head`, with its line break, and the head that it is then."""
    fields: dict[str, Any] = {
        "seq": head.sequence + 1,
        "at": record.at.astimezone(UTC).isoformat(),
        "principal": record.principal,
        "via": record.via,
        "verb": record.verb,
        "resource": record.resource,
        "namespace": record.namespace,
        "name": record.name,
        "from": record.from_revision,
        "to": record.to_revision,
        "outcome": record.outcome.value,
        "reason": record.reason,
        "request": record.request_id,
        "source": record.source,
    }
    if record.count != 1:
        fields["count"] = record.count
    return _chained({key: _cut(value) for key, value in fields.items()}, head)


def marker_of(torn: bytes, at: datetime, head: Head, /) -> tuple[bytes, Head]:
    """Return what completes a line that a crash has torn: the line is then a record that says so.

    If it is torn itself, what there is then is a longer torn line, which is completed in the same way.
    """
    fields = {
        "seq": head.sequence + 1,
        "at": at.astimezone(UTC).isoformat(),
        "torn_bytes": len(torn),
        "torn_sha256": hashlib.sha256(torn).hexdigest(),
    }
    line, after = _chained(fields, head)
    return TORN_MARK + line, after


def next_head(line: bytes, head: Head, /) -> tuple[Head, bool]:
    """Return the head after a line without its line break, and whether it is one that was torn.

    Raises:
        ValueError: It is not the record that follows `head`; the text says why.
    """
    torn, mark, rest = line.rpartition(TORN_MARK)
    if mark:
        try:
            fields, after = _read(rest)
        except ValueError:
            mark = b""  # the words are in a field of an ordinary record
        else:
            if fields.get("torn_bytes") != len(torn) or fields.get("torn_sha256") != hashlib.sha256(torn).hexdigest():
                msg = "the remains of a torn record were changed"
                raise ValueError(msg)
    if not mark:
        fields, after = _read(line)
    if after.sequence != head.sequence + 1:
        msg = f"record {head.sequence + 1} is missing; there is {after.sequence} in its place"
        raise ValueError(msg)
    if fields.get("prev") != head.hash:
        msg = "it does not follow the record before, which is another one than there was"
        raise ValueError(msg)
    return after, bool(mark)


def head_before(line: bytes, /) -> Head:
    """Return the head that a line says it follows.

    Raises:
        ValueError: It is no record.
    """
    fields, after = _read(line.rpartition(TORN_MARK)[2] if TORN_MARK in line else line)
    return Head(after.sequence - 1, str(fields.get("prev")))


def _chained(fields: dict[str, Any], head: Head) -> tuple[bytes, Head]:
    body = json.dumps({**fields, "prev": head.hash}, separators=(",", ":")).encode()
    own = hashlib.sha256(body).hexdigest()
    return body[:-1] + f',"hash":"{own}"}}\n'.encode(), Head(head.sequence + 1, own)


def _read(line: bytes) -> tuple[dict[str, Any], Head]:
    match = _HASH_END.fullmatch(line[-_HASH_END_BYTES:])
    body = line[:-_HASH_END_BYTES] + b"}"
    if match is None or hashlib.sha256(body).hexdigest().encode() != match[1]:
        msg = "it was changed, or is no record"
        raise ValueError(msg)
    fields = json.loads(body)
    if not isinstance(fields, dict) or not isinstance(fields.get("seq"), int):
        msg = "it is no record"
        raise ValueError(msg)
    return fields, Head(fields["seq"], match[1].decode())


def _cut(value: Any) -> Any:
    return value if not isinstance(value, str) or len(value) <= MAX_TEXT else f"{value[: MAX_TEXT - 3]}..."
