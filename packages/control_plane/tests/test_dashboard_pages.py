"""The dashboard over HTTP: who gets in, what they see, and what browsers are told to refuse."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote

import pytest
import trio
from orchestrion.control_plane._dashboard.assets import FOLDER, assets
from orchestrion.control_plane._dashboard.handlers import NAV
from orchestrion.control_plane._identity.principals import Principal

from .api_stage import Answer, Api, Client, paths_of

WORKLOADS = "/api/v1/namespaces/default/workloads"
EVIL = "<script>alert(1)</script>'\"><img src=x onerror=alert(1)>"
PAGES = [place for _, place, _ in NAV]


def workload(name: str = "web", **spec: Any) -> dict[str, Any]:
    spec.setdefault("kind", "service")
    spec.setdefault("containers", [{"name": "main", "command": ["run"]}])
    return {"kind": "Workload", "metadata": {"name": name}, "spec": spec}


class Browser:
    """Keeps a cookie, as a browser does, and the proof that goes with it, as the pages' script does."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.cookie = ""
        self.proof = ""

    async def sign_in(self, token: str = "admin", **headers: str) -> Answer:
        form = f"token={quote(token)}&next=%2Fui%2Fnodes".encode()
        answer = await self.client.ask(
            "POST", "/ui/login", form, content_type="application/x-www-form-urlencoded", **headers
        )
        if "set-cookie" in answer.headers:
            self.cookie = answer.headers["set-cookie"].partition(";")[0]
            self.proof = proof_in(answer)
        return answer

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.client.ask("GET", path, cookie=self.cookie, **headers)

    async def change(self, method: str, path: str, data: Any = None, **headers: str) -> Answer:
        return await self.client.ask(method, path, data, cookie=self.cookie, **headers)


def proof_in(answer: Answer) -> str:
    """Return the proof that the page after signing in hands over."""
    found = re.search(rb'data-proof="([^"]+)"', answer.body)
    assert found is not None
    return found[1].decode()


@pytest.fixture
async def browser(api: Api) -> Browser:
    browser = Browser(api.as_(""))
    assert (await browser.sign_in()).status == 200
    return browser


async def test_who_has_not_signed_in_is_asked_to_and_then_comes_where_they_wanted(api: Api) -> None:
    browser = Browser(api.as_(""))
    answer = await browser.get("/ui/events?namespace=default")
    assert answer.status == 303
    assert answer.headers["location"] == "/ui/login?next=/ui/events%3Fnamespace%3Ddefault"
    form = await browser.get(answer.headers["location"])
    assert b'name="next" value="/ui/events?namespace=default"' in form.body
    signed_in = await browser.sign_in()
    assert signed_in.status == 200
    assert b'href="/ui/nodes"' in signed_in.body
    assert (await browser.get("/ui/events")).status == 200


@pytest.mark.parametrize("place", ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "/a\r\nb: c"])
async def test_signing_in_leads_to_no_other_site(api: Api, place: str) -> None:
    form = f"token=admin&next={quote(place)}".encode()
    answer = await api.as_("").ask("POST", "/ui/login", form, content_type="application/x-www-form-urlencoded")
    assert [attributes["href"] for tag, attributes in Texts(answer.body).elements if "data-proof" in attributes] == [
        "/"
    ]


async def test_a_wrong_token_is_told_and_gives_no_session(api: Api) -> None:
    answer = await Browser(api.as_("")).sign_in("wrong")
    assert answer.status == 401
    assert "set-cookie" not in answer.headers
    assert b"nobody that is known" in answer.body


async def test_the_cookie_is_for_this_server_alone_and_no_script_reads_it(api: Api) -> None:
    cookie = (await Browser(api.as_("")).sign_in()).headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "path=/" in cookie
    assert "domain" not in cookie


async def test_a_link_signs_in_once(api: Api) -> None:
    code = api.sessions.invite(Principal("admin"))
    first = await api.as_("").ask("GET", f"/ui/login?code={code}")
    assert first.status == 200
    assert proof_in(first)
    assert first.headers["cache-control"] == "no-store"
    assert "set-cookie" in first.headers
    second = await api.as_("").ask("GET", f"/ui/login?code={code}")
    assert second.status == 401
    assert "set-cookie" not in second.headers


async def test_who_signs_out_is_out(browser: Browser) -> None:
    assert (await browser.change("POST", "/ui/logout", x_session_proof=browser.proof)).status == 204
    assert (await browser.get("/")).status == 303


