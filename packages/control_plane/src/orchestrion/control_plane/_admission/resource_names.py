"""Which resources quotas and limit ranges speak of: a name that nobody has limits nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from orchestrion.control_plane._objects.document import Document
from orchestrion.control_plane._objects.kinds import LIMIT_RANGE, RESOURCE_QUOTA, Kind
from orchestrion.shared_types import ConfigInvalid, Problem, unknown

from .amounts import CPU, DISK, GPUS, INSTANCES, MEMORY, WORKLOADS

_OF_CONTAINERS: Final = (CPU, MEMORY, DISK, GPUS)

_KNOWN: Final = {RESOURCE_QUOTA.name: (*_OF_CONTAINERS, INSTANCES, WORKLOADS), LIMIT_RANGE.name: _OF_CONTAINERS}
"""The names that there always are."""

_PARTS: Final = {RESOURCE_QUOTA.name: ("hard",), LIMIT_RANGE.name: ("default", "min", "max")}

_MAX_NAMED: Final = 20


def unknown_resources(kind: Kind, document: Document, others: Collection[str]) -> dict[str, str]:
    """Return the resources that a quota or limit range speaks of, and that there are not, each with where it is said.

    A name with a slash is one of somebody's own, which a node may have that is to come.

    Args:
        kind: The object's kind; of others than those two it is none.
        document: The object.
        others: What nodes have besides.
    """
    known = {*_KNOWN.get(kind.name, ()), *others}
    found = dict[str, str]()
    for part in _PARTS.get(kind.name, ()):
        amounts = document.spec.get(part)
        for name in amounts if isinstance(amounts, Mapping) else ():
            if name not in known and "/" not in name:
                found.setdefault(name, f"spec.{part}.{name}")
    return found


def check_resources(kind: Kind, document: Document, before: Document | None, others: Collection[str]) -> None:
    """Make sure that a quota or limit range speaks of resources that there are, or of which it has spoken before.

    Raises:
        ConfigInvalid: It speaks of others.
    """
    found = unknown_resources(kind, document, others)
    if found and before is not None:
        said = unknown_resources(kind, before, others)
        found = {name: path for name, path in found.items() if name not in said}
    if found:
        known = [*_KNOWN[kind.name], *sorted(others)]
        problems = [Problem(unknown("resource", name, known), path=path) for name, path in found.items()]
        more = f" and {len(known) - _MAX_NAMED} more" if len(known) > _MAX_NAMED else ""
        raise ConfigInvalid(
            tuple(problems),
            remedy=f"There are: {', '.join(known[:_MAX_NAMED])}{more}. What no node has yet is named with a slash, as "
            "example.org/licences.",
        )
