"""The dashboard as people use it: in Chromium, on a server with processes that really run."""

from __future__ import annotations

import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped] # it has no types
from playwright.sync_api import Browser, Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

EVIL = "<img src=x onerror=document.title='taken'><script>document.title='taken'</script>"

PAGES = {
    "overview": "/",
    "workloads": "/ui/workloads",
    "workload": "/ui/workloads/default/talks",
    "topology": "/ui/topology",
    "pending": "/ui/pending",
    "nodes": "/ui/nodes",
    "events": "/ui/events",
    "quotas": "/ui/quotas",
}


@pytest.fixture(scope="session", autouse=True)
def populated(server: Any) -> None:
    """Something to see: what talks, what has no place, what fails, and a quota."""
    server.run(
        "talks",
        # What goes to the second stream is little: its lines are short, and a page shows as many as there is room for.
        f'i=0; while :; do [ $((i % 50)) = 0 ] && echo odd >&2; i=$((i+1)); echo "line $i {EVIL}"; sleep 0.2; done',
        replicas=2,
    )
    server.wait_for("talks", "Healthy")
    big = [{"name": "main", "command": ["true"], "resources": {"cpu": "5000", "memory": "64Mi"}}]
    document = {"metadata": {"name": "too-big"}, "spec": {"containers": big}}
    server.ask("POST", "/api/v1/namespaces/default/workloads", document)
    server.run("fails", "exit 3", kind="batch")
    server.wait_for("fails", "Failed")
    quota = {"metadata": {"name": "team"}, "spec": {"hard": {"cpu": "8", "memory": "16Gi"}}}
    # In a namespace of its own: where it is, what has no place would use it up.
    server.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "team"}})
    server.ask("POST", "/api/v1/namespaces/team/resourcequotas", quota)


def live(page: Page) -> Page:
    """Wait until a page follows what happens."""
    expect(page.locator("#live")).to_have_text("live")
    return page


def test_who_signs_in_by_token_sees_the_overview_and_who_signs_out_does_not(server: Any, window: Any) -> None:
    window.expected_complaints.append("401")
    page = window.open("/ui/nodes", fresh=True)
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("not known")
    page.get_by_label("Token").fill(server.token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Overview", exact=True)).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Token")).to_be_visible()
    page.goto("/")
    expect(page.get_by_label("Token")).to_be_visible()


@contextmanager
def neighbour() -> Iterator[tuple[str, list[str]]]:
    """Listen at another port of the same host; give where, and the cookies that came."""
    cookies = list[str]()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            cookies.append(self.headers.get("Cookie", ""))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    # In threads: browsers also open connections on which they ask for nothing.
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_address[1]}/", cookies
        listening.shutdown()
        thread.join()


def status_of(url: str, method: str, headers: dict[str, str]) -> tuple[int, str]:
    """Ask with headers; return the status and the answer."""
    body = None if method == "GET" else b"{}"
    asked = urllib.request.Request(url, data=body, method=method, headers=headers)
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as err:
        return err.code, err.read().decode()


def test_what_listens_at_another_port_gets_no_more_than_a_look(server: Any, browser: Browser, signed_in: Any) -> None:
    context = browser.new_context(storage_state=signed_in)
    page = context.new_page()
    with neighbour() as (place, cookies):
        page.goto(place)
        shown = {"Cookie": cookies[0]}
        port = server.url.rpartition(":")[2]
        assert f"orchestrion-{port}=" in cookies[0], "browsers do not tell ports apart"
        assert page.evaluate("Object.keys(localStorage)") == []
    page.goto(server.url)
    proof = page.evaluate("localStorage.getItem('orchestrion-proof')")
    context.close()
    assert proof
    seen = status_of(server.url, "GET", shown)
    assert seen[0] == 200
    assert proof not in seen[1]
    assert status_of(f"{server.url}/api/v1/workloads", "GET", shown)[0] == 401
    assert status_of(f"{server.url}/api/v1/tokens", "POST", shown)[0] == 401
    assert status_of(f"{server.url}/api/v1/workloads", "GET", {**shown, "X-Session-Proof": proof})[0] == 200


def test_a_session_holds_in_a_new_tab_and_ends_in_all(server: Any, window: Any) -> None:
    window.expected_complaints.append("401")
    first = window.open("/ui/login", fresh=True)
    first.get_by_label("Token").fill(server.token)
    first.get_by_role("button", name="Sign in").click()
    live(first)
    second = first.context.new_page()
    second.goto("/ui/nodes")
    live(second).reload()
    live(second).get_by_role("button", name=re.compile("^Cordon")).click()
    expect(second.locator("main .badge").first).to_have_text("Cordoned")
    second.get_by_role("button", name=re.compile("^Uncordon")).click()
    expect(second.locator("main .badge").first).to_have_text("Ready")
    second.get_by_role("button", name="Sign out").click()
    expect(second.get_by_label("Token")).to_be_visible()
    assert second.evaluate("localStorage.getItem('orchestrion-proof')") is None
    expect(first.get_by_label("Token")).to_be_visible()


