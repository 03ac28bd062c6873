"""Who asks, what they may do, and what they may give away, over HTTP."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio
from jsonschema import Draft202012Validator
from orchestrion.control_plane._app import make_app
from orchestrion.control_plane._identity.access import ANY, Rule, rules_of
from orchestrion.control_plane._identity.audit_records import AuditRecord
from orchestrion.control_plane._identity.keys import TrustedKeys
from orchestrion.control_plane._identity.policy import Policy
from orchestrion.control_plane._identity.principals import ADMINS, Principal, PrincipalKind
from orchestrion.control_plane._identity.roles import Role, RoleBinding, Subject, SubjectKind
from orchestrion.control_plane._identity.tokens import Tokens
from orchestrion.control_plane._standing import Refusal, Standing
from orchestrion.control_plane._web.granting import Grant, granted
from orchestrion.control_plane._web.identity_paths import identity_handlers
from orchestrion.control_plane._web.keeper import Doorkeeper
from orchestrion.control_plane._web.pipeline import Pipeline
from orchestrion.control_plane._web.schemas import common_schemas
from orchestrion.mocks import MemoryState, MemoryStore
from orchestrion.shared_types import ConfigInvalid, Denied, Unauthenticated
from orchestrion.store_interface import Delete
from trio.testing import MockClock, wait_all_tasks_blocked

from .api_stage import Client
from .identity_sources import once_of

NOW = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)
KEY = base64.b64encode(bytes(range(32))).decode()


def may(*rules: Rule) -> Policy:
    """Return a policy under which ann may do some things."""
    return Policy([Role("some", rules)], [RoleBinding("anns", "some", (Subject(SubjectKind.USER, "ann"),))])


@asynccontextmanager
async def identity(policy: Policy, who: Principal, authority: bytes = b"") -> AsyncIterator[tuple[Client, Doorkeeper]]:
    """Give a client that has a token of somebody's."""
    store = MemoryStore(MemoryState())
    keeper = Doorkeeper(Tokens(store, now=lambda: NOW), TrustedKeys(store, now=lambda: NOW), policy=policy)
    async with trio.open_nursery() as nursery:
        await nursery.start(keeper.tokens.follow)
        await nursery.start(keeper.keys.follow)  # type: ignore[union-attr] # it was given above
        issued = await keeper.tokens.issue(who)
        pipeline = Pipeline(keeper)
        app = pipeline.around(
            make_app(identity_handlers(keeper, authority, once=once_of(keeper)), guards=[pipeline.guard])
        )
        yield Client(app, issued.text.reveal()), keeper
        nursery.cancel_scope.cancel()


ADMIN = Principal("root", groups=[ADMINS])
ANN = Principal("ann")
NODE = Principal("n1", PrincipalKind.NODE)
WEB = Principal("shop/web", PrincipalKind.WORKLOAD)


async def test_everybody_who_is_known_learns_as_who() -> None:
    async with identity(Policy(), ANN) as (client, _):
        told = (await client.ask("GET", "/api/v1/whoami")).json
        assert (told["name"], told["kind"], told["groups"]) == ("ann", "user", ["system:authenticated"])
        assert told["via"].startswith("token:")


@pytest.mark.parametrize("target", ["/api/v1/whoami", "/api/v1/rights", "/api/v1/tokens"])
async def test_nobody_learns_nothing(target: str) -> None:
    async with identity(Policy(), ANN) as (client, _):
        assert (await Client(client.app, "orc_x").ask("GET", target)).status == 401


async def test_what_may_be_done_is_told_with_the_reason() -> None:
    async with identity(may(Rule(["get"], ["workloads"], ["shop"])), ANN) as (client, _):
        asked = {"verb": "get", "resource": "workloads", "namespace": "shop"}
        yes = (await client.ask("POST", "/api/v1/can-i", asked)).json
        assert yes == {"allowed": True, "why": "role 'some' by binding 'anns'"}
        no = (await client.ask("POST", "/api/v1/can-i", {**asked, "namespace": "other"})).json
        assert no == {"allowed": False, "why": "no role allows it"}
        rights = (await client.ask("GET", "/api/v1/rights")).json["items"]
        assert rights == [
            {"verbs": ["get"], "resources": ["workloads"], "namespaces": ["shop"], "role": "some", "binding": "anns"}
        ]


