"""Why something has no place: nodes against what they fail for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from orchestrion.orchestrator_core import SlotPlacement
from orchestrion.scheduler_interface import Explanation, RefusalGroup, describe_change

from .words import amount, named

MAX_SLOTS: Final = 40
"""How many slots are looked at; those that lack a place for the same reasons are shown together."""

FAILS, PASSES, UNKNOWN = "fails", "passes", "unknown"


def unplaced(placements: Sequence[SlotPlacement], names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the slots that have no place: those with the same explanation as one, with its matrix.

    Args:
        placements: Of all slots.
        names: What people call nodes, by id.
    """
    groups = dict[str, dict[str, Any]]()
    for placement in placements:
        if placement.node_id is not None:
            continue
        known = groups.get(placement.text)
        if known is not None:
            known["slots"].append(placement.instance)
        elif len(groups) < MAX_SLOTS:
            groups[placement.text] = {
                "slots": [placement.instance],
                "text": named(placement.text, names),
                "change": named(describe_change(placement.explanation.smallest_change), names),
                "victims": placement.victims,
                "matrix": matrix(placement.explanation, names),
            }
    return list(groups.values())


def matrix(explanation: Explanation, names: Mapping[str, str]) -> dict[str, Any]:
    """Return nodes against reasons.

    An explanation names some nodes of each reason and counts all: of a node that it does not name, it is known that it
    passes only where all that fail are named.
    """
    named = {node_id for group in explanation.groups for node_id in group.samples} | set(explanation.closest)
    rows = [
        {"node": names.get(node_id, node_id), "cells": [_cell(group, node_id) for group in explanation.groups]}
        for node_id in sorted(named)
    ]
    rows.sort(key=lambda row: sum(cell == FAILS for cell in row["cells"]))
    return {
        "columns": [
            {
                "predicate": group.predicate.value,
                "detail": _detail(group),
                "count": group.node_count,
            }
            for group in explanation.groups
        ],
        "rows": rows,
        "considered": explanation.nodes_considered,
        "hidden": max(0, explanation.nodes_considered - len(rows)),
    }


def _cell(group: RefusalGroup, node_id: str) -> str:
    if node_id in group.samples:
        return FAILS
    return PASSES if group.node_count <= len(group.samples) else UNKNOWN


def _detail(group: RefusalGroup) -> str:
    if not group.dimension:
        return group.detail
    wanted, free = amount(group.dimension, group.needed), amount(group.dimension, group.best_free)
    return f"{_TITLES.get(group.dimension, group.dimension)}: {wanted} wanted, {free} free at best"


_TITLES: Final = {"cpu_millicores": "CPU", "memory_bytes": "memory", "disk_bytes": "disk"}
