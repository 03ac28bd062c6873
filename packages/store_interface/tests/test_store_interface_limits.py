"""Arguments are checked alike for all stores, and a refusal says what to do."""

from __future__ import annotations

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.shared_types import Conflict, NotFound, OrchestrationError, StateFailure
from orchestrion.store_interface import (
    ABSENT,
    MAX_KEY_BYTES,
    MAX_LEASE_SECONDS,
    MAX_OPERATIONS,
    MAX_VALUE_BYTES,
    MIN_LEASE_SECONDS,
    Compare,
    Delete,
    FutureRevision,
    InvalidRequest,
    LeaseNotFound,
    Put,
    RevisionConflict,
    check_key,
    check_page,
    check_prefix,
    check_transaction,
    check_ttl,
    check_value,
)


@pytest.mark.parametrize("key", ["a", "/", "\x01", "\U0001f600" * 256, "k" * MAX_KEY_BYTES, "a b\n"])
def test_keys_of_1_to_1024_bytes_are_accepted(key: str) -> None:
    check_key(key)
    check_prefix(key)


@pytest.mark.parametrize("text", ["a\0", "\ud800", "k" * (MAX_KEY_BYTES + 1), "\u00e9" * (MAX_KEY_BYTES // 2) + "k"])
def test_what_can_begin_no_key_is_refused(text: str) -> None:
    for check in (check_key, check_prefix):
        with pytest.raises(InvalidRequest) as raised:
            check(text)
        assert raised.value.remedy
        str(raised.value).encode()


def test_the_empty_text_is_a_prefix_and_no_key() -> None:
    check_prefix("")
    with pytest.raises(InvalidRequest, match="empty"):
        check_key("")


@given(st.text())
def test_any_text_is_a_key_or_an_invalid_request(text: str) -> None:
    try:
        check_key(text)
    except InvalidRequest:
        assert (
            not text
            or "\0" in text
            or not 1 <= len(text.encode(errors="replace")) <= MAX_KEY_BYTES
            or not _encodes(text)
        )
    else:
        assert 1 <= len(text.encode()) <= MAX_KEY_BYTES
        assert "\0" not in text


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def test_values_have_a_mebibyte_at_most() -> None:
    check_value("a", b"")
    check_value("a", b"v" * MAX_VALUE_BYTES)
    with pytest.raises(InvalidRequest, match=r"'a' has 1048577 bytes; a value has at most 1048576"):
        check_value("a", b"v" * (MAX_VALUE_BYTES + 1))


def test_pages_have_a_limit_of_1_or_more_or_none() -> None:
    for limit in (None, 1, 10**9):
        check_page(limit, "x\0")
    with pytest.raises(InvalidRequest, match="limit is 0"):
        check_page(0, None)
    with pytest.raises(InvalidRequest, match="start_after"):
        check_page(None, "\ud800")


@pytest.mark.parametrize("ttl", [MIN_LEASE_SECONDS, 1, MAX_LEASE_SECONDS])
def test_leases_of_1_second_to_1_day_are_accepted(ttl: float) -> None:
    check_ttl(ttl)


@pytest.mark.parametrize("ttl", [0.0, -1.0, 0.999, MAX_LEASE_SECONDS + 1, inf, -inf, nan])
def test_leases_of_other_lengths_are_refused(ttl: float) -> None:
    with pytest.raises(InvalidRequest, match=r"it can be 1\.0 to 86400\.0"):
        check_ttl(ttl)


def test_transactions_have_128_compares_and_operations_at_most() -> None:
    compares = [Compare(f"{n}", ABSENT) for n in range(MAX_OPERATIONS + 1)]
    operations = [Put(f"{n}", b"") for n in range(MAX_OPERATIONS + 1)]
    check_transaction(compares[:-1], operations[:-1])
    with pytest.raises(InvalidRequest, match="129 compares"):
        check_transaction(compares, [])
    with pytest.raises(InvalidRequest, match="129 operations"):
        check_transaction([], operations)


def test_transactions_have_one_operation_per_key() -> None:
    check_transaction([Compare("a", ABSENT), Compare("a", ABSENT)], [Put("a", b""), Delete("b")])
    with pytest.raises(InvalidRequest, match="two operations on 'a'"):
        check_transaction([], [Put("a", b""), Delete("a")])


def test_transactions_have_good_keys_and_values_only() -> None:
    for operation in (Put("", b""), Delete("\0"), Put("a", b"v" * (MAX_VALUE_BYTES + 1))):
        with pytest.raises(InvalidRequest):
            check_transaction([], [operation])
    with pytest.raises(InvalidRequest):
        check_transaction([Compare("", ABSENT)], [])


def test_a_conflict_says_what_is_and_what_was_expected() -> None:
    error = RevisionConflict("a", expected=3, actual=0)
    assert str(error) == "key 'a' is absent, not at revision 3 as expected"
    assert isinstance(error, Conflict)


def test_errors_are_of_the_families_that_callers_handle() -> None:
    assert issubclass(InvalidRequest, ValueError)
    assert issubclass(InvalidRequest, StateFailure)
    assert issubclass(FutureRevision, InvalidRequest)
    assert issubclass(LeaseNotFound, NotFound)
    codes = [error.code for error in _families(OrchestrationError) if error.__module__.startswith("orchestrion.store_")]
    assert len(set(codes)) == len(codes) >= 9


def _families(error: type[OrchestrationError]) -> set[type[OrchestrationError]]:
    return {error}.union(*(_families(below) for below in error.__subclasses__()))
