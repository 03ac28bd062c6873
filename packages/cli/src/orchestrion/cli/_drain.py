"""`node drain`: moving everything off a node, and telling what keeps it from being empty."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Final

import trio
from attrs import field, frozen
from orchestrion.orchestrator_core import WorkloadView
from orchestrion.shared_types import DesiredState, Node, WorkloadInstance, WorkloadKind

from ._exit_codes import ExitCode
from ._interrupts import in_good_order
from ._nodes import node_called
from ._objects import Objects, reach_objects
from ._output import Form, is_for_people, note, show_one
from ._patience import Patience
from ._picture import Key, Picture
from ._places import Place, place_of
from ._running import run_async
from ._tables import harmless
from ._times import clock_time, seconds_of, span
from ._watching import followed_updates
from ._where import Where
from ._words import TERMINAL, full_name, state_words

_SHOWN: Final = 5
"""How many of those that are left are named as that changes."""

_PATIENCE_SECONDS: Final = 2.0
"""How long an instance is there for a reason before this is told: most go sooner."""

_LOOK_SECONDS: Final = 1.0


@frozen(kw_only=True)
class Left:
    """An instance that is still on a node that is drained.

    Attributes:
        namespace: Its namespace.
        instance: Its name.
        reason: Why it is there.
        since: Since when it has been seen to be there for that reason (UTC).
    """

    namespace: str
    instance: str
    reason: str
    since: datetime

    @property
    def words(self) -> str:
        """What is told of it."""
        return f"{full_name(self.namespace, self.instance)}: {self.reason}, since {clock_time(self.since)}"


@frozen(kw_only=True)
class Drained:
    """How far draining a node has come.

    Attributes:
        node_id: The node's id.
        node: Its name.
        reason: Why it is drained.
        deadline: From then on (UTC) nothing is waited for; None waits for ever.
        empty: Whether nothing is left there; None where that was not waited for.
        left: What is, by namespace and name, where it was waited for.
    """

    node_id: str
    node: str
    reason: str
    deadline: datetime | None
    empty: bool | None
    left: tuple[Left, ...]


def run_node_drain(
    name: str,
    reason: str,
    deadline: str | None,
    timeout: str | None,
    where: Where,
    form: Form,
    *,
    wait: bool,
    dry_run: bool = False,
) -> int:
    """Move everything off a node, and show how that goes; or say what would be moved."""
    place = place_of(where)
    now = datetime.now(UTC)
    until = None if deadline is None else now + timedelta(seconds=seconds_of(deadline))
    seconds = None if timeout is None else seconds_of(timeout)
    ordered = dict[str, str]()

    async def drain() -> Drained | None:
        async with reach_objects(where, place) as objects:
            node = await node_called(objects, name)
            body = {"reason": reason, "deadline": None if until is None else until.isoformat()}
            kind = await objects.kind("node")
            if not dry_run:
                ordered[node.name] = "the drain may have begun"
            await objects.order(kind, node.id, "drain", body, dry_run=dry_run)
            if dry_run:
                note(f"{node.name}: would move off {await _moved(objects, node) or 'nothing: nothing runs there'}")
                return None
            ordered[node.name] = "the drain goes on"
            watch = DrainWatch(node, until, tells=is_for_people(form))
            empty = None
            if wait:
                empty = False
                with trio.move_on_after(float("inf") if seconds is None else seconds):
                    await _until_empty(objects, place, watch)
                    empty = True
            left = () if empty is None else watch.left()
            return Drained(
                node_id=node.id, node=node.name, reason=reason, deadline=until, empty=empty, left=tuple(left)
            )

    with in_good_order():
        try:
            drained = run_async(drain)
        except KeyboardInterrupt:
            for node, so_far in ordered.items():
                note(f"{node}: not waited for any longer; {so_far}: `orchestrion node uncordon {node}` calls it off")
            return ExitCode.INTERRUPTED
    if drained is None:
        return ExitCode.OK
    if not is_for_people(form):
        show_one(drained, form, table=lambda _: (), name=lambda one: one.node)
    elif drained.empty:
        note(f"{drained.node}: drained; `orchestrion node uncordon {drained.node}` lets work on it again")
    elif drained.empty is None:
        note(f"{drained.node}: drains; `orchestrion node ls` shows how far it is")
    if drained.empty is not False:
        return ExitCode.OK
    note(f"{drained.node}: not empty within {timeout}; the drain goes on; {len(drained.left)} left")
    for one in drained.left:
        note(f"  {one.words}")
    return ExitCode.TIMEOUT


async def _moved(objects: Objects, node: Node) -> str:
    instances = await objects.control.list_instances()
    here = [one for one in instances if one.binding.node_id == node.id and one.status.state not in TERMINAL]
    return ", ".join(sorted(full_name(one.namespace, one.name) for one in here))


async def _until_empty(objects: Objects, place: Place, watch: DrainWatch) -> None:
    """Wait until nothing runs on a node, also over restarts of who says so, and tell what is left."""
    control = objects.control
    following = followed_updates(control, place, watch.picture, Patience(control), watch.is_empty_in)
    async with trio.open_nursery() as nursery, aclosing(following) as updates:
        nursery.start_soon(watch.tell_reasons)
        async for _ in updates:
            if watch.picture.synced and watch.take():
                break
        nursery.cancel_scope.cancel()


def _now() -> datetime:
    return datetime.now(UTC)


@frozen(eq=False)
class DrainWatch:
    """What is on a node that is drained, and why.

    Attributes:
        node: The node.
        deadline: From then on (UTC) nothing is waited for; None waits for ever.
        tells: Whether people are told.
        now: Tells the time (UTC).
        picture: All that there is.
    """

    node: Node
    deadline: datetime | None
    tells: bool = field(kw_only=True)
    now: Callable[[], datetime] = field(default=_now, kw_only=True)
    picture: Picture = field(factory=Picture, kw_only=True)
    _seen: dict[Key, Left] = field(factory=dict, init=False)
    _told: dict[Key | None, str] = field(factory=dict, init=False)

    def take(self) -> bool:
        """Take in what the picture shows, tell of it where that is another than before; whether nothing is left."""
        here = self._here_in(self.picture)
        for key in self._seen.keys() - here.keys():
            del self._seen[key]
        for key, instance in here.items():
            view = self.picture.views.get((instance.namespace, instance.workload))
            reason = why_left(instance, view, self._others(instance), self.deadline)
            if key not in self._seen or self._seen[key].reason != reason:
                namespace, name = key
                self._seen[key] = Left(namespace=namespace, instance=name, reason=reason, since=self.now())
        names = ", ".join(full_name(*key) for key in list(here)[:_SHOWN])
        if here:
            self._tell(None, f"{self.node.name}: {len(here)} left: {names}{', ...' if len(here) > _SHOWN else ''}")
        return not here

    async def tell_reasons(self) -> None:
        """Tell, until cancelled, why those that stay for some time do so."""
        while True:
            await trio.sleep(_LOOK_SECONDS)
            for key in list(self._seen)[:_SHOWN]:
                left = self._seen[key]
                if (self.now() - left.since).total_seconds() >= _PATIENCE_SECONDS:
                    self._tell(key, f"  {left.words}")

    def left(self) -> list[Left]:
        """Return what is left, by namespace and name."""
        return [self._seen[key] for key in sorted(self._seen)]

    def is_empty_in(self, picture: Picture) -> bool:
        """Whether nothing is left on the node in a picture."""
        return not self._here_in(picture)

    def _here_in(self, picture: Picture) -> dict[Key, WorkloadInstance]:
        return {
            key: one
            for key, one in sorted(picture.instances.items())
            if one.binding.node_id == self.node.id and one.status.state not in TERMINAL
        }

    def _others(self, instance: WorkloadInstance) -> list[WorkloadInstance]:
        """Return the instances of the same workload that are elsewhere, and have not ended."""
        own = self.picture.instances_of((instance.namespace, instance.workload))
        return [one for one in own if one.binding.node_id != self.node.id and one.status.state not in TERMINAL]

    def _tell(self, key: Key | None, line: str) -> None:
        if self.tells and self._told.get(key) != line:
            self._told[key] = line
            note(line)


def why_left(
    instance: WorkloadInstance,
    view: WorkloadView | None,
    others: Sequence[WorkloadInstance],
    deadline: datetime | None,
) -> str:
    """Return why an instance is still on a node that is drained.

    Args:
        instance: The instance.
        view: Its workload; None where that is not known.
        others: Those of its workload that are on other nodes, and have not ended.
        deadline: From then on (UTC) nothing is waited for; None waits for ever.
    """
    if instance.binding.desired is DesiredState.STOP:
        grace = max((one.stop_grace_seconds for one in view.definition.containers), default=0.0) if view else 0.0
        return f"it is ending, which may take it {span(grace)}" if grace else "it is ending"
    if view is None:
        return "its workload is not known"
    until = "however long that takes" if deadline is None else f"until {clock_time(deadline)} at most"
    if view.definition.kind is WorkloadKind.BATCH:
        return f"batch work may finish, {until}"
    if view.definition.kind is WorkloadKind.DAEMON:
        return "it is told to end"
    rule, least = "its disruption budget", 0
    if view.definition.disruption is not None:
        least = view.definition.disruption.least_available(view.replicas)
    else:
        rule, least = "its update.max_unavailable", max(0, view.replicas - view.definition.update.max_unavailable)
    if view.available > least:
        return "it is told to end"
    told = f"{rule} wants {least} available, and {view.available} {'is' if view.available == 1 else 'are'}"
    return f"{told}; {_replacement_words(view, others)}"


def _replacement_words(view: WorkloadView, others: Iterable[WorkloadInstance]) -> str:
    """Return what keeps a workload from having more instances that are available."""
    if view.reason == "unplaceable":
        return harmless(view.message) or "there is no place for its replacement"
    coming = [one for one in others if one.status.healthy_since is None]
    if coming:
        return f"waits for {', '.join(f'{one.name} ({state_words(one)})' for one in coming[:_SHOWN])}"
    return "waits for its replacement"
