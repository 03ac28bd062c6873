"""`wait`: until something holds of an object."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import aclosing
from typing import Any, Final

import trio
from attrs import frozen
from orchestrion.shared_types import ConfigInvalid, Problem, WorkloadKind

from ._exit_codes import ExitCode
from ._kinds import KindName
from ._objects import Data, reach_objects
from ._output import Form, is_for_people, note, show_one
from ._places import Place, namespace_of, place_of
from ._running import run_async
from ._tables import at
from ._times import seconds_of
from ._unplaced import COUNTS, Unplaced
from ._where import Where

_OVER: Final = {"Healthy", "Succeeded"}
_LOST: Final = {"Failed"}


@frozen
class _Goal:
    """What is waited for.

    Attributes:
        text: As it was typed.
        holds: Whether it holds of an object, or of None where there is none.
        lost: Whether it can't hold any longer by itself.
        needs_place: Whether it is about how far a workload is, which without a place gets nowhere.
    """

    text: str
    holds: Callable[[Data | None], bool]
    lost: Callable[[Data | None], bool] = lambda _item: False
    needs_place: bool = False


DELETED: Final = _Goal("deleted", lambda item: item is None)
"""That it is gone."""

_EXISTS: Final = _Goal("exists", lambda item: item is not None)


@frozen(kw_only=True)
class Waited:
    """What became of waiting for something.

    Attributes:
        kind: The object's kind.
        name: Its name, as it was typed.
        goal: What was waited for, as it was typed.
        reached: Whether it holds: False where it can't any longer, None where time has run out before.
        object: The object as it was then; None where there is none.
    """

    kind: str
    name: str
    goal: str
    reached: bool | None
    object: Data | None


def run_wait(kind: str, name: str, goal: str, timeout: str | None, where: Where, form: Form) -> int:
    """Wait until something holds of an object."""
    place = place_of(where)
    wanted = _goal(goal)
    seconds = None if timeout is None else seconds_of(timeout)
    last = dict[str, Data | None]()
    never_seen = ""

    def saw(found: KindName, item: Data | None) -> None:
        nonlocal never_seen
        is_first = not last
        last.clear()
        last[found.kind] = item
        if item is not None:
            never_seen = ""
        elif is_first and wanted not in (_EXISTS, DELETED):
            there = f" in namespace {where.namespace or namespace_of(where, place)}" if found.namespaced else ""
            never_seen = f"there is no such {found.kind.lower()}{there}"
            if is_for_people(form):
                note(f"{kind} {name}: {never_seen} yet; it is waited for")

    reached = run_async(wait_for, where, place, kind, name, wanted, seconds, saw)
    if not is_for_people(form):
        ((found, item),) = last.items() or ((kind, None),)
        waited = Waited(kind=found, name=name, goal=goal, reached=reached, object=item)
        show_one(waited, form, table=lambda _: (), name=lambda one: f"{one.kind.lower()}/{one.name}")
    elif reached is None:
        never = f"; {never_seen}, nor was there one" if never_seen else ""
        note(f"{kind} {name}: {wanted.text} was not reached within {timeout}{never}")
    else:
        note(f"{kind} {name}: {wanted.text if reached else f'{wanted.text} can not be reached any longer'}")
    return ExitCode.TIMEOUT if reached is None else ExitCode.OK if reached else ExitCode.FAILED


def _goal(text: str) -> _Goal:
    if text == DELETED.text:
        return DELETED
    if text == _EXISTS.text:
        return _EXISTS
    if text == "done":
        return _Goal(
            text,
            lambda item: item is not None and at(item, "status.phase") in _OVER,
            lambda item: item is not None and at(item, "status.phase") in _LOST,
            needs_place=True,
        )
    path, given, value = text.partition("=")
    if not path or not given:
        problem = Problem(f"{text!r:.100} is nothing to wait for: write done, exists, deleted or PATH=VALUE")
        raise ConfigInvalid((problem,), remedy="orchestrion wait workload web --for status.available=3")
    return _Goal(
        text,
        lambda item: item is not None and _said(at(item, path, None)) == value,
        needs_place=path.startswith("status."),
    )


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


async def wait_for(
    where: Where,
    place: Place,
    kind: str,
    name: str,
    goal: _Goal,
    seconds: float | None,
    saw: Callable[[KindName, Data | None], None] = lambda _kind, _item: None,
) -> bool | None:
    """Return whether the goal was reached, False where it can't be any longer, None where time has run out.

    Args:
        where: What was typed.
        place: Where that is.
        kind: The object's kind, as it was typed.
        name: Its name, as it was typed.
        goal: What is waited for.
        seconds: How long at most; None is for ever.
        saw: Is told how the object is, or None where there is none, as often as it changes.

    Raises:
        NoPlace: It is about a workload for which there is no place, or was none when time had run out.
    """
    namespace = where.namespace or namespace_of(where, place)
    unplaced = Unplaced(namespace, name)
    with trio.move_on_after(float("inf") if seconds is None else seconds):
        async with reach_objects(where._replace(namespace=namespace), place) as objects:
            found = await objects.kind(kind)

            def is_settled(item: Data | None) -> bool:
                saw(found, item)
                if found.kind == "Workload" and goal.needs_place:
                    _saw(unplaced, item)
                return goal.holds(item) or goal.lost(item)

            listed = await objects.list(found)
            whole = objects.meant(found, listed.items, name)
            item = next((one for one in listed.items if at(one, "metadata.name") == whole), None)
            if is_settled(item):
                return goal.holds(item)
            async with (
                unplaced.given_up(objects.control),
                aclosing(objects.watch(found, str(listed.revision), known=listed.items)) as events,
            ):
                async for what, changed in events:
                    whole = whole or objects.meant(found, [changed], name)
                    if at(changed, "metadata.name") != whole:
                        continue
                    item = None if what == "DELETED" else changed
                    if is_settled(item):
                        return goal.holds(item)
    if unplaced.is_now:
        raise unplaced.error()
    return None


def _saw(unplaced: Unplaced, item: Data | None) -> None:
    """Let it be known how a workload is."""
    status = at(item, "status", {}) if item is not None else {}
    unplaced.saw(
        str(at(status, "reason", "")),
        str(at(status, "message", "")),
        [at(status, name, None) for name in COUNTS],
        waits=item is not None and at(item, "spec.kind", None) == WorkloadKind.BATCH.value,
    )