async def test_what_somebody_follows_ends_when_they_sign_out(browser: Browser) -> None:
    path = "/api/v1/namespaces/default/configmaps?watch=true"
    headers = {"cookie": browser.cookie, "x_session_proof": browser.proof}
    async with browser.client.stream("GET", path, **headers) as (status, _, chunks):
        assert status == 200
        await trio.sleep(1)
        assert (await browser.change("POST", "/ui/logout", x_session_proof=browser.proof)).status == 204
        out_at = trio.current_time()
        said = b"".join([chunk async for chunk in chunks])
    assert b"unauthenticated" in said
    assert trio.current_time() - out_at < 1


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x_session_proof": "guessed"},
        {"x_session_proof": "OWN", "sec_fetch_site": "cross-site"},
        {"x_session_proof": "OWN", "sec_fetch_site": "same-site"},
        {"x_session_proof": "OWN", "origin": "http://evil.example"},
        {"x_session_proof": "OWN", "origin": "null"},
    ],
)
async def test_a_change_that_another_site_may_have_asked_for_is_refused(
    api: Api, browser: Browser, headers: dict[str, str]
) -> None:
    given = {name: browser.proof if value == "OWN" else value for name, value in headers.items()}
    refused = await browser.change("POST", WORKLOADS, workload(), **given)
    assert refused.status in (401, 403)
    assert (await api.client.ask("GET", f"{WORKLOADS}/web")).status == 404


