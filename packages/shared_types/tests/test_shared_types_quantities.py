"""Quantities are read exactly, or refused in words; what is written is read back."""

from __future__ import annotations

import contextlib
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from orchestrion.shared_types import (
    MAX_AMOUNT,
    ConfigInvalid,
    format_bytes,
    format_cpu,
    format_duration,
    parse_bytes,
    parse_cpu,
    parse_duration,
)
from orchestrion.shared_types._container import MAX_SECONDS


@pytest.mark.parametrize(
    ("written", "millicores"),
    [
        ("0.5", 500),
        ("500m", 500),
        ("2", 2000),
        (2, 2000),
        (0.1, 100),
        ("0.001", 1),
        ("1e1", 10000),
        ("0", 0),
        (".5", 500),
    ],
)
def test_cores_are_read(written: str | float, millicores: int) -> None:
    assert parse_cpu(written) == millicores


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("1024", 1024),
        (1024, 1024),
        ("256Mi", 256 * 2**20),
        ("1.5G", 1_500_000_000),
        ("1k", 1000),
        ("1Ki", 1024),
        ("1M", 10**6),
        ("1Gi", 2**30),
        ("1T", 10**12),
        ("1Ti", 2**40),
        ("1P", 10**15),
        ("1Pi", 2**50),
        ("1.1k", 1100),
        ("0.5Ki", 512),
        (1e3, 1000),
        (Decimal("12"), 12),
    ],
)
def test_bytes_are_read(written: str | float, amount: int) -> None:
    assert parse_bytes(written) == amount


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("1s", 1),
        ("500ms", 0.5),
        ("2m", 120),
        ("1h30m", 5400),
        ("1d", 86400),
        ("1.5", 1.5),
        (3, 3),
        (0.1, 0.1),
        ("0", 0),
        ("1h0.5s", 3600.5),
        ("100ms", 0.1),
        ("1e2", 100),
    ],
)
def test_durations_are_read(written: str | float, seconds: float) -> None:
    assert parse_duration(written) == seconds


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("-1", "negative"),
        (-0.5, "negative"),
        ("0.0001", "a fraction of a millicore"),
        ("0.5m", "a fraction of a millicore"),
        ("two", "is wanted, not 'two'"),
        ("", "is wanted, not ''"),
        ("1k", "units are m"),
        ("1 m", "is wanted"),
        ("9" * 41, "is wanted"),
        ("1e999", "too large"),
        ("1e30", "more than can be counted"),
        (float("nan"), "is wanted"),
        (float("inf"), "is wanted"),
        (10**200, "bits"),
        (True, "is wanted"),
        (None, "is wanted"),
        ("٣", "is wanted"),
    ],
)
def test_what_is_no_amount_of_cores_is_refused(written: object, hint: str) -> None:
    with pytest.raises(ConfigInvalid, match=hint):
        parse_cpu(written)  # type: ignore[arg-type] # that is the point


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("500m", "m is a thousandth; M is a million, Mi is 1024"),
        ("256MB", "did you mean M or Mi?"),
        ("1gb", "did you mean G or Gi?"),
        ("1K", "did you mean k or Ki?"),
        ("1.0001k", "a fraction of a byte"),
        ("1E", "units are k, M"),
        ("-1Mi", "negative"),
        ("99999999P", "more than can be counted"),
    ],
)
def test_what_is_no_amount_of_bytes_is_refused(written: str, hint: str) -> None:
    with pytest.raises(ConfigInvalid, match=hint):
        parse_bytes(written)


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("", "empty"),
        ("-1s", "negative"),
        ("1x", "units are d, h, m, s, ms"),
        ("1m1h", "the longer before the shorter"),
        ("1s1s", "each unit once"),
        ("1h30", "units are"),
        ("10000d", "longer than a year"),
        ("1e99h", "too large"),
        ("s", "is wanted"),
        (float("inf"), "is wanted"),
    ],
)
def test_what_is_no_duration_is_refused(written: str | float, hint: str) -> None:
    with pytest.raises(ConfigInvalid, match=hint):
        parse_duration(written)


@given(st.integers(0, MAX_AMOUNT))
def test_written_cores_are_read_back(amount: int) -> None:
    assert parse_cpu(format_cpu(amount)) == amount


@given(st.integers(0, MAX_AMOUNT) | st.builds(lambda n, p: n * 1024**p, st.integers(0, 999), st.integers(0, 5)))
def test_written_bytes_are_read_back(amount: int) -> None:
    assert parse_bytes(format_bytes(amount)) == amount


@given(st.floats(0, MAX_SECONDS) | st.integers(0, 10**7).map(lambda n: n / 1000))
@example(5e-324)
@example(0.1)
@example(MAX_SECONDS)
def test_written_durations_are_read_back(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (5400, "1h30m"), (0.5, "500ms"), (1.5, "1.5s"), (90061, "1d1h1m1s"), (0.0005, "0.0005s")],
)
def test_durations_are_written_as_people_do(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "0"), (1024, "1Ki"), (1000, "1k"), (2**28, "256Mi"), (1_500_000_000, "1500M"), (1025, "1025")],
)
def test_bytes_are_written_as_people_do(amount: int, text: str) -> None:
    assert format_bytes(amount) == text


@given(st.integers(0, 10**9), st.integers(0, 9), st.sampled_from(["", "k", "Ki", "M", "Mi", "G", "Gi"]))
def test_no_rounding_comes_between_the_text_and_the_bytes(whole: int, digits: int, unit: str) -> None:
    text = f"{whole}.{whole % 10**digits:0{digits}d}" if digits else str(whole)
    size = {"": 1, "k": 1000, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}[unit]
    exact = Fraction(text) * size

    if exact.denominator == 1 and exact <= MAX_AMOUNT:
        assert parse_bytes(text + unit) == exact
    else:
        with pytest.raises(ConfigInvalid, match=r"fraction|more than"):
            parse_bytes(text + unit)


@given(st.text(max_size=8))
def test_nothing_but_config_invalid_comes_out(text: str) -> None:
    for parse in (parse_cpu, parse_bytes, parse_duration):
        with contextlib.suppress(ConfigInvalid):
            assert parse(text) >= 0
