"""Objects as rows of a table: for each kind what people want to see at a glance."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from orchestrion.shared_types import DEFAULT_NAMESPACE

from ._output import coloured, columns
from ._times import since

Data = Mapping[str, Any]
Cell = Callable[[Data], object]

_PHASES: Final = {
    "Healthy": "green",
    "Succeeded": "green",
    "Running": "green",
    "Ready": "green",
    "Active": "green",
    "Failed": "red",
    "Lost": "red",
    "Down": "red",
    "Degraded": "yellow",
    "Restarting": "yellow",
    "Pending": "yellow",
    "Unknown": "yellow",
    "NotReady": "yellow",
    "Warning": "yellow",
}


def at(data: Any, path: str, default: Any = "") -> Any:
    """Return what is at a path such as "metadata.name" of plain data, or a default.

    A text is given without what a terminal would take for an order, which may be in what somebody else wrote.
    """
    for part in path.split("."):
        if not isinstance(data, Mapping) or part not in data:
            return default
        data = data[part]
    if isinstance(data, str):
        return harmless(data)
    return default if data is None else data


def harmless(text: str) -> str:
    """Return a text in one line, with nothing in it that a terminal would take for an order."""
    return "".join(character if character.isprintable() else " " for character in text)


def _field(path: str) -> Cell:
    return lambda data: at(data, path)


def _state(path: str) -> Cell:
    return lambda data: (lambda text: coloured(text, _PHASES.get(text, "")))(str(at(data, path)))


def _instance_state(data: Data) -> object:
    """Return where an instance is in its life, as `state_words` does of one that is no plain data."""
    state = str(at(data, "status.state"))
    containers: Sequence[Mapping[str, Any]] = at(data, "status.containers", ())
    if state == "Running" and any(each.get("next_attempt_at") for each in containers):
        state = "Restarting"
    return coloured(state, _PHASES.get(state, ""))


def _count(path: str) -> Cell:
    return lambda data: len(at(data, path, ()))


def _up(data: Data) -> object:
    status = at(data, "status", {})
    if at(data, "spec.kind") == "batch":
        return f"{at(status, 'succeeded', 0)}/{at(data, 'spec.completions', 1)} done"
    return f"{at(status, 'available', 0)}/{at(status, 'replicas', 0)} up"


def _node_state(data: Data) -> object:
    state = str(at(data, "status.status", "Unknown"))
    orders = [
        *(["draining"] if at(data, "spec.drain", None) else []),
        *(["cordoned"] if at(data, "spec.cordoned", False) and not at(data, "spec.drain", None) else []),
    ]
    return ", ".join([coloured(state, _PHASES.get(state, "")), *orders])


def amount_of_cpu(millicores: object) -> str:
    """Return an amount of processors in short: "1500m", "4"."""
    number = int(millicores) if isinstance(millicores, int | float) else 0
    return str(number // 1000) if number % 1000 == 0 else f"{number}m"


def amount_of_memory(size: object) -> str:
    """Return an amount of memory in short: "512Mi", "7.6Gi"."""
    number = float(size) if isinstance(size, int | float) else 0.0
    for unit in ("", "Ki", "Mi"):
        if number < 1024:
            return f"{number:.0f}{unit}"
        number /= 1024
    return f"{number:.1f}Gi"


def faults(conditions: Iterable[tuple[object, object, object]]) -> str:
    """Return the faults that a node has, and those of which nobody knows whether it has them, with a question mark.

    Args:
        conditions: Of each its type, whether it is active, and whether it is unknown.
    """
    told = (f"{name}?" if unknown else str(name) for name, active, unknown in conditions if active or unknown)
    return harmless(",".join(told))


def _faults(data: Data) -> str:
    conditions: Sequence[Mapping[str, Any]] = at(data, "status.conditions", ())
    return faults((each.get("type", ""), each.get("active"), each.get("unknown")) for each in conditions)


_BUILT_IN: Final = ("BUILT IN", lambda data: "yes" if at(data, "built_in", False) else "")

_COLUMNS: Final[Mapping[str, Sequence[tuple[str, Cell]]]] = {
    "Workload": (
        ("STATE", _state("status.phase")),
        ("READY", _up),
        (
            "WHAT",
            lambda data: ": ".join(text for text in (at(data, "status.reason"), at(data, "status.message")) if text),
        ),
    ),
    "Instance": (
        ("STATE", _instance_state),
        ("NODE", lambda data: str(at(data, "spec.node_id"))[:12]),
        ("WHAT", lambda data: at(data, "status.message") or at(data, "status.reason")),
    ),
    "Node": (
        ("KNOWN AS", _field("spec.name")),
        ("STATE", _node_state),
        ("CPU", lambda data: amount_of_cpu(at(data, "spec.allocatable.cpu_millicores", 0))),
        ("MEMORY", lambda data: amount_of_memory(at(data, "spec.allocatable.memory_bytes", 0))),
    ),
    "Event": (
        ("ABOUT", _field("spec.subject")),
        ("REASON", lambda data: coloured(at(data, "spec.reason"), _PHASES.get(at(data, "spec.severity"), "green"))),
        ("WHAT", _field("spec.message")),
    ),
    "ConfigMap": (("KEYS", _count("spec.data")),),
    "Secret": (("KEYS", _count("spec.data")),),
    "PriorityClass": (("VALUE", _field("spec.value")), _BUILT_IN),
    "Role": (("RULES", _count("spec.rules")), _BUILT_IN),
    "RoleBinding": (
        ("ROLE", _field("spec.role")),
        (
            "WHO",
            lambda data: harmless(
                ", ".join(f"{one.get('kind')}:{one.get('name')}" for one in at(data, "spec.subjects", ()))
            ),
        ),
        ("WHERE", lambda data: at(data, "spec.namespace") or "everywhere"),
        _BUILT_IN,
    ),
    "CustomKind": (("KIND", _field("spec.kind")), ("PLURAL", _field("spec.plural"))),
    "ResourceQuota": (
        ("USED", lambda data: _amounts(at(data, "status.used", {}))),
        ("HARD", lambda data: _amounts(at(data, "spec.hard", {}))),
    ),
}

_WIDE: Final[Mapping[str, Sequence[tuple[str, Cell]]]] = {
    "Node": (
        ("ADDRESS", _field("spec.address")),
        ("ZONE", _field("spec.topology.zone")),
        ("DRIVERS", lambda data: harmless(",".join(at(data, "spec.drivers", ())))),
        ("CONDITIONS", _faults),
    ),
    "Instance": (("ON", _field("spec.node_id")), ("UID", _field("metadata.uid"))),
}


def _amounts(amounts: Mapping[str, Any]) -> str:
    return harmless(" ".join(f"{name}={value}" for name, value in sorted(amounts.items())))


def object_rows(
    items: Sequence[Data],
    now: datetime,
    *,
    wide: bool = False,
    titles: bool = True,
    namespaces: bool | None = None,
    least: list[int] | None = None,
) -> list[str]:
    """Return objects of one kind as lines with aligned columns.

    Args:
        items: The objects.
        now: From when ages are counted.
        wide: Whether less important columns are shown too.
        titles: Whether the columns have titles.
        namespaces: Whether the namespace is a column; None is where one is not the default one.
        least: How wide columns are at least, as those of rows that came before; it grows with these.
    """
    if not items:
        return []
    kind = str(at(items[0], "kind"))
    spaces = {str(at(item, "metadata.namespace")) for item in items}
    shows_spaces = bool(spaces - {"", DEFAULT_NAMESPACE}) if namespaces is None else namespaces
    shown: list[tuple[str, Cell]] = [("NAMESPACE", _field("metadata.namespace"))] if shows_spaces else []
    aged: tuple[str, Cell] = ("AGE", lambda data: age(data, now))
    named: tuple[str, Cell] = ("NAME", _field("metadata.name"))
    if kind == "Event":
        # Its name is a number that nobody types: when it happened comes first.
        shown += [aged, *_COLUMNS[kind], *([named] if wide else [])]
    else:
        shown += [named, *_COLUMNS.get(kind, ()), aged]
    if wide:
        shown += [*_WIDE.get(kind, ()), ("REVISION", _field("metadata.revision")), ("LABELS", _labels)]
    rows = [tuple(coloured(title, "dim") for title, _ in shown)] if titles else []
    rows += [tuple(_text(cell(item)) for _, cell in shown) for item in items]
    return columns(rows, least)


def _text(value: object) -> str:
    """Return what a cell holds as text."""
    return json.dumps(value) if isinstance(value, Mapping | list) else str(value)


def _labels(data: Data) -> str:
    return harmless(",".join(f"{key}={value}" for key, value in sorted(at(data, "metadata.labels", {}).items())))


def age(data: Data, now: datetime) -> str:
    """Return how long ago an object was made."""
    made = at(data, "metadata.created_at")
    return since(datetime.fromisoformat(made), now) if made else ""
