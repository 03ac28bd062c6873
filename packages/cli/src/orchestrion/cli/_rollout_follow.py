"""`rollout status`: following updates to their end."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import AsyncExitStack, aclosing
from typing import Final

import trio
from attrs import frozen
from orchestrion.control_plane import HttpControl
from orchestrion.orchestrator_core import UpdateKind, WorkloadPhase, WorkloadView
from orchestrion.shared_types import OrchestrationError, WorkloadKind, WorkloadNotFound

from ._exit_codes import ExitCode
from ._output import Form, is_for_people, note, show_one
from ._patience import OUTAGES, Patience
from ._picture import Key, Picture
from ._places import Place, namespace_of, place_of
from ._reach import reach_owner
from ._running import run_async
from ._times import seconds_of
from ._unplaced import COUNTS, Unplaced
from ._watching import followed_updates, stored_if
from ._where import Where
from ._words import full_name, ready, why

_ROLLED_BACK: Final = "rolled-back"

Tell = Callable[[WorkloadView], None]
"""Tells how a workload is doing."""


@frozen(kw_only=True)
class RolloutOutcome:
    """What became of following an update.

    Attributes:
        namespace: The workload's namespace.
        name: Its name.
        outcome: `rolled-out`, `failed`, `rolled-back`, or `late` where it has not ended in time.
        workload: How it was then; None where it is late.
    """

    namespace: str
    name: str
    outcome: str
    workload: WorkloadView | None


def _outcome_of(view: WorkloadView | None) -> str:
    if view is None:
        return "late"
    if view.reason == _ROLLED_BACK:
        return _ROLLED_BACK
    return "failed" if has_failed(view) else "rolled-out"


def run_rollout_status(name: str, timeout: str | None, where: Where, form: Form) -> int:
    """Follow an update to its end."""
    place = place_of(where)
    seconds = None if timeout is None else seconds_of(timeout)
    namespace = namespace_of(where, place)
    view = run_async(followed, place, namespace, (name,), seconds, teller_for(form)).get(name)
    if not is_for_people(form):
        outcome = RolloutOutcome(namespace=namespace, name=name, outcome=_outcome_of(view), workload=view)
        show_one(outcome, form, table=lambda _: (), name=lambda one: full_name(one.namespace, one.name))
    elif view is None:
        note(f"{name}: it has not ended within {timeout}; `orchestrion status {name}` says more")
    if view is None:
        return ExitCode.TIMEOUT
    return ExitCode.FAILED if has_failed(view) else ExitCode.OK


async def followed(
    place: Place, namespace: str, names: Collection[str], seconds: float | None, tell: Tell
) -> dict[str, WorkloadView]:
    """Follow workloads until each is rolled out or has failed, and return how each was then.

    **Cancellation.** Nothing of what is followed changes by it.

    Args:
        place: Where they are.
        namespace: Their namespace.
        names: Their names.
        seconds: How long at most; None is for ever. Those that are not rolled out by then are not in what is returned.
        tell: Tells how one is doing, as often as that changes.

    Raises:
        WorkloadNotFound: One of them is not there, or is there no longer.
        NoPlace: There is no place for one of them, for longer than is waited for that, or when time has run out.
        NetworkFailure: Nobody answers, or nobody for so long that it is given up; Unavailable or Closed likewise.
    """
    following, error = _Following(place, namespace, names, tell), list[OrchestrationError]()
    with trio.move_on_after(float("inf") if seconds is None else seconds):
        try:
            async with reach_owner(place) as control:
                await following.follow(control)
        except* OrchestrationError as group:
            error += _leaves_of(group)
        if error and isinstance(error[0], OUTAGES):
            # An owner that has nothing left to do ends, perhaps before it was asked.
            stored = await stored_if(place, following.is_over)
            if stored is not None:
                following.end(stored)
                error.clear()
    if error:
        raise error[0]
    lacking = [one for one in following.waiting.values() if one.is_now]
    if lacking:
        raise lacking[0].error()
    return following.ended


def _leaves_of(group: BaseExceptionGroup[OrchestrationError]) -> Iterator[OrchestrationError]:
    """Give the errors of a group, and of the groups in it."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves_of(error)
        else:
            yield error


