"""Nodes on which one start after the other fails."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final

from attrs import define, evolve, field
from orchestrion.orchestrator_core._clock import WallClock
from orchestrion.orchestrator_core._state.lifecycle import START_FAILED
from orchestrion.orchestrator_core._state.records import InstanceName, WorkloadName
from orchestrion.orchestrator_core._state.world import InstanceRecord
from orchestrion.shared_types import InstanceStatus, Node, NodeId, Taint, TaintEffect

STARTS_IN_ROW: Final = 3
"""So many slots whose starts fail, with no start between them that does not, make a node suspect."""

SUSPECT_SECONDS: Final = 600.0
"""So long after the last of them it is trusted again."""

REMEMBERED_SECONDS: Final = 3600.0
"""Within this time from then, the next start that fails makes it suspect again at once."""

MAX_REMEMBERED: Final = 16
"""Of so many slots of a node is remembered that a start failed; the one of which it is longest ago goes first."""

SUSPECT_TAINT: Final = Taint(key="orchestrion/failed-starts", effect=TaintEffect.PREFER_NO_SCHEDULE)
"""What a suspect node is shown with: whatever can go elsewhere does, and where there is nowhere else it is taken."""

_Slot = tuple[WorkloadName, int]


@define(eq=False)
class Suspects:
    """Which nodes are suspect. All of it follows from the instances on record, and from how late it is.

    Nothing of it is written. A record may be noted any number of times, in any order.

    Attributes:
        nodes: The instances that are bound to each node.
        now: The wall clock.
    """

    nodes: Mapping[NodeId, Mapping[InstanceName, InstanceRecord]]
    now: WallClock
    _failed: dict[NodeId, dict[_Slot, datetime]] = field(factory=dict)
    _suspect: set[NodeId] = field(factory=set)

    def note(self, record: InstanceRecord) -> NodeId | None:
        """Take in an instance that has come or changed; return its node if that has become suspect or trusted."""
        if record.bound is None or not record.status_revision:
            return None
        node_id = record.bound.binding.node_id
        failed_at = _failed_at(record.status)
        if failed_at is not None and not self._is_over(failed_at, REMEMBERED_SECONDS):
            slot = (record.name.owner, record.name.slot)
            failed = self._failed.setdefault(node_id, {})
            failed[slot] = max(failed_at, failed.get(slot, failed_at))
            if len(failed) > MAX_REMEMBERED:
                del failed[min(failed, key=lambda each: (failed[each], each))]
        elif node_id not in self._failed:
            return None
        return node_id if self._look_at(node_id) else None

    def look_again(self) -> list[NodeId]:
        """Return the nodes that time alone has made trusted again; forget what is long ago."""
        return [node_id for node_id in sorted(self._failed) if self._look_at(node_id)]

    def forget(self, node_id: NodeId) -> None:
        """Forget a node that is gone."""
        self._failed.pop(node_id, None)
        self._suspect.discard(node_id)

    def is_suspect(self, node_id: NodeId) -> bool:
        """Whether a node is suspect, as of when it was last looked at."""
        return node_id in self._suspect

    def shown(self, node: Node) -> Node:
        """Return a node as it is shown to people and the scheduler: a suspect one has `SUSPECT_TAINT`."""
        if node.id not in self._suspect or SUSPECT_TAINT in node.taints:
            return node
        return evolve(node, taints=(*node.taints, SUSPECT_TAINT))

    def describe(self, node_id: NodeId) -> str:
        """Return why a node is suspect, for people."""
        failed = self._failed.get(node_id, {})
        workloads = sorted({str(name) for name, _ in failed})
        names = ", ".join(workloads[:3]) + (f" and {len(workloads) - 3} more" if len(workloads) > 3 else "")
        return (
            f"the starts of {len(failed)} instances failed there, and none has succeeded since (of {names}); "
            f"other nodes are preferred until {SUSPECT_SECONDS / 60:g} minutes have passed without another"
        )

    def _look_at(self, node_id: NodeId) -> bool:
        """Work out whether a node is suspect; return whether that is news."""
        failed = self._failed[node_id]
        if len(failed) >= STARTS_IN_ROW or node_id in self._suspect:
            succeeded_at = _latest_start(self.nodes.get(node_id, {}).values())
            if succeeded_at is not None:
                failed = {slot: at for slot, at in failed.items() if at > succeeded_at}
        latest = max(failed.values(), default=None)
        if latest is None or self._is_over(latest, REMEMBERED_SECONDS):
            failed = {}
        suspect = len(failed) >= STARTS_IN_ROW and latest is not None and not self._is_over(latest, SUSPECT_SECONDS)
        if failed:
            self._failed[node_id] = failed
        else:
            del self._failed[node_id]
        if suspect is (node_id in self._suspect):
            return False
        (self._suspect.add if suspect else self._suspect.discard)(node_id)
        return True

    def _is_over(self, since: datetime, seconds: float) -> bool:
        return self.now() - since >= timedelta(seconds=seconds)


def _failed_at(status: InstanceStatus) -> datetime | None:
    """Return when the latest attempt of a container could not be started; None where all could."""
    return max(_failures(status), default=None)


def _failures(status: InstanceStatus) -> Iterator[datetime]:
    for container in status.containers:
        if container.exit is not None and container.exit.reason == START_FAILED and container.finished_at is not None:
            yield container.finished_at


def _latest_start(records: Iterable[InstanceRecord]) -> datetime | None:
    """Return when the latest container of any of these instances began to run."""
    return max(
        (
            container.started_at
            for record in records
            for container in record.status.containers
            if container.started_at is not None
        ),
        default=None,
    )
