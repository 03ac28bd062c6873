"""What the interface allows as arguments: implementations call these, so that all refuse the same in the same words."""

from __future__ import annotations

from collections.abc import Sequence

from ._errors import InvalidRequest
from ._types import (
    MAX_KEY_BYTES,
    MAX_LEASE_SECONDS,
    MAX_OPERATIONS,
    MAX_VALUE_BYTES,
    MIN_LEASE_SECONDS,
    Compare,
    Operation,
    Put,
)


def check_key(key: str, /) -> None:
    """Raise `InvalidRequest` unless this is a key."""
    if not key:
        msg = "a key can't be empty"
        raise InvalidRequest(msg, remedy=f"give it 1 to {MAX_KEY_BYTES} bytes")
    _check_text("key", key)


def check_prefix(prefix: str, /) -> None:
    """Raise `InvalidRequest` unless a key could begin with this."""
    _check_text("prefix", prefix)


def check_value(key: str, value: bytes, /) -> None:
    """Raise `InvalidRequest` unless this is a value; `key` is named in the error."""
    if len(value) > MAX_VALUE_BYTES:
        msg = f"the value of {_short(key)} has {len(value)} bytes; a value has at most {MAX_VALUE_BYTES}"
        raise InvalidRequest(msg, remedy="keep it elsewhere and put its place, or divide it among several keys")


def check_page(limit: int | None, start_after: str | None, /) -> None:
    """Raise `InvalidRequest` unless these are valid arguments of `StateStore.list`."""
    if limit is not None and limit < 1:
        msg = f"a list's limit is {limit}; it must be at least 1"
        raise InvalidRequest(msg, remedy="leave it out for no limit")
    if start_after is not None:
        _encode("start_after", start_after)


def check_transaction(compares: Sequence[Compare], operations: Sequence[Operation], /) -> None:
    """Raise `InvalidRequest` unless these are valid arguments of `StateStore.transaction`."""
    for what, count in (("compares", len(compares)), ("operations", len(operations))):
        if count > MAX_OPERATIONS:
            msg = f"a transaction has {count} {what}; it can have at most {MAX_OPERATIONS}"
            raise InvalidRequest(msg, remedy="divide it into several, each safe by itself")
    for compare in compares:
        check_key(compare.key)
    seen: set[str] = set()
    for operation in operations:
        check_key(operation.key)
        if operation.key in seen:
            msg = f"a transaction has two operations on {_short(operation.key)}; it can have one"
            raise InvalidRequest(msg, remedy="leave out the one that is to be overwritten")
        seen.add(operation.key)
        if isinstance(operation, Put):
            check_value(operation.key, operation.value)


def check_ttl(ttl_seconds: float, /) -> None:
    """Raise `InvalidRequest` unless this is a lease's length."""
    if not MIN_LEASE_SECONDS <= ttl_seconds <= MAX_LEASE_SECONDS:
        msg = f"a lease of {ttl_seconds} seconds was asked for; it can be {MIN_LEASE_SECONDS} to {MAX_LEASE_SECONDS}"
        raise InvalidRequest(msg, remedy="ask for a length in that range, and keep the lease alive")


def _check_text(what: str, text: str) -> None:
    size = len(text) if text.isascii() else _encode(what, text)
    if size > MAX_KEY_BYTES:
        msg = f"the {what} {_short(text)} has {size} bytes in UTF-8; a key has at most {MAX_KEY_BYTES}"
        raise InvalidRequest(msg, remedy="shorten it")
    if "\0" in text:
        msg = f"the {what} {_short(text)} contains NUL, which no key does"
        raise InvalidRequest(msg, remedy="leave it out")


def _encode(what: str, text: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError as err:
        msg = f"the {what} {_short(text)} can't be encoded in UTF-8"
        raise InvalidRequest(msg, remedy="use text without surrogates") from err


def _short(text: str) -> str:
    return ascii(text if len(text) <= 64 else f"{text[:61]}...")  # a log must be able to hold what is quoted
