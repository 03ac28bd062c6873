"""Rates: what is let in is what a plain token bucket lets in, and what is said about waiting is true."""

from __future__ import annotations

from fractions import Fraction

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.control_plane._limits import Rate, RateLimiter


@define
class PlainBucket:
    """Tokens that come back with time, counted exactly."""

    rate: Rate
    tokens: Fraction = field(init=False)
    at: Fraction = Fraction(0)

    def __attrs_post_init__(self) -> None:
        self.tokens = Fraction(self.rate.burst)

    def take(self, now: Fraction, count: int) -> Fraction:
        gained = (now - self.at) * Fraction(self.rate.per_second)
        self.tokens, self.at = min(Fraction(self.rate.burst), self.tokens + gained), now
        if self.tokens >= count:
            self.tokens -= count
            return Fraction(0)
        return (count - self.tokens) / Fraction(self.rate.per_second)


# Powers of two, so that floats are exact and the two can be compared digit by digit.
RATES = st.builds(Rate, st.sampled_from([0.25, 1.0, 8.0, 64.0]), st.integers(1, 8))
STEPS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 256), st.integers(1, 8)), max_size=60)


@pytest.mark.slow
@given(RATES, STEPS)
def test_it_lets_in_what_a_plain_bucket_does(rate: Rate, steps: list[tuple[str, int, int]]) -> None:
    limiter, buckets, now = RateLimiter(rate), {name: PlainBucket(rate) for name in "abc"}, Fraction(0)
    for who, passed, count in steps:
        now += Fraction(passed, 64)
        asked = min(count, rate.burst)
        assert limiter.take(who, float(now), count=asked) == buckets[who].take(now, asked)


@given(st.floats(0.01, 1e5), st.integers(1, 1000), st.lists(st.floats(0, 10), max_size=30))
def test_who_waits_for_as_long_as_was_said_is_let_in(per_second: float, burst: int, pauses: list[float]) -> None:
    limiter, now = RateLimiter(Rate(per_second, burst)), 1000.0
    for pause in pauses:
        now += pause
        wait = limiter.take("a", now, count=burst)
        if wait:
            assert limiter.take("a", now + wait / 2, count=burst) > 0
            now += wait
            assert limiter.take("a", now, count=burst) == 0


def test_each_has_a_bucket_of_its_own() -> None:
    limiter = RateLimiter(Rate(1, 1))
    assert [limiter.take(who, 0.0) for who in "aabb"] == [0.0, 1.0, 0.0, 1.0]


def test_who_is_refused_loses_nothing_by_asking() -> None:
    limiter = RateLimiter(Rate(1, 1))
    limiter.take("a", 0.0)
    for _ in range(100):
        assert limiter.take("a", 0.5) == 0.5
    assert limiter.take("a", 1.0) == 0.0


def test_who_has_rested_is_forgotten() -> None:
    limiter = RateLimiter(Rate(10, 5))
    for number in range(10_000):
        limiter.take(f"who-{number}", number / 100)
    assert len(limiter) <= 11


def test_ever_new_names_get_no_more_than_one_when_there_are_too_many() -> None:
    limiter = RateLimiter(Rate(1, 2), limit=100)
    let_in = sum(limiter.take(f"who-{number}", 0.0) == 0.0 for number in range(10_000))
    assert (let_in, len(limiter)) == (102, 101)
    assert limiter.take("who-5", 0.0) == 0.0  # who is known keeps its own
    assert limiter.take("who-9999", 0.0) == 1.0


@pytest.mark.parametrize(("per_second", "burst"), [(0, 1), (-1, 1), (1, 0)])
def test_what_can_be_no_rate_is_refused(per_second: float, burst: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        Rate(per_second, burst)
