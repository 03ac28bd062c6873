"""Drawing keys, values, prefixes and histories. Use them for tests of your own store."""

from __future__ import annotations

from typing import Literal

from attrs import frozen
from hypothesis import strategies as st
from orchestrion.store_interface import MAX_KEY_BYTES

# Characters that sort differently as UTF-16 than by code point, that have several forms or cases, and that SQL, globs
# and paths treat in a way of their own.
_CHARACTERS = "ab/%_*?'\\ A\u00e9e\u0301\uff5e\uffff\U0001f600\U0010ffff\x01\n."

_FEW_KEYS = ("a", "a/", "a/b", "a/b/c", "aa", "b", "\u00e9", "\uffff", "\U0001f600", "A")


def keys() -> st.SearchStrategy[str]:
    """Draw keys, many of which begin with others."""
    texts = st.text(_CHARACTERS, min_size=1, max_size=6)
    anything = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=MAX_KEY_BYTES // 4)
    return st.one_of(st.sampled_from(_FEW_KEYS), texts, anything)


def few_keys() -> st.SearchStrategy[str]:
    """Draw from so few keys that they meet again."""
    return st.sampled_from(_FEW_KEYS)


def prefixes() -> st.SearchStrategy[str]:
    """Draw prefixes, some of which keys of `few_keys` have."""
    return st.sampled_from(("", "a", "a/", "a/b", "b", "\u00e9", "\U0001f600", "z"))


def values() -> st.SearchStrategy[bytes]:
    """Draw values, also empty ones."""
    return st.binary(max_size=12)


@frozen
class WriteStep:
    """Write.

    Attributes:
        how: By a call of `put` or `delete` where that can do it, or by a transaction.
        operations: Different keys, each with a value, or None to delete it.
        leases: For each, the number of the lease to put it under, or None.
        expect: What to expect of the first key's revision, or nothing.
    """

    how: Literal["call", "transaction"]
    operations: tuple[tuple[str, bytes | None], ...]
    leases: tuple[int | None, ...]
    expect: Literal["right", "wrong", "absent"] | None


@frozen
class ReadStep:
    """Read and compare. `back` revisions ago, or beyond what has happened where negative."""

    prefix: str
    key: str
    limit: int | None
    start_after: str | None
    back: int


@frozen
class LeaseStep:
    """Do something with the lease of that number."""

    what: Literal["grant", "keep", "revoke"]
    number: int
    ttl_seconds: float


@frozen
class SleepStep:
    """Let an even number of seconds pass."""

    seconds: int


@frozen
class CompactStep:
    """Compact to `back` revisions ago."""

    back: int


@frozen
class WatchStep:
    """Begin a watch of what happened since `back` revisions ago."""

    prefix: str
    back: int


Step = WriteStep | ReadStep | LeaseStep | SleepStep | CompactStep | WatchStep


@st.composite
def write_steps(draw: st.DrawFn) -> WriteStep:
    """Draw a write."""
    touched = draw(st.lists(few_keys(), min_size=1, max_size=4, unique=True))
    operations = tuple((key, draw(st.none() | values())) for key in touched)
    leases = tuple(draw(st.none() | st.integers(0, 2)) for _ in touched)
    how: Literal["call", "transaction"] = "call" if len(touched) == 1 and draw(st.booleans()) else "transaction"
    expectations: tuple[Literal["right", "wrong", "absent"] | None, ...] = (None, None, "right", "wrong", "absent")
    return WriteStep(how, operations, leases, draw(st.sampled_from(expectations)))


def histories(*kinds: type[Step], time: bool) -> st.SearchStrategy[list[Step]]:
    """Draw histories of up to 30 steps.

    Args:
        kinds: The steps to draw from; none are all.
        time: Whether time may pass; if so leases are so short that they end. A clock that jumps is a good idea then.
    """
    lengths = (2.5, 4.5, 8.5) if time else (3_600.5,)
    strategies: dict[type[Step], st.SearchStrategy[Step]] = {
        WriteStep: write_steps(),
        ReadStep: st.builds(
            ReadStep,
            prefix=prefixes(),
            key=few_keys(),
            limit=st.none() | st.integers(1, 4),
            start_after=st.none() | few_keys(),
            back=st.integers(-1, 6),
        ),
        LeaseStep: st.builds(
            LeaseStep,
            what=st.sampled_from(("grant", "grant", "keep", "revoke")),
            number=st.integers(0, 2),
            ttl_seconds=st.sampled_from(lengths),
        ),
        CompactStep: st.builds(CompactStep, back=st.integers(-1, 4)),
        WatchStep: st.builds(WatchStep, prefix=prefixes(), back=st.integers(-1, 5)),
    }
    if time:
        strategies[SleepStep] = st.builds(SleepStep, seconds=st.sampled_from((2, 4, 10)))
    drawn = [strategy for kind, strategy in strategies.items() if not kinds or kind in kinds]
    step = st.one_of(strategies[WriteStep], *drawn)
    return st.one_of(st.lists(step, max_size=8), st.lists(step, min_size=8, max_size=30))
