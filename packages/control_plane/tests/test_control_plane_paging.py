"""A continue token leads to where its page ended, and only in the list that it was made for."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.control_plane._objects.paging import MAX_TOKEN_LENGTH, ContinueTokens, Position
from orchestrion.shared_types import ConfigInvalid

TOKENS = ContinueTokens(b"k" * 32)
QUERY: dict[str, Any] = {"kind": "Instance", "namespace": "default", "labels": "app=web", "fields": ""}
POSITIONS = st.builds(Position, st.integers(0, (1 << 63) - 1), st.text(max_size=20))


@given(POSITIONS, st.dictionaries(st.sampled_from("abc"), st.none() | st.text(max_size=3)))
def test_a_token_is_read_as_it_was_made(position: Position, query: dict[str, Any]) -> None:
    token = TOKENS.make(position, query)

    assert TOKENS.read(token, dict(reversed(list(query.items())))) == position
    assert re.fullmatch(r"[\w-]+", token, re.ASCII)


def test_the_same_position_gives_the_same_token() -> None:
    position = Position(7, "default/web-1")

    assert TOKENS.make(position, QUERY) == ContinueTokens(b"k" * 32).make(position, QUERY)


@pytest.mark.parametrize(
    "other",
    [{**QUERY, "namespace": "prod"}, {**QUERY, "labels": ""}, {**QUERY, "limit": 3}, {"kind": "Instance"}, {}],
    ids=str,
)
def test_a_token_of_another_query_is_refused(other: dict[str, Any]) -> None:
    token = TOKENS.make(Position(7, "default/web-1"), QUERY)

    with pytest.raises(ConfigInvalid, match="belongs to a list that was asked for in another way"):
        TOKENS.read(token, other)


def test_a_token_that_was_made_with_another_key_is_refused() -> None:
    token = ContinueTokens(b"K" * 32).make(Position(7, "default/web-1"), QUERY)

    with pytest.raises(ConfigInvalid, match="is not one that this server made"):
        TOKENS.read(token, QUERY)


def test_a_token_with_any_bit_turned_is_refused() -> None:
    token = TOKENS.make(Position(7, "default/web-1"), QUERY)
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))

    for bit in range(len(raw) * 8):
        turned = bytearray(raw)
        turned[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ConfigInvalid, match="is not one that this server made"):
            TOKENS.read(base64.urlsafe_b64encode(turned).rstrip(b"=").decode(), QUERY)


def test_a_token_has_one_form_only() -> None:
    # A key of a length at which the last letter has bits to spare, and one at which `=` would follow.
    for key in ("a", "ab", "abc"):
        token = TOKENS.make(Position(7, key), QUERY)
        same_bits = [
            token[:-1] + letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        ]
        assert token in same_bits
        for other in {*same_bits, token + "=", token + "==", token + "\n", " " + token, token[:-1]} - {token}:
            with pytest.raises(ConfigInvalid, match="is not one that this server made"):
                TOKENS.read(other, QUERY)


@given(st.text(max_size=80) | st.binary(max_size=80).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(ConfigInvalid, match=r"continue: .* is not one that this server made"):
        TOKENS.read(text, QUERY)


def test_a_token_that_is_too_long_is_neither_made_nor_read() -> None:
    with pytest.raises(ValueError, match="too long"):
        TOKENS.make(Position(7, "k" * MAX_TOKEN_LENGTH), QUERY)
    with pytest.raises(ConfigInvalid):
        TOKENS.read("A" * (MAX_TOKEN_LENGTH + 1), QUERY)


def test_a_key_that_can_be_guessed_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes or more"):
        ContinueTokens(b"k" * 31)


def test_revisions_are_numbers_from_zero() -> None:
    with pytest.raises(ValueError, match="must be"):
        Position(-1, "")
