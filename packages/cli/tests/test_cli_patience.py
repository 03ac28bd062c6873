"""Who follows something outlives a restart of who gives it: nothing is left out, and nothing comes twice."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define, evolve, field
from orchestrion.cli._attach import _attach
from orchestrion.cli._following import followed_events, followed_logs, unseen
from orchestrion.cli._objects import Objects, _Seen
from orchestrion.cli._patience import Patience
from orchestrion.cli._picture import Picture
from orchestrion.cli._places import RemoteServer
from orchestrion.cli._rollout_follow import Teller, followed
from orchestrion.cli._state_directory import at
from orchestrion.cli._wait import _goal, wait_for
from orchestrion.cli._watching import followed_updates
from orchestrion.cli._where import Where
from orchestrion.control_plane import ApiClient, HttpControl, SocketPeer, StoredClasses, serve_control
from orchestrion.control_plane.server import embedded
from orchestrion.mocks import (
    ClusterWorld,
    ContainerWorld,
    CursorScheduler,
    MemoryState,
    MemoryStore,
    MockClusterManager,
    MockRuntime,
    mock_nodes,
)
from orchestrion.orchestrator_core import (
    LogQuery,
    LogRecord,
    Orchestrator,
    Update,
    UpdateKind,
    WorkloadPhase,
    WorkloadView,
)
from orchestrion.runtime_interface import LogStream
from orchestrion.shared_types import (
    ContainerConfig,
    Event,
    Metadata,
    NetworkFailure,
    Placement,
    Uid,
    WorkloadDefinition,
    WorkloadKind,
    WorkloadNotFound,
)
from trio.testing import MockClock

SAID = "the server does not answer; waiting up to 60 s for it to come back\n"


@define(slots=False)
class Somebody:
    """Answers as a test says: after so many refusals, or never."""

    refusals: float
    asked: int = 0
    peer: Any = SocketPeer(Path("/nowhere"))

    async def ping(self) -> None:
        self.asked += 1
        await trio.lowlevel.checkpoint()
        if self.asked <= self.refusals:
            raise NetworkFailure("nobody")


def patience(refusals: float) -> Patience:
    control: Any = Somebody(refusals)
    return Patience(control)


async def test_who_does_not_come_back_is_given_up_after_a_minute(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    begun, why = trio.current_time(), NetworkFailure("it was cut off")
    with pytest.raises(NetworkFailure, match="it was cut off"):
        await patience(float("inf")).wait(why)
    assert trio.current_time() - begun == pytest.approx(60, abs=0.2)
    assert capsys.readouterr().err == SAID


async def test_who_comes_back_in_time_is_waited_for_and_that_is_said_once(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    waiting = patience(100)
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(waiting.wait)
    assert capsys.readouterr().err == SAID


async def test_who_is_there_is_not_waited_for(autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]) -> None:
    assert not await patience(0).wait()
    assert (trio.current_time(), capsys.readouterr().err) == (0, "")


async def test_who_answers_and_gives_nothing_is_given_up_too(autojump_clock: MockClock) -> None:
    waiting = patience(0)

    async def follow() -> None:
        while True:
            await waiting.wait(NetworkFailure("busy"))

    with pytest.raises(NetworkFailure, match="busy"), trio.fail_after(70):
        await follow()


async def test_another_outage_has_a_minute_of_its_own(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    control: Any = Somebody(500)
    waiting = Patience(control)
    for _ in range(2):
        control.asked = 0
        assert await waiting.wait()
        waiting.met()
    assert trio.current_time() > 60
    assert capsys.readouterr().err == SAID * 2


def item(uid: str, revision: int) -> dict[str, Any]:
    return {"metadata": {"uid": uid, "revision": revision}}


def test_of_what_is_listed_anew_only_what_has_changed_is_given() -> None:
    seen = _Seen([item("same", 1), item("other", 2), item("gone", 3)])
    seen.begin(lists=True)
    listed = [("ADDED", item("same", 1)), ("ADDED", item("other", 7)), ("ADDED", item("new", 8))]
    given = [each for what, one in listed for each in seen.take(what, one, listed=False)]
    assert given == [("MODIFIED", item("other", 7)), ("ADDED", item("new", 8))]
    assert list(seen.take("BOOKMARK", {"metadata": {"revision": 9}}, listed=True)) == [("DELETED", item("gone", 3))]
    assert list(seen.take("MODIFIED", item("new", 10), listed=True)) == [("MODIFIED", item("new", 10))]
    assert list(seen.take("MODIFIED", item("new", 10), listed=True)) == []


def record(offset: int, data: bytes, gap_bytes: int = 0) -> LogRecord:
    return LogRecord(
        instance="web.0.1",
        container="main",
        attempt=0,
        stream=LogStream.STDOUT,
        offset=offset,
        data=data,
        gap_bytes=gap_bytes,
    )


@pytest.mark.parametrize(
    ("piece", "rest"),
    [
        (record(0, b"0123"), None),
        (record(2, b"2345"), record(4, b"45")),
        (record(4, b"45"), record(4, b"45")),
        (record(6, b"67", gap_bytes=6), record(6, b"67", gap_bytes=2)),
        (record(6, b"67", gap_bytes=2), record(6, b"67", gap_bytes=2)),
        (record(3, b"", gap_bytes=3), None),
    ],
)
def test_of_output_that_comes_again_what_was_given_is_left_out(piece: LogRecord, rest: LogRecord | None) -> None:
    ends = dict[Any, int]()
    assert unseen(record(0, b"0123"), ends) == record(0, b"0123")
    assert unseen(piece, ends) == rest


@define
class Server:
    """An orchestrator of mocks that is served at a socket, and that a test ends and begins."""

    socket: Path
    store: MemoryState = field(factory=MemoryState)
    containers: ContainerWorld = field(factory=ContainerWorld)
    cluster: ClusterWorld = field(factory=lambda: ClusterWorld(nodes=mock_nodes(2)))

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[Orchestrator]:
        store = MemoryStore(self.store)
        orchestrator = Orchestrator(
            MockRuntime(self.containers),
            MockClusterManager(self.cluster),
            CursorScheduler(),
            store,
            classes=StoredClasses(store),
        )
        folder = self.socket.parent / "server"
        folder.mkdir(exist_ok=True, mode=0o700)

        async def at_socket(task_status: trio.TaskStatus[None]) -> None:
            await serve_control(
                orchestrator,
                self.socket,
                others=lambda streams: embedded(orchestrator, folder, streams),
                task_status=task_status,
            )

        async with trio.open_nursery() as nursery:
            await nursery.start(orchestrator.run)
            await nursery.start(at_socket)
            yield orchestrator
            nursery.cancel_scope.cancel()

    @property
    def control(self) -> HttpControl:
        return HttpControl(self.socket)

    @property
    def objects(self) -> Objects:
        return Objects(self.control, ApiClient(SocketPeer(self.socket)), "default", "default")


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path / "control.sock")


def read(items: AsyncGenerator[Any, None], nursery: trio.Nursery) -> trio.MemoryReceiveChannel[Any]:
    """Give what is followed, item by item."""
    send, receive = trio.open_memory_channel[Any](100)

    async def follow() -> None:
        async with aclosing(items), send:
            async for one in items:
                await send.send(one)

    nursery.start_soon(follow)
    return receive


def web(*command: str) -> WorkloadDefinition:
    return WorkloadDefinition(
        metadata=Metadata(name="web"), containers=(ContainerConfig(name="main", command=command),)
    )


@pytest.mark.slow
async def test_objects_are_followed_over_a_restart(server: Server, nursery: trio.Nursery) -> None:
    objects = server.objects
    kind = await objects.kind("configmaps")

    async def make(name: str) -> None:
        await objects.create(kind, {"metadata": {"name": name}, "spec": {}})

    with trio.fail_after(30):
        async with server.at_work():
            await make("one")
            changes = read(objects.watch(kind, None), nursery)
            seen = [await changes.receive()]
            await make("two")
        async with server.at_work():
            await make("three")
            seen += [await changes.receive() for _ in range(2)]
    assert [(what, one["metadata"]["name"]) for what, one in seen] == [
        ("ADDED", "one"),
        ("ADDED", "two"),
        ("ADDED", "three"),
    ]


@pytest.mark.slow
async def test_events_are_followed_over_a_restart(server: Server, nursery: trio.Nursery) -> None:
    control = server.control
    with trio.fail_after(30):
        async with server.at_work() as orchestrator:
            await orchestrator.apply([web("run")])
            events = read(followed_events(control, "workload/web", None, None, 1000), nursery)
            seen: list[Event] = [await events.receive()]
        async with server.at_work() as orchestrator:
            await orchestrator.stop("web")
            while seen[-1].reason != "Stopping":
                seen.append(await events.receive())
            there = await control.events(subject="workload/web")
    uids = [event.uid for event in seen]
    assert uids == [event.uid for event in there][: len(uids)]


async def cut_watch(
    control: Somebody, ended: bool, happening: tuple[Event, ...] = (), types: tuple[str, ...] = ()
) -> list[Event]:
    """Follow the events of somebody who ends the stream after some, and is gone then."""

    @asynccontextmanager
    async def watch(namespace: str | None) -> AsyncIterator[AsyncIterator[Any]]:
        async def told() -> AsyncIterator[Any]:
            for event in happening:
                yield Update(kind=UpdateKind.EVENT, event=event)

        yield told()

    async def events(**_: object) -> list[Event]:
        return []

    anything: Any = control
    anything.watch, anything.events = watch, events
    return [event async for event in followed_events(anything, None, None, None, 10, types, ended=lambda: ended)]


async def test_events_end_soon_after_an_owner_that_has_ended_in_good_order(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await cut_watch(Somebody(float("inf")), ended=True) == []
    assert trio.current_time() == pytest.approx(20, abs=0.2)
    assert "up to 20 s" in capsys.readouterr().err


async def test_of_what_happens_only_the_wanted_types_are_given(autojump_clock: MockClock) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    happening = tuple(
        Event(uid=Uid(reason), namespace="default", subject="workload/web", reason=reason, message="", at=at)
        for reason in ("BackOff", "Placed", "Started")
    )
    given = await cut_watch(Somebody(float("inf")), True, happening, ("started", "backoff"))
    assert [event.reason for event in given] == ["BackOff", "Started"]


async def test_events_do_not_end_in_silence_after_an_owner_that_was_cut_off(autojump_clock: MockClock) -> None:
    with pytest.raises(NetworkFailure):
        await cut_watch(Somebody(float("inf")), ended=False)
    assert trio.current_time() == pytest.approx(60, abs=0.2)


def test_a_directory_says_whether_its_owner_has_ended_in_good_order(tmp_path: Path) -> None:
    place = at(tmp_path / "state")
    assert not place.has_ended()
    place.make()
    told = []
    with place.owned() as ownership:
        assert ownership is not None
        told.append(place.has_ended())
        ownership.begin({})
        told.append(place.has_ended())
        ownership.end()
        told.append(place.has_ended())
    assert told == [False, False, False]
    assert place.has_ended()
    with place.owned():
        assert not place.has_ended(), "another one is about to begin"
    (place.path / "lock").write_text("[")
    assert not place.has_ended()


@pytest.mark.slow
async def test_output_is_followed_over_a_restart_to_its_end(server: Server, nursery: trio.Nursery) -> None:
    place: Any = RemoteServer("there", "http://localhost", SocketPeer(server.socket))
    query = LogQuery(subject="web", follow=True)
    control = server.control
    with trio.fail_after(30):
        async with server.at_work() as orchestrator:
            await orchestrator.apply([web("print", "stdout", "one\n", "print-at", "0.2s", "stdout", "two\n")])
            output = read(followed_logs(control, place, query, Patience(control)), nursery)
            seen: list[LogRecord] = [await output.receive()]
        async with server.at_work() as orchestrator:
            while not seen[-1].data.endswith(b"two\n"):  # on a machine with much else to do it came before
                seen.append(await output.receive())
            await orchestrator.stop("web")
            seen += [one async for one in output]
    assert b"".join(one.data for one in seen) == b"one\ntwo\n"


@define(slots=False)
class Writing(Somebody):
    """Gives at each question what a test wants of one stream, and is cut off but for the last time."""

    pieces: list[list[tuple[int, bytes]]] = field(factory=list, kw_only=True)
    queries: list[LogQuery] = field(factory=list, init=False)

    @asynccontextmanager
    async def logs(self, query: LogQuery) -> AsyncIterator[AsyncIterator[LogRecord]]:
        self.queries.append(query)
        pieces = self.pieces.pop(0)

        async def told() -> AsyncIterator[LogRecord]:
            for offset, data in pieces:
                yield LogRecord(
                    instance="web.0.1", container="main", attempt=0, stream=LogStream.STDOUT, offset=offset, data=data
                )
            if self.pieces:
                raise NetworkFailure("it was cut off")

        yield told()


async def test_what_is_known_is_not_given_and_after_an_outage_all_that_was_missed_is(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    writing = Writing(3, pieces=[[(0, b"old new")], [(0, b"old new and"), (11, b" more")]])
    control: Any = writing
    place: Any = RemoteServer("there", "http://localhost", SocketPeer(tmp_path))
    query = LogQuery(subject="web.0.1", follow=True, tail_bytes=100)
    ends = {("web.0.1", "main", 0, LogStream.STDOUT): 3}
    given = [one.data async for one in followed_logs(control, place, query, Patience(control), ends=ends)]
    assert given == [b" new", b" and", b" more"]
    assert [(one.tail_bytes, one.also) for one in writing.queries] == [(100, ()), (None, ("web.0.1",))]


@pytest.mark.slow
async def test_who_is_attached_stays_so_over_a_restart(
    server: Server, nursery: trio.Nursery, capsys: pytest.CaptureFixture[str]
) -> None:
    place: Any = RemoteServer("there", "http://localhost", SocketPeer(server.socket))
    script = ("stdout", "before\n", "print-at", "1s", "stdout", "one\n", "print-at", "2s", "stderr", "two\n")
    send, receive = trio.open_memory_channel[int](1)

    async def attached() -> None:
        send.send_nowait(await _attach(place, "web", "default", None))

    async def comes(text: str) -> None:
        """Wait until a text was written."""
        while text not in "".join(out + err):
            await trio.sleep(0.02)
            more = capsys.readouterr()
            out.append(more.out)
            err.append(more.err)

    out, err = list[str](), list[str]()
    with trio.fail_after(30):
        async with server.at_work() as orchestrator:
            await orchestrator.apply([web("print", *script)])
            async with followed_at(server, place) as output:
                await anext(output)
            nursery.start_soon(attached)
            await comes("attached to web.0.1")
            await comes("one\n")
        async with server.at_work() as orchestrator:
            await comes(SAID)
            await comes("two\n")
            await orchestrator.stop("web")
            assert await receive.receive() >= 128
    last = capsys.readouterr()
    assert ("".join([*out, last.out]), "".join([*err, last.err]).count("two\n")) == ("one\n", 1)


@asynccontextmanager
async def followed_at(server: Server, place: Any) -> AsyncIterator[AsyncIterator[LogRecord]]:
    """Give the output of a workload."""
    query = LogQuery(subject="web", follow=True)
    async with aclosing(followed_logs(server.control, place, query, Patience(server.control))) as records:
        yield records


@define
class Door:
    """A way to a socket, of which a test knows how often it was gone."""

    socket: SocketPeer
    ways: int = 0
    watched: trio.Event = field(factory=trio.Event)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.socket, name)

    async def connect(self) -> trio.abc.Stream:
        self.ways += 1
        if self.ways == 2:
            self.watched.set()  # first it lists, then it watches
        return await self.socket.connect()


@pytest.mark.slow
async def test_what_is_waited_for_may_come_after_a_restart(server: Server, nursery: trio.Nursery) -> None:
    door: Any = Door(SocketPeer(server.socket))
    place = RemoteServer("there", "http://localhost", door)
    send, receive = trio.open_memory_channel[bool | None](1)

    async def wait() -> None:
        send.send_nowait(await wait_for(Where(namespace="default"), place, "configmap", "late", _goal("exists"), 30.0))

    with trio.fail_after(30):
        async with server.at_work():
            nursery.start_soon(wait)
            await door.watched.wait()
        async with server.at_work():
            objects = server.objects
            kind = await objects.kind("configmap")
            await objects.create(kind, {"metadata": {"name": "late"}, "spec": {}})
            assert await receive.receive() is True


async def test_output_of_what_is_removed_meanwhile_has_an_end(autojump_clock: MockClock) -> None:
    class Gone(Somebody):
        @asynccontextmanager
        async def logs(self, query: LogQuery) -> AsyncIterator[AsyncIterator[LogRecord]]:
            if self.asked:
                raise WorkloadNotFound("gone")
            yield cut(record(0, b"one\n"))

    control: Any = Gone(refusals=3)
    place: Any = RemoteServer("there", "http://localhost", control.peer)
    following = followed_logs(control, place, LogQuery(subject="web", follow=True), Patience(control))
    assert [one.data async for one in following] == [b"one\n"]


async def cut(*records: LogRecord) -> AsyncGenerator[LogRecord, None]:
    """Give records, and then be cut off."""
    for one in records:
        yield one
    raise NetworkFailure("it was cut off")


@pytest.mark.parametrize("begin", [followed_logs, followed_events])
async def test_who_was_never_there_is_not_waited_for(begin: Any, tmp_path: Path) -> None:
    control = HttpControl(tmp_path / "control.sock")
    place = RemoteServer("there", "http://localhost", control.peer)
    arguments: dict[Any, tuple[Any, ...]] = {
        followed_logs: (place, LogQuery(subject="web", follow=True), Patience(control)),
        followed_events: (None, None, None, 10),
    }
    with pytest.raises(NetworkFailure), trio.fail_after(20):
        await anext(begin(control, *arguments[begin]))


def job(name: str, phase: WorkloadPhase) -> Update:
    main = ContainerConfig(name="main", command=("work",))
    definition = WorkloadDefinition(metadata=Metadata(name=name), kind=WorkloadKind.BATCH, containers=(main,))
    view = WorkloadView(definition=definition, phase=phase)
    return Update(kind=UpdateKind.WORKLOAD, namespace="default", name=name, workload=view)


RUNS, DONE = WorkloadPhase.RUNNING, WorkloadPhase.SUCCEEDED
SYNCED = Update(kind=UpdateKind.SYNCED)


@define
class Watched(Somebody):
    """Gives what a test says in each watch, and is then cut off, or ends it."""

    watches: list[list[Update]] = field(factory=list)
    ends_well: bool = False

    @asynccontextmanager
    async def watch(self, *, namespace: str | None = None) -> AsyncIterator[AsyncIterator[Update]]:
        del namespace
        if not self.watches:
            raise NetworkFailure("nobody")
        async with aclosing(self._given(self.watches.pop(0))) as updates:
            yield updates

    async def _given(self, updates: list[Update]) -> AsyncGenerator[Update, None]:
        for update in updates:
            yield update
        if not self.ends_well:
            raise NetworkFailure("it was cut off")


def following(control: Any, picture: Picture, place: Any = None) -> AsyncGenerator[Update, None]:
    place = place or RemoteServer("there", "http://localhost", control.peer)
    return followed_updates(control, place, picture, Patience(control), lambda stored: stored.is_over())


@pytest.mark.parametrize("ends_well", [True, False], ids=["ended", "cut"])
async def test_after_an_outage_only_what_has_changed_is_told_and_all_of_it_is_known_at_once(
    ends_well: bool, autojump_clock: MockClock
) -> None:
    first = [job("a", RUNS), job("b", RUNS), job("c", RUNS), SYNCED]
    second = [job("a", DONE), job("c", RUNS), job("d", RUNS), SYNCED, job("d", DONE)]
    control = Watched(refusals=3, watches=[first, second], ends_well=ends_well)
    picture, given, known = Picture(), list[Update](), list[set[str]]()

    async def follow() -> None:
        async for update in following(control, picture):
            given.append(update)
            known.append({name for _, name in picture.views})

    with pytest.raises(NetworkFailure):
        await follow()
    gone = Update(kind=UpdateKind.WORKLOAD_REMOVED, namespace="default", name="b")
    assert given == [*first, job("a", DONE), job("d", RUNS), gone, SYNCED, job("d", DONE)]
    assert known[len(first)] == {"a", "c", "d"}
    assert picture.synced


async def test_a_second_outage_while_it_catches_up_takes_nothing_for_gone(autojump_clock: MockClock) -> None:
    first = [job("a", RUNS), job("b", RUNS), SYNCED]
    control = Watched(refusals=0, watches=[first, [job("a", DONE)], [job("a", DONE), job("b", RUNS), SYNCED]])
    given = list[Update]()

    async def follow() -> None:
        async for update in following(control, Picture()):
            given.append(update)

    with pytest.raises(NetworkFailure):
        await follow()
    assert given == [*first, job("a", DONE), SYNCED]


async def test_what_was_not_told_to_its_end_is_synced_later(autojump_clock: MockClock) -> None:
    control = Watched(refusals=0, watches=[[job("a", RUNS)], [job("a", RUNS), SYNCED]])
    picture = Picture()
    async with aclosing(following(control, picture)) as updates:
        assert [await anext(updates), await anext(updates)] == [job("a", RUNS), SYNCED]
    assert picture.synced


async def test_whose_owner_has_gone_is_over_if_the_store_says_so(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stored_picture(_place: Any) -> Picture:
        await trio.lowlevel.checkpoint()
        picture = Picture(synced=True)
        picture.take(job("a", DONE))
        return picture

    monkeypatch.setattr("orchestrion.cli._offline.stored_picture", stored_picture)
    control = Watched(refusals=float("inf"), watches=[[job("a", RUNS), SYNCED]])
    begun = trio.current_time()
    given = [update async for update in following(control, Picture(), at(tmp_path))]
    assert (given, trio.current_time()) == ([job("a", RUNS), SYNCED, job("a", DONE)], begun)


@pytest.mark.slow
async def test_an_update_is_followed_over_a_restart_to_its_end(server: Server, nursery: trio.Nursery) -> None:
    place: Any = RemoteServer("there", "http://localhost", SocketPeer(server.socket))
    nowhere = Placement(select={"disk": "none"})
    send, receive = trio.open_memory_channel[Any](1)

    async def follow() -> None:
        send.send_nowait((await followed(place, "default", ["web"], 30.0, Teller().tell))["web"])

    with trio.fail_after(30):
        async with server.at_work() as orchestrator:
            await orchestrator.apply([evolve(web("run"), placement=nowhere)])
            async with server.control.watch() as told:
                await anext(told)  # the server is up
                nursery.start_soon(follow)
                await trio.testing.wait_all_tasks_blocked(0.2)
        async with server.at_work() as orchestrator:
            await orchestrator.apply([web("run")])
            view = await receive.receive()
    assert (view.phase, view.generation) == (WorkloadPhase.HEALTHY, 2)
