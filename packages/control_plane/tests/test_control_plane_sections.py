"""Sections of an application: made when they are first asked for, and found by how their paths begin."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from litestar import get
from orchestrion.control_plane._access import ACCESS
from orchestrion.control_plane._app import make_app
from orchestrion.control_plane._web.sections import Section, Sections

from .api_stage import Api, Client


class Made:
    """Sections that put down when they are made."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.sections = Sections(make_app, lambda app: app)
        self.client = Client(self.sections)

    def add(self, path: str, *words: str) -> None:
        """Have a section with one path."""

        @get(path, opt={ACCESS: None})
        async def answer() -> dict[str, str]:
            return {"path": path}

        def make() -> list[Any]:
            self.log.append(path)
            return [answer]

        self.sections.add(Section(frozenset(words), make))


@pytest.fixture
def made() -> Made:
    made = Made()
    made.add("/health", "health")
    made.add("/things/one", "things", "")
    made.add("/things/two", "things", "")
    return made


async def test_a_section_is_made_when_it_is_first_asked_for(made: Made) -> None:
    assert made.log == []
    for _ in range(2):
        assert (await made.client.ask("GET", "/health")).json == {"path": "/health"}
    assert made.log == ["/health"]


async def test_sections_of_the_same_words_are_made_together(made: Made) -> None:
    assert (await made.client.ask("GET", "/things/two")).json == {"path": "/things/two"}
    assert (await made.client.ask("GET", "/things/one/")).json == {"path": "/things/one"}
    assert made.log == ["/things/one", "/things/two"]


@pytest.mark.parametrize("path", ["/", "/things", "/thing", "/elsewhere/things/one"])
async def test_what_no_section_has_is_not_found(made: Made, path: str) -> None:
    assert (await made.client.ask("GET", path)).status == 404


async def test_all_are_made_once_when_they_are_prepared(made: Made) -> None:
    await made.client.ask("GET", "/things/two")
    for _ in range(2):
        await made.sections.prepare()
    assert made.log == ["/things/one", "/things/two", "/health"]


def test_whoever_asks_for_all_paths_gets_all(made: Made) -> None:
    assert [route.path for route in made.sections.routes()] == ["/health", "/things/one", "/things/two"]


def test_words_belong_to_one_section(made: Made) -> None:
    with pytest.raises(ValueError, match="'things'"):
        made.add("/things/three", "things")


def test_a_path_that_nobody_would_be_led_to_is_a_mistake(made: Made) -> None:
    made.add("/strange/one", "odd")
    with pytest.raises(ValueError, match="/strange/one"):
        made.sections.routes()


async def test_every_path_of_a_server_is_found(api: Api) -> None:
    sections = api.server.sections()
    assert {route.path for route in sections.routes()} == {
        route.path for route in make_app(api.server.handlers()).routes
    }


@pytest.mark.slow
def test_a_server_is_there_before_what_few_ask_for_is_imported() -> None:
    names = (
        "_dashboard.handlers",
        "_mcp.http",
        "_objects.schema_check",
        "_web.bulk_paths",
        "_web.object_paths",
        "_web.openapi",
    )
    probe = (
        "import sys, orchestrion.control_plane.server;"
        f"print([name for name in {names} if 'orchestrion.control_plane.' + name in sys.modules],"
        "[name for name in ('jinja2', 'cryptography', 'opentelemetry') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout == "[] []\n"
