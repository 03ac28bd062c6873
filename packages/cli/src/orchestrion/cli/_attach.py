"""`attach`: what the main process of an instance writes, from now on, to its end."""

from __future__ import annotations

import sys
from contextlib import aclosing
from types import TracebackType
from typing import Self, TextIO

import trio
from attrs import define, evolve, field
from orchestrion.control_plane import HttpControl
from orchestrion.orchestrator_core import LogQuery, LogRecord, parse_subject
from orchestrion.runtime_interface import LogStream
from orchestrion.shared_types import ContainerNotFound, ContainerStatus, WorkloadInstance

from ._exit_codes import ExitCode
from ._following import followed_logs, unseen
from ._lines import Source
from ._offline import reading
from ._output import note, shows_colours
from ._patience import OUTAGES, Patience
from ._places import Place, namespace_of, place_of
from ._reach import reach_owner
from ._running import run_async
from ._screen import Screen
from ._state_directory import StateDirectory
from ._subjects import chosen, runnable
from ._tables import harmless
from ._where import Where
from ._words import TERMINAL

_TRIES = 5
_PAUSE_SECONDS = 0.2
_BEGINNING_BYTES = 1 << 20
"""So much of each stream is asked for to begin with: what is written while it is asked where the streams end."""

_SIGNAL_BASE = 128
"""What shells add to the number of the signal that ended a command."""


def run_attach(name: str, where: Where, container: str | None) -> int:
    """Show what is written until the instance ends, and return the exit code of its main process."""
    return run_async(_attach, place_of(where), name, namespace_of(where, place_of(where)), container)


async def _attach(place: Place, name: str, namespace: str, container: str | None) -> int:
    async with reach_owner(place) as control:
        instance = await _found(control, await runnable(name, namespace, control), namespace)
        main = await _main(control, instance, container)
        query = LogQuery(subject=instance.name, namespace=namespace, container=main, follow=True)
        ends = await _ends(control, query)
        note(f"attached to {instance.name}, container {main}, whose output is shown; it has no input")
        beginning = evolve(query, tail_bytes=_BEGINNING_BYTES)
        following = followed_logs(control, place, beginning, Patience(control), ends=ends)
        async with aclosing(following) as records:
            with Shower() as shower:
                async for record in records:
                    shower.show(record)
    return await _exit_code(place, instance.name, namespace, main)


async def _ends(control: HttpControl, query: LogQuery) -> dict[Source, int]:
    """Return where what is written by now ends, by source: what comes after it can be told, also after an outage."""
    ends = dict[Source, int]()
    async with control.logs(evolve(query, follow=False, tail_bytes=1)) as records:
        async for record in records:
            unseen(record, ends)
    return ends


@define
class Shower:
    """Shows output as it comes, stdout on stdout and stderr on stderr; leaving its context leaves no colour behind."""

    _screens: dict[LogStream, Screen] = field(factory=dict, init=False)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        """Show what was held back."""
        for stream, screen in self._screens.items():
            _write(_target(stream), screen.end())

    def show(self, record: LogRecord) -> None:
        """Show a piece of output."""
        if record.gap_bytes:
            note(f"{record.gap_bytes} bytes of output came faster than they are kept, and are not shown")
        target, data = _target(record.stream), record.data
        if target.isatty():
            if record.stream not in self._screens:
                self._screens[record.stream] = Screen(shows_colours(target))
            data = self._screens[record.stream].take(data)
        _write(target, data)


def _target(stream: LogStream) -> TextIO:
    return sys.stdout if stream is LogStream.STDOUT else sys.stderr


def _write(target: TextIO, data: bytes) -> None:
    target.buffer.write(data)
    target.buffer.flush()


async def _found(control: HttpControl, name: str, namespace: str) -> WorkloadInstance:
    subject = parse_subject(name)
    instances = await control.list_instances(namespace=namespace, workload=subject.workload)
    (instance,) = chosen(subject, instances)
    return instance


async def _main(control: HttpControl, instance: WorkloadInstance, wanted: str | None) -> str:
    """Return the name of the container that is shown: the first, unless another is wanted."""
    view = await control.get_workload(instance.workload, namespace=instance.namespace)
    there = [status.name for status in instance.status.containers]
    names = list(dict.fromkeys([*there, *(one.name for one in view.definition.containers)]))
    if wanted is not None and wanted not in names:
        msg = f"{instance.name!r} has no container {wanted!r}"
        raise ContainerNotFound(msg, remedy=f"It has: {', '.join(names)}.")
    return names[0] if wanted is None else wanted


async def _exit_code(place: Place, name: str, namespace: str, main: str) -> int:
    """Return how the main process ended; an owner that has gone since has left that in its store."""
    instance = await _last_known(place, name, namespace)
    if instance is None:
        note(f"{name} is gone, and how it ended is not known any longer")
        return ExitCode.FAILED
    if instance.status.state not in TERMINAL:
        note(f"{name} goes on, and who gave its output does not")
        return ExitCode.UNREACHABLE
    ended = next((one for one in instance.status.containers if one.name == main), None)
    return _told(name, instance, ended)


async def _last_known(place: Place, name: str, namespace: str) -> WorkloadInstance | None:
    for left in reversed(range(_TRIES)):
        try:
            async with reading(place) as reader:
                instances = await reader.list_instances(namespace=namespace, workload=parse_subject(name).workload)
                return next((one for one in instances if one.name == name), None)
        except OUTAGES:
            # An owner that ends with its last workload may go while it is asked; its store is free soon after.
            if left == 0 or not isinstance(place, StateDirectory):
                raise
            await trio.sleep(_PAUSE_SECONDS)
    return None


def _told(name: str, instance: WorkloadInstance, ended: ContainerStatus | None) -> int:
    exit_status = ended.exit if ended is not None else None
    if exit_status is None:
        note(f"{name} has ended: {harmless(instance.status.message) or instance.status.state.value}")
        return ExitCode.FAILED
    note(f"{name}: it {exit_status.words}")
    if exit_status.code is not None:
        return exit_status.code
    return ExitCode.FAILED if exit_status.signal is None else _SIGNAL_BASE + exit_status.signal
