"""Faults by chance around every call of every program, and the lives of programs that faults end."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import trio
from attrs import define, field
from orchestrion.mocks import Fault, FaultInjector, FaultKind
from orchestrion.shared_types import OrchestrationError

from .trace import Trace

R = TypeVar("R")

Kinds = tuple[FaultKind, ...]

PATIENCE_SECONDS = 90.0
"""A call that hangs is given up after so long, as a connection without a sign of life is."""


@define(eq=False)
class Storm:
    """All faults of a run.

    Attributes:
        random: Draws them.
        trace: Takes each.
        rates: The share of calls that go wrong, and how, by place: "store", "runtime", "cluster", "scheduler".
        on: Whether anything goes wrong now.
        max_delay_seconds: The longest delay.
        counts: How often what went wrong, by place and kind.
    """

    random: random.Random
    trace: Trace
    rates: Mapping[str, tuple[float, Kinds]]
    on: bool = False
    max_delay_seconds: float = 4.0
    counts: Counter[str] = field(factory=Counter)

    def draw(self, who: str, place: str, method: str) -> Fault | None:
        """Return what goes wrong with a call, or None."""
        if not self.on or place not in self.rates or method == "initialize":
            return None
        rate, kinds = self.rates[place]
        if self.random.random() >= rate:
            return None
        on_event = method == "event"
        possible = [k for k in kinds if (k in {FaultKind.LOSE_EVENT, FaultKind.REPEAT_EVENT}) is on_event]
        if not possible:
            return None
        kind = self.random.choice(possible)
        self.counts[f"{place} {kind}"] += 1
        self.trace.add(f"{who}: {place}.{method} gets {kind}")
        return Fault(kind, self.random.random() * self.max_delay_seconds)


@define(eq=False)
class Life:
    """One run of a program. When it is dead nothing that it still tries has any effect.

    Attributes:
        name: The program.
        scope: Ends its tasks.
        dead: Whether it has ended.
        cut: Whether it can't reach the store.
        calls: The calls that it waits for.
        mutations: How often it asked the runtime to change something.
        born: When it began, by trio's clock.
    """

    name: str
    scope: trio.CancelScope = field(factory=trio.CancelScope)
    dead: bool = False
    cut: bool = False
    calls: dict[trio.CancelScope, None] = field(factory=dict)
    mutations: int = 0
    born: float = 0.0

    def kill(self) -> None:
        """End it at once, as kill -9 does."""
        self.dead = True
        self.scope.cancel()

    def reset(self) -> None:
        """Let all calls that it waits for fail, as connections that are reset do."""
        for scope in list(self.calls):
            scope.cancel()


@define(eq=False)
class Source:
    """The faults of one program's calls to one place."""

    storm: Storm
    who: str
    place: str

    def next_fault(self, method: str, /) -> Fault | None:
        return self.storm.draw(self.who, self.place, method)


MUTATIONS = frozenset({"create_container", "stop_container", "remove_container"})


@define(eq=False)
class LifeInjector(FaultInjector):
    """An injector whose crash is that of its whole program, and whose hanging calls end when they are reset."""

    life: Life = field(kw_only=True)

    async def call(
        self,
        method: str,
        effect: Callable[[], Awaitable[R]],
        /,
        *,
        lie: Callable[[], Awaitable[R]] | None = None,
    ) -> R:
        life = self.life
        if method in MUTATIONS:
            life.mutations += 1
        scope = trio.CancelScope()
        if method not in {"next", "next_event", "stop_container", "create_container"}:
            scope.deadline = trio.current_time() + PATIENCE_SECONDS
        life.calls[scope] = None
        try:
            with scope:
                return await FaultInjector.call(self, method, effect, lie=lie)
        finally:
            del life.calls[scope]
        self.raise_if_crashed()
        raise self.unavailable(f"{method}: the connection was reset by order of the test")

    def crash(self) -> None:
        self.life.kill()
        self.raise_if_crashed()

    def raise_if_crashed(self) -> None:
        self.crashed = self.life.dead
        FaultInjector.raise_if_crashed(self)


def injector(storm: Storm, life: Life, place: str, unavailable: Callable[[str], OrchestrationError]) -> LifeInjector:
    """Return what stands around the calls of a program to a place."""
    return LifeInjector(Source(storm, life.name, place), unavailable, life=life)
