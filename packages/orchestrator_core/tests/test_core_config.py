"""ConfigMaps and Secrets of containers: told, written and waited for where they start."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define, evolve, field
from orchestrion.mocks import MockContainer
from orchestrion.orchestrator_core import ConfigMissing, DirectoryVolumes, NoVolumes, VolumeOwner
from orchestrion.orchestrator_core._state.records import InstanceName
from orchestrion.shared_types import (
    ConfigUse,
    ContainerConfig,
    ExecProbe,
    HealthCheck,
    InstanceState,
    Uid,
    Unavailable,
    WorkloadDefinition,
)

from .core_stage import NODE, Stage, batch, container, service

OWNER = VolumeOwner(InstanceName("default", "web", 0, 1), Uid("0190-1"))


@define(eq=False)
class Source:
    """ConfigMaps and Secrets in memory."""

    maps: dict[str, dict[str, str]] = field(factory=dict)
    secrets: dict[str, dict[str, str]] = field(factory=dict)
    reads: list[str] = field(factory=list)

    async def read_config(self, namespace: str, name: str, /) -> Mapping[str, str]:
        return await self._read(self.maps, namespace, name)

    async def read_secret(self, namespace: str, name: str, /) -> Mapping[str, str]:
        return await self._read(self.secrets, namespace, name)

    async def _read(self, among: dict[str, dict[str, str]], namespace: str, name: str) -> Mapping[str, str]:
        await trio.lowlevel.checkpoint()
        self.reads.append(f"{namespace}/{name}")
        if name not in among:
            msg = f"waits for {name!r}"
            raise ConfigMissing(msg)
        return among[name]


class Files(NoVolumes):
    """Remembers files instead of writing them."""

    def __init__(self) -> None:
        self.written: dict[str, dict[str, Mapping[str, str]]] = {}

    async def write_files(self, owner: VolumeOwner, config: ContainerConfig, folders: Any, /) -> str:
        self.written[f"{owner.name.short}/{config.name}"] = {name: dict(texts) for name, texts in folders.items()}
        return await super().write_files(owner, config, folders)

    async def remove_files(self, owner: VolumeOwner, /) -> None:
        await super().remove_files(owner)
        for name in [name for name in self.written if name.startswith(f"{owner.name.short}/")]:
            del self.written[name]


async def with_config(stage: Stage, source: Source | None = None) -> tuple[Source, Files]:
    source, files = source or Source(), Files()
    await stage.end()
    stage.options["volumes"], stage.options["config"] = files, source
    await stage.start()
    return source, files


def reading(*command: str, **fields: Any) -> ContainerConfig:
    return container("main", *command, **fields)


def containers_of(stage: Stage) -> list[MockContainer]:
    return list(stage.containers.containers.values())


async def test_a_container_is_told_what_it_reads_and_where_its_files_are(stage: Stage) -> None:
    source, files = await with_config(stage)
    source.maps["settings"] = {"color": "blue", "app.ini": "x=1"}
    source.secrets["db"] = {"password": "hush"}
    uses = (ConfigUse(name="settings", env={"COLOR": "color"}),)
    said = {"SAID": "${COLOR} ${CONFIG_SETTINGS}/app.ini"}
    config = reading(env_vars=said, config=uses, secrets=(ConfigUse(name="db"),))
    await stage.orchestrator.apply([service(containers=(config,))])
    await trio.sleep(5)
    (running,) = containers_of(stage)
    assert running.config.env_vars["SAID"] == "blue /volumes/default/web.0.1/main/config/settings/app.ini"
    assert running.config.env_vars["COLOR"] == "blue"
    assert running.config.env_vars["SECRET_DB"] == "/volumes/default/web.0.1/main/secrets/db"
    assert files.written["web.0.1/main"] == {
        "config/settings": source.maps["settings"],
        "secrets/db": {"password": "hush"},
    }
    assert "hush" not in str(running.config)


async def test_an_instance_waits_for_what_is_missing_and_says_what(stage: Stage) -> None:
    source, _ = await with_config(stage)
    uses = (ConfigUse(name="db", env={"PASSWORD": "password"}, files=False),)
    await stage.orchestrator.apply([service(containers=(reading(secrets=uses),))])
    await trio.sleep(60)
    (instance,) = await stage.orchestrator.list_instances()
    assert (instance.status.state, instance.status.message) == (InstanceState.PENDING, "waits for 'db'")
    source.secrets["db"] = {"other": "x"}
    await trio.sleep(60)
    (instance,) = await stage.orchestrator.list_instances()
    assert "'password' in Secret 'db'" in instance.status.message
    source.secrets["db"] = {"password": "hush"}
    await trio.sleep(60)
    (instance,) = await stage.orchestrator.list_instances()
    assert (instance.status.state, instance.status.message) == (InstanceState.RUNNING, "")
    assert containers_of(stage)[0].config.env_vars["PASSWORD"] == "hush"


@define(eq=False)
class HintingSource(Source):
    """Says when something has come; `fails` makes that impossible."""

    channels: list[Any] = field(factory=list)
    opened: int = 0
    fails: bool = False

    @asynccontextmanager
    async def watch_config(self, namespace: str, /) -> AsyncIterator[AsyncIterator[None]]:
        await trio.lowlevel.checkpoint()
        if self.fails:
            raise Unavailable("the store is away")
        send, receive = trio.open_memory_channel[None](100)
        self.channels.append(send)
        self.opened += 1
        try:
            yield receive.__aiter__()
        finally:
            self.channels.remove(send)

    def hint(self) -> None:
        for channel in self.channels:
            channel.send_nowait(None)


class LateSource(HintingSource):
    """Has the password right after the first look."""

    async def read_secret(self, namespace: str, name: str, /) -> Mapping[str, str]:
        try:
            return await super().read_secret(namespace, name)
        finally:
            self.secrets["db"] = {"password": "hush"}


async def waiting_for_password(stage: Stage, source: HintingSource) -> None:
    """Have an instance wait for so long that its next try is far away."""
    await with_config(stage, source)
    uses = (ConfigUse(name="db", env={"PASSWORD": "password"}, files=False),)
    await stage.orchestrator.apply([service(containers=(reading(secrets=uses),))])
    await trio.sleep(200)
    source.reads.clear()


async def state_of(stage: Stage) -> InstanceState:
    (instance,) = await stage.orchestrator.list_instances()
    return instance.status.state


async def test_an_instance_starts_as_soon_as_there_is_what_it_waits_for(stage: Stage) -> None:
    source = HintingSource()
    await waiting_for_password(stage, source)
    source.secrets["db"] = {"password": "hush"}
    source.hint()
    await trio.sleep(0.5)
    assert await state_of(stage) is InstanceState.RUNNING


async def test_what_comes_while_nobody_follows_yet_is_found_at_once(stage: Stage) -> None:
    await with_config(stage, LateSource())
    uses = (ConfigUse(name="db", env={"PASSWORD": "password"}, files=False),)
    await stage.orchestrator.apply([service(containers=(reading(secrets=uses),))])
    await trio.sleep(0.04)  # less than the first back-off
    assert await state_of(stage) is InstanceState.RUNNING


async def test_who_waits_is_woken_now_and_then_however_much_changes(stage: Stage) -> None:
    source = HintingSource()
    await waiting_for_password(stage, source)
    for _ in range(90):
        source.hint()
        await trio.sleep(0.01)
    assert len(source.reads) <= 12


async def test_where_nobody_waits_any_longer_nobody_follows(stage: Stage) -> None:
    source = HintingSource()
    await waiting_for_password(stage, source)
    assert len(source.channels) == 1
    assert source.opened == 1, "one watch for all tries"
    source.secrets["db"] = {"password": "hush"}
    source.hint()
    await trio.sleep(200)
    assert source.channels == []


async def test_hints_that_fail_leave_instances_to_their_back_off(stage: Stage) -> None:
    source = HintingSource(fails=True)
    await waiting_for_password(stage, source)
    source.secrets["db"] = {"password": "hush"}
    await trio.sleep(31)
    assert await state_of(stage) is InstanceState.RUNNING


async def test_a_key_that_would_lead_out_of_the_folder_is_never_written(stage: Stage) -> None:
    source, files = await with_config(stage)
    source.maps["settings"] = {"../../etc/passwd": "x"}
    await stage.orchestrator.apply([service(containers=(reading(config=(ConfigUse(name="settings"),)),))])
    await trio.sleep(60)
    (instance,) = await stage.orchestrator.list_instances()
    assert "can't name a file" in instance.status.message
    assert not files.written


async def test_a_change_is_read_at_the_next_start_and_starts_nothing_by_itself(stage: Stage) -> None:
    source, _ = await with_config(stage)
    source.maps["settings"] = {"color": "blue"}
    uses = (ConfigUse(name="settings", env={"COLOR": "color"}, files=False),)
    await stage.orchestrator.apply([service(containers=(reading(config=uses),))])
    await trio.sleep(5)
    source.maps["settings"] = {"color": "red"}
    reads = len(source.reads)
    await trio.sleep(300)
    assert [each.config.env_vars["COLOR"] for each in containers_of(stage)] == ["blue"]
    assert len(source.reads) == reads
    again = reading(config=uses, env_vars={"CONFIG_VERSION": "2"})
    await stage.orchestrator.apply([service(containers=(again,))])
    await trio.sleep(60)
    running = [each for each in containers_of(stage) if each.exit is None]
    assert [each.config.env_vars["COLOR"] for each in running] == ["red"]


async def test_files_go_when_the_instance_has_ended_though_it_is_remembered(stage: Stage) -> None:
    source, files = await with_config(stage)
    source.secrets["db"] = {"password": "hush"}
    await stage.orchestrator.apply([batch(containers=(reading("exit", "0", secrets=(ConfigUse(name="db"),)),))])
    await trio.sleep(10)
    (instance,) = await stage.orchestrator.list_instances()
    assert instance.status.state is InstanceState.SUCCEEDED
    assert files.written == {}


async def test_a_container_with_an_image_finds_them_at_a_place_of_its_own(stage: Stage) -> None:
    source, _ = await with_config(stage)
    source.maps["settings"] = {"color": "blue"}
    node = stage.cluster.get_node(NODE)
    assert node is not None
    stage.cluster.update_node(evolve(node, drivers=frozenset({"docker"})))
    uses = (ConfigUse(name="settings", env={"COLOR": "color"}),)
    await stage.orchestrator.apply([service(containers=(reading(image="i", config=uses),))])
    await trio.sleep(5)
    (running,) = containers_of(stage)
    (mount,) = running.config.volumes
    (source_of_it,) = running.options.volumes
    assert (mount.path, mount.read_only) == ("/run/orchestrion", True)
    assert source_of_it.host_path == "/volumes/default/web.0.1/main"
    assert running.config.env_vars["CONFIG_SETTINGS"] == "/run/orchestrion/config/settings"


async def test_a_health_check_that_refers_to_a_map_is_the_same_after_a_restart_of_the_orchestrator(
    stage: Stage,
) -> None:
    source, _ = await with_config(stage)
    source.maps["settings"] = {"path": "/ready"}
    check = HealthCheck(probe=ExecProbe(command=("check", "${READY}")))
    uses = (ConfigUse(name="settings", env={"READY": "path"}, files=False),)
    await stage.orchestrator.apply([service(containers=(reading(config=uses, health=check),))])
    await trio.sleep(5)
    await stage.end()
    stage.prober.tried.clear()
    await stage.start()
    await trio.sleep(20)
    assert {each.probe for each in stage.prober.tried} == {ExecProbe(command=("check", "/ready"))}


def modes(root: Path) -> dict[str, int]:
    return {str(path.relative_to(root)): stat.S_IMODE(path.stat().st_mode) for path in sorted(root.rglob("*"))}


async def test_files_are_their_users_alone_and_replace_those_before(tmp_path: Path) -> None:
    volumes = DirectoryVolumes(tmp_path)
    config = ContainerConfig(name="main", command=("run",))
    place = Path(await volumes.write_files(OWNER, config, {"secrets/db": {"password": "hush", "old": "x"}}))
    place = Path(await volumes.write_files(OWNER, config, {"secrets/db": {"password": "new"}, "config/a": {}}))
    assert modes(place) == {"config": 0o700, "config/a": 0o700, "secrets": 0o700, "secrets/db": 0o700} | {
        "secrets/db/password": 0o600
    }
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert (place / "secrets/db/password").read_text() == "new"
    await volumes.remove_files(OWNER)
    await volumes.remove_files(OWNER)
    assert not place.exists()


async def test_files_go_with_the_directories_of_the_instance(tmp_path: Path) -> None:
    volumes = DirectoryVolumes(tmp_path)
    config = ContainerConfig(name="main", command=("run",))
    place = Path(await volumes.write_files(OWNER, config, {"secrets/db": {"password": "hush"}}))
    await volumes.retain_instances(lambda: {OWNER})
    assert place.exists()
    await volumes.retain_instances(frozenset)
    assert not place.exists()
    place = Path(await volumes.write_files(OWNER, config, {"secrets/db": {"password": "hush"}}))
    await volumes.release(OWNER)
    assert not place.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
async def test_files_are_those_of_the_user_that_the_container_runs_as(tmp_path: Path) -> None:
    config = ContainerConfig(name="main", command=("run",), user="12345:12345")
    place = Path(await DirectoryVolumes(tmp_path).write_files(OWNER, config, {"secrets/db": {"password": "hush"}}))
    assert {path.stat().st_uid for path in (place, *place.rglob("*"))} == {12345}


def test_a_template_without_config_is_the_same_as_ever() -> None:
    definition = WorkloadDefinition(metadata=service().metadata, containers=(container(),))
    assert definition.containers[0].config == definition.containers[0].secrets == ()