class Forms(HTMLParser):
    """The forms of a page that change something."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        method = given.get("data-call") or given.get("method") or "get"
        if tag == "form" and method not in ("get", "dialog"):
            self.found.append((method.upper(), str(given["action"])))


async def test_no_form_of_any_page_works_without_the_proof(api: Api, browser: Browser) -> None:
    await api.client.ask("POST", WORKLOADS, workload())
    await trio.sleep(10)
    node = (await api.client.ask("GET", "/api/v1/nodes")).json["items"][0]["metadata"]["name"]
    first = await browser.get("/ui/nodes")
    await api.client.ask("POST", f"/api/v1/nodes/{node}/cordon")
    pages = [first, *[await browser.get(page) for page in (*PAGES, "/ui/workloads/default/web")]]
    forms = {form for page in pages for form in Forms(page.body).found}
    assert {action.rpartition("/")[2].partition("?")[0] for _, action in forms} == FORMS
    before = await state_of(api)
    for method, action in forms:
        for headers in (
            {},
            {"x_session_proof": "guessed"},
            {"x_session_proof": browser.proof, "sec_fetch_site": "cross-site"},
        ):
            answer = await browser.change(method, action, {}, **headers)
            assert answer.status in (401, 403), (method, action, headers)
    assert await state_of(api) == before
    for method, action in sorted(forms):
        answer = await browser.change(method, action, {"replicas": 2, "reason": "x"}, x_session_proof=browser.proof)
        assert answer.status not in (401, 403), (method, action)


FORMS = {"scale", "stop", "pause", "rollout", "web", "cordon", "uncordon", "drain"}
"""What forms change, by the last word of their path."""


async def state_of(api: Api) -> list[Any]:
    """Return all workloads and nodes as they are."""
    paths = (WORKLOADS, "/api/v1/nodes")
    return [(await api.client.ask("GET", path)).json["items"] for path in paths]


@pytest.mark.slow
async def test_no_path_takes_a_change_from_a_browser_without_the_proof(
    api: Api, browser: Browser, autojump_clock: object
) -> None:
    document = (await api.client.ask("GET", "/openapi.json")).json
    paths = [(method, path) for path, item in document["paths"].items() for method in item]
    paths += [
        (method, path) for method, path in paths_of(api) if path.startswith(("/v1/", "/mcp")) and method != "WEBSOCKET"
    ]
    paths += [("post", "/mcp"), ("delete", "/mcp"), ("post", "/ui/logout")]
    changing = {(method.upper(), path) for method, path in paths} - {("GET", path) for _, path in paths}
    assert len(changing) > 50
    before = await state_of(api)
    for method, path in sorted(changing):
        await trio.sleep(1)  # slowly enough for the limits
        target = path.replace("{namespace}", "default").replace("{name}", "web").replace("{name:str}", "web")
        answer = await browser.change(method, target, {})
        assert answer.status in (401, 403), (method, path, answer.status)
    assert await state_of(api) == before
    assert (await browser.get("/")).status == 200, "nor is anybody signed out"


def reading(api: Api, document: Any) -> list[str]:
    """Return the paths that can be read, for what is in the default namespace, except for what everybody may read."""
    paths = [path for path, item in document["paths"].items() if "get" in item]
    paths += [
        path for method, path in paths_of(api) if method == "GET" and path.startswith(("/v1/", "/mcp", "/metrics"))
    ]
    named = {"{namespace}": "default", "{name}": "web", "{plural}": "workloads", ":str": ""}
    found = set[str]()
    for path in paths:
        for part, word in named.items():
            path = path.replace(part, word)
        found.add(path)
    return sorted(found - EVERYBODYS)


EVERYBODYS = {"/api", "/apis", "/healthz", "/livez", "/readyz", "/version", "/v1/ping", "/openapi.json", "/docs"}


@pytest.mark.slow
async def test_the_cookie_alone_reads_nothing_of_the_api(api: Api, browser: Browser, autojump_clock: object) -> None:
    await api.client.ask("POST", WORKLOADS, workload())
    paths = reading(api, (await api.client.ask("GET", "/openapi.json")).json)
    assert {"/api/v1/workloads", "/v1/workloads", "/v1/watch", "/metrics"} <= {*paths}
    for path in paths:
        await trio.sleep(1)  # slowly enough for the limits
        assert (await browser.get(path)).status == 401, path
    assert (await browser.get("/api/v1/workloads", x_session_proof="guessed")).status == 401
    assert (await browser.get("/api/v1/workloads", x_session_proof=browser.cookie.partition("=")[2])).status == 401
    assert (await browser.get("/api/v1/workloads", x_session_proof=browser.proof)).status == 200


@pytest.mark.parametrize("page", [*PAGES, "/ui/login", "/ui/workloads/default/web", "/ui/samples", "/docs"])
async def test_no_page_that_the_cookie_alone_opens_has_the_proof(api: Api, browser: Browser, page: str) -> None:
    await api.client.ask("POST", WORKLOADS, workload())
    answer = await browser.get(page)
    assert answer.status == 200
    assert browser.proof
    assert browser.proof not in answer.body.decode() + str(answer.headers)


async def test_who_has_the_cookie_alone_locks_nobody_out(api: Api, browser: Browser) -> None:
    tried = [(await browser.change("POST", "/api/v1/tokens", {})).status for _ in range(100)]
    assert {*tried} == {401}, "as many as are borne at once"
    assert (await browser.change("POST", WORKLOADS, workload(), x_session_proof=browser.proof)).status == 201
    assert (await browser.get("/")).status == 200
    assert (await browser.change("POST", "/api/v1/tokens", {})).status == 429


async def test_servers_at_other_ports_have_cookies_of_other_names(api: Api) -> None:
    names = list[str]()
    for host in ("one:7070", "one:7071", "one", "[::1]:7070", "[::1]"):
        browser = Browser(api.as_(""))
        answer = await browser.sign_in(host=host)
        assert answer.status == 200
        names.append(browser.cookie.partition("=")[0])
        assert (await browser.get("/", host=host)).status == 200
    seven, one, plain = "orchestrion-7070", "orchestrion-7071", "orchestrion"
    assert names == [seven, one, plain, seven, plain]


async def test_a_session_of_a_server_at_another_port_is_none_here(api: Api) -> None:
    browser = Browser(api.as_(""))
    await browser.sign_in(host="one:7070")
    assert (await browser.get("/", host="one:7071")).status == 303


async def test_a_change_that_a_page_of_ours_asks_for_is_made(api: Api, browser: Browser) -> None:
    given = {"sec_fetch_site": "same-origin", "origin": "http://test", "x_session_proof": browser.proof}
    assert (await browser.change("POST", WORKLOADS, workload(), **given)).status == 201
    assert (await api.client.ask("GET", f"{WORKLOADS}/web")).status == 200


async def test_another_sites_page_signs_nobody_in(api: Api) -> None:
    answer = await Browser(api.as_("")).sign_in(sec_fetch_site="cross-site")
    assert answer.status == 403
    assert "set-cookie" not in answer.headers


async def test_a_token_that_is_taken_back_ends_the_session(api: Api, browser: Browser) -> None:
    del api.keeper.principals["admin"]
    assert (await browser.get("/")).status == 303


@pytest.mark.parametrize("page", PAGES)
async def test_a_page_is_whole_or_only_what_is_inside_its_frame(browser: Browser, page: str) -> None:
    whole = await browser.get(page)
    assert whole.status == 200
    assert whole.headers["content-type"].startswith("text/html")
    assert b"<!doctype html>" in whole.body
    inside = await browser.get(page, hx_request="true")
    assert inside.status == 200
    assert inside.body.lstrip().startswith(b"<h1>")
    assert inside.body.strip() in whole.body


class Texts(HTMLParser):
    """Takes a page apart: its elements with their attributes."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))


@pytest.mark.parametrize("page", [*PAGES, "/ui/login", "/ui/workloads/default/web", "/ui/search?q=we"])
async def test_pages_have_no_script_or_style_of_their_own_and_nothing_from_elsewhere(
    browser: Browser, api: Api, page: str
) -> None:
    await api.client.ask("POST", WORKLOADS, workload())
    answer = await browser.get(page)
    assert answer.status == 200
    for tag, attributes in Texts(answer.body).elements:
        assert tag not in ("style", "iframe", "object", "embed", "base")
        assert "style" not in attributes
        assert [name for name in attributes if name.startswith("on")] == []
        for name in ("src", "href", "action", "formaction"):
            value = attributes.get(name) or "/"
            assert value.startswith(("/", "#")), value
            assert not value.startswith("//")
        if tag == "script":
            assert "src" in attributes