@pytest.mark.parametrize(
    ("who", "verb", "resource", "namespace", "name", "allowed"),
    [
        (NODE, "get", "nodes", "", "n1", True),
        (NODE, "get", "nodes", "", "n2", False),
        (NODE, "list", "instances", "", "", True),
        (NODE, "list", "secrets", "shop", "", False),
        (NODE, "get", "secrets", "shop", "key", False),
        (WEB, "get", "workloads", "shop", "web", True),
        (WEB, "get", "workloads", "other", "web", False),
        (WEB, "list", "instances", "shop", "", True),
        (ANN, "list", "instances", "shop", "", False),
    ],
)
async def test_nodes_and_workloads_are_told_what_they_may_do_with_their_own(
    who: Principal, verb: str, resource: str, namespace: str, name: str, allowed: bool
) -> None:
    async with identity(Policy(), who) as (client, _):
        asked = {"verb": verb, "resource": resource, "namespace": namespace, "name": name}
        told = (await client.ask("POST", "/api/v1/can-i", asked)).json
        assert told["allowed"] is allowed
        assert told["why"].endswith("with what is its own") is (allowed and not name)


async def test_a_token_that_was_made_is_good_until_it_is_revoked() -> None:
    async with identity(Policy(), ADMIN) as (client, _):
        made = await client.ask(
            "POST", "/api/v1/tokens", {"name": "ci", "kind": "service", "groups": [], "note": "builds"}
        )
        assert (made.status, made.headers["cache-control"]) == (201, "no-store")
        theirs = Client(client.app, made.json["token"])
        assert (await theirs.ask("GET", "/api/v1/whoami")).json["name"] == "ci"
        listed = (await client.ask("GET", "/api/v1/tokens")).json["items"]
        assert ("ci", "builds") in [(one["name"], one["note"]) for one in listed if one["id"] == made.json["id"]]
        assert made.json["token"] not in str(listed)
        assert (await client.ask("DELETE", f"/api/v1/tokens/{made.json['id']}")).status == 200
        assert (await theirs.ask("GET", "/api/v1/whoami")).status == 401
        assert (await client.ask("DELETE", f"/api/v1/tokens/{made.json['id']}")).status == 404


@pytest.mark.parametrize(
    ("grant", "status"),
    [
        ({}, 201),
        ({"scope": [{"verbs": ["get"], "resources": ["workloads"]}]}, 201),
        ({"namespaces": ["shop"]}, 201),
        ({"name": "bob"}, 403),  # whom somebody may bind something to later
        ({"groups": ["sre"]}, 403),
        ({"name": "carl"}, 201),
        ({"name": "ann", "groups": ["ops"]}, 201),
        ({"name": "carl", "groups": ["system:others"]}, 403),
        ({"groups": [ADMINS]}, 403),
        ({"name": "root", "groups": [ADMINS]}, 403),
        ({"kind": "node", "name": "n1"}, 403),
        ({"kind": "workload", "name": "default/web"}, 403),
        ({"scope": [{"verbs": ["get"]}]}, 400),
        ({"kind": "king"}, 400),
        ({"name": "a\x1b[2Jb"}, 400),
        ({"groups": ["x" * 254]}, 400),
        ({"expires_at": "2020-01-01T00:00:00Z"}, 400),
        ({"kind": "anonymous"}, 400),
    ],
)
async def test_nobody_gives_away_more_than_they_have(grant: dict[str, Any], status: int) -> None:
    rules = (
        Rule(["create"], ["tokens"]),
        Rule(["get"], ["workloads"]),
        Rule(["impersonate"], ["users"], names=["carl"]),
        Rule(["impersonate"], ["groups"], names=["ops", "system:others"]),
    )
    async with identity(may(*rules), ANN) as (client, _):
        assert (await client.ask("POST", "/api/v1/tokens", grant)).status == status


