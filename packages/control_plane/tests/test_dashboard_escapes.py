"""Whatever a text says, on pages and in terminals: it stays a text, and reaches nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any

import pytest
import trio
from attrs import define
from orchestrion.control_plane._dashboard import answering, handlers
from orchestrion.control_plane._dashboard.keeper import PROOF_PROTOCOL, TERMINAL_PROTOCOL
from orchestrion.control_plane._dashboard.rendering import render, render_in_turns
from orchestrion.control_plane._identity.principals import Principal

from .api_stage import Api
from .sockets_stage import Socket

EVIL = "</script></textarea>\"'><script>alert(1)</script><img src=x onerror=alert(1)><b style='x' onclick=alert(1)>"

SWITCHES = {"fails", "passes", "unknown", "running", "placed", "inside.html", "page.html"}
"""What templates choose by; it comes from no one else."""

WORKLOADS = "/api/v1/namespaces/default/workloads"


class Elements(HTMLParser):
    """The elements of a page, with the names of their attributes."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.found: list[tuple[str, frozenset[str]]] = []
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, frozenset(name for name, _ in attrs)))


def made_evil(value: Any) -> Any:
    """Return the same with every text replaced by one that would break out of whatever it is put into."""
    if isinstance(value, str):
        return value if value in SWITCHES else value + EVIL
    if isinstance(value, Mapping):
        return {key: made_evil(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [made_evil(each) for each in value]
    return value


def workload(name: str, **spec: Any) -> dict[str, Any]:
    spec.setdefault("containers", [{"name": "main", "command": ["run"]}])
    return {"metadata": {"name": name, "labels": {"team": "a"}}, "spec": spec}


async def test_every_text_on_every_page_stays_a_text(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    contexts = dict[str, dict[str, Any]]()

    def noting(template: str, /, **context: Any) -> bytes:
        contexts[template] = context
        return render(template, **context)

    async def noting_in_turns(template: str, /, **context: Any) -> bytes:
        contexts[template] = context
        page = await render_in_turns(template, **context)
        assert page == render(template, **context)
        return page

    monkeypatch.setattr(answering, "render", noting)
    monkeypatch.setattr(answering, "render_in_turns", noting_in_turns)
    await api.client.ask("POST", WORKLOADS, workload("web", replicas=2))
    big = [{"name": "main", "command": ["run"], "resources": {"cpu": "900"}}]
    await api.client.ask("POST", WORKLOADS, workload("big", containers=big))
    await api.client.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "other"}})
    quota = {"metadata": {"name": "team"}, "spec": {"hard": {"cpu": "4"}}}
    await api.client.ask("POST", "/api/v1/namespaces/other/resourcequotas", quota)
    await trio.sleep(10)
    changed = [{"name": "main", "command": ["run", "again"]}]
    await api.client.ask("PATCH", f"{WORKLOADS}/web", {"spec": {"containers": changed}})
    await trio.sleep(10)
    for _, page, _ in handlers.NAV:
        assert (await api.client.ask("GET", page)).status == 200
    assert (await api.client.ask("GET", "/ui/workloads/default/web")).status == 200
    assert (await api.client.ask("GET", "/ui/workloads/default/none")).status == 404
    assert (await api.client.ask("GET", "/ui/search?q=web")).status == 200
    assert (await api.as_("").ask("GET", "/ui/login?code=none")).status == 401
    assert (await api.as_("").ask("GET", f"/ui/login?code={api.sessions.invite(Principal('admin'))}")).status == 200
    assert len(contexts) == len(handlers.NAV) + 5
    for template, context in contexts.items():
        good, evil = Elements(render(template, **context)), Elements(render(template, **made_evil(context)))
        assert {tag for tag, _ in evil.found} <= {tag for tag, _ in good.found} | {"p", "h3", "span"}, template
        assert "img" not in {tag for tag, _ in evil.found}
        for tag, attributes in evil.found:
            assert not any(name == "style" or name.startswith("on") for name in attributes), (template, tag)
            assert tag != "script" or "src" in attributes


@define
class Tab:
    """A page of a browser that has signed in."""

    api: Api
    headers: Mapping[str, str]

    def socket(self, instance: str, first: Any, headers: Mapping[str, str] | None = None) -> Socket:
        """Return a websocket that the page opens."""
        given = {"host": "test", "origin": "http://test", **self.headers, **(headers or {})}
        return Socket(self.api.client.app, f"/ui/terminal/default/{instance}", given, first, stays=1000)


async def tab(api: Api, name: str = "admin") -> Tab:
    begun = await api.sessions.log_in(name)
    protocols = f"{TERMINAL_PROTOCOL}, {PROOF_PROTOCOL}{begun.proof}"
    return Tab(api, {"cookie": f"orchestrion={begun.shown}", "sec-websocket-protocol": protocols})