@pytest.mark.parametrize("page", ["/ui/events", "/", "/ui/workloads/default/web", "/ui/nodes", "/ui/quotas"])
async def test_whatever_is_named_is_text(api: Api, browser: Browser, page: str) -> None:
    made = workload()
    made["metadata"]["annotations"] = {"note": EVIL}
    made["spec"]["containers"][0]["command"] = ["run", EVIL]
    await api.client.ask("POST", WORKLOADS, made)
    api.objects.orchestrator.recorder.record("default", "workload/web", EVIL, EVIL)
    await trio.sleep(5)
    made["spec"]["containers"][0]["command"] = ["run", EVIL, "again"]
    await api.client.ask("PATCH", f"{WORKLOADS}/web", {"spec": made["spec"]})
    await trio.sleep(5)
    answer = await browser.get(page)
    assert answer.status == 200
    assert b"<script>alert" not in answer.body
    assert b"<img" not in answer.body


async def test_what_was_typed_is_text(browser: Browser) -> None:
    for page in (f"/ui/search?q={quote(EVIL)}", f"/ui/events?namespace={quote(EVIL)}&subject={quote(EVIL)}"):
        answer = await browser.get(page)
        assert answer.status == 200
        assert b"<img" not in answer.body
        assert b"&lt;" in answer.body


async def test_a_workload_that_is_not_there_is_a_page_that_says_so(browser: Browser) -> None:
    answer = await browser.get("/ui/workloads/default/nothing")
    assert answer.status == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert b"there is no workload" in answer.body


async def test_a_page_that_says_so_leads_to_where_there_is_something(browser: Browser) -> None:
    answer = await browser.get("/ui/workloads/default/nothing")
    assert b'See what there is: <a href="/ui/workloads">/ui/workloads</a>' in answer.body


async def test_who_removes_a_workload_comes_to_the_others(api: Api, browser: Browser) -> None:
    await api.client.ask("POST", WORKLOADS, workload())
    forms = [attributes for tag, attributes in Texts((await browser.get("/ui/workloads/default/web")).body).elements]
    (removal,) = [each for each in forms if each.get("data-call") == "DELETE"]
    assert removal["data-then"] == "/ui/workloads"
    assert removal["data-done"] == "default/web is being removed."


async def test_what_waits_for_a_place_has_its_age(api: Api, browser: Browser) -> None:
    await api.client.ask("POST", WORKLOADS, workload(placement={"expressions": [{"key": "gpu", "operator": "Exists"}]}))
    page = (await browser.get("/ui/workloads")).body
    assert b"Pending" in page
    assert len([tag for tag, _ in Texts(page).elements if tag == "time"]) == 1


async def test_what_was_updated_can_go_back_and_start_anew(api: Api, browser: Browser) -> None:
    for word in ("old", "new"):
        page = (await browser.get("/ui/workloads/default/web")).body.decode()
        assert '{"undo": {}}' not in page
        asked = ("POST", WORKLOADS) if word == "old" else ("PUT", f"{WORKLOADS}/web")
        await api.client.ask(*asked, workload(containers=[{"name": "main", "command": ["run", word]}]))
    page = (await browser.get("/ui/workloads/default/web")).body.decode()
    for what in ("undo", "restart"):
        assert f"data-body='{{\"{what}\": {{}}}}'" in page
        answer = await browser.change("POST", f"{WORKLOADS}/web/rollout", {what: {}}, x_session_proof=browser.proof)
        assert answer.status == 200


@pytest.mark.parametrize("path", ["/ui/xyz", "/ui/workloads/default", "/ui/nodes/a/b", f"/ui/{quote(EVIL, safe='')}"])
async def test_an_address_that_is_none_is_a_page_that_says_so(browser: Browser, path: str) -> None:
    answer = await browser.get(path)
    assert answer.status == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert b"there is no page" in answer.body
    assert b"<img" not in answer.body
    assert (await browser.get("/api/xyz")).headers["content-type"].startswith("application/problem+json")


