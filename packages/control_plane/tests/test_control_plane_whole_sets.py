"""What is sent together is judged as it will be: by its own quotas, limit ranges, namespaces, classes and roles."""

from __future__ import annotations

from typing import Any

import pytest
from orchestrion.control_plane._identity.principals import Principal

from .api_stage import Api

SPACE = "/api/v1/namespaces/default"
FORCED = "?manager=other&force=true"


def item(kind: str, name: str = "it", /, **spec: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": name}, "spec": spec}


def workload(cpu: str = "1", **spec: Any) -> dict[str, Any]:
    containers = [{"name": "main", "command": ["run"], "resources": {"cpu": cpu}}]
    return item("Workload", "web", **{"kind": "service", "containers": containers, **spec})


def image(name: str) -> dict[str, Any]:
    return workload(containers=[{"name": "main", "image": name}])


def quota(instances: int) -> dict[str, Any]:
    return item("ResourceQuota", hard={"instances": instances})


def space(**spec: Any) -> dict[str, Any]:
    return item("Namespace", "default", **spec)


async def sent(api: Api, verb: str, *items: Any, who: str = "admin") -> tuple[int, Any]:
    answer = await api.as_(who).ask("POST", f"/api/v1/{verb}", {"items": [*items]})
    return answer.status, answer.json


async def applied(api: Api, *items: Any) -> None:
    status, told = await sent(api, "apply", *items)
    assert status == 200, told


async def found(api: Api, path: str) -> Any:
    return (await api.client.ask("GET", path)).json["items"]


TOO_MUCH = [
    pytest.param(quota(1), workload(replicas=3), 403, id="quota"),
    pytest.param(item("LimitRange", max={"cpu": "10m"}), workload(), 400, id="limit-range"),
    pytest.param(space(images={"allow": ["good.example/*"]}), image("evil.example/x:1"), 403, id="images"),
    pytest.param(item("PriorityClass", value=7), workload(priority_class="it", priority=8), 400, id="class"),
]


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(("rule", "breach", "status"), TOO_MUCH)
async def test_what_is_refused_after_a_rule_is_refused_with_it_and_leaves_nothing(
    api: Api, rule: Any, breach: Any, status: int, order: int
) -> None:
    spaces = await found(api, "/api/v1/namespaces")
    for verb in ("plan", "apply?dry_run=true", "apply"):
        assert (await sent(api, verb, *[rule, breach][::order]))[0] == status
    for kind in ("workloads", "resourcequotas", "limitranges"):
        assert await found(api, f"{SPACE}/{kind}") == []
    assert await found(api, "/api/v1/namespaces") == spaces
    # What the rule would have forbidden is judged without it, once the rule was refused.
    await applied(api, workload(replicas=3))


@pytest.mark.parametrize("verb", ["apply", "create"])
@pytest.mark.parametrize("order", [1, -1])
async def test_what_comes_together_is_judged_by_all_rules_of_it_in_any_order(api: Api, verb: str, order: int) -> None:
    items = [
        item("PriorityClass", "nightly", value=77),
        item("Namespace", "shop", priority_class="nightly"),
        *(
            {**each, "metadata": {**each["metadata"], "namespace": "shop"}}
            for each in (
                item("LimitRange", default={"memory": "64Mi"}),
                quota(2),
                workload(replicas=2),
            )
        ),
    ]
    status, told = await sent(api, verb, *items[::order])
    assert status == 200, told
    spec = (await api.client.ask("GET", "/api/v1/namespaces/shop/workloads/web")).json["spec"]
    assert (spec["priority"], spec["containers"][0]["resources"]) == (77, {"cpu": 1, "memory": "64Mi"})


async def test_a_rule_that_is_loosened_lets_in_what_needs_that(api: Api) -> None:
    await applied(api, quota(1), item("LimitRange", max={"cpu": "10m"}), space(images={"allow": ["good.example/*"]}))
    assert (await sent(api, "apply", workload("10m", replicas=3)))[0] == 403
    await applied(api, workload("1", replicas=3), quota(10), item("LimitRange", max={"cpu": "2"}))
    await applied(api, image("new.example/x:1"), space(images={"allow": ["good.example/*", "new.example/*"]}))


async def test_a_class_that_comes_with_a_workload_may_be_named(api: Api) -> None:
    await applied(api, workload(priority_class="nightly"), item("PriorityClass", "nightly", value=77))
    refused = await sent(api, "apply", workload(priority_class="mightly"), item("PriorityClass", "weekly", value=7))
    assert refused[0] == 400
    assert "weekly" in refused[1]["remedy"]


async def test_a_binding_gives_what_a_role_will_allow_and_nobody_gives_more_than_they_have(api: Api) -> None:
    api.keeper.principals["eve"] = Principal("eve")
    reading = {"verbs": ["get"], "resources": ["configmaps"]}
    giving = {"verbs": ["apply", "create"], "resources": ["roles", "rolebindings"]}
    everything = {"verbs": ["*"], "resources": ["*"]}
    subjects = [{"kind": "user", "name": "eve"}]
    await applied(
        api,
        item("RoleBinding", "eves", role="eves", subjects=subjects),
        item("Role", "eves", rules=[reading, giving]),
        item("Role", "wide", rules=[everything]),
    )
    binding = item("RoleBinding", "mine", role="wide", subjects=subjects)
    for rules, status in (([everything], 403), ([reading, everything], 403), ([reading], 200)):
        path = f"apply{FORCED}"
        assert (await sent(api, path, binding, item("Role", "wide", rules=rules), who="eve"))[0] == status
    wider = item("Role", "wide", rules=[everything])
    assert (await sent(api, f"apply{FORCED}", wider, binding, who="eve"))[0] == 403


async def test_roles_and_bindings_of_the_documentation_are_made_at_once(api: Api) -> None:
    text = b"""\
kind: RoleBinding
metadata: {name: deployers}
spec: {role: deployer, namespace: shop, subjects: [{kind: service, name: ci}, {kind: group, name: deployers}]}
---
kind: Role
metadata: {name: deployer}
spec:
  rules:
    - {verbs: [get, list, watch, apply, patch], resources: [workloads], namespaces: [shop], names: [web, api]}
    - {verbs: [logs], resources: [workloads, instances]}
"""
    done = await api.client.ask("POST", "/api/v1/apply", text, content_type="application/yaml")
    assert [each["action"] for each in done.json["items"]] == ["create", "create"]
