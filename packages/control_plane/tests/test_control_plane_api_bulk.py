"""Many objects at once, and requests that are done once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
import trio
from attrs import evolve
from orchestrion.control_plane._history.event import ALL_SEEN, EventType, Position
from orchestrion.control_plane._objects.kinds import CONFIG_MAP
from orchestrion.control_plane._service.replies import KEPT, Replies
from orchestrion.mocks import MemoryState, MemoryStore
from orchestrion.orchestrator_core import trio_time
from orchestrion.store_interface import Compare, Operation, Revision, StoreUnavailable
from trio.testing import MockClock

from .api_stage import Api, api_served

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


def job(name: str, *after: str) -> dict[str, Any]:
    """Return a batch workload that comes after others."""
    containers = [{"name": "main", "command": ["run"]}]
    spec = {"kind": "batch", "containers": containers, "after": dict.fromkeys(after, "succeeded")}
    return {"kind": "Workload", "metadata": {"name": name}, "spec": spec}


async def test_workloads_may_come_after_others_of_the_same_request(api: Api) -> None:
    done = await api.client.ask("POST", "/api/v1/apply", {"items": [job("b", "a"), job("c", "a", "b"), job("a")]})
    assert done.status == 200
    assert [each["action"] for each in done.json["items"]] == ["create"] * 3


async def test_workloads_that_come_after_each_other_are_refused(api: Api) -> None:
    refused = await api.client.ask("POST", "/api/v1/apply", {"items": [job("a", "b"), job("b", "a")]})
    assert refused.status == 400
    assert (await api.client.ask("POST", "/api/v1/apply", {"items": [job("a", "nobody")]})).status == 400


async def test_too_many_objects_are_refused(api: Api) -> None:
    refused = await api.client.ask("POST", "/api/v1/apply", {"items": [config(f"n{n}") for n in range(5001)]})
    assert refused.status == 400
    assert "5,001 objects are more than 5,000" in refused.json["detail"]


MANY = 150


def many(color: str) -> dict[str, Any]:
    """Return a list of a namespace, and of config maps and workloads in it."""
    space = {"kind": "Namespace", "metadata": {"name": "shop"}}
    maps = [config(f"n{n:03}", color=color) for n in range(MANY)]
    run = {"replicas": 0, "containers": [{"name": "main", "command": [color]}]}
    runs = [{"kind": "Workload", "metadata": {"name": f"w{n:03}"}, "spec": run} for n in range(MANY // 3)]
    return {"items": [*runs, *maps, space]}


async def colors(api: Api, pages: int = MANY) -> Counter[str]:
    """Count what is shown of the many, by color, as lists of pages show it."""
    found = Counter[str]()
    for plural in ("configmaps", "workloads"):
        page = f"/api/v1/namespaces/shop/{plural}?limit={pages}"
        listed = (await api.client.ask("GET", page)).json
        while True:
            for item in listed["items"]:
                spec = item["spec"]
                found[spec["data"]["color"] if plural == "configmaps" else spec["containers"][0]["command"][0]] += 1
            token = listed["metadata"].get("continue")
            if not token:
                break
            listed = (await api.client.ask("GET", f"{page}&continue={quote(token)}")).json
    return found


async def test_many_objects_are_seen_all_or_none_at_each_moment(api: Api) -> None:
    seen = list[Counter[str]]()

    async def look() -> None:
        while True:
            # Each of the two lists is of one revision; between them all may have come.
            seen.append(await colors(api))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        for color in ("red", "blue"):
            done = await api.client.ask("POST", "/api/v1/apply?namespace=shop", many(color))
            assert done.status == 200
        nursery.cancel_scope.cancel()
    seen.append(await colors(api))
    whole = {0, MANY, MANY // 3, MANY + MANY // 3}
    assert {count for each in seen for count in each.values()} <= whole
    assert seen[-1] == {"blue": MANY + MANY // 3}
    assert len(seen) > 3


async def test_a_watch_tells_of_each_of_many_objects_once(api: Api) -> None:
    since = (await api.objects.store.get("/")).revision
    await api.client.ask("POST", "/api/v1/apply?namespace=shop", many("red"))
    async with api.objects.follow(CONFIG_MAP, "shop", Position(since, ALL_SEEN)) as follower:
        told = [(event.type, event.name) for event in follower.behind()]
    assert told == [(EventType.ADDED, f"n{n:03}") for n in range(MANY)]


class DyingStore(MemoryStore):
    """A store that its program no longer reaches after so many steps of a write of many keys."""

    steps = 1_000_000

    async def transaction(self, compares: Sequence[Compare], operations: Sequence[Operation], /) -> Revision:
        self._count(any(each.key.startswith("/commit/") and each.revision for each in compares))
        return await super().transaction(compares, operations)

    async def put(self, key: str, value: bytes, /, **options: Any) -> Revision:
        self._count(key.startswith("/commit/"))
        return await super().put(key, value, **options)

    def _count(self, is_step: bool) -> None:
        if self.steps == 0 and (is_step or self.dead):
            self.dead = True
            raise StoreUnavailable("gone")
        self.steps -= is_step

    dead = False


@pytest.mark.slow
async def test_a_server_that_dies_meanwhile_has_applied_all_or_nothing(autojump_clock: MockClock) -> None:
    outcomes = list[int]()
    for steps in range(12):
        state = MemoryState()
        store = DyingStore(state)
        async with api_served(state, store=store) as api:
            store.steps = steps
            answer = await api.client.ask("POST", "/api/v1/apply?namespace=shop", many("red"))
            assert answer.status == (503 if store.dead else 200)
        async with api_served(state) as api:
            # Who was killed before the decision keeps others waiting for the length of a lease.
            assert (await api.client.ask("POST", MAPS, config("other"))).status == 201
            found = await colors(api)
            assert found in ({}, {"red": MANY + MANY // 3})
            outcomes.append(len(found))
            assert (await api.client.ask("POST", "/api/v1/apply?namespace=shop", many("blue"))).status == 200
            assert await colors(api) == {"blue": MANY + MANY // 3}
    assert outcomes == sorted(outcomes)
    assert set(outcomes) == {0, 1}


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


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('{"kind": "ConfigMap", "kind": "Secret"}', "twice"),
        ('{"kind": "ConfigMap", "metadata": {"name": "\\ud800"}}', "surrogate"),
        ('{"kind": NaN}', ""),
        ("[" * 65 + "]" * 65, "deep"),
        ('{"kind": "ConfigMap", metadata: {name: a}, spec: {}}', None),
        ('{"kind": "ConfigMap", "metadata": {"name": "a"}, "spec": {"data": {"a": "\\u00e4"}}}', None),
    ],
)
async def test_json_is_read_as_the_yaml_that_it_is(api: Api, body: str, told: str | None) -> None:
    answer = await api.client.ask("POST", "/api/v1/apply", body.encode())
    assert answer.status == (200 if told is None else 404 if told == "" else 400), answer.body
    assert (told or "") in answer.body.decode()
