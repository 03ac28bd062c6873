"""What a socket serves besides Control: opened when it is first asked for, the same as a server of the network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from orchestrion.control_plane import ApiClient, HttpControl, SocketPeer, serve_control
from orchestrion.control_plane._web.assembly import embedded
from orchestrion.shared_types import (
    ContainerConfig,
    InternalError,
    Metadata,
    QuotaExceeded,
    StateFailure,
    WorkloadDefinition,
)

from .api_stage import api_served


@asynccontextmanager
async def served(control: Any, socket_path: Path, others: Any) -> AsyncIterator[ApiClient]:
    async def serve(task_status: trio.TaskStatus[None]) -> None:
        await serve_control(control, socket_path, others=others, task_status=task_status)

    async with trio.open_nursery() as nursery:
        await nursery.start(serve)
        yield ApiClient(SocketPeer(socket_path))
        nursery.cancel_scope.cancel()


async def test_it_is_opened_when_it_is_first_asked_for(fake: Any, socket_path: Path) -> None:
    steps: list[str] = []

    @asynccontextmanager
    async def others(_streams: Any) -> AsyncIterator[Any]:
        async def app(scope: Any, _receive: Any, send: Any) -> None:
            steps.append(scope["path"])
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"ok"})

        steps.append("opened")
        yield app

    async with served(fake, socket_path, others) as client:
        await HttpControl(socket_path).ping()
        assert steps == []
        assert [(await client.ask("GET", path, may_be_text=True)).data for path in ("/a", "/b")] == ["ok", "ok"]
        assert steps == ["opened", "/a", "/b"]


@pytest.mark.parametrize(("error", "told"), [(StateFailure("no room"), StateFailure), (ValueError("x"), InternalError)])
async def test_what_can_not_be_opened_is_told_to_everybody_who_asks(
    error: Exception, told: type[Exception], fake: Any, socket_path: Path
) -> None:
    def fail() -> None:
        raise error

    @asynccontextmanager
    async def others(_streams: Any) -> AsyncIterator[Any]:
        fail()
        yield

    async with served(fake, socket_path, others) as client:
        for _ in range(2):
            with pytest.raises(told):
                await client.ask("GET", "/api/v1/nodes")
        await HttpControl(socket_path).ping()


async def test_the_owner_of_the_socket_reads_and_writes_objects(socket_path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "server"
    folder.mkdir(mode=0o700)
    async with api_served() as api:

        def others(streams: Any) -> Any:
            return embedded(api.orchestrator, folder, streams)

        async with served(api.orchestrator, socket_path, others) as client:
            document = {"metadata": {"name": "colours"}, "spec": {"data": {"sky": "blue"}}}
            path = "/api/v1/namespaces/default/configmaps"
            assert (await client.ask("POST", path, document)).status == 201
            reply = await client.ask("GET", f"{path}/colours")
            assert reply.data["spec"] == {"data": {"sky": "blue"}}
            assert (await client.ask("GET", "/api/v1/whoami")).data["via"] == "unix"


async def test_what_is_changed_at_the_socket_is_under_the_rules_of_its_namespace(
    socket_path: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "server"
    folder.mkdir(mode=0o700)
    async with api_served() as api:

        def others(streams: Any) -> Any:
            return embedded(api.orchestrator, folder, streams)

        async with served(api.orchestrator, socket_path, others) as client:
            quota = {"metadata": {"name": "few"}, "spec": {"hard": {"instances": 2}}}
            await client.ask("POST", "/api/v1/namespaces/default/resourcequotas", quota)
            control = HttpControl(socket_path)
            await control.apply([web(2)])
            with pytest.raises(QuotaExceeded):
                await control.apply([web(3)])
            with pytest.raises(QuotaExceeded):
                await control.scale("web", 3)
            assert len(await control.list_instances()) == 2


def web(replicas: int) -> WorkloadDefinition:
    main = ContainerConfig(name="main", command=("work",))
    return WorkloadDefinition(metadata=Metadata(name="web"), replicas=replicas, containers=(main,))
