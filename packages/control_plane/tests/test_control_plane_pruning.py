"""Sets of objects: what is no longer applied with the others goes, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from orchestrion.control_plane._identity.principals import Principal
from orchestrion.orchestrator_core import APPLY_SET_LABEL
from orchestrion.shared_types import Conflict, ContainerConfig, Metadata, WorkloadDefinition

from .api_stage import Api

APPLY = "/api/v1/apply"


def config(name: str, namespace: str = "default", **labels: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return {"kind": "ConfigMap", "metadata": metadata, "spec": {"data": {"a": "b"}}}


def workload(name: str, *after: str) -> dict[str, Any]:
    spec = {
        "kind": "batch",
        "containers": [{"name": "main", "command": ["run"]}],
        "after": dict.fromkeys(after, "succeeded"),
    }
    return {"kind": "Workload", "metadata": {"name": name}, "spec": spec}


async def apply(api: Api, query: str, *items: dict[str, Any], token: str = "admin") -> Any:
    return await api.as_(token).ask("POST", f"{APPLY}?{query}", {"items": list(items)})


async def names(api: Api, plural: str = "configmaps", namespace: str = "default") -> list[str]:
    listed = await api.client.ask("GET", f"/api/v1/namespaces/{namespace}/{plural}")
    return [item["metadata"]["name"] for item in listed.json["items"]]


async def test_what_is_no_longer_of_the_set_goes_and_nothing_else(api: Api) -> None:
    await apply(api, "", config("alone"))
    await apply(api, "set=other", config("theirs"))
    await apply(api, "set=shop", config("a"), config("b"), config("c"))
    done = await apply(api, "set=shop&prune=true", config("b"), config("d"))
    assert [(each["name"], each["action"]) for each in done.json["items"]] == [
        ("b", "unchanged"),
        ("d", "create"),
        ("a", "delete"),
        ("c", "delete"),
    ]
    assert await names(api) == ["alone", "b", "d", "theirs"]
    again = await apply(api, "set=shop&prune=true", config("b"), config("d"))
    assert {each["action"] for each in again.json["items"]} == {"unchanged"}


async def test_without_prune_nothing_goes(api: Api) -> None:
    await apply(api, "set=shop", config("a"))
    await apply(api, "set=shop", config("b"))
    assert await names(api) == ["a", "b"]


async def test_a_dry_run_tells_what_would_go_and_nothing_does(api: Api) -> None:
    await apply(api, "set=shop", config("a"), workload("job"))
    told = await apply(api, "set=shop&prune=true&dry_run=true", config("b"))
    assert [(each["kind"], each["name"], each["action"]) for each in told.json["items"]] == [
        ("ConfigMap", "b", "create"),
        ("Workload", "job", "delete"),
        ("ConfigMap", "a", "delete"),
    ]
    assert await names(api) == ["a"]
    assert await names(api, "workloads") == ["job"]


async def test_only_namespaces_that_it_is_about_are_pruned(api: Api) -> None:
    for name in ("one", "two"):
        await api.client.ask("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        await apply(api, "set=shop", config("old", name))
    await apply(api, "set=shop&prune=true", config("new", "one"))
    assert await names(api, namespace="one") == ["new"]
    assert await names(api, namespace="two") == ["old"]
    await api.client.ask("POST", f"{APPLY}?set=shop&prune=true&namespace=two", {"items": []})
    assert await names(api, namespace="two") == []


async def test_what_is_in_no_namespace_is_left(api: Api) -> None:
    space = {"kind": "Namespace", "metadata": {"name": "one"}}
    await apply(api, "set=shop", space)
    await apply(api, "set=shop&prune=true", config("a"))
    assert (await api.client.ask("GET", "/api/v1/namespaces/one")).status == 200


async def test_workloads_go_before_those_that_they_come_after(api: Api) -> None:
    await apply(api, "set=shop", workload("a"), workload("b", "a"), workload("c", "b"))
    done = await apply(api, "set=shop&prune=true", config("left"))
    assert {each["name"] for each in done.json["items"] if each["action"] == "delete"} == {"a", "b", "c"}


async def test_what_others_wait_for_that_stay_is_refused(api: Api) -> None:
    await apply(api, "set=shop", workload("a"))
    await apply(api, "", workload("b", "a"))
    refused = await apply(api, "set=shop&prune=true", config("new"))
    assert refused.status == 409
    assert "b waits for it" in refused.json["detail"]
    assert (await apply(api, "set=shop&prune=true", workload("c", "a"))).status == 409
    assert await names(api) == []
    assert await names(api, "workloads") == ["a", "b"]


async def test_the_set_of_a_workload_is_nothing_that_restarts_it(api: Api) -> None:
    web = {**workload("web"), "spec": {"kind": "service", "containers": [{"name": "main", "command": ["run"]}]}}
    await apply(api, "", web)
    before = await names(api, "instances")
    await apply(api, "set=shop", web)
    shown = await api.client.ask("GET", "/api/v1/namespaces/default/workloads/web")
    assert shown.json["metadata"]["labels"] == {"orchestrion/apply-set": "shop"}
    assert await names(api, "instances") == before


@pytest.mark.parametrize("mine", [config("a"), workload("a")], ids=["object", "workload"])
async def test_what_is_of_another_set_is_taken_over_only_by_force(api: Api, mine: dict[str, Any]) -> None:
    await apply(api, "set=app1", mine)
    refused = await apply(api, "set=app2", config("new"), mine)
    assert refused.status == 409
    assert "'a' in namespace 'default' is of the set 'app1', not of 'app2'" in refused.json["message"]
    assert await names(api) == (["a"] if mine["kind"] == "ConfigMap" else [])
    assert (await apply(api, "", mine)).json["items"][0]["action"] == "unchanged"
    assert (await apply(api, "set=app2&force=true", mine)).status == 200
    # Its first set has no say any longer in whether it stays.
    gone = await apply(api, "set=app1&prune=true", config("left"))
    assert [each["name"] for each in gone.json["items"]] == ["left"]


async def test_a_workload_that_a_manifest_names_is_not_taken_from_another_set_either(api: Api) -> None:
    container = ContainerConfig(name="main", command=("run",))

    def of(name: str) -> list[WorkloadDefinition]:
        metadata = Metadata(name="web", labels={APPLY_SET_LABEL: name})
        return [WorkloadDefinition(metadata=metadata, containers=(container,))]

    control = api.management.control
    await control.apply(of("app1"))
    with pytest.raises(Conflict, match="'app1', not of 'app2'"):
        await control.apply(of("app2"))
    await control.apply(of("app2"), force=True)
    assert (await control.get_workload("web")).definition.metadata.labels == {APPLY_SET_LABEL: "app2"}


@pytest.mark.parametrize("query", ["prune=true", "set=Not%20a%20name", "set=&prune=true", "set=a&prune=yes"])
async def test_what_makes_no_sense_is_refused(api: Api, query: str) -> None:
    assert (await apply(api, query, config("a"))).status == 400
    assert await names(api) == []


async def test_who_may_not_remove_what_would_go_applies_nothing(api: Api) -> None:
    await apply(api, "set=shop", config("old"))
    api.keeper.principals["dev"] = Principal("dev")
    allowed = {"rules": [{"verbs": ["apply", "create"], "resources": ["configmaps"]}]}
    await api.client.ask("POST", "/api/v1/roles", {"metadata": {"name": "writer"}, "spec": allowed})
    given = {"role": "writer", "subjects": [{"kind": "user", "name": "dev"}]}
    await api.client.ask("POST", "/api/v1/rolebindings", {"metadata": {"name": "dev"}, "spec": given})
    assert (await apply(api, "set=shop", config("new"), token="dev")).status == 200
    refused = await apply(api, "set=shop&prune=true", config("newer"), token="dev")
    assert refused.status == 403
    assert await names(api) == ["new", "old"]
