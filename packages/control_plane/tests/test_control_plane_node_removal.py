"""Nodes that go while something else is written of them."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from orchestrion.control_plane._objects.kinds import NODE
from orchestrion.control_plane._objects.stored import object_key
from orchestrion.mocks import MemoryState, MemoryStore, MockClusterManager
from orchestrion.shared_types import NodeId
from orchestrion.store_interface import Delete
from trio.testing import MockClock, wait_all_tasks_blocked

from .api_stage import Api, api_served
from .test_control_plane_node_marks import FIRST, SECOND
from .test_control_plane_node_reports import SKEWED, report

OBJECT = object_key(NODE, "", "node-00000")


class Halting(MemoryStore):
    """A store where a task waits that is about to do something with the object of the first node.

    Attributes:
        what: "get" or "put".
        times: At which time that is done it waits; 0 is at none.
        task: What is in the name of the task.
        halted: It waits.
        goes_on: It goes on.
    """

    def __init__(self) -> None:
        super().__init__(MemoryState())
        self.what = self.task = ""
        self.times = 0
        self.halted = trio.Event()
        self.goes_on = trio.Event()

    async def get(self, key: str, *args: Any, **options: Any) -> Any:
        """Wait perhaps, and read."""
        await self._perhaps_halt("get", key)
        return await super().get(key, *args, **options)

    async def put(self, key: str, *args: Any, **options: Any) -> Any:
        """Wait perhaps, and write."""
        await self._perhaps_halt("put", key)
        return await super().put(key, *args, **options)

    async def _perhaps_halt(self, what: str, key: str) -> None:
        if self.times and (what, key) == (self.what, OBJECT) and self.task in trio.lowlevel.current_task().name:
            self.times -= 1
            if not self.times:
                self.halted.set()
                await self.goes_on.wait()


def leave(api: Api) -> None:
    """Let the first node leave the cluster."""
    cluster = api.orchestrator.cluster
    assert isinstance(cluster, MockClusterManager)
    cluster.remove_node(NodeId("node-00000"))


async def names(api: Api) -> list[str]:
    """Return the nodes that are shown."""
    return [each["metadata"]["name"] for each in (await api.client.ask("GET", "/api/v1/nodes")).json["items"]]


@pytest.mark.parametrize("gone", ["removed", "left"])
@pytest.mark.parametrize("times", [1, 2])
async def test_a_node_that_goes_while_its_silence_is_written_is_gone_and_all_else_goes_on(
    times: int, gone: str, autojump_clock: MockClock
) -> None:
    store = Halting()
    async with api_served(store=store) as api:
        await trio.sleep(1)
        await api.client.ask("POST", f"{FIRST}/drain", {"reason": "sold"})
        await trio.sleep(5)
        await report(api, SKEWED, seconds=5)
        store.what, store.times, store.task = "get", times, "NodeReports.run"
        with trio.fail_after(60):
            await store.halted.wait()
        async with trio.open_nursery() as nursery:
            if gone == "left":
                leave(api)
            else:
                nursery.start_soon(api.client.ask, "DELETE", FIRST)
            await wait_all_tasks_blocked()
            store.goes_on.set()
        await trio.sleep(10)
        assert await names(api) == ["node-00001"]
        assert not api.orchestrator.world.reports
        assert (await api.client.ask("PATCH", SECOND, {"metadata": {"labels": {"disk": "fast"}}})).status == 200


async def test_a_node_that_leaves_while_it_is_written_down_anew_is_gone(autojump_clock: MockClock) -> None:
    store = Halting()
    async with api_served(store=store) as api, trio.open_nursery() as nursery:
        await trio.sleep(1)
        await store.transaction([], [Delete(OBJECT)])
        store.what, store.times = "put", 1
        nursery.start_soon(api.objects.marking.show, NodeId("node-00000"))
        with trio.fail_after(60):
            await store.halted.wait()
        leave(api)
        await trio.sleep(1)
        store.goes_on.set()
        await trio.sleep(1)
        assert await names(api) == ["node-00001"]


async def test_of_nodes_that_are_removed_at_the_same_time_the_last_one_stays(api: Api) -> None:
    await trio.sleep(1)
    for node in (FIRST, SECOND):
        assert (await api.client.ask("POST", f"{node}/drain", {"reason": "sold"})).status == 200
    await trio.sleep(30)
    answers: list[int] = []

    async def remove(node: str) -> None:
        answers.append((await api.client.ask("DELETE", node)).status)

    async with trio.open_nursery() as nursery:
        for node in (FIRST, SECOND):
            nursery.start_soon(remove, node)
    assert sorted(answers) == [200, 409]
    await trio.sleep(1)
    assert len(await names(api)) == 1
