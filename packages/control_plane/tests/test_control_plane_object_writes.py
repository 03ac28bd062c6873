"""What writing an object must not do: take, lose, rename or show what it was not about."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from attrs import define, evolve
from orchestrion.control_plane._access import ACCESS
from orchestrion.control_plane._app import make_app
from orchestrion.control_plane._identity.keys import TrustedKeys
from orchestrion.control_plane._identity.principals import Principal, PrincipalKind
from orchestrion.control_plane._identity.tokens import Tokens
from orchestrion.control_plane._objects.document import Document
from orchestrion.control_plane._objects.kinds import SECRET
from orchestrion.control_plane._service.custom_kinds import TAKEN
from orchestrion.control_plane._service.intent import Admit, ChangeKind, Review
from orchestrion.control_plane._web.identity_paths import identity_handlers
from orchestrion.control_plane._web.keeper import Doorkeeper
from orchestrion.mocks import MemoryState, MemoryStore
from orchestrion.shared_types import Denied

from .api_stage import Answer, Api, Client
from .identity_sources import once_of

SPACE = "/api/v1/namespaces/default"
MAPS = f"{SPACE}/configmaps"
SECRETS = f"{SPACE}/secrets"
KINDS = "/api/v1/customkinds"
APPLY = "application/apply-patch+json"
JSON_PATCH = "application/json-patch+json"


def config(name: str = "a", **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"data": data}}


async def applied(api: Api, path: str, spec: dict[str, Any], manager: str = "ci", query: str = "") -> Answer:
    target = f"{path}?manager={manager}{query}"
    return await api.client.ask("PATCH", target, {"spec": spec}, content_type=APPLY)


async def backups(api: Api, **spec: Any) -> None:
    kind = {"metadata": {"name": "backups"}, "spec": {"kind": "Backup", "plural": "backups", **spec}}
    assert (await api.client.ask("POST", KINDS, kind)).status == 201


async def owners(api: Api, path: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = (await api.client.ask("GET", f"{path}?show=owners")).json["owners"]
    return found


async def test_what_a_schema_fills_in_is_nobodys(api: Api) -> None:
    keep = {"type": "integer", "default": 3}
    await backups(api, schema={"type": "object", "properties": {"keep": keep}})
    path = f"{SPACE}/backups/b"
    await applied(api, path, {"at": "1"})
    await api.client.ask("PATCH", f"{path}?manager=hand", {"metadata": {"labels": {"team": "a"}}})
    await api.client.ask("PATCH", f"{path}?manager=hand", {"spec": {"x": 1}})
    assert await owners(api, path) == {"spec.at": ["ci"], "spec.x": ["hand"]}
    assert (await applied(api, path, {"at": "1", "keep": 5})).json["spec"] == {"at": "1", "keep": 5, "x": 1}


@pytest.mark.parametrize(
    "spec",
    [
        {"kind": "Backup", "plural": "copies"},
        {"kind": "Backup", "plural": "backups", "namespaced": False},
        {"kind": "Other", "plural": "others"},
    ],
)
async def test_a_kind_keeps_its_names_however_it_is_written(api: Api, spec: dict[str, Any]) -> None:
    await backups(api)
    await api.client.ask("POST", f"{SPACE}/backups", {"metadata": {"name": "b"}, "spec": {}})
    answers = [
        await applied(api, f"{KINDS}/backups", spec, query="&force=true"),
        await api.client.ask("PATCH", f"{KINDS}/backups", {"spec": spec}),
        await api.client.ask(
            "POST", "/api/v1/apply?force=true", {"kind": "CustomKind", "metadata": {"name": "backups"}, "spec": spec}
        ),
    ]
    assert [answer.status for answer in answers] == [400, 400, 400]
    assert (await api.client.ask("GET", f"{SPACE}/backups/b")).status == 200


async def test_a_manager_says_a_part_of_a_kind(api: Api) -> None:
    await backups(api)
    part = await applied(api, f"{KINDS}/backups", {"schema": {"type": "object", "required": ["at"]}}, "schemas")
    assert (part.status, part.json["spec"]["plural"]) == (200, "backups")
    assert (await api.client.ask("POST", f"{SPACE}/backups", {"metadata": {"name": "b"}, "spec": {}})).status == 400


@pytest.mark.parametrize("plural", ["tokens", "whoami", "keys", "rights", "can-i", "apply", "create", "watch"])
async def test_a_path_of_the_servers_own_is_no_plural(api: Api, plural: str) -> None:
    spec = {"kind": "Thing", "plural": plural, "namespaced": False}
    refused = await api.client.ask("POST", KINDS, {"metadata": {"name": "things"}, "spec": spec})
    assert (refused.status, plural in TAKEN) == (400, True)


async def test_no_kind_is_called_as_what_rules_mean_something_else_by(api: Api) -> None:
    stage = Doorkeeper(Tokens(MemoryStore(MemoryState())), TrustedKeys(MemoryStore(MemoryState())))
    identity = make_app(identity_handlers(stage, once=once_of(stage)))
    routes: list[Any] = [*api.server.sections().routes(), *identity.routes]
    options = [
        handler.opt.get(ACCESS)
        for route in routes
        for handler in (getattr(route, "route_handlers", ()) or (route.route_handler,))
    ]
    named = {needs.resource.partition("/")[0] for needs in options if needs is not None} - {"{plural}"}
    named |= {kind.resource for kind in PrincipalKind if kind is not PrincipalKind.ANONYMOUS} | {"groups"}
    assert {"metrics", "services", "tokens", "users", "workloads"} <= named
    for plural in sorted(named):
        spec = {"kind": "Thing", "plural": plural, "namespaced": False}
        refused = await api.client.ask("POST", KINDS, {"metadata": {"name": "things"}, "spec": spec})
        assert refused.status in (400, 409), plural


async def test_what_a_stricter_schema_refuses_can_still_be_let_go(api: Api) -> None:
    await backups(api)
    held = [{"name": "copy", "owner": "me"}]
    await api.client.ask("POST", f"{SPACE}/backups", {"metadata": {"name": "b", "finalizers": held}, "spec": {"x": 1}})
    stricter = {"spec": {"schema": {"type": "object", "required": ["y"]}}}
    assert (await api.client.ask("PATCH", f"{KINDS}/backups", stricter)).status == 200
    path = f"{SPACE}/backups/b"
    assert (await api.client.ask("PATCH", path, {"spec": {"x": 2}})).status == 400
    await api.client.ask("DELETE", path)
    assert (await api.client.ask("PATCH", path, {"metadata": {"finalizers": []}})).status == 200
    assert (await api.client.ask("GET", path)).status == 404


@pytest.mark.parametrize("manager", ["ci", "other"])
async def test_metadata_of_what_a_stricter_schema_refuses_can_be_applied(api: Api, manager: str) -> None:
    keep = {"keep": {"type": "integer", "default": 3}}
    await backups(api, schema={"type": "object", "properties": keep})
    path = f"{SPACE}/backups/b"
    assert (await applied(api, path, {"x": 1})).status == 201
    stricter = {"spec": {"schema": {"type": "object", "properties": keep, "required": ["y"]}}}
    assert (await api.client.ask("PATCH", f"{KINDS}/backups", stricter)).status == 200
    said = {"x": 1} if manager == "ci" else {}
    told = {"metadata": {"labels": {"team": "a"}}, "spec": said}
    labelled = await api.client.ask("PATCH", f"{path}?manager={manager}", told, content_type=APPLY)
    assert labelled.status == 200, labelled.json
    assert (labelled.json["metadata"]["labels"], labelled.json["metadata"]["generation"]) == ({"team": "a"}, 1)
    assert labelled.json["spec"] == {"x": 1, "keep": 3}
    assert await owners(api, path) == {"spec.x": ["ci"]}
    for other in ({"x": 2}, {"x": 1, "z": 1}):
        assert (await applied(api, path, other, query="&force=true")).status == 400
    if manager == "ci":
        assert (await applied(api, path, {})).status == 400
    assert (await applied(api, path, {"x": 1, "y": 1})).json["spec"] == {"x": 1, "y": 1, "keep": 3}


async def test_only_of_kinds_of_the_servers_own_immutable_is_a_word(api: Api) -> None:
    await backups(api)
    await api.client.ask("POST", f"{SPACE}/backups", {"metadata": {"name": "b"}, "spec": {"immutable": True, "x": 1}})
    assert (await api.client.ask("PATCH", f"{SPACE}/backups/b", {"spec": {"x": 2}})).status == 200
    await api.client.ask("POST", MAPS, {"metadata": {"name": "a"}, "spec": {"immutable": True, "data": {}}})
    assert (await api.client.ask("PATCH", f"{MAPS}/a", {"spec": {"data": {"x": "1"}}})).status == 400


async def secret(api: Api, **spec: Any) -> None:
    data = {"metadata": {"name": "s"}, "spec": {"data": {"a": "hunter2"}, **spec}}
    assert (await api.client.ask("POST", SECRETS, data)).status == 201


async def no_update_of_secrets(review: Review) -> Document:
    """Refuse each change of a secret, as a webhook may."""
    if review.kind is SECRET and review.change is ChangeKind.UPDATE:
        raise Denied("nobody changes secrets here")
    return review.document


async def writer_of_secrets(api: Api, *verbs: str) -> Client:
    rules = [{"verbs": ["create", "update", "patch", "apply", "plan", *verbs], "resources": ["secrets"]}]
    await api.client.ask("POST", "/api/v1/roles", {"metadata": {"name": "writer"}, "spec": {"rules": rules}})
    spec = {"role": "writer", "subjects": [{"kind": "user", "name": "eve"}]}
    await api.client.ask("POST", "/api/v1/rolebindings", {"metadata": {"name": "eve"}, "spec": spec})
    api.keeper.principals["eve"] = Principal("eve")
    return api.as_("eve")


@pytest.mark.parametrize("reads", [False, True])
@pytest.mark.parametrize("way", ["PUT", "PATCH", "apply", "plan", "immutable", "refused"])
async def test_by_trying_nobody_learns_a_secret_who_may_not_read_it(api: Api, way: str, reads: bool) -> None:
    await secret(api, immutable=way == "immutable")
    if way == "refused":
        api.objects.writer.admit = no_update_of_secrets
    eve, told = await writer_of_secrets(api, *(["get"] if reads else [])), list[Any]()
    for guess in ("hunter2", "hunter3"):
        data: dict[str, Any] = {"metadata": {"name": "s"}, "spec": {"data": {"a": guess}}}
        match way:
            case "PUT" | "PATCH":
                answer = await eve.ask(way, f"{SECRETS}/s?dry_run=true", data)
            case "apply":
                target = f"{SECRETS}/s?manager=eve&force=true&dry_run=true"
                answer = await eve.ask("PATCH", target, {"spec": data["spec"]}, content_type=APPLY)
            case "plan":
                answer = await eve.ask("POST", "/api/v1/plan?force=true", {"kind": "Secret", **data})
            case "refused":
                answer = await eve.ask("PUT", f"{SECRETS}/s", data)
            case _:
                both = {**data, "spec": {**data["spec"], "immutable": True}}
                answer = await eve.ask("PUT", f"{SECRETS}/s", both)
        document = answer.json
        assert answer.status == 200 or way in ("immutable", "refused"), document
        document.get("metadata", {}).pop("updated_at", None)
        document.pop("trace_id", None)
        told.append((answer.status, document))
    assert (told[0] == told[1]) is not reads


async def kept(api: Api) -> bytes:
    entry = (await api.objects.store.get("/object/secrets/default/s")).entry
    assert entry is not None
    return entry.value


@pytest.mark.parametrize("immutable", [False, True])
async def test_the_same_secret_again_is_no_change(api: Api, immutable: bool) -> None:
    spec = {"data": {"a": "hunter2"}, **({"immutable": True} if immutable else {})}
    await secret(api, **spec)
    before = await kept(api)
    for _ in range(2):
        assert (await applied(api, f"{SECRETS}/s", spec)).json["metadata"]["generation"] == 1
    assert await kept(api) == before
    other = await applied(api, f"{SECRETS}/s", {**spec, "data": {"a": "hunter3"}})
    assert other.status == (400 if immutable else 200)
    assert (await kept(api) == before) is immutable


@pytest.mark.parametrize("reads", [False, True])
async def test_the_same_secret_again_is_a_change_by_who_may_not_read_it(api: Api, reads: bool) -> None:
    await secret(api)
    before, eve = await kept(api), await writer_of_secrets(api, *(["get"] if reads else []))
    for generation in (2, 3):
        answer = await eve.ask("PUT", f"{SECRETS}/s", {"metadata": {"name": "s"}, "spec": {"data": {"a": "hunter2"}}})
        assert answer.json["metadata"]["generation"] == (1 if reads else generation)
    assert (await kept(api) == before) is reads
    masked = {"metadata": {"name": "s"}, "spec": {"data": {"a": "***"}}}
    now = await kept(api)
    assert (await eve.ask("PUT", f"{SECRETS}/s", masked)).status == 200
    assert await kept(api) == now


@pytest.mark.parametrize("op", ["move", "copy"])
async def test_what_stands_for_a_secret_text_is_never_kept_as_one(api: Api, op: str) -> None:
    await secret(api)
    before = await kept(api)
    steps = [{"op": op, "from": "/spec/data/a", "path": "/spec/data/b"}]
    assert (await api.client.ask("PATCH", f"{SECRETS}/s", steps, content_type=JSON_PATCH)).status == 400
    made = await api.client.ask("POST", SECRETS, {"metadata": {"name": "t"}, "spec": {"data": {"a": "***"}}})
    assert made.status == 400
    assert await kept(api) == before


@define
class Meddling:
    """Changes what it is asked about, as a webhook may."""

    admit: Admit
    spec: dict[str, Any]

    async def __call__(self, review: Review) -> Document:
        document = await self.admit(review)
        return evolve(document, spec={**document.spec, **self.spec}) if review.kind is SECRET else document


async def test_what_a_webhook_puts_into_a_secret_is_refused_and_not_kept_in_plain_text(api: Api) -> None:
    writer = api.objects.writer
    honest = writer.admit
    writer.admit = Meddling(honest, {"data": {"a": "***", "more": "plain"}})
    data = {"metadata": {"name": "s"}, "spec": {"data": {"a": "x"}}}
    assert (await api.client.ask("POST", SECRETS, data)).status == 400
    assert (await api.client.ask("GET", f"{SECRETS}/s")).status == 404
    writer.admit = Meddling(honest, {"immutable": True})
    assert (await api.client.ask("POST", SECRETS, data)).json["spec"] == {"data": {"a": "***"}, "immutable": True}


async def test_a_namespace_that_is_changed_meanwhile_is_there_all_the_same(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    transaction, touched = api.objects.store.transaction, list[int]()

    async def overtaken(compares: Any, operations: Any, /) -> Any:
        if not touched and any("/configmaps/" in operation.key for operation in operations):
            touched.append(1)
            labels = {"metadata": {"labels": {"team": "a"}}}
            touched.append((await api.client.ask("PATCH", "/api/v1/namespaces/default", labels)).status)
        return await transaction(compares, operations)

    monkeypatch.setattr(api.objects.store, "transaction", overtaken)
    assert (await api.client.ask("POST", MAPS, config())).status == 201
    assert touched == [1, 200]


async def test_a_namespace_that_begins_to_go_meanwhile_takes_nothing(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await api.client.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "other"}})
    await api.client.ask("POST", "/api/v1/namespaces/other/configmaps", config("kept"))
    transaction, removed = api.objects.store.transaction, list[int]()

    async def overtaken(compares: Any, operations: Any, /) -> Any:
        if not removed and any("/configmaps/other/a" in operation.key for operation in operations):
            removed.append(1)
            removed.append((await api.client.ask("DELETE", "/api/v1/namespaces/other")).status)
        return await transaction(compares, operations)

    monkeypatch.setattr(api.objects.store, "transaction", overtaken)
    assert (await api.client.ask("POST", "/api/v1/namespaces/other/configmaps", config())).status == 409
    assert removed == [1, 200]


@pytest.mark.parametrize("plural", ["configmaps", "workloads"])
async def test_the_same_request_twice_at_once_is_not_told_that_another_was_faster(api: Api, plural: str) -> None:
    spec: dict[str, Any] = (
        {"data": {}} if plural == "configmaps" else {"containers": [{"name": "main", "command": ["run"]}]}
    )
    answers = list[Answer]()

    async def ask() -> None:
        data = {"metadata": {"name": "a"}, "spec": spec}
        answers.append(await api.client.ask("POST", f"{SPACE}/{plural}", data, idempotency_key="k"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        nursery.start_soon(ask)
    for answer in answers:
        assert answer.status == 201 or "being answered" in answer.json["detail"]


@pytest.mark.parametrize("etag", ["*", '"99"'])
@pytest.mark.parametrize("plural", ["configmaps", "workloads"])
async def test_what_is_to_be_there_is_not_made_by_applying(api: Api, plural: str, etag: str) -> None:
    spec: dict[str, Any] = (
        {"data": {}} if plural == "configmaps" else {"containers": [{"name": "main", "command": ["run"]}]}
    )
    path, form = f"{SPACE}/{plural}/a", "application/apply-patch+json"
    refused = await api.client.ask("PATCH", path, {"spec": spec}, content_type=form, if_match=etag)
    assert refused.status == 412
    assert (await api.client.ask("GET", path)).status == 404
    assert (await api.client.ask("PATCH", path, {"spec": spec}, content_type=form)).status == 201
    assert (await api.client.ask("PATCH", path, {"spec": spec}, content_type=form, if_match="*")).status == 200


async def test_a_removal_is_done_once(api: Api) -> None:
    await api.client.ask("POST", MAPS, config())
    first = await api.client.ask("DELETE", f"{MAPS}/a", idempotency_key="k")
    await api.client.ask("POST", MAPS, config())
    again = await api.client.ask("DELETE", f"{MAPS}/a", idempotency_key="k")
    assert (first.status, again.body) == (200, first.body)
    assert (await api.client.ask("GET", f"{MAPS}/a")).status == 200


@pytest.mark.parametrize("manager", ["", "a%20b", "x" * 64, "control", "server", "-a"])
async def test_a_manager_that_is_none_is_refused(api: Api, manager: str) -> None:
    assert (await applied(api, f"{MAPS}/a", {"data": {}}, manager)).status == 400
    assert (await api.client.ask("GET", f"{MAPS}/a")).status == 404


async def test_what_becomes_of_what_an_object_owns_is_described(api: Api) -> None:
    document = (await api.client.ask("GET", "/openapi.json")).json
    removal = document["paths"]["/api/v1/namespaces/{namespace}/configmaps/{name}"]["delete"]
    names = [each.get("name") or each["$ref"].rpartition("/")[2] for each in removal["parameters"]]
    assert "cascade" in names


@pytest.mark.parametrize(
    "body",
    [
        b'{"metadata": {"name": "a"}, "spec": {"data": {"a": "1", "a": "2"}}}',
        b'{"metadata": {"name": "a"}, "spec": {}, "spec": {"data": {}}}',
    ],
)
async def test_a_key_that_is_there_twice_is_refused(api: Api, body: bytes) -> None:
    refused = await api.client.ask("POST", MAPS, body)
    assert (refused.status, "is there twice" in refused.json["detail"]) == (400, True)
    assert (await api.client.ask("GET", f"{MAPS}/a")).status == 404


async def test_a_body_that_is_encoded_is_refused(api: Api) -> None:
    refused = await api.client.ask("POST", MAPS, config(), content_encoding="gzip")
    assert (refused.status, "Content-Encoding" in refused.json["detail"]) == (400, True)
    assert (await api.client.ask("POST", MAPS, config(), content_encoding="identity")).status == 201
