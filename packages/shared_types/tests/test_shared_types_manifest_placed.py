"""Documents know where each part of them is written."""

from __future__ import annotations

import pytest
from orchestrion.shared_types.manifest import placed_documents

TEXT = """\
kind: ConfigMap
metadata: {name: a}
---
kind: Role
spec:
  rules:
    - verbs: [get]
      resorces: [w]
  "a.b/c": 1
"""


@pytest.mark.parametrize(
    ("path", "message", "place"),
    [
        ("", "wrong", "f.yaml:4:1: wrong"),
        ("spec.rules[0].verbs[0]", "wrong", "f.yaml:7:15: spec.rules[0].verbs[0]: wrong"),
        ("spec.rules[0].verbs[7].deeper", "wrong", "f.yaml:7:14: spec.rules[0].verbs[7].deeper: wrong"),
        ("spec.rules[0]", "unknown key 'resorces'", "f.yaml:8:7: spec.rules[0]: unknown key 'resorces'"),
        ("spec.rules", "unknown key 'rules'", "f.yaml:6:3: spec.rules: unknown key 'rules'"),
        ('spec["a.b/c"]', "wrong", 'f.yaml:9:12: spec["a.b/c"]: wrong'),
        ("spec[a.b/c]", "wrong", "f.yaml:9:12: spec[a.b/c]: wrong"),
        ("spec['a.b/c']", "wrong", "f.yaml:9:12: spec['a.b/c']: wrong"),
    ],
)
def test_a_problem_is_told_with_the_place_of_the_deepest_part_that_is_there(
    path: str, message: str, place: str
) -> None:
    first, second = placed_documents(TEXT, file="f.yaml")
    assert (first.line, second.line, first.data["metadata"]) == (1, 4, {"name": "a"})
    assert str(second.problem(message, path)) == place


def test_empty_documents_are_left_out() -> None:
    assert [document.line for document in placed_documents("---\n---\n{a: 1}\n")] == [3]
