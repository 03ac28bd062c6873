"""A node's runtime, each call with an end: one that hangs holds up nobody but whoever made it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import trio
from attrs import define, field
from orchestrion.orchestrator_core._observed import Observed
from orchestrion.runtime_interface import ContainerRuntime, ContainerSummary, CreateOptions, RuntimeUnavailable
from orchestrion.shared_types import ContainerConfig, ContainerId, ContainerStatus, NodeId

T = TypeVar("T")

CALL_SECONDS: Final = 30.0
"""An engine that has not answered for so long is taken for one that does not answer."""

CREATE_SECONDS: Final = 60.0
"""A creation may take longer than other calls; the wait doubles with each one in a row that was given up."""

MAX_CREATE_SECONDS: Final = 960.0

SLOT_SECONDS: Final = 10.0
"""A call that takes longer does not count among those at once any more."""


class NoAnswer(RuntimeUnavailable):
    """The engine has not answered this call within its time. What it did is unknown; it is repeated."""


@define(eq=False)
class Slots:
    """Bounds how much is done at once; what takes long is no longer counted.

    Attributes:
        total: So much at once.
        seconds: What takes longer gives its place to another.
    """

    total: int
    seconds: float = SLOT_SECONDS
    _taken: dict[object, float] = field(factory=dict)
    _waiting: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot)

    async def take(self) -> object:
        """Wait for a place and return what to give back."""
        while len(self._taken) >= self.total and not self._give_up_oldest():
            with trio.move_on_at(next(iter(self._taken.values())) + self.seconds):
                await self._waiting.park()
        place = object()
        self._taken[place] = trio.current_time()
        return place

    def give_back(self, place: object) -> None:
        """Let another have the place, unless one has it already."""
        if self._taken.pop(place, None) is not None:
            self._waiting.unpark()

    def _give_up_oldest(self) -> bool:
        oldest = next(iter(self._taken))
        if trio.current_time() < self._taken[oldest] + self.seconds:
            return False
        del self._taken[oldest]
        return True


@define(eq=False)
class Engine:
    """The calls to a runtime about one node.

    Every call may raise `NoAnswer` beside what the runtime raises.

    Attributes:
        runtime: Answers them.
        node_id: Which node.
        observed: Who looks on is told of what is created and stopped.
    """

    runtime: ContainerRuntime
    node_id: NodeId
    observed: Observed = field(factory=Observed)

    async def init_node(self) -> None:
        """As `ContainerRuntime.init_node`."""
        await _answer("make the node ready", CALL_SECONDS, self.runtime.init_node(self.node_id))

    async def create(
        self, config: ContainerConfig, options: CreateOptions, created: Callable[[ContainerId], None]
    ) -> tuple[ContainerId, ContainerStatus]:
        """As `ContainerRuntime.create_container`; return what the container is like then, too.

        The end of this call is up to the caller, who has a scope anyway: see `create_seconds`.

        Args:
            config: What to create.
            options: Of what.
            created: Told of the container before it is looked at.
        """
        with self.observed.step("create", f"{options.namespace}/{options.workload}"):
            container_id = await self.runtime.create_container(config, options)
            created(container_id)
            return container_id, await self.runtime.get_container_status(container_id)

    async def stop(self, container_id: ContainerId, grace_seconds: float) -> ContainerStatus:
        """As `ContainerRuntime.stop_container`; return what the container is like then."""
        with self.observed.step("stop"):
            stopping = self.runtime.stop_container(container_id, grace_seconds=grace_seconds)
            await _answer(f"stop container {container_id}", grace_seconds + CALL_SECONDS, stopping)
            return await self.status(container_id)

    async def remove(self, container_id: ContainerId) -> None:
        """As `ContainerRuntime.remove_container`."""
        await _answer(f"remove container {container_id}", CALL_SECONDS, self.runtime.remove_container(container_id))

    async def status(self, container_id: ContainerId) -> ContainerStatus:
        """As `ContainerRuntime.get_container_status`."""
        call = self.runtime.get_container_status(container_id)
        return await _answer(f"status of container {container_id}", CALL_SECONDS, call)

    async def list(self) -> list[ContainerSummary]:
        """As `ContainerRuntime.list_containers`."""
        return await _answer("list the containers", CALL_SECONDS, self.runtime.list_containers(self.node_id))


def create_seconds(given_up: int) -> float:
    """Return how long a creation may take, after so many in a row that were given up for want of an answer."""
    return min(MAX_CREATE_SECONDS, CREATE_SECONDS * 2.0 ** min(given_up, 10))


def no_answer(what: str, seconds: float) -> NoAnswer:
    """Return the error of a call that has been given up."""
    msg = f"the engine has not answered for {seconds:g} s: {what}"
    return NoAnswer(msg, remedy="It is asked again. Does the engine hang?")


async def _answer(what: str, seconds: float, call: Awaitable[T]) -> T:
    with trio.CancelScope(deadline=trio.current_time() + seconds):
        return await call
    raise no_answer(what, seconds)
