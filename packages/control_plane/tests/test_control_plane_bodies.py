"""What is sent and can't be kept is refused as such."""

from __future__ import annotations

from typing import Any

import pytest
from orchestrion.control_plane._objects.json_values import MAX_DEPTH

from .api_stage import Api

SPACE = "/api/v1/namespaces/default"
MAPS = f"{SPACE}/configmaps"
HALF = rb'"\ud800"'


async def backup(api: Api) -> str:
    """Define a kind, make an object of it, and return where that is."""
    kind = {"metadata": {"name": "backups"}, "spec": {"kind": "Backup", "plural": "backups"}}
    assert (await api.client.ask("POST", "/api/v1/customkinds", kind)).status == 201
    one = await api.client.ask("POST", f"{SPACE}/backups", {"metadata": {"name": "one"}, "spec": {}})
    assert one.status == 201
    return f"{SPACE}/backups/one"


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize(
    "body",
    [
        b'{"metadata":{"name":"s"},"spec":{"data":{"a":' + HALF + b"}}}",
        b'{"metadata":{"name":"s"},"spec":{"data":{' + HALF + b':"a"}}}',
        b'{"metadata":{"name":"s","labels":{"a":' + HALF + b'}},"spec":{"data":{}}}',
        b'{"metadata":{"name":"s"},"spec":{"data":{"a":1e400}}}',
        b'{"metadata":{"name":"s"},"spec":{"data":{"a":-1e400}}}',
        b'{"metadata":{"name":"s"},"spec":{"data":{"a":NaN}}}',
        b'{"metadata":{"name":"s"},"spec":{"data":' + nested(MAX_DEPTH) + b"}}",
        b'{"metadata":{"name":"s"},"spec":{"data":' + nested(90_000) + b"}}",
    ],
)
async def test_a_body_that_json_has_not_is_refused(api: Api, body: bytes) -> None:
    for method, path in (("POST", MAPS), ("PATCH", f"{MAPS}/s?manager=me")):
        media_type = "application/json" if method == "POST" else "application/apply-patch+json"
        refused = await api.client.ask(method, path, body, content_type=media_type)
        assert (refused.status, refused.json["code"]) == (400, "config-invalid")


@pytest.mark.parametrize("value", [b"1e400", HALF, nested(MAX_DEPTH), nested(400), nested(900)])
async def test_a_status_that_json_has_not_is_refused_and_what_was_stays(api: Api, value: bytes) -> None:
    path = await backup(api)
    refused = await api.client.ask(
        "PUT", f"{path}/status", b'{"metadata":{"name":"one"},"status":{"a":' + value + b"}}"
    )
    assert refused.status == 400
    assert (await api.client.ask("GET", path)).json["status"] == {}


async def test_a_whole_pair_of_escapes_is_a_letter(api: Api) -> None:
    made = await api.client.ask("POST", MAPS, rb'{"metadata":{"name":"s"},"spec":{"data":{"a":"\ud83d\ude00"}}}')
    assert made.json["spec"]["data"] == {"a": "\N{GRINNING FACE}"}


async def test_what_is_larger_than_a_store_takes_is_refused(api: Api) -> None:
    path = await backup(api)
    large = "x" * 600_000
    answers = [
        await api.client.ask("POST", MAPS, {"metadata": {"name": "big"}, "spec": {"data": {"a": large}}}),
        await api.client.ask("PATCH", f"{path}/status", {"status": {"a": large * 2}}),
    ]
    assert [answer.status for answer in answers] == [400, 400]
    assert all("bytes" in answer.json["detail"] for answer in answers)


async def test_a_workload_that_is_larger_than_a_store_takes_is_refused(api: Api) -> None:
    containers: list[dict[str, Any]] = [{"name": "main", "command": ["run", "x" * 1_100_000]}]
    data = {"metadata": {"name": "big"}, "spec": {"kind": "service", "containers": containers}}
    assert (await api.client.ask("POST", f"{SPACE}/workloads", data)).status == 400


@pytest.mark.parametrize("ca", ["é", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"])
async def test_what_is_no_certificate_of_a_webhook_is_refused(api: Api, ca: str) -> None:
    spec = {"url": "https://h.example", "ca": ca, "rules": [{"kinds": ["*"]}]}
    refused = await api.client.ask("POST", "/api/v1/validatingwebhooks", {"metadata": {"name": "h"}, "spec": spec})
    assert (refused.status, refused.json["code"]) == (400, "config-invalid")
