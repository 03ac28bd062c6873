"""The programs that are under test, and what starts them again when they crash."""

from __future__ import annotations

import random
import traceback
from collections.abc import Awaitable, Callable

import trio
from attrs import define, field
from orchestrion.cluster_interface import ClusterUnavailable
from orchestrion.mocks import MockClusterManager, MockRuntime, SimulatedCrash
from orchestrion.orchestrator_core import Orchestrator
from orchestrion.orchestrator_core._clock import Deadlines
from orchestrion.orchestrator_core._node.loop import NodeLoop
from orchestrion.orchestrator_core._state.events import EventRecorder
from orchestrion.orchestrator_core._state.world import World as Mirror
from orchestrion.runtime_interface import RuntimeCapability, RuntimeUnavailable
from orchestrion.scheduler_interface import FullScanScheduler, Scheduler, SchedulerUnavailable, SimpleScheduler
from orchestrion.shared_types import NodeId
from orchestrion.store_interface import StoreUnavailable

from .connection import Connection, FaultyScheduler
from .storm import Life, injector
from .world import TIMINGS, World, WorldProber


@define(eq=False)
class Program:
    """A program that is started again after each crash.

    Attributes:
        name: Its name.
        world: Where it lives.
        main: Runs it once.
        life: Its current run.
        downtime_seconds: How long it stays away after a crash.
        gone: Whether it is not started again.
    """

    name: str
    world: World
    main: Callable[[Life], Awaitable[None]]
    life: Life = field(init=False)
    downtime_seconds: float = field(default=0.0, init=False)
    gone: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self.life = Life(self.name, dead=True)

    @property
    def up(self) -> bool:
        """Whether it runs now."""
        return not self.life.dead

    async def supervise(self) -> None:
        """Run it, again and again."""
        trace = self.world.trace
        while not self.gone:
            self.life = Life(self.name, born=trio.current_time())
            trace.add(f"{self.name} starts")
            try:
                with self.life.scope:
                    await self.main(self.life)
            except* SimulatedCrash:
                pass
            except* Exception as group:
                text = "".join(traceback.format_exception(group)[-40:])
                trace.violated(f"{self.name} died: {text}")
                self.gone = True
            finally:
                self.life.dead = True
            trace.add(f"{self.name} has crashed")
            await trio.sleep(self.downtime_seconds)

    def kill(self, downtime_seconds: float) -> None:
        """Crash it; it is started again after so long."""
        self.downtime_seconds = downtime_seconds
        self.life.kill()

    def end(self) -> None:
        """Crash it for good."""
        self.gone = True
        self.life.kill()


def _connection(world: World, life: Life) -> Connection:
    return Connection(world.store, injector(world.storm, life, "store", StoreUnavailable), lambda: life.cut)


def _runtime(world: World, life: Life) -> MockRuntime:
    capabilities = set(RuntimeCapability)
    if not world.options.events:
        capabilities.discard(RuntimeCapability.EVENTS)
    runtime = MockRuntime(world.containers, capabilities=capabilities)
    runtime._injector = injector(world.storm, life, "runtime", RuntimeUnavailable)
    return runtime


@define(eq=False)
class Server:
    """The cluster loop, and with it all node loops where they are not separated.

    Attributes:
        name: Its name.
        world: Where it lives.
        program: What starts it.
        orchestrator: The current one.
    """

    name: str
    world: World
    program: Program = field(init=False)
    orchestrator: Orchestrator | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.program = Program(self.name, self.world, self._main)

    @property
    def serves(self) -> bool:
        """Whether it can be asked."""
        return not self.program.life.dead and self.orchestrator is not None and self.orchestrator.world.synced.is_set()

    async def _main(self, life: Life) -> None:
        world, separated = self.world, self.world.options.separated
        if not separated:
            world.open_store()
        cluster = MockClusterManager(world.cluster)
        cluster._faults = injector(world.storm, life, "cluster", ClusterUnavailable)
        decider: Scheduler = FullScanScheduler() if world.options.preempts else SimpleScheduler()
        scheduler = FaultyScheduler(decider, injector(world.storm, life, "scheduler", SchedulerUnavailable))
        orchestrator = self.orchestrator = Orchestrator(
            _runtime(world, life),
            cluster,
            scheduler,
            _connection(world, life),
            volumes=world.volumes.on(NodeId("all")),
            prober=WorldProber(world),
            ports=world.ports,
            take_over=world.options.servers == 1,
            timings=TIMINGS,
            now=world.now,
            new_uid=world.new_uid,
            random=random.Random(world.random.random()),
            runs_node=lambda _node: not separated,
        )
        await orchestrator.run()


@define(eq=False)
class Agent:
    """A node loop in a program of its own.

    Attributes:
        node_id: Its node.
        world: Where it lives.
        program: What starts it.
        loop: The current one.
    """

    node_id: NodeId
    world: World
    program: Program = field(init=False)
    loop: NodeLoop | None = field(default=None, init=False)
    mirror: Mirror | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.program = Program(f"agent {self.node_id}", self.world, self._main)

    async def _main(self, life: Life) -> None:
        world = self.world
        store, runtime = _connection(world, life), _runtime(world, life)
        mirror = self.mirror = Mirror()
        recorder = EventRecorder(store, world.now, world.new_uid)
        loop = self.loop = NodeLoop(
            self.node_id,
            store,
            runtime,
            mirror,
            recorder,
            Deadlines(world.now),
            world.ports(),
            world.volumes.on(self.node_id),
            WorldProber(world),
            world.new_uid,
            random.Random(world.random.random()),
            lease_seconds=TIMINGS.lease,
            skew_seconds=TIMINGS.skew,
            period_seconds=TIMINGS.period,
            poll_seconds=TIMINGS.poll,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(mirror.follow, store)
            nursery.start_soon(recorder.run)
            nursery.start_soon(loop.run)
