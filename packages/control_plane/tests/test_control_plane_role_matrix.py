"""Every operation of the API asked by every role: who gets in is written down here, and nowhere derived."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from orchestrion.control_plane._identity.principals import ADMINS, NODES, WORKLOADS, Principal, PrincipalKind

from .api_stage import Answer, Api, api_served

READ = "get list watch"
WRITE = "create update patch delete"

ALLOWED = f"""
{READ}  | workloads instances nodes namespaces configmaps events customkinds | viewer operator admin
{READ}  | priorityclasses resourcequotas limitranges                         | viewer operator admin
get     | workloads/status instances/status nodes/status resourcequotas/status | viewer operator admin
{READ}  | secrets roles rolebindings                                         | operator admin
delete  | instances                                                          | operator admin
logs    | workloads instances                                                | viewer operator admin
explain | workloads                                                          | viewer operator admin
{WRITE} | workloads configmaps secrets                                       | operator admin
{WRITE} | namespaces priorityclasses resourcequotas limitranges              | operator admin
scale stop rollout | workloads                                               | operator admin
cordon drain | nodes                                                         | operator admin
"""
"""Verbs, resources, and who may; what is not here only admins may."""

OWN_NAMESPACE = f"""
{READ} {WRITE} | workloads configmaps secrets
{READ} | instances events resourcequotas limitranges
get | workloads/status instances/status resourcequotas/status
logs explain scale stop rollout | workloads
logs delete | instances
"""
"""What an editor of a namespace may do within it."""

ROLES = ("none", "viewer", "stranger", "operator", "admin", "node", "workload")

PRINCIPALS = {
    "viewer": Principal("viewer"),
    "operator": Principal("operator"),
    "stranger": Principal("stranger"),
    "admin": Principal("admin", groups=[ADMINS]),
    "node": Principal("n1", PrincipalKind.NODE, groups=[NODES]),
    "workload": Principal("w1", PrincipalKind.WORKLOAD, groups=[WORKLOADS]),
}


def table(text: str) -> dict[tuple[str, str], set[str]]:
    found: dict[tuple[str, str], set[str]] = {}
    for line in text.strip().splitlines():
        verbs, resources, *roles = (part.split() for part in line.split("|"))
        for verb in verbs:
            for resource in resources:
                found[verb, resource] = set(roles[0]) if roles else set()
    return found


EVERYWHERE, WITHIN = table(ALLOWED), table(OWN_NAMESPACE)


async def enter(api: Api) -> None:
    """Let everybody in, each with a role."""
    api.keeper.principals = dict(PRINCIPALS)
    admin = api.as_("admin")
    await admin.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "theirs"}})
    for who, role, namespace in (
        ("viewer", "viewer", ""),
        ("operator", "operator", ""),
        ("stranger", "editor", "theirs"),
    ):
        spec = {"role": role, "namespace": namespace, "subjects": [{"kind": "user", "name": who}]}
        made = await admin.ask("POST", "/api/v1/rolebindings", {"metadata": {"name": who}, "spec": spec})
        assert made.status == 201


async def asked(api: Api, role: str, method: str, path: str, operation: dict[str, Any], namespace: str) -> Answer:
    target = path.replace("{namespace}", namespace).replace("{name}", "nothing")
    names = {each["name"] for each in operation.get("parameters", ())}
    if "timeout_seconds" in names:
        target += "?timeout_seconds=0"
    token = "" if role == "none" else role
    await trio.sleep(1)  # slowly enough for the limits
    data: Any = {} if "requestBody" in operation else None
    return await api.as_(token).ask(method.upper(), target, data)


@pytest.mark.slow
async def test_every_cell_of_the_matrix_of_operations_and_roles(autojump_clock: object) -> None:
    async with api_served() as api:
        await enter(api)
        document = (await api.as_("").ask("GET", "/openapi.json")).json
        cells, wrong = 0, list[str]()
        for path, item in document["paths"].items():
            for method, operation in item.items():
                access = operation.get("x-access")
                for role in ROLES:
                    for namespace in ("default", "theirs") if "{namespace}" in path else ("",):
                        answer = await asked(api, role, method, path, operation, namespace)
                        cells += 1
                        if answer.status != 401 and answer.status != 403:
                            let_in = "in"
                        else:
                            let_in = "unknown" if answer.status == 401 else "denied"
                        expected = wanted(role, operation, access, namespace)
                        if let_in != expected or answer.status >= 500:
                            wrong.append(f"{role} {method} {path} in {namespace!r}: {answer.status}, not {expected}")
        assert not wrong, "\n".join(wrong)
        assert cells > 1_000


def wanted(role: str, operation: dict[str, Any], access: dict[str, str] | None, namespace: str) -> str:
    if not operation["security"]:
        return "in"
    if role == "none":
        return "unknown"
    if access is None:
        return "in"  # what more is needed depends on the body
    cell = access["verb"], access["resource"]
    if role == "stranger":
        return "in" if namespace == "theirs" and cell in WITHIN else "denied"
    return "in" if role in EVERYWHERE.get(cell, {"admin"}) else "denied"


@pytest.mark.parametrize(
    ("role", "namespace", "status"),
    [
        ("viewer", "default", 403),
        ("stranger", "default", 403),
        ("stranger", "theirs", 200),
        ("operator", "default", 200),
        ("node", "default", 403),
        ("workload", "default", 403),
    ],
)
async def test_a_manifest_needs_what_each_of_its_objects_needs(
    api: Api, role: str, namespace: str, status: int
) -> None:
    await enter(api)
    items = {"items": [{"kind": "ConfigMap", "metadata": {"name": "a", "namespace": namespace}, "spec": {}}]}
    assert (await api.as_(role).ask("POST", "/api/v1/apply", items)).status == status