@pytest.mark.parametrize("path", ["tokens", "keys"])
@pytest.mark.parametrize(
    ("grant", "groups"),
    [
        ({}, [ADMINS, "ops", "system:authenticated"]),
        ({"name": "root", "kind": "user"}, [ADMINS, "ops", "system:authenticated"]),
        ({"name": "bob"}, ["system:authenticated"]),
        ({"kind": "service"}, ["system:authenticated", "system:services"]),
        ({"name": "n1", "kind": "node"}, ["system:authenticated", "system:nodes"]),
        ({"name": "shop/web", "kind": "workload"}, ["system:authenticated", "system:workloads"]),
        ({"name": "bob", "groups": [ADMINS]}, [ADMINS, "system:authenticated"]),
        ({"groups": []}, ["system:authenticated"]),
    ],
)
async def test_another_has_none_of_the_groups_of_who_made_them_unless_they_are_named(
    path: str, grant: dict[str, Any], groups: list[str]
) -> None:
    async with identity(Policy(), Principal("root", groups=[ADMINS, "ops"])) as (client, _):
        key = {"public_key": KEY} if path == "keys" else {}
        made = await client.ask("POST", f"/api/v1/{path}", {**grant, **key})
        assert (made.status, made.json["groups"]) == (201, sorted(groups))


async def test_what_is_narrow_makes_nothing_that_is_wide() -> None:
    scope = (Rule(["create"], ["tokens"]), Rule(["get"], ["workloads"]))
    narrow = Principal("root", groups=[ADMINS], scope=scope, namespaces=None)
    async with identity(Policy(), narrow) as (client, _):
        wide = [{"verbs": ["*"], "resources": ["*"]}]
        assert (await client.ask("POST", "/api/v1/tokens", {"scope": wide, "groups": [ADMINS]})).status == 403
        own = await client.ask("POST", "/api/v1/tokens", {"groups": [ADMINS]})
        assert own.json["scope"] == [
            {"verbs": ["create"], "resources": ["tokens"]},
            {"verbs": ["get"], "resources": ["workloads"]},
        ]


EVERYTHING = [{"verbs": ["*"], "resources": ["*"]}]
MAKES = {"verbs": ["create"], "resources": ["keys", "tokens"]}


@pytest.mark.parametrize("path", ["tokens", "keys"])
@pytest.mark.parametrize(
    ("grant", "status"),
    [
        ({}, 201),
        ({"scope": [MAKES]}, 201),
        ({"scope": [{"verbs": ["create"], "resources": ["tokens"], "namespaces": ["shop"]}]}, 201),
        ({"namespaces": ["shop"]}, 201),
        ({"scope": EVERYTHING}, 403),
        ({"scope": [MAKES, {"verbs": ["get"], "resources": ["workloads"]}]}, 403),
        ({"scope": [{"verbs": ["create", "delete"], "resources": ["tokens"]}]}, 403),
        ({"name": "carl", "scope": EVERYTHING}, 403),
        ({"name": "carl"}, 403),
    ],
)
async def test_what_is_narrow_makes_nothing_that_is_wide_once_there_is_a_role(
    path: str, grant: dict[str, Any], status: int
) -> None:
    held = may(Rule(["create"], ["tokens", "keys"]), Rule(["impersonate"], ["users"]))
    async with identity(held, Principal("ann", scope=rules_of([MAKES]))) as (client, _):
        key = {"public_key": KEY} if path == "keys" else {}
        made = await client.ask("POST", f"/api/v1/{path}", {**grant, **key})
        assert made.status == status, made.json
        if status == 201:
            assert made.json["scope"] == grant.get("scope", [MAKES])


async def test_what_is_restricted_to_namespaces_makes_nothing_that_reaches_others_once_there_is_a_role() -> None:
    held = may(Rule(["create"], ["tokens"]))
    narrow = Principal("ann", namespaces=["shop", "depot"])
    assert granted(held, narrow, Grant()).namespaces == frozenset(("shop", "depot"))
    assert granted(held, narrow, Grant(namespaces=("shop",))).namespaces == frozenset(("shop",))
    with pytest.raises(Denied, match="namespaces beyond its own: bank"):
        granted(held, narrow, Grant(namespaces=("shop", "bank")))


