"""The command's own paths: nothing of a query is passed over there either."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from litestar import Litestar
from orchestrion.control_plane._app import control_handlers, make_app
from orchestrion.control_plane._http1.sockets import DENIAL
from orchestrion.control_plane._open_streams import OpenStreams

from .api_stage import Api, Client
from .conftest import FakeControl
from .sockets_stage import Socket

WORKLOAD = {"metadata": {"name": "web"}, "kind": "service", "containers": [{"name": "main", "command": ["run"]}]}
MANY = {"workloads": [WORKLOAD]}

PATHS: list[tuple[str, str, Any]] = [
    ("GET", "/v1/ping?", None),
    ("POST", "/v1/apply?", MANY),
    ("POST", "/v1/plan?", MANY),
    ("GET", "/v1/workloads?", None),
    ("GET", "/v1/workload?name=web&", None),
    ("DELETE", "/v1/workload?name=web&", None),
    ("POST", "/v1/workload/scale?name=web&", {"replicas": 3}),
    ("POST", "/v1/workload/pause?name=web&", None),
    ("POST", "/v1/workload/resume?name=web&", None),
    ("POST", "/v1/workload/stop?name=web&", None),
    ("GET", "/v1/workload/explain?name=web&", None),
    ("GET", "/v1/instances?", None),
    ("GET", "/v1/nodes?", None),
    ("GET", "/v1/events?", None),
    ("GET", "/v1/watch?", None),
    ("POST", "/v1/logs?", {"subject": "web"}),
]


def embedded() -> Litestar:
    """Return the paths as who runs workloads without a server serves them."""
    return make_app(control_handlers(FakeControl(), OpenStreams(trio.Event())))


@pytest.mark.parametrize(("method", "target", "body"), PATHS)
async def test_a_parameter_that_a_path_does_not_take_is_refused(api: Api, method: str, target: str, body: Any) -> None:
    assert (await api.client.ask("POST", "/v1/apply", MANY)).status == 200
    await trio.sleep(60)
    before = (await api.client.ask("GET", "/v1/workload?name=web")).json
    for client in (api.client, Client(embedded())):
        refused = await client.ask(method, f"{target}colour=red", body)
        assert (refused.status, refused.json["code"]) == (400, "config-invalid")
        assert "colour: there is no such parameter here" in refused.json["detail"]
    assert (await api.client.ask("GET", "/v1/workload?name=web")).json == before


async def test_a_trial_that_is_misspelt_is_not_done(api: Api) -> None:
    assert (await api.client.ask("POST", "/v1/apply", MANY)).status == 200
    refused = await api.client.ask("POST", "/v1/workload/scale?name=web&dryrun=true", {"replicas": 3})
    assert (refused.status, "is dry_run meant?" in refused.json["detail"]) == (400, True)
    assert (await api.client.ask("GET", "/v1/workload?name=web")).json["replicas"] == 1
    tried = await api.client.ask("POST", "/v1/workload/scale?name=web&dry_run=true", {"replicas": 3})
    assert tried.status == 200


def test_every_path_that_is_asked_over_http_is_among_those_that_are_tried() -> None:
    routes = {(method, route.path) for route in embedded().routes for method in getattr(route, "methods", ())}
    asked = {(method, path) for method, path in routes if method not in ("OPTIONS", "HEAD")}
    assert asked == {(method, target.partition("?")[0]) for method, target, _ in PATHS}


async def test_who_may_not_learns_nothing_of_parameters(api: Api) -> None:
    refused = await api.as_("").ask("POST", "/v1/workload/scale?name=web&colour=red", {"replicas": 3})
    assert refused.status == 401


async def test_a_command_is_not_run_with_a_parameter_that_is_not_taken(api: Api) -> None:
    assert (await api.client.ask("POST", "/v1/apply", MANY)).status == 200
    await trio.sleep(60)
    head = {"host": "test", "authorization": "Bearer admin"}
    socket = Socket(
        api.client.app, "/v1/exec?name=web.0&colour=red", head, {"command": ["echo", "a"]}, extensions={DENIAL: {}}
    )
    await socket.run()
    begun, told = socket.sent
    assert (begun["type"], begun["status"]) == ("websocket.http.response.start", 400)
    assert b"there is no such parameter here" in told["body"]
