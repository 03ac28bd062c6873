"""What the checks share: the kit, and a bench that makes containers and clears them away."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import trio
from attrs import define, evolve, field
from orchestrion.conformance_kit import Kit, Runner
from orchestrion.runtime_interface import (
    ContainerRuntime,
    ContainerSummary,
    CreateOptions,
    LogStream,
    RuntimeCapability,
    SupportsEvents,
    SupportsExec,
    SupportsLogs,
    SupportsStats,
    SupportsTerminals,
)
from orchestrion.shared_types import (
    ContainerConfig,
    ContainerId,
    ContainerNotFound,
    ContainerState,
    ContainerStatus,
    InstanceKey,
    NodeId,
    NotFound,
    OrchestrationError,
    PortMapping,
    RuntimeFailure,
    Uid,
)

from ._behaviour import Behaviour, Sleeps
from ._subject import RuntimeUnderTest

T = TypeVar("T")
E = TypeVar("E", bound=OrchestrationError)

LOGS = RuntimeCapability.LOGS.value
EXEC = RuntimeCapability.EXEC.value
STATS = RuntimeCapability.STATS.value
EVENTS = RuntimeCapability.EVENTS.value
TERMINALS = RuntimeCapability.TERMINALS.value

KIT: Kit[RuntimeUnderTest] = Kit(lambda subject: subject.runtime.capabilities, real_share=5)


class Raised:
    """Holds the error that was expected."""

    error: Any = None


@contextmanager
def expect(kind: type[E], why: str) -> Iterator[Raised]:
    """Assert that the block raises an error of this kind, and hand it out."""
    raised = Raised()
    try:
        yield raised
    except kind as err:
        raised.error = err
        return
    except OrchestrationError as err:
        msg = f"expected {kind.__name__} ({why}), got {type(err).__name__}: {err}"
        raise AssertionError(msg) from err
    msg = f"expected {kind.__name__} ({why}), nothing was raised"
    raise AssertionError(msg)


LONGEST_TEXT = 600
"""The most characters of a value that a failed check shows."""


def equal(got: object, expected: object) -> None:
    """Assert that two values are equal, and show both if not."""
    if got != expected:
        texts = [repr(value) for value in (got, expected)]
        short = [text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}... ({len(text)})" for text in texts]
        msg = f"\n     got {short[0]}\nexpected {short[1]}"
        raise AssertionError(msg)


async def at_once(*calls: Callable[[], Awaitable[T]]) -> list[T | OrchestrationError]:
    """Run calls at the same time and return what each returned or raised, in order."""
    results: list[T | OrchestrationError | None] = [None] * len(calls)

    async def run(place: int) -> None:
        try:
            results[place] = await calls[place]()
        except OrchestrationError as err:
            results[place] = err

    async with trio.open_nursery() as nursery:
        for place in range(len(calls)):
            nursery.start_soon(run, place)
    return results  # type: ignore[return-value]  # each place was filled before the nursery closed


@define(eq=False)
class Bench:
    """A subject with its nodes initialised; what is made on it under the bench's workloads is removed in the end.

    Attributes:
        subject: What the factory gave.
        runtime: The runtime; another one after `reopen`.
        workload: An id that nothing else uses.
        workloads: All such ids.
    """

    subject: RuntimeUnderTest
    runtime: ContainerRuntime = field(init=False)
    workload: Uid = field(init=False)
    workloads: list[Uid] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.runtime = self.subject.runtime
        self.workload = self.new_workload()

    def new_workload(self) -> Uid:
        """Return an id that nothing else uses."""
        self.workloads.append(self.subject.new_uid())
        return self.workloads[-1]

    @property
    def node(self) -> NodeId:
        """The first node."""
        return self.subject.node_ids[0]

    def token(self) -> str:
        """Return a word that nothing else uses."""
        return f"kit-{self.subject.new_uid()}"

    # Making containers

    def config(self, behaviour: Behaviour, /, *, name: str = "main", **changes: Any) -> ContainerConfig:
        """Return a config that behaves so."""
        config = self.subject.config_for(behaviour)
        if config is None:
            msg = f"config_for({behaviour!r}) is None, which a check needs"
            raise AssertionError(msg)
        if (more := changes.pop("env_vars", None)) is not None:
            changes["env_vars"] = {**config.env_vars, **more}
        return evolve(config, name=name, **changes)

    def instance(self, index: int = 0, epoch: int = 1) -> InstanceKey:
        """Return the key of a slot of the bench's own workload."""
        return InstanceKey(self.workload, index, epoch)

    def options(
        self, index: int = 0, epoch: int = 1, attempt: int = 0, *, node: NodeId | None = None, namespace: str = "kit"
    ) -> CreateOptions:
        """Return options for a slot of the bench's own workload."""
        return CreateOptions(
            node_id=self.node if node is None else node,
            instance=self.instance(index, epoch),
            attempt=attempt,
            namespace=namespace,
            workload="conformance",
        )

    async def create(
        self,
        behaviour: Behaviour = Sleeps(),  # noqa: B008 - a frozen value
        index: int = 0,
        epoch: int = 1,
        attempt: int = 0,
        *,
        name: str = "main",
        node: NodeId | None = None,
    ) -> ContainerId:
        """Create a container on a slot of the bench's own workload."""
        return await self.runtime.create_container(
            self.config(behaviour, name=name), self.options(index, epoch, attempt, node=node)
        )

    # Looking at containers

    async def status(self, container_id: ContainerId) -> ContainerStatus:
        """Return a container's status."""
        return await self.runtime.get_container_status(container_id)

    async def state(self, container_id: ContainerId) -> ContainerState:
        """Return a container's state."""
        return (await self.status(container_id)).state

    async def summaries(self, node: NodeId | None = None) -> dict[ContainerId, ContainerSummary]:
        """Return the bench's own containers of a node by id, each of which is listed once."""
        listed = await self.runtime.list_containers(self.node if node is None else node)
        ids = [summary.container_id for summary in listed]
        assert len(ids) == len(set(ids)), f"listed twice: {sorted(i for i in set(ids) if ids.count(i) > 1)}"
        return {s.container_id: s for s in listed if s.instance.workload_id == self.workload}

    async def until(self, condition: Callable[[], Awaitable[T]], what: str) -> T:
        """Wait until a condition gives something true, and return it."""
        pause = 0.005
        with trio.move_on_after(self.subject.patience_seconds):
            while True:
                if value := await condition():
                    return value
                await trio.sleep(pause)
                pause = min(1.5 * pause, 0.25)
        msg = f"not within {self.subject.patience_seconds} s: {what}"
        raise AssertionError(msg)

    async def in_state(self, container_id: ContainerId, *states: ContainerState) -> ContainerStatus:
        """Wait until a container is in one of some states."""

        async def look() -> ContainerStatus | None:
            status = await self.status(container_id)
            return status if status.state in states else None

        status = await self.until(look, f"{container_id} is {' or '.join(states)}")
        assert status is not None
        return status

    async def running(self, container_id: ContainerId) -> ContainerStatus:
        """Wait until a container runs."""
        return await self.in_state(container_id, ContainerState.RUNNING)

    async def exited(self, container_id: ContainerId) -> ContainerStatus:
        """Wait until a container has ended."""
        return await self.in_state(container_id, ContainerState.EXITED)

    async def ready(self, container_id: ContainerId) -> None:
        """Wait until a container that says when it is `ready` is so."""
        await self.running(container_id)
        if LOGS not in self.runtime.capabilities:
            await trio.sleep(self.subject.settle_seconds)
            return

        async def look() -> bool:
            return b"ready\n" in (await self.logs.read_logs(container_id, LogStream.STDOUT)).data

        await self.until(look, f"{container_id} writes 'ready'")

    async def gone(self, container_id: ContainerId) -> None:
        """Assert that a container is not listed and has no status."""
        assert container_id not in await self.summaries(), f"{container_id} is still listed"
        with expect(ContainerNotFound, "it was removed"):
            await self.status(container_id)

    @contextmanager
    def promptly(self, what: str) -> Iterator[None]:
        """Assert that the block ends within the engine's patience."""
        with trio.move_on_after(self.subject.patience_seconds) as scope:
            yield
        assert not scope.cancelled_caught, f"not within {self.subject.patience_seconds} s: {what}"

    # Abilities

    @property
    def logs(self) -> SupportsLogs:
        """The runtime as one that keeps logs."""
        assert isinstance(self.runtime, SupportsLogs), "it does not implement SupportsLogs"
        return self.runtime

    @property
    def execs(self) -> SupportsExec:
        """The runtime as one that runs commands in containers."""
        assert isinstance(self.runtime, SupportsExec), "it does not implement SupportsExec"
        return self.runtime

    @property
    def terminals(self) -> SupportsTerminals:
        """The runtime as one that runs commands at terminals."""
        assert isinstance(self.runtime, SupportsTerminals), "it does not implement SupportsTerminals"
        return self.runtime

    @property
    def stats(self) -> SupportsStats:
        """The runtime as one that says what containers use."""
        assert isinstance(self.runtime, SupportsStats), "it does not implement SupportsStats"
        return self.runtime

    @property
    def events(self) -> SupportsEvents:
        """The runtime as one that announces changes."""
        assert isinstance(self.runtime, SupportsEvents), "it does not implement SupportsEvents"
        return self.runtime

    def command(self, behaviour: Behaviour) -> tuple[str, ...]:
        """Return a command that behaves so inside a container."""
        if self.subject.command_for is not None:
            command = self.subject.command_for(behaviour)
            assert command is not None, f"command_for({behaviour!r}) is None, which a check needs"
            return command
        config = self.config(behaviour)
        return config.command + config.args

    # The rest

    def ports(self, port: int) -> Mapping[str, Any]:
        """Return the change of a config that adds a host port."""
        return {"ports": (PortMapping(name="kit", container_port=port, host_port=port),)}

    async def reopen(self) -> None:
        """Let go of the runtime as a crash would, and go on with another."""
        assert self.subject.reopen is not None
        self.runtime = await self.subject.reopen()
        await self.init_nodes()

    async def init_nodes(self) -> None:
        """Initialise all nodes."""
        for node_id in self.subject.node_ids:
            await self.runtime.init_node(node_id)

    async def clear(self) -> None:
        """Remove all that was made, as far as the runtime still answers."""
        with trio.move_on_after(self.subject.patience_seconds, shield=True):
            for node_id in self.subject.node_ids:
                try:
                    for summary in await self.runtime.list_containers(node_id):
                        if summary.instance.workload_id in self.workloads:
                            await self.runtime.remove_container(summary.container_id)
                except (RuntimeFailure, NotFound):
                    continue


