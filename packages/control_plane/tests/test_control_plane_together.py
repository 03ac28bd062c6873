"""What is made together: kinds with their objects, roles with their bindings, and what is new with one request."""

from __future__ import annotations

from typing import Any

import pytest
from orchestrion.control_plane._identity.principals import Principal

from .api_stage import Api

SPACE = "/api/v1/namespaces/default"
BACKUP = {"kind": "Backup", "metadata": {"name": "nightly"}, "spec": {"every": "day"}}


def kind(name: str = "backups", **spec: Any) -> dict[str, Any]:
    schema = {"required": ["every"]}
    return {
        "kind": "CustomKind",
        "metadata": {"name": name},
        "spec": {"kind": "Backup", "plural": "backups", "schema": schema, **spec},
    }


def config(name: str, namespace: str = "default", **data: str) -> dict[str, Any]:
    return {"kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "spec": {"data": data}}


async def sent(api: Api, verb: str, *items: Any, who: str = "admin", query: str = "") -> tuple[int, Any]:
    answer = await api.as_(who).ask("POST", f"/api/v1/{verb}{query}", {"items": [*items]})
    return answer.status, answer.json


async def is_there(api: Api, path: str) -> bool:
    return (await api.client.ask("GET", path)).status == 200


async def enter(api: Api, *rules: dict[str, Any]) -> None:
    """Let eve in, with a role of these rules."""
    api.keeper.principals["eve"] = Principal("eve")
    role = {"kind": "Role", "metadata": {"name": "eves"}, "spec": {"rules": [*rules]}}
    spec = {"role": "eves", "subjects": [{"kind": "user", "name": "eve"}]}
    assert (await sent(api, "create", role, {"kind": "RoleBinding", "metadata": {"name": "eves"}, "spec": spec}))[
        0
    ] == 200


@pytest.mark.parametrize("verb", ["apply", "create"])
@pytest.mark.parametrize("order", [1, -1])
async def test_a_kind_and_its_objects_are_written_as_one(api: Api, verb: str, order: int) -> None:
    items = [kind(), BACKUP][::order]
    assert (await sent(api, verb, *items, query="?dry_run=true"))[0] == 200
    assert not await is_there(api, "/api/v1/customkinds/backups")
    status, done = await sent(api, verb, *items)
    assert (status, [each["action"] for each in done["items"]]) == (200, ["create", "create"])
    found = (await api.client.ask("GET", f"{SPACE}/backups/nightly")).json
    assert (found["spec"], found["metadata"]["revision"]) == ({"every": "day"}, done["revision"])


@pytest.mark.parametrize("verb", ["apply", "create"])
@pytest.mark.parametrize(
    "bad",
    [
        {**BACKUP, "spec": {}},
        {**BACKUP, "metadata": {"name": "b", "namespace": "nowhere"}},
        kind("others"),
        {**BACKUP, "kind": "Backups"},
    ],
    ids=["unlike-its-schema", "nowhere", "two-of-one-name", "another-kind"],
)
async def test_where_one_is_refused_there_is_no_kind(api: Api, verb: str, bad: Any) -> None:
    status, _ = await sent(api, verb, kind(), bad)
    assert status in (400, 404, 409)
    assert not await is_there(api, "/api/v1/customkinds/backups")
    assert (await api.client.ask("GET", f"{SPACE}/backups")).status == 404


@pytest.mark.parametrize(
    "spec", [{"schema": {"type": "strong"}}, {"plural": "tokens"}, {"kind": "Role"}, {"plural": 7}]
)
async def test_a_kind_that_can_not_be_defined_takes_its_objects_along(api: Api, spec: dict[str, Any]) -> None:
    assert (await sent(api, "apply", BACKUP, kind(**spec)))[0] in (400, 404, 409)
    assert not await is_there(api, "/api/v1/customkinds/backups")


async def test_objects_are_checked_by_the_schema_that_is_applied_with_them(api: Api) -> None:
    await sent(api, "apply", kind(), BACKUP)
    changed = {"kind": "CustomKind", "metadata": {"name": "backups"}, "spec": {"schema": {"required": ["at"]}}}
    weekly = {**BACKUP, "metadata": {"name": "weekly"}}
    query = "?manager=schemas&force=true"
    assert (await sent(api, "apply", changed, weekly, query=query))[0] == 400
    assert (await sent(api, "apply", changed, {**weekly, "spec": {"at": "noon"}}, query=query))[0] == 200


async def test_a_binding_may_give_a_role_that_is_made_with_it_and_nobody_more_than_they_have(api: Api) -> None:
    reading = {"verbs": ["get"], "resources": ["configmaps"]}
    await enter(api, reading, {"verbs": ["create"], "resources": ["roles", "rolebindings"]})
    binding = {"kind": "RoleBinding", "metadata": {"name": "b"}, "spec": {"role": "given", "subjects": []}}
    for rules, status in (([{"verbs": ["*"], "resources": ["*"]}], 403), ([reading], 200)):
        role = {"kind": "Role", "metadata": {"name": "given"}, "spec": {"rules": rules}}
        assert (await sent(api, "create", binding, role, who="eve"))[0] == status
    assert (await sent(api, "create", {**binding, "spec": {"role": "nothing"}}))[0] == 400


async def test_all_are_made_or_none(api: Api) -> None:
    assert (await sent(api, "create", config("a", x="1"), config("b")))[0] == 200
    status, told = await sent(api, "create", config("c"), config("a", x="2"))
    assert (status, told["detail"].splitlines()[0]) == (409, "there is a ConfigMap 'a' in namespace 'default' already")
    assert not await is_there(api, f"{SPACE}/configmaps/c")
    assert (await api.client.ask("GET", f"{SPACE}/configmaps/a")).json["spec"]["data"] == {"x": "1"}


async def test_a_workload_that_is_there_is_not_changed(api: Api) -> None:
    web: dict[str, Any] = {
        "kind": "Workload",
        "metadata": {"name": "web"},
        "spec": {"containers": [{"name": "m", "command": ["run"]}], "replicas": 0},
    }
    assert (await sent(api, "create", web))[0] == 200
    assert (await sent(api, "create", config("a"), {**web, "spec": {**web["spec"], "replicas": 2}}))[0] == 409
    assert (await api.client.ask("GET", f"{SPACE}/workloads/web")).json["spec"]["replicas"] == 0
    assert not await is_there(api, f"{SPACE}/configmaps/a")


async def test_what_was_shown_of_another_one_does_not_keep_it_from_being_made(api: Api) -> None:
    await sent(api, "create", config("a"))
    shown = (await api.client.ask("GET", f"{SPACE}/configmaps/a")).json
    await api.client.ask("DELETE", f"{SPACE}/configmaps/a")
    assert (await sent(api, "create", shown, config("b")))[0] == 200
    found = (await api.client.ask("GET", f"{SPACE}/configmaps/a")).json
    assert found["metadata"]["uid"] != shown["metadata"]["uid"]


async def test_who_may_create_and_not_apply_makes_a_namespace_with_what_it_holds(api: Api) -> None:
    await enter(api, {"verbs": ["create"], "resources": ["namespaces", "configmaps"]})
    items = [{"kind": "Namespace", "metadata": {"name": "shop"}}, config("prices", "shop", tea="3")]
    assert (await sent(api, "apply", *items, who="eve"))[0] == 403
    assert (await sent(api, "create", *items, {"kind": "Secret", "metadata": {"name": "s"}}, who="eve"))[0] == 403
    assert not await is_there(api, "/api/v1/namespaces/shop")
    assert (await sent(api, "create", *items, who="eve"))[0] == 200


async def test_who_may_create_by_name_alone_makes_none_together_either(api: Api) -> None:
    await enter(api, {"verbs": ["create"], "resources": ["configmaps"], "names": ["a"]})
    alone = await api.as_("eve").ask("POST", f"{SPACE}/configmaps", config("a"))
    assert (alone.status, (await sent(api, "create", config("a"), who="eve"))[0]) == (403, 403)
