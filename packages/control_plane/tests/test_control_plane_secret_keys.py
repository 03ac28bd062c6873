"""The key of secrets is replaced while a server is at work, and whenever that ends all of them can be read."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define, field
from orchestrion.control_plane import StoredConfig
from orchestrion.control_plane._identity.private_files import write_private
from orchestrion.control_plane._identity.sealing import Sealer
from orchestrion.control_plane._objects.document import Document
from orchestrion.control_plane._objects.kinds import NAMESPACE, SECRET
from orchestrion.control_plane._objects.stored import object_key, object_of
from orchestrion.control_plane._service.intent import Intent, Review
from orchestrion.control_plane._service.secret_keys import SecretKeys
from orchestrion.control_plane._service.writing import Writer
from orchestrion.mocks import MemoryState, MemoryStore
from orchestrion.store_interface import StoreUnavailable

NAMES = ("a", "b", "c")


def writer_of(keys: SecretKeys) -> Writer:
    return Writer(keys.store, seal=keys.seal, unseal=keys.unseal, sealed_by=keys.unchanged)


def secret(name: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"data": data or {"password": f"text of {name}"}}}


async def make(store: MemoryStore, directory: Path) -> SecretKeys:
    """Return the keys of a store with some secrets."""
    keys = await SecretKeys.open(store, directory)
    writer = writer_of(keys)
    await writer.create(NAMESPACE, "", {"metadata": {"name": "default"}}, Intent())
    for name in NAMES:
        await writer.create(SECRET, "default", secret(name), Intent())
    return keys


async def texts(store: MemoryStore, directory: Path) -> dict[str, str]:
    """Return what a container would be given."""
    config = StoredConfig(store, directory)
    return {name: (await config.read_secret("default", name))["password"] for name in NAMES}


ALL = {name: f"text of {name}" for name in NAMES}


async def sealed(store: MemoryStore, name: str) -> str:
    entry = (await store.get(object_key(SECRET, "default", name))).entry
    assert entry is not None
    return object_of(entry).sealed["password"]


async def run_for(keys: SecretKeys, seconds: float) -> None:
    with trio.move_on_after(seconds):
        await keys.run()


async def replaced(keys: SecretKeys) -> None:
    """Replace the key, and wait for the end of it."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keys.run)
        await keys.rotate()
        await trio.sleep(60)
        nursery.cancel_scope.cancel()


async def test_a_new_key_takes_the_place_of_the_old_one(tmp_path: Path, autojump_clock: object) -> None:
    store = MemoryStore(MemoryState())
    keys = await make(store, tmp_path)
    first, before = keys.current, object_of((await store.get(object_key(SECRET, "default", "a"))).entry)  # type: ignore[arg-type] # it was made
    await replaced(keys)
    assert keys.ids == (keys.current,) == Sealer.open(tmp_path).key_ids
    assert keys.current != first
    assert await texts(store, tmp_path) == ALL
    for name in NAMES:
        assert keys.current in await sealed(store, name)
    after = object_of((await store.get(object_key(SECRET, "default", "a"))).entry)  # type: ignore[arg-type] # it is there
    assert after.document.metadata.generation == before.document.metadata.generation
    assert after.document.metadata.updated_at == before.document.metadata.updated_at


async def test_while_there_is_one_key_nothing_is_written(tmp_path: Path, autojump_clock: object) -> None:
    store = MemoryStore(MemoryState())
    keys = await make(store, tmp_path)
    written = (await store.get("/")).revision
    await run_for(keys, 3_600)
    await run_for(await SecretKeys.open(store, tmp_path), 3_600)
    assert (await store.get("/")).revision == written


@define(eq=False)
class Kill:
    """Ends a server as a kill would, at the n-th of its calls of the store or writes of the file."""

    at: int
    after: bool
    calls: int = 0
    scope: trio.CancelScope = field(factory=trio.CancelScope)
    dead: bool = False

    def strikes(self) -> bool:
        self.calls += 1
        return self.calls == self.at


class Killed(Exception):
    """The server is no more."""


@define(eq=False)
class Mortal:
    """A store that a server uses until it is killed."""

    store: MemoryStore
    kill: Kill

    def __getattr__(self, name: str) -> Any:
        call = getattr(self.store, name)

        async def mortal(*given: Any, **more: Any) -> Any:
            if self.kill.dead:
                raise Killed
            strikes = self.kill.strikes()
            if strikes and not self.kill.after:
                self.kill.dead = True
                raise Killed
            found = await call(*given, **more)
            if strikes:
                self.kill.dead = True
                raise Killed
            return found

        return mortal