async def test_what_ends_again_and_again_says_how_and_when_it_is_tried_again(api: Api, browser: Browser) -> None:
    containers = [{"name": "main", "command": ["exit", "3", "after", "1s"]}]
    await api.client.ask("POST", WORKLOADS, workload(containers=containers))
    page = ""
    for _ in range(200):
        await trio.sleep(1)
        page = (await browser.get("/ui/workloads/default/web")).body.decode()
        if "Restarting" in page:
            break
    (row,) = re.findall(r'<tr id="web\.0\.1".*?</tr>', page)
    assert "Running" not in row
    assert re.search(r"main: exited with 3.*, next try <time class=\"until\" datetime=\"[^\"]+\">in [^<]+</time>", row)
    assert "container main ended" not in row  # it is told once
    assert "1 of its instances ended and is started again." in page
    assert '<span class="badge bad">' in page.partition("</p>")[0]
    overview = (await browser.get("/")).body.decode()
    assert "0 of 1 instances run" in overview
    assert "1 ended and is started again" in overview
    assert "default/web.0.1: Restarting" in (await browser.get("/ui/topology")).body.decode()


@pytest.mark.parametrize(("subject", "found"), [("web", "web"), ("web.0.1", "web.0.1"), ("workload/web", "web")])
async def test_events_are_found_by_a_plain_name(api: Api, browser: Browser, subject: str, found: str) -> None:
    fails = [{"name": "main", "command": ["exit", "3"]}]
    for name in ("web", "other"):
        await api.client.ask("POST", WORKLOADS, workload(name, containers=fails))
    await trio.sleep(5)
    page = (await browser.get(f"/ui/events?subject={quote(subject)}")).body.decode()
    assert f'value="{subject}"' in page
    assert "None is like that" not in page
    cells = re.findall(r'<tr id="e.*?</tr>', page)
    assert cells
    assert all(found in cell for cell in cells)
    assert not any("other" in cell for cell in cells)


async def test_a_page_shows_what_runs(api: Api, browser: Browser) -> None:
    await api.client.ask("POST", WORKLOADS, workload(replicas=2))
    await trio.sleep(5)
    page = (await browser.get("/ui/workloads/default/web")).body.decode()
    assert "Healthy" in page
    assert page.count('id="web.') == 2
    assert "web.0.1" in (await browser.get("/ui/topology")).body.decode()
    assert "default/web" in (await browser.get("/ui/search?q=WE")).body.decode()


async def test_what_has_no_place_is_explained_node_by_node(api: Api, browser: Browser) -> None:
    containers = [{"name": "main", "command": ["run"], "resources": {"cpu": "900"}}]
    await api.client.ask("POST", WORKLOADS, workload(containers=containers))
    await trio.sleep(5)
    page = (await browser.get("/ui/pending")).body.decode()
    assert "default/web" in page
    overview = (await browser.get("/")).body.decode()
    assert "default/web" in overview


async def test_what_is_reserved_and_used_is_there_to_plot(api: Api, browser: Browser) -> None:
    containers = [{"name": "main", "command": ["run"], "resources": {"cpu": "1", "memory": "1Gi"}}]
    await api.client.ask("POST", WORKLOADS, workload(replicas=2, containers=containers))
    await trio.sleep(10)
    await browser.get("/ui/samples")
    await trio.sleep(10)
    shown = (await browser.get("/ui/samples")).json
    latest = {each["title"]: each["values"][-1] for each in shown["series"]}
    nodes = await api.orchestrator.list_nodes()
    cores = sum(node.allocatable.cpu_millicores for node in nodes) / 1000
    # The mock keeps busy what its container asks for.
    assert latest["CPU reserved"] == latest["CPU used"] == round(100 * 2 / cores)
    assert len(shown["times"]) == 2


async def test_a_node_has_the_faults_that_it_reports_and_those_of_which_nobody_knows_are_grey(
    api: Api, browser: Browser
) -> None:
    await trio.sleep(1)
    conditions = [
        {"type": "SlowDisk", "status": "true", "message": "90 ms <each>"},
        {"type": "Skew", "status": "unknown"},
    ]
    said = {"status": {"report": {"conditions": conditions}}}
    assert (await api.client.ask("PUT", "/api/v1/nodes/node-00000/status", said)).status == 200
    page = (await browser.get("/ui/nodes")).body.decode()
    assert '<span class="badge bad">SlowDisk</span> 90 ms &lt;each&gt;' in page
    assert '<span class="badge off">Skew</span>' in page


async def test_what_a_workload_uses_is_beside_what_it_requests(api: Api, browser: Browser) -> None:
    containers = [{"name": "main", "command": ["run"], "resources": {"cpu": "500m", "memory": "64Mi"}}]
    await api.client.ask("POST", WORKLOADS, workload(replicas=2, containers=containers))
    await trio.sleep(10)
    page = (await browser.get("/ui/workloads/default/web")).body.decode()
    assert "64 MiB of 64 MiB" in page
    await trio.sleep(10)
    page = (await browser.get("/ui/workloads/default/web")).body.decode()
    assert "0.5 of 0.5" in page
    shown = (await browser.get("/ui/samples?namespace=default&name=web")).json
    assert {each["title"]: each["values"] for each in shown["series"]} == {
        "CPU": [None, 1.0],
        "Memory": [128 << 20] * 2,
    }
    assert shown["words"].startswith("Now: CPU 1 of 1 cores, memory 128 MiB of 128 MiB")
    assert "CPU used" in (await browser.get("/ui/nodes")).body.decode()
    assert (await browser.get("/ui/samples?namespace=default&name=none")).status == 404


