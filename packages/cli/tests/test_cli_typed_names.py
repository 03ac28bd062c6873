"""Workloads and instances by the names that other commands print."""

from __future__ import annotations

import pytest
from orchestrion.cli._arguments import taken_by
from orchestrion.cli._typed_names import plainly_named
from orchestrion.cli._verbs import exec_, rm, scale
from orchestrion.cli._verbs_look import logs, status
from orchestrion.shared_types import ConfigInvalid

LOGS, RM = list(taken_by(logs)), list(taken_by(rm))


@pytest.mark.parametrize(
    ("typed", "plain", "namespace"),
    [
        ("web", "web", None),
        ("workload/web", "web", None),
        ("Workloads/web", "web", None),
        ("instance/web.0.1", "web.0.1", None),
        ("team/pa", "pa", "team"),
        ("a/b/c", "a/b/c", None),
        ("/web", "/web", None),
    ],
)
def test_a_name_is_understood_as_it_is_printed(typed: str, plain: str, namespace: str | None) -> None:
    told = {} if namespace is None else {"namespace": namespace}
    assert plainly_named(list(taken_by(status)), [typed], {}) == ([plain], told)
    assert plainly_named(LOGS, ["x", typed], {"follow": True}) == (["x", plain], {"follow": True, **told})
    assert plainly_named(RM, [("x", typed)], {}) == ([("x", plain)], told)


def test_only_names_are_touched() -> None:
    assert plainly_named(list(taken_by(exec_)), ["i/web.0", "ls", "w/x"], {})[0] == ["web.0", "ls", "w/x"]
    assert plainly_named(list(taken_by(scale)), ["workload/web", 3], {"reset": False})[0] == ["web", 3]


def test_a_name_of_another_kind_is_refused() -> None:
    with pytest.raises(ConfigInvalid) as caught:
        plainly_named(RM, [("configmap/web",)], {})
    assert caught.value.remedy == "orchestrion get configmap/web shows it."


@pytest.mark.parametrize(("names", "namespace"), [(("a/x", "b/y"), None), (("a/x",), "b")])
def test_names_in_several_namespaces_are_refused(names: tuple[str, ...], namespace: str | None) -> None:
    with pytest.raises(ConfigInvalid, match="a, b"):
        plainly_named(RM, [names], {"namespace": namespace})
    assert plainly_named(RM, [("a/x", "a/y")], {"namespace": "a"}) == ([("x", "y")], {"namespace": "a"})
