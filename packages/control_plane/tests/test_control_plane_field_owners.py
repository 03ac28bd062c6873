"""Who says what of an object, and what the object then is."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from orchestrion.control_plane._objects.field_owners import Applied, apply, hand_on, owners_of, replace, revise
from orchestrion.control_plane._objects.json_patch import apply_patch, make_patch
from orchestrion.control_plane._objects.json_values import equal
from orchestrion.shared_types import ConfigInvalid, Conflict

MANAGERS = st.sampled_from(["alice", "bot", "carol"])
SCALARS = st.sampled_from([None, True, 0, 1, "x"])
NAMED = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from("pqr")}, optional={"cpu": SCALARS, "env": st.dictionaries(st.just("k"), SCALARS)}
    ),
    unique_by=lambda item: str(item["name"]),
    max_size=3,
)
FIELDS = st.one_of(SCALARS, st.lists(SCALARS, max_size=2), NAMED, st.dictionaries(st.sampled_from("ab"), SCALARS))
SPECS = st.dictionaries(st.sampled_from(["replicas", "ports", "containers"]), FIELDS, max_size=3)
STEPS = st.lists(st.tuples(st.sampled_from(["apply", "force", "replace"]), MANAGERS, SPECS), max_size=4)


def after(steps: list[tuple[str, str, dict[str, Any]]]) -> Applied:
    """Return what there is after some changes, without those that were refused."""
    state = Applied({}, {})
    for how, manager, document in steps:
        if how == "replace":
            state = replace(state.applied, manager, document)
        else:
            try:
                state = apply(state.applied, manager, document, force=how == "force")
            except Conflict:
                continue
    return state


def merged(applied: Any) -> Any:
    """Return the spec that parts make, by applying an empty part to them."""
    return apply(applied, "nobody", {}).spec


def test_what_one_manager_applies_is_the_spec() -> None:
    document = {"replicas": 2, "containers": [{"name": "web", "command": ["serve"]}]}

    assert apply({}, "alice", document) == Applied(document, {"alice": document})


def test_what_a_manager_says_no_longer_is_absent() -> None:
    state = apply({}, "alice", {"replicas": 2, "labels": {"a": "1", "b": "2"}})

    assert apply(state.applied, "alice", {"labels": {"b": "2"}}).spec == {"labels": {"b": "2"}}


def test_two_managers_say_each_their_part() -> None:
    state = apply({}, "alice", {"containers": [{"name": "web", "command": ["serve"]}]})
    state = apply(state.applied, "autoscaler", {"replicas": 5, "containers": [{"name": "web", "cpu": "2"}]})

    assert state.spec == {"replicas": 5, "containers": [{"name": "web", "command": ["serve"], "cpu": "2"}]}
    assert owners_of(state.applied) == {
        "spec.containers[web].command": ("alice",),
        "spec.containers[web].cpu": ("autoscaler",),
        "spec.containers[web].name": ("alice", "autoscaler"),
        "spec.replicas": ("autoscaler",),
    }


def test_what_another_says_differently_is_a_conflict_that_names_place_and_owner() -> None:
    state = apply({}, "autoscaler", {"replicas": 5, "labels": {"a.b/c": "x"}})

    with pytest.raises(Conflict) as refused:
        apply(state.applied, "alice", {"replicas": 2, "labels": {"a.b/c": "y"}})

    assert str(refused.value) == (
        "spec.labels[\"a.b/c\"] is owned by 'autoscaler'\n"
        "spec.replicas is owned by 'autoscaler'\n"
        "Leave it out, or take it over: force=true, or --force-conflicts of the command."
    )


def test_a_conflict_names_all_owners_of_a_value_and_no_more_places_than_are_read() -> None:
    document = {f"field-{number:02}": number for number in range(30)}
    state = apply(apply({}, "alice", document).applied, "bot", document)

    with pytest.raises(Conflict) as refused:
        apply(state.applied, "carol", dict.fromkeys(document, "mine"))

    lines = refused.value.message.splitlines()
    assert lines[0] == "spec.field-00 is owned by 'alice' and 'bot'"
    assert len(lines) == 21
    assert lines[-1] == "and 10 more"


def test_with_force_the_others_lose_the_place() -> None:
    state = apply({}, "autoscaler", {"replicas": 5, "cpu": {"max": 2}})

    state = apply(state.applied, "alice", {"replicas": 2}, force=True)

    assert state.spec == {"replicas": 2, "cpu": {"max": 2}}
    assert state.applied == {"alice": {"replicas": 2}, "autoscaler": {"cpu": {"max": 2}}}


def test_who_lost_all_is_no_owner_any_longer() -> None:
    state = apply({}, "bot", {"a": {"b": {"c": 1}}})

    assert apply(state.applied, "alice", {"a": {"b": {"c": 2}}}, force=True).applied == {
        "alice": {"a": {"b": {"c": 2}}}
    }


def test_equal_values_are_shared_and_stay_until_the_last_leaves_them_out() -> None:
    state = apply({}, "alice", {"replicas": 2})
    state = apply(state.applied, "bot", {"replicas": 2})
    assert owners_of(state.applied) == {"spec.replicas": ("alice", "bot")}

    state = apply(state.applied, "alice", {})
    assert state == Applied({"replicas": 2}, {"bot": {"replicas": 2}})

    assert apply(state.applied, "bot", {}) == Applied({}, {})


@pytest.mark.parametrize(
    ("theirs", "mine"),
    [
        ([1, 2], [1]),
        ([{"name": "a"}], [{"image": "a"}]),
        ([{"name": "a"}], [{"name": "a"}, {"name": "a"}]),
        ([{"name": "a"}], {"a": {"name": "a"}}),
        ({"a": 1}, "a"),
        ([], {}),
        ([1], []),
        (1, True),
        (None, {}),
    ],
    ids=str,
)
def test_values_of_different_forms_contradict_each_other(theirs: Any, mine: Any) -> None:
    state = apply({}, "bot", {"x": theirs})

    with pytest.raises(Conflict, match=r"spec\.x is owned by 'bot'"):
        apply(state.applied, "alice", {"x": mine})
    assert equal(apply(state.applied, "alice", {"x": mine}, force=True).spec, {"x": mine})


def test_an_empty_object_or_list_only_says_that_it_is_there() -> None:
    state = apply({}, "bot", {"labels": {}, "volumes": []})
    state = apply(state.applied, "alice", {"labels": {"a": "b"}, "volumes": [{"name": "data"}]})
    assert state.spec == {"labels": {"a": "b"}, "volumes": [{"name": "data"}]}

    assert apply(state.applied, "alice", {}).spec == {"labels": {}, "volumes": []}


def test_items_stay_in_the_order_of_the_longest_part() -> None:
    def items(names: str) -> dict[str, Any]:
        return {"items": [{"name": name} for name in names]}

    state = apply({}, "bot", items("cabd"))
    state = apply(state.applied, "alice", items("xay"))
    state = apply(state.applied, "carol", items("z"))

    assert state.spec == items("cxaybdz")


def test_who_writes_the_whole_owns_what_nobody_said_so() -> None:
    state = apply({}, "alice", {"replicas": 2, "cpu": 1, "containers": [{"name": "web", "command": ["serve"]}]})

    spec = {"replicas": 3, "cpu": 1, "containers": [{"name": "web", "command": ["serve"], "tty": True}]}
    state = replace(state.applied, "bob", spec)

    assert state == Applied(
        spec,
        {
            "alice": {"cpu": 1, "containers": [{"name": "web", "command": ["serve"]}]},
            "bob": {"replicas": 3, "containers": [{"name": "web", "tty": True}]},
        },
    )


def test_who_writes_the_whole_takes_what_it_leaves_out_from_all() -> None:
    state = apply({}, "alice", {"replicas": 2, "cpu": 1})

    assert replace(state.applied, "bob", {"cpu": 1}) == Applied({"cpu": 1}, {"alice": {"cpu": 1}})


def test_who_writes_the_whole_again_keeps_what_it_shared() -> None:
    state = apply(apply({}, "alice", {"cpu": 1}).applied, "bob", {"cpu": 1})

    assert replace(state.applied, "bob", {"cpu": 1}) == state


def test_who_writes_the_whole_says_the_order_where_the_others_do_not() -> None:
    state = apply(apply({}, "alice", {"c": [{"name": "a", "x": 1}]}).applied, "bot", {"c": [{"name": "b", "x": 1}]})
    spec = {"c": [{"name": "b", "x": 1}, {"name": "a", "x": 1}]}

    state = replace(state.applied, "carol", spec)

    assert state.spec == spec
    assert state.applied["carol"] == {"c": [{"name": "b"}, {"name": "a"}]}


def test_a_document_that_is_too_deep_is_refused() -> None:
    document: Any = {}
    for _ in range(5_000):
        document = {"a": document}

    with pytest.raises(ConfigInvalid, match="nested more than 64 levels"):
        apply({}, "alice", document)
    with pytest.raises(ConfigInvalid, match="nested more than 64 levels"):
        replace({}, "alice", document)


@pytest.mark.slow
@given(STEPS)
def test_the_spec_is_all_parts_merged(steps: list[tuple[str, str, dict[str, Any]]]) -> None:
    state = after(steps)

    assert equal(merged(state.applied), state.spec)
    assert equal(merged({name: state.applied[name] for name in reversed(list(state.applied))}), state.spec)


@pytest.mark.slow
@given(STEPS, MANAGERS, SPECS, st.booleans())
def test_applying_twice_is_applying_once(steps: Any, manager: str, document: dict[str, Any], force: bool) -> None:
    state = after(steps)
    try:
        once = apply(state.applied, manager, document, force=force)
    except Conflict:
        assume(False)

    assert apply(once.applied, manager, document) == once
    assert equal(once.applied.get(manager, {}), document)


@pytest.mark.slow
@given(STEPS, MANAGERS, SPECS)
def test_without_force_nobody_changes_what_others_say(steps: Any, manager: str, document: dict[str, Any]) -> None:
    state = after(steps)
    others = {name: part for name, part in state.applied.items() if name != manager}
    try:
        applied = apply(state.applied, manager, document)
    except Conflict:
        assume(False)

    assert {name: part for name, part in applied.applied.items() if name != manager} == others
    for part in others.values():
        assert apply(applied.applied, "the-last", part).spec == applied.spec


@pytest.mark.slow
@given(st.lists(st.tuples(MANAGERS, SPECS), max_size=3, unique_by=lambda step: step[0]))
def test_the_order_in_which_managers_come_makes_no_difference(steps: list[tuple[str, dict[str, Any]]]) -> None:
    try:
        there = [apply({}, "nobody", {})]
        for manager, document in steps:
            there.append(apply(there[-1].applied, manager, document))
    except Conflict:
        assume(False)
    back = apply({}, "nobody", {})
    for manager, document in reversed(steps):
        back = apply(back.applied, manager, document)

    assert equal(back.spec, there[-1].spec)
    assert back.applied == there[-1].applied


@pytest.mark.slow
@given(STEPS, MANAGERS, SPECS)
def test_what_is_written_as_the_whole_is_the_spec_and_only_the_writer_gains(
    steps: Any, manager: str, spec: dict[str, Any]
) -> None:
    state = after(steps)

    written = replace(state.applied, manager, spec)

    assert equal(written.spec, spec)
    assert replace(written.applied, manager, spec) == written
    before = owners_of(state.applied)
    for path, owners in owners_of(written.applied).items():
        assert set(owners) - {manager} <= set(before.get(path, ()))


@pytest.mark.slow
@given(STEPS, MANAGERS, SPECS)
def test_arguments_stay_as_they_are(steps: Any, manager: str, document: dict[str, Any]) -> None:
    applied = after(steps).applied
    kept = copy.deepcopy((applied, document))

    apply(applied, manager, document, force=True)
    replace(applied, manager, document)

    assert (applied, document) == kept


@pytest.mark.slow
@given(STEPS, MANAGERS, SPECS)
def test_a_patch_between_two_states_is_what_a_preview_can_show(steps: Any, manager: str, document: Any) -> None:
    before = after(steps)
    changed = apply(before.applied, manager, document, force=True)

    assert equal(apply_patch(before.spec, make_patch(before.spec, changed.spec)), changed.spec)


def test_who_changes_a_value_says_that_and_nothing_else() -> None:
    parts = {"ci": {"cpu": 0.5, "replicas": 1, "grace": "60s"}}
    before = {"cpu": "500m", "grace": "1m", "memory": "1Gi"}

    changed = revise(parts, "hand", before, {**before, "grace": "120s"}, {**before, "grace": "2m"})

    assert changed == {"ci": {"cpu": 0.5, "replicas": 1}, "hand": {"grace": "2m"}}


def test_who_writes_the_same_in_other_words_says_nothing() -> None:
    before = {"cpu": "500m", "memory": "1Gi"}
    parts = {"ci": {"cpu": 0.5}}

    assert revise(parts, "hand", before, {"cpu": 0.5, "memory": "1024Mi"}, before) == parts


def test_what_was_added_by_the_way_is_nobodys() -> None:
    changed = revise({}, "hand", {"a": 1}, {"a": 1, "b": 2}, {"a": 3, "b": 2, "c": 4})

    assert changed == {"hand": {"b": 2}}


def test_who_says_a_default_says_it_though_it_is_not_kept() -> None:
    assert revise({"ci": {"replicas": 3}}, "hand", {"replicas": 3}, {"replicas": 1}, {}) == {"hand": {"replicas": 1}}


def test_what_is_changed_for_a_manager_stays_its_own() -> None:
    parts: dict[str, Any] = {"ci": {"command": "two", "cpu": 0.5}, "scaler": {"replicas": 4}}
    before = {"command": "two", "cpu": "500m", "replicas": 4}

    handed = hand_on(parts, before, {"command": "one", "cpu": "500m", "replicas": 4, "env": {"A": "1"}}, "undo")

    assert handed == {"ci": {"command": "one", "cpu": 0.5, "env": {"A": "1"}}, "scaler": {"replicas": 4}}
    assert hand_on({}, {}, {"a": 1}, "undo") == {"undo": {"a": 1}}


@pytest.mark.slow
@given(steps=STEPS, manager=MANAGERS, spec=SPECS)
def test_whoever_changes_it_the_parts_say_the_whole(
    steps: list[tuple[str, str, dict[str, Any]]], manager: str, spec: dict[str, Any]
) -> None:
    state = after(steps)
    for parts in (
        revise(state.applied, manager, state.spec, spec, spec),
        hand_on(state.applied, state.spec, spec, manager),
    ):
        assert make_patch(merged(parts), spec) == []


@pytest.mark.slow
@given(steps=STEPS, manager=MANAGERS, spec=SPECS)
def test_who_changes_nothing_says_no_more_than_before(
    steps: list[tuple[str, str, dict[str, Any]]], manager: str, spec: dict[str, Any]
) -> None:
    state = after(steps)
    assert revise(state.applied, manager, state.spec, state.spec, state.spec) == state.applied
    assert revise(state.applied, manager, state.spec, spec, state.spec) == state.applied