async def test_a_scope_of_what_is_ones_own_is_not_given_to_another() -> None:
    held = may(Rule(["get"], ["nodes"], own=True), Rule(["impersonate"], ["users"]))
    who = Principal("ann", scope=[Rule(["get"], ["nodes"], own=True), Rule(["impersonate"], ["users"])])
    assert granted(held, who, Grant()).scope == who.scope
    with pytest.raises(Denied, match="beyond its own: get nodes"):
        granted(held, who, Grant(name="carl"))


async def test_a_scope_of_too_many_parts_is_refused_to_who_is_narrow_too() -> None:
    many = tuple(str(number) for number in range(256))
    with pytest.raises(ConfigInvalid, match="too many things"):
        granted(
            Policy(),
            Principal("ann", scope=[Rule(ANY, ANY)]),
            Grant(scope=({"verbs": list(many), "resources": list(many), "names": list(many)},)),
        )


@pytest.mark.parametrize("path", ["tokens", "keys"])
@pytest.mark.parametrize("kind", ["user", "service"])
async def test_names_of_the_server_are_given_to_nobody(path: str, kind: str) -> None:
    async with identity(Policy(), ADMIN) as (client, _):
        key = {"public_key": KEY} if path == "keys" else {}
        refused = await client.ask("POST", f"/api/v1/{path}", {"name": "system:collector", "kind": kind, **key})
        assert refused.status == 403
        assert "'system:collector' is a name of the server's own" in refused.json["detail"]
        assert (await client.ask("GET", f"/api/v1/{path}")).json["items"][1:] == []


async def test_what_is_short_makes_nothing_that_lasts() -> None:
    ending = NOW + timedelta(hours=1)
    async with identity(Policy(), Principal("root", groups=[ADMINS], expires_at=ending)) as (client, _):
        longer = (NOW + timedelta(hours=2)).isoformat()
        assert (await client.ask("POST", "/api/v1/tokens", {"expires_at": longer})).status == 403
        made = (await client.ask("POST", "/api/v1/tokens", {})).json
        assert datetime.fromisoformat(made["expires_at"]) == ending


async def test_a_scope_of_too_many_parts_is_refused_at_once() -> None:
    many = [str(number) for number in range(256)]
    scope = [{"verbs": many, "resources": many, "names": many}]
    async with identity(Policy(), ADMIN) as (client, _):
        answer = await client.ask("POST", "/api/v1/tokens", {"scope": scope})
        assert (answer.status, "too many" in answer.json["detail"]) == (400, True)


async def test_keys_are_trusted_listed_and_forgotten() -> None:
    async with identity(Policy(), ADMIN) as (client, keeper):
        made = await client.ask("POST", "/api/v1/keys", {"name": "robot", "kind": "service", "public_key": KEY})
        assert made.status == 201
        assert [key.principal.name for key in keeper.keys.all()] == ["robot"]  # type: ignore[union-attr]
        assert (await client.ask("GET", "/api/v1/keys")).json["items"] == [made.json]
        assert (await client.ask("DELETE", f"/api/v1/keys/{made.json['fingerprint']}")).status == 200
        assert (await client.ask("GET", "/api/v1/keys")).json["items"] == []
        assert (await client.ask("POST", "/api/v1/keys", {"public_key": "no"})).status == 400


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_tokens_and_keys_are_not_for_everybody(method: str) -> None:
    async with identity(Policy(), ANN) as (client, _):
        for target in ("/api/v1/tokens", "/api/v1/keys"):
            body = None if method == "GET" else {"public_key": KEY}
            assert (await client.ask(method, target, body)).status == 403


async def test_what_is_answered_is_as_it_is_described() -> None:
    schemas = common_schemas()
    validators = {
        name: Draft202012Validator({**schemas[name], "components": {"schemas": schemas}})
        for name in ("Who", "Rights", "Verdict", "Tokens", "TokenMade", "Keys")
    }
    async with identity(Policy(), ADMIN) as (client, _):
        question = {"verb": "get", "resource": "nodes"}
        await client.ask("POST", "/api/v1/keys", {"name": "robot", "public_key": KEY})
        for name, method, target, body in (
            ("Who", "GET", "/api/v1/whoami", None),
            ("Rights", "GET", "/api/v1/rights", None),
            ("Verdict", "POST", "/api/v1/can-i", question),
            ("TokenMade", "POST", "/api/v1/tokens", {}),
            ("Tokens", "GET", "/api/v1/tokens", None),
            ("Keys", "GET", "/api/v1/keys", None),
        ):
            validators[name].validate((await client.ask(method, target, body)).json)


