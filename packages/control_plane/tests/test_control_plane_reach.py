"""A role in one namespace reaches that namespace alone, whatever else a request says besides."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from orchestrion.control_plane._identity.access import Rule
from orchestrion.control_plane._identity.policy import Policy
from orchestrion.control_plane._identity.principals import Principal
from orchestrion.control_plane._identity.roles import Role, RoleBinding, Subject, SubjectKind
from orchestrion.control_plane._objects.kinds import ROLE
from orchestrion.control_plane._service.intent import Intent
from orchestrion.control_plane._web.keeper import policy_of

from .api_stage import Api

ANN = (Subject(SubjectKind.USER, "ann"),)


def workload(namespace: str) -> dict[str, Any]:
    container = {"name": "main", "command": ["true"]}
    return {"metadata": {"name": "web", "namespace": namespace}, "containers": [container]}


async def status(api: Api, method: str, target: str, data: Any = None, *, role: Role | None = None) -> int:
    """Return how ann is answered, who is an editor in prod, or has a role everywhere."""
    api.keeper.principals["ann"] = Principal("ann")
    if role is None:
        api.keeper.policy = Policy((), [RoleBinding("b", "editor", ANN, "prod")])
    else:
        api.keeper.policy = Policy([role], [RoleBinding("b", role.name, ANN)])
    with trio.fail_after(5):  # a watch that is let in does not end
        return (await api.as_("ann").ask(method, target, data)).status


@pytest.mark.parametrize(
    ("method", "target", "data"),
    [
        ("GET", "/api/v1/workloads", None),
        ("GET", "/api/v1/workloads?namespace=prod", None),
        ("GET", "/api/v1/workloads?namespace=prod&watch=true", None),
        ("GET", "/api/v1/namespaces/test/workloads?namespace=prod", None),
        ("GET", "/api/v1/namespaces/test/secrets/key?namespace=prod", None),
        ("GET", "/api/v1/nodes?namespace=prod", None),
        ("GET", "/v1/workloads", None),
        ("GET", "/v1/workloads?namespace=", None),
        ("GET", "/v1/workloads?namespace=test", None),
        ("GET", "/v1/nodes?namespace=prod", None),
        ("GET", "/v1/workload?name=web", None),
        ("POST", "/v1/apply?namespace=prod", {"workloads": [workload("test")]}),
        ("POST", "/v1/apply", {"workloads": [workload("prod"), workload("test")]}),
        ("POST", "/v1/plan?namespace=prod", {"workloads": [workload("test")]}),
        ("POST", "/v1/logs?namespace=prod", {"subject": "web", "namespace": "test"}),
        ("POST", "/v1/logs?namespace=prod", {"subject": "web"}),
    ],
)
async def test_what_is_elsewhere_is_not_reached(api: Api, method: str, target: str, data: Any) -> None:
    assert await status(api, method, target, data) == 403


@pytest.mark.parametrize(
    ("method", "target", "data", "expected"),
    [
        ("GET", "/api/v1/namespaces/prod/workloads", None, 200),
        ("GET", "/v1/workloads?namespace=prod", None, 200),
        ("GET", "/v1/workload?name=web&namespace=prod", None, 404),
        ("POST", "/v1/apply", {"workloads": [workload("prod")]}, 200),
        ("POST", "/v1/logs", {"subject": "web.0", "namespace": "prod"}, 404),
        ("POST", "/v1/apply", {"workloads": 1}, 400),
        ("GET", "/v1/workloads?namespace=prod&namespace=test", None, 400),
        ("GET", "/v1/workload?name=web&namespace=test&namespace=prod", None, 400),
    ],
)
async def test_what_is_there_is_reached_and_what_has_two_meanings_is_refused(
    api: Api, method: str, target: str, data: Any, expected: int
) -> None:
    await api.client.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "prod"}})
    assert await status(api, method, target, data) == expected


@pytest.mark.parametrize(
    "target", ["/api/v1/namespaces/prod/workloads?name=web", "/api/v1/namespaces/prod/workloads/db?name=web"]
)
async def test_a_role_for_one_name_reaches_no_other(api: Api, target: str) -> None:
    one = Role("one", (Rule(("get", "list"), "workloads", names="web"),))
    assert await status(api, "GET", target, role=one) == 403
    assert await status(api, "GET", "/api/v1/namespaces/prod/workloads/web", role=one) == 404


async def test_a_role_that_can_not_be_used_allows_nothing_and_the_others_hold(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    def role(name: str, rule: dict[str, Any]) -> dict[str, Any]:
        return {"kind": "Role", "metadata": {"name": name}, "spec": {"rules": [rule]}}

    good = {"verbs": ["get"], "resources": ["workloads"]}
    history = api.objects.history
    assert (await api.client.ask("POST", "/api/v1/roles", role("good", good))).status == 201
    bad = {"verbs": [], "resources": ["workloads"]}
    # Past the check that the API makes, as another version of the server may have written it.
    await api.objects.create(ROLE, "", role("bad", bad), Intent())
    with trio.fail_after(5):
        while {"good", "bad"} - {name.name for name in history.names("roles")}:
            await trio.lowlevel.checkpoint()
    assert [one.name for one in policy_of(history).roles] == ["good"]
    assert "the role 'bad' can't be used" in caplog.text
