"""Watches over HTTP: bookmarks, and what a stream goes on with."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import trio
import trio.testing
from orchestrion.control_plane._web.watching import BOOKMARK_SECONDS

from .api_stage import Api

SPACE = "/api/v1/namespaces/default"
MAPS = f"{SPACE}/configmaps"


def config(name: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"data": data}}


async def read_into(found: list[tuple[float, dict[str, Any]]], chunks: AsyncIterator[bytes]) -> None:
    async for chunk in chunks:
        found.extend((trio.current_time(), json.loads(line)) for line in chunk.splitlines())


async def test_a_watch_of_what_is_quiet_is_told_how_far_all_is_known_whatever_others_do(api: Api) -> None:
    await api.client.ask("POST", MAPS, config("quiet"))
    found = list[tuple[float, dict[str, Any]]]()
    async with api.client.stream("GET", f"{MAPS}?watch=true") as (_, _, chunks), trio.open_nursery() as nursery:
        nursery.start_soon(read_into, found, chunks)
        for number in range(12):
            await api.client.ask("POST", f"{SPACE}/secrets", config(f"busy{number}"))
            await trio.sleep(BOOKMARK_SECONDS / 2)
        nursery.cancel_scope.cancel()
    marks = [event["id"] for _, event in found if event["type"] == "BOOKMARK"]
    assert len(marks) >= 5
    assert int(marks[-1]) > int(marks[0])


async def test_no_bookmark_is_ahead_of_an_event(api: Api) -> None:
    """One that comes while events are gathered says nothing of them."""
    await api.client.ask("POST", MAPS, config("one"))
    found = list[tuple[float, dict[str, Any]]]()
    async with api.client.stream("GET", f"{MAPS}?watch=true") as (_, _, chunks), trio.open_nursery() as nursery:
        nursery.start_soon(read_into, found, chunks)
        await trio.testing.wait_all_tasks_blocked()
        await trio.sleep_until(found[-1][0] + BOOKMARK_SECONDS - 0.01)
        await api.client.ask("PATCH", f"{MAPS}/one", {"spec": {"data": {"k": "v"}}})
        await trio.sleep(BOOKMARK_SECONDS * 2)
        nursery.cancel_scope.cancel()
    ids = [float(event["id"]) for _, event in found[1:]]
    changed = [event["type"] for _, event in found].index("MODIFIED")
    assert all(mark < int(ids[changed - 1]) for mark in ids[: changed - 1])
    assert len(ids) > changed


async def test_a_watch_goes_on_from_no_page_of_a_list(api: Api) -> None:
    for name in ("a", "b"):
        await api.client.ask("POST", MAPS, config(name))
    token = (await api.client.ask("GET", f"{MAPS}?limit=1")).json["metadata"]["continue"]
    refused = await api.client.ask("GET", f"{MAPS}?watch=true&continue={token}&timeout_seconds=1")
    assert (refused.status, refused.json["code"]) == (400, "config-invalid")
    assert "continue: " in refused.json["detail"]
    assert "since=REVISION" in refused.json["remedy"]
