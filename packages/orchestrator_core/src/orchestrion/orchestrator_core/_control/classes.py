"""Priority classes whose names were passed on: looked up before anything else is thought about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import trio
from attrs import evolve
from orchestrion.shared_types import (
    PRIORITY_CLASSES,
    ConfigInvalid,
    PriorityClass,
    Problem,
    WorkloadDefinition,
    find_priority_class,
)


class ClassSource(Protocol):
    """Knows priority classes."""

    async def find_class(self, name: str, /) -> PriorityClass | None:
        """Return the class of a name as it is now, or None where there is none.

        **Cancellation.** It has no effect.

        Raises:
            OrchestrationError: It can't be found out now.
        """
        ...


class StandardClasses:
    """Knows the standard classes, and no others."""

    async def find_class(self, name: str, /) -> PriorityClass | None:
        """See `ClassSource`."""
        await trio.lowlevel.checkpoint()
        return next((each for each in PRIORITY_CLASSES if each.name == name), None)


async def with_classes(definitions: Sequence[WorkloadDefinition], source: ClassSource) -> Sequence[WorkloadDefinition]:
    """Return workloads with the numbers of the priority classes whose names were passed on.

    Raises:
        ConfigInvalid: There is no such class; the problems name all of them.
    """
    if not any(definition.priority_class for definition in definitions):
        return definitions
    found, problems = list[WorkloadDefinition](), list[Problem]()
    for definition in definitions:
        name, resolved = definition.priority_class, definition
        if name:
            known = await source.find_class(name)
            if known is None:
                problems.append(_no_class(definition))
                continue
            resolved = evolve(definition, priority=known.value, preempts=known.preempts, priority_class="")
        found.append(resolved)
    if problems:
        raise ConfigInvalid(tuple(problems))
    return found


def _no_class(definition: WorkloadDefinition) -> Problem:
    path = f"workloads.{definition.metadata.name}.priority_class"
    try:
        find_priority_class(definition.priority_class)
    except ValueError as err:
        return Problem(str(err), path=path)
    return Problem(f"priority class {definition.priority_class!r:.80} is not known here", path=path)
