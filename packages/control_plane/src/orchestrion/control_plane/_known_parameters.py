"""Queries that have only what is heeded: what is passed over would be missed."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from orchestrion.shared_types import ConfigInvalid, Problem

_SHOWN: Final = 10


def check_known(given: Collection[str], known: Collection[str], /) -> None:
    """Make sure that a query has no other parameters than those that are known.

    Raises:
        ConfigInvalid: It has; each is named, with what was perhaps meant.
    """
    unknown = sorted(set(given) - set(known))
    if not unknown:
        return
    from difflib import get_close_matches  # what is in order never needs it

    problems = list[Problem]()
    for name in unknown[:_SHOWN]:
        near = get_close_matches(_bare(name), [_bare(each) for each in known], n=1)
        meant = [each for each in sorted(known) if near and _bare(each) == near[0]]
        remedy = f"is {meant[0]} meant?" if meant else f"it takes {', '.join(sorted(known)) or 'none'}"
        problems.append(Problem(f"there is no such parameter here: {remedy}", path=name[:80]))
    raise ConfigInvalid(tuple(problems))


def _bare(name: str) -> str:
    """Return a name without what spellings differ in."""
    return name.lower().replace("_", "").replace("-", "")[:80]
