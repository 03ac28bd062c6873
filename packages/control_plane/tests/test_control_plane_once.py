"""Every change that is sent with an Idempotency-Key is done once, whichever it is; what is kept for that has bounds."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest
import trio
from attrs import define, evolve
from orchestrion.control_plane._identity.authority import Authority
from orchestrion.control_plane._identity.issued import IssuedCertificates
from orchestrion.control_plane._identity.keys import TrustedKeys
from orchestrion.control_plane._identity.tokens import Tokens
from orchestrion.control_plane._service.replies import KEPT, PREFIX, Replies, Reply
from orchestrion.control_plane._service.secret_keys import SecretKeys
from orchestrion.control_plane._web.identity_paths import identity_handlers
from orchestrion.control_plane._web.keeper import Doorkeeper
from orchestrion.control_plane._web.once import Once
from orchestrion.control_plane._web.passage import READING
from orchestrion.control_plane._web.sealing_paths import sealing_handlers
from orchestrion.control_plane._web.sections import API, Section
from orchestrion.control_plane._web.server import ApiServer
from orchestrion.mocks import MemoryState, MemoryStore
from orchestrion.orchestrator_core import WorkloadName, trio_time
from orchestrion.shared_types import from_json, to_json

from .api_stage import ADMIN, Api, Client, api_served
from .identity_sources import Clock

SPACE: Final = "/api/v1/namespaces/default"
WEB: Final = f"{SPACE}/workloads/web"
MAPS: Final = f"{SPACE}/configmaps"
NODE: Final = "/api/v1/nodes/node-00000"
RUN: Final = {"containers": [{"name": "main", "command": ["run"]}]}
PUBLIC_KEY: Final = base64.b64encode(bytes(range(32))).decode()

ONLY_ASKING: Final = ("can-i", "plan")
"""Operations that have a body, and change nothing."""

ONLY_CARRYING: Final = ("mcp", "mcp-end")
"""Operations whose messages have ids of their own, in a protocol that knows no key."""

SHOWN_ONCE: Final = ("create-token", "issue-certificate")
"""Operations whose answer is nobody's to see a second time."""


def config(name: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"data": data}}


REQUESTS: Final[dict[str, tuple[str, str, Any]]] = {
    "create": ("POST", "/api/v1/namespaces", {"metadata": {"name": "other"}}),
    "create-in-namespace": ("POST", MAPS, config("new")),
    "replace": ("PUT", "/api/v1/namespaces/own", {"metadata": {"name": "own", "labels": {"a": "b"}}}),
    "replace-in-namespace": ("PUT", f"{MAPS}/a", config("a", x="2")),
    "patch": ("PATCH", "/api/v1/namespaces/own", {"metadata": {"labels": {"a": "b"}}}),
    "patch-in-namespace": ("PATCH", f"{MAPS}/a", {"spec": {"data": {"x": "2"}}}),
    "remove": ("DELETE", "/api/v1/priorityclasses/low", None),
    "remove-in-namespace": ("DELETE", f"{MAPS}/a", None),
    "replace-status": ("PUT", "/api/v1/things/one/status", {"metadata": {"name": "one"}, "status": {"at": "1"}}),
    "replace-status-in-namespace": (
        "PUT",
        f"{SPACE}/resourcequotas/all/status",
        {"metadata": {"name": "all"}, "status": {"note": "1"}},
    ),
    "patch-status": ("PATCH", "/api/v1/things/one/status", {"status": {"at": "1"}}),
    "patch-status-in-namespace": ("PATCH", f"{SPACE}/resourcequotas/all/status", {"status": {"note": "1"}}),
    "scale": ("PUT", f"{WEB}/scale", {"replicas": 3}),
    "stop": ("POST", f"{WEB}/stop", None),
    "start": ("POST", f"{SPACE}/workloads/stopped/start", None),
    "retry": ("POST", f"{SPACE}/workloads/stopped/retry", {}),
    "rollout": ("POST", f"{WEB}/rollout", {"pause": {}}),
    "cordon": ("POST", f"{NODE}/cordon", None),
    "uncordon": ("POST", f"{NODE}/uncordon", None),
    "drain": ("POST", f"{NODE}/drain", {"reason": "repair"}),
    "apply": ("POST", "/api/v1/apply", {"kind": "ConfigMap", **config("applied")}),
    "create-all-together": ("POST", "/api/v1/create", {"kind": "ConfigMap", **config("made")}),
    "create-token": ("POST", "/api/v1/tokens", {"note": "mine"}),
    "revoke-token": ("DELETE", "/api/v1/tokens/{token}", None),
    "trust-key": ("POST", "/api/v1/keys", {"public_key": PUBLIC_KEY}),
    "forget-key": ("DELETE", "/api/v1/keys/{key}", None),
    "rotate-sealing-key": ("POST", "/api/v1/sealingkeys", None),
    "issue-certificate": ("POST", "/api/v1/certificates", {"name": "ci"}),
    "revoke-certificate": ("DELETE", "/api/v1/certificates/{certificate}", None),
}
"""A request of each operation that changes something, by its name without its kind."""