async def test_a_quota_has_its_bars(api: Api, browser: Browser) -> None:
    quota = {"metadata": {"name": "team"}, "spec": {"hard": {"cpu": "4", "memory": "8Gi"}}}
    made = await api.client.ask("POST", "/api/v1/namespaces/default/resourcequotas", quota)
    assert made.status == 201
    page = (await browser.get("/ui/quotas")).body.decode()
    assert "of 8 GiB" in page


async def ann_in(api: Api, namespace: str, role: str = "viewer") -> Browser:
    """Sign in somebody who may look at one namespace."""
    binding = {"role": role, "subjects": [{"kind": "user", "name": "ann"}], "namespace": namespace}
    made = await api.client.ask("POST", "/api/v1/rolebindings", {"metadata": {"name": "ann"}, "spec": binding})
    assert made.status == 201
    api.keeper.principals["ann"] = Principal("ann")
    browser = Browser(api.as_(""))
    await browser.sign_in("ann")
    return browser


async def test_who_may_see_one_namespace_sees_nothing_of_another(api: Api) -> None:
    for namespace in ("ours", "theirs"):
        await api.client.ask("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        path = f"/api/v1/namespaces/{namespace}/workloads"
        assert (await api.client.ask("POST", path, workload(f"app-{namespace}"))).status == 201
        quota = {"metadata": {"name": f"quota-{namespace}"}, "spec": {"hard": {"cpu": "4"}}}
        await api.client.ask("POST", f"/api/v1/namespaces/{namespace}/resourcequotas", quota)
    await trio.sleep(5)
    browser = await ann_in(api, "ours")
    for page in [*PAGES, "/ui/search?q=app"]:
        body = (await browser.get(page)).body.decode()
        assert "theirs" not in body, page
    assert "app-ours" in (await browser.get("/ui/workloads")).body.decode()
    assert (await browser.get("/ui/workloads/ours/app-ours")).status == 200
    assert (await browser.get("/ui/workloads/theirs/app-theirs")).status == 404


async def test_who_sees_no_instances_neither_sees_what_they_use_nor_takes_it_from_others(
    api: Api, browser: Browser
) -> None:
    plain = {"rules": [{"verbs": ["get", "list", "watch"], "resources": ["workloads", "dashboard"]}]}
    await api.client.ask("POST", "/api/v1/roles", {"metadata": {"name": "plain"}, "spec": plain})
    containers = [{"name": "main", "command": ["run"], "resources": {"cpu": "500m", "memory": "64Mi"}}]
    await api.client.ask("POST", WORKLOADS, workload(containers=containers))
    ann = await ann_in(api, "default", "plain")
    plot = "/ui/samples?namespace=default&name=web"
    for _ in range(3):
        await trio.sleep(10)
        assert (await ann.get("/ui/workloads/default/web")).status == 200
        assert "64 MiB" not in (await ann.get(plot)).json["words"]
        shown = (await browser.get(plot)).json
    assert {each["title"]: each["values"][-1] for each in shown["series"]} == {"CPU": 0.5, "Memory": 64 << 20}
    assert "64 MiB" not in (await ann.get(plot)).json["words"]


async def test_a_viewer_is_offered_nothing_that_is_not_theirs(api: Api) -> None:
    await api.client.ask("POST", WORKLOADS, workload())
    await trio.sleep(5)
    browser = await ann_in(api, "default")
    page = (await browser.get("/ui/workloads/default/web")).body.decode()
    assert 'id="logs"' in page
    assert "data-call" not in page
    assert 'id="terminal"' not in page


# -- what browsers are told --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/ui/login", "/healthz", "/api/v1/workloads", "/nowhere", "/v1/ping"])
async def test_every_answer_tells_browsers_what_to_refuse(api: Api, browser: Browser, path: str) -> None:
    for answer in (await browser.get(path), await api.as_("").ask("GET", path)):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy


async def test_pages_are_kept_by_nobody(browser: Browser) -> None:
    assert (await browser.get("/")).headers["cache-control"] == "no-store"


async def test_files_are_packed_and_kept_until_they_change(browser: Browser) -> None:
    page = (await browser.get("/")).body.decode()
    (path,) = re.findall(r'href="(/ui/static/[^"]+\.css)"', page)
    plain = await browser.get(path)
    assert plain.headers["content-type"] == "text/css; charset=utf-8"
    assert "immutable" in plain.headers["cache-control"]
    packed = await browser.get(path, accept_encoding="br, gzip")
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    known = await browser.get(path, if_none_match=plain.headers["etag"])
    assert known.status == 304
    assert known.body == b""


async def test_a_file_that_an_older_page_asks_for_is_not_kept(browser: Browser) -> None:
    answer = await browser.get("/ui/static/older/dashboard.css")
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "path", ["../sessions.py", "..%2fsessions.py", "vendor/README.md", "vendor/htmx.LICENSE", "%2e%2e/x"]
)
async def test_nothing_but_the_files_of_pages_is_given_out(browser: Browser, path: str) -> None:
    assert (await browser.get(f"/ui/static/x/{path}")).status == 404


