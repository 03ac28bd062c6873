"""The last lines of containers, found before anything of them is given."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import aclosing

from orchestrion.orchestrator_core._control.log_merge import LogMerge, LogSource
from orchestrion.shared_types import ContainerNotFound


async def last_lines(sources: Sequence[LogSource], count: int) -> list[LogSource]:
    """Let sources begin where the last lines of their containers do.

    In the order of time, the last lines of a container are the last ones of each of its streams too: it is enough to
    know where in each they begin, and nothing of them is held.

    Args:
        sources: What was begun.
        count: How many lines of each container at most, of all its attempts and streams together; 0 or more.

    Returns:
        Those that are still there.
    """
    there = list[LogSource]()
    by_container = dict[tuple[str, str], list[LogSource]]()
    for source in sources:
        try:
            if count:
                await source.keep_lines(count)
            else:
                source.drop()
        except ContainerNotFound:
            continue
        there.append(source)
        by_container.setdefault((source.instance, source.summary.status.name), []).append(source)
    for several in by_container.values():
        wanted = [source for source in several if source.has_more]
        if len(wanted) > 1:
            await _share(wanted, count)
    return there


async def _share(sources: Sequence[LogSource], count: int) -> None:
    """Let the sources of one container begin where its last lines do."""
    numbers = {(source.summary.container_id, source.stream): number for number, source in enumerate(sources)}
    starts = deque[tuple[int, int]](maxlen=count)
    """Of the last lines, by the number of their source, the places of their first bytes."""
    begins = [True] * len(sources)
    merge = LogMerge([source.copy() for source in sources])
    async with aclosing(merge.pieces()) as pieces:
        async for source, record in pieces:
            number = numbers[source.summary.container_id, source.stream]
            place, end = record.offset, record.offset + len(record.data)
            while place < end:
                if begins[number]:
                    starts.append((number, place))
                behind = record.data.find(b"\n", place - record.offset)
                begins[number] = behind >= 0
                place = record.offset + behind + 1 if behind >= 0 else end
    first = dict[int, int]()
    for number, place in starts:
        first.setdefault(number, place)
    for number, source in enumerate(sources):
        if number in first:
            source.offset = first[number]
        else:
            source.drop()
