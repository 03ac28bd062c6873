"""Each code of a refusal is explained by a page of the server that refuses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from orchestrion.control_plane import problem_of
from orchestrion.control_plane._problem_table import MEANINGS, type_of
from orchestrion.control_plane._problems import status_of_code
from orchestrion.shared_types import NodeNotFound, OrchestrationError, Unauthenticated

from .api_stage import Api

PACKAGES = Path(__file__).parents[2]
OF_COMMANDS = {"copy-failed", "plugin-broken"}
"""Codes of the command's own, which no server gives."""


def test_every_code_that_a_server_can_give_is_explained_and_no_other() -> None:
    found = {
        code
        for path in PACKAGES.glob("*/src/**/*.py")
        if "class " in (text := path.read_text())
        for code in re.findall(r'^    code(?:: \S+)? = "([a-z-]+)"$', text, re.MULTILINE)
    }
    assert found - OF_COMMANDS == set(MEANINGS)


async def test_the_type_of_a_refusal_leads_to_what_explains_it_without_a_login(api: Api) -> None:
    refused = await api.client.ask("GET", "/api/v1/namespaces/default/configmaps/nothing")
    page = await api.as_("").ask("GET", refused.json["type"])
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"<h1>not-found</h1>" in page.body
    assert b"404" in page.body


async def test_all_codes_are_listed_and_have_their_pages(api: Api) -> None:
    listed = (await api.as_("").ask("GET", "/problems")).body.decode()
    links = re.findall(r'href="(/problems/[a-z-]+)"', listed)
    assert links == [f"/problems/{code}" for code in sorted(MEANINGS)]
    for link in links:
        assert (await api.client.ask("GET", link)).status == 200


@pytest.mark.parametrize("name", ["nothing", "%3Cscript%3E", "not-found%22%3E"])
async def test_of_what_is_no_code_nothing_is_repeated_in_a_page(api: Api, name: str) -> None:
    answer = await api.as_("").ask("GET", f"/problems/{name}")
    assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")


def test_what_others_add_is_explained_by_what_it_is_based_on() -> None:
    class Lost(NodeNotFound):
        code = "lost-at-sea"

    problem = problem_of(Lost("gone"))
    assert (problem["code"], problem["type"]) == ("lost-at-sea", "/problems/node-not-found")
    assert type_of(["nobody-knows"]) == "/problems/error"
    assert problem_of(OrchestrationError("what"))["type"].startswith("/problems/")


def test_the_status_of_a_code_is_that_of_its_errors() -> None:
    assert [status_of_code(code) for code in ("not-found", "denied", "unschedulable", "internal", "none")] == [
        404,
        403,
        422,
        500,
        500,
    ]


def test_the_table_of_refusals_has_the_codes_of_who_is_not_let_in() -> None:
    table = (PACKAGES.parent / "docs" / "http-api.md").read_text().partition("| status | code | |")[2]
    rows = dict(re.findall(r"^\| (401|403) \| ([^|]+) \|", table, re.MULTILINE))
    kinds: list[type[Unauthenticated]] = [Unauthenticated, *Unauthenticated.__subclasses__()]
    told = {kind.code for kind in kinds if kind.code in MEANINGS}
    assert set(re.findall(r"`([a-z-]+)`", rows["401"])) == told == {"unauthenticated", "not-proved"}
    assert "`denied`" in table
