"""Whether an owner has to change what it owns by the way of everybody else."""

from __future__ import annotations

from pathlib import Path

import pytest
from orchestrion.control_plane import HttpControl, has_rules
from orchestrion.control_plane._objects.document import Document, ObjectMetadata
from orchestrion.control_plane._objects.kinds import KINDS, NAMESPACE, NODE, RESOURCE_QUOTA, Kind
from orchestrion.control_plane._objects.stored import StoredObject, object_key
from orchestrion.control_plane._rules import AUDIT_FOLDER, SAYING
from orchestrion.control_plane._service.workload_fields import PREFIX
from orchestrion.control_plane._web.assembly import embedded
from orchestrion.mocks import MemoryState, MemoryStore

from .api_stage import api_served
from .test_control_plane_deferred import served, web

SILENT = {
    "workloads",
    "instances",
    "nodes",
    "events",
    "configmaps",
    "secrets",
    "roles",
    "rolebindings",
    "customkinds",
}


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(MemoryState())


def test_of_each_kind_it_is_known_whether_it_has_a_say() -> None:
    assert {kind.plural for kind in KINDS} == {*SAYING, *SILENT}


async def test_where_nothing_is_there_is_no_rule(store: MemoryStore, tmp_path: Path) -> None:
    assert not await has_rules(store, tmp_path)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.plural in SAYING], ids=lambda kind: kind.plural)
async def test_an_object_that_has_a_say_is_one(kind: Kind, store: MemoryStore, tmp_path: Path) -> None:
    await put(store, kind, "team", {})
    assert await has_rules(store, tmp_path)


async def test_whose_word_a_field_is_is_one(store: MemoryStore, tmp_path: Path) -> None:
    await store.put(f"{PREFIX}default/web", b"{}")
    assert await has_rules(store, tmp_path)


async def test_an_audit_log_is_one(store: MemoryStore, tmp_path: Path) -> None:
    (tmp_path / AUDIT_FOLDER).mkdir()
    assert await has_rules(store, tmp_path)


async def test_what_a_server_makes_of_itself_is_none(store: MemoryStore, tmp_path: Path) -> None:
    await put(store, NAMESPACE, "default", {})
    await put(store, NODE, "n1", {"name": "n1"})
    assert not await has_rules(store, tmp_path)
    await put(store, NAMESPACE, "default", {"images": {"allow": ["*"]}})
    assert await has_rules(store, tmp_path)


async def test_a_namespace_beside_the_one_that_is_always_there_is_one(store: MemoryStore, tmp_path: Path) -> None:
    await put(store, NAMESPACE, "default", {})
    await put(store, NAMESPACE, "shop", {})
    assert await has_rules(store, tmp_path)


async def test_what_is_written_at_a_socket_is_found(socket_path: Path, tmp_path: Path) -> None:
    tmp_path.joinpath("server").mkdir(mode=0o700)
    async with api_served() as api:
        store, folder = api.orchestrator.store, tmp_path / "server"
        opened = served(api.orchestrator, socket_path, lambda streams: embedded(api.orchestrator, folder, streams))
        async with opened as client:
            await api.orchestrator.apply([web(1)])
            await HttpControl(socket_path).stop("web")
            assert not await has_rules(store, folder)
            quota = {"metadata": {"name": "few"}, "spec": {"hard": {"instances": 2}}}
            await client.ask("POST", f"/api/v1/namespaces/default/{RESOURCE_QUOTA.plural}", quota)
            assert await has_rules(store, folder)


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "none"])
async def test_the_audit_log_that_a_server_has_kept_goes_on(kept: bool, socket_path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "server"
    folder.mkdir(mode=0o700)
    if kept:
        (folder / AUDIT_FOLDER).mkdir(mode=0o700)
    async with api_served() as api:
        opened = served(api.orchestrator, socket_path, lambda streams: embedded(api.orchestrator, folder, streams))
        await api.orchestrator.apply([web(1)])
        async with opened:
            await HttpControl(socket_path).stop("web")
    assert (folder / AUDIT_FOLDER).exists() is kept
    lines = [line for path in folder.glob(f"{AUDIT_FOLDER}/*.jsonl") for line in path.read_text().splitlines()]
    assert ['"via":"unix"' in line and '"name":"web"' in line for line in lines] == [True] * kept


async def put(store: MemoryStore, kind: Kind, name: str, spec: dict[str, object]) -> None:
    metadata = ObjectMetadata(name=name, namespace="default" if kind.namespaced else "")
    document = Document(kind=kind.name, metadata=metadata, spec=spec)
    key = object_key(kind, metadata.namespace, name)
    await store.put(key, StoredObject(document=document).put(key).value)
