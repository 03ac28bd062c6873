"""Did you mean: the nearest of the words that would have been accepted."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """Return the choice that `word` was most likely meant to be, or None where none is close."""
    from difflib import get_close_matches  # here, because only errors need it and every command pays for imports

    by_lower = {choice.lower(): choice for choice in choices}
    found = get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def unknown(what: str, word: str, choices: Iterable[str]) -> str:
    """Return the sentence that `word` is not known as a `what`, with the nearest of `choices`, or else all of them."""
    choices = sorted(choices)
    guess = nearest(word, choices)
    if guess is not None:
        return f"unknown {what} {word!r:.80}; did you mean {guess!r}?"
    if not choices:
        return f"unknown {what} {word!r:.80}; none is accepted here"
    return f"unknown {what} {word!r:.80}; accepted: {', '.join(choices)}"
