"""Who follows what changes learns all of it, or that something is missing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from attrs import define, field
from orchestrion.control_plane._history.event import ALL_SEEN, ObjectEvent, Position, parse_position
from orchestrion.control_plane._history.history import History
from orchestrion.control_plane._history.projection import ObjectName
from orchestrion.control_plane._objects.document import Document, ObjectMetadata
from orchestrion.control_plane._objects.stored import StoredObject
from orchestrion.control_plane._service.following import ObjectFollower
from orchestrion.mocks import Fault, FaultKind, MemoryState, MemoryStore
from orchestrion.orchestrator_core import WorkloadSpec
from orchestrion.shared_types import Compacted, ConfigInvalid, to_json
from orchestrion.store_interface import Revision


@define
class Broken:
    """Calls of some methods of a store fail as long as they are named here."""

    methods: set[str] = field(factory=set)

    def next_fault(self, method: str, /) -> Fault | None:
        """Fail the call or not."""
        return Fault(FaultKind.FAIL) if method in self.methods else None


@define(eq=False)
class Stage:
    """A store, and a history of it."""

    store: MemoryStore
    broken: Broken
    phases: dict[str, str] = field(factory=dict)

    def history(self) -> History:
        """Make a history, as a program that begins does."""
        return History(self.store, lambda _, name: {"phase": self.phases.get(name, "Pending")})

    async def put(self, name: str, **spec: Any) -> Revision:
        """Write a config map."""
        document = Document(kind="ConfigMap", metadata=ObjectMetadata(name=name, namespace="default"), spec=spec)
        return await self.store.put(f"/object/configmaps/default/{name}", StoredObject(document=document).put("").value)

    async def put_workload(self, name: str, make_definition: Any) -> Revision:
        """Write a workload."""
        spec = to_json(WorkloadSpec(definition=make_definition(name), template_generation=1))
        return await self.store.put(f"/workload/default/{name}/spec", spec)

    async def forget_all(self) -> None:
        """Let the store forget what was before."""
        await self.store.compact((await self.store.get("/")).revision)


@pytest.fixture
def past() -> Stage:
    """Give an empty store, on a clock that jumps."""
    broken = Broken()
    return Stage(MemoryStore(MemoryState(), faults=broken), broken)


@asynccontextmanager
async def running(history: History) -> AsyncIterator[History]:
    async with trio.open_nursery() as nursery:
        await nursery.start(history.run)
        nursery.start_soon(history.wake_followers)
        yield history
        nursery.cancel_scope.cancel()


async def miss(past: Stage, history: History) -> None:
    """Let a history miss what happens from here on, and the store forget it, until it is mended."""
    await trio.testing.wait_all_tasks_blocked()
    past.broken.methods = {"watch", "next"}
    await history.wait_for(await past.put("seen-last"))
    await past.put("missed")
    await past.put("seen-last", other=1)
    await past.forget_all()


def told(events: Iterable[ObjectEvent]) -> list[tuple[str, str]]:
    """Return what events say in short."""
    return [(event.type.value, event.name) for event in events]


def phases(events: Iterable[ObjectEvent]) -> list[tuple[str, str]]:
    """Return the phases that events tell of."""
    return [(event.name, event.item.document.status["phase"]) for event in events]


# -- gaps --------------------------------------------------------------------------------------------------------------


async def test_who_had_seen_all_is_told_of_a_gap(past: Stage) -> None:
    await past.put("first")
    async with running(past.history()) as history, history.follow(history.position) as follower:
        await miss(past, history)
        follower.behind()
        count = history.count
        past.broken.methods = set()
        await follower.wait()
        with pytest.raises(Compacted):
            follower.behind()
        assert history.find("configmaps", "default", "missed") is not None
        assert history.count >= count


async def test_who_listens_is_told_what_is_other_after_a_gap(past: Stage) -> None:
    await past.put("first")
    heard = list[ObjectEvent]()
    async with running(past.history()) as history:
        await miss(past, history)
        await past.store.delete("/object/configmaps/default/first")
        await past.forget_all()
        history.listen(heard.append)
        past.broken.methods = set()
        await trio.sleep(5)
    assert sorted(told(heard)) == [("ADDED", "missed"), ("DELETED", "first"), ("MODIFIED", "seen-last")]


async def test_a_store_that_does_not_answer_after_a_gap_is_asked_again(past: Stage) -> None:
    await past.put("first")
    async with running(past.history()) as history:
        await miss(past, history)
        past.broken.methods = {"get", "list"}
        await trio.sleep(5)
        past.broken.methods = set()
        await history.wait_for(await past.put("last"))
        assert history.find("configmaps", "default", "missed") is not None


# -- positions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["0", "120", "120.1", "120-57"])
def test_a_position_is_what_it_says(text: str) -> None:
    assert str(parse_position(text)) == text


@pytest.mark.parametrize("text", ["", "a", "1.", "1-", "1.2-3", "-1", "1.2.3", "٣", "1" * 19, "1-" + "1" * 19])
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(ConfigInvalid):
        parse_position(text)


async def test_who_is_ahead_of_the_history_is_told_nothing_twice(past: Stage) -> None:
    """A list shows what the store has, which is before the history has it."""
    async with running(past.history()) as history:
        revision = await past.put("listed")
        assert history.revision < revision
        async with history.follow(Position(revision, ALL_SEEN)) as follower:
            await past.put("after")
            await trio.sleep(1)
            assert told(follower.behind()) == [("ADDED", "after")]


async def test_a_position_after_all_there_is_belongs_to_another_store(past: Stage) -> None:
    await past.put("first")
    async with running(past.history()) as history:
        with pytest.raises(Compacted, match="of another store"):
            async with history.follow(Position(999, ALL_SEEN)):
                raise AssertionError


async def test_a_follower_is_where_it_has_taken_all(past: Stage) -> None:
    async with running(past.history()) as history, history.follow(history.position) as follower:
        began = follower.position
        await history.wait_for(await past.put("one"))
        assert follower.position == began
        (event,) = follower.behind()
        assert event.position is not None
        assert follower.position > event.position


# -- what is derived ---------------------------------------------------------------------------------------------------


async def test_what_is_derived_anew_after_a_list_is_told(past: Stage, make_definition: Any) -> None:
    """That nothing was written since does not mean that nothing is new."""
    async with running(past.history()) as history:
        listed = await past.put_workload("web", make_definition)
        await history.wait_for(listed)
        past.phases["web"] = "Healthy"
        history.refresh("default", "web")
        async with history.follow(Position(listed, ALL_SEEN)) as follower:
            assert phases(follower.behind()) == [("web", "Healthy")]


async def test_what_was_told_of_what_is_derived_is_not_told_again(past: Stage, make_definition: Any) -> None:
    async with running(past.history()) as history:
        await history.wait_for(await past.put_workload("web", make_definition))
        async with history.follow(history.position) as follower:
            for phase in ("Starting", "Healthy", "Starting"):
                past.phases["web"] = phase
                history.refresh("default", "web")
            events = follower.behind()
        assert [str(event.position) for event in events] == sorted({str(event.position) for event in events})
        second = parse_position(str(events[1].position))
        async with history.follow(second) as follower:
            assert phases(follower.behind()) == [("web", "Starting")]
        async with history.follow(parse_position(str(follower.position))) as follower:
            assert follower.behind() == []


async def test_another_program_tells_the_status_once_more(past: Stage, make_definition: Any) -> None:
    """What had changed while no program ran, or was told of by no event, shows nowhere else."""
    async with running(past.history()) as history:
        for name in ("web", "db"):
            await history.wait_for(await past.put_workload(name, make_definition))
        positions = [history.position, Position(history.revision, ALL_SEEN)]
    past.phases["web"] = "Healthy"
    async with running(past.history()) as history:
        for position in positions:
            async with history.follow(position) as follower:
                assert phases(follower.behind()) == [("db", "Pending"), ("web", "Healthy")]
                assert follower.behind() == []
                going_on = follower.position
            async with history.follow(going_on) as follower:
                assert follower.behind() == []


async def test_the_status_comes_once_where_events_tell_it(past: Stage, make_definition: Any) -> None:
    await past.put("first")
    async with running(past.history()) as history:
        before = Position(history.revision, ALL_SEEN)
    await past.put_workload("web", make_definition)
    async with running(past.history()) as history, history.follow(before) as follower:
        assert told(follower.behind()) == [("ADDED", "web")]
        assert history.get(ObjectName("workloads", "default", "web")) is not None


async def test_what_is_selected_by_status_may_have_gone_out_of_sight_meanwhile(
    past: Stage, make_definition: Any
) -> None:
    await past.put_workload("web", make_definition)
    await past.put_workload("db", make_definition)
    past.phases["web"] = "Healthy"
    async with running(past.history()) as history:
        before = Position(history.revision, ALL_SEEN)
        seen = list[list[tuple[str, str]]]()
        for by_status in (True, False):
            async with history.follow(before) as follower:
                followed = ObjectFollower(
                    follower, "workloads", None, lambda item: item.document.status["phase"] == "Pending", by_status
                )
                seen.append(told(followed.behind()))
        assert seen == [[("MODIFIED", "db"), ("DELETED", "web")], [("MODIFIED", "db")]]
