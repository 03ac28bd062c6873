"""`up`: run a manifest and follow it to its end."""

from __future__ import annotations

import signal
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from datetime import UTC, datetime
from pathlib import Path

import trio
from attrs import frozen
from orchestrion.control_plane import Control, HttpControl
from orchestrion.orchestrator_core import ApplyResult, ChangeAction, LogQuery, LogRecord, Orchestrator, Update
from orchestrion.runtime_interface import LogStream
from orchestrion.shared_types import (
    ConfigInvalid,
    OrchestrationError,
    WorkloadDefinition,
    WorkloadKind,
    WorkloadNotFound,
)

from ._display import Display, display
from ._exit_codes import ExitCode
from ._logs import print_records
from ._manifests import is_stdin, load, naming
from ._output import note
from ._owner import orchestrating, way_in
from ._patience import OUTAGES, Patience
from ._picture import Key, Picture, gone, key_of
from ._quick import LogChoice
from ._reach import owner_or_lock
from ._state_directory import Ownership, StateDirectory, at
from ._words import ENDED, full_name, view_name, why

_SILENCE_SECONDS = 30.0
"""How long output is waited for of which nothing has come; what has ended comes to the end of its output sooner."""


def run_up(file: Path, state: Path | None, logs: LogChoice, plugins: Mapping[str, str]) -> int:
    """Run `up` to its end."""
    place = at(state)
    try:
        workloads: Sequence[WorkloadDefinition] | None = load(file)
    except ConfigInvalid:
        if not place.path.is_dir() or is_stdin(file):
            raise
        workloads = None  # It may come after workloads of another file: they are known when the store is open.
    made = not place.path.exists()
    place.make()
    return trio.run(_run, Request(file, workloads, logs, plugins, made), place)


@frozen
class Request:
    """What was asked for.

    Attributes:
        file: The manifest.
        workloads: What it says; None: it has to be loaded with knowledge of what there is.
        logs: Whose output is shown.
        plugins: Names of plug-ins by interface, where others are wanted than those of the last time.
        made: Whether the state directory was made for this, and goes again if the request is refused.
    """

    file: Path
    workloads: Sequence[WorkloadDefinition] | None
    logs: LogChoice
    plugins: Mapping[str, str]
    made: bool


async def _run(request: Request, place: StateDirectory) -> int:
    code: int | None = None
    interrupted = trio.Event()
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_listen, signals, interrupted, nursery.cancel_scope)
            async with owner_or_lock(place) as found:
                if isinstance(found, HttpControl):
                    code = await _follow_other(request, place, found, interrupted)
                else:
                    code = await _own(request, place, found, interrupted)
            nursery.cancel_scope.cancel()
    return ExitCode.INTERRUPTED if code is None else code


async def _listen(signals: AsyncIterator[int], interrupted: trio.Event, scope: trio.CancelScope) -> None:
    async for _ in signals:
        if interrupted.is_set():
            note("not waiting any longer; what still runs goes on ending, and the next `up` or `stop` takes it up")
            scope.cancel()
        interrupted.set()


async def _own(request: Request, place: StateDirectory, ownership: Ownership, interrupted: trio.Event) -> int:
    """Be the owner: run the orchestrator until all is over, or until interrupted and drained."""
    plugins = {**ownership.plugins, **request.plugins}
    unused = False
    try:
        async with orchestrating(place, plugins) as orchestrator:
            try:
                control = await way_in(orchestrator, place)
                applied = await _apply(control, request, again=not ownership.was_cut_short)
            except OrchestrationError:
                unused = request.made and not orchestrator.world.workloads
                raise
            ownership.begin(plugins)
            code = await _follow_own(orchestrator, applied, request.logs, interrupted)
            ownership.end()
        return ExitCode.INTERRUPTED if interrupted.is_set() else code
    finally:
        if unused:
            place.discard()


async def _follow_own(orchestrator: Orchestrator, applied: _Applied, logs: LogChoice, interrupted: trio.Event) -> int:
    """Follow all that runs here to its end."""
    picture = Picture()
    with display(_now, applied.keys) as shown:
        async with trio.open_nursery() as nursery:
            outputs = _Outputs(orchestrator.logs, shown, logs)
            nursery.start_soon(outputs.show, applied)
            nursery.start_soon(_drain_when_interrupted, orchestrator, interrupted, shown)
            async with orchestrator.watch() as updates, aclosing(_taken(updates, picture)) as taken:
                await _watch(taken, picture, shown, None)
            await outputs.finish()
            nursery.cancel_scope.cancel()
        return _conclude(picture, applied.keys | picture.active, shown)


async def _drain_when_interrupted(orchestrator: Orchestrator, interrupted: trio.Event, shown: Display) -> None:
    await interrupted.wait()
    shown.say("stopping everything; Ctrl-C again stops waiting for it")
    await orchestrator.stop_all()


