"""Roles and bindings as objects: who may give what."""

from __future__ import annotations

from typing import Any

from orchestrion.control_plane._identity.principals import Principal

from .api_stage import Api

ROLES, BINDINGS = "/api/v1/roles", "/api/v1/rolebindings"


def role(name: str, *rules: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"rules": list(rules)}}


def binding(name: str, to: str, user: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"role": to, "subjects": [{"kind": "user", "name": user}], **spec}}


GIVES = {"verbs": ["create", "update"], "resources": ["roles", "rolebindings"]}
READS = {"verbs": ["get", "list"], "resources": ["configmaps"]}


async def test_a_binding_gives_its_subjects_what_the_role_allows_and_only_there(api: Api) -> None:
    api.keeper.principals["eve"] = Principal("eve")
    eve = api.as_("eve")
    assert (await eve.ask("GET", "/api/v1/namespaces/default/configmaps")).status == 403
    assert (await api.client.ask("POST", ROLES, role("reader", READS))).status == 201
    assert (await api.client.ask("POST", BINDINGS, binding("eve", "reader", "eve", namespace="default"))).status == 201
    assert (await eve.ask("GET", "/api/v1/namespaces/default/configmaps")).status == 200
    assert (await eve.ask("GET", "/api/v1/configmaps")).status == 403
    assert (await api.client.ask("DELETE", f"{BINDINGS}/eve")).status == 200
    assert (await eve.ask("GET", "/api/v1/namespaces/default/configmaps")).status == 403


async def test_nobody_gives_more_than_they_have(api: Api) -> None:
    api.keeper.principals["eve"] = Principal("eve")
    await api.client.ask("POST", ROLES, role("giver", GIVES, READS))
    await api.client.ask("POST", BINDINGS, binding("eve", "giver", "eve"))
    eve = api.as_("eve")
    for path, data in (
        (BINDINGS, binding("mine", "admin", "eve")),
        (ROLES, role("mine", {"verbs": ["*"], "resources": ["*"]})),
        (ROLES, role("mine", {"verbs": ["get"], "resources": ["secrets"]})),
    ):
        refused = await eve.ask("POST", path, data)
        assert refused.status == 403, refused.json
        assert "can't give" in refused.json["detail"]
    assert (await eve.ask("POST", ROLES, role("less", READS))).status == 201
    widened = await eve.ask("PUT", f"{ROLES}/less", role("less", {"verbs": ["*"], "resources": ["*"]}))
    assert widened.status == 403
    assert (await eve.ask("POST", BINDINGS, binding("other", "less", "adam"))).status == 201


async def test_what_could_not_be_used_is_refused(api: Api) -> None:
    assert (await api.client.ask("POST", BINDINGS, binding("x", "nothing", "eve"))).status == 400
    assert (await api.client.ask("POST", ROLES, role("admin", READS))).status == 400
    assert (await api.client.ask("POST", BINDINGS, binding("system:admins", "viewer", "eve"))).status == 400
    assert (await api.client.ask("POST", ROLES, role("empty", {"verbs": [], "resources": ["nodes"]}))).status == 400
