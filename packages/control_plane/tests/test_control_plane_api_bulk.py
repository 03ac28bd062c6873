"""Many objects at once, and requests that are done once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve
from orchestrion.control_plane._service.replies import KEPT, Replies
from orchestrion.orchestrator_core import trio_time

from .api_stage import Api

MAPS = "/api/v1/namespaces/default/configmaps"
YAML = "application/yaml"

MANIFEST = b"""
namespace: shop
workloads:
  web:
    replicas: 2
    containers: [{name: main, command: [run]}]
---
kind: Namespace
metadata: {name: shop}
---
kind: ConfigMap
metadata: {name: settings, namespace: shop}
spec: {data: {color: blue}}
"""


def config(name: str, **data: str) -> dict[str, Any]:
    return {"kind": "ConfigMap", "metadata": {"name": name}, "spec": {"data": data}}


async def test_a_manifest_and_objects_are_applied_in_one_write(api: Api) -> None:
    done = await api.client.ask("POST", "/api/v1/apply", MANIFEST, content_type=YAML)
    assert done.status == 200
    assert [(each["kind"], each["action"]) for each in done.json["items"]] == [
        ("Workload", "create"),
        ("Namespace", "create"),
        ("ConfigMap", "create"),
    ]
    for path in ("workloads/web", "configmaps/settings"):
        found = await api.client.ask("GET", f"/api/v1/namespaces/shop/{path}")
        assert found.json["metadata"]["revision"] == done.json["revision"]
    again = await api.client.ask("POST", "/api/v1/apply", MANIFEST, content_type=YAML)
    assert {each["action"] for each in again.json["items"]} == {"unchanged"}
    assert again.json["revision"] == 0


@pytest.mark.parametrize(
    "bad",
    [
        {"kind": "ConfigMap", "metadata": {"name": "z"}, "spec": {"data": {"a": 1}}},
        {"kind": "ConfigMap", "metadata": {"name": "z", "namespace": "nowhere"}, "spec": {}},
        {"kind": "Workload", "metadata": {"name": "z"}, "spec": {"containers": []}},
        {"kind": "Nonsense", "metadata": {"name": "z"}},
        {"kind": "Node", "metadata": {"name": "z"}},
        config("good"),
        7,
    ],
)
async def test_one_that_is_refused_lets_none_be_written(api: Api, bad: Any) -> None:
    workload = {
        "kind": "Workload",
        "metadata": {"name": "web"},
        "spec": {"containers": [{"name": "a", "command": ["x"]}]},
    }
    refused = await api.client.ask("POST", "/api/v1/apply", {"items": [config("good", a="1"), workload, bad]})
    assert refused.status in (400, 404)
    assert (await api.client.ask("GET", f"{MAPS}/good")).status == 404
    assert (await api.client.ask("GET", "/api/v1/namespaces/default/workloads/web")).status == 404


async def test_what_another_manager_says_differently_refuses_all(api: Api) -> None:
    await api.client.ask(
        "PATCH", f"{MAPS}/a?manager=hand", {"spec": {"data": {"x": "1"}}}, content_type="application/apply-patch+json"
    )
    items = {"items": [config("b"), config("a", x="2")]}
    refused = await api.client.ask("POST", "/api/v1/apply", items)
    assert refused.status == 409
    assert "'hand'" in refused.json["detail"]
    assert (await api.client.ask("GET", f"{MAPS}/b")).status == 404
    forced = await api.client.ask("POST", "/api/v1/apply?force=true", items)
    assert forced.status == 200
    assert (await api.client.ask("GET", f"{MAPS}/a")).json["spec"]["data"] == {"x": "2"}


async def test_more_than_one_write_takes_is_refused(api: Api) -> None:
    refused = await api.client.ask("POST", "/api/v1/apply", {"items": [config(f"n{n}") for n in range(129)]})
    assert refused.status == 400
    assert "Split" in refused.json["detail"]


async def test_a_plan_says_what_apply_would_do_and_does_nothing(api: Api) -> None:
    planned = await api.client.ask("POST", "/api/v1/plan", MANIFEST, content_type=YAML)
    assert planned.status == 200
    assert [each["action"] for each in planned.json["items"]] == ["create", "create", "create"]
    assert len(planned.json["placements"]) == 2
    assert (await api.client.ask("GET", "/api/v1/namespaces/shop")).status == 404


async def test_a_request_with_a_key_is_done_once(api: Api) -> None:
    first = await api.client.ask("POST", MAPS, config("a", x="1"), idempotency_key="k1")
    again = await api.client.ask("POST", MAPS, config("a", x="1"), idempotency_key="k1")
    assert (again.status, again.body, again.headers["etag"]) == (201, first.body, first.headers["etag"])
    assert (await api.client.ask("POST", MAPS, config("a", x="1"))).status == 409


async def test_a_key_belongs_to_one_request(api: Api) -> None:
    await api.client.ask("POST", MAPS, config("a"), idempotency_key="k1")
    assert (await api.client.ask("POST", MAPS, config("b"), idempotency_key="k1")).status == 409
    assert (await api.client.ask("GET", f"{MAPS}/b")).status == 404


async def test_a_refused_request_can_be_sent_again_with_its_key(api: Api) -> None:
    path = "/api/v1/namespaces/later/configmaps"
    assert (await api.client.ask("POST", path, config("a"), idempotency_key="k1")).status == 404
    await api.client.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "later"}})
    assert (await api.client.ask("POST", path, config("a"), idempotency_key="k1")).status == 201


async def test_a_patch_with_a_key_counts_once(api: Api) -> None:
    await api.client.ask("POST", MAPS, config("a", x="1"))
    step = [
        {"op": "test", "path": "/spec/data/x", "value": "1"},
        {"op": "replace", "path": "/spec/data/x", "value": "2"},
    ]
    for _ in range(2):
        done = await api.client.ask(
            "PATCH", f"{MAPS}/a", step, content_type="application/json-patch+json", idempotency_key="k1"
        )
        assert done.status == 200


async def test_a_request_that_was_done_is_not_done_again_where_its_answer_was_lost(api: Api) -> None:
    store = api.objects.store
    await api.client.ask("POST", MAPS, config("a", x="1"), idempotency_key="k1")
    (entry,) = (await store.list("/reply/-/")).entries
    from orchestrion.control_plane._service.replies import Reply
    from orchestrion.shared_types import from_json, to_json

    await store.put(entry.key, to_json(evolve(from_json(entry.value, Reply), answer=None)))
    again = await api.client.ask("POST", MAPS, config("a", x="1"), idempotency_key="k1")
    assert again.status == 201
    assert again.json["spec"]["data"] == {"x": "1"}


async def test_the_record_of_a_request_is_written_with_what_it_does(api: Api) -> None:
    for path, data in (
        (MAPS, config("a")),
        (
            "/api/v1/namespaces/default/workloads",
            {"metadata": {"name": "web"}, "spec": {"containers": [{"name": "a", "command": ["x"]}]}},
        ),
    ):
        made = await api.client.ask("POST", path, data, idempotency_key=f"k{path[-5:]}")
        entries = (await api.objects.store.list("/reply/-/")).entries
        assert made.json["metadata"]["revision"] in {entry.created for entry in entries}


async def test_kept_answers_are_forgotten_after_a_day(api: Api) -> None:
    await api.client.ask("POST", MAPS, config("a"), idempotency_key="k1")
    store = api.objects.store
    await Replies(store, lambda: trio_time() + KEPT - timedelta(minutes=1), b"").sweep()
    assert len((await store.list("/reply/-/")).entries) == 1
    await Replies(store, lambda: trio_time() + KEPT, b"").sweep()
    assert not (await store.list("/reply/-/")).entries
