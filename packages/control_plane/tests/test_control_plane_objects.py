"""Objects of every kind: made, read, changed, listed, removed and followed through the API."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import trio
from orchestrion.control_plane._identity.principals import Principal

from .api_stage import Api

MAPS = "/api/v1/namespaces/default/configmaps"
WORKLOADS = "/api/v1/namespaces/default/workloads"


def config(name: str = "settings", **data: str) -> dict[str, Any]:
    return {"kind": "ConfigMap", "metadata": {"name": name}, "spec": {"data": data}}


def workload(name: str = "web", **spec: Any) -> dict[str, Any]:
    spec.setdefault("kind", "service")
    spec.setdefault("containers", [{"name": "main", "command": ["run"]}])
    return {"kind": "Workload", "metadata": {"name": name}, "spec": spec}


async def test_an_object_is_given_what_the_server_keeps_of_it(api: Api) -> None:
    made = await api.client.ask("POST", MAPS, config(color="blue"))
    assert made.status == 201
    metadata = made.json["metadata"]
    assert metadata["generation"] == 1
    assert metadata["uid"]
    assert metadata["created_at"] == metadata["updated_at"]
    assert made.headers["etag"] == f'"{metadata["revision"]}"'
    assert made.headers["location"] == f"{MAPS}/settings"
    read = await api.client.ask("GET", f"{MAPS}/settings")
    assert read.json == made.json


async def test_there_is_only_one_of_a_name(api: Api) -> None:
    await api.client.ask("POST", MAPS, config())
    again = await api.client.ask("POST", MAPS, config())
    assert again.status == 409
    assert "already" in again.json["detail"]


async def test_an_object_needs_its_namespace(api: Api) -> None:
    refused = await api.client.ask("POST", "/api/v1/namespaces/elsewhere/configmaps", config())
    assert refused.status == 404
    assert "create namespace elsewhere" in refused.json["detail"]
    made = await api.client.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "elsewhere"}})
    assert made.status == 201
    assert (await api.client.ask("POST", "/api/v1/namespaces/elsewhere/configmaps", config())).status == 201


async def test_a_change_counts_generations_and_an_equal_one_is_none(api: Api) -> None:
    made = (await api.client.ask("POST", MAPS, config(a="1"))).json
    same = (await api.client.ask("PUT", f"{MAPS}/settings", made)).json
    assert same == made
    made["spec"]["data"]["a"] = "2"
    changed = await api.client.ask("PUT", f"{MAPS}/settings", made)
    assert changed.status == 200
    assert changed.json["metadata"]["generation"] == 2
    assert changed.json["metadata"]["revision"] > made["metadata"]["revision"]


async def test_a_change_of_what_is_no_longer_so_is_refused(api: Api) -> None:
    made = (await api.client.ask("POST", MAPS, config(a="1"))).json
    await api.client.ask("PATCH", f"{MAPS}/settings", {"spec": {"data": {"a": "2"}}})
    stale = await api.client.ask("PUT", f"{MAPS}/settings", made)
    assert stale.status == 412
    by_header = await api.client.ask(
        "PATCH", f"{MAPS}/settings", {"spec": {"data": {"a": "3"}}}, if_match=f'"{made["metadata"]["revision"]}"'
    )
    assert by_header.status == 412
    assert (await api.client.ask("GET", f"{MAPS}/settings")).json["spec"]["data"] == {"a": "2"}


async def test_a_patch_by_operations_is_all_or_nothing(api: Api) -> None:
    await api.client.ask("POST", MAPS, config(a="1"))
    operations = [
        {"op": "add", "path": "/spec/data/b", "value": "2"},
        {"op": "test", "path": "/spec/data/a", "value": "other"},
    ]
    refused = await api.client.ask("PATCH", f"{MAPS}/settings", operations, content_type="application/json-patch+json")
    assert refused.status == 412
    assert (await api.client.ask("GET", f"{MAPS}/settings")).json["spec"]["data"] == {"a": "1"}


async def test_a_dry_run_checks_all_and_changes_nothing(api: Api) -> None:
    tried = await api.client.ask("POST", f"{MAPS}?dry_run=true", config())
    assert tried.status == 201
    assert (await api.client.ask("GET", f"{MAPS}/settings")).status == 404


async def test_what_does_not_fit_its_kind_is_refused_with_its_place(api: Api) -> None:
    refused = await api.client.ask("POST", MAPS, {"metadata": {"name": "x"}, "spec": {"data": {"a": 1}, "dada": {}}})
    assert refused.status == 400
    assert "spec.data" in refused.json["detail"]
    assert "dada" in refused.json["detail"]


async def test_a_workload_is_an_object_that_runs(api: Api) -> None:
    made = await api.client.ask("POST", WORKLOADS, workload(replicas=2))
    assert made.status == 201
    await trio.sleep(5)
    read = (await api.client.ask("GET", f"{WORKLOADS}/web")).json
    assert read["status"]["phase"] == "Healthy"
    assert read["spec"]["replicas"] == 2
    instances = (await api.client.ask("GET", "/api/v1/namespaces/default/instances")).json["items"]
    assert [each["status"]["state"] for each in instances] == ["Running", "Running"]
    await api.client.ask("PATCH", f"{WORKLOADS}/web", {"spec": {"replicas": 1}})
    await trio.sleep(60)
    assert (await api.client.ask("GET", f"{WORKLOADS}/web")).json["status"]["running"] == 1


async def test_a_workload_that_can_not_be_is_refused_with_its_place(api: Api) -> None:
    refused = await api.client.ask("POST", WORKLOADS, workload(replicas=-1))
    assert refused.status == 400
    assert "spec.replicas" in refused.json["detail"]


async def test_a_removed_workload_goes_once_nothing_runs(api: Api) -> None:
    await api.client.ask("POST", WORKLOADS, workload())
    await trio.sleep(5)
    assert (await api.client.ask("DELETE", f"{WORKLOADS}/web")).status == 200
    await trio.sleep(60)
    assert (await api.client.ask("GET", f"{WORKLOADS}/web")).status == 404


async def test_a_list_is_of_one_namespace_or_of_all(api: Api) -> None:
    await api.client.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "other"}})
    for namespace, name in (("default", "b"), ("default", "a"), ("other", "c")):
        await api.client.ask("POST", f"/api/v1/namespaces/{namespace}/configmaps", config(name))
    listed = (await api.client.ask("GET", MAPS)).json
    assert listed["kind"] == "ConfigMapList"
    assert [each["metadata"]["name"] for each in listed["items"]] == ["a", "b"]
    everywhere = (await api.client.ask("GET", "/api/v1/configmaps")).json
    assert [each["metadata"]["name"] for each in everywhere["items"]] == ["a", "b", "c"]


async def test_nodes_are_objects(api: Api) -> None:
    await trio.sleep(1)
    listed = (await api.client.ask("GET", "/api/v1/nodes")).json
    assert [each["status"]["status"] for each in listed["items"]] == ["Ready", "Ready"]


async def test_secret_texts_are_never_shown(api: Api) -> None:
    secret = {"metadata": {"name": "key"}, "spec": {"data": {"password": "canary"}}}
    path = "/api/v1/namespaces/default/secrets"
    made = await api.client.ask("POST", path, secret)
    assert made.status == 201
    assert made.json["spec"]["data"] == {"password": "***"}
    assert b"canary" not in (await api.client.ask("GET", path)).body
    entry = (await api.objects.store.get("/object/secrets/default/key")).entry
    assert entry is not None
    assert b"canary" not in entry.value


async def test_what_is_wrong_with_a_secret_is_told_without_it(api: Api) -> None:
    path = "/api/v1/namespaces/default/secrets"
    for spec in ({"data": {"password": ["canary"]}}, {"data": "canary"}, {"data": {}, "immutable": "canary"}):
        refused = await api.client.ask("POST", path, {"metadata": {"name": "key"}, "spec": spec})
        assert refused.status == 400
        assert "spec" in refused.json["detail"]
        assert b"canary" not in refused.body


async def test_a_custom_kind_is_a_kind(api: Api) -> None:
    kind = {"metadata": {"name": "backups"}, "spec": {"kind": "Backup", "plural": "backups"}}
    assert (await api.client.ask("GET", "/api/v1/namespaces/default/backups")).status == 404
    assert (await api.client.ask("POST", "/api/v1/customkinds", kind)).status == 201
    made = await api.client.ask(
        "POST", "/api/v1/namespaces/default/backups", {"metadata": {"name": "nightly"}, "spec": {"at": "02:00"}}
    )
    assert made.status == 201
    assert made.json["kind"] == "Backup"


async def lines(chunks: AsyncIterator[bytes]) -> AsyncGenerator[dict[str, Any], None]:
    async for chunk in chunks:
        for line in chunk.splitlines():
            yield json.loads(line)


async def test_a_watch_gives_what_there_is_and_then_what_happens(api: Api) -> None:
    await api.client.ask("POST", MAPS, config("before"))
    async with api.client.stream("GET", f"{MAPS}?watch=true") as (status, headers, chunks):
        assert status == 200
        assert headers["content-type"] == "application/x-ndjson"
        async with aclosing(lines(chunks)) as events:
            first, mark = await anext(events), await anext(events)
            assert (first["type"], first["object"]["metadata"]["name"]) == ("ADDED", "before")
            assert mark["type"] == "BOOKMARK"
            await api.client.ask("POST", MAPS, config("after"))
            await api.client.ask("DELETE", f"{MAPS}/before")
            added, deleted = await anext(events), await anext(events)
        assert (added["type"], added["object"]["metadata"]["name"]) == ("ADDED", "after")
        assert (deleted["type"], deleted["object"]["metadata"]["name"]) == ("DELETED", "before")


async def test_a_watch_goes_on_where_another_was_cut_off(api: Api) -> None:
    revision = (await api.client.ask("GET", MAPS)).json["metadata"]["revision"]
    for name in ("a", "b", "c"):
        await api.client.ask("POST", MAPS, config(name))
    seen = list[str]()
    since = str(revision)
    for _ in range(3):
        async with api.client.stream("GET", f"{MAPS}?watch=true&since={since}") as (_, _, chunks):
            async with aclosing(lines(chunks)) as events:
                event = await anext(events)
            seen.append(event["object"]["metadata"]["name"])
            since = event["id"]
    assert seen == ["a", "b", "c"]


async def test_a_watch_from_what_is_no_longer_kept_says_so(api: Api) -> None:
    for name in range(3):
        await api.client.ask("POST", MAPS, config(f"m{name}"))
    api.objects.history.max_events = 1
    await api.client.ask("POST", MAPS, config("last"))
    gone = await api.client.ask("GET", f"{MAPS}?watch=true&since=1")
    assert gone.status == 410
    assert gone.json["code"] == "compacted"


async def test_nobody_gets_in_without_a_name_nor_does_what_is_not_theirs(api: Api) -> None:
    nobody = await api.as_("").ask("GET", MAPS)
    assert nobody.status == 401
    api.keeper.principals["eve"] = Principal("eve")
    assert (await api.as_("eve").ask("GET", MAPS)).status == 403
    assert (await api.as_("").ask("GET", "/healthz")).status == 200
