"""Leadership of the cluster loop: one at a time, fenced by a key that every write compares."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress

import trio
from attrs import define, field
from orchestrion.orchestrator_core._state.records import LEADER_KEY, LeaderRecord
from orchestrion.shared_types import OrchestrationError, Unavailable, to_json
from orchestrion.store_interface import (
    ABSENT,
    Compare,
    LeaseId,
    LeaseNotFound,
    Revision,
    RevisionCompacted,
    RevisionConflict,
    StateStore,
)


class LeadershipLost(Unavailable):
    """Another cluster loop leads now, or this one could not keep its lease. Campaign again."""

    code = "leadership-lost"


@contextmanager
def _in_time(what: str, seconds: float) -> Iterator[None]:
    try:
        with trio.fail_after(seconds):
            yield
    except trio.TooSlowError as err:
        msg = f"{what} took longer than {seconds:g} s"
        raise LeadershipLost(msg) from err


@define(eq=False)
class Leadership:
    """A term of leadership.

    Attributes:
        fence: What every write of the leader compares.
        patience_seconds: How long a leader may be held up by one call.
    """

    fence: Compare
    patience_seconds: float

    def in_time(self, what: str) -> AbstractContextManager[None]:
        """Give up what is inside, and the lead, if it takes longer than a leader may be held up.

        A leader that waits for ever keeps its lease, and so keeps out any other that could go on. What was to be
        written may still come: the fence of another term refuses it.

        Raises:
            LeadershipLost: It took longer.
        """
        return _in_time(what, self.patience_seconds)


@define(eq=False)
class Campaign:
    """Leads when nobody else does.

    Attributes:
        store: Where leadership is recorded.
        holder: A fresh id.
        ttl_seconds: How long leadership outlives a leader that does not answer.
        take_over: Whether to lead at once, whoever led before: for the sole owner of a store. The writes of the one
            before then fail by the fence.
    """

    store: StateStore
    holder: str
    ttl_seconds: float
    take_over: bool = False
    _lease: LeaseId | None = field(default=None, init=False)

    @asynccontextmanager
    async def lead(self) -> AsyncIterator[Leadership]:
        """Wait until this one leads, and keep the lead inside the context.

        Raises:
            LeadershipLost: The lead was lost inside the context, or the store did not answer in time.
        """
        with _in_time("to get a lease of the store", self.ttl_seconds):
            lease = await self.store.grant_lease(self.ttl_seconds)
        try:
            revision = await self._acquire(lease)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep, lease)
                yield Leadership(Compare(LEADER_KEY, revision), self.ttl_seconds)
                nursery.cancel_scope.cancel()
        finally:
            # Where this fails, the lease runs out by itself.
            with trio.move_on_after(2.0, shield=True), suppress(OrchestrationError):
                await self.store.revoke(lease)

    async def _acquire(self, lease: LeaseId) -> Revision:
        value = to_json(LeaderRecord(holder=self.holder))
        while True:
            try:
                with _in_time("to take the lead", self.ttl_seconds):
                    return await self.store.put(
                        LEADER_KEY, value, expected=None if self.take_over else ABSENT, lease=lease
                    )
            except LeaseNotFound as err:
                msg = "the lease ran out before the lead was taken"
                raise LeadershipLost(msg) from err
            except RevisionConflict:
                await self._wait_for_vacancy(lease)

    async def _wait_for_vacancy(self, lease: LeaseId) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep, lease)
            with _in_time("to see who leads", self.ttl_seconds):
                found = await self.store.get(LEADER_KEY)
            if found.entry is not None:
                try:
                    # A watch that no longer tells anything must not keep this one from trying again.
                    with trio.move_on_after(self.ttl_seconds):
                        await self._watch_vacancy(found.revision)
                except RevisionCompacted:
                    # What happened is no longer known: look again.
                    pass
            nursery.cancel_scope.cancel()

    async def _watch_vacancy(self, since: Revision) -> None:
        async with self.store.watch(LEADER_KEY, since=since) as batches:
            async for batch in batches:
                if any(change.entry is None for change in batch.changes):
                    return

    async def _keep(self, lease: LeaseId) -> None:
        deadline = trio.current_time() + self.ttl_seconds
        while True:
            await trio.sleep(self.ttl_seconds / 4)
            try:
                with trio.fail_after(max(0.0, deadline - trio.current_time())):
                    await self.store.keep_alive(lease)
            except (LeaseNotFound, trio.TooSlowError) as err:
                msg = "the cluster loop could not keep its lease"
                raise LeadershipLost(msg) from err
            except OrchestrationError as err:
                if trio.current_time() >= deadline:
                    msg = "the cluster loop could not keep its lease"
                    raise LeadershipLost(msg) from err
                continue
            deadline = trio.current_time() + self.ttl_seconds
