"""What kind of run a seed is."""

from __future__ import annotations

import random

from attrs import define
from orchestrion.mocks import FaultKind

FAIL, FAIL_AFTER, DELAY, HANG = FaultKind.FAIL, FaultKind.FAIL_AFTER, FaultKind.DELAY, FaultKind.HANG
CRASHES = (FaultKind.CRASH_BEFORE, FaultKind.CRASH_AFTER)
EVENTS = (FaultKind.LOSE_EVENT, FaultKind.REPEAT_EVENT)
LIE = FaultKind.LIE


@define(eq=False)
class Options:
    """What kind of run a seed is; all of it follows from the seed.

    Attributes:
        seed: The seed.
        nodes: How many nodes there are at first.
        separated: Whether each node has a program of its own, apart from the cluster loop's.
        servers: How many programs with a cluster loop there are; one leads.
        steps: How many things happen before all heals.
        longest_pause: Seconds between two of them at most.
        history_limit: How much the store remembers.
        engine_per_node: Whether each node has an engine of its own.
        events: Whether the runtime tells of changes.
        lies: Whether the runtime lies.
        node_millicores: How large nodes are; not everything may find a place on small ones.
        preempts: Whether the scheduler lets higher priorities push out lower ones.
        slow_probes: The share of health checks that are too slow.
        rates: How often calls go wrong, and how, by place.
        upheavals: Kinds of operation that happen.
    """

    seed: int
    nodes: int
    separated: bool
    servers: int
    steps: int
    longest_pause: float
    history_limit: int
    engine_per_node: bool
    events: bool
    lies: bool
    node_millicores: int
    preempts: bool
    slow_probes: float
    rates: dict[str, tuple[float, tuple[FaultKind, ...]]]
    upheavals: tuple[str, ...]


UPHEAVALS = (
    "kill server",
    "kill agent",
    "cut agent",
    "cut server",
    "mend",
    "partition node",
    "kill node",
    "heal node",
    "drain",
    "cordon",
    "uncordon",
    "add node",
    "remove node",
    "label",
    "compact",
    "wall clock",
    "exit container",
    "vanish container",
    "sicken container",
    "take ports",
    "reset calls",
    "lose sight",
    "taint",
)


def _some(chance: random.Random, rate: float, kinds: tuple[FaultKind, ...]) -> tuple[float, tuple[FaultKind, ...]]:
    """Return a rate and some of the kinds; which ones differs from seed to seed, so that each has its day."""
    chosen = tuple(kind for kind in kinds if chance.random() < 0.6)
    return (chance.choice((0.0, rate / 4, rate)), chosen)


def options_of(seed: int) -> Options:
    """Return the options of a seed."""
    chance = random.Random(f"options {seed}")
    separated = chance.random() < 0.5
    tight = chance.random() < 0.3
    runtime = _some(chance, 0.12, (FAIL, FAIL_AFTER, DELAY, HANG, *EVENTS, LIE, *CRASHES))
    rates = {
        "store": _some(chance, 0.06, (FAIL, FAIL_AFTER, DELAY, HANG, *CRASHES)),
        "runtime": runtime,
        "cluster": _some(chance, 0.15, (FAIL, DELAY, *EVENTS)),
        "scheduler": _some(chance, 0.3, (FAIL, FAIL_AFTER, DELAY, LIE)),
    }
    return Options(
        seed=seed,
        nodes=chance.randint(1, 3 if tight else 6),
        separated=separated,
        servers=chance.randint(1, 2) if separated else 1,
        steps=chance.randint(6, 16),
        longest_pause=chance.choice((0.5, 4.0, 15.0)),
        history_limit=chance.choice((5, 50, 10_000)),
        engine_per_node=chance.random() < 0.5,
        events=chance.random() < 0.8,
        lies=LIE in runtime[1] and runtime[0] > 0.0,
        node_millicores=chance.choice((100, 150, 300)) if tight else 4000,
        preempts=tight or chance.random() < 0.2,
        slow_probes=chance.choice((0.0, 0.0, 0.2)),
        rates=rates,
        upheavals=tuple(kind for kind in UPHEAVALS if chance.random() < 0.6),
    )
