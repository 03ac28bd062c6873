"""Server-side apply: who says what of an object."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from attrs import evolve
from orchestrion.control_plane._identity.audit_records import Outcome
from orchestrion.control_plane._identity.principals import Principal
from orchestrion.shared_types import Conflict, ContainerConfig, Metadata, WorkloadDefinition

from .api_stage import Answer, Api, Records

MAPS = "/api/v1/namespaces/default/configmaps"
WORKLOADS = "/api/v1/namespaces/default/workloads"
APPLY = "application/apply-patch+json"
CONTAINERS = [{"name": "main", "command": ["run"]}]


async def applied(api: Api, path: str, spec: dict[str, Any], query: str = "", **headers: str) -> Answer:
    return await api.client.ask("PATCH", f"{path}?{query}", {"spec": spec}, content_type=APPLY, **headers)


async def test_what_is_not_there_is_made_and_what_is_there_is_changed(api: Api) -> None:
    made = await applied(api, f"{MAPS}/a", {"data": {"x": "1"}}, "manager=mine")
    assert made.status == 201
    changed = await applied(api, f"{MAPS}/a", {"data": {"x": "2"}}, "manager=mine")
    assert (changed.status, changed.json["spec"]["data"]) == (200, {"x": "2"})
    assert changed.json["metadata"]["uid"] == made.json["metadata"]["uid"]
    same = await applied(api, f"{MAPS}/a", {"data": {"x": "2"}}, "manager=mine")
    assert same.json == changed.json


async def test_what_nobody_says_any_longer_is_gone_and_what_others_say_stays(api: Api) -> None:
    await applied(api, f"{MAPS}/a", {"data": {"x": "1", "y": "1"}}, "manager=mine")
    await applied(api, f"{MAPS}/a", {"data": {"z": "1"}}, "manager=theirs")
    both = await applied(api, f"{MAPS}/a", {"data": {"x": "1"}}, "manager=mine")
    assert both.json["spec"]["data"] == {"x": "1", "z": "1"}


async def test_a_contradiction_names_the_owner_and_force_takes_the_place(api: Api) -> None:
    await applied(api, f"{MAPS}/a", {"data": {"x": "1"}}, "manager=mine")
    refused = await applied(api, f"{MAPS}/a", {"data": {"x": "2"}}, "manager=theirs")
    assert refused.status == 409
    assert "spec.data.x is owned by 'mine'" in refused.json["detail"]
    assert (await api.client.ask("GET", f"{MAPS}/a")).json["spec"]["data"] == {"x": "1"}
    forced = await applied(api, f"{MAPS}/a", {"data": {"x": "2"}}, "manager=theirs&force=true")
    assert forced.json["spec"]["data"] == {"x": "2"}
    owners = (await api.client.ask("GET", f"{MAPS}/a?show=owners")).json["owners"]
    assert owners == {"spec.data.x": ["theirs"]}


async def test_who_writes_the_whole_owns_what_others_do_not_say_so(api: Api) -> None:
    await applied(api, f"{MAPS}/a", {"data": {"x": "1"}}, "manager=mine")
    await api.client.ask("PATCH", f"{MAPS}/a?manager=hand", {"spec": {"data": {"y": "2"}}})
    owners = (await api.client.ask("GET", f"{MAPS}/a?show=owners")).json["owners"]
    assert owners["spec.data.x"] == ["mine"]
    assert owners["spec.data.y"] == ["hand"]


async def test_it_can_be_written_in_yaml(api: Api) -> None:
    body = b"metadata: {labels: {app: web}}\nspec:\n  data: {x: one}\n"
    made = await api.client.ask("PATCH", f"{MAPS}/a", body, content_type="application/apply-patch+yaml")
    assert made.status == 201
    assert made.json["metadata"]["labels"] == {"app": "web"}


async def test_an_autoscaler_owns_the_number_of_a_workload(api: Api) -> None:
    path = f"{WORKLOADS}/web"
    made = await applied(api, path, {"containers": CONTAINERS}, "manager=git")
    assert made.status == 201
    scaled = await applied(api, path, {"replicas": 3}, "manager=autoscaler")
    assert scaled.json["spec"]["replicas"] == 3
    again = await applied(api, path, {"containers": CONTAINERS}, "manager=git")
    assert again.json["spec"]["replicas"] == 3
    refused = await applied(api, path, {"containers": CONTAINERS, "replicas": 1}, "manager=git")
    assert refused.status == 409
    assert "spec.replicas is owned by 'autoscaler'" in refused.json["detail"]
    withdrawn = await applied(api, path, {}, "manager=autoscaler")
    assert withdrawn.json["spec"].get("replicas", 1) == 1


async def test_what_is_written_past_it_is_owned_by_control(api: Api) -> None:
    path = f"{WORKLOADS}/web"
    await applied(api, path, {"containers": CONTAINERS}, "manager=git")
    record = await api.orchestrator.get_workload("web")
    from attrs import evolve

    await api.orchestrator.apply([evolve(record.definition, replicas=4)])
    owners = (await api.client.ask("GET", f"{path}?show=owners")).json["owners"]
    assert owners["spec.replicas"] == ["control"]
    refused = await applied(api, path, {"containers": CONTAINERS, "replicas": 2}, "manager=git")
    assert refused.status == 409


async def test_a_new_workload_of_the_same_name_has_new_owners(api: Api) -> None:
    path = f"{WORKLOADS}/web"
    await applied(api, path, {"containers": CONTAINERS, "replicas": 2}, "manager=git")
    await api.client.ask("DELETE", path)
    await trio.sleep(60)
    assert (await api.client.ask("GET", path)).status == 404
    assert (await api.objects.store.get("/fields/workload/default/web")).entry is None
    again = await applied(api, path, {"containers": CONTAINERS, "replicas": 1}, "manager=other")
    assert again.status == 201


async def test_a_dry_run_of_an_apply_writes_nothing(api: Api) -> None:
    tried = await applied(api, f"{MAPS}/a", {"data": {"x": "1"}}, "dry_run=true")
    assert tried.status == 201
    assert (await api.client.ask("GET", f"{MAPS}/a")).status == 404


async def test_a_secret_is_replaced_as_a_whole_and_leaves_no_text(api: Api) -> None:
    path = "/api/v1/namespaces/default/secrets/key"
    await applied(api, path, {"data": {"a": "canary"}}, "manager=mine")
    await applied(api, path, {"data": {"b": "canary"}}, "manager=theirs")
    assert (await api.client.ask("GET", path)).json["spec"]["data"] == {"b": "***"}
    entry = (await api.objects.store.get("/object/secrets/default/key")).entry
    assert entry is not None
    assert b"canary" not in entry.value


@pytest.mark.parametrize("body", [b"[1]", b"a: 1\n---\nb: 2\n", b"{"])
async def test_what_is_no_part_is_refused(api: Api, body: bytes) -> None:
    refused = await api.client.ask("PATCH", f"{MAPS}/a", body, content_type="application/apply-patch+yaml")
    assert refused.status == 400


@pytest.mark.parametrize(
    ("path", "spec"),
    [(f"{MAPS}/a", {"data": {"x": "1"}}), (f"{WORKLOADS}/a", {"containers": CONTAINERS})],
)
@pytest.mark.parametrize("query", ["manager=eve", "manager=eve&dry_run=true", "manager=eve&force=true"])
async def test_who_may_only_change_what_is_there_makes_nothing(
    api: Api, path: str, spec: dict[str, Any], query: str
) -> None:
    await grant(api, "apply")
    eve = api.as_("eve")
    refused = await eve.ask("PATCH", f"{path}?{query}", {"spec": spec}, content_type=APPLY)
    assert refused.status == 403
    assert "may not create" in refused.json["detail"]
    assert (await api.client.ask("GET", path)).status == 404
    await applied(api, path, spec, "manager=eve")
    assert (await eve.ask("PATCH", f"{path}?{query}", {"spec": spec}, content_type=APPLY)).status == 200


async def test_who_may_create_and_change_makes_what_is_not_there(api: Api) -> None:
    await grant(api, "apply", "create")
    for path, spec in ((f"{MAPS}/a", {"data": {"x": "1"}}), (f"{WORKLOADS}/a", {"containers": CONTAINERS})):
        made = await api.as_("eve").ask("PATCH", f"{path}?manager=eve", {"spec": spec}, content_type=APPLY)
        assert made.status == 201


async def test_that_somebody_was_kept_from_making_an_object_is_on_record(api: Api) -> None:
    await grant(api, "apply")
    log = api.server.oversight.pipeline.recorder = Records()
    await api.as_("eve").ask("PATCH", f"{MAPS}/a", {"spec": {"data": {}}}, content_type=APPLY)
    (record,) = log.kept
    assert (record.principal, record.name, record.outcome) == ("user:eve", "a", Outcome.DENIED)
    assert "may not create configmaps" in record.reason


async def grant(api: Api, *verbs: str) -> None:
    """Let eve in, with some verbs."""
    api.keeper.principals["eve"] = Principal("eve")
    rules = [{"verbs": list(verbs), "resources": ["configmaps", "workloads"]}]
    await api.client.ask("POST", "/api/v1/roles", {"metadata": {"name": "some"}, "spec": {"rules": rules}})
    spec = {"role": "some", "subjects": [{"kind": "user", "name": "eve"}]}
    await api.client.ask("POST", "/api/v1/rolebindings", {"metadata": {"name": "some"}, "spec": spec})


def web(replicas: int = 1, command: str = "run") -> WorkloadDefinition:
    main = ContainerConfig(name="main", command=(command,))
    return WorkloadDefinition(metadata=Metadata(name="web"), replicas=replicas, containers=(main,))


async def test_definitions_leave_what_other_managers_say(api: Api) -> None:
    control = api.management.control
    await control.apply([web()])
    await applied(api, f"{WORKLOADS}/web", {"replicas": 4}, "manager=autoscaler")
    await control.apply([web(command="other")])
    shown = (await api.client.ask("GET", f"{WORKLOADS}/web?show=owners")).json
    assert (shown["spec"]["replicas"], shown["spec"]["containers"][0]["command"]) == (4, ["other"])
    assert shown["owners"]["spec.replicas"] == ["autoscaler"]
    assert shown["owners"]["spec.containers[main].command"] == ["control"]


async def test_definitions_contradict_other_managers_only_with_force(api: Api) -> None:
    control = api.management.control
    await control.apply([web()])
    await applied(api, f"{WORKLOADS}/web", {"replicas": 4}, "manager=autoscaler")
    with pytest.raises(Conflict, match=r"spec\.replicas is owned by 'autoscaler'"):
        await control.apply([web(replicas=3)])
    with pytest.raises(Conflict, match="'autoscaler'"):
        await control.plan([web(replicas=3)])
    await control.apply([web(replicas=3)], force=True)
    shown = (await api.client.ask("GET", f"{WORKLOADS}/web?show=owners")).json
    assert (shown["spec"]["replicas"], shown["owners"]["spec.replicas"]) == (3, ["control"])


async def test_definitions_are_the_word_of_the_manager_that_is_named(api: Api) -> None:
    control = api.management.control
    await control.apply([web(replicas=2)], manager="deploy")
    with pytest.raises(Conflict, match="is owned by 'deploy'"):
        await control.apply([web(replicas=3)])
    await control.apply([web(replicas=3)], manager="deploy")
    assert (await api.client.ask("GET", f"{WORKLOADS}/web")).json["spec"]["replicas"] == 3


def limited(cpu: Any, grace: Any, interval: Any = "1m") -> list[dict[str, Any]]:
    check = {"exec": ["probe"], "interval": interval}
    return [{"name": "main", "resources": {"cpu": cpu}, "stop_grace": grace, "health": check}]


async def test_the_same_in_other_words_is_no_contradiction_and_both_say_it(api: Api) -> None:
    path = f"{WORKLOADS}/web"
    first = [{**limited("500m", "60s")[0], "command": ["run"]}]
    assert (await applied(api, path, {"containers": first}, "manager=git")).status == 201
    for words in (limited(0.5, "1m", "60s"), limited("0.5", 60, 60.0), limited("500m", "60s")):
        same = await applied(api, path, {"containers": words}, "manager=tuner")
        assert (same.status, same.json["metadata"]["generation"]) == (200, 1), same.json
    owners = (await api.client.ask("GET", f"{path}?show=owners")).json["owners"]
    assert owners["spec.containers[main].resources.cpu"] == ["git", "tuner"]
    assert owners["spec.containers[main].stop_grace"] == ["git", "tuner"]
    assert owners["spec.containers[main].command"] == ["git"]


@pytest.mark.parametrize("turned", [False, True])
async def test_a_list_of_names_and_what_it_is_shown_as_are_the_same_words(api: Api, turned: bool) -> None:
    path = f"{WORKLOADS}/web"
    forms: list[Any] = [["http"], {"http": {}}]
    listed, shown = [{"containers": [{"name": "main", "command": ["run"], "ports": ports}]} for ports in forms]
    first, second = (shown, listed) if turned else (listed, shown)
    assert (await applied(api, path, first, "manager=git")).status == 201
    same = await applied(api, path, second, "manager=tuner")
    assert (same.status, same.json["metadata"]["generation"]) == (200, 1), same.json
    assert same.json["spec"]["containers"][0]["ports"] == {"http": {}}
    owners = (await api.client.ask("GET", f"{path}?show=owners")).json["owners"]
    claimed = [whose for place, whose in owners.items() if ".ports" in place]
    assert claimed == [["git", "tuner"]]
    other = {"containers": [{"name": "main", "ports": {"admin": {}} if not turned else ["admin"]}]}
    assert (await applied(api, path, other, "manager=third")).status == 409


async def test_what_is_another_value_is_named_and_what_is_the_same_beside_it_is_not(api: Api) -> None:
    path = f"{WORKLOADS}/web"
    first = [{**limited("500m", "60s")[0], "command": ["run"]}]
    await applied(api, path, {"containers": first}, "manager=git")
    refused = await applied(api, path, {"containers": limited(0.5, "61s")}, "manager=tuner")
    assert refused.status == 409
    assert "spec.containers[main].stop_grace is owned by 'git'" in refused.json["detail"]
    assert "cpu" not in refused.json["detail"]
    forced = await applied(api, path, {"containers": limited(0.5, "61s")}, "manager=tuner&force=true")
    assert forced.status == 200
    owners = (await api.client.ask("GET", f"{path}?show=owners")).json["owners"]
    assert owners["spec.containers[main].resources.cpu"] == ["git", "tuner"]
    assert owners["spec.containers[main].stop_grace"] == ["tuner"]


async def test_texts_that_only_look_like_quantities_are_what_they_are(api: Api) -> None:
    def told(text: str) -> dict[str, Any]:
        return {"containers": [{"name": "main", "command": ["wait", text], "env": {"WAIT": text}}]}

    await applied(api, f"{WORKLOADS}/web", told("60s"), "manager=git")
    refused = await applied(api, f"{WORKLOADS}/web", told("1m"), "manager=tuner")
    assert refused.status == 409
    assert "command is owned" in refused.json["detail"]
    assert "env" in refused.json["detail"]


async def test_definitions_say_the_same_in_other_words_too(api: Api) -> None:
    control = api.management.control
    await applied(api, f"{WORKLOADS}/web", {"containers": [{**limited(0.5, 60)[0], "command": ["run"]}]}, "manager=git")
    (view,) = await control.list_workloads()
    result = await control.apply([view.definition], manager="deploy")
    assert [change.action for change in result.changes] == ["unchanged"]
    (main,) = view.definition.containers
    with pytest.raises(Conflict, match="stop_grace is owned by 'git'") as refused:
        await control.apply(
            [evolve(view.definition, containers=(evolve(main, stop_grace_seconds=61),))], manager="deploy"
        )
    assert "cpu" not in refused.value.message


@pytest.mark.parametrize(
    ("kind", "one", "same", "other"),
    [
        ("resourcequotas", {"hard": {"cpu": "2"}}, {"hard": {"cpu": "2000m"}}, {"hard": {"cpu": "2001m"}}),
        ("limitranges", {"max": {"memory": "1Gi"}}, {"max": {"memory": "1024Mi"}}, {"max": {"memory": "1G"}}),
    ],
)
async def test_amounts_are_compared_as_amounts(kind: str, one: Any, same: Any, other: Any, api: Api) -> None:
    path = f"/api/v1/namespaces/default/{kind}/small"
    await applied(api, path, one, "manager=git")
    both = await applied(api, path, same, "manager=tuner")
    assert (both.status, both.json["spec"]) == (200, one)
    assert (await applied(api, path, other, "manager=tuner")).status == 409
