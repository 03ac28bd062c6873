"""Keeping what a scheduler has learned in its folder of the state directory."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

import trio
from orchestrion.scheduler_interface import Scheduler, SchedulerCapability, SupportsOutcomes

from ._output import note
from ._plugins import folder_name
from ._state_directory import StateDirectory

SAVE_SECONDS: Final = 60.0
"""What has been learned since is lost at most where the process is killed; the rest is on record, and told again."""

_FILE: Final = "lessons"
_DAMAGED: Final = "lessons.damaged"


@asynccontextmanager
async def lessons_kept(
    scheduler: Scheduler, plugin: str, place: StateDirectory, *, reads_only: bool = False
) -> AsyncIterator[None]:
    """Let a scheduler recall what it learned, and keep what it learns: once a minute and at the end, if it is news.

    One without the capability OUTCOMES has no folder. A file that can't be read is set aside, and people are told; one
    that can't be written is told of once. Neither stops anything: it is only about which nodes are preferred.

    Args:
        scheduler: The scheduler.
        plugin: Its name.
        place: The state directory, which this process owns.
        reads_only: Whether nothing is written.
    """
    if SchedulerCapability.OUTCOMES not in scheduler.capabilities or not isinstance(scheduler, SupportsOutcomes):
        yield
        return
    folder = await trio.to_thread.run_sync(place.make_part, "scheduler", folder_name(plugin))
    await _recall(scheduler, folder, reads_only=reads_only)
    if reads_only:
        yield
        return
    keeper = _Keeper(scheduler, folder)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run)
        try:
            yield
        finally:
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await keeper.save()


async def _recall(scheduler: SupportsOutcomes, folder: Path, *, reads_only: bool) -> None:
    path = folder / _FILE
    try:
        data = await trio.to_thread.run_sync(path.read_bytes)
    except FileNotFoundError:
        return
    except OSError as err:
        note(f"what the scheduler had learned can't be read, and it starts anew: {err}")
        return
    try:
        scheduler.recall(data)
    except ValueError as err:
        if reads_only:
            return
        with suppress(OSError):
            await trio.to_thread.run_sync(path.replace, folder / _DAMAGED)
        note(f"what the scheduler had learned is damaged, and it starts anew; the file is kept as {_DAMAGED}: {err}")


class _Keeper:
    """Writes what a scheduler has learned where that has changed."""

    def __init__(self, scheduler: SupportsOutcomes, folder: Path) -> None:
        self._scheduler = scheduler
        self._folder = folder
        self._saved = scheduler.lessons
        self._complained = False

    async def run(self) -> None:
        while True:
            await trio.sleep(SAVE_SECONDS)
            await self.save()

    async def save(self) -> None:
        number = self._scheduler.lessons
        if number == self._saved:
            return
        data = self._scheduler.remembered()
        try:
            await trio.to_thread.run_sync(partial(_write, self._folder / _FILE, data))
        except OSError as err:
            if not self._complained:
                self._complained = True
                note(f"what the scheduler has learned can't be kept: {err}")
            return
        self._saved = number


def _write(path: Path, data: bytes) -> None:
    """Write a file so that whoever reads it finds what was in it before or all of this."""
    beside = path.with_name(f"{path.name}.new")
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
