"""Following what was applied until it is rolled out: at a terminal, or where that was asked for."""

from __future__ import annotations

import sys
from collections.abc import Collection
from itertools import groupby

import trio
from attrs import frozen
from orchestrion.orchestrator_core import WorkloadView
from orchestrion.shared_types import ConfigInvalid, Denied, OrchestrationError, Problem

from ._exit_codes import ExitCode
from ._interrupts import in_good_order
from ._output import Form, is_for_people, note
from ._picture import Key
from ._places import Place
from ._rollout_follow import Tell, followed, has_failed, teller_for
from ._running import run_async
from ._times import seconds_of
from ._words import full_name


@frozen(kw_only=True)
class Follow:
    """Whether, and for how long, what was applied is followed.

    Attributes:
        asked: Whether it was asked for; None is as it suits who reads.
        timeout: How long at most, as it was typed; None is for ever.
        seconds: The same.
    """

    asked: bool | None = None
    timeout: str | None = None
    seconds: float | None = None

    def suits(self, form: Form) -> bool:
        """Whether it is followed where what was done is written in a form."""
        if self.asked is not None:
            return self.asked
        return is_for_people(form) and sys.stdout.isatty() and sys.stderr.isatty()


def follows(*, wait: bool, detach: bool, timeout: str | None) -> Follow:
    """Return whether what is applied is to be followed, as that was typed; who says how long wants it followed.

    Raises:
        ConfigInvalid: That can't be understood, or contradicts itself.
    """
    if detach and (wait or timeout is not None):
        problem = Problem(f"--detach leaves it at once, and {'--wait' if wait else '--timeout'} waits for it")
        raise ConfigInvalid((problem,), remedy="Leave one of them out.")
    asked = False if detach else True if wait or timeout is not None else None
    return Follow(asked=asked, timeout=timeout, seconds=None if timeout is None else seconds_of(timeout))


def follow_applied(place: Place, workloads: Collection[Key], follow: Follow, form: Form) -> int:
    """Follow workloads that were applied, and return what `rollout status` of all of them would end with.

    Ctrl-C ends nothing but the following.

    Args:
        place: Where they are.
        workloads: Which; none are rolled out.
        follow: For how long, and whether that was asked for: who may not look then is denied it.
        form: How what was done was written: people are told how it goes on.
    """
    sys.stdout.flush()  # what was done is known now, to whoever reads it
    with in_good_order():
        try:
            views = run_async(_all_followed, place, workloads, follow.seconds, teller_for(form))
        except KeyboardInterrupt:
            note("not following any longer; the rollout goes on: `orchestrion rollout status NAME` follows it")
            return ExitCode.INTERRUPTED
        except Denied:
            if follow.asked:
                raise
            note("it was applied; how it goes is not for you to see")
            return ExitCode.OK
    late = sorted(set(workloads) - views.keys())
    if late:
        names = ", ".join(full_name(*key) for key in late)
        note(f"{names}: not rolled out within {follow.timeout}; it goes on, and `orchestrion status` says more")
    if any(has_failed(view) for view in views.values()):
        return ExitCode.FAILED
    return ExitCode.TIMEOUT if late else ExitCode.OK


async def _all_followed(
    place: Place, workloads: Collection[Key], seconds: float | None, tell: Tell
) -> dict[Key, WorkloadView]:
    """Follow workloads of several namespaces, each of which may be another's to see."""
    views, failures = dict[Key, WorkloadView](), list[OrchestrationError]()

    async def follow(namespace: str, names: Collection[str]) -> None:
        try:
            found = await followed(place, namespace, names, seconds, tell)
        except OrchestrationError as err:
            failures.append(err)
            nursery.cancel_scope.cancel()
        else:
            views.update({(namespace, name): view for name, view in found.items()})

    async with trio.open_nursery() as nursery:
        for namespace, keys in groupby(sorted(set(workloads)), key=lambda key: key[0]):
            nursery.start_soon(follow, namespace, [name for _, name in keys])
    if failures:
        raise failures[0]
    return views
