"""What checks find, and the words that they share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from attrs import frozen

from ._workload import (
    WorkloadDefinition,
)

Path = tuple[str | int, ...]
Others = Mapping[str, WorkloadDefinition | None]

NAME_RULE: Final = "1 to 63 lower-case letters, digits and inner hyphens"


@frozen
class Finding:
    """Something that is wrong, or likely not meant.

    Attributes:
        path: Where, in the terms of a manifest.
        message: What is wrong and what would be right.
        warning: True where it may be meant.
    """

    path: Path
    message: str
    warning: bool = False


def path_text(path: Path) -> str:
    """Return a path as people read it: `workloads.web.containers[0].env`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part and all(letter.isalnum() or letter in "_-$" for letter in part):
            text += f".{part}" if text else part
        else:
            text += f"[{part!r:.80}]"
    return text


def duplicates(named: Iterable[tuple[Path, str]], what: str) -> Iterator[Finding]:
    """Yield an error for each name that came before."""
    seen: set[str] = set()
    for path, name in named:
        if name in seen:
            yield Finding(path, f"{what} {name!r} is named twice")
        seen.add(name)


def bad_name(what: str, name: str) -> str:
    """Return the sentence that `name` breaks the rule of names."""
    return f"{name!r:.80} can't name a {what}; a name is {NAME_RULE}"


def bad_variable(name: str) -> str:
    """Return the sentence that `name` breaks the rule of variables."""
    return f"{name!r:.80} can't name a variable; a name is a letter or _, then letters, digits and _"
