"""Did you mean: the nearest of the words that would have been accepted."""

from __future__ import annotations

from collections.abc import Iterable

_LONGEST = 80
_MANY = 300
_SHOWN = 20


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """Return the choice that `word` was most likely meant to be, or None where none is close."""
    from difflib import get_close_matches  # here, because only errors need it and every command pays for imports

    lower = word.lower()[:_LONGEST]
    by_lower = {choice.lower(): choice for choice in choices}
    if len(by_lower) > _MANY:
        # Comparing is slow, and a document can name thousands of things: only what begins alike is compared.
        by_lower = {key: choice for key, choice in by_lower.items() if key[:1] == lower[:1]}
    found = get_close_matches(lower, list(by_lower)[:_MANY], n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def unknown(what: str, word: str, choices: Iterable[str]) -> str:
    """Return the sentence that `word` is not known as a `what`, with the nearest of `choices`, or else all of them."""
    choices = sorted(choices)
    guess = nearest(word, choices)
    if guess is not None:
        return f"unknown {what} {word!r:.80}; did you mean {guess!r}?"
    if not choices:
        return f"unknown {what} {word!r:.80}; there is none here"
    more = f" and {len(choices) - _SHOWN} more" if len(choices) > _SHOWN else ""
    return f"unknown {what} {word!r:.80}; known: {', '.join(choices[:_SHOWN])}{more}"