@define(eq=False)
class Whole:
    """A server with all its paths, and what there is to change at it."""

    api: Api
    client: Client
    names: dict[str, str]


async def sealed_in(store: MemoryStore, *, task_status: trio.TaskStatus[SecretKeys]) -> None:
    """Have keys for secrets in a directory that goes with the task."""
    with TemporaryDirectory() as directory:
        task_status.started(await SecretKeys.open(store, Path(directory)))
        await trio.sleep_forever()


@asynccontextmanager
async def whole() -> AsyncIterator[Whole]:
    async with api_served() as api, trio.open_nursery() as nursery:
        store, replies = api.objects.store, api.server.replies
        # Certificates are made in threads, where there is no clock of trio's.
        keys, issued = TrustedKeys(store, trio_time), IssuedCertificates(store, Authority.make("a.b", now=Clock())[0])
        keeper = Doorkeeper(Tokens(store, trio_time), keys, issued=issued)
        for each in (keeper.tokens, keys, issued):
            await nursery.start(each.follow)
        sealing = await nursery.start(sealed_in, store)
        more = [*identity_handlers(keeper, once=Once(replies)), *sealing_handlers(sealing, Once(replies))]
        also = [Section(API, lambda: more)]
        server = ApiServer(api.management.control, api.objects, api.keeper, more=also, replies=replies)
        client = Client(server.app())
        made = [
            await client.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "own"}}),
            await client.ask("POST", MAPS, config("a", x="1")),
            await client.ask("POST", "/api/v1/priorityclasses", {"metadata": {"name": "low"}, "spec": {"value": 1}}),
            await client.ask("POST", f"{SPACE}/resourcequotas", {"metadata": {"name": "all"}, "spec": {"hard": {}}}),
            await client.ask("POST", f"{SPACE}/workloads", {"metadata": {"name": "web"}, "spec": RUN}),
            await client.ask("POST", f"{SPACE}/workloads", {"metadata": {"name": "stopped"}, "spec": RUN}),
            await client.ask("POST", f"{SPACE}/workloads/stopped/stop"),
            await client.ask(
                "POST",
                "/api/v1/customkinds",
                {
                    "metadata": {"name": "things"},
                    "spec": {"kind": "Thing", "plural": "things", "namespaced": False, "schema": {}},
                },
            ),
            await client.ask("POST", "/api/v1/things", {"metadata": {"name": "one"}, "spec": {}}),
            await client.ask("POST", "/api/v1/tokens", {}),
            await client.ask("POST", "/api/v1/keys", {"public_key": base64.b64encode(b"\x03" * 32).decode()}),
            await client.ask("POST", "/api/v1/certificates", {"name": "ann"}),
        ]
        assert {each.status for each in made} <= {200, 201}, [each.body for each in made if each.status > 201]
        token, key, certificate = (each.json for each in made[-3:])
        yield Whole(
            api, client, {"token": token["id"], "key": key["fingerprint"], "certificate": certificate["serial"]}
        )
        nursery.cancel_scope.cancel()


