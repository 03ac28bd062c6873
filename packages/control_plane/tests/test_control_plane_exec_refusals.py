"""Commands that can't be run are refused as the mistake of who asks for them."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from orchestrion.shared_types import ConfigInvalid

from .api_stage import Api
from .sockets_stage import Socket

SPACE = "/api/v1/namespaces/default"
WORKLOAD = {"metadata": {"name": "web"}, "spec": {"containers": [{"name": "main", "command": ["run"]}]}}


async def told(api: Api, command: list[str], terminal: Any) -> Any:
    """Return the refusal of a command in the only instance of a workload."""
    assert (await api.client.ask("POST", f"{SPACE}/workloads", WORKLOAD)).status == 201
    await trio.sleep(10)
    head, first = {"host": "test", "authorization": "Bearer admin"}, {"command": command, "terminal": terminal}
    socket = Socket(api.client.app, f"{SPACE}/instances/web.0.1/exec", head, first)
    await socket.run()
    return socket.said[-1]["error"]


TERMINALS = pytest.mark.parametrize("terminal", [None, {"rows": 24, "columns": 80}], ids=["pipes", "terminal"])


@TERMINALS
@pytest.mark.parametrize(
    ("command", "path", "words"), [([], "command", "program"), (["echo", "a\0b"], "command[1]", "NUL")]
)
async def test_a_command_that_is_none_is_refused(
    api: Api, command: list[str], path: str, words: str, terminal: Any
) -> None:
    problem = await told(api, command, terminal)
    assert (problem["status"], problem["code"]) == (400, "config-invalid")
    assert f"{path}: " in problem["detail"]
    assert words in problem["detail"]


@TERMINALS
@pytest.mark.parametrize(
    ("command", "code"), [("fail", "runtime-command-not-found"), ("not-executable", "runtime-command-not-executable")]
)
async def test_a_program_that_is_not_there_is_no_fault_of_the_server(
    api: Api, command: str, code: str, terminal: Any
) -> None:
    problem = await told(api, [command, "no such program"], terminal)
    assert (problem["status"], problem["code"]) == (422, code)


async def test_an_embedded_orchestrator_refuses_such_a_command_too(api: Api) -> None:
    await told(api, [], None)
    with pytest.raises(ConfigInvalid, match="NUL"):
        async with api.orchestrator.exec("web.0", ["\0"]):
            raise AssertionError
