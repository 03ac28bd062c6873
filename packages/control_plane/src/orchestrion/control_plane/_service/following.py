"""Following what happens to some objects of a kind."""

from __future__ import annotations

from attrs import define
from orchestrion.control_plane._history.event import EventType, ObjectEvent, Position
from orchestrion.control_plane._history.history import Follower
from orchestrion.control_plane._objects.kinds import WORKLOAD

from .reading import Selection


@define(eq=False)
class ObjectFollower:
    """Follows some objects of a kind."""

    _follower: Follower
    _kind: str
    _namespace: str | None
    _wanted: Selection | None
    _by_status: bool

    def behind(self) -> list[ObjectEvent]:
        """Return what has happened since the last time, as who selects sees it.

        Raises:
            Compacted: It was too slow, and not all is kept any longer.
        """
        found = list[ObjectEvent]()
        for event in self._follower.behind():
            if event.kind == self._kind and self._namespace in (None, event.namespace):
                seen = event if self._wanted is None else _as_selected(event, self._wanted, self._by_status)
                if seen is not None:
                    found.append(seen)
        return found

    async def wait(self) -> None:
        """Wait until something has happened, perhaps to others."""
        await self._follower.wait()

    @property
    def position(self) -> Position:
        """Where it is once all that was taken is known."""
        position = self._follower.position
        return position if self._kind == WORKLOAD.plural else position._replace(refreshed=0)


def _as_selected(event: ObjectEvent, wanted: Selection, by_status: bool) -> ObjectEvent | None:
    """Return an event as it looks to who sees only some objects: one may come into sight, or go out of it."""
    if by_status and event.position is None and not wanted(event.item):
        # What it was like before is not known; perhaps it was in sight.
        return event.as_type(EventType.DELETED, event.item)
    was = event.before is not None and wanted(event.before)
    if event.type is EventType.DELETED:
        return event if was else None
    now = wanted(event.item)
    if now:
        return event if was or event.before is None else event.as_type(EventType.ADDED, event.item)
    return event.as_type(EventType.DELETED, event.item) if was else None