async def changes_of(client: Client) -> dict[str, dict[str, Any]]:
    """Return the operations that change something, by their ids."""
    document = (await client.ask("GET", "/openapi.json")).json
    return {
        operation["operationId"]: operation
        for item in document["paths"].values()
        for method, operation in item.items()
        if method != "get"
        and operation.get("x-access", {}).get("verb") not in READING
        and operation["operationId"] not in (*ONLY_ASKING, *ONLY_CARRYING)
    }


async def test_every_change_takes_a_key_and_is_tried_here(autojump_clock: object) -> None:
    async with whole() as server:
        changes = await changes_of(server.client)
    without = [
        name
        for name, operation in changes.items()
        if "Idempotency-Key" not in {each["name"] for each in operation.get("parameters", ())}
    ]
    assert not without
    kinds = {operation["tags"][0] for operation in changes.values()}
    names = {name for name in changes if not any(name.endswith(f"-{kind}") for kind in kinds)}
    names |= {name.removesuffix(f"-{kind}") for name in changes for kind in kinds if name.endswith(f"-{kind}")}
    assert names == set(REQUESTS)


@pytest.mark.slow
async def test_every_change_with_a_key_is_done_once(autojump_clock: object) -> None:
    async with whole() as server:
        store = server.api.objects.store
        for name, (method, path, body) in REQUESTS.items():
            target, data = path.format_map(server.names), b"" if body is None else json.dumps(body).encode()
            form = "application/merge-patch+json" if method == "PATCH" else "application/json"
            ask = partial(server.client.ask, method, target, content_type=form, idempotency_key=name)
            first = await ask(data)
            assert first.status in (200, 201), (name, first.body)
            await trio.sleep(60)
            revision = (await store.get("/")).revision
            again, other = await ask(data), await ask(data + b" ")
            assert (await store.get("/")).revision == revision, name
            assert (other.status, "with another request" in other.json["detail"]) == (409, True), name
            if name in SHOWN_ONCE:
                assert (again.status, "shown only once" in again.json["detail"]) == (409, True), name
            else:
                assert (again.status, again.json) == (first.status, first.json), name


async def kept(api: Api) -> list[Reply]:
    return [from_json(entry.value, Reply) for entry in (await api.objects.store.list(PREFIX)).entries]


async def lose_answers(api: Api, *, begun: bool = False) -> None:
    """Let the store know of each request no more than what a server knows that is killed right after it."""
    for entry in (await api.objects.store.list(PREFIX)).entries:
        reply = evolve(from_json(entry.value, Reply), answer=None, begun=begun)
        await api.objects.store.put(entry.key, to_json(reply))


def control(api: Api) -> Any:
    return api.orchestrator.world.workloads[WorkloadName("default", "web")].control


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", f"{WEB}/scale", {"replicas": 3}),
        ("POST", f"{WEB}/stop", None),
        ("POST", f"{WEB}/rollout", {"pause": {}}),
    ],
)
async def test_what_others_change_meanwhile_stays_also_after_a_kill(
    api: Api, method: str, path: str, body: Any
) -> None:
    await api.client.ask("POST", f"{SPACE}/workloads", {"metadata": {"name": "web"}, "spec": RUN})
    assert (await api.client.ask(method, path, body, idempotency_key="k")).status == 200
    await lose_answers(api)
    await api.client.ask("POST", f"{WEB}/start")
    await api.client.ask("PUT", f"{WEB}/scale", {"replicas": 5})
    await api.client.ask("POST", f"{WEB}/rollout", {"resume": {}})
    again = await api.client.ask(method, path, body, idempotency_key="k")
    assert again.status == 200
    assert (control(api).replicas, control(api).stopped, control(api).paused) == (5, False, 0)


