"""What is meant by a name that is typed: nodes and instances are called by less than the whole of their names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

from orchestrion.orchestrator_core import parse_subject
from orchestrion.shared_types import ConfigInvalid, InstanceNotFound, Problem

T = TypeVar("T")

_SHORTEST: Final = 4
"""The shortest beginning of an id that means it."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9-]+", re.ASCII)
"""What the name of a workload may be made of; nothing of it means anything to a selector of labels."""

_ENDED: Final = ("Succeeded", "Failed", "Lost")


def node_meant(nodes: Iterable[T], text: str, names: Callable[[T], tuple[str, str]]) -> T | None:
    """Return the node of an id, of a name, or of the beginning of an id; None where there is none.

    Args:
        nodes: All that there are.
        text: What was typed.
        names: Tells a node's id and name.

    Raises:
        ConfigInvalid: There are several.
    """
    found = list[T]()
    for node in nodes:
        node_id, name = names(node)
        if node_id == text:
            return node
        if name == text or (len(text) >= _SHORTEST and node_id.startswith(text)):
            found.append(node)
    if len(found) > 1:
        ids = ", ".join(names(node)[0] for node in found)
        raise ConfigInvalid((Problem(f"several nodes are called {text!r}: {ids}"),), remedy="Name one by its id.")
    return found[0] if found else None


def node_names(node: Mapping[str, Any]) -> tuple[str, str]:
    """Return a node's id and name, for `node_meant`; what people call it is in its `spec`."""
    node_id = str(node["metadata"]["name"])
    return node_id, str(node.get("spec", {}).get("name") or node_id)


def workload_of(text: str) -> str:
    """Return the workload whose instance a text may mean; empty where it can mean none."""
    try:
        workload = parse_subject(text).workload
    except InstanceNotFound:
        return ""
    return workload if _PLAIN.fullmatch(workload) else ""


def instance_meant(instances: Iterable[Mapping[str, Any]], text: str) -> str:
    """Return the name of the instance of a name, of a slot (its latest), or of a workload that has one alone.

    Args:
        instances: Those of the workload that the text names.
        text: What was typed: `web.0.1`, `web.0` or `web`.

    Returns:
        The whole name; empty where there is none.

    Raises:
        ConfigInvalid: The workload has several that have not ended.
    """
    subject = parse_subject(text)
    known = {str(one["metadata"]["name"]): one for one in instances}
    if subject.index is None:
        alive = sorted(name for name, one in known.items() if one.get("status", {}).get("state") not in _ENDED)
        if len(alive) > 1:
            problem = Problem(f"{text!r} has {len(alive)} instances: {', '.join(alive)}")
            raise ConfigInvalid((problem,), remedy="Name one of them.")
        return alive[0] if alive else ""
    try:
        (chosen,) = subject.chosen(known, _slot_and_epoch)
    except InstanceNotFound:
        return ""
    return chosen


def _slot_and_epoch(name: str) -> tuple[int, int]:
    subject = parse_subject(name)
    return subject.index or 0, subject.epoch or 0