def test_a_browser_that_has_lost_the_proof_is_asked_to_sign_in_again(server: Any, window: Any) -> None:
    window.expected_complaints.append("401")
    page = live(window.open("/ui/nodes"))
    page.evaluate("localStorage.clear()")
    page.get_by_role("button", name=re.compile("^Cordon")).click()
    page.get_by_label("Token").fill(server.token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Nodes", exact=True)).to_be_visible()
    expect(page.locator("main .badge").first).to_have_text("Ready")


def test_a_workload_appears_and_goes_while_one_looks(server: Any, window: Any) -> None:
    page = live(window.open("/ui/workloads"))
    row = page.get_by_role("row").filter(has_text="default/passing")
    expect(row).to_have_count(0)
    server.run("passing", "exec sleep 1000")
    expect(row).to_contain_text("Healthy")
    server.ask("DELETE", "/api/v1/namespaces/default/workloads/passing")
    expect(row).to_have_count(0)


def test_the_page_of_a_workload_that_is_removed_elsewhere_says_so_and_asks_no_more(server: Any, window: Any) -> None:
    window.expected_complaints.append("404")
    server.run("leaving", "exec sleep 1000")
    server.wait_for("leaving", "Healthy")
    page = live(window.open("/ui/workloads/default/leaving"))
    server.ask("DELETE", "/api/v1/namespaces/default/workloads/leaving")
    expect(page.get_by_role("alert")).to_have_text("It was removed.")
    expect(page.get_by_role("heading", level=1)).to_have_text("leaving")
    expect(page.locator("#live")).to_have_text("removed")
    expect(page.locator("#logs")).to_be_hidden()
    expect(page.locator("#terminal")).to_be_hidden()
    asked = len(window.requests)
    # Something else happens, of which a page that follows is told.
    server.run("staying", "exec sleep 1000")
    server.wait_for("staying", "Healthy")
    server.ask("DELETE", "/api/v1/namespaces/default/workloads/staying")
    page.wait_for_timeout(3000)
    assert window.requests[asked:] == []
    page.get_by_role("link", name="To the workloads").click()
    expect(page.get_by_role("heading", name="Workloads", level=1)).to_be_visible()


def test_who_asks_a_server_that_is_away_for_a_change_is_told_what_is_known(window: Any) -> None:
    window.expected_complaints.append("ERR_")
    page = live(window.open("/ui/workloads/default/talks"))
    page.route("**/v1/workload/scale*", lambda route: route.abort())
    page.get_by_role("button", name="Scale").click()
    said = page.locator("#said")
    expect(said).to_contain_text("The server did not answer, so it is not known whether that was done.")
    expect(said).to_contain_text("look whether it was, and if not, do it again")


def test_long_names_fit_a_small_telephone(server: Any, window: Any) -> None:
    name, container = "w" * 63, "c" * 63
    containers = [{"name": container, "command": ["sleep", "1000"]}]
    server.ask(
        "POST",
        "/api/v1/namespaces/default/workloads",
        {"metadata": {"name": name}, "spec": {"containers": containers}},
    )
    server.wait_for(name, "Healthy")
    page = live(window.open(f"/ui/workloads/default/{name}", viewport={"width": 360, "height": 640}))
    expect(page.get_by_role("region", name="Instances").get_by_text("Running")).to_have_count(1)
    too_wide = page.evaluate(
        "[...document.querySelectorAll('body *')].filter((each) => each.getBoundingClientRect().right > 361)"
        ".map((each) => each.outerHTML.slice(0, 90))"
    )
    width = page.evaluate("document.scrollingElement.scrollWidth")
    page.close()
    server.ask("DELETE", f"/api/v1/namespaces/default/workloads/{name}")
    assert width <= 360, too_wide


def test_a_click_path_leads_from_the_overview_to_more_instances_and_back_to_none(server: Any, window: Any) -> None:
    window.expected_complaints.append("404")  # the page that follows what it has removed may ask for it once more
    server.run("clicked", "exec sleep 1000")
    server.wait_for("clicked", "Healthy")
    page = live(window.open("/"))
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("link", name="Workloads").click()
    page.get_by_role("link", name="default/clicked").click()
    live(page)
    page.get_by_label("Replicas").fill("3")
    page.get_by_role("button", name="Scale").click()
    expect(page.locator("#said")).to_have_text("Scaled.")
    expect(page.locator("#said")).to_be_hidden()
    expect(page.get_by_role("region", name="Instances").get_by_text("Running")).to_have_count(3)
    expect(page.locator("#terminal").get_by_label("Instance").locator("option")).to_have_count(3)
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.locator("main .badge").first).to_have_text("Stopped")
    page.get_by_role("button", name="Remove").click()
    expect(page.locator("#said")).to_have_text("default/clicked is being removed.")
    expect(page.get_by_role("heading", name="Workloads", level=1)).to_be_visible()
    expect(page.get_by_role("link", name="default/clicked")).to_have_count(0)


