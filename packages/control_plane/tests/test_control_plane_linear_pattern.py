"""Patterns match what they say, as `re` says it, and in time that nobody can blow up."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.control_plane._objects.linear_pattern import LinearPattern, linear_pattern

LETTERS = st.sampled_from(["a", "b", "-", ".", "[ab]", "[^a]", "[a-]", r"\d", r"\W", r"\-", r"[\d-]"])
PATTERNS = st.recursive(
    LETTERS | st.sampled_from(["^", "$", ""]),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda options: f"(?:{'|'.join(options)})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,}", "{0,2}", "*?"])).map(
            lambda pair: f"({pair[0]}){pair[1]}"
        ),
    ),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("", "", True),
        ("b", "abc", True),
        ("^b", "abc", False),
        ("b$", "abc", False),
        ("^abc$", "abc", True),
        ("^$", "", True),
        ("^$", "a", False),
        ("a$b", "ab", False),
        ("b^a", "ba", False),
        ("^a|b$", "xb", True),
        ("^(a|b)$", "xb", False),
        ("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "web-1", True),
        ("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "web-", False),
        ("^.{3}$", "aé😀", True),
        ("^.$", "\n", False),
        ("^[^]$", "\n", True),
        ("[]", "a", False),
        (r"^\u{1F600}\u0041\x42$", "😀AB", True),
        (r"^[\b\t]\t$", "\b\t", True),
        (r"^\s$", "\u00a0", True),
        (r"^\d$", "٣", False),
        (r"^\w$", "é", False),
        (r"^\W\S\D$", "é!x", True),
        (r"^a{2,3}$", "aaaa", False),
        (r"^(ab){2}$", "abab", True),
        (r"^[a\-z]$", "-", True),
        (r"^[\]\\]$", "\\", True),
        (r"^\$\{\}$", "${}", True),
    ],
)
def test_a_pattern_is_found_as_ecma_262_says(pattern: str, text: str, found: bool) -> None:
    assert LinearPattern(pattern).search(text) is found


@pytest.mark.slow
@given(PATTERNS, st.lists(st.text("ab-1\n", max_size=6), max_size=4))
def test_a_pattern_is_found_where_re_finds_it(pattern: str, texts: list[str]) -> None:
    linear = LinearPattern(pattern)
    same = re.compile(pattern.replace("$", r"\Z"), re.ASCII)

    assert [linear.search(text) for text in texts] == [same.search(text) is not None for text in texts]


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("a)", r"without its '\(' \(at 2"),
        ("(a", r"a '\)' is missing"),
        ("[a", "ends too early"),
        ("a\\", "ends too early"),
        ("*", "nothing that '\\*' repeats"),
        ("a**", "nothing that '\\*' repeats"),
        ("a{2}{3}", "nothing that '{' repeats"),
        ("a{x}", "nothing that '{' repeats"),
        ("a]", r"write '\\\]'"),
        ("^*", "can't be repeated"),
        ("a{3,2}", "out of order"),
        ("a{1001}", "more than 1,000 times"),
        ("[z-a]", "out of order"),
        (r"[\d-z]", "from one character to another"),
        (r"(a)\1", "back references"),
        (r"\bword", "boundaries"),
        (r"\p{L}", "is not known here"),
        ("(?=a)", "linear time"),
        ("(?<!a)", "linear time"),
        ("(?P<n>a)", "linear time"),
        (r"\u{110000}", "no such character"),
        ("a" * 513, "at most 512 characters"),
        ("(" * 33 + ")" * 33, "more than 32 levels"),
        ("(a{1000}){1000}", "more than 2,000 parts"),
        ("(((((){1000}){1000}){1000}){1000}){1000}", "more than 2,000 parts"),
    ],
)
def test_what_can_not_be_read_or_done_is_refused(pattern: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        LinearPattern(pattern)


@given(st.text("a(|)*[]{}1,^$\\d?:-", max_size=12), st.text("a1", max_size=5))
def test_any_text_is_a_pattern_or_refused(pattern: str, text: str) -> None:
    try:
        linear = LinearPattern(pattern)
    except ValueError:
        pass
    else:
        assert linear.search(text) in (True, False)


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|a)*$", "^(a|aa)+$", "^(a?){50}a{50}$", "(x+x+)+y", "^(.*.*)*$"])
def test_patterns_that_blow_up_others_take_their_time_and_no_more(pattern: str) -> None:
    text = "a" * 2_000 + "!" if pattern != "(x+x+)+y" else "x" * 2_000
    linear = LinearPattern(pattern)
    before = time.process_time()

    found = linear.search(text)

    assert found is (pattern == "^(.*.*)*$")
    assert time.process_time() - before < 2, "by trying all ways this would take longer than the world is old"


def test_what_is_kept_of_searches_is_bounded() -> None:
    linear = LinearPattern("^.*b$")

    for code in range(0x4E00, 0x4E00 + 5_000):
        assert not linear.search(chr(code) * 2)

    assert len(linear._kept) * linear.size <= 20_000 + linear.size
    assert linear_pattern("^.*b$") is linear_pattern("^.*b$")
