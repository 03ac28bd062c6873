"""Webhooks as objects: really asked, over TLS, wherever they may be, and never without an end."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from ipaddress import ip_address, ip_network
from typing import Any

import h11
import pytest
import trio
import trustme
from attrs import define, field
from orchestrion.control_plane._admission.hooks import bounded
from orchestrion.control_plane._identity.asking import ASKING
from orchestrion.control_plane._identity.principals import ADMINS, Principal
from orchestrion.control_plane._outgoing import HttpAnswer, Outgoing
from orchestrion.control_plane._reach import Reach
from orchestrion.orchestrator_core import WorkloadName
from orchestrion.shared_types import ContainerConfig, Denied, Metadata, NetworkFailure, WorkloadDefinition

from .api_stage import Api, api_served

SPACE = "/api/v1/namespaces/default"
MAPS = f"{SPACE}/configmaps"
MUTATING, VALIDATING = "/api/v1/mutatingwebhooks", "/api/v1/validatingwebhooks"

Says = Callable[[dict[str, Any]], dict[str, Any]]


@define(eq=False)
class Judge:
    """A webhook: an HTTPS server that answers each review with what a function says of it.

    Attributes:
        says: From the request to the response, without its uid.
        head: Answered instead, where it is not empty.
        asked: The requests.
    """

    says: Says = lambda _: {"allowed": True}
    head: bytes = b""
    asked: list[dict[str, Any]] = field(factory=list)
    authority: trustme.CA = field(factory=trustme.CA)
    url: str = ""

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[Judge]:
        """Let it listen."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert("localhost").configure_cert(context)
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.url = f"https://localhost:{listener.socket.getsockname()[1]}/admit"
        secured = trio.SSLListener(listener, context, https_compatible=True)
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(trio.serve_listeners, self._serve, [secured]))
            yield self
            nursery.cancel_scope.cancel()

    async def _serve(self, stream: Any) -> None:
        connection, body = h11.Connection(h11.SERVER), b""
        try:
            while True:
                event: Any = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(await stream.receive_some())
                elif isinstance(event, h11.Data):
                    body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    break
                elif isinstance(event, h11.ConnectionClosed):
                    return
            request = json.loads(body)["request"]
            self.asked.append(request)
            said = json.dumps({"response": {"uid": request["uid"], **self.says(request)}}).encode()
            head = self.head or b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(said)
            await stream.send_all(head + (b"" if self.head else said))
            await stream.aclose()
        except (h11.RemoteProtocolError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    def hook(self, name: str, **spec: Any) -> dict[str, Any]:
        """Return it as an object."""
        spec.setdefault("url", self.url)
        spec.setdefault("ca", self.authority.cert_pem.bytes().decode())
        spec.setdefault("rules", [{"kinds": ["*"], "operations": ["create", "update", "delete", "connect"]}])
        return {"metadata": {"name": name}, "spec": spec}


def config(name: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"data": data}}


def definition(name: str = "web", **fields: Any) -> WorkloadDefinition:
    container = ContainerConfig(name="main", command=("run",))
    return WorkloadDefinition(metadata=Metadata(name=name), containers=(container,), **fields)


async def created(api: Api, path: str, data: Any) -> None:
    answer = await api.client.ask("POST", path, data)
    assert answer.status == 201, answer.body


@asynccontextmanager
async def judged() -> AsyncIterator[tuple[Api, Judge]]:
    async with api_served() as api, Judge().at_work() as judge:
        yield api, judge


@pytest.mark.slow
async def test_what_a_mutating_webhook_wants_is_written_and_a_validating_one_sees_it() -> None:
    async with judged() as (api, first), Judge().at_work() as second:
        first.says = lambda _: {"allowed": True, "patch": [{"op": "add", "path": "/spec/data/by", "value": "hook"}]}
        await created(api, MUTATING, first.hook("first"))
        await created(api, VALIDATING, second.hook("second"))
        answer = await api.client.ask("POST", MAPS, config("settings", a="1"))
        assert answer.json["spec"]["data"] == {"a": "1", "by": "hook"}
        (asked,) = second.asked
        assert asked["object"]["spec"]["data"] == {"a": "1", "by": "hook"}
        assert (asked["operation"], asked["principal"]["name"]) == ("create", "admin")


async def test_a_validating_webhook_refuses_and_nothing_is_written() -> None:
    async with judged() as (api, judge):
        judge.says = lambda _: {"allowed": False, "reason": "not on Sundays"}
        await created(api, VALIDATING, judge.hook("policy"))
        refused = await api.client.ask("POST", MAPS, config("settings"))
        assert refused.status == 403
        assert refused.json["message"] == "'policy' refused it: not on Sundays"
        assert (await api.client.ask("GET", f"{MAPS}/settings")).status == 404


