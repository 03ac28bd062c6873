"""Paging: the token that a page of a list ends with, and that asks for the next one.

A token names a revision and a place in the list, and is authenticated: nobody can make one up to read elsewhere, or to
be given a page that no list would have. It says nothing that its holder has not seen.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any, Final

from attrs import field, frozen, validators
from orchestrion.shared_types import ConfigInvalid, Problem

MIN_KEY_BYTES: Final = 32
MAX_TOKEN_LENGTH: Final = 4_096
"""The longest token, in characters: room for a key of some 3,000 bytes."""

_FORM: Final = b"\x01"
_REVISION_BYTES: Final = 8
_QUERY_BYTES: Final = 16
_PROOF_BYTES: Final = 16
_HEAD_BYTES: Final = len(_FORM) + _REVISION_BYTES + _QUERY_BYTES
_PURPOSE: Final = b"orchestrion continue token\x00"


@frozen
class Position:
    """Where a page ended.

    Attributes:
        revision: The store's revision that all pages of the list are read at, >= 0.
        last_key: The key of the last object of the page; the next page starts after it.
    """

    revision: int = field(validator=[validators.ge(0), validators.lt(1 << 63)])
    last_key: str


class ContinueTokens:
    """Makes and reads continue tokens.

    All servers that share a state use the same key, so that each can read what another made; with a new key, tokens
    made before are refused, and their lists start anew.
    """

    def __init__(self, key: bytes, /) -> None:
        """Take the key that tokens are authenticated with: `MIN_KEY_BYTES` random bytes or more.

        Raises:
            ValueError: The key is too short.
        """
        if len(key) < MIN_KEY_BYTES:
            raise ValueError(f"a key of {MIN_KEY_BYTES} bytes or more is wanted, not of {len(key)}")
        self._key = key

    def make(self, position: Position, query: Mapping[str, Any], /) -> str:
        """Return the token that continues a list after a position.

        Args:
            position: Where the page ended.
            query: What the list was asked for (kind, namespace, selectors), as plain JSON data, without what may
                differ from page to page, such as the limit.

        Returns:
            Text of letters, digits, `-` and `_`.

        Raises:
            ValueError: The last key is so long that nobody could read the token.
        """
        body = b"".join(
            (_FORM, position.revision.to_bytes(_REVISION_BYTES, "big"), _digest(query), position.last_key.encode())
        )
        token = base64.urlsafe_b64encode(body + self._proof(body)).rstrip(b"=").decode()
        if len(token) > MAX_TOKEN_LENGTH:
            raise ValueError("the key is too long for a token")
        return token

    def read(self, token: str, query: Mapping[str, Any], /) -> Position:
        """Return the position that a token continues after.

        Args:
            token: What `make` returned.
            query: What the list is asked for now.

        Raises:
            ConfigInvalid: The token was not made with this key, was changed, or belongs to another query.
        """
        raw = _decoded(token)
        body, proof = raw[:-_PROOF_BYTES], raw[-_PROOF_BYTES:]
        if len(body) < _HEAD_BYTES or not hmac.compare_digest(proof, self._proof(body)) or body[:1] != _FORM:
            raise _refused("the continue token is not one that this server made")
        if body[len(_FORM) + _REVISION_BYTES : _HEAD_BYTES] != _digest(query):
            raise _refused("the continue token belongs to a list that was asked for in another way")
        revision = int.from_bytes(body[len(_FORM) : len(_FORM) + _REVISION_BYTES], "big")
        return Position(revision, body[_HEAD_BYTES:].decode())

    def _proof(self, body: bytes) -> bytes:
        return hmac.digest(self._key, _PURPOSE + body, "sha256")[:_PROOF_BYTES]


def _digest(query: Mapping[str, Any]) -> bytes:
    text = json.dumps(dict(query), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).digest()[:_QUERY_BYTES]


def _decoded(token: str) -> bytes:
    """Return the bytes of a token; none where it has not the one form that `make` gives them."""
    if not 0 < len(token) <= MAX_TOKEN_LENGTH:
        return b""
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
    return raw if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() == token else b""


def _refused(message: str) -> ConfigInvalid:
    return ConfigInvalid((Problem(message, "continue"),), remedy="Ask for the first page again.")
