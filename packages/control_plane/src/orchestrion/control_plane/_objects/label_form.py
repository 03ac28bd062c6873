"""What labels and taints may be: what selectors and tolerations can name, and no longer than people read.

The rules are those of Kubernetes, "Labels and Selectors", section "Syntax and character set"
(https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/), so that files can be taken over; keys and
values of taints are of the same form there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from orchestrion.shared_types import ConfigInvalid, Problem, Taint

from .json_values import place

MAX_LABEL_LENGTH: Final = 63
"""In characters, of a value, and of a key without its prefix."""

MAX_PREFIX_LENGTH: Final = 253
"""In characters, of what is before the slash of a key."""

_MAX_PROBLEMS: Final = 10
_WORD: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?")
_DOMAIN: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")
_FORM: Final = (
    f"1 to {MAX_LABEL_LENGTH} letters, digits, '-', '_' and '.' are wanted, with a letter or a digit first and last"
)


def check_labels(labels: Mapping[str, str], before: Mapping[str, str]) -> None:
    """Make sure that labels are some; those that have been there before may stay as they are.

    Args:
        labels: What is wanted.
        before: Those that there are.

    Raises:
        ConfigInvalid: One has a key or a value that can't be.
    """
    problems = list[Problem]()
    for key, value in labels.items():
        if before.get(key) == value:
            continue
        wrong = _wrong_key(key, "label") or _wrong_value(value, "label")
        if wrong:
            problems.append(Problem(wrong, path=place("metadata", "labels", key)))
        if len(problems) == _MAX_PROBLEMS:
            break
    if problems:
        raise ConfigInvalid(tuple(problems), remedy="What is free text belongs into the annotations.")


def check_taint(taint: Taint, path: str) -> None:
    """Make sure that a taint is of the form of a label.

    Args:
        taint: What is wanted.
        path: Where it is.

    Raises:
        ConfigInvalid: Its key or its value can't be.
    """
    for part, wrong in (("key", _wrong_key(taint.key, "taint")), ("value", _wrong_value(taint.value, "taint"))):
        if wrong:
            raise ConfigInvalid((Problem(wrong, path=f"{path}.{part}"),))


def _wrong_key(key: str, of: str) -> str:
    """Return what is wrong with the key of a label or a taint; empty if nothing is."""
    prefix, slash, name = key.rpartition("/")
    if not _is_word(name):
        return f"{key!r:.80} is no key of a {of}: {_FORM}, and before a slash at most a domain"
    if slash and (len(prefix) > MAX_PREFIX_LENGTH or not _DOMAIN.fullmatch(prefix)):
        text = f"a domain of at most {MAX_PREFIX_LENGTH} lower-case letters, digits, '-' and '.' is wanted"
        return f"{prefix!r:.80} is no prefix of a {of}: {text}"
    return ""


def _wrong_value(value: str, of: str) -> str:
    """Return what is wrong with the value of a label or a taint; empty if nothing is."""
    if value and not _is_word(value):
        return f"{value!r:.80} is no value of a {of}: {_FORM}, or nothing"
    return ""


def _is_word(text: str) -> bool:
    return len(text) <= MAX_LABEL_LENGTH and _WORD.fullmatch(text) is not None