async def test_a_promotion_that_is_sent_again_does_not_promote_the_next_update(api: Api) -> None:
    await api.client.ask("POST", f"{SPACE}/workloads", {"metadata": {"name": "web"}, "spec": RUN})
    await trio.sleep(60)

    async def update(word: str) -> None:
        main = {"name": "main", "command": ["run", "token", word]}
        spec = {"containers": [main], "update": {"canary": 1}}
        await api.client.ask("PUT", WEB, {"metadata": {"name": "web"}, "spec": spec})
        await trio.sleep(60)

    await update("one")
    asked: tuple[str, str, Any] = ("POST", f"{WEB}/rollout", {"promote": {}})
    assert (await api.client.ask(*asked, idempotency_key="k")).status == 200
    await trio.sleep(60)
    assert control(api).promoted == 2
    await update("two")
    await lose_answers(api)
    assert (await api.client.ask(*asked, idempotency_key="k")).status == 200
    assert control(api).promoted == 2


async def running(api: Api) -> list[str]:
    items = (await api.client.ask("GET", f"{SPACE}/instances")).json["items"]
    return [item["metadata"]["name"] for item in items if item["status"]["state"] == "Running"]


async def test_the_removal_of_an_instance_is_done_once(api: Api) -> None:
    await api.client.ask("POST", f"{SPACE}/workloads", {"metadata": {"name": "web"}, "spec": RUN})
    await trio.sleep(60)
    (first,) = await running(api)
    removed = await api.client.ask("DELETE", f"{SPACE}/instances/{first}", idempotency_key="k")
    assert (removed.status, len(await kept(api))) == (200, 1)
    await lose_answers(api)
    await trio.sleep(60)
    (second,) = await running(api)
    again = await api.client.ask("DELETE", f"{SPACE}/instances/{first}", idempotency_key="k")
    assert again.status == 200
    await trio.sleep(60)
    assert first != second
    assert await running(api) == [second]


async def test_an_order_to_a_node_that_a_kill_cut_off_is_given_again(api: Api) -> None:
    await api.client.ask("POST", f"{NODE}/cordon", idempotency_key="k")
    await lose_answers(api, begun=True)
    await api.client.ask("POST", f"{NODE}/uncordon")
    again = await api.client.ask("POST", f"{NODE}/cordon", idempotency_key="k")
    assert (again.status, again.json["spec"]["cordoned"]) == (200, True)
    (reply,) = await kept(api)
    assert (reply.begun, reply.answer is not None) == (False, True)


async def test_an_order_that_was_refused_can_be_given_again_with_its_key(api: Api) -> None:
    for _ in range(2):
        assert (await api.client.ask("POST", "/api/v1/nodes/nobody/cordon", idempotency_key="k")).status == 404
        assert await kept(api) == []


async def test_what_was_removed_since_is_not_made_again_by_an_apply_that_was_done(api: Api) -> None:
    document = {"kind": "ConfigMap", **config("a", x="1")}
    first = await api.client.ask("POST", "/api/v1/apply", document, idempotency_key="k")
    assert [each["action"] for each in first.json["items"]] == ["create"]
    await lose_answers(api)
    await api.client.ask("DELETE", f"{MAPS}/a")
    again = await api.client.ask("POST", "/api/v1/apply", document, idempotency_key="k")
    assert [(each["action"], each["generation"]) for each in again.json["items"]] == [("delete", 0)]
    assert (await api.client.ask("GET", f"{MAPS}/a")).status == 404


async def test_where_nothing_changed_no_answer_is_kept(api: Api) -> None:
    await api.client.ask("POST", MAPS, config("a", x="1"))
    same = {"spec": {"data": {"x": "1"}}}
    for number in range(2):
        done = await api.client.ask("PATCH", f"{MAPS}/a", same, idempotency_key=f"k{number}")
        assert done.status == 200
    assert [reply.answer for reply in await kept(api)] == [None, None]
    await api.client.ask("PATCH", f"{MAPS}/a", {"spec": {"data": {"x": "2"}}})
    again = await api.client.ask("PATCH", f"{MAPS}/a", same, idempotency_key="k0")
    assert (again.status, again.json["spec"]["data"]) == (200, {"x": "2"})