def test_output_comes_as_it_is_written_and_is_text(window: Any) -> None:
    page = live(window.open("/ui/workloads/default/talks"))
    output = page.locator("#output")
    expect(output).to_contain_text("talks.0.1 main | line 1 <img")
    expect(output.locator(".stderr").first).to_contain_text("odd")
    many = output.locator("span").count()
    page.wait_for_function("many => document.querySelectorAll('#output span').length > many + 5", arg=many)
    assert output.locator("img, script").count() == 0
    assert page.title() != "taken"
    lines = [int(found) for found in re.findall(r"talks\.0\.1 main \| line (\d+) ", output.inner_text())]
    assert lines == list(range(1, len(lines) + 1)), "each line once, and in order"


def test_output_goes_on_where_it_was_after_the_stream_was_cut_off(window: Any) -> None:
    page = live(window.open("/ui/workloads/default/talks"))
    page.locator("#logs").get_by_label("Instance").select_option("talks.1.1")
    page.get_by_role("button", name="Follow").click()
    output = page.locator("#output")
    expect(output).to_contain_text("line 3 ")
    window.expected_complaints.extend(["ERR_INTERNET_DISCONNECTED", "ERR_NETWORK"])
    page.context.set_offline(True)
    page.context.set_offline(False)
    seen = output.locator("span").count()
    page.wait_for_function("seen => document.querySelectorAll('#output span').length > seen + 10", arg=seen)
    lines = [int(found) for found in re.findall(r"main \| line (\d+) ", output.inner_text())]
    assert lines == list(range(1, len(lines) + 1)), "each line once, and in order"


def test_what_has_no_place_is_explained(window: Any) -> None:
    page = live(window.open("/"))
    page.get_by_role("link", name="Why, node by node").click()
    matrix = page.get_by_role("region", name="Why too-big.0 has no place")
    expect(matrix).to_contain_text("fails")
    expect(matrix).to_contain_text("CPU: 5000 wanted")


def test_a_node_is_cordoned_and_let_in_again(window: Any) -> None:
    page = live(window.open("/ui/nodes"))
    page.get_by_role("button", name=re.compile("^Cordon")).click()
    expect(page.locator("main .badge").first).to_have_text("Cordoned")
    page.get_by_role("button", name=re.compile("^Uncordon")).click()
    expect(page.locator("main .badge").first).to_have_text("Ready")


def test_the_api_is_described(window: Any) -> None:
    page = window.open("/")
    page.get_by_role("link", name="API").click()
    expect(page.locator(".swagger-ui .info")).to_contain_text("Orchestrion")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_description_of_the_api_is_as_dark_as_the_rest(window: Any, scheme: Any) -> None:
    page = window.open("/docs", color_scheme=scheme)
    expect(page.locator(".swagger-ui .info")).to_be_visible()
    colours = page.evaluate(
        "['html', '.swagger-ui .info .title'].map(each => getComputedStyle(document.querySelector(each)))"
        ".map((style, index) => index ? style.color : style.backgroundColor)"
    )
    back, front = (sum(int(part) for part in re.findall(r"\d+", each)[:3]) for each in colours)
    assert (back < 200 < front) if scheme == "dark" else (front < 300 < back)


@pytest.mark.parametrize(("path", "found"), [("/api/v1", '"resources"'), ("/api/v1/can-i", '"allowed"')])
def test_the_api_is_tried_out_where_it_is_described(window: Any, path: str, found: str) -> None:
    page = window.open("/docs")
    row = page.locator(".opblock").filter(has=page.locator(f'[data-path="{path}"]'))
    row.locator(".opblock-summary-control").click()
    row.get_by_role("button", name="Try it out").click()
    if path == "/api/v1/can-i":  # a POST
        row.locator("textarea").fill('{"verb": "get", "resource": "workloads"}')
    row.get_by_role("button", name="Execute").click()
    answer = row.locator(".live-responses-table .response")
    expect(answer.locator(".response-col_status")).to_contain_text("200")
    expect(answer.locator(".response-col_description")).to_contain_text(found)