OF_A_WORKLOAD = {"output.js", "terminal.js", "terminal.css", "tty.js", "keys.js", "screen.js"}
"""What only the page of a workload loads."""


async def test_the_first_look_loads_little(browser: Browser) -> None:
    page = await browser.get("/")
    loaded = len(gzip.compress(page.body))
    loaded += sum(len(asset.packed) for name, asset in assets().items() if name not in OF_A_WORKLOAD)
    assert loaded <= 60 * 1024
    assert assets().keys() >= OF_A_WORKLOAD
    assert not [name for name in OF_A_WORKLOAD if name in page.body.decode()]


def test_files_of_others_are_as_they_were_published() -> None:
    vendor = FOLDER / "vendor"
    sums = dict(re.findall(r"\| `([^`]+)` \|.*`([0-9a-f]{64})` \|", (vendor / "README.md").read_text()))
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in vendor.glob("*.*s")}
    assert sums == found


@asynccontextmanager
async def stream(browser: Browser, path: str = "/ui/live", **headers: str) -> AsyncIterator[Any]:
    async with (
        browser.client.stream("GET", path, cookie=browser.cookie, **headers) as (status, given, chunks),
        aclosing(messages(chunks)) as events,
    ):
        assert status == 200
        assert given["content-type"] == "text/event-stream"
        yield events


# -- live --------------------------------------------------------------------------------------------------------------


async def messages(chunks: AsyncIterator[bytes]) -> Any:
    rest = b""
    async for chunk in chunks:
        rest += chunk
        while b"\n\n" in rest:
            text, rest = rest.split(b"\n\n", 1)
            fields = dict(line.split(": ", 1) for line in text.decode().splitlines())
            if "event" in fields:
                yield fields["event"], json.loads(fields["data"]), fields.get("id")


async def test_a_page_is_told_what_changes_after_it_was_made(api: Api, browser: Browser) -> None:
    page = (await browser.get("/")).body.decode()
    found = re.search(r'data-revision="(\d+)"', page)
    assert found is not None
    await api.client.ask("POST", WORKLOADS, workload())
    path = f"/ui/live?since={found[1]}"
    async with stream(browser, path) as events:
        assert (await anext(events))[0] == "begun"
        name, data, position = await anext(events)
        assert name == "changed"
        assert data["workloads"] == ["default/web"]
        assert position


async def test_a_page_that_was_cut_off_goes_on_where_it_was(api: Api, browser: Browser) -> None:
    async with stream(browser, "/ui/live") as events:
        _, _, position = await anext(events)
    await api.client.ask("POST", WORKLOADS, workload("missed"))
    async with stream(browser, "/ui/live?since=1", last_event_id=str(position)) as events:
        assert (await anext(events))[0] == "begun"
        assert "default/missed" in (await anext(events))[1]["workloads"]


async def test_a_page_that_was_away_for_too_long_looks_at_everything_again(api: Api, browser: Browser) -> None:
    api.objects.history.max_events = 1
    for name in ("a", "b", "c"):
        await api.client.ask("POST", WORKLOADS, workload(name))
    async with stream(browser, "/ui/live?since=1") as events:
        assert [(await anext(events))[0] for _ in range(2)] == ["everything", "begun"]


async def test_a_page_is_told_nothing_of_what_is_not_seen(api: Api) -> None:
    await api.client.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "theirs"}})
    browser = await ann_in(api, "default")
    async with stream(browser, "/ui/live") as events:
        await anext(events)
        hidden = await api.client.ask("POST", "/api/v1/namespaces/theirs/workloads", workload("secret"))
        shown = await api.client.ask("POST", WORKLOADS, workload("open"))
        assert (hidden.status, shown.status) == (201, 201)
        seen = list[str]()
        while "default/open" not in seen:
            seen.extend((await anext(events))[1].get("workloads", []))
        assert "theirs/secret" not in seen


async def test_a_stream_ends_with_its_session(api: Api, browser: Browser) -> None:
    async with stream(browser, "/ui/live") as events:
        await anext(events)
        del api.keeper.principals["admin"]
        names = [name async for name, _, _ in events]
    assert names[-1] == "over"