@pytest.mark.parametrize("after", [False, True], ids=["before-it-is-done", "after-it-was-done"])
async def test_a_kill_at_any_step_leaves_all_secrets_readable_and_is_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bool, autojump_clock: object
) -> None:
    at, survived = 0, False
    while not survived:
        at += 1
        directory, store = tmp_path / f"{at}", MemoryStore(MemoryState())
        directory.mkdir()
        first = (await make(store, directory)).current
        kill = Kill(at, after)

        def dying(path: Path, data: bytes, kill: Kill = kill) -> None:
            if kill.dead:
                raise Killed
            strikes = kill.strikes()
            if strikes and not kill.after:
                kill.dead = True
                raise Killed
            write_private(path, data)
            if strikes:
                kill.dead = True
                raise Killed

        mortal: Any = Mortal(store, kill)
        with monkeypatch.context() as patch, suppress(Killed, ExceptionGroup):
            patch.setattr("orchestrion.control_plane._identity.sealing.write_private", dying)
            await replaced(await SecretKeys.open(mortal, directory))
        survived = not kill.dead
        assert await texts(store, directory) == ALL, at
        keys = await SecretKeys.open(store, directory)
        await writer_of(keys).change(SECRET, "default", "a", lambda _: secret("a", password="text of a"), Intent())
        await run_for(keys, 60)
        assert keys.ids == (keys.current,), at
        assert await texts(store, directory) == ALL, at
    assert keys.current != first
    assert at > 8


async def test_what_is_written_while_the_key_is_replaced_is_sealed_with_the_new_one(
    tmp_path: Path, autojump_clock: object
) -> None:
    store = MemoryStore(MemoryState())
    keys = await make(store, tmp_path)
    writer, rotations = writer_of(keys), 0

    async def slow(review: Review) -> Document:
        nonlocal rotations
        if rotations < 1:
            rotations += 1
            await replaced(keys)
        return review.document

    writer.admit = slow
    for act in (
        lambda: writer.create(SECRET, "default", secret("d", password="1"), Intent()),
        lambda: writer.change(SECRET, "default", "a", lambda _: secret("a", password="2"), Intent()),
        lambda: writer.apply(SECRET, "default", "b", secret("b", password="3"), Intent()),
        lambda: writer.apply(SECRET, "default", "e", secret("e", password="4"), Intent()),
    ):
        rotations = 0
        await act()
    config = StoredConfig(store, tmp_path)
    found = [(await config.read_secret("default", name))["password"] for name in "dabec"]
    assert found == ["1", "2", "3", "4", "text of c"]


async def test_who_reads_a_secret_while_its_key_goes_gets_its_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: object
) -> None:
    store = MemoryStore(MemoryState())
    keys = await make(store, tmp_path)
    config, get, rotated = StoredConfig(store, tmp_path), store.get, False

    async def overtaken(key: str, /) -> Any:
        nonlocal rotated
        found = await get(key)
        if key == object_key(SECRET, "default", "a") and not rotated:
            rotated = True
            await replaced(keys)
        return found

    monkeypatch.setattr(store, "get", overtaken)
    assert await config.read_secret("default", "a") == {"password": "text of a"}


async def test_a_secret_that_opens_no_longer_keeps_the_old_key_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, autojump_clock: object
) -> None:
    store = MemoryStore(MemoryState())
    keys = await make(store, tmp_path)
    key = object_key(SECRET, "default", "b")
    entry = (await store.get(key)).entry
    assert entry is not None
    kept = json.loads(entry.value)
    kept["sealed"]["password"] = await sealed(store, "a")
    await store.put(key, json.dumps(kept).encode())
    with caplog.at_level(logging.ERROR, "orchestrion.control_plane"):
        await replaced(keys)
    assert list(keys.ids)[1:] == [keys.current]
    assert "default/b/password" in caplog.text
    config = StoredConfig(store, tmp_path)
    assert await config.read_secret("default", "c") == {"password": "text of c"}
    await writer_of(keys).remove(SECRET, "default", "b", Intent())
    await run_for(keys, 60)
    assert list(keys.ids) == [keys.current]


async def test_a_store_that_does_not_answer_for_a_while_holds_it_up_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: object
) -> None:
    store = MemoryStore(MemoryState())
    keys = await make(store, tmp_path)

    async def fails(*_: Any, **__: Any) -> Any:
        await trio.lowlevel.checkpoint()
        raise StoreUnavailable("not now")

    with monkeypatch.context() as patch:
        patch.setattr(store, "put", fails)
        with pytest.raises(StoreUnavailable):
            await keys.rotate()
    assert await texts(store, tmp_path) == ALL
    await run_for(keys, 60)
    assert len(keys.ids) == 1
    await writer_of(keys).create(SECRET, "default", secret("d"), Intent())
    assert await texts(store, tmp_path) == ALL
