"""Who has an object already is told so, and never where it is another one."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from orchestrion.control_plane._identity.principals import Principal

from .api_stage import Answer, Api

SPACE = "/api/v1/namespaces/default"

WRITTEN = {
    f"{SPACE}/configmaps": {"data": {"a": "1"}},
    f"{SPACE}/secrets": {"data": {"a": "1"}},
    f"{SPACE}/resourcequotas": {"hard": {"cpu": 1}},
    "/api/v1/priorityclasses": {"value": 7},
    "/api/v1/namespaces": {},
}

CONTAINERS = [{"name": "main", "command": ["run"]}]


async def made(api: Api, collection: str, spec: Any) -> Answer:
    answer = await api.client.ask("POST", collection, {"metadata": {"name": "one"}, "spec": spec})
    assert answer.status == 201, answer.body
    return answer


@pytest.mark.parametrize("collection", WRITTEN)
@pytest.mark.parametrize("part", ["", "/status"])
async def test_who_has_an_object_is_told_so_until_it_is_another(api: Api, collection: str, part: str) -> None:
    path = f"{collection}/one{part}"
    await made(api, collection, WRITTEN[collection])
    await trio.sleep(10)
    whole = await api.client.ask("GET", path)
    etag = whole.headers["etag"]
    assert etag == f'"{whole.json["metadata"]["revision"]}"'
    same = await api.client.ask("GET", path, if_none_match=etag)
    assert (same.status, same.body, same.headers["etag"]) == (304, b"", etag)
    assert not {"content-type", "content-length"} & same.headers.keys()
    assert {"x-request-id", "ratelimit"} <= same.headers.keys()
    await api.client.ask("PATCH", f"{collection}/one", {"metadata": {"labels": {"team": "shop"}}})
    other = await api.client.ask("GET", path, if_none_match=etag)
    assert (other.status, other.json["metadata"]["labels"]) == (200, {"team": "shop"})
    assert other.headers["etag"] != etag
    await api.client.ask("DELETE", f"{collection}/one")
    await trio.sleep(60)
    assert (await api.client.ask("GET", path, if_none_match=other.headers["etag"])).status == 404


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ("{}", 304),
        ("W/{}", 304),
        ('"1", {}', 304),
        ('W/"x,y",W/{}', 304),
        ("*", 304),
        ('"0"', 200),
        ("", 200),
        ("7", 200),
        (',,"', 200),
    ],
)
async def test_one_of_several_etags_is_enough_and_what_is_none_is_passed_over(
    api: Api, given: str, status: int
) -> None:
    etag = (await made(api, f"{SPACE}/configmaps", {"data": {}})).headers["etag"]
    answer = await api.client.ask("GET", f"{SPACE}/configmaps/one", if_none_match=given.format(etag))
    assert (answer.status, bool(answer.body)) == (status, status == 200)


async def test_a_head_is_answered_so_too(api: Api) -> None:
    etag = (await made(api, f"{SPACE}/configmaps", {"data": {}})).headers["etag"]
    assert (await api.client.ask("HEAD", f"{SPACE}/configmaps/one", if_none_match=etag)).status == 304


async def test_who_may_not_read_an_object_is_not_told_whether_it_is_the_same(api: Api) -> None:
    etag = (await made(api, f"{SPACE}/configmaps", {"data": {}})).headers["etag"]
    api.keeper.principals["eve"] = Principal("eve")
    for client, status in ((api.as_("eve"), 403), (api.as_("nobody"), 401), (api.as_(""), 401)):
        assert (await client.ask("GET", f"{SPACE}/configmaps/one", if_none_match=etag)).status == status


async def test_an_etag_stands_for_one_document_whatever_happens_to_a_workload(api: Api) -> None:
    seen = dict[str, dict[str, bytes]]()
    revisions = dict[int, set[bytes]]()

    async def look() -> None:
        paths = [f"{SPACE}/workloads/one", f"{SPACE}/workloads/one?show=owners", "/api/v1/nodes/node-00000"]
        instances = (await api.client.ask("GET", f"{SPACE}/instances")).json["items"]
        paths += [f"{SPACE}/instances/{each['metadata']['name']}" for each in instances]
        for path in paths:
            known = seen.setdefault(path, {})
            answer = await api.client.ask("GET", path, if_none_match=", ".join(known) or '"none"')
            if answer.status == 304:
                assert known[answer.headers["etag"]] == (await api.client.ask("GET", path)).body
                continue
            assert answer.status == 200
            assert known.setdefault(answer.headers["etag"], answer.body) == answer.body
            if path.endswith("workloads/one"):
                revisions.setdefault(answer.json["metadata"]["revision"], set()).add(answer.body)

    await made(api, f"{SPACE}/workloads", {"replicas": 2, "containers": CONTAINERS})
    changes: list[tuple[str, str, Any]] = [
        ("PATCH", f"{SPACE}/workloads/one", {"spec": {"replicas": 3}}),
        ("PATCH", f"{SPACE}/workloads/one?manager=hand", {"metadata": {"labels": {"team": "shop"}}}),
        ("POST", f"{SPACE}/workloads/one/rollout", {"pause": {}}),
        ("POST", f"{SPACE}/workloads/one/stop", None),
        ("DELETE", f"{SPACE}/instances/one.0.1", None),
        ("POST", "/api/v1/nodes/node-00000/cordon", {}),
    ]
    for method, path, body in changes:
        for _ in range(3):
            await look()
            await trio.sleep(0.3)
        await api.client.ask(method, path, body)
    await look()
    assert max(len(bodies) for bodies in revisions.values()) > 1, "what is derived has changed with no write"
    assert all(len(known) > 1 for path, known in seen.items() if "workloads" in path)


async def test_a_change_depends_on_what_was_written_of_a_workload_and_not_on_its_status(api: Api) -> None:
    path = f"{SPACE}/workloads/one"
    first = (await made(api, f"{SPACE}/workloads", {"containers": CONTAINERS})).headers["etag"]
    await trio.sleep(10)
    read = await api.client.ask("GET", path, if_none_match=first)
    assert (read.status, read.json["status"]["phase"]) == (200, "Healthy")
    assert read.headers["etag"] != first
    assert (await api.client.ask("PATCH", path, {"spec": {"replicas": 2}}, if_match=first)).status == 200
    for stale in (first, read.headers["etag"]):
        assert (await api.client.ask("PATCH", path, {"spec": {"replicas": 3}}, if_match=stale)).status == 412


@pytest.mark.parametrize("etag", ['"1-"', '"1-xyz"', '"-9f86d081884c7d65"', '"1-9f86d081884c7d65-1"'])
async def test_what_is_no_etag_is_refused_where_a_change_depends_on_it(api: Api, etag: str) -> None:
    await made(api, f"{SPACE}/configmaps", {"data": {}})
    refused = await api.client.ask("PATCH", f"{SPACE}/configmaps/one", {"spec": {"data": {}}}, if_match=etag)
    assert (refused.status, refused.json["code"]) == (400, "config-invalid")


@pytest.mark.parametrize("collection", [f"{SPACE}/configmaps", f"{SPACE}/workloads"])
async def test_what_a_dry_run_shows_has_no_etag(api: Api, collection: str) -> None:
    spec: Any = {"data": {}} if "configmaps" in collection else {"containers": CONTAINERS}
    body = {"metadata": {"name": "one"}, "spec": spec}
    tried = await api.client.ask("POST", f"{collection}?dry_run=true", body)
    assert (tried.status, "etag" in tried.headers) == (201, False)
    await made(api, collection, spec)
    labels = {"metadata": {"labels": {"team": "shop"}}}
    assert "etag" not in (await api.client.ask("PATCH", f"{collection}/one?dry_run=true", labels)).headers
    assert "etag" in (await api.client.ask("PATCH", f"{collection}/one", labels)).headers


async def test_a_change_takes_no_if_none_match(api: Api) -> None:
    await made(api, f"{SPACE}/configmaps", {"data": {}})
    refused = await api.client.ask("PATCH", f"{SPACE}/configmaps/one", {"spec": {"data": {}}}, if_none_match="*")
    assert refused.status == 400


@pytest.mark.parametrize("header", ["if_none_match", "if_match", "idempotency_key"])
@pytest.mark.parametrize("path", ["/api/v1/nodes/node-00000", f"{SPACE}/workloads/one/status"])
async def test_what_a_path_does_not_take_it_refuses_as_that_whatever_the_condition(
    api: Api, path: str, header: str
) -> None:
    refused = await api.client.ask("PUT", path, {}, **{header: '"1"'})
    assert refused.status == 405


async def test_it_is_described(api: Api) -> None:
    described = (await api.client.ask("GET", "/openapi.json")).json
    reading = described["paths"]["/api/v1/namespaces/{namespace}/configmaps/{name}"]["get"]
    assert "content" not in reading["responses"]["304"] or reading["responses"]["304"]["content"] == {}
    assert all("ETag" in reading["responses"][status]["headers"] for status in ("200", "304"))
    assert "If-None-Match" in [each["name"] for each in reading["parameters"]]
