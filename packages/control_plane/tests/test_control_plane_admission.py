"""Mutators change what will be written, then it is checked once more, then validators say yes or no."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve, field, frozen
from orchestrion.control_plane._admission.chain import AdmissionChain
from orchestrion.control_plane._admission.review import AdmissionRequest, Operation, Review
from orchestrion.control_plane._identity.principals import Principal
from orchestrion.shared_types import ConfigInvalid, Denied, InternalError, Problem, QuotaExceeded

OBJECT: dict[str, Any] = {
    "kind": "Workload",
    "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}, "revision": 3},
    "spec": {"replicas": 1},
    "status": {"phase": "Running"},
}
REQUEST = AdmissionRequest(
    uid="r-1",
    operation=Operation.UPDATE,
    kind="Workload",
    namespace="shop",
    name="web",
    object=OBJECT,
    old_object=OBJECT,
    principal=Principal("ann"),
)


def operation(op: str, path: str, value: Any = None) -> dict[str, Any]:
    return {"op": op, "path": path, "value": value}


@frozen
class Step:
    """A mutator and a validator that says what a function makes of the object."""

    name: str
    says: Callable[[Any], Review]
    reinvoked: bool = False
    operations: frozenset[Operation] = frozenset(Operation)
    seen: list[Any] = field(factory=list)

    def handles(self, request: AdmissionRequest, /) -> bool:
        return request.operation in self.operations

    async def mutate(self, request: AdmissionRequest, /) -> Review:
        self.seen.append(request.object)
        return self.says(request.object)

    validate = mutate


def setter(name: str, path: str, value: Any, *, reinvoked: bool = False) -> Step:
    return Step(name, lambda _: Review(patch=[operation("add", path, value)]), reinvoked)


def checked(request: AdmissionRequest) -> dict[str, Any]:
    """Take replicas from 0 to 10, and write out that there are some."""
    assert request.object is not None
    if not 0 <= request.object["spec"]["replicas"] <= 10:
        raise ConfigInvalid((Problem("0 to 10 replicas are wanted", "spec.replicas"),))
    return {**request.object, "checked": True}


def chain(mutators: list[Step], validators: list[Step] | None = None) -> AdmissionChain:
    return AdmissionChain(mutators, validators or [], check=checked)


async def test_each_mutator_sees_what_the_ones_before_it_made() -> None:
    first = setter("first", "/spec/cpu", "1")
    second = Step("second", lambda seen: Review(patch=[operation("add", "/spec/memory", seen["spec"]["cpu"] + "Gi")]))

    admitted = await chain([first, second]).admit(REQUEST)

    assert admitted.object is not None
    assert admitted.object["spec"] == {"replicas": 1, "cpu": "1", "memory": "1Gi"}
    assert OBJECT["spec"] == {"replicas": 1}


async def test_validators_see_what_will_be_written() -> None:
    validator = Step("quota", lambda _: Review())

    admitted = await chain([setter("defaults", "/spec/replicas", 4)], [validator]).admit(REQUEST)

    assert validator.seen == [admitted.object]
    assert admitted.object == {**OBJECT, "spec": {"replicas": 4}, "checked": True}


async def test_what_mutators_made_of_the_object_is_checked_again() -> None:
    validator = Step("quota", lambda _: Review())

    with pytest.raises(ConfigInvalid, match=r"spec\.replicas: 0 to 10 replicas are wanted"):
        await chain([setter("greedy", "/spec/replicas", 11)], [validator]).admit(REQUEST)

    assert validator.seen == []


async def test_the_first_that_says_no_ends_it() -> None:
    steps = [
        Step("yes", lambda _: Review()),
        Step("images", lambda _: Review(allowed=False, reason="the registry is not trusted")),
        Step("quota", lambda _: Review(allowed=False, reason="there is no room")),
    ]

    with pytest.raises(Denied, match=r"^'images' refused it: the registry is not trusted$"):
        await chain([], steps).admit(REQUEST)

    assert [len(step.seen) for step in steps] == [1, 1, 0]


async def test_a_mutator_can_say_no_too_and_nothing_else_is_asked() -> None:
    refusing = Step("policy", lambda _: Review(allowed=False))
    later = Step("later", lambda _: Review())

    with pytest.raises(Denied, match="'policy' refused it: it gave no reason"):
        await chain([refusing, later], [later]).admit(REQUEST)

    assert later.seen == []


async def test_an_error_of_a_steps_own_gets_through() -> None:
    def says(_: Any) -> Review:
        raise QuotaExceeded("there are 3 of 3")

    with pytest.raises(QuotaExceeded):
        await chain([], [Step("quota", says)]).admit(REQUEST)


async def test_warnings_of_all_are_given_once_each_in_order() -> None:
    steps = [
        Step("a", lambda _: Review(warnings=("a", "old form"))),
        Step("b", lambda _: Review(warnings=("b", "old form"))),
    ]

    admitted = await chain(steps[:1], steps).admit(REQUEST)

    assert admitted.warnings == ("a", "old form", "b")


async def test_a_step_is_asked_only_about_what_it_handles() -> None:
    creating = Step("creating", lambda _: Review(allowed=False), operations=frozenset({Operation.CREATE}))

    await chain([creating], [creating]).admit(REQUEST)
    assert creating.seen == []

    with pytest.raises(Denied):
        await chain([], [creating]).admit(evolve(REQUEST, operation=Operation.CREATE))


async def test_an_object_that_goes_is_not_changed_but_validated() -> None:
    mutator, validator = setter("defaults", "/spec/replicas", 4), Step("guard", lambda _: Review(warnings=["gone"]))

    admitted = await chain([mutator], [validator]).admit(evolve(REQUEST, operation=Operation.DELETE, object=None))

    assert (admitted.object, admitted.warnings) == (None, ("gone",))
    assert mutator.seen == []


async def test_who_wants_it_is_asked_once_more_when_a_later_one_changed_the_object() -> None:
    counting = Step(
        "counting",
        lambda seen: Review(patch=[operation("add", "/spec/fields", len(seen["spec"]))]),
        reinvoked=True,
    )
    once = Step("once", lambda _: Review())
    admitted = await chain([counting, once, setter("later", "/spec/cpu", "1")]).admit(REQUEST)

    assert admitted.object is not None
    assert admitted.object["spec"] == {"replicas": 1, "fields": 3, "cpu": "1"}
    assert (len(counting.seen), len(once.seen)) == (2, 1)


@pytest.mark.parametrize(
    "later",
    [
        Step("silent", lambda _: Review()),
        setter("same", "/spec/replicas", 1),
        Step("back", lambda _: Review(patch=[operation("add", "/spec/x", 1), {"op": "remove", "path": "/spec/x"}])),
    ],
    ids=lambda step: step.name,
)
async def test_nobody_is_asked_once_more_where_nothing_was_changed(later: Step) -> None:
    first = setter("first", "/spec/cpu", "1", reinvoked=True)

    await chain([first, later]).admit(REQUEST)

    assert len(first.seen) == 1


async def test_two_that_undo_each_others_work_come_to_an_end() -> None:
    up = setter("up", "/spec/replicas", 2, reinvoked=True)
    down = setter("down", "/spec/replicas", 1, reinvoked=True)

    admitted = await chain([up, down]).admit(REQUEST)

    assert (len(up.seen), len(down.seen)) == (2, 2)
    assert admitted.object is not None
    assert admitted.object["spec"] == {"replicas": 1}


@pytest.mark.parametrize(
    "patch",
    [
        [operation("replace", "/metadata/name", "other")],
        [operation("replace", "/metadata/namespace", "prod")],
        [operation("add", "/metadata/uid", "u")],
        [operation("replace", "/metadata", {"labels": {}})],
        [operation("replace", "/metadata", 7)],
        [{"op": "remove", "path": "/metadata"}],
        [operation("replace", "/kind", "Node")],
        [operation("replace", "/status", {})],
        [{"op": "remove", "path": "/status"}],
        [operation("add", "/more", 1)],
        [operation("replace", "", [])],
        [operation("replace", "/spec/nothing", 1)],
        [operation("test", "/spec/replicas", 2)],
        ["nonsense"],
    ],
    ids=str,
)
async def test_a_patch_that_can_not_be_applied_or_goes_too_far_is_a_fault_of_its_mutator(patch: Any) -> None:
    with pytest.raises(InternalError, match="what 'odd' wanted changed in Workload 'web' could not be applied"):
        await chain([Step("odd", lambda _: Review(patch=patch))]).admit(REQUEST)


@pytest.mark.parametrize("part", ["labels", "annotations", "owners", "finalizers"])
async def test_a_mutator_may_change_what_is_not_identity(part: str) -> None:
    admitted = await chain([setter("tagger", f"/metadata/{part}", "new")]).admit(REQUEST)

    assert admitted.object is not None
    assert admitted.object["metadata"] == {**OBJECT["metadata"], part: "new"}
