"""A program's own, faulty ways to a store and a scheduler that others use at the same time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TypeVar

import trio
from attrs import define
from orchestrion.mocks import FaultInjector, MockScheduler, name_unknown_node, over_commit
from orchestrion.scheduler_interface import (
    ClusterView,
    ScheduleDecision,
    Scheduler,
    SchedulerCapability,
    SchedulingRequest,
)
from orchestrion.store_interface import (
    Compare,
    LeaseId,
    ListResult,
    Operation,
    ReadResult,
    Revision,
    StateStore,
    StoreUnavailable,
    WatchBatch,
)

R = TypeVar("R")

CUT_SECONDS = 1.0
"""A call over a connection that is cut fails after so long."""


@define(eq=False)
class Connection:
    """A `StateStore` over another: the same state, other faults.

    Attributes:
        store: The store itself.
        injector: What stands around the calls.
        is_cut: Whether the store can't be reached now.
    """

    store: StateStore
    injector: FaultInjector
    is_cut: Callable[[], bool]

    async def get(self, key: str, /, *, at_revision: Revision | None = None) -> ReadResult:
        return await self._call("get", partial(self.store.get, key, at_revision=at_revision))

    async def list(
        self,
        prefix: str,
        /,
        *,
        limit: int | None = None,
        start_after: str | None = None,
        at_revision: Revision | None = None,
    ) -> ListResult:
        effect = partial(self.store.list, prefix, limit=limit, start_after=start_after, at_revision=at_revision)
        return await self._call("list", effect)

    async def put(
        self, key: str, value: bytes, /, *, expected: Revision | None = None, lease: LeaseId | None = None
    ) -> Revision:
        return await self._call("put", partial(self.store.put, key, value, expected=expected, lease=lease))

    async def delete(self, key: str, /, *, expected: Revision | None = None) -> Revision:
        return await self._call("delete", partial(self.store.delete, key, expected=expected))

    async def transaction(self, compares: Sequence[Compare], operations: Sequence[Operation], /) -> Revision:
        return await self._call("transaction", partial(self.store.transaction, compares, operations))

    async def grant_lease(self, ttl_seconds: float, /) -> LeaseId:
        return await self._call("grant_lease", partial(self.store.grant_lease, ttl_seconds))

    async def keep_alive(self, lease: LeaseId, /) -> None:
        await self._call("keep_alive", partial(self.store.keep_alive, lease))

    async def revoke(self, lease: LeaseId, /) -> None:
        await self._call("revoke", partial(self.store.revoke, lease))

    @asynccontextmanager
    async def watch(self, prefix: str, /, *, since: Revision | None = None) -> AsyncIterator[AsyncIterator[WatchBatch]]:
        # Entered within the call, so that its reply can be lost, and left even then.
        async with AsyncExitStack() as stack:
            context = self.store.watch(prefix, since=since)
            batches = await self._call("watch", partial(stack.enter_async_context, context))
            yield _Batches(self, batches)

    async def compact(self, revision: Revision, /) -> None:
        await self._call("compact", partial(self.store.compact, revision))

    async def aclose(self) -> None:
        """Close nothing: others use the store."""
        await trio.lowlevel.checkpoint()

    async def next_batch(self, batches: AsyncIterator[WatchBatch]) -> WatchBatch:
        """Return what a watch gives next."""
        return await self._call("next", batches.__anext__)

    async def _call(self, method: str, effect: Callable[[], Awaitable[R]]) -> R:
        if self.is_cut():
            await trio.sleep(CUT_SECONDS)
            self.injector.raise_if_crashed()
        if self.is_cut():
            msg = f"{method}: the store can't be reached"
            raise StoreUnavailable(msg)
        return await self.injector.call(method, effect)


@define(eq=False)
class _Batches:
    connection: Connection
    batches: AsyncIterator[WatchBatch]

    def __aiter__(self) -> _Batches:
        return self

    async def __anext__(self) -> WatchBatch:
        return await self.connection.next_batch(self.batches)


@define(eq=False)
class FaultyScheduler:
    """A scheduler that is slow, fails and lies at times.

    Attributes:
        scheduler: Decides otherwise.
        injector: What stands around the calls.
    """

    scheduler: Scheduler
    injector: FaultInjector
    _lies: int = 0

    @property
    def capabilities(self) -> frozenset[SchedulerCapability]:
        return self.scheduler.capabilities

    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> list[ScheduleDecision]:
        self._lies += 1
        liar = MockScheduler(over_commit if self._lies % 2 else name_unknown_node)
        return await self.injector.call(
            "schedule",
            partial(self.scheduler.schedule, request, view),
            lie=partial(liar.schedule, request, view),
        )
