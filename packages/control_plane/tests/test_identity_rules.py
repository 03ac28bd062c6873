"""What a document must look like to be rules, a role or a binding."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.control_plane._identity.access import ANY, Access, Rule, owners_of, rules_data, rules_of
from orchestrion.control_plane._identity.principals import ANONYMOUS, Principal, PrincipalKind, outside_groups
from orchestrion.control_plane._identity.roles import STANDARD_ROLES, Subject, SubjectKind, binding_of, role_of
from orchestrion.shared_types import ConfigInvalid

WORDS = st.frozensets(st.sampled_from(["a", "b", "c", ANY]), max_size=3)
RULES = st.builds(Rule, WORDS, WORDS, WORDS, WORDS, st.booleans())
ACCESSES = st.builds(
    Access,
    *(st.sampled_from(["a", "b", "d", ""]) for _ in range(4)),
    owners=st.frozensets(st.sampled_from(["user:ann", "user:bob"])),
)


@given(RULES, RULES, ACCESSES)
def test_a_narrowed_rule_allows_exactly_what_both_allow(one: Rule, other: Rule, access: Access) -> None:
    both = one.allows(access, "user:ann") and other.allows(access, "user:ann")
    assert one.narrowed(other).allows(access, "user:ann") == both
    assert one.narrowed(other) == other.narrowed(one)


@pytest.mark.slow
@given(st.lists(RULES.filter(lambda rule: not rule.is_empty), max_size=4))
def test_rules_survive_being_written_and_read(rules: list[Rule]) -> None:
    assert rules_of(rules_data(rules)) == tuple(rules)


def test_the_standard_roles_survive_being_written_and_read() -> None:
    for role in STANDARD_ROLES:
        assert role_of(role.name, {"rules": rules_data(role.rules)}) == role


@pytest.mark.parametrize(
    ("rules", "path", "says"),
    [
        ("get", "spec.rules", "a list"),
        ([1], "spec.rules[0]", "a mapping"),
        ([{"resources": ["nodes"]}], "spec.rules[0].verbs", "missing"),
        ([{"verbs": ["get"]}], "spec.rules[0].resources", "missing"),
        ([{"verbs": [], "resources": ["nodes"]}], "spec.rules[0].verbs", "1 to"),
        ([{"verbs": "get", "resources": ["nodes"]}], "spec.rules[0].verbs", "list"),
        ([{"verbs": ["get", ""], "resources": ["nodes"]}], "spec.rules[0].verbs", "words"),
        ([{"verbs": ["get"], "resources": [7]}], "spec.rules[0].resources", "words"),
        ([{"verbs": ["get"], "resources": ["a"], "namespaces": ["A/b"]}], "spec.rules[0].namespaces", "namespace"),
        ([{"verbs": ["get"], "resources": ["a"], "own": 1}], "spec.rules[0].own", "true or false"),
        ([{"verbs": ["get"], "resources": ["a"], "name": ["b"]}], "spec.rules[0].name", "not known"),
    ],
)
def test_what_is_no_rule_is_refused_with_its_place(rules: Any, path: str, says: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        role_of("r", {"rules": rules})
    assert [(problem.path, says in problem.message) for problem in caught.value.problems] == [(path, True)]


def test_all_that_is_wrong_with_rules_is_told_at_once() -> None:
    with pytest.raises(ConfigInvalid) as caught:
        role_of("r", {"rules": [{"verbs": []}, 5]})
    assert [problem.path for problem in caught.value.problems] == [
        "spec.rules[0].verbs",
        "spec.rules[0].resources",
        "spec.rules[1]",
    ]


def test_a_role_with_a_word_too_much_is_refused() -> None:
    with pytest.raises(ConfigInvalid, match=r"spec\.rule: is not known"):
        role_of("r", {"rule": []})


def test_a_binding_is_read_with_its_subjects() -> None:
    spec = {"role": "viewer", "subjects": [{"kind": "user", "name": "ann"}, {"kind": "group", "name": "devs"}]}
    binding = binding_of("b", "prod", spec)
    assert binding.subjects == (Subject(SubjectKind.USER, "ann"), Subject(SubjectKind.GROUP, "devs"))
    assert (binding.name, binding.role, binding.namespace) == ("b", "viewer", "prod")


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"subjects": []}, "spec.role"),
        ({"role": "viewer", "subjects": {}}, "spec.subjects"),
        ({"role": "viewer", "subjects": [{"kind": "node", "name": "n"}]}, "spec.subjects[0]"),
        ({"role": "viewer", "subjects": [{"kind": "user", "name": ""}]}, "spec.subjects[0]"),
        ({"role": "viewer", "subjects": ["ann"]}, "spec.subjects[0]"),
        ({"role": "viewer", "subject": []}, "spec.subject"),
    ],
)
def test_what_is_no_binding_is_refused_with_its_place(spec: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        binding_of("b", "", spec)
    assert [problem.path for problem in caught.value.problems] == [path]


def test_what_comes_from_outside_gives_no_group_that_the_server_keeps() -> None:
    assert outside_groups(["devs", "system:admins", "system:"]) == {"devs"}


def test_nobody_is_in_no_group_of_those_that_are_known() -> None:
    assert ANONYMOUS.all_groups == {"system:unauthenticated"}
    assert str(ANONYMOUS) == "anonymous"


def test_the_groups_of_a_kind_come_with_it() -> None:
    assert Principal("n1", PrincipalKind.NODE).all_groups == {"system:authenticated", "system:nodes"}
    assert Principal("ann", groups=frozenset({"devs"})).all_groups == {"system:authenticated", "devs"}


def test_objects_belong_to_their_node_and_their_workloads() -> None:
    assert owners_of("nodes", "", "n1") == {"node:n1"}
    assert owners_of("nodes/status", "", "n1") == {"node:n1"}
    assert owners_of("workloads/status", "default", "web") == {"workload:default/web"}
    assert owners_of("instances", "default", "web.0", node="n1", workloads=["web"]) == {
        "node:n1",
        "workload:default/web",
    }
    assert owners_of("configmaps", "default", "web") == frozenset()
