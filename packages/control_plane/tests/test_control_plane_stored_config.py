"""What the node reads of stored ConfigMaps and Secrets, and that a secret is nowhere else."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trio
from orchestrion.control_plane import StoredConfig
from orchestrion.control_plane._identity.sealing import Sealer
from orchestrion.control_plane._mcp.desk import Desk
from orchestrion.control_plane._mcp.session import Session
from orchestrion.orchestrator_core import ConfigMissing, NoVolumes
from orchestrion.shared_types import StateFailure
from trio.testing import MockClock

from .api_stage import Api, api_served

CANARY = "c4n4ry-hush-hush"
SECRETS = "/api/v1/namespaces/default/secrets"
MAPS = "/api/v1/namespaces/default/configmaps"
WORKLOADS = "/api/v1/namespaces/default/workloads"


def sealing(key_dir: Path) -> Any:
    sealer = Sealer.open(key_dir)
    return lambda name, text: sealer.seal(text, name=name)


async def test_texts_are_read_as_they_are_now_and_secrets_opened(api: Api, tmp_path: Path) -> None:
    api.objects.writer.seal = sealing(tmp_path)
    source = StoredConfig(api.objects.store, tmp_path)
    with pytest.raises(ConfigMissing, match=r"ConfigMap 'settings'.*'default'"):
        await source.read_config("default", "settings")
    with pytest.raises(ConfigMissing, match=r"Secret 'db'.*'default'"):
        await source.read_secret("default", "db")
    await api.client.ask("POST", MAPS, {"metadata": {"name": "settings"}, "spec": {"data": {"color": "blue"}}})
    await api.client.ask("POST", SECRETS, {"metadata": {"name": "db"}, "spec": {"data": {"password": CANARY}}})
    assert await source.read_config("default", "settings") == {"color": "blue"}
    assert await source.read_secret("default", "db") == {"password": CANARY}
    await api.client.ask("PATCH", f"{MAPS}/settings", {"spec": {"data": {"color": "red"}}})
    assert await source.read_config("default", "settings") == {"color": "red"}
    with pytest.raises(ConfigMissing):
        await source.read_config("other", "settings")


async def test_what_comes_into_a_namespace_is_hinted_at_there(api: Api, tmp_path: Path) -> None:
    api.objects.writer.seal = sealing(tmp_path)
    source = StoredConfig(api.objects.store, tmp_path)
    async with source.watch_config("default") as here, source.watch_config("other") as there:
        for path, spec in ((MAPS, {"data": {"a": "b"}}), (SECRETS, {"data": {"a": "b"}})):
            await api.client.ask("POST", path, {"metadata": {"name": "new"}, "spec": spec})
            with trio.fail_after(5):
                await anext(here)
        with trio.move_on_after(5) as nothing_came:
            await anext(there)
        assert nothing_came.cancelled_caught


async def test_a_secret_needs_its_key(api: Api, tmp_path: Path) -> None:
    api.objects.writer.seal = sealing(tmp_path)
    await api.client.ask("POST", SECRETS, {"metadata": {"name": "db"}, "spec": {"data": {"password": CANARY}}})
    (tmp_path / "other").mkdir()
    with pytest.raises(StateFailure) as caught:
        await StoredConfig(api.objects.store, tmp_path / "other").read_secret("default", "db")
    assert CANARY not in str(caught.value)


async def test_secrets_are_read_after_the_key_was_rotated(api: Api, tmp_path: Path) -> None:
    api.objects.writer.seal = sealing(tmp_path)
    source = StoredConfig(api.objects.store, tmp_path)
    await api.client.ask("POST", SECRETS, {"metadata": {"name": "db"}, "spec": {"data": {"password": CANARY}}})
    assert await source.read_secret("default", "db") == {"password": CANARY}
    Sealer.open(tmp_path).rotated()
    api.objects.writer.seal = sealing(tmp_path)
    await api.client.ask("POST", SECRETS, {"metadata": {"name": "new"}, "spec": {"data": {"password": CANARY}}})
    assert await source.read_secret("default", "new") == {"password": CANARY}
    assert await source.read_secret("default", "db") == {"password": CANARY}


@pytest.mark.parametrize("data", [{"../x": "1"}, {"a/b": "1"}, {"..": "1"}, {"": "1"}])
@pytest.mark.parametrize("path", [MAPS, SECRETS])
async def test_a_key_that_can_not_name_a_file_is_refused(api: Api, path: str, data: dict[str, str]) -> None:
    refused = await api.client.ask("POST", path, {"metadata": {"name": "x"}, "spec": {"data": data}})
    assert refused.status == 400
    assert "key" in refused.json["detail"]


class Files(NoVolumes):
    """Remembers files instead of writing them."""

    def __init__(self) -> None:
        self.written: dict[str, Any] = {}

    async def write_files(self, owner: Any, config: Any, folders: Any, /) -> str:
        self.written[owner.name.short] = {name: dict(texts) for name, texts in folders.items()}
        return await super().write_files(owner, config, folders)


class Later:
    """Reads from a source that comes to be after who reads."""

    source: StoredConfig

    async def read_config(self, namespace: str, name: str, /) -> Mapping[str, str]:
        return await self.source.read_config(namespace, name)

    async def read_secret(self, namespace: str, name: str, /) -> Mapping[str, str]:
        return await self.source.read_secret(namespace, name)


async def at_once(function: Any, *arguments: Any, **_options: Any) -> Any:
    """Stand in for a thread, whose time is no time of a clock that jumps."""
    await trio.lowlevel.checkpoint()
    return function(*arguments)


def run_on_a_clock_that_jumps(function: Any) -> Any:
    return trio.run(function, clock=MockClock(autojump_threshold=0))


def test_a_secret_is_in_its_file_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(trio.to_thread, "run_sync", at_once)
    caplog.set_level(logging.DEBUG)
    files, seen = Files(), list[str]()

    async def live() -> None:
        config = Later()
        async with api_served(volumes=files, config=config) as api:
            config.source = StoredConfig(api.objects.store, tmp_path)
            api.objects.writer.seal = sealing(tmp_path)
            data = {"password": CANARY, "other": f"x{CANARY}"}
            spec = {
                "kind": "service",
                "restart": {"max_restarts": 2},
                "containers": [{"name": "main", "command": ["exit", "1"], "secrets": ["db"]}],
            }

            async def ask(method: str, target: str, body: Any = None) -> None:
                answer = await api.client.ask(method, target, body)
                seen.append(f"{method} {target} {dict(answer.headers)} {answer.body.decode()}")

            await ask("POST", WORKLOADS, {"metadata": {"name": "web"}, "spec": spec})
            await trio.sleep(5)
            seen.append(str(await api.orchestrator.list_instances()))
            await ask("POST", SECRETS, {"metadata": {"name": "db"}, "spec": {"data": data}})
            await trio.sleep(120)
            await ask("POST", SECRETS, {"metadata": {"name": "db"}, "spec": {"data": data}})
            await ask("PATCH", f"{SECRETS}/db", {"spec": {"data": {"../bad": CANARY}}})
            await ask("PATCH", f"{SECRETS}/db", {"spec": {"data": {"third": CANARY}}})
            await ask("GET", "/metrics")
            for kind in api.objects.kinds:
                await ask("GET", f"/api/v1/{kind.plural}")
            seen.append(str(await api.orchestrator.explain("web")))
            seen.append(str(await api.orchestrator.plan([])))
            seen.append(str(await api.orchestrator.events()))
            seen.append(str(await api.orchestrator.list_workloads()))
            desk, session = Desk(api.orchestrator), Session()
            start = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
            for method, params in (
                ("initialize", start),
                ("tools/call", {"name": "get_workload", "arguments": {"name": "web"}}),
                ("tools/call", {"name": "list_events", "arguments": {}}),
                ("resources/read", {"uri": "orchestrion://cluster/status"}),
            ):
                message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
                seen.append(str(await session.answer(message, desk)))
            seen.append(str(api.orchestrator.world.workloads) + str(api.orchestrator.world.instances))
            stored = await api.objects.store.list("/")
            seen.extend(f"{entry.key} {entry.value!r}" for entry in stored.entries)

    run_on_a_clock_that_jumps(live)
    assert files.written["web.0.1"] == {"secrets/db": {"password": CANARY, "other": f"x{CANARY}"}}
    assert "Failed" in "".join(seen)
    assert "waits for Secret 'db'" in "".join(seen)
    assert [text for text in [*seen, caplog.text] if CANARY in text] == []
