"""Every operation of the API asked by every role: who gets in is written down here, and nowhere derived."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from orchestrion.control_plane._identity.principals import ADMINS, NODES, WORKLOADS, Principal, PrincipalKind
from orchestrion.shared_types import unstructure

from .api_stage import Answer, Api, api_served, paths_of
from .conftest import definition
from .sockets_stage import Socket

READ = "get list watch"
WRITE = "create update patch delete"

ALLOWED = f"""
{READ}  | workloads instances nodes namespaces configmaps events customkinds | viewer operator admin
{READ}  | priorityclasses resourcequotas limitranges                         | viewer operator admin
get     | workloads/status instances/status nodes/status resourcequotas/status | viewer operator admin
{READ}  | secrets roles rolebindings                                         | operator admin
delete  | instances                                                          | operator admin
logs    | workloads instances                                                | viewer operator admin
get     | metrics                                                            | operator admin
explain | workloads                                                          | viewer operator admin
{WRITE} | workloads configmaps secrets                                       | operator admin
{WRITE} | namespaces priorityclasses resourcequotas limitranges              | operator admin
scale stop rollout | workloads                                               | operator admin
exec    | workloads instances                                                | operator admin
cordon drain patch delete | nodes                                             | operator admin
update patch | nodes/status                                                   | operator admin
"""
"""Verbs, resources, and who may; what is not here only admins may."""

OWN_NAMESPACE = f"""
{READ} {WRITE} | workloads configmaps secrets
{READ} | instances events resourcequotas limitranges
get | workloads/status instances/status resourcequotas/status
logs explain scale stop rollout | workloads
logs delete | instances
exec | workloads instances
"""
"""What an editor of a namespace may do within it."""

OWN = """
list watch | instances                     | node
watch      | nodes                         | node
list       | instances                     | workload
watch      | workloads configmaps secrets  | workload
"""
"""What nodes and workloads may follow or list: of that they are shown what is their own, and nothing is here."""

ROLES = ("none", "viewer", "stranger", "operator", "admin", "node", "workload")

PRINCIPALS = {
    "viewer": Principal("viewer"),
    "operator": Principal("operator"),
    "stranger": Principal("stranger"),
    "admin": Principal("admin", groups=[ADMINS]),
    "node": Principal("n1", PrincipalKind.NODE, groups=[NODES]),
    "workload": Principal("default/w1", PrincipalKind.WORKLOAD, groups=[WORKLOADS]),
}


def table(text: str) -> dict[tuple[str, str], set[str]]:
    found: dict[tuple[str, str], set[str]] = {}
    for line in text.strip().splitlines():
        verbs, resources, *roles = (part.split() for part in line.split("|"))
        for verb in verbs:
            for resource in resources:
                found[verb, resource] = set(roles[0]) if roles else set()
    return found


def narrowed(verbs: str, resources: str, role: str) -> set[tuple[str, str, str]]:
    return {(role.strip(), verb, resource) for verb in verbs.split() for resource in resources.split()}


EVERYWHERE, WITHIN = table(ALLOWED), table(OWN_NAMESPACE)
NARROWED = {cell for line in OWN.strip().splitlines() for cell in narrowed(*line.split("|"))}


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
    if (role, *cell) in NARROWED:
        return "in"
    if role == "stranger":
        return "in" if namespace == "theirs" and cell in WITHIN else "denied"
    return "in" if role in EVERYWHERE.get(cell, {"admin"}) else "denied"


CONTROL = """
GET       /v1/ping                       | all
POST      /v1/apply             workloads | operator admin        | own
POST      /v1/plan              workloads | viewer operator admin | own
GET       /v1/workloads         several   | viewer operator admin | own
GET       /v1/workload          one       | viewer operator admin | own
DELETE    /v1/workload          one       | operator admin        | own
POST      /v1/workload/scale    one       | operator admin        | own
POST      /v1/workload/stop     one       | operator admin        | own
POST      /v1/workload/pause    one       | operator admin        | own
POST      /v1/workload/resume   one       | operator admin        | own
GET       /v1/workload/explain  one       | viewer operator admin | own
GET       /v1/instances         several   | viewer operator admin | own
GET       /v1/nodes             none      | viewer operator admin |
GET       /v1/events            several   | viewer operator admin | own
GET       /v1/watch             several   | viewer operator admin | own
POST      /v1/logs              query     | viewer operator admin | own
WEBSOCKET /v1/events            several   | viewer operator admin | own
WEBSOCKET /v1/exec              one       | operator admin        | own
"""
"""The paths of `Control`: where they say which namespace they mean, who may, and whether an editor may in its own."""

BODIES: dict[str, Any] = {
    "/v1/apply": {"workloads": []},
    "/v1/plan": {"workloads": []},
    "/v1/workload/scale": {"replicas": 1},
}


async def let_in(api: Api, role: str, method: str, path: str, place: str, namespace: str) -> str:
    """Return how a role fares that asks a path of `Control` about a namespace."""
    token, body = "" if role == "none" else role, BODIES.get(path)
    query = {"several": f"?namespace={namespace}", "one": f"?namespace={namespace}&name=nothing.0.1"}.get(place, "")
    if not namespace:
        query = ""
    if place == "workloads":
        body = {"workloads": [unstructure(definition("nothing", namespace=namespace))]}
    elif place == "query":
        body = {"subject": "nothing", "namespace": namespace}
    await trio.sleep(1)
    if method == "WEBSOCKET":
        headers = {"host": "test", "authorization": f"Bearer {token}"} if token else {"host": "test"}
        socket = Socket(api.client.app, path + query, headers, {"command": ["true"]})
        await socket.run()
        return "in" if socket.sent[0]["type"] == "websocket.accept" else "refused"
    async with api.as_(token).stream(method, path + query, body) as (status, _, _chunks):
        assert status < 500, (role, method, path, namespace, status)
        return {401: "unknown", 403: "denied"}.get(status, "in")


@pytest.mark.slow
async def test_every_path_of_control_looks_at_the_namespace_that_it_means(autojump_clock: object) -> None:
    rows = [line.split("|") for line in CONTROL.strip().splitlines()]
    async with api_served() as api:
        await enter(api)
        served = {(method, path) for method, path in paths_of(api) if path.startswith("/v1/")}
        assert {tuple(row[0].split()[:2]) for row in rows} == served
        wrong = list[str]()
        for row in rows:
            (method, path, *said), roles, own = row[0].split(), row[1].split(), "own" in "".join(row[2:])
            place = said[0] if said else "none"
            for role in ROLES:
                for namespace in ("",) if place == "none" else ("default", "theirs"):
                    expected = "in" if role in roles or roles == ["all"] else "unknown" if role == "none" else "denied"
                    if role == "stranger" and own and namespace == "theirs":
                        expected = "in"
                    if method == "WEBSOCKET" and expected != "in":
                        expected = "refused"
                    got = await let_in(api, role, method, path, place, namespace)
                    if got != expected:
                        wrong.append(f"{role} {method} {path} in {namespace!r}: {got}, not {expected}")
            kept_out = "refused" if method == "WEBSOCKET" else "denied"
            if place == "several" and await let_in(api, "stranger", method, path, place, "") != kept_out:
                wrong.append(f"stranger {method} {path} in all namespaces")
        assert not wrong, "\n".join(wrong)


async def test_a_command_runs_in_no_other_instance_than_the_one_that_the_address_names(api: Api) -> None:
    await enter(api)
    headers = {"host": "test", "authorization": "Bearer stranger"}
    for asked in ({"namespace": "default"}, {"instance": "other.0.1"}):
        first = {"command": ["true"], **asked}
        socket = Socket(api.client.app, "/v1/exec?namespace=theirs&name=nothing.0.1", headers, first)
        await socket.run()
        assert socket.said[0]["error"]["code"] == "config-invalid"
    for path in ("/v1/exec", "/v1/exec?namespace=theirs", "/v1/exec?namespace=theirs&namespace=default&name=a.0.1"):
        socket = Socket(api.client.app, path, headers, {"command": ["true"], "instance": "web.0.1"})
        await socket.run()
        assert [each["type"] for each in socket.sent] == ["websocket.close"], path


@pytest.mark.parametrize("kind", ["configmaps", "secrets", "events"])
async def test_who_may_do_anything_with_another_kind_runs_no_command(api: Api, kind: str) -> None:
    rules = [{"verbs": ["*"], "resources": [kind]}]
    await api.client.ask("POST", "/api/v1/roles", {"metadata": {"name": "some"}, "spec": {"rules": rules}})
    spec = {"role": "some", "subjects": [{"kind": "user", "name": "eve"}]}
    await api.client.ask("POST", "/api/v1/rolebindings", {"metadata": {"name": "some"}, "spec": spec})
    api.keeper.principals["eve"] = Principal("eve")
    workload = {"metadata": {"name": "web"}, "spec": {"containers": [{"name": "m", "command": ["run"]}]}}
    await api.client.ask("POST", "/api/v1/namespaces/default/workloads", workload)
    await trio.sleep(10)
    headers = {"host": "test", "authorization": "Bearer eve"}
    path = f"/api/v1/namespaces/default/{kind}/web.0.1/exec"
    socket = Socket(api.client.app, path, headers, {"command": ["true"]})
    await socket.run()
    assert [each["type"] for each in socket.sent] == ["websocket.close"]
    assert (await api.as_("eve").ask("GET", f"/api/v1/namespaces/default/{kind}/web.0.1/logs")).status != 200


async def test_whom_workloads_are_shown_are_shown_nothing_beside_them(api: Api) -> None:
    await enter(api)
    api.keeper.principals["eve"] = Principal("eve")
    rules = [{"verbs": ["watch"], "resources": ["workloads"]}]
    await api.client.ask("POST", "/api/v1/roles", {"metadata": {"name": "some"}, "spec": {"rules": rules}})
    spec = {"role": "some", "subjects": [{"kind": "user", "name": "eve"}]}
    await api.client.ask("POST", "/api/v1/rolebindings", {"metadata": {"name": "some"}, "spec": spec})
    workload = {"metadata": {"name": "web"}, "spec": {"containers": [{"name": "m", "command": ["run"]}]}}
    await api.client.ask("POST", "/api/v1/namespaces/theirs/workloads", workload)
    await trio.sleep(10)
    seen = {}
    for role, query in (("eve", ""), ("stranger", "?namespace=theirs"), ("viewer", "")):
        kinds = seen[role] = set[str]()
        async with api.as_(role).stream("GET", f"/v1/watch{query}") as (_, _, chunks):
            async for chunk in chunks:
                kinds |= {json.loads(line)["item"]["kind"] for line in chunk.splitlines()}
                if "synced" in kinds:
                    break
    assert seen == {
        "eve": {"workload", "synced"},
        "stranger": {"workload", "instance", "synced"},
        "viewer": {"workload", "instance", "node", "synced"},
    }


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