async def test_what_a_webhook_makes_of_an_object_is_checked_like_what_anybody_sends() -> None:
    async with judged() as (api, judge):
        judge.says = lambda _: {"allowed": True, "patch": [{"op": "add", "path": "/spec/data/a", "value": 7}]}
        await created(api, MUTATING, judge.hook("odd"))
        refused = await api.client.ask("POST", MAPS, config("settings", b="1"))
        assert refused.status == 400
        assert "spec.data" in refused.json["message"]


@pytest.mark.slow
async def test_workloads_are_judged_on_every_way_in() -> None:
    def says(request: dict[str, Any]) -> dict[str, Any]:
        if request["operation"] in ("delete", "connect"):
            return {"allowed": False, "reason": "it stays"}
        if request["object"]["spec"].get("replicas", 1) > 2:
            return {"allowed": False, "reason": "too many"}
        return {"allowed": True}

    async with judged() as (api, judge), Judge().at_work() as labeller:
        judge.says = says
        labeller.says = lambda _: {
            "allowed": True,
            "patch": [{"op": "add", "path": "/metadata/labels", "value": {"team": "shop"}}],
        }
        await created(api, VALIDATING, judge.hook("policy"))
        await created(api, MUTATING, labeller.hook("labels", rules=[{"kinds": ["Workload"]}]))
        control = api.management.control
        ASKING.set(Principal("ann", groups=[ADMINS]))
        await control.apply([definition(replicas=2)])
        assert (await control.get_workload("web")).definition.metadata.labels == {"team": "shop"}
        with pytest.raises(Denied, match="too many"):
            await control.apply([definition("b", replicas=3)])
        with pytest.raises(Denied, match="too many"):
            await control.scale("web", 3)
        with pytest.raises(Denied, match="it stays"):
            await control.remove("web")
        with pytest.raises(Denied, match="it stays"):
            async with control.exec("web.0", ["true"]):
                pass
        assert (await api.client.ask("DELETE", f"{SPACE}/workloads/web")).status == 403


def is_stopped(api: Api) -> bool:
    return api.orchestrator.world.workloads[WorkloadName("default", "web")].control.stopped


async def test_a_workload_is_stopped_and_started_only_where_webhooks_let_it() -> None:
    async with judged() as (api, judge):
        await api.management.control.apply([definition()])
        await created(api, VALIDATING, judge.hook("policy", rules=[{"kinds": ["Workload"], "operations": ["update"]}]))
        for action in ("stop", "start"):
            judge.says = lambda _: {"allowed": False, "reason": "not on Sundays"}
            refused = await api.client.ask("POST", f"{SPACE}/workloads/web/{action}")
            assert (refused.status, refused.json["message"]) == (403, "'policy' refused it: not on Sundays")
            assert (judge.asked[-1]["action"], judge.asked[-1]["object"]["metadata"]["name"]) == (action, "web")
            assert api.orchestrator.world.workloads[WorkloadName("default", "web")].control.stopped == (
                action == "start"
            )
            judge.says = lambda _: {"allowed": True}
            assert (await api.client.ask("POST", f"{SPACE}/workloads/web/{action}")).status == 200
        assert not is_stopped(api)


@pytest.mark.parametrize("path", ["/api/v1/apply", "/v1/apply"])
async def test_what_was_stopped_starts_by_being_applied_only_where_webhooks_let_it(path: str) -> None:
    containers = [{"name": "main", "command": ["run"]}]
    body: dict[str, Any] = {"workloads": [{"metadata": {"name": "web"}, "kind": "service", "containers": containers}]}
    if path.startswith("/api/"):
        body = {"items": [{"kind": "Workload", "metadata": {"name": "web"}, "spec": {"containers": containers}}]}
    async with judged() as (api, judge):
        await api.management.control.apply([definition()])
        await api.orchestrator.stop("web")
        await created(api, VALIDATING, judge.hook("policy", rules=[{"kinds": ["Workload"], "operations": ["update"]}]))
        judge.says = lambda asked: {"allowed": "action" not in asked}
        refused = await api.client.ask("POST", f"{path}?manager=control", body)
        assert (refused.status, is_stopped(api)) == (403, True)
        assert [each.get("action", "") for each in judge.asked] == ["", "start"]
        judge.says = lambda _: {"allowed": True}
        tried = await api.client.ask("POST", f"{path}?manager=control&dry_run=true", body)
        assert (tried.status, judge.asked[-1]["action"], judge.asked[-1]["dry_run"]) == (200, "start", True)
        assert (await api.client.ask("POST", f"{path}?manager=control", body)).status == 200
        assert not is_stopped(api)


DONE_WITH: list[tuple[str, dict[str, Any], str]] = [
    ("rollout", {"pause": {}}, "pause"),
    ("rollout", {"resume": {}}, "resume"),
    ("rollout", {"promote": {}}, "promote"),
    ("rollout", {"restart": {}}, "restart"),
    ("retry", {}, "retry"),
]


