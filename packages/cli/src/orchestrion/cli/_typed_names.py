"""Names as other commands print them: `workload/web`, `instance/web.0.1`, and `team/web` for one in a namespace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from orchestrion.shared_types import ConfigInvalid, Problem

from ._arguments import Taken
from ._kinds import kind_and_name, known_kind

_KINDS: Final = ("Workload", "Instance")


def plainly_named(
    taken: Sequence[Taken], placed: Sequence[object], options: Mapping[str, object], /
) -> tuple[list[object], dict[str, object]]:
    """Return what a command was given, with plain names of workloads and instances, and their namespace as an option.

    Args:
        taken: What the command takes.
        placed: What was given by its place.
        options: What was given by its name.

    Raises:
        ConfigInvalid: A name is of another kind, or its namespace is another than that of the option or of the others.
    """
    spaces = set[str]()

    def plain(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(plain, value))
        first, name = kind_and_name(value) if isinstance(value, str) else ("", value)
        if not first:
            return value
        kind = known_kind(first)
        if kind is None:
            spaces.add(first)
        elif kind.kind not in _KINDS:
            problem = Problem(f"{value!r:.100} is no workload and no instance")
            raise ConfigInvalid((problem,), remedy=f"orchestrion get {value} shows it.")
        return name

    places = [one for one in taken if one.argument.goes_by_place]
    given = [
        plain(value) if places[min(number, len(places) - 1)].argument.is_subject else value
        for number, value in enumerate(placed)
    ]
    changed = {
        one.parameter.name: plain(options[one.parameter.name])
        for one in taken
        if one.argument.is_subject and one.parameter.name in options
    }
    if spaces:
        wanted = spaces | ({str(options["namespace"])} if options.get("namespace") is not None else set())
        if len(wanted) > 1:
            problem = Problem(f"these are in several namespaces: {', '.join(sorted(wanted))}")
            raise ConfigInvalid((problem,), remedy="Name those of one namespace.")
        changed["namespace"] = wanted.pop()
    return given, {**options, **changed}
