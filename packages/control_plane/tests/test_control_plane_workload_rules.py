"""What a namespace's objects make of workloads: priority classes, limit ranges, image policies."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from orchestrion.control_plane._identity.principals import Principal
from orchestrion.orchestrator_core import ChangeAction
from orchestrion.shared_types import (
    ConfigInvalid,
    ContainerConfig,
    Denied,
    Metadata,
    OwnerReference,
    Resources,
    Uid,
    WorkloadDefinition,
    unstructure,
)
from orchestrion.shared_types.manifest import parse_manifest

from .api_stage import Answer, Api

SPACE = "/api/v1/namespaces/default"
WORKLOADS = f"{SPACE}/workloads"
CLASSES = "/api/v1/priorityclasses"


def workload(name: str = "web", **spec: Any) -> dict[str, Any]:
    spec.setdefault("containers", [{"name": "main", "command": ["run"]}])
    return {"metadata": {"name": name}, "spec": {"kind": "service", **spec}}


def named(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": spec}


def definition(name: str = "web", **fields: Any) -> WorkloadDefinition:
    fields.setdefault("containers", (ContainerConfig(name="main", command=("run",)),))
    return WorkloadDefinition(metadata=Metadata(name=name), **fields)


async def made(api: Api, path: str, data: Any) -> Answer:
    answer = await api.client.ask("POST", path, data)
    assert answer.status == 201, answer.body
    return answer


async def wanted(api: Api, name: str = "web") -> WorkloadDefinition:
    return (await api.orchestrator.get_workload(name)).definition


async def test_a_priority_class_that_somebody_has_made_may_be_named(api: Api) -> None:
    await made(api, CLASSES, named("nightly", value=77, preempts=False))
    await made(api, WORKLOADS, workload(priority_class="nightly"))
    assert ((await wanted(api)).priority, (await wanted(api)).preempts) == (77, False)


async def test_a_priority_class_that_is_not_there_is_refused_with_those_that_are(api: Api) -> None:
    await made(api, CLASSES, named("nightly", value=77))
    refused = await api.client.ask("POST", WORKLOADS, workload(priority_class="nigthly"))
    assert refused.status == 400
    assert refused.json["message"] == "spec.priority_class: there is no priority class 'nigthly'"
    assert "batch, best-effort, nightly, production-high" in refused.json["remedy"]


async def test_what_stands_beside_a_class_says_the_same_or_is_refused(api: Api) -> None:
    await made(api, CLASSES, named("nightly", value=77))
    refused = await api.client.ask("POST", WORKLOADS, workload(priority_class="nightly", priority=78))
    assert refused.status == 400
    assert "spec.priority" in refused.json["message"]
    await made(api, WORKLOADS, workload(priority_class="nightly", priority=77))


async def test_the_standard_classes_stay_as_they_are(api: Api) -> None:
    refused = await api.client.ask("POST", CLASSES, named("batch", value=1))
    assert refused.status == 400
    assert "standard" in refused.json["message"]


async def test_who_does_not_say_gets_the_class_of_the_namespace_or_else_the_default_one(api: Api) -> None:
    await made(api, CLASSES, named("usual", value=5, default=True))
    await made(api, CLASSES, named("unusual", value=9))
    await made(api, WORKLOADS, workload("a"))
    assert (await wanted(api, "a")).priority == 5
    patched = await api.client.ask("PATCH", "/api/v1/namespaces/default", {"spec": {"priority_class": "unusual"}})
    assert patched.status == 200
    await made(api, WORKLOADS, workload("b"))
    await made(api, WORKLOADS, workload("c", priority=3))
    await api.management.control.apply([definition("d")])
    assert [(await wanted(api, name)).priority for name in "abcd"] == [5, 9, 3, 9]


async def test_a_namespace_can_not_name_a_class_that_is_not_there(api: Api) -> None:
    patched = await api.client.ask("PATCH", "/api/v1/namespaces/default", {"spec": {"priority_class": "nothing"}})
    assert patched.status == 400
    assert "spec.priority_class" in patched.json["message"]


async def test_a_limit_range_gives_and_refuses_and_leaves_the_rest_as_it_was_written(api: Api) -> None:
    await made(api, f"{SPACE}/limitranges", named("small", default={"cpu": "250m"}, max={"cpu": 1}))
    containers = [
        {"name": "a", "command": ["run"], "env": {"X": "1"}, "resources": {"memory": "1Mi"}},
        {"name": "b", "command": ["run"], "resources": {"cpu": 1}},
    ]
    answer = await made(api, WORKLOADS, workload(containers=containers, replicas=2, after={}))
    first, second = answer.json["spec"]["containers"]
    assert first["resources"] == {"cpu": "250m", "memory": "1Mi"}
    assert first["env"] == {"X": "1"}
    assert second["resources"] == {"cpu": 1}
    refused = await api.client.ask(
        "PATCH", f"{WORKLOADS}/web", {"spec": {"containers": [{**second, "resources": {"cpu": 2}}]}}
    )
    assert refused.status == 400
    assert "spec.containers[0].resources.cpu" in refused.json["message"]


async def test_what_comes_over_control_is_owned_by_nothing_that_is_not_there(api: Api) -> None:
    plain = definition()
    owner = OwnerReference(kind="ConfigMap", name="nobody", uid=Uid("01890a5d-ac96-774b-bcce-b302099a8057"))
    owned = evolve(plain, metadata=evolve(plain.metadata, owners=(owner,)))
    refused = await api.client.ask("POST", "/v1/apply", {"workloads": [unstructure(owned)]})
    assert (refused.status, "no ConfigMap 'nobody'" in refused.json["message"]) == (400, True)
    assert (await api.client.ask("GET", f"{WORKLOADS}/web")).status == 404


async def test_what_comes_over_control_is_held_to_the_same(api: Api) -> None:
    control = api.management.control
    await made(api, f"{SPACE}/limitranges", named("small", default={"memory": "64Mi"}, max={"cpu": 1}))
    await control.apply([definition()])
    assert (await wanted(api)).containers[0].resources == Resources(memory_bytes=64 * 1024**2)
    greedy = ContainerConfig(name="main", command=("run",), resources=Resources(cpu_millicores=1001))
    for call in (control.apply, control.plan):
        with pytest.raises(ConfigInvalid):
            await call([definition(containers=(greedy,))])
    body = {"workloads": [unstructure(definition(containers=(greedy,)))]}
    assert (await api.client.ask("POST", "/v1/apply", body)).status == 400


async def test_applying_the_same_again_changes_nothing(api: Api) -> None:
    await made(api, CLASSES, named("usual", value=5, default=True))
    await made(api, f"{SPACE}/limitranges", named("small", default={"memory": "64Mi"}))
    control = api.management.control
    await control.apply([definition()])
    again = await control.apply([definition()])
    assert [change.differences for change in again.changes] == [()]


async def test_an_image_policy_says_which_images_may_run(api: Api) -> None:
    await api.client.ask(
        "PATCH",
        "/api/v1/namespaces/default",
        {"spec": {"images": {"allow": ["registry.example/*"], "deny": ["*:latest"]}}},
    )
    refused = await api.client.ask("POST", WORKLOADS, workload(containers=[{"name": "main", "image": "evil/miner:1"}]))
    assert refused.status == 403
    assert "does not allow 'evil/miner:1'" in refused.json["message"]
    await made(api, WORKLOADS, workload())  # without an image
    container = ContainerConfig(name="main", image="registry.example/web:latest")
    with pytest.raises(Denied, match="denies"):
        await api.management.control.apply([definition(containers=(container,))])
    await api.management.control.apply(
        [definition("img", containers=(ContainerConfig(name="main", image="registry.example/web:1"),))]
    )


@pytest.mark.parametrize("pattern", ["", "*" * 20])
async def test_a_pattern_that_can_not_be_meant_is_refused(api: Api, pattern: str) -> None:
    refused = await api.client.ask("PATCH", "/api/v1/namespaces/default", {"spec": {"images": {"deny": [pattern]}}})
    assert refused.status == 400
    assert "spec.images.deny" in refused.json["message"]


@pytest.mark.parametrize(
    "containers", [7, [7], [{"name": "a", "command": ["run"], "resources": {"cpu": "much"}}], [{"command": ["run"]}]]
)
async def test_what_is_no_workload_is_refused_with_its_place_also_under_rules(api: Api, containers: Any) -> None:
    await made(api, f"{SPACE}/limitranges", named("small", default={"cpu": "250m"}))
    refused = await api.client.ask("POST", WORKLOADS, workload(containers=containers))
    assert refused.status == 400
    assert "spec.containers" in refused.json["message"]


async def test_a_limit_range_with_crossed_bounds_is_refused(api: Api) -> None:
    refused = await api.client.ask("POST", f"{SPACE}/limitranges", named("odd", min={"cpu": 2}, max={"cpu": 1}))
    assert refused.status == 400
    assert "spec.min.cpu" in refused.json["message"]


GOLD = b"workloads: {web: {priority_class: gold, containers: [{name: main, command: [run]}]}}"


async def test_a_class_that_a_client_passed_on_is_looked_up(api: Api) -> None:
    await made(api, CLASSES, {"metadata": {"name": "gold"}, "spec": {"value": 77_000, "preempts": False}})
    control = api.management.control
    planned = await control.plan(parse_manifest(GOLD, classes=None).workloads)
    assert planned.changes[0].action is ChangeAction.CREATE
    await control.apply(parse_manifest(GOLD, classes=None).workloads)
    definition = (await control.get_workload("web")).definition
    assert (definition.priority, definition.preempts, definition.priority_class) == (77_000, False, "")
    again = await control.apply(parse_manifest(GOLD, classes=None).workloads)
    assert again.changes[0].action is ChangeAction.UNCHANGED


async def test_a_class_that_a_client_passed_on_and_nobody_knows_is_refused(api: Api) -> None:
    await made(api, CLASSES, {"metadata": {"name": "silver"}, "spec": {"value": 1}})
    with pytest.raises(ConfigInvalid, match="there is no priority class 'gold'") as caught:
        await api.management.control.apply(parse_manifest(GOLD, classes=None).workloads)
    assert "silver" in caught.value.remedy
    assert not api.orchestrator.world.workloads


async def test_a_manifest_that_is_sent_as_a_whole_may_name_a_class(api: Api) -> None:
    refused = await api.client.ask("POST", "/api/v1/apply", GOLD, content_type="application/yaml")
    assert (refused.status, "no priority class 'gold'" in refused.json["detail"]) == (400, True)
    await made(api, CLASSES, {"metadata": {"name": "gold"}, "spec": {"value": 77_000}})
    assert (await api.client.ask("POST", "/api/v1/apply", GOLD, content_type="application/yaml")).status == 200
    assert (await api.client.ask("GET", f"{WORKLOADS}/web")).json["spec"]["priority"] == 77_000


async def test_no_right_is_gone_around_by_a_class_that_is_looked_up(api: Api) -> None:
    api.keeper.principals["dev"] = Principal("dev")
    spec = {"role": "editor", "subjects": [{"kind": "user", "name": "dev"}]}
    await made(api, "/api/v1/rolebindings", {"metadata": {"name": "dev"}, "spec": spec})
    body = {"workloads": [unstructure(definition(priority_class="system-critical"))]}
    refused = await api.as_("dev").ask("POST", "/v1/apply", body)
    assert (refused.status, "may not write a workload of priority 2000000000" in refused.json["detail"]) == (403, True)
    assert not api.orchestrator.world.workloads
