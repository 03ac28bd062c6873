"""What writing a workload's object does to what runs: no more than was said."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from .api_stage import Api

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