@asynccontextmanager
async def opened(subject: RuntimeUnderTest) -> AsyncIterator[Bench]:
    """Give a bench with its nodes initialised, and clear it away."""
    bench = Bench(subject)
    try:
        await bench.init_nodes()
        yield bench
    finally:
        await bench.clear()


def hyphenated(sentence: str) -> str:
    """Return a sentence in the form that an id has."""
    return sentence.replace("'", "").replace(" ", "-")


def clause(
    clause_id: str, sentence: str, /, *, requires: str | None = None, needs: tuple[str, ...] = ()
) -> Callable[[Callable[[Bench], Awaitable[None]]], Callable[[Bench], Awaitable[None]]]:
    """Declare a function of a bench as a check; the sentence is written for people."""

    def declare(function: Callable[[Bench], Awaitable[None]]) -> Callable[[Bench], Awaitable[None]]:
        async def body(subject: RuntimeUnderTest) -> None:
            async with opened(subject) as bench:
                await function(bench)

        KIT.clause(clause_id, hyphenated(sentence), requires=requires, needs=needs)(body)
        return function

    return declare


def benches(run: Runner[RuntimeUnderTest]) -> Runner[Bench]:
    """Return a runner that opens a bench on each fresh subject."""

    @asynccontextmanager
    async def factory() -> AsyncIterator[Bench]:
        async with run.factory() as subject, opened(subject) as bench:
            yield bench

    return Runner(factory, run.clock, run.examples, run.deadline_seconds, run.shrink)


def property_clause(
    clause_id: str, sentence: str, /, *, requires: str | None = None, needs: tuple[str, ...] = ()
) -> Callable[[Callable[[Runner[Bench]], None]], Callable[[Runner[Bench]], None]]:
    """Declare a function of a runner of benches as a check; the sentence is written for people."""

    def declare(function: Callable[[Runner[Bench]], None]) -> Callable[[Runner[Bench]], None]:
        KIT.property_clause(clause_id, hyphenated(sentence), requires=requires, needs=needs)(
            lambda run: function(benches(run))
        )
        return function

    return declare
