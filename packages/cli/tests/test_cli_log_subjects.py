"""Output of workloads that are chosen by labels, while workloads come, go and change."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest
import trio
from attrs import define, field
from orchestrion.cli import _log_subjects
from orchestrion.cli._log_subjects import follow_workloads
from orchestrion.cli._objects import Listed
from orchestrion.shared_types import NotFound, WorkloadNotFound
from trio.testing import wait_all_tasks_blocked


def workload(name: str, uid: str = "1") -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": uid}}


@define
class Server:
    """Lists workloads, and tells of changes as a test says."""

    there: dict[str, Any] = field(factory=lambda: {"web": workload("web")})
    changes: Any = field(factory=lambda: trio.open_memory_channel[Any](10))
    asked: list[Any] = field(factory=list)

    async def kind(self, text: str, /) -> str:
        return text

    async def list(self, kind: str, /, *, labels: str | None = None) -> Listed:
        self.asked.append(labels)
        return Listed(list(self.there.values()), 5)

    async def get(self, kind: str, name: str, /) -> Any:
        if name not in self.there:
            raise NotFound("gone")
        return self.there[name]

    async def watch(
        self, kind: str, since: str, /, *, labels: str | None = None, known: Sequence[Any] = ()
    ) -> AsyncGenerator[tuple[str, Any], None]:
        self.asked.append((since, labels))
        async for change in self.changes[1]:
            yield change

    async def tell(self, what: str, item: Any) -> None:
        await self.changes[0].send((what, item))
        await wait_all_tasks_blocked()


@define
class Screen:
    """What is being shown; a workload's output ends when a test says so."""

    begun: list[str] = field(factory=list)
    ended: list[str] = field(factory=list)
    ends: dict[str, trio.Event] = field(factory=dict)
    missing: set[str] = field(factory=set)

    async def show(self, name: str) -> None:
        if name in self.missing:
            raise WorkloadNotFound("gone")
        self.begun.append(name)
        self.ends[name] = trio.Event()
        try:
            await self.ends[name].wait()
        finally:
            self.ended.append(name)


@pytest.fixture
async def following(monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery) -> tuple[Server, Screen]:
    server, screen = Server(), Screen()
    monkeypatch.setattr(_log_subjects, "_objects_of", lambda *_: server)
    control: Any = None
    nursery.start_soon(follow_workloads, control, "default", "app=web", screen.show)
    await wait_all_tasks_blocked()
    return server, screen


async def test_what_is_there_is_shown_and_what_comes(following: tuple[Server, Screen]) -> None:
    server, screen = following
    assert (screen.begun, server.asked) == (["web"], ["app=web", ("5", "app=web")])
    await server.tell("ADDED", workload("api"))
    await server.tell("MODIFIED", workload("web"))
    assert (screen.begun, screen.ended) == (["web", "api"], [])


async def test_what_is_removed_is_shown_to_its_end(following: tuple[Server, Screen]) -> None:
    server, screen = following
    gone = server.there.pop("web")
    await server.tell("DELETED", gone)
    assert screen.ended == []


async def test_what_loses_its_labels_is_shown_no_longer(following: tuple[Server, Screen]) -> None:
    server, screen = following
    await server.tell("DELETED", workload("web"))
    assert screen.ended == ["web"]
    await server.tell("ADDED", workload("web"))
    assert screen.begun == ["web", "web"]


async def test_what_was_shown_to_its_end_is_not_shown_again(following: tuple[Server, Screen]) -> None:
    server, screen = following
    screen.ends["web"].set()
    await wait_all_tasks_blocked()
    await server.tell("ADDED", workload("web"))  # as it comes when a watch begins anew
    await server.tell("MODIFIED", workload("web"))
    assert (screen.begun, screen.ended) == (["web"], ["web"])


async def test_another_one_of_the_same_name_replaces_it(following: tuple[Server, Screen]) -> None:
    server, screen = following
    await server.tell("ADDED", workload("web", "2"))
    assert (screen.begun, screen.ended) == (["web", "web"], ["web"])


async def test_what_is_gone_before_it_is_shown_keeps_nobody_from_the_others(
    following: tuple[Server, Screen],
) -> None:
    server, screen = following
    screen.missing.add("brief")
    await server.tell("ADDED", workload("brief"))
    await server.tell("ADDED", workload("api"))
    assert screen.begun == ["web", "api"]