@pytest.mark.parametrize(("path", "body", "action"), DONE_WITH)
async def test_what_is_done_with_a_workload_is_an_update_that_webhooks_judge(
    path: str, body: dict[str, Any], action: str
) -> None:
    async with judged() as (api, judge), Judge().at_work() as labeller:
        labeller.says = lambda _: {"allowed": True, "patch": [{"op": "add", "path": "/spec/replicas", "value": 9}]}
        await api.management.control.apply([definition(replicas=2)])
        await created(api, VALIDATING, judge.hook("policy", rules=[{"kinds": ["Workload"], "operations": ["update"]}]))
        await created(api, MUTATING, labeller.hook("numbers", rules=[{"kinds": ["Workload"]}]))
        before = (await api.client.ask("GET", f"{SPACE}/workloads/web")).json
        judge.says = lambda _: {"allowed": False, "reason": "not on Sundays"}
        refused = await api.client.ask("POST", f"{SPACE}/workloads/web/{path}", body)
        assert (refused.status, refused.json["message"]) == (403, "'policy' refused it: not on Sundays")
        (asked,) = judge.asked
        assert (asked["operation"], asked["action"], asked["dry_run"]) == ("update", action, False)
        assert asked["object"]["spec"] == asked["old_object"]["spec"] == before["spec"]
        assert labeller.asked == []
        after = (await api.client.ask("GET", f"{SPACE}/workloads/web")).json
        assert ("paused" in after["status"], after["metadata"]) == (False, before["metadata"])
        judge.says = lambda _: {"allowed": True}
        expected = 409 if action == "promote" else 200  # there is no canary
        assert (await api.client.ask("POST", f"{SPACE}/workloads/web/{path}", body)).status == expected
        after = (await api.client.ask("GET", f"{SPACE}/workloads/web")).json
        assert (after["spec"], after["status"].get("paused", False)) == (before["spec"], action == "pause")


async def test_a_dry_run_of_what_is_done_with_a_workload_is_judged_as_one() -> None:
    async with judged() as (api, judge):
        await api.management.control.apply([definition()])
        await created(api, VALIDATING, judge.hook("policy", rules=[{"kinds": ["Workload"]}]))
        await api.client.ask("POST", f"{SPACE}/workloads/web/rollout?dry_run=true", {"pause": {}})
        assert [(asked["action"], asked["dry_run"]) for asked in judge.asked] == [("pause", True)]


async def test_a_pause_by_the_way_of_control_is_judged_too() -> None:
    async with judged() as (api, judge):
        control = api.management.control
        await control.apply([definition()])
        await created(api, VALIDATING, judge.hook("policy", rules=[{"kinds": ["Workload"]}]))
        ASKING.set(Principal("ann", groups=[ADMINS]))
        judge.says = lambda _: {"allowed": False, "reason": "not on Sundays"}
        for change in (control.pause, control.resume):
            with pytest.raises(Denied, match="not on Sundays"):
                await change("web")
        assert [asked["action"] for asked in judge.asked] == ["pause", "resume"]


async def test_what_was_changed_while_it_was_judged_is_left_alone() -> None:
    async with judged() as (api, judge):
        await api.management.control.apply([definition()])
        await created(api, VALIDATING, judge.hook("policy", rules=[{"kinds": ["Workload"]}]))
        changed = list[int]()

        async def meddle(action: str, workload: WorkloadDefinition, *, dry_run: bool) -> None:
            labels = {"metadata": {"labels": {"team": "shop"}}}
            changed.append((await api.client.ask("PATCH", f"{SPACE}/workloads/web", labels)).status)

        api.objects.workloads.act = meddle
        answer = await api.client.ask("POST", f"{SPACE}/workloads/web/rollout", {"pause": {}})
        assert (changed, answer.status) == ([200], 409)
        assert not api.orchestrator.world.workloads[WorkloadName("default", "web")].control.paused


@pytest.mark.slow
async def test_a_webhook_that_has_gone_wrong_can_be_changed_and_removed() -> None:
    async with judged() as (api, judge):
        judge.says = lambda _: {"allowed": False}
        await created(api, VALIDATING, judge.hook("policy", rules=[{"kinds": ["*", "ValidatingWebhook"]}]))
        assert (await api.client.ask("POST", MAPS, config("settings"))).status == 403
        patched = await api.client.ask("PATCH", f"{VALIDATING}/policy", {"spec": {"timeout": "1s"}})
        assert patched.status == 200
        assert (await api.client.ask("DELETE", f"{VALIDATING}/policy")).status == 200
        await created(api, MAPS, config("settings"))


