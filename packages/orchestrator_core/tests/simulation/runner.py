"""One run: things happen, all heals, everything is as it should be, nothing moves."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import trio
import trio._core._run as trio_run
from attrs import define
from trio.testing import MockClock

from .driver import Driver
from .options import Options, options_of
from .settled import check_cleared, check_settled
from .storm import Storm
from .trace import Trace, Violation
from .world import World

QUIET_SECONDS = 70.0
"""Nothing is under way any more once nothing has been written for so long: every back-off is shorter."""

PATIENCE_SECONDS = 1200.0
IDLE_SECONDS = 300.0


@define(eq=False)
class Outcome:
    """What came of a run.

    Attributes:
        options: Derived from the seed.
        trace: What happened.
        faults: How often each kind of fault happened.
        seconds: How long it took, by the simulated clock.
    """

    options: Options
    trace: Trace
    faults: Counter[str]
    seconds: float


def run_seed(seed: int) -> Outcome:
    """Run a seed.

    Raises:
        Violation: A rule was broken.
    """
    options = options_of(seed)
    trace = Trace()
    try:
        faults, seconds = run_repeatably(seed, _simulate, options, trace)
    except BaseExceptionGroup as group:
        raise Violation(explain(options, trace)) from group
    except Violation as err:
        raise Violation(f"{err}\n{explain(options, trace)}") from err
    return Outcome(options, trace, faults, seconds)


def run_repeatably(seed: int, main: Any, *args: object) -> Any:
    """Run a program on simulated time, in the same way for the same seed."""
    allowed = trio_run._ALLOW_DETERMINISTIC_SCHEDULING
    state = trio_run._r.getstate()
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc] # trio has no public switch for it
    trio_run._r.seed(seed)
    try:
        return trio.run(main, *args, clock=MockClock(autojump_threshold=0))
    finally:
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING = allowed  # type: ignore[misc] # the same
        trio_run._r.setstate(state)


def explain(options: Options, trace: Trace) -> str:
    """Return how to see a failure again, and what led to it."""
    seed = options.seed
    command = (
        f"ORCHESTRION_SEEDS={seed}:{seed + 1} uv run python -m pytest"
        " packages/orchestrator_core/tests/simulation/test_core_simulation.py -k invariants"
    )
    return f"replay with: {command}\n{options}\nthe last of {len(trace.lines)} lines:\n{trace.tail(60)}"


async def _simulate(options: Options, trace: Trace) -> tuple[Counter[str], float]:
    chance = random.Random(f"run {options.seed}")
    storm = Storm(random.Random(f"storm {options.seed}"), trace, options.rates)
    world = World(options, chance, trace, storm)
    async with trio.open_nursery() as nursery:
        driver = Driver(world, nursery)
        driver.begin()
        await _calm_beginning(driver)
        storm.on = True
        for _ in range(options.steps):
            await _step(driver)
            trace.raise_if_violated()
        await driver.heal()
        await driver.repair()
        await _wait_until_quiet(world)
        await check_settled(driver)
        if await driver.careful_end():
            await _wait_until_quiet(world)
            await check_settled(driver)
        await _stay_idle(driver)
        await _clear(driver)
        trace.raise_if_violated()
        nursery.cancel_scope.cancel()
    return storm.counts, trio.current_time()


async def _calm_beginning(driver: Driver) -> None:
    """Let some workloads run before anything goes wrong."""
    while not any(server.serves for server in driver.servers):
        await trio.sleep(0.1)
        driver.world.trace.raise_if_violated()
    for name in ("web", "job", "watcher"):
        if driver.world.random.random() < 0.7 and not await driver.apply(name, good=True):
            driver.world.trace.violated(f"{name} was refused although all is well")
    driver.world.trace.raise_if_violated()
    await trio.sleep(driver.world.random.choice((0.0, 3.0, 20.0)))


async def _step(driver: Driver) -> None:
    world = driver.world
    if not world.options.upheavals or world.random.random() < 0.5:
        await driver.author()
    else:
        await driver.upheaval(world.random.choice(world.options.upheavals))
    await driver.careful()
    await trio.sleep(world.random.random() * world.options.longest_pause)


async def _wait_until_quiet(world: World) -> None:
    """Wait until nothing is written any more."""
    began = trio.current_time()
    while True:
        writes = world.watchdog.writes
        await trio.sleep(QUIET_SECONDS)
        world.trace.raise_if_violated()
        if world.watchdog.writes == writes:
            return
        if trio.current_time() - began > PATIENCE_SECONDS:
            world.trace.violated(f"it was not quiet within {PATIENCE_SECONDS:g} s after all had healed")
            world.trace.raise_if_violated()


async def _stay_idle(driver: Driver) -> None:
    """Nothing is written and nothing asked of the runtime while nothing happens."""
    world = driver.world
    writes = world.state.revision
    mutations = sum(life.mutations for life in driver.lives())
    await trio.sleep(IDLE_SECONDS)
    if world.state.revision != writes:
        world.trace.violated(f"{world.state.revision - writes} writes while nothing happened")
    if sum(life.mutations for life in driver.lives()) != mutations:
        world.trace.violated("the runtime was asked to change something while nothing happened")
    world.trace.raise_if_violated()


async def _clear(driver: Driver) -> None:
    """Remove everything, and look for what is left over."""
    names = sorted({key.split("/")[3] for key in driver.world.state.entries if key.startswith("/workload/")})
    # Dependants go first.
    for name in sorted(names, key=lambda name: (name not in {"front", "total"}, name)):
        await driver.remove(name)
    await _wait_until_quiet(driver.world)
    check_cleared(driver)