async def test_the_authority_is_told_to_everybody() -> None:
    async with identity(Policy(), ANN, b"PEM") as (client, _):
        answer = await Client(client.app, "").ask("GET", "/authority.crt")
        assert (answer.status, answer.body) == (200, b"PEM")
    async with identity(Policy(), ANN) as (client, _):
        assert (await client.ask("GET", "/authority.crt")).status == 404


async def test_a_proof_is_good_for_what_lasts_until_it_is_revoked_or_ends() -> None:
    async with identity(Policy(), ANN) as (_, keeper):
        connection: Any = None
        issued = await keeper.tokens.issue(ANN)
        holder = issued.record.principal
        keeper.prove_again(connection, holder)
        await keeper.tokens.revoke(issued.record.id)
        assert keeper.keys is not None
        trusted = await keeper.keys.trust(bytes(range(32)), ANN)
        keeper.prove_again(connection, trusted.principal)
        await keeper.keys.forget(trusted.fingerprint)
        vouched = Principal("ann", via="oidc", expires_at=NOW)
        for gone in (holder, trusted.principal, vouched):
            with pytest.raises(Unauthenticated):
                keeper.prove_again(connection, gone)


async def test_what_was_made_is_on_record_with_whom_it_is_for() -> None:
    kept = list[AuditRecord]()

    class Records:
        failure = None

        async def write(self, record: AuditRecord, /) -> int:
            kept.append(record)
            return len(kept)

    async with identity(Policy(), ADMIN) as (client, keeper):
        pipeline = Pipeline(keeper, recorder=Records())
        watched = Client(
            pipeline.around(make_app(identity_handlers(keeper, once=once_of(keeper)), guards=[pipeline.guard])),
            client.token,
        )
        made = (await watched.ask("POST", "/api/v1/tokens", {"name": "ci", "groups": []})).json
        trusted = (await watched.ask("POST", "/api/v1/keys", {"name": "ci", "groups": [], "public_key": KEY})).json
    assert [(record.verb, record.resource, record.name) for record in kept] == [
        ("create", "tokens", f"{made['id']} of user:ci"),
        ("create", "keys", f"{trusted['fingerprint']} of user:ci"),
    ]


async def revoked_here(keeper: Doorkeeper, via: str) -> None:
    kind, _, name = via.partition(":")
    if kind == "token":
        await keeper.tokens.revoke(name)
    else:
        await keeper.keys.forget(name)  # type: ignore[union-attr] # it is given


async def revoked_elsewhere(keeper: Doorkeeper, via: str) -> None:
    kind, _, name = via.partition(":")
    await keeper.tokens.store.transaction([], [Delete(f"/{kind}/default/{name}")])


@pytest.mark.parametrize("kind", ["token", "key"])
@pytest.mark.parametrize("revoke", [revoked_here, revoked_elsewhere])
async def test_what_lasts_ends_at_once_when_its_proof_is_revoked(
    kind: str, revoke: Callable[[Doorkeeper, str], Awaitable[None]], autojump_clock: MockClock
) -> None:
    async with identity(Policy(), ADMIN) as (_, keeper):
        await keeper.tokens.issue(ANN)
        keys = keeper.keys
        assert keys is not None
        key = await keys.trust(base64.b64decode(KEY), ANN)
        shown = (await keeper.tokens.issue(ANN)).record.principal if kind == "token" else key.principal
        refusal = Refusal(Standing(lambda: void(keeper.still(shown)), keeper.changes))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(refusal.end, nursery.cancel_scope)
            await wait_all_tasks_blocked()
            began = trio.current_time()
            await revoke(keeper, shown.via)
        assert isinstance(refusal.error, Unauthenticated)
        assert trio.current_time() == began


def void(_: object) -> None:
    """Say nothing of what was found."""
