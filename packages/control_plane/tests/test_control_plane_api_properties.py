"""Rules that hold whatever is written in whatever order: of pages, and of parts that managers apply."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from orchestrion.control_plane._history.history import History
from orchestrion.control_plane._objects.kinds import CONFIG_MAP, NAMESPACE
from orchestrion.control_plane._service.intent import Intent
from orchestrion.control_plane._service.reading import PageStart, Reader
from orchestrion.control_plane._service.writing import Writer
from orchestrion.mocks import MemoryState, MemoryStore
from orchestrion.orchestrator_core import trio_time
from orchestrion.shared_types import Conflict

NAMES = st.sampled_from("abcdefgh")
MANAGERS = st.sampled_from(["git", "hand", "scaler"])
PARTS = st.dictionaries(st.sampled_from("xyz"), st.sampled_from("12"), max_size=3)


def stage() -> tuple[MemoryStore, Writer]:
    store = MemoryStore(MemoryState())
    return store, Writer(store, now=trio_time)


async def toggle(reader: Reader, writer: Writer, name: str) -> None:
    """Make an object, or remove it where it is there."""
    listed = await reader.list(CONFIG_MAP, "n")
    if any(item.document.metadata.name == name for item in listed.items):
        await writer.remove(CONFIG_MAP, "n", name, Intent())
    else:
        await writer.create(CONFIG_MAP, "n", {"metadata": {"name": name}}, Intent())


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(st.sets(NAMES), st.lists(NAMES, max_size=8), st.integers(1, 4))
def test_all_pages_are_of_the_revision_of_the_first(there: set[str], meanwhile: Sequence[str], limit: int) -> None:
    async def run() -> None:
        store, writer = stage()
        await writer.create(NAMESPACE, "", {"metadata": {"name": "n"}}, Intent())
        history = History(store, lambda *_: None)
        reader = Reader(store, history, lambda *_: None)
        async with trio.open_nursery() as nursery:
            await nursery.start(history.run)
            await look(reader, writer)
            nursery.cancel_scope.cancel()

    async def look(reader: Reader, writer: Writer) -> None:
        for name in sorted(there):
            await toggle(reader, writer, name)
        writes = list(meanwhile)
        page = await reader.list(CONFIG_MAP, "n", limit=limit)
        found, revision = list(page.items), page.revision
        while page.last_key:
            if writes:
                await toggle(reader, writer, writes.pop())
            page = await reader.list(CONFIG_MAP, "n", limit=limit, start=PageStart(page.last_key, page.revision))
            found += page.items
            assert page.revision == revision
        assert [item.document.metadata.name for item in found] == sorted(there)

    trio.run(run)


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(MANAGERS, PARTS, st.booleans()), max_size=8))
def test_an_object_is_what_its_managers_say_and_the_last_who_forces_wins(
    steps: Sequence[tuple[str, dict[str, str], bool]],
) -> None:
    async def run() -> None:
        _, writer = stage()
        await writer.create(NAMESPACE, "", {"metadata": {"name": "n"}}, Intent())
        said: dict[str, dict[str, str]] = {}
        for manager, part, force in steps:
            others = {key: value for who, parts in said.items() if who != manager for key, value in parts.items()}
            contradicts = any(others.get(key, value) != value for key, value in part.items())
            intent = Intent(manager=manager, force=force)
            try:
                document, _ = await writer.apply(CONFIG_MAP, "n", "a", {"spec": {"data": part}}, intent)
            except Conflict:
                assert contradicts
                assert not force
                continue
            assert force or not contradicts
            for who, parts in said.items():
                if who != manager:
                    said[who] = {key: value for key, value in parts.items() if part.get(key, value) == value}
            said[manager] = part
            assert document.spec.get("data", {}) == {
                key: value for parts in said.values() for key, value in parts.items()
            }
            again, _ = await writer.apply(CONFIG_MAP, "n", "a", {"spec": {"data": part}}, intent)
            assert again == document

    trio.run(run)
