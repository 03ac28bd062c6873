"""A Control in memory, reached directly and through a socket, so that the two can be held against each other."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define, evolve, field
from orchestrion.control_plane import Control, HttpControl, serve_control
from orchestrion.orchestrator_core import (
    ApplyResult,
    ChangeAction,
    FieldDifference,
    LogQuery,
    LogRecord,
    Plan,
    SlotPlacement,
    Update,
    UpdateKind,
    WorkloadChange,
    WorkloadPhase,
    WorkloadView,
)
from orchestrion.runtime_interface import ExecOutput, ExecSession, LogStream, TerminalSize
from orchestrion.scheduler_interface import Explanation, Predicate, RefusalGroup
from orchestrion.shared_types import (
    DEFAULT_NAMESPACE,
    Binding,
    Conflict,
    ContainerConfig,
    Event,
    ExitStatus,
    InstanceKey,
    Metadata,
    Node,
    NodeId,
    OrchestrationError,
    Resources,
    Uid,
    WorkloadDefinition,
    WorkloadInstance,
    WorkloadNotFound,
)
from trio.testing import MockClock

from .api_stage import Api, api_served

NOW = datetime(2026, 11, 22, 10, 30, 0, 123456, tzinfo=UTC)

EXPLANATION = Explanation(
    groups=(RefusalGroup(predicate=Predicate.CORDONED, node_count=1, samples=(NodeId("n1"),)),), nodes_considered=1
)


def definition(name: str, **fields: Any) -> WorkloadDefinition:
    metadata = Metadata(name=name, namespace=fields.pop("namespace", DEFAULT_NAMESPACE))
    container = ContainerConfig(name="main", command=("true",), resources=Resources(cpu_millicores=100))
    return WorkloadDefinition(metadata=metadata, containers=(container,), **fields)


def instance(workload: str, index: int = 0, epoch: int = 1) -> WorkloadInstance:
    key = InstanceKey(Uid("0198c9a0-0000-7000-8000-000000000001"), index, epoch)
    return WorkloadInstance(
        key=key, namespace=DEFAULT_NAMESPACE, workload=workload, binding=Binding(node_id=NodeId("n1"), generation=1)
    )


def pattern(size: int) -> bytes:
    """Return so many bytes, of which no two neighbouring stretches are alike."""
    return b"".join(number.to_bytes(4, "big") for number in range((size + 3) // 4))[:size]


@define
class FakeSession:
    """Writes its input back in capitals, tells its command on stderr, and ends with 7 when its input ends.

    `print N` writes N bytes and ends with 0, as soon as all were taken.
    """

    command: tuple[str, ...]
    killed: trio.Event
    written: int = 0
    chunks: list[bytes] = field(factory=list)
    closed: trio.Event = field(factory=trio.Event)
    changed: trio.Event = field(factory=trio.Event)

    async def send_stdin(self, data: bytes, /) -> None:
        self.chunks.append(data)
        self.changed.set()
        self.changed = trio.Event()

    async def close_stdin(self) -> None:
        self.closed.set()
        self.changed.set()

    async def output(self) -> AsyncIterator[ExecOutput]:
        if self.command[0] == "print":
            text = pattern(int(self.command[1]))
            while self.written < len(text):
                piece = text[self.written : self.written + 65536]
                self.written += len(piece)
                yield ExecOutput(stream=LogStream.STDOUT, data=piece)
            self.closed.set()
            return
        yield ExecOutput(stream=LogStream.STDERR, data=" ".join(self.command).encode())
        while True:
            while self.chunks:
                yield ExecOutput(stream=LogStream.STDOUT, data=self.chunks.pop(0).upper())
            if self.closed.is_set():
                return
            await self.changed.wait()

    async def wait(self) -> ExitStatus:
        await self.closed.wait()
        return ExitStatus(code=0 if self.command[0] == "print" else 7)


@define
class FakeTerminal(FakeSession):
    """Keeps the sizes that the terminal has had."""

    sizes: list[TerminalSize] = field(factory=list)

    async def resize(self, size: TerminalSize, /) -> None:
        self.sizes.append(size)
        self.changed.set()
        self.changed = trio.Event()


@define
class FakeControl:
    """A Control without an orchestrator. `error` is raised by the next call; on streams at `error_at`."""

    views: dict[tuple[str, str], WorkloadView] = field(factory=dict)
    records: list[LogRecord] = field(factory=list)
    error: Exception | None = None
    error_at: str = "call"
    open_streams: int = 0
    stream_closed: trio.Event = field(factory=trio.Event)
    exec_killed: trio.Event = field(factory=trio.Event)
    seen: list[Any] = field(factory=list)
    sessions: list[FakeSession] = field(factory=list)
    updates: list[trio.MemorySendChannel[Update]] = field(factory=list)

    def _fail(self, at: str = "call") -> None:
        if self.error is not None and self.error_at == at:
            error, self.error = self.error, None
            raise error

    def _view(self, name: str, namespace: str) -> WorkloadView:
        self._fail()
        if (namespace, name) not in self.views:
            msg = f"no workload {name!r} in namespace {namespace!r}"
            raise WorkloadNotFound(msg, remedy="`orchestrion status` lists them.")
        return self.views[namespace, name]

    async def apply(
        self,
        workloads: Sequence[WorkloadDefinition],
        /,
        *,
        dry_run: bool = False,
        rerun: bool = False,
        only_new: bool = False,
        manager: str = "control",
        force: bool = False,
        if_index: int | None = None,
    ) -> ApplyResult:
        self._fail()
        for one in workloads if only_new else ():
            if (one.metadata.namespace, one.metadata.name) in self.views:
                raise Conflict("there is one already")
        changes = (await self.plan(workloads, rerun=rerun)).changes
        if not dry_run:
            for one in workloads:
                key = (one.metadata.namespace, one.metadata.name)
                self.views[key] = WorkloadView(definition=one, phase=WorkloadPhase.HEALTHY, started_at=NOW)
        return ApplyResult(changes=changes, revision=0 if dry_run else 42)

    async def plan(self, workloads: Sequence[WorkloadDefinition], /, *, rerun: bool = False) -> Plan:
        self._fail()
        difference = FieldDifference(path="replicas", before="1", after="3", note="set by scale")
        changes = tuple(
            WorkloadChange(
                namespace=one.metadata.namespace,
                name=one.metadata.name,
                action=ChangeAction.UPDATE
                if (one.metadata.namespace, one.metadata.name) in self.views
                else ChangeAction.CREATE,
                generation=1,
                differences=(difference,),
                note="runs again" if rerun else "",
            )
            for one in workloads
        )
        return Plan(changes=changes, placements=(self._placement(),))

    def _placement(self) -> SlotPlacement:
        return SlotPlacement(instance="web.0", node_id=None, explanation=EXPLANATION, text="1 node is cordoned")

    async def list_workloads(self, *, namespace: str | None = None) -> list[WorkloadView]:
        self._fail()
        return [view for (space, _), view in sorted(self.views.items()) if namespace in (None, space)]

    async def get_workload(self, name: str, /, *, namespace: str = DEFAULT_NAMESPACE) -> WorkloadView:
        return self._view(name, namespace)

    async def list_instances(
        self, *, namespace: str | None = None, workload: str | None = None
    ) -> list[WorkloadInstance]:
        self._fail()
        self.seen.append((namespace, workload))
        return [instance(name) for (_, name) in sorted(self.views) if workload in (None, name)]

    async def list_nodes(self) -> list[Node]:
        self._fail()
        return [Node(id=NodeId("n1"), name="here", labels={"zone": "a"})]

    @asynccontextmanager
    async def watch(self, *, namespace: str | None = None) -> AsyncIterator[AsyncIterator[Update]]:
        self._fail("enter")
        send, receive = trio.open_memory_channel[Update](100)
        for (space, name), view in sorted(self.views.items()):
            if namespace in (None, space):
                send.send_nowait(Update(kind=UpdateKind.WORKLOAD, namespace=space, name=name, workload=view))
        send.send_nowait(Update(kind=UpdateKind.SYNCED))
        self.updates.append(send)
        async with self._counted():
            yield receive

    @asynccontextmanager
    async def logs(self, query: LogQuery, /) -> AsyncIterator[AsyncIterator[LogRecord]]:
        self._fail("enter")
        self.seen.append(query)
        try:
            async with self._counted(), trio.open_nursery() as nursery:
                yield self._records(query)
                nursery.cancel_scope.cancel()
        except ExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _records(self, query: LogQuery) -> AsyncIterator[LogRecord]:
        for record in self.records:
            yield record
        self._fail("items")
        if query.follow:
            await trio.sleep_forever()

    @asynccontextmanager
    async def exec(
        self,
        instance: str,
        command: Sequence[str],
        /,
        *,
        namespace: str = DEFAULT_NAMESPACE,
        container: str | None = None,
        terminal: TerminalSize | None = None,
    ) -> AsyncIterator[ExecSession]:
        self._fail("enter")
        self.seen.append((instance, tuple(command), namespace, container))
        session = FakeSession(tuple(command), self.exec_killed)
        if terminal is not None:
            session = FakeTerminal(tuple(command), self.exec_killed, sizes=[terminal])
        self.sessions.append(session)
        try:
            yield session
        finally:
            if not session.closed.is_set():
                self.exec_killed.set()

    @asynccontextmanager
    async def _counted(self) -> AsyncIterator[None]:
        self.open_streams += 1
        try:
            yield
        finally:
            self.open_streams -= 1
            self.stream_closed.set()

    async def scale(
        self, name: str, replicas: int | None, /, *, namespace: str = DEFAULT_NAMESPACE, dry_run: bool = False
    ) -> WorkloadView:
        view = self._view(name, namespace)
        self.views[namespace, name] = evolve(view, replicas=replicas or 1, scaled=replicas is not None)
        return self.views[namespace, name]

    async def pause(self, name: str, /, *, namespace: str = DEFAULT_NAMESPACE) -> WorkloadView:
        self.views[namespace, name] = evolve(self._view(name, namespace), paused=True)
        return self.views[namespace, name]

    async def resume(self, name: str, /, *, namespace: str = DEFAULT_NAMESPACE) -> WorkloadView:
        self.views[namespace, name] = evolve(self._view(name, namespace), paused=False)
        return self.views[namespace, name]

    async def stop(self, name: str, /, *, namespace: str = DEFAULT_NAMESPACE, dry_run: bool = False) -> WorkloadView:
        self.views[namespace, name] = evolve(self._view(name, namespace), phase=WorkloadPhase.STOPPED)
        return self.views[namespace, name]

    async def remove(self, name: str, /, *, namespace: str = DEFAULT_NAMESPACE, dry_run: bool = False) -> None:
        self._view(name, namespace)
        del self.views[namespace, name]

    async def explain(
        self, name: str, /, *, namespace: str = DEFAULT_NAMESPACE, node: NodeId | None = None
    ) -> list[SlotPlacement]:
        self._view(name, namespace)
        return [self._placement()]

    async def events(
        self,
        *,
        namespace: str | None = None,
        subject: str | None = None,
        since: datetime | None = None,
        limit: int = 1000,
        types: Collection[str] = (),
    ) -> list[Event]:
        self._fail()
        self.seen.append((namespace, subject, since, limit, tuple(types)))
        return [
            Event(
                uid=Uid("u1"), namespace="default", subject="workload/web", reason="Placed", message="ä\u2028b", at=NOW
            )
        ]


@pytest.fixture
def fake() -> FakeControl:
    return FakeControl()


@pytest.fixture
def socket_path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


@asynccontextmanager
async def served(fake: Control, path: Path, **options: Any) -> AsyncIterator[HttpControl]:
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: serve_control(fake, path, task_status=task_status, **options))
        yield HttpControl(path)
        nursery.cancel_scope.cancel()


@pytest.fixture
def serving() -> Any:
    """Opens a server of a Control, and a client to it."""
    return served


@pytest.fixture
def text_of() -> Any:
    """Makes what `print N` writes."""
    return pattern


@pytest.fixture
def make_definition() -> Any:
    """Makes a small definition of a name."""
    return definition


@pytest.fixture(params=["in-process", "http"])
async def control(request: pytest.FixtureRequest, fake: FakeControl, socket_path: Path) -> AsyncIterator[Control]:
    """The fake itself, and a client of a server of the fake."""
    async with contextlib.AsyncExitStack() as stack:
        yield fake if request.param == "in-process" else await stack.enter_async_context(served(fake, socket_path))


@pytest.fixture(params=["call", "enter", "items"])
def error_at(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def same(left: OrchestrationError, right: OrchestrationError) -> bool:
    """Whether two errors are of one class and say the same in every field."""
    return type(left) is type(right) and str(left) == str(right) and vars(left) == vars(right)


def _run_on_a_clock_that_jumps(function: Callable[..., Awaitable[Any]], **options: Any) -> Any:
    options["clock"] = options.get("clock") or MockClock(autojump_threshold=0)
    return trio.run(function, **options)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let every test on a stage run on a clock that jumps: pytest-trio heeds a clock only where the test names it."""
    if {"api", "past"} & set(getattr(item, "fixturenames", ())):
        item.add_marker(pytest.mark.trio(run=_run_on_a_clock_that_jumps), append=False)


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    """Give an API server at work on two nodes, on a clock that jumps."""
    async with api_served() as made:
        yield made