async def test_who_is_not_who_it_should_be_or_leads_elsewhere_counts_as_away() -> None:
    async with judged() as (api, judge):
        other = trustme.CA().cert_pem.bytes().decode()
        await created(api, VALIDATING, judge.hook("strange", ca=other))
        assert (await api.client.ask("POST", MAPS, config("settings"))).status == 503
        assert judge.asked == []
        await api.client.ask("DELETE", f"{VALIDATING}/strange")
        judge.head = b"HTTP/1.1 307 Go\r\nlocation: http://localhost:1/\r\ncontent-length: 0\r\n\r\n"
        await created(api, VALIDATING, judge.hook("leads", failure_policy="ignore"))
        await created(api, MAPS, config("settings"))
        assert len(judge.asked) == 1


async def test_warnings_reach_who_asks() -> None:
    async with judged() as (api, judge):
        judge.says = lambda _: {"allowed": True, "warnings": ["that is old", "ä\r\nx: y"]}
        await created(api, VALIDATING, judge.hook("policy"))
        answer = await api.client.ask("POST", MAPS, config("settings"))
        assert answer.status == 201
        assert answer.headers["warning"] == '299 - "that is old", 299 - "?  x: y"'


async def test_a_webhook_that_changes_objects_itself_comes_to_an_end() -> None:
    """It is asked about its own changes, and about those that it makes then."""
    under_way = 0
    most = 0

    async def post(url: str, body: bytes, within_seconds: float) -> HttpAnswer:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        try:
            return await again(url, body, within_seconds)
        finally:
            under_way -= 1

    again = bounded(post, 5)
    with pytest.raises(trio.TooSlowError):
        await again("https://localhost/", b"{}", 0.05)
    assert (most, under_way) == (5, 0)


@pytest.mark.parametrize(
    ("host", "address", "allowed"),
    [
        ("hook.example", "93.184.216.34", True),
        ("hook.example", "2606:2800:220:1::1", True),
        ("localhost", "127.0.0.1", True),
        ("localhost", "::1", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("hook.example", "127.0.0.1", False),
        ("hook.example", "::1", False),
        ("hook.example", "::ffff:127.0.0.1", False),
        ("hook.example", "10.1.2.3", False),
        ("hook.example", "192.168.1.1", False),
        ("hook.example", "169.254.169.254", False),
        ("hook.example", "::ffff:169.254.169.254", False),
        ("hook.example", "64:ff9b::a9fe:a9fe", False),
        ("hook.example", "2002:a9fe:a9fe::1", False),
        ("hook.example", "fe80::1", False),
        ("hook.example", "fd00::1", False),
        ("hook.example", "0.0.0.0", False),
        ("hook.example", "::", False),
        ("hook.example", "100.64.0.1", False),
        ("hook.example", "224.0.0.1", False),
        ("hook.example", "ff02::1", False),
        ("hook.example", "172.20.0.7", True),
        ("hook.example", "::ffff:172.20.0.7", True),
    ],
)
def test_requests_are_sent_to_public_addresses_and_to_networks_that_were_allowed(
    host: str, address: str, allowed: bool
) -> None:
    reach = Reach((ip_network("172.20.0.0/16"),))
    assert reach.allows(host, ip_address(address)) is allowed


async def test_a_name_that_leads_where_it_should_not_is_not_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(_host: str, port: int, **_options: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return [(None, None, 6, "", ("93.184.216.34", port)), (None, None, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(trio.socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(NetworkFailure, match=r"'hook\.example' is at 127\.0\.0\.1, which is no public address"):
        await Outgoing(reach=Reach()).post("https://hook.example/", b"{}")


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"url": "http://hook.example/"}, "spec.url"),
        ({"url": "https://user@hook.example/"}, "spec.url"),
        ({"url": "ftp://hook.example/"}, "spec.url"),
        ({"ca": "no certificate"}, "spec.ca"),
        ({"timeout": "31s"}, "spec.timeout"),
        ({"timeout": 0}, "spec.timeout"),
        ({"timeout": "soon"}, "spec.timeout"),
        ({"failure_policy": "maybe"}, "spec.failure_policy"),
        ({"reinvocation": "often"}, "spec.reinvocation"),
        ({"rules": [{"kinds": ["*"], "operations": ["look"]}]}, "spec.rules[0].operations"),
        ({"rules": [{"kinds": [], "operations": ["create"]}]}, "spec.rules[0]"),
    ],
)
async def test_what_can_be_no_webhook_is_refused_with_its_place(api: Api, change: Any, place: str) -> None:
    spec = {"url": "https://hook.example/", "rules": [{"kinds": ["*"]}], **change}
    refused = await api.client.ask("POST", MUTATING, {"metadata": {"name": "odd"}, "spec": spec})
    assert refused.status == 400
    assert f"{place}:" in refused.json["message"]
