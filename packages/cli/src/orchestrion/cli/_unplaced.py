"""Giving up on a workload for which there is no place."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import trio
from attrs import Factory, define, field
from orchestrion.shared_types import Denied, InstanceState, OrchestrationError

from ._patience import OUTAGES
from ._reader import Reader

GRACE_SECONDS: Final = 10.0
"""How long a workload may have no place, with nothing of it that changes, before it is given up."""

COUNTS: Final = ("generation", "replicas", "placed", "running", "available", "updated", "succeeded")
"""What tells, in the status of a workload, that something of it goes on."""

_REASON: Final = "unplaceable"


class NoPlace(OrchestrationError):
    """There is no place for instances of a workload, and none is about to come."""

    code = "unschedulable"


@define(eq=False)
class Unplaced:
    """Whether a workload has instances without a place, and since when.

    Attributes:
        namespace: The workload's namespace.
        name: Its name.
        is_now: Whether it has some, as far as is known.
    """

    namespace: str
    name: str
    is_now: bool = field(default=False, init=False)
    _message: str = field(default="", init=False)
    _counts: Any = field(default=None, init=False)
    _since: float | None = field(default=None, init=False)
    _begun: trio.Event = field(default=Factory(trio.Event), init=False)

    def saw(self, reason: str, message: str, counts: object, *, waits: bool) -> None:
        """Take in how the workload is.

        Args:
            reason: The reason of its phase.
            message: What is said of that.
            counts: How much of it has come how far; what changes begins the grace anew.
            waits: Whether it is work that may as well wait until other work has ended: its grace has no end.
        """
        self.is_now, self._message = reason == _REASON, message
        if not self.is_now or waits:
            self._since = self._counts = None
        elif self._since is None or counts != self._counts:
            self._since, self._counts = trio.current_time(), counts
            self._begun.set()

    @asynccontextmanager
    async def given_up(self, reader: Reader) -> AsyncIterator[None]:
        """Cancel what is done in this context once there was no place for `GRACE_SECONDS`.

        Raises:
            NoPlace: It was cancelled because of that.
        """
        is_given_up = False

        async def give_up() -> None:
            nonlocal is_given_up
            await self._last(reader)
            is_given_up = True
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(give_up)
            yield
            nursery.cancel_scope.cancel()
        if is_given_up:
            raise self.error()

    def error(self) -> NoPlace:
        """Return what tells that there is no place."""
        told = f"{self.name}: {self._message}" if self._message else f"{self.name} has no place"
        return NoPlace(told, remedy=f"`orchestrion explain {self.name}` says what would make one.")

    async def _last(self, reader: Reader) -> None:
        """Wait until it has lasted."""
        while True:
            since = self._since
            if since is None:
                self._begun = trio.Event()
                await self._begun.wait()
                continue
            await trio.sleep_until(since + GRACE_SECONDS)
            if since != self._since:
                continue
            if not await self._may_change(reader):
                return
            if since == self._since:
                self._since = trio.current_time()

    async def _may_change(self, reader: Reader) -> bool:
        """Whether what still ends may make a place, or nobody knows how things are by now."""
        try:
            instances = await reader.list_instances(namespace=self.namespace, workload=self.name)
        except OUTAGES:
            return True
        except Denied:
            return False
        return any(one.status.state is InstanceState.TERMINATING for one in instances)