def test_a_node_is_drained_by_a_time_once_it_is_seen_what_that_moves(server: Any, window: Any) -> None:
    page = live(window.open("/ui/nodes"))
    page.on("dialog", lambda dialog: dialog.accept())
    drain = page.locator("details.drain")
    drain.locator("summary").click()
    expect(drain).to_contain_text("default/talks.0")
    drain.get_by_label("Stop what is left").fill("90")
    drain.get_by_role("button", name=re.compile("^Drain")).click()
    expect(page.locator("main .badge").first).to_have_text("Draining")
    expect(page.locator("main")).to_contain_text("drained: maintenance, until ")
    (node,) = server.ask("GET", "/api/v1/nodes")["items"]
    assert node["spec"]["drain"]["deadline"] is not None
    page.get_by_role("button", name=re.compile("^Uncordon")).click()
    expect(page.locator("main .badge").first).to_have_text("Ready")


def test_the_keyboard_finds_everything(window: Any) -> None:
    page = live(window.open("/ui/events"))
    page.keyboard.press("/")
    expect(page.get_by_label("Search workloads")).to_be_focused()
    page.keyboard.type("talks")
    expect(page.locator("#search-found a").first).to_have_text("default/talks")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="default/talks")).to_be_visible()


def test_versions_are_compared(server: Any, window: Any) -> None:
    server.run("changed", "exec sleep 1000")
    server.wait_for("changed", "Healthy")
    page = live(window.open("/ui/workloads/default/changed"))
    containers = [{"name": "main", "command": ["sleep", "2000"]}]
    path = "/api/v1/namespaces/default/workloads/changed"
    server.ask("PATCH", path, {"spec": {"containers": containers}})
    differences = page.get_by_role("region", name="Differences")
    expect(differences.locator("ins").first).to_contain_text("2000")
    page.close()
    server.ask("DELETE", path)


def test_a_theme_is_kept(window: Any) -> None:
    page = live(window.open("/", color_scheme="light"))
    bright = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Theme").click()
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert dark != bright
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", [*PAGES, "login", "search"])
def test_everybody_can_use_a_page(window: Any, pictures: Path, name: str, scheme: Any) -> None:
    if name == "login":
        page = window.open("/ui/login", fresh=True, color_scheme=scheme)
    else:
        page = live(window.open(PAGES.get(name, "/"), color_scheme=scheme))
    if name == "search":
        page.keyboard.press("/")
        page.keyboard.type("talks")
        page.locator("#search-found a").first.wait_for()
    if name == "workload":
        expect(page.locator("#output")).to_contain_text("line 1 ")
    if name == "overview":
        page.locator("#plot canvas").wait_for()
    page.screenshot(path=pictures / f"{name}-{scheme}.png", full_page=True)
    found = Axe().run(page).response["violations"]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []


@pytest.mark.parametrize("name", [*PAGES, "login"])
def test_a_page_fits_a_small_telephone(window: Any, pictures: Path, name: str) -> None:
    page = window.open(PAGES.get(name, "/ui/login"), fresh=name == "login", viewport={"width": 360, "height": 640})
    if name != "login":
        live(page)
    page.screenshot(path=pictures / f"{name}-small.png")
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 360
    if name == "events":
        row = page.get_by_role("region", name="Events").get_by_role("row").nth(1)
        for cell in row.get_by_role("cell").all():
            box = cell.bounding_box()
            assert box is not None
            assert box["x"] + box["width"] <= 360, "its reason and message are seen without scrolling sideways"


def test_a_plot_of_one_sample_is_about_now(window: Any) -> None:
    page = window.open("/ui/quotas")
    page.add_init_script(
        "window.drawn = []; const fillText = CanvasRenderingContext2D.prototype.fillText;"
        "CanvasRenderingContext2D.prototype.fillText = function (text, ...place) {"
        " drawn.push(String(text)); return fillText.call(this, text, ...place); };"
    )
    sample = {
        "times": [1_790_000_000],
        "series": [{"title": "CPU reserved", "unit": "%", "values": [10]}],
        "words": "Now.",
    }
    page.route("**/ui/samples", lambda route: route.fulfill(json=sample))
    page.goto("/")
    page.wait_for_function("() => drawn.includes('100 %')")
    drawn = page.evaluate("drawn")
    assert [text for text in drawn if re.search(r"Jan|Jul|20\d\d", text)] == [], "the axis is no years long"
    assert any(re.search(r":\d\d", text) for text in drawn)


def test_the_first_look_is_small_and_soon(window: Any) -> None:
    page = live(window.open("/"))
    page.locator("#plot canvas").wait_for()
    loaded = page.evaluate(
        "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
        ".filter(each => !each.name.includes('/ui/live')).map(each => each.encodedBodySize)"
    )
    assert 0 < sum(loaded) <= 60 * 1024
    soonest = min(_interactive_ms(window.open("/")) for _ in range(3))
    assert soonest <= 1000


def _interactive_ms(page: Page) -> float:
    live(page)
    return float(page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"))