async def _follow_other(request: Request, place: StateDirectory, control: HttpControl, interrupted: trio.Event) -> int:
    """Apply to the owner, and follow what was applied."""
    # Imported here, because only who follows another one should pay for it.
    from ._following import followed_logs
    from ._watching import followed_updates

    applied = await _apply(control, request, again=True)
    keys = applied.keys
    changed = sum(change.action is not ChangeAction.UNCHANGED for change in applied.result.changes)
    note(f"applied to the orchestrator that runs here already: {changed} of {len(keys)} changed")
    picture, patience = Picture(), Patience(control)
    with display(_now, keys) as shown:
        async with trio.open_nursery() as nursery:
            outputs = _Outputs(
                lambda query: aclosing(followed_logs(control, place, query, patience)), shown, request.logs
            )
            nursery.start_soon(outputs.show, applied)
            nursery.start_soon(_leave_when_interrupted, interrupted, nursery.cancel_scope)
            following = followed_updates(control, place, picture, patience, lambda stored: stored.is_over(keys))
            async with aclosing(following) as updates:
                try:
                    await _watch(updates, picture, shown, keys)
                except OUTAGES as err:
                    raise gone() from err
            await outputs.finish()
            nursery.cancel_scope.cancel()
        if interrupted.is_set():
            shown.say("not following any longer; it goes on")
            return ExitCode.INTERRUPTED
        return _conclude(picture, keys, shown)


async def _leave_when_interrupted(interrupted: trio.Event, scope: trio.CancelScope) -> None:
    await interrupted.wait()
    scope.cancel()


@frozen
class _Applied:
    """What was applied.

    Attributes:
        workloads: What the file says.
        result: What that changed.
        again: The batch workloads that had ended, and run again.
        at: When: what they wrote before is of an earlier run.
    """

    workloads: Sequence[WorkloadDefinition]
    result: ApplyResult
    again: Collection[Key]
    at: datetime

    @property
    def keys(self) -> set[Key]:
        """The workloads of the file."""
        return {key_of(one) for one in self.workloads}


async def _apply(control: Control, request: Request, *, again: bool) -> _Applied:
    """Apply the file. `again` runs its batch work again if all of it has ended before."""
    views = {key_of(view.definition): view for view in await control.list_workloads()}
    workloads = request.workloads
    if workloads is None:
        workloads = load(request.file, others=[view.definition for view in views.values()])
    ended = [key_of(one) for one in workloads if one.kind is WorkloadKind.BATCH and key_of(one) in views]
    if not again or not all(views[key].phase in ENDED for key in ended):
        ended = []
    at = _now()
    async with naming(request.file, control):
        result = await control.apply(workloads, rerun=bool(ended))
    for key in ended:
        note(f"{full_name(*key)}: {views[key].phase.value} before, and runs again")
    return _Applied(workloads, result, ended, at)


async def _taken(updates: AsyncIterator[Update], picture: Picture) -> AsyncGenerator[Update, None]:
    async for update in updates:
        picture.take(update)
        yield update


async def _watch(
    updates: AsyncIterator[Update], picture: Picture, shown: Display, keys: Collection[Key] | None
) -> None:
    """Show updates, which the picture has taken in, until the workloads named, or all, are over."""
    async for update in updates:
        if keys is None or (update.namespace, _workload_of(update.name)) in keys:
            shown.update(picture, update)
        if picture.synced and picture.is_over(keys):
            return
    raise gone()


def _workload_of(name: str) -> str:
    return name.partition(".")[0]


_Read = Callable[[LogQuery], AbstractAsyncContextManager[AsyncIterator[LogRecord]]]


class _Outputs:
    """Shows what the containers of workloads write."""

    def __init__(self, read: _Read, shown: Display, choice: LogChoice) -> None:
        self._read = read
        self._shown = shown
        self._choice = choice
        self._done = trio.Event()
        self._patience = trio.CancelScope()

    async def show(self, applied: _Applied) -> None:
        """Show the output of all workloads whose output was asked for, to its end."""
        async with trio.open_nursery() as nursery:
            for workload in applied.workloads:
                if self._choice == "all" or (self._choice == "batch" and workload.kind is WorkloadKind.BATCH):
                    since = applied.at if key_of(workload) in applied.again else None
                    nursery.start_soon(self._show_one, workload, since)
        self._done.set()

    async def finish(self) -> None:
        """Wait until all was shown, however long that takes, but not for ever for what does not come."""
        self._patience.deadline = trio.current_time() + _SILENCE_SECONDS
        with self._patience:
            await self._done.wait()

    def _lines(self, stream: LogStream, prefix: str, lines: Sequence[bytes]) -> None:
        for line in lines:
            self._shown.line(stream, prefix, line)
        # After the lines: a reader may have kept it waiting for long.
        self._patience.deadline = trio.current_time() + _SILENCE_SECONDS

    async def _show_one(self, workload: WorkloadDefinition, since: datetime | None) -> None:
        name, namespace = workload.metadata.name, workload.metadata.namespace
        query = LogQuery(subject=name, namespace=namespace, follow=True, since=since)
        try:
            async with self._read(query) as records:
                await print_records(records, self._lines, with_container=len(workload.containers) > 1)
        except (WorkloadNotFound, *OUTAGES):
            pass  # It was removed, or the owner has gone; whoever watches says so.


def _conclude(picture: Picture, keys: Collection[Key], shown: Display) -> int:
    failed = picture.failed(keys)
    for view in failed:
        cause = why(view.reason, view.message)
        shown.say(f"{view_name(view)} failed{f': {cause}' if cause else ''}")
    return ExitCode.FAILED if failed else ExitCode.OK


def _now() -> datetime:
    return datetime.now(UTC)
