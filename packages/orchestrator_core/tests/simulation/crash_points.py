"""One scenario, with a crash of the orchestrator at one call of it, and what is there at its end."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

import trio
from attrs import define, evolve, field
from orchestrion.mocks import Fault, FaultKind, SimulatedCrash, mock_nodes
from orchestrion.orchestrator_core import Orchestrator
from orchestrion.orchestrator_core._state.records import parse_ranges
from orchestrion.orchestrator_core._state.world import World as Mirror
from orchestrion.shared_types import Node, NodeId, OrchestrationError, Resources

from .options import Options
from .programs import Server
from .runner import run_repeatably
from .storm import MUTATIONS, Storm
from .trace import Trace
from .world import World

QUIET_SECONDS: Final = 35.0
"""Nothing is under way any more once nothing has been written for so long: longer than a pass over everything."""

STORE_WRITES: Final = frozenset({"put", "delete", "transaction", "grant_lease", "revoke"})
RUNTIME_CALLS: Final = MUTATIONS | {"init_node", "list_containers", "get_container_status"}


@define(eq=False)
class CrashPoint(Storm):
    """Counts the calls that may be the last, and makes one of them the last.

    Attributes:
        at: Which of them, from 1; 0 is none.
        kind: Before or after its effect.
        calls: How many there were so far while it was on.
    """

    at: int = field(default=0, kw_only=True)
    kind: FaultKind = field(default=FaultKind.CRASH_BEFORE, kw_only=True)
    calls: int = 0

    def draw(self, who: str, place: str, method: str) -> Fault | None:
        counted = (place == "store" and method in STORE_WRITES) or (place == "runtime" and method in RUNTIME_CALLS)
        if not self.on or not counted:
            return None
        self.calls += 1
        self.trace.add(f"call {self.calls}: {place}.{method}")
        return Fault(self.kind) if self.calls == self.at else None


@define(eq=False)
class Stage:
    """Where a scenario plays.

    Attributes:
        world: Everything but the orchestrator.
        server: The orchestrator, started again after each crash.
        point: When it crashes.
    """

    world: World
    server: Server
    point: CrashPoint

    async def ask(self, call: Callable[[Orchestrator], Awaitable[object]]) -> None:
        """Ask for something, again and again until it is done: what a crash has cut off is asked for anew."""
        while True:
            orchestrator = self.server.orchestrator
            if orchestrator is not None and self.server.serves:
                with trio.move_on_after(5.0):
                    try:
                        await call(orchestrator)
                    except (OrchestrationError, SimulatedCrash) as err:
                        self.world.trace.add(f"asked in vain: {err!r}")
                    else:
                        return
            await trio.sleep(0.1)
            self.world.trace.raise_if_violated()

    async def settle(self) -> None:
        """Wait until nothing is written any more."""
        while True:
            writes = self.world.watchdog.writes
            await trio.sleep(QUIET_SECONDS)
            self.world.trace.raise_if_violated()
            if self.world.watchdog.writes == writes:
                return


Act = Callable[[Stage], Awaitable[None]]


@define(eq=False)
class Scenario:
    """Something that an orchestrator is asked to do.

    Attributes:
        name: Its name.
        before: What happens before anything may crash.
        act: What happens while it may.
        restarts: Whether containers start more than once by themselves.
    """

    name: str
    before: Act
    act: Act
    restarts: bool = False


@define
class EndState:
    """What is there at the end, whatever happened on the way.

    Attributes:
        workloads: What each has come to.
        running: How many live containers there are, by workload, generation, container and command.
        completions: How often each index of a batch workload has succeeded by itself.
        left_over: What nobody owns.
    """

    workloads: dict[str, str]
    running: Counter[tuple[str, int, str, tuple[str, ...]]]
    completions: Counter[int]
    left_over: list[str]


@define(eq=False)
class Result:
    """What came of a run.

    Attributes:
        end: What is there at the end.
        calls: How many calls may have been the last.
        attempts: The highest attempt that was started.
        crashes: How often the orchestrator crashed.
        trace: What happened.
    """

    end: EndState
    calls: int
    attempts: int
    crashes: int
    trace: Trace


def play(scenario: Scenario, at: int = 0, kind: FaultKind = FaultKind.CRASH_BEFORE) -> Result:
    """Play a scenario, with a crash at the `at`-th call."""
    trace = Trace()
    result: Result = run_repeatably(1, _play, scenario, CrashPoint(random.Random(1), trace, {}, at=at, kind=kind))
    return result


def begin(nursery: trio.Nursery, point: CrashPoint) -> Stage:
    """Make a world of two nodes, and start an orchestrator in it."""
    world = World(_OPTIONS, random.Random(1), point.trace, point)
    for number in range(2):
        world.cluster.add_node(_node(number))
    server = Server("server", world)
    nursery.start_soon(server.program.supervise)
    return Stage(world, server, point)


async def _play(scenario: Scenario, point: CrashPoint) -> Result:
    async with trio.open_nursery() as nursery:
        stage = begin(nursery, point)
        world = stage.world
        await scenario.before(stage)
        await stage.settle()
        point.on = True
        await scenario.act(stage)
        await stage.settle()
        point.on = False
        end = await _end_state(stage)
        attempts = max((start.attempt for start in world.containers.start_records), default=0)
        world.trace.raise_if_violated()
        nursery.cancel_scope.cancel()
    crashes = sum(text == "server has crashed" for _, text in point.trace.lines)
    return Result(end, point.calls, attempts, crashes, point.trace)


_OPTIONS: Final = Options(
    seed=1,
    nodes=2,
    separated=False,
    servers=1,
    steps=0,
    longest_pause=0.0,
    history_limit=10_000,
    engine_per_node=True,
    events=True,
    lies=False,
    node_millicores=4000,
    preempts=True,
    slow_probes=0.0,
    rates={"runtime": (1.0, ())},
    upheavals=(),
)


def _node(number: int) -> Node:
    capacity = Resources(cpu_millicores=4000, memory_bytes=16 << 30, disk_bytes=100 << 30)
    (blank,) = mock_nodes(1, capacity=capacity)
    return evolve(blank, id=NodeId(f"node-{number}"), name=f"node-{number}")


async def _end_state(stage: Stage) -> EndState:
    world = stage.world
    mirror = Mirror()
    await mirror.load(world.store)
    workloads = dict[str, str]()
    generations = dict[tuple[str, int, int], int]()
    for name, record in mirror.workloads.items():
        progress, spec = record.progress, record.spec
        assert spec is not None
        active = Counter(
            (instance.bound.binding.generation, instance.state.value)
            for instance in record.instances.values()
            if instance.bound is not None and not instance.ended
        )
        workloads[name.name] = f"template {spec.template_generation}, instances {sorted(active.items())}" + (
            f", {progress.outcome}, {sorted(parse_ranges(progress.completed))}, stable {progress.stable_generation}"
            f", failed {progress.failed_generation}"
            if progress is not None
            else ""
        )
        for instance in record.instances.values():
            if instance.bound is not None:
                generations[instance.bound.workload_id, instance.name.slot, instance.name.epoch] = (
                    instance.bound.binding.generation
                )
    running = Counter[tuple[str, int, str, tuple[str, ...]]]()
    left_over = list[str]()
    for container in world.containers.containers.values():
        key, options = container.options.instance, container.options
        generation = generations.get((key.workload_id, key.index, key.epoch))
        if generation is None:
            if world.containers.node(options.node_id).reachable:
                left_over.append(f"container {container.container_id} of {options.workload}")
        elif container.live:
            running[options.workload, generation, container.config.name, container.config.command] += 1
    left_over.extend(f"volume of {name}" for _, name in world.volumes.own if name not in mirror.instances)
    for node in world.cluster.list_nodes():
        in_use = {p for c in world.containers.containers.values() if c.live for p in c.host_ports.values()}
        left_over.extend(f"port {port}" for port in world.containers.ports_in_use(node.id) - in_use)
    completions = Counter({slot: count for (_, _, slot), count in world.watchdog.completions.items()})
    return EndState(workloads, running, completions, left_over)
