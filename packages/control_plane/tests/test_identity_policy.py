"""What the policy allows: nothing that no rule allows, and never more than who asks was limited to."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.control_plane._identity.access import ANY, Access, Rule, owners_of
from orchestrion.control_plane._identity.policy import Policy
from orchestrion.control_plane._identity.principals import ADMINS, ANONYMOUS, Principal, PrincipalKind
from orchestrion.control_plane._identity.roles import Role, RoleBinding, Subject, SubjectKind
from orchestrion.shared_types import Denied

ANN = Principal("ann", groups=frozenset({"devs"}))
WORDS = st.frozensets(st.sampled_from(["a", "b", "c", ANY]), min_size=1, max_size=2)
RULES = st.builds(Rule, WORDS, WORDS, WORDS, WORDS, st.booleans())
ROLES = st.lists(RULES, max_size=3).map(lambda rules: Role("r", tuple(rules)))
PLACES = st.sampled_from(["", "a", "b"])
ACCESSES = st.builds(
    Access,
    st.sampled_from(["a", "b", "d"]),
    st.sampled_from(["a", "b", "d"]),
    PLACES,
    st.sampled_from(["", "a", "d"]),
    st.frozensets(st.sampled_from(["user:ann", "user:bob"])),
)
SCOPES = st.none() | st.lists(RULES, max_size=3).map(tuple)
NAMESPACES = st.none() | st.frozensets(st.sampled_from(["a", "b"]))


def to_ann(role: str, namespace: str = "", name: str = "b") -> RoleBinding:
    return RoleBinding(name, role, (Subject(SubjectKind.USER, "ann"),), namespace)


def policy(role: Role, namespace: str = "") -> Policy:
    return Policy((role,), (to_ann(role.name, namespace),))


def allowed(policy: Policy, principal: Principal, access: Access) -> bool:
    return policy.may(principal, access).allowed


@given(ACCESSES)
def test_without_a_binding_nothing_is_allowed(access: Access) -> None:
    assert not allowed(Policy(), ANN, access)
    assert not allowed(Policy(), ANONYMOUS, access)


@pytest.mark.slow
@given(ROLES, PLACES, ACCESSES)
def test_a_role_allows_what_its_rules_do_where_it_is_bound(role: Role, place: str, access: Access) -> None:
    expected = any(rule.allows(access, ANN.subject) for rule in role.rules) and place in ("", access.namespace)
    assert allowed(policy(role, place), ANN, access) == expected


@pytest.mark.slow
@given(ROLES, RULES, PLACES, ACCESSES)
def test_one_more_rule_takes_nothing_away(role: Role, rule: Rule, place: str, access: Access) -> None:
    if allowed(policy(role, place), ANN, access):
        assert allowed(policy(Role("r", (*role.rules, rule)), place), ANN, access)


@pytest.mark.slow
@given(ROLES, PLACES, SCOPES, NAMESPACES, ACCESSES)
def test_a_scope_and_a_restriction_never_widen(
    role: Role,
    place: str,
    scope: tuple[Rule, ...] | None,
    namespaces: frozenset[str] | None,
    access: Access,
) -> None:
    wide = policy(role, place)
    limited = Principal("ann", namespaces=namespaces, scope=scope)
    in_scope = scope is None or any(rule.allows(access, ANN.subject) for rule in scope)
    in_reach = namespaces is None or access.namespace in namespaces
    assert allowed(wide, limited, access) == (allowed(wide, ANN, access) and in_scope and in_reach)


@pytest.mark.slow
@given(ROLES, PLACES, SCOPES, NAMESPACES, ACCESSES)
def test_the_list_of_rights_is_what_may_be_done(
    role: Role,
    place: str,
    scope: tuple[Rule, ...] | None,
    namespaces: frozenset[str] | None,
    access: Access,
) -> None:
    principal = Principal("ann", namespaces=namespaces, scope=scope)
    made = policy(role, place)
    listed = any(right.rule.allows(access, principal.subject) for right in made.rights_of(principal))
    assert allowed(made, principal, access) == listed


@pytest.mark.slow
@given(ROLES, ROLES, PLACES, PLACES, ACCESSES)
def test_who_may_grant_rules_has_all_that_they_allow(
    mine: Role, given_rules: Role, place: str, where: str, access: Access
) -> None:
    made = policy(mine, place)
    if made.may_grant(ANN, given_rules.rules, where).allowed and where in ("", access.namespace):
        for rule in given_rules.rules:
            if rule.allows(access, ANN.subject):
                assert allowed(made, ANN, access)


def test_an_administrator_of_a_namespace_gives_nothing_beyond_it() -> None:
    made = Policy((), (to_ann("admin", "prod"),))
    everything = (Rule(ANY, ANY),)
    assert made.may_grant(ANN, everything, "prod").allowed
    verdict = made.may_grant(ANN, everything)
    assert not verdict.allowed
    assert "can't give what it may not do itself: * *" in verdict.why


def test_the_verdict_names_the_role_and_the_binding() -> None:
    made = Policy((), (to_ann("viewer", "prod", "ann-views"),))
    assert made.may(ANN, Access("get", "workloads", "prod", "web")).why == "role 'viewer' by binding 'prod/ann-views'"
    assert made.may(ANN, Access("get", "workloads", "test", "web")).why == "no role allows it"


def test_a_denial_says_whether_it_is_the_scope_or_the_restriction() -> None:
    made = Policy((), (to_ann("admin"),))
    scoped = Principal("ann", scope=(Rule("get", "workloads"),))
    bound = Principal("ann", namespaces=frozenset({"prod"}))
    access = Access("delete", "workloads", "test", "web")
    assert "the scope" in made.may(scoped, access).why
    assert made.may(bound, access).why == "it is restricted to the namespaces prod"


def test_a_check_that_fails_tells_who_what_where_and_what_to_do() -> None:
    with pytest.raises(Denied) as caught:
        Policy().check(ANN, Access("delete", "workloads", "prod", "web"))
    assert caught.value.message == "user:ann may not delete workloads 'web' in namespace 'prod': no role allows it"
    assert "can-i" in caught.value.remedy


def test_a_role_comes_by_a_group_and_not_by_a_user_of_the_groups_name() -> None:
    made = Policy((), (RoleBinding("b", "viewer", (Subject(SubjectKind.GROUP, "devs"),)),))
    access = Access("list", "workloads", "prod")
    assert allowed(made, ANN, access)
    assert not allowed(made, Principal("devs"), access)
    assert not allowed(made, Principal("ann", PrincipalKind.SERVICE), access)


def test_a_user_and_a_service_of_one_name_are_two() -> None:
    made = Policy((), (to_ann("viewer"),))
    assert not allowed(made, Principal("ann", PrincipalKind.SERVICE), Access("list", "workloads"))


def test_a_standard_role_can_not_be_replaced() -> None:
    made = Policy((Role("viewer", (Rule(ANY, ANY),)),), (to_ann("viewer"),))
    assert not allowed(made, ANN, Access("delete", "workloads", "prod", "web"))


def test_a_binding_waits_for_its_role() -> None:
    binding = to_ann("later")
    access = Access("get", "workloads", "prod", "web")
    assert not allowed(Policy((), (binding,)), ANN, access)
    assert allowed(Policy((Role("later", (Rule("get", "workloads"),)),), (binding,)), ANN, access)


def test_the_standard_roles_grow_one_out_of_the_other() -> None:
    made = Policy()
    rows = {role: Policy((), (to_ann(role),)) for role in ("viewer", "editor", "operator", "admin")}
    assert not made.rights_of(ANN)
    for less, more in (("viewer", "editor"), ("editor", "operator"), ("operator", "admin")):
        rules = tuple(right.rule for right in rows[less].rights_of(ANN))
        assert rows[more].may_grant(ANN, rules).allowed
        assert not rows[less].may_grant(ANN, tuple(right.rule for right in rows[more].rights_of(ANN))).allowed


@pytest.mark.parametrize("resource", ["secrets", "roles", "rolebindings", "tokens", "audit"])
def test_a_viewer_sees_no_secrets_and_not_who_may_do_what(resource: str) -> None:
    made = Policy((), (to_ann("viewer"),))
    for verb in ("get", "list", "watch"):
        assert not allowed(made, ANN, Access(verb, resource, "prod", "x"))


def test_members_of_the_group_of_admins_may_do_everything() -> None:
    access = Access("anything", "whatever", "", "")
    assert allowed(Policy(), Principal("root", groups=frozenset({ADMINS})), access)


def test_a_node_reaches_itself_and_what_is_bound_to_it() -> None:
    node = Principal("n1", PrincipalKind.NODE)

    def may(verb: str, resource: str, name: str, of: str = "") -> bool:
        owners = owners_of(resource, "default", name, node=of)
        return allowed(Policy(), node, Access(verb, resource, "default", name, owners))

    assert may("update", "nodes/status", "n1")
    assert may("get", "instances/status", "web.0", of="n1")
    assert not may("update", "nodes/status", "n2")
    assert not may("get", "instances/status", "web.0", of="n2")
    assert not may("get", "instances/status", "web.0")
    assert not may("delete", "nodes", "n1")
    assert not may("update", "instances", "web.0", of="n1")
    assert not may("get", "secrets", "key")


def test_a_workload_reads_itself_and_what_it_mounts() -> None:
    workload = Principal("default/web", PrincipalKind.WORKLOAD)

    def may(verb: str, resource: str, name: str, namespace: str = "default", *mounting: str) -> bool:
        owners = owners_of(resource, namespace, name, workloads=mounting)
        return allowed(Policy(), workload, Access(verb, resource, namespace, name, owners))

    assert may("get", "workloads", "web")
    assert may("get", "workloads/status", "web")
    assert may("get", "configmaps", "settings", "default", "web")
    assert not may("get", "workloads", "db")
    assert not may("get", "workloads", "web", "prod")
    assert not may("get", "configmaps", "settings", "default", "db")
    assert not may("get", "configmaps", "settings", "prod", "web")
    assert not may("update", "workloads", "web")


def test_a_binding_to_a_user_of_a_nodes_name_does_not_reach_the_node() -> None:
    made = Policy((), (RoleBinding("b", "admin", (Subject(SubjectKind.USER, "n1"),)),))
    assert not allowed(made, Principal("n1", PrincipalKind.NODE), Access("delete", "workloads", "prod", "web"))


def test_that_a_proof_runs_out_is_seen_at_its_moment() -> None:
    end = datetime(2026, 11, 22, tzinfo=UTC)
    assert Principal("ann", expires_at=end).is_expired(end)
    assert not Principal("ann", expires_at=end).is_expired(datetime(2026, 11, 21, tzinfo=UTC))
    assert not Principal("ann").is_expired(end)


def test_many_principals_are_no_more_memory_than_some() -> None:
    made = Policy((), (to_ann("viewer"),))
    for number in range(10_000):
        made.may(Principal(f"user-{number}"), Access("get", "workloads"))
    assert len(made._known) <= 4096


@pytest.mark.slow
def test_asking_takes_a_few_look_ups() -> None:
    bindings = [RoleBinding(f"b{n}", "editor", (Subject(SubjectKind.USER, "ann"),), f"ns{n}") for n in range(20)]
    made = Policy((), bindings)
    access = Access("scale", "workloads", "ns3", "web")
    made.may(ANN, access)

    def microseconds() -> float:
        before = time.process_time()
        for _ in range(2000):
            made.may(ANN, access)
        return (time.process_time() - before) / 2000 * 1e6

    assert median(microseconds() for _ in range(15)) < 25  # on a quiet machine about 3
