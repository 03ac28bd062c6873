"""What requests to a server wait for: measured inside of it, by those of its steps that can take long."""

from __future__ import annotations

import gc
import statistics
import sys
import threading
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any, Final
from unittest.mock import patch

import trio
from attrs import define, field
from orchestrion.control_plane._history.history import History
from orchestrion.control_plane._identity.audit import AuditLog
from orchestrion.control_plane._limits.seats import Seats
from orchestrion.control_plane._web.pipeline import Pipeline
from orchestrion.store_sqlite import SqliteStore
from orchestrion.store_sqlite._file import StateFile

Stages = dict[str, float]

_CURRENT: Final[ContextVar[Stages | None]] = ContextVar("waits", default=None)
_LONG_SECONDS: Final = 0.02


@define(eq=False)
class Waits(trio.abc.Instrument):
    """Measures.

    Attributes:
        requests: Of each change how long it took in all, and how long it was in which of its waits.
        steps: By what is done in a thread, how long it took each time.
        pauses: How long the collector of garbage took each time.
        turns: How long the event loop worked at a stretch, in its longest turns, and at what longest.
    """

    requests: list[tuple[float, Stages]] = field(factory=list)
    steps: dict[str, list[float]] = field(factory=lambda: defaultdict(list))
    pauses: list[float] = field(factory=list)
    turns: list[tuple[float, int, str, float]] = field(factory=list)
    _collecting: float = 0.0
    _turn: float = 0.0
    _step: float = 0.0
    _count: int = 0
    _longest: tuple[float, str] = (0.0, "")
    _over: threading.Event = field(factory=threading.Event)
    _seen: Counter[str] = field(factory=Counter)
    """Where steps were that had gone on for long."""

    @classmethod
    @contextmanager
    def watched(cls) -> Iterator[Waits]:
        """Measure while inside."""
        waits = cls()
        with ExitStack() as stack:
            stack.enter_context(patch.object(Pipeline, "_watch", waits._around_request(Pipeline._watch)))
            for owner, name, stage in (
                (SqliteStore, "transaction", "store"),
                (History, "wait_for", "history"),
                (AuditLog, "write", "audit"),
                (Seats, "take", "seat"),
            ):
                stack.enter_context(patch.object(owner, name, waits._timed(getattr(owner, name), stage)))
            for threaded, name, step in ((StateFile, "commit", "store commit"), (AuditLog, "_append", "audit append")):
                stack.enter_context(patch.object(threaded, name, waits._timed_step(getattr(threaded, name), step)))
            gc.callbacks.append(waits._note_collection)
            stack.callback(gc.callbacks.remove, waits._note_collection)
            threading.Thread(target=waits._look, args=(threading.get_ident(),), daemon=True).start()
            stack.callback(waits._over.set)
            yield waits

    def _look(self, loop: int) -> None:
        """Look again and again whether the loop's thread is at a step for long, and where."""
        while not self._over.wait(0.005):
            if self._step and time.perf_counter() - self._step > _LONG_SECONDS:
                frames = traceback.extract_stack(sys._current_frames()[loop])[-6:]
                self._seen[" < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames))] += 1

    def _around_request(self, function: Callable[..., Any]) -> Callable[..., Any]:
        async def around(pipeline: Any, app: Any, scope: Any, receive: Any, send: Any) -> None:
            if scope.get("method") != "POST":
                await function(pipeline, app, scope, receive, send)
                return
            stages: Stages = {}
            token, began = _CURRENT.set(stages), time.perf_counter()
            try:
                await function(pipeline, app, scope, receive, send)
            finally:
                _CURRENT.reset(token)
                self.requests.append((time.perf_counter() - began, stages))

        return around

    def _timed(self, function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        async def timed(*arguments: Any, **options: Any) -> Any:
            began = time.perf_counter()
            try:
                return await function(*arguments, **options)
            finally:
                stages = _CURRENT.get()
                if stages is not None:
                    stages[stage] = stages.get(stage, 0.0) + time.perf_counter() - began

        return timed

    def _timed_step(self, function: Callable[..., Any], step: str) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*arguments)
            finally:
                self.steps[step].append(time.perf_counter() - began)

        return timed

    def _note_collection(self, phase: str, _info: Any) -> None:
        if phase == "start":
            self._collecting = time.perf_counter()
        else:
            self.pauses.append(time.perf_counter() - self._collecting)

    # -- of trio ------------------------------------------------------------------------------------

    def after_io_wait(self, _timeout: float) -> None:
        self._turn, self._count, self._longest = time.perf_counter(), 0, (0.0, "")

    def before_io_wait(self, _timeout: float) -> None:
        took = time.perf_counter() - self._turn
        if self._turn and took >= _LONG_SECONDS:
            self.turns.append((took, self._count, self._longest[1], self._longest[0]))

    def before_task_step(self, _task: trio.lowlevel.Task) -> None:
        self._step = time.perf_counter()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        took, self._step = time.perf_counter() - self._step, 0.0
        self._count += 1
        if took > self._longest[0]:
            self._longest = (took, task.name)

    # -- what it comes to ---------------------------------------------------------------------------

    def print_report(self) -> None:
        """Print what the slowest requests have waited for beside all others, and what was slow within."""
        out = sys.stderr
        whole = sorted(self.requests, key=lambda request: request[0])
        slowest = whole[-max(1, len(whole) // 100) :]
        print(f"{len(whole)} changes; in ms:", file=out)
        for name, some in (("all", whole), ("slowest 1 %", slowest)):
            if not some:
                continue
            total = statistics.fmean(took for took, _ in some)
            stages = {
                stage: statistics.fmean(found.get(stage, 0.0) for _, found in some)
                for stage in ("seat", "store", "history", "audit")
            }
            rest = total - sum(stages.values())
            words = ", ".join(f"{stage} {1e3 * took:.1f}" for stage, took in {**stages, "rest": rest}.items())
            print(f"  {name:<12} {1e3 * total:.1f}: {words}", file=out)
        for step, samples in self.steps.items():
            print(f"  {_spread(step, samples)}", file=out)
        print(f"  {_spread('collections', self.pauses)}", file=out)
        print(f"  {_spread('turns of 20 ms and more', [turn[0] for turn in self.turns])}", file=out)
        for took, count, name, longest in sorted(self.turns, reverse=True)[:5]:
            print(f"    {1e3 * took:.1f} with {count} steps; the longest {1e3 * longest:.1f}: {name}", file=out)
        for place, times in self._seen.most_common(12):
            print(f"    {times} looks found a long step at {place}", file=out)


def _spread(name: str, took: list[float]) -> str:
    if not took:
        return f"{name}: none"
    ordered = sorted(took)
    middle, late = ordered[len(ordered) // 2], ordered[int(0.99 * (len(ordered) - 1))]
    return f"{name}: {len(took)}, median {1e3 * middle:.2f}, p99 {1e3 * late:.2f}, most {1e3 * ordered[-1]:.2f}"
