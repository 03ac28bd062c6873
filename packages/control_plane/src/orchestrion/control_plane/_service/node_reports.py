"""What nodes report of themselves: it is written when it changes, and believed as long as the node is heard."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import trio
from attrs import define, evolve, field
from orchestrion.control_plane._history.event import Item
from orchestrion.control_plane._history.history import History
from orchestrion.control_plane._objects.kinds import NODE
from orchestrion.control_plane._objects.label_form import check_taint
from orchestrion.control_plane._objects.proposal import check_precondition, read_document
from orchestrion.orchestrator_core import NodeReport, Orchestrator, report_key, reported
from orchestrion.shared_types import (
    ConfigInvalid,
    Conflict,
    EventSeverity,
    Node,
    NodeId,
    Problem,
    Unavailable,
    from_json,
    structure,
    to_json,
    unstructure,
)
from orchestrion.store_interface import Delete, Entry

from .intent import Edit, Intent
from .node_marking import NodeMarking
from .node_records import known_node, node_record, write_node_record
from .turns import Turns

TRIES: Final = 8
"""How often a change is thought through again because others came before."""

AT: Final = "report"
"""Where in a node's status its report is."""

_RETRY_SECONDS: Final = 0.5

_TYPE: Final = re.compile(r"[A-Za-z][A-Za-z0-9._/-]{0,62}")


@define(eq=False, repr=False)
class NodeReports:
    """Takes in what nodes report.

    Until when each is believed is in memory alone, so that a heartbeat that says nothing new writes nothing; who begins
    to serve gives every node its full length again. That a report is out of date is written, once.

    Attributes:
        orchestrator: Takes it in.
        history: Shows the nodes.
        marking: Shows a node once everybody sees it.
    """

    orchestrator: Orchestrator
    history: History
    marking: NodeMarking
    _until: dict[NodeId, float] = field(factory=dict)
    """By the clock of the loop; of those alone whose heartbeat is waited for."""
    _turns: Turns = field(factory=Turns, init=False)
    _woken: trio.Event = field(factory=trio.Event)
    _wakes_at: float = math.inf

    async def change(self, name: str, edit: Edit, intent: Intent) -> tuple[Item, bool]:
        """Take in what a node reports, and return it once everybody sees that, and whether that was a mere heartbeat.

        Only the report within the status is looked at: all else shows what is. A condition that gives no `since` has
        that from when it last changed.

        **Idempotency.** The same again is a heartbeat, and is not written. **Cancellation.** Indeterminate.

        Args:
            name: The node's id.
            edit: From the node as plain data to what it should be; called again where others came before.
            intent: How it is meant.

        Raises:
            NotFound: There is none of that id.
            ConfigInvalid: It is no report, or it has a condition that the cluster manager tells.
            PreconditionFailed: It is not what the caller takes it for.
            Conflict: The node is not there any longer, or others kept changing it.
        """
        node_id = NodeId(name)
        known_node(self.history, name)
        async with self._turns.of(node_id):
            for _ in range(TRIES):
                item = known_node(self.history, name)
                before = item.document
                given = read_document(edit(before.plain()), NODE, "", name)
                check_precondition(before, given, intent.if_revision)
                known = self.orchestrator.world.reports.get(node_id, NodeReport())
                wanted = _report_of(given.status, known, self.orchestrator.now())
                if wanted == known:
                    if not intent.dry_run:
                        self._hear(node_id, wanted)
                    return item, not intent.dry_run
                told = await self.orchestrator.cluster.get_node(node_id)
                if told is None:
                    msg = f"node {name!r:.80} is not there any longer"
                    raise Conflict(msg, remedy=f"Remove it: orchestrion node rm {name:.80}")
                _check_told(told, wanted)
                if intent.dry_run:
                    conditions = unstructure(reported(told, wanted).conditions)
                    status = {**before.status, "conditions": conditions, AT: unstructure(wanted)}
                    document = evolve(before, status=status)
                    return Item(document.encoded(), before.metadata.revision, document.labels), False
                if wanted.heartbeat is not None:
                    # Before it is written: who is cancelled after that leaves no report that is believed for ever.
                    self._hear(node_id, wanted)
                self.marking.reporting.add(node_id)
                entry = await node_record(self.orchestrator, report_key(node_id))
                if _read(entry) == known and await self._written(node_id, entry, wanted, intent):
                    self._hear(node_id, wanted)
                    return await self.marking.seen(node_id), False
        raise Conflict(f"others kept changing node {name!r:.80}", remedy="Look at what they did, and try again.")

    async def forget(self, node_id: NodeId) -> None:
        """Let go of what a node that is gone has reported; it is written down only where there is anything."""
        async with self._turns.of(node_id):
            self._until.pop(node_id, None)
            self.marking.reporting.discard(node_id)
            if node_id in self.orchestrator.world.reports:
                await self.orchestrator.store.transaction([], [Delete(report_key(node_id))])

    async def run(self) -> None:
        """Find the reports that are out of date, until cancelled. It is started once the reports are known."""
        now = trio.current_time()
        for node_id, report in self.orchestrator.world.reports.items():
            self.marking.reporting.add(node_id)
            if report.heartbeat is not None and report.silent_since is None:
                self._until.setdefault(node_id, now + report.heartbeat.seconds)
        while True:
            self._woken = trio.Event()
            self._wakes_at = min(self._until.values(), default=math.inf)
            with trio.move_on_at(self._wakes_at):
                await self._woken.wait()
            for node_id in [each for each, until in self._until.items() if until <= trio.current_time()]:
                try:
                    await self._note_silence(node_id)
                except Unavailable:
                    await trio.sleep(_RETRY_SECONDS)

    async def _note_silence(self, node_id: NodeId) -> None:
        """Write down that a node's report is out of date, unless it was heard after all."""
        async with self._turns.of(node_id):
            until = self._until.get(node_id)
            if until is None or until > trio.current_time():
                return
            entry = await node_record(self.orchestrator, report_key(node_id))
            report = _read(entry)
            if report.heartbeat is not None and report.silent_since is None:
                silent = evolve(report, silent_since=self.orchestrator.now())
                if not await self._written(node_id, entry, silent, Intent()):
                    return  # another look is taken at what others have written
                text = f"node {node_id} was not heard of for {report.heartbeat.seconds:g} s; its report is out of date"
                self.orchestrator.recorder.record(
                    "default", f"node/{node_id}", "ReportOutOfDate", text, EventSeverity.WARNING
                )
                await self.marking.show(node_id)
            del self._until[node_id]

    def _hear(self, node_id: NodeId, report: NodeReport) -> None:
        """Believe a report from now on, for as long as it says itself."""
        if report.heartbeat is None:
            self._until.pop(node_id, None)
            return
        until = self._until[node_id] = trio.current_time() + report.heartbeat.seconds
        if until < self._wakes_at:
            self._woken.set()

    async def _written(self, node_id: NodeId, entry: Entry | None, report: NodeReport, intent: Intent) -> bool:
        value = to_json(report) if report != NodeReport() else None
        return await write_node_record(self.orchestrator, self.history, report_key(node_id), entry, value, intent)


