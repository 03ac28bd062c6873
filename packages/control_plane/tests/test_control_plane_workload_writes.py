"""What writing a workload's object does to what runs: no more than was said."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from .api_stage import Answer, Api

SPACE = "/api/v1/namespaces/default"
WORKLOADS = f"{SPACE}/workloads"
APPLY = "application/apply-patch+json"
MERGE = "application/merge-patch+json"


def workload(name: str = "web", *commands: str, **spec: Any) -> dict[str, Any]:
    spec.setdefault("containers", [{"name": "main", "command": list(commands) or ["run"]}])
    return {"metadata": {"name": name}, "spec": spec}


async def made(api: Api, name: str = "web", *commands: str, **spec: Any) -> None:
    answer = await api.client.ask("POST", WORKLOADS, workload(name, *commands, **spec))
    assert answer.status == 201, answer.json
    await trio.sleep(60)


async def phase(api: Api, name: str = "web") -> str:
    found: str = (await api.client.ask("GET", f"{WORKLOADS}/{name}")).json["status"]["phase"]
    return found


async def instances(api: Api) -> list[str]:
    items = (await api.client.ask("GET", f"{SPACE}/instances")).json["items"]
    return [item["metadata"]["name"] for item in items]


@pytest.mark.parametrize(
    ("query", "patch", "form"),
    [
        ("", {}, MERGE),
        ("", {"metadata": {"labels": {"team": "a"}}}, MERGE),
        ("", {"metadata": {"annotations": {"note": "a"}}}, MERGE),
        ("", {"metadata": {"finalizers": [{"name": "backup", "owner": "me"}]}}, MERGE),
        ("", {"spec": {"containers": [{"name": "main", "command": ["other"]}]}}, MERGE),
        ("?manager=scaler", {"spec": {"replicas": 2}}, APPLY),
    ],
)
async def test_what_was_stopped_stays_so_until_it_is_started(api: Api, query: str, patch: Any, form: str) -> None:
    await made(api)
    await api.client.ask("POST", f"{WORKLOADS}/web/stop")
    await trio.sleep(60)
    answer = await api.client.ask("PATCH", f"{WORKLOADS}/web{query}", patch, content_type=form)
    assert answer.status == 200, answer.json
    await trio.sleep(60)
    assert await phase(api) == "Stopped"
    await api.client.ask("POST", f"{WORKLOADS}/web/start")
    await trio.sleep(60)
    assert await phase(api) == "Healthy"


async def test_a_full_quota_does_not_stand_in_the_way_of_what_starts_nothing(api: Api) -> None:
    quota = {"metadata": {"name": "all"}, "spec": {"hard": {"instances": 2}}}
    await api.client.ask("POST", f"{SPACE}/resourcequotas", quota)
    await made(api, "first", replicas=2)
    await api.client.ask("POST", f"{WORKLOADS}/first/stop")
    await trio.sleep(60)
    await made(api, "second", replicas=2)
    for patch in ({"metadata": {"labels": {"team": "a"}}}, {"spec": {"replicas": 1}}):
        assert (await api.client.ask("PATCH", f"{WORKLOADS}/first", patch)).status == 200
    assert (await api.client.ask("POST", f"{WORKLOADS}/first/start")).status == 403


@pytest.mark.parametrize("code", ["0", "3"])
@pytest.mark.parametrize(
    "metadata",
    [{"labels": {"team": "a"}}, {"annotations": {"note": "a"}}, {"finalizers": [{"name": "backup", "owner": "me"}]}],
)
async def test_work_that_has_ended_is_not_done_again_for_its_metadata(api: Api, code: str, metadata: Any) -> None:
    await made(api, "job", "exit", code, kind="batch", retries=0)
    before, ended = await instances(api), await phase(api, "job")
    assert ended in ("Succeeded", "Failed")
    assert (await api.client.ask("PATCH", f"{WORKLOADS}/job", {"metadata": metadata})).status == 200
    await trio.sleep(60)
    assert (await instances(api), await phase(api, "job")) == (before, ended)


async def test_only_labels_replace_what_runs_because_others_are_placed_by_them(api: Api) -> None:
    await made(api)
    before = await instances(api)
    held = [{"name": "backup", "owner": "me"}]
    changes: list[dict[str, Any]] = [{"annotations": {"note": "a"}}, {"finalizers": held}, {"finalizers": []}]
    for metadata in changes:
        await api.client.ask("PATCH", f"{WORKLOADS}/web", {"metadata": metadata})
        await trio.sleep(60)
    assert await instances(api) == before
    await api.client.ask("PATCH", f"{WORKLOADS}/web", {"metadata": {"labels": {"team": "a"}}})
    await trio.sleep(60)
    assert before != await instances(api)


async def applied(api: Api, spec: dict[str, Any], manager: str = "ci", name: str = "web", **headers: str) -> Answer:
    path = f"{WORKLOADS}/{name}?manager={manager}"
    return await api.client.ask("PATCH", path, {"spec": spec}, content_type=APPLY, **headers)


async def owners(api: Api, path: str = f"{WORKLOADS}/web") -> dict[str, list[str]]:
    found: dict[str, list[str]] = (await api.client.ask("GET", f"{path}?show=owners")).json["owners"]
    return found


def container(**more: Any) -> dict[str, Any]:
    return {"name": "main", "command": ["run"], **more}


async def test_who_changes_a_label_takes_no_field_that_another_says_in_its_own_words(api: Api) -> None:
    spec = {"containers": [container(resources={"cpu": 0.5, "memory": "1024Mi"}, stop_grace="60s")]}
    await applied(api, spec)
    before = await owners(api)
    for patch in ({"metadata": {"labels": {"team": "a"}}}, {"spec": {"replicas": 2}}):
        assert (await api.client.ask("PATCH", f"{WORKLOADS}/web?manager=hand", patch)).status == 200
    assert await owners(api) == {**before, "spec.replicas": ["hand"]}
    assert (await applied(api, spec)).status == 200
    more = {"containers": [container(resources={"cpu": 0.75, "memory": "1024Mi"}, stop_grace="60s")]}
    assert (await applied(api, more)).status == 200


async def test_what_a_limit_range_fills_in_is_nobodys(api: Api) -> None:
    limits = {"metadata": {"name": "small"}, "spec": {"default": {"cpu": "100m"}}}
    await api.client.ask("POST", f"{SPACE}/limitranges", limits)
    await applied(api, {"containers": [container()]})
    await api.client.ask("PATCH", f"{WORKLOADS}/web?manager=hand", {"metadata": {"annotations": {"note": "a"}}})
    assert {manager for each in (await owners(api)).values() for manager in each} == {"ci"}
    assert (await applied(api, {"containers": [container(resources={"cpu": "200m"})]})).status == 200


async def test_who_applied_a_workload_goes_on_after_an_undo(api: Api) -> None:
    for command in ("one", "two"):
        await applied(api, {"containers": [container(command=[command])]})
        await trio.sleep(60)
    undone = await api.client.ask("POST", f"{WORKLOADS}/web/rollout", {"undo": {}})
    assert undone.json["spec"]["containers"][0]["command"] == ["one"]
    scaled = await applied(api, {"replicas": 2}, "scaler")
    assert scaled.json["spec"]["containers"][0]["command"] == ["one"]
    third = await applied(api, {"containers": [container(command=["three"])]})
    assert (third.status, third.json["spec"]["containers"][0]["command"]) == (200, ["three"])


async def test_an_undo_is_done_once(api: Api) -> None:
    for command in ("one", "two"):
        await applied(api, {"containers": [container(command=[command])]})
        await trio.sleep(60)
    for _ in range(2):
        undone = await api.client.ask("POST", f"{WORKLOADS}/web/rollout", {"undo": {}}, idempotency_key="u")
        assert undone.json["spec"]["containers"][0]["command"] == ["one"]
        await trio.sleep(60)


async def history(api: Api) -> list[tuple[int, str]]:
    told = (await api.client.ask("GET", f"{WORKLOADS}/web/rollout")).json["history"]
    return [(each["generation"], each["cause"]) for each in told]


async def test_a_restart_is_done_once_and_its_generation_says_so(api: Api) -> None:
    await applied(api, {"containers": [container(command=["one"])]})
    await trio.sleep(60)
    for _ in range(2):
        answer = await api.client.ask("POST", f"{WORKLOADS}/web/rollout", {"restart": {}}, idempotency_key="r")
        assert (answer.status, answer.json["metadata"]["generation"]) == (200, 2)
        await trio.sleep(60)
    assert await history(api) == [(1, ""), (2, "restart")]
    assert (await api.client.ask("GET", f"{WORKLOADS}/web/rollout")).json["done"]


async def test_who_says_what_of_a_workload_says_it_still_after_a_restart(api: Api) -> None:
    await applied(api, {"containers": [container(command=["one"])]})
    before = await owners(api)
    await api.client.ask("POST", f"{WORKLOADS}/web/rollout", {"restart": {}})
    assert await owners(api) == before
    same = await applied(api, {"containers": [container(command=["one"])]})
    assert (same.status, same.json["metadata"]["generation"]) == (200, 2)


async def test_an_undo_goes_back_beyond_restarts(api: Api) -> None:
    for command in ("one", "two"):
        await applied(api, {"containers": [container(command=[command])]})
        await trio.sleep(60)
    await api.client.ask("POST", f"{WORKLOADS}/web/rollout", {"restart": {}})
    await trio.sleep(60)
    undone = await api.client.ask("POST", f"{WORKLOADS}/web/rollout", {"undo": {}})
    assert undone.json["spec"]["containers"][0]["command"] == ["one"]


async def test_what_was_only_restarted_has_nothing_to_go_back_to_and_says_so(api: Api) -> None:
    await applied(api, {"containers": [container(command=["one"])]})
    await api.client.ask("POST", f"{WORKLOADS}/web/rollout", {"restart": {}})
    refused = await api.client.ask("POST", f"{WORKLOADS}/web/rollout", {"undo": {}})
    assert (refused.status, "it was restarted" in refused.json["detail"]) == (409, True), refused.json


async def test_a_restart_that_is_only_tried_out_or_of_something_else_changes_nothing(api: Api) -> None:
    await applied(api, {"containers": [container(command=["one"])]})
    path = f"{WORKLOADS}/web/rollout"
    assert (await api.client.ask("POST", f"{path}?dry_run=true", {"restart": {}})).status == 200
    assert (await api.client.ask("POST", path, {"restart": {}}, if_match='"99"')).status == 412
    assert (await api.client.ask("POST", f"{WORKLOADS}/none/rollout", {"restart": {}})).status == 404
    assert await history(api) == [(1, "")]


async def test_a_removal_depends_on_what_was_read_until_it_is_on_record(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await made(api)
    etag = (await api.client.ask("GET", f"{WORKLOADS}/web")).headers["etag"]
    catch_up, changed = api.orchestrator.store.get, False

    async def overtaken(key: str, /) -> Any:
        nonlocal changed
        if key == "/" and not changed:
            changed = True
            assert (await api.client.ask("PATCH", f"{WORKLOADS}/web", {"spec": {"replicas": 3}})).status == 200
        return await catch_up(key)

    monkeypatch.setattr(api.orchestrator.store, "get", overtaken)
    assert (await api.client.ask("DELETE", f"{WORKLOADS}/web", if_match=etag)).status == 412
    assert changed
    await trio.sleep(60)
    assert await phase(api) == "Healthy"


async def test_a_refused_removal_leaves_nothing_behind_and_a_trial_of_it_is_refused_too(api: Api) -> None:
    await made(api, "first", "sleep", "1000", kind="batch")
    await made(api, "second", "never", kind="batch", after={"first": "succeeded"})
    before = (await api.client.ask("GET", f"{WORKLOADS}/first")).json["metadata"]
    for query in ("cascade=orphan&dry_run=true", "cascade=orphan", "cascade=foreground"):
        assert (await api.client.ask("DELETE", f"{WORKLOADS}/first?{query}")).status == 409
    assert (await api.client.ask("GET", f"{WORKLOADS}/first")).json["metadata"] == before


async def test_claims_of_the_servers_own_are_made_by_nobody_else(api: Api) -> None:
    claims = [{"name": "orphans", "owner": "orchestrion"}, {"name": "backup", "owner": "me"}]
    first = {**workload("first"), "metadata": {"name": "first", "finalizers": claims}}
    answers = [await api.client.ask("POST", WORKLOADS, first)]
    await made(api, "second")
    answers.append(await api.client.ask("PATCH", f"{WORKLOADS}/second", {"metadata": {"finalizers": claims}}))
    part = {"metadata": {"finalizers": claims}, "spec": workload()["spec"]}
    answers.append(await api.client.ask("PATCH", f"{WORKLOADS}/third?manager=ci", part, content_type=APPLY))
    for answer in answers:
        held = answer.json["metadata"]["finalizers"]
        assert [claim["owner"] for claim in held] == ["me"]


async def test_a_trial_shows_what_would_be(api: Api) -> None:
    limits = {"metadata": {"name": "small"}, "spec": {"default": {"cpu": "100m"}}}
    await api.client.ask("POST", f"{SPACE}/limitranges", limits)
    tried = await api.client.ask("POST", f"{WORKLOADS}?dry_run=true", workload())
    assert (await api.client.ask("GET", f"{WORKLOADS}/web")).status == 404
    await made(api)
    now = await api.client.ask("GET", f"{WORKLOADS}/web")
    assert tried.json["spec"] == now.json["spec"]
    assert (bool(tried.json["metadata"]["uid"]), tried.json["metadata"]["generation"]) == (True, 1)
    change = {"spec": {"replicas": 7}, "metadata": {"labels": {"team": "a"}}}
    patched = await api.client.ask("PATCH", f"{WORKLOADS}/web?dry_run=true", change)
    part = {"spec": {"replicas": 7}, "metadata": {"labels": {"team": "a"}}}
    path = f"{WORKLOADS}/web?manager=scaler&dry_run=true&force=true"
    forced = await api.client.ask("PATCH", path, part, content_type=APPLY)
    for shown in (patched, forced):
        assert (shown.json["spec"]["replicas"], shown.json["metadata"]["labels"]) == (7, {"team": "a"})
        assert shown.json["metadata"]["uid"] == now.json["metadata"]["uid"]
        assert shown.json["metadata"]["revision"] == now.json["metadata"]["revision"]
        assert shown.json["status"]["phase"] == "Healthy"
        assert shown.json["metadata"]["generation"] == 2
    assert (await api.client.ask("GET", f"{WORKLOADS}/web")).json == now.json


async def test_a_workload_made_anew_keeps_who_says_what_of_it(api: Api) -> None:
    await applied(api, {"containers": [container()]})
    await trio.sleep(60)
    await api.client.ask("DELETE", f"{WORKLOADS}/web")
    await trio.sleep(60)
    await applied(api, {"containers": [container()]})
    await api.objects.workloads.fields.forget("default", "web")
    assert {manager for each in (await owners(api)).values() for manager in each} == {"ci"}


async def test_whose_fields_were_whose_is_forgotten_with_the_workload(api: Api) -> None:
    await applied(api, {"containers": [container()]})
    await api.client.ask("DELETE", f"{WORKLOADS}/web")
    await trio.sleep(60)
    assert (await api.objects.store.list("/fields/")).entries == ()


async def test_what_is_applied_to_what_is_not_there_has_no_revision(api: Api) -> None:
    spec = {"containers": [container()]}
    assert (await applied(api, spec, if_match='"99"')).status == 412
    part = {"metadata": {"uid": "1", "revision": 7}, "spec": spec}
    for path in (f"{WORKLOADS}/web", f"{SPACE}/configmaps/web"):
        data = part if "workloads" in path else {**part, "spec": {}}
        assert (await api.client.ask("PATCH", f"{path}?manager=ci", data, content_type=APPLY)).status == 412
        assert (await api.client.ask("GET", path)).status == 404
    refused = await api.client.ask(
        "PATCH", f"{SPACE}/configmaps/web?manager=ci", {"spec": {}}, content_type=APPLY, if_match='"99"'
    )
    assert refused.status == 412