async def test_a_terminal_opens_in_the_instance_that_its_address_names_and_in_no_other(api: Api) -> None:
    for name in ("web", "other"):
        await api.client.ask("POST", WORKLOADS, workload(name))
    await trio.sleep(10)
    page = await tab(api)
    asked = {"command": "echo", "instance": "other.0.1", "namespace": "elsewhere"}
    mine = page.socket("web.0.1", asked)
    await mine.run()
    assert mine.said[0] == {"started": True}
    assert mine.sent[0]["subprotocol"] == TERMINAL_PROTOCOL
    none = page.socket("none.0.1", asked)
    await none.run()
    assert "none" in none.said[0]["error"]["detail"]


@pytest.mark.parametrize(
    ("text", "printed"),
    [('"echo  hi"', "echo  hi"), ("'say \"so\"'", 'say "so"'), ("a\\ b", "a b"), ("$HOME", "$HOME"), ("*", "*")],
)
async def test_a_line_for_a_terminal_has_words_as_in_a_shell(api: Api, text: str, printed: str) -> None:
    await api.client.ask("POST", WORKLOADS, workload("web"))
    await trio.sleep(10)
    mine = (await tab(api)).socket("web.0.1", {"command": f" print stdout {text}  exit 0"})
    await mine.run()
    assert b"".join(each["bytes"][1:] for each in mine.sent if each.get("bytes")).decode() == printed


async def test_a_line_for_a_terminal_whose_quotes_do_not_end_is_told(api: Api) -> None:
    await api.client.ask("POST", WORKLOADS, workload("web"))
    await trio.sleep(10)
    refused = (await tab(api)).socket("web.0.1", {"command": 'sh -c "echo'})
    await refused.run()
    assert "No closing quotation" in str(refused.said[0]["error"])


async def test_a_terminal_is_as_large_as_the_page_says(api: Api) -> None:
    await api.client.ask("POST", WORKLOADS, workload("web"))
    await trio.sleep(10)
    page = await tab(api)
    mine = page.socket("web.0.1", {"command": "tell-size", "terminal": {"rows": 12, "columns": 345}})
    mine.say(b"\r")
    mine.say('{"resize": {"rows": 67, "columns": 89}}')
    mine.say(b"\r\x04")
    await mine.run()
    shown = b"".join(each["bytes"][1:] for each in mine.sent if each.get("bytes"))
    assert re.findall(rb"size (\d+) (\d+)", shown) == [(b"12", b"345"), (b"67", b"89")]
    refused = page.socket("web.0.1", {"command": "tell-size", "terminal": {"rows": 0, "columns": 345}})
    await refused.run()
    assert [said["error"]["code"] for said in refused.said] == ["config-invalid"]


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"cookie": "orchestrion=guessed"},
        {"cookie": ""},
        {"sec-websocket-protocol": ""},
        {"sec-websocket-protocol": TERMINAL_PROTOCOL},
        {"sec-websocket-protocol": f"{TERMINAL_PROTOCOL}, {PROOF_PROTOCOL}guessed"},
        {"sec-websocket-protocol": f"{TERMINAL_PROTOCOL}, {PROOF_PROTOCOL}"},
    ],
)
async def test_a_terminal_opens_for_no_other_site_and_for_nobody(api: Api, headers: dict[str, str]) -> None:
    await api.client.ask("POST", WORKLOADS, workload("web"))
    await trio.sleep(10)
    refused = (await tab(api)).socket("web.0.1", {"command": "echo"}, headers)
    await refused.run()
    assert "websocket.accept" not in [each["type"] for each in refused.sent]
    assert refused.said == []


async def test_a_terminal_opens_for_nobody_who_may_not(api: Api) -> None:
    await api.client.ask("POST", WORKLOADS, workload("web"))
    await trio.sleep(10)
    api.keeper.principals["ann"] = Principal("ann")
    refused = (await tab(api, "ann")).socket("web.0.1", {"command": "echo"})
    await refused.run()
    assert "websocket.accept" not in [each["type"] for each in refused.sent]


@pytest.mark.parametrize("how", ["session", "role"])
async def test_a_terminal_ends_with_its_session_or_its_right_and_says_why(api: Api, how: str) -> None:
    await api.client.ask("POST", WORKLOADS, workload("web"))
    await trio.sleep(10)
    api.keeper.principals["ann"] = Principal("ann")
    rules = [{"verbs": ["*"], "resources": ["*"]}]
    await api.client.ask("POST", "/api/v1/roles", {"metadata": {"name": "all"}, "spec": {"rules": rules}})
    spec = {"role": "all", "subjects": [{"kind": "user", "name": "ann"}]}
    await api.client.ask("POST", "/api/v1/rolebindings", {"metadata": {"name": "ann"}, "spec": spec})
    page = await tab(api, "ann")
    mine = page.socket("web.0.1", {"command": "run"})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mine.run, 1000)
        await trio.sleep(1)
        assert mine.said == [{"started": True}]
        if how == "session":
            await api.sessions.log_out(page.headers["cookie"].partition("=")[2])
        else:
            assert (await api.client.ask("DELETE", "/api/v1/rolebindings/ann")).status == 200
        api.keeper.changes.tell()
    error = mine.said[-1]["error"]
    assert error["code"] == ("unauthenticated" if how == "session" else "denied")
    assert (mine.sent[-1]["code"], mine.sent[-1]["reason"]) == (1008, error["detail"].partition("\n")[0])