def _read(entry: Entry | None) -> NodeReport:
    return NodeReport() if entry is None else from_json(entry.value, NodeReport)


def _report_of(status: Mapping[str, Any], known: NodeReport, now: datetime) -> NodeReport:
    """Return the report that a node's status has, as it is written.

    Raises:
        ConfigInvalid: It is none, or a condition is there twice.
    """
    try:
        report = structure(status.get(AT) or {}, NodeReport)
    except ConfigInvalid as err:
        problems = tuple(evolve(each, path=_within(each.path)) for each in err.problems)
        raise ConfigInvalid(problems, remedy=err.remedy) from err
    before = {condition.type: condition for condition in known.conditions}
    seen = set[str]()
    conditions = []
    for place, condition in enumerate(report.conditions):
        where = f"status.{AT}.conditions[{place}]"
        if condition.type in seen:
            raise ConfigInvalid((Problem(f"{condition.type!r:.80} is there twice", path=where),))
        if not _TYPE.fullmatch(condition.type):
            text = "a letter, and then up to 62 letters, digits, dots, lines, underscores and slashes are wanted"
            raise ConfigInvalid((Problem(text, path=f"{where}.type"),))
        for field_, text in (("reason", condition.reason), ("message", condition.message)):
            if not text.isprintable():
                raise ConfigInvalid(
                    (Problem("one line without control characters is wanted", path=f"{where}.{field_}"),)
                )
        if condition.taint is not None:
            check_taint(condition.taint, f"{where}.taint")
        seen.add(condition.type)
        last = before.get(condition.type)
        if condition.since is None:
            same = last is not None and last.status is condition.status
            condition = evolve(condition, since=last.since if same and last is not None else now)
        conditions.append(condition)
    # Who reports is heard, whatever it says of that.
    return evolve(report, conditions=tuple(conditions), silent_since=None)


def _within(path: str) -> str:
    return f"status.{AT}{path}" if not path or path.startswith("[") else f"status.{AT}.{path}"


def _check_told(told: Node, report: NodeReport) -> None:
    types = {condition.type for condition in told.conditions}
    text = "the cluster manager tells it; report another type"
    problems = [
        Problem(text, path=f"status.{AT}.conditions[{place}].type")
        for place, condition in enumerate(report.conditions)
        if condition.type in types
    ]
    if problems:
        raise ConfigInvalid(tuple(problems))