async def test_who_has_sent_too_many_keys_is_refused_others_and_they_still_count(api: Api) -> None:
    api.server.replies.max_requests = 2
    api.keeper.principals["other"] = evolve(ADMIN, name="other")
    for name in ("a", "b"):
        assert (await api.client.ask("POST", MAPS, config(name), idempotency_key=name)).status == 201
    refused = await api.client.ask("POST", MAPS, config("c"), idempotency_key="c")
    assert refused.status == 429
    assert KEPT.total_seconds() - 60 <= int(refused.headers["retry-after"]) <= KEPT.total_seconds()
    assert "without a key" in refused.json["detail"]
    assert (await api.client.ask("GET", f"{MAPS}/c")).status == 404
    assert (await api.client.ask("POST", MAPS, config("a"), idempotency_key="a")).status == 201
    assert (await api.as_("other").ask("POST", MAPS, config("d"), idempotency_key="d")).status == 201
    assert (await api.client.ask("POST", MAPS, config("c"))).status == 201, "without a key"


async def test_there_is_room_again_once_others_are_a_day_old(api: Api) -> None:
    replies = api.server.replies
    replies.max_requests = 1
    await api.client.ask("POST", MAPS, config("a"), idempotency_key="a")
    assert (await api.client.ask("POST", MAPS, config("b"), idempotency_key="b")).status == 429
    replies.now = lambda: trio_time() + KEPT
    assert (await api.client.ask("POST", MAPS, config("b"), idempotency_key="b")).status == 201
    assert len(await kept(api)) == 1


async def test_a_request_that_was_refused_takes_no_room(api: Api) -> None:
    api.server.replies.max_requests = 1
    for _ in range(3):
        assert (await api.client.ask("POST", MAPS, {"metadata": {"name": "-"}}, idempotency_key="a")).status == 400
    assert (await api.client.ask("POST", MAPS, config("a"), idempotency_key="a")).status == 201


async def test_beyond_so_many_bytes_it_is_only_kept_that_requests_were_done(api: Api) -> None:
    api.server.replies.max_bytes = 2_000
    sizes = list[int]()
    for name in ("a", "b", "c"):
        first = await api.client.ask("POST", MAPS, config(name, x="x" * 900), idempotency_key=name)
        sizes.append(len(first.body))
        again = await api.client.ask("POST", MAPS, config(name, x="x" * 900), idempotency_key=name)
        assert (again.status, again.body) == (201, first.body)
    assert sum(reply.answer is not None for reply in await kept(api)) == 2_000 // max(sizes)


async def test_what_is_kept_is_counted_again_after_a_start() -> None:
    store = MemoryStore(MemoryState())
    async with api_served(store=store) as api:
        await api.client.ask("POST", MAPS, config("a"), idempotency_key="a")
        later = ApiServer(
            api.management.control,
            api.objects,
            api.keeper,
            replies=Replies(store, trio_time, api.server.secret, max_requests=1),
        )
        refused = await Client(later.app()).ask("POST", MAPS, config("b"), idempotency_key="b")
    assert refused.status == 429


@pytest.mark.parametrize(
    ("method", "path", "header"),
    [
        ("DELETE", "/v1/workload?name=web", "idempotency_key"),
        ("POST", f"{WEB}/stop", "if_match"),
        ("POST", f"{NODE}/cordon", "if_match"),
        ("DELETE", WEB, "if_none_match"),
        ("PUT", f"{WEB}/scale", "if_unmodified_since"),
    ],
)
async def test_a_condition_that_nothing_heeds_is_refused(api: Api, method: str, path: str, header: str) -> None:
    await api.client.ask("POST", f"{SPACE}/workloads", {"metadata": {"name": "web"}, "spec": RUN})
    refused = await api.client.ask(method, path, **{header: '"1"'})
    assert (refused.status, "nothing here heeds that" in refused.json["detail"]) == (400, True)
    assert (control(api).removed, control(api).stopped) == (False, False)