async def test_output_is_followed_only_by_who_may(api: Api) -> None:
    api.keeper.principals["ann"] = Principal("ann")
    browser = Browser(api.as_(""))
    await browser.sign_in("ann")
    headers = {"accept": "text/event-stream", "x_session_proof": browser.proof}
    assert (await browser.get("/ui/live?output=default/web", **headers)).status == 403


@pytest.mark.parametrize("proof", ["", "guessed"])
async def test_the_cookie_alone_follows_no_output(api: Api, browser: Browser, proof: str) -> None:
    await api.client.ask("POST", WORKLOADS, workload())
    headers = {"accept": "text/event-stream", "x_session_proof": proof}
    assert (await browser.get("/ui/live?output=default/web", **headers)).status == 401


async def test_output_of_what_is_not_there_says_so(browser: Browser) -> None:
    path = "/ui/live?output=default/nothing"
    async with stream(browser, path, x_session_proof=browser.proof) as events:
        found = {name: data for name, data, _ in [await anext(events), await anext(events)]}
    assert "nothing" in found["output-failed"]["text"]


async def test_a_page_offers_to_pause_updates_and_to_resume_them(api: Api, browser: Browser) -> None:
    await api.client.ask("POST", WORKLOADS, workload())
    await api.client.ask("POST", WORKLOADS, workload("job", kind="batch"))
    await trio.sleep(1)
    page = (await browser.get("/ui/workloads/default/web")).body.decode()
    assert 'action="/v1/workload/pause?namespace=default&amp;name=web"' in page
    assert "Resume updates" not in page
    answer = await browser.change(
        "POST", "/v1/workload/pause?namespace=default&name=web", x_session_proof=browser.proof
    )
    assert answer.status == 200
    page = (await browser.get("/ui/workloads/default/web")).body.decode()
    assert 'action="/v1/workload/resume?namespace=default&amp;name=web"' in page
    assert "Updates paused" in page
    assert "Updates paused" in (await browser.get("/ui/workloads")).body.decode()
    assert "Pause updates" not in page
    assert "updates" not in (await browser.get("/ui/workloads/default/job")).body.decode()


async def test_a_page_offers_to_promote_an_update_that_waits_for_it(api: Api, browser: Browser) -> None:
    for word in ("old", "new"):
        main = {"name": "main", "command": ["run", "token", word]}
        asked = ("POST", WORKLOADS) if word == "old" else ("PUT", f"{WORKLOADS}/web")
        await api.client.ask(*asked, workload(containers=[main], update={"canary": 1}))
        await trio.sleep(60)
        page = (await browser.get("/ui/workloads/default/web")).body.decode()
        assert ("Promote the update" in page) is (word == "new")
    path = f"{WORKLOADS}/web/rollout"
    assert f'action="{path}" data-body=\'{{"promote": {{}}}}\'' in page
    assert (await browser.change("POST", path, {"promote": {}}, x_session_proof=browser.proof)).status == 200
    await trio.sleep(60)
    assert "Promote the update" not in (await browser.get("/ui/workloads/default/web")).body.decode()


async def test_an_update_of_a_service_that_is_scaled_to_nothing_is_done_and_can_be_promoted(
    api: Api, browser: Browser
) -> None:
    for word in ("old", "new"):
        main = {"name": "main", "command": ["run", "token", word]}
        asked = ("POST", WORKLOADS) if word == "old" else ("PUT", f"{WORKLOADS}/web")
        await api.client.ask(*asked, workload(containers=[main], update={"canary": 1}))
        await trio.sleep(60)
        await api.client.ask("PUT", f"{WORKLOADS}/web/scale", {"replicas": 0})
        await trio.sleep(60)
    told = (await api.client.ask("GET", f"{WORKLOADS}/web/rollout")).json
    assert (told["phase"], told["canary"], told["done"]) == ("Healthy", 1, True)
    assert "Promote the update" in (await browser.get("/ui/workloads/default/web")).body.decode()


async def test_a_workload_that_is_stopped_can_be_started_and_not_scaled(api: Api, browser: Browser) -> None:
    await api.client.ask("POST", WORKLOADS, workload())
    await api.client.ask("POST", f"{WORKLOADS}/web/stop")
    page = (await browser.get("/ui/workloads/default/web")).body
    assert f'action="{WORKLOADS}/web/start"'.encode() in page
    assert b"Replicas <input" not in page
    started = await browser.change("POST", f"{WORKLOADS}/web/start", x_session_proof=browser.proof)
    assert started.status == 200
    page = (await browser.get("/ui/workloads/default/web")).body
    assert b"/web/start" not in page
    assert b"Replicas <input" in page
