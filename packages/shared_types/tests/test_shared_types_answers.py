"""Answers of a later version are read as far as they are known here."""

from __future__ import annotations

from typing import Any

import pytest
from orchestrion.shared_types import (
    ConfigInvalid,
    WorkloadDefinition,
    structure,
    structure_answer,
    unstructure,
)

DEFINITION: dict[str, Any] = {
    "metadata": {"name": "web"},
    "containers": [{"name": "main", "command": ["true"], "health": {"probe": {"type": "tcp", "port": "web"}}}],
}


def test_unknown_keys_of_an_answer_are_passed_over_at_any_depth() -> None:
    container = DEFINITION["containers"][0]
    probe = container["health"]["probe"]
    later = {
        "metadata": {"name": "web", "later": 1},
        "containers": [{**container, "health": {"probe": {**probe, "later": 2}, "later": 5}, "later": [3]}],
        "later": {"a": 4},
    }
    known = structure(DEFINITION, WorkloadDefinition)
    assert structure_answer(later, WorkloadDefinition) == known
    assert unstructure(structure_answer(unstructure(known), WorkloadDefinition)) == unstructure(known)
    with pytest.raises(ConfigInvalid, match="unknown key"):
        structure(later, WorkloadDefinition)


def test_what_an_answer_says_otherwise_is_as_strict() -> None:
    with pytest.raises(ConfigInvalid, match="a text is wanted") as caught:
        structure_answer({**DEFINITION, "metadata": {"name": 12}}, WorkloadDefinition)
    assert [problem.path for problem in caught.value.problems] == ["metadata.name"]
