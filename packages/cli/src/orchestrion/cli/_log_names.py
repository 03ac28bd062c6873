"""What stands before lines of output, decided before the first of them is shown."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from attrs import define, field, frozen
from orchestrion.control_plane import HttpControl
from orchestrion.orchestrator_core import LogQuery, parse_subject
from orchestrion.shared_types import Denied

from ._lines import Source, prefix_of
from ._reader import Reader
from ._state_directory import Ownership
from ._subjects import chosen


async def told_once(found: HttpControl | Ownership, namespace: str, names: Sequence[str]) -> list[str]:
    """Return names without those of instances whose workload is named as well, each once.

    Raises:
        NotFound: One that is left out is no instance.
    """
    subjects = {name: parse_subject(name) for name in names}
    whole = {name for name, subject in subjects.items() if subject.index is None}
    covered = {name: one for name, one in subjects.items() if one.index is not None and one.workload in whole}
    if covered:
        async with _reader_of(found) as reader:
            for subject in covered.values():
                chosen(subject, await reader.list_instances(namespace=namespace, workload=subject.workload))
    return [name for name in subjects if name not in covered]


@define
class Epochs:
    """The latest epochs of slots: `web.0` before a line is the instance that `web.0` means as an argument."""

    _latest: dict[str, int] = field(factory=dict)

    def see(self, instance: str) -> None:
        """Take notice of an instance."""
        slot, _, epoch = instance.rpartition(".")
        if epoch.isdecimal():
            self._latest[slot] = max(self._latest.get(slot, 0), int(epoch))

    def prefix(self, source: Source, *, with_container: bool) -> str:
        """Return what stands before a line; an instance that another has replaced is named in full."""
        slot, _, epoch = source[0].rpartition(".")
        if epoch.isdecimal() and self._latest.get(slot, 0) > int(epoch):
            _, container, attempt, _ = source
            return f"{source[0]}{f'/{container}' if with_container else ''}{f'#{attempt}' if attempt else ''}"
        return prefix_of(source, with_container=with_container)


@frozen
class Naming:
    """How instances and containers are named before lines.

    Attributes:
        epochs: The instances that there are.
        with_container: Whether containers are named; None: as soon as there is more than one.
    """

    epochs: Epochs = field(factory=Epochs)
    with_container: bool | None = None


async def naming_of(found: HttpControl | Ownership, query: LogQuery) -> Naming:
    """Return how lines of what a query asks for are named; as they come where one may not look at what there is.

    Raises:
        NotFound: There is no such workload.
    """
    try:
        async with _reader_of(found) as reader:
            return await _naming(reader, query)
    except Denied:
        return Naming()


@asynccontextmanager
async def _reader_of(found: HttpControl | Ownership) -> AsyncIterator[Reader]:
    if isinstance(found, HttpControl):
        yield found
        return
    from ._offline import store_reader

    async with store_reader(found) as reader:
        yield reader


async def _naming(reader: Reader, query: LogQuery) -> Naming:
    workload = parse_subject(query.subject).workload
    view = await reader.get_workload(workload, namespace=query.namespace)
    epochs = Epochs()
    for instance in await reader.list_instances(namespace=query.namespace, workload=workload):
        epochs.see(instance.name)
    several = len(view.definition.containers) > 1 and query.container is None
    return Naming(epochs, with_container=True if several else None)
