"""Priorities with names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from attrs import field, frozen, validators

from ._ids import is_name
from ._suggest import unknown

LOWEST_PRIORITY: Final = -(2**31)
HIGHEST_PRIORITY: Final = 2**31 - 1


def _check_name(_instance: object, _attribute: object, name: str) -> None:
    if not is_name(name):
        msg = f"{name!r:.80} can't name a priority class"
        raise ValueError(msg)


@frozen(kw_only=True)
class PriorityClass:
    """A priority with a name.

    Attributes:
        name: As a workload names it; see `is_name`.
        value: The priority of its workloads: higher goes first; -2^31 to 2^31-1.
        preempts: Whether its workloads may push out instances of lower priority where there is no room otherwise.
        description: What it is for.
    """

    name: str = field(validator=_check_name)
    value: int = field(validator=[validators.ge(LOWEST_PRIORITY), validators.le(HIGHEST_PRIORITY)])
    preempts: bool = True
    description: str = ""


DEFAULT_PRIORITY_CLASS: Final = PriorityClass(
    name="production-medium", value=50_000, description="What is not said to be of another class."
)
PRIORITY_CLASSES: Final = (
    PriorityClass(name="system-critical", value=2_000_000_000, description="What the cluster can't be without."),
    PriorityClass(name="system-high", value=1_000_000_000, description="What serves the cluster itself."),
    PriorityClass(name="production-high", value=100_000, description="What users notice at once."),
    DEFAULT_PRIORITY_CLASS,
    PriorityClass(name="batch", value=10_000, preempts=False, description="Work that can wait for room."),
    PriorityClass(name="best-effort", value=0, preempts=False, description="What runs on what is left."),
)
"""The standard classes, highest first."""


def find_priority_class(name: str, classes: Iterable[PriorityClass] = PRIORITY_CLASSES, /) -> PriorityClass:
    """Return the class of that name.

    Raises:
        ValueError: There is none; the text names the nearest.
    """
    known = {each.name: each for each in classes}
    if name not in known:
        raise ValueError(unknown("priority class", name, known))
    return known[name]


def priority_class_of(
    priority: int, classes: Iterable[PriorityClass] = PRIORITY_CLASSES, /, *, preempts: bool
) -> PriorityClass | None:
    """Return the first class that stands for just this, or None."""
    return next((each for each in classes if each.value == priority and each.preempts == preempts), None)