class _Following:
    """Workloads of one namespace that are followed.

    Attributes:
        waiting: What those lack that are not rolled out yet.
        ended: How those were that were rolled out or failed.
    """

    def __init__(self, place: Place, namespace: str, names: Collection[str], tell: Tell) -> None:
        self._place = place
        self._namespace = namespace
        self._tell = tell
        self.waiting = {name: Unplaced(namespace, name) for name in names}
        self.ended: dict[str, WorkloadView] = {}

    def is_over(self, stored: Picture) -> bool:
        """Whether all of them have come to their end, by what is stored; what is gone has."""
        return all(is_rolled_out(view) for view in self._views_in(stored))

    def end(self, stored: Picture) -> None:
        """Take it that those that are waited for are as is stored."""
        for view in self._views_in(stored):
            self._take(view)

    def _views_in(self, stored: Picture) -> list[WorkloadView]:
        keys = [(self._namespace, name) for name in self.waiting]
        return [stored.views[key] for key in keys if key in stored.views]

    async def follow(self, control: HttpControl) -> None:
        """Follow them until all have come to their end."""
        for name in self.waiting:
            await control.get_workload(name, namespace=self._namespace)  # an unknown one is told at once
        patience, picture, gone = Patience(control), Picture(), ""
        updates = followed_updates(control, self._place, picture, patience, self.is_over, namespace=self._namespace)
        async with AsyncExitStack() as stack:
            for unplaced in tuple(self.waiting.values()):
                await stack.enter_async_context(unplaced.given_up(control))
            async for update in await stack.enter_async_context(aclosing(updates)):
                if update.name not in self.waiting:
                    continue
                if update.kind is UpdateKind.WORKLOAD_REMOVED:
                    gone = update.name
                    break
                if update.workload is not None:
                    self._take(update.workload)
                    if not self.waiting:
                        return
        gone = gone or next(iter(self.waiting))
        raise WorkloadNotFound(f"workload {gone!r} is gone", remedy="`orchestrion events` says why.")

    def _take(self, view: WorkloadView) -> None:
        name = view.definition.metadata.name
        self._tell(view)
        if is_rolled_out(view):
            self.ended[name] = view
            self.waiting.pop(name).saw("", "", (), waits=False)
            return
        counts = [getattr(view, count) for count in COUNTS]
        waits = view.definition.kind is WorkloadKind.BATCH
        self.waiting[name].saw(view.reason, view.message, counts, waits=waits)


class Teller:
    """Tells on stderr how workloads are doing, each time that this is another than before."""

    def __init__(self) -> None:
        self._told: dict[Key, str] = {}

    def tell(self, view: WorkloadView) -> None:
        """Tell how one is doing."""
        metadata, line = view.definition.metadata, progress(view)
        if self._told.get((metadata.namespace, metadata.name)) != line:
            self._told[metadata.namespace, metadata.name] = line
            note(line)


def teller_for(form: Form) -> Tell:
    """Return what tells people how workloads are doing, and nobody where a program reads what is written."""
    return Teller().tell if is_for_people(form) else lambda _view: None


def progress(view: WorkloadView) -> str:
    """Return how far an update is, in words."""
    cause = why(view.reason, view.message)
    name = full_name(view.definition.metadata.namespace, view.definition.metadata.name)
    updated = f", {view.updated} of generation {view.generation}" if view.generation else ""
    return f"{name}: {view.phase.value} ({ready(view)}{updated}){f': {cause}' if cause else ''}"


def is_rolled_out(view: WorkloadView) -> bool:
    """Whether an update has come to its end, well or badly."""
    if view.phase in (WorkloadPhase.FAILED, WorkloadPhase.SUCCEEDED, WorkloadPhase.STOPPED):
        return True
    if view.definition.kind is WorkloadKind.BATCH:
        return False
    return view.phase is WorkloadPhase.HEALTHY and view.updated >= view.replicas


def has_failed(view: WorkloadView) -> bool:
    """Whether an update that has come to its end did so badly."""
    return view.phase is WorkloadPhase.FAILED or view.reason == _ROLLED_BACK
