"""The writer: the one thread that writes the file, and the group commit that makes it fast."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Final

import outcome
import trio
from attrs import define, field, frozen
from orchestrion.shared_types import OrchestrationError
from orchestrion.store_interface import Revision, StoreClosed

from ._failures import Failure, internal
from ._file import FileFailure, StateFile
from ._history import Changes
from ._ledger import Ledger
from ._requests import Request, size_of

_BATCH_REQUESTS: Final = 1024
_BATCH_BYTES: Final = 8_388_608
"""A commit takes in whatever waits, up to these, so that no reply waits long for others'."""

Reply = outcome.Value[int] | outcome.Error


@frozen(eq=False)
class _Ticket:
    """A request, and who waits for its reply."""

    request: Request
    task: trio.lowlevel.Task


@define(eq=False)
class Commit:
    """What one group commit has done.

    Attributes:
        replies: Who is told what.
        revisions: The changes that are now on disk, by revision.
        oldest: The oldest revision kept from now on, or None where that stays.
        failure: What makes the store unusable from now on, or None.
        written: Whether the file was written to.
    """

    replies: list[tuple[trio.lowlevel.Task, Reply]]
    revisions: list[Changes] = field(factory=list)
    oldest: Revision | None = None
    failure: Failure | None = None
    written: bool = False


class Writer:
    """Takes requests from the trio thread to the file, and the replies back.

    Requests are decided in memory, one after the other; whatever came in while a commit was on its way to the disk
    becomes the next commit. As the file sees decided changes only, there is nothing in it to undo for a request that is
    refused, and a savepoint for each would only cost. Replies are given after the commit, refusals too: they may rest
    on a change of the same commit.
    """

    def __init__(self, file: StateFile, ledger: Ledger, publish: Callable[[Commit], None]) -> None:
        """Start the thread.

        Args:
            file: Used by the thread only, until `aclose` has returned.
            ledger: The state that the file holds; used by the thread only.
            publish: Called in the trio thread for each commit, before anybody is told.
        """
        self._file = file
        self._ledger = ledger
        self._publish = publish
        self._token = trio.lowlevel.current_trio_token()
        self._queue: queue.SimpleQueue[_Ticket | None] = queue.SimpleQueue()
        self._closing = False
        self._failure: Failure | None = None
        # A daemon, because a trio run that crashes never gets to stop it: it must not keep the process alive then.
        self._thread = threading.Thread(target=self._run, name=f"writer of {file.path}", daemon=True)
        self._thread.start()

    async def ask(self, request: Request) -> int:
        """Do a request and return its reply. Once it is on its way it is waited for, whoever cancels.

        Raises:
            OrchestrationError: What the request, or writing it, failed with.
        """
        if self._closing:
            await trio.lowlevel.cancel_shielded_checkpoint()
            raise closed()
        self._queue.put(_Ticket(request, trio.lowlevel.current_task()))
        reply: int = await trio.lowlevel.wait_task_rescheduled(lambda _raise_cancel: trio.lowlevel.Abort.FAILED)
        return reply

    async def aclose(self) -> None:
        """Finish the commit that is on its way, refuse what waits behind it, and end the thread."""
        self._closing = True
        self._queue.put(None)
        await trio.to_thread.run_sync(self._thread.join, limiter=trio.CapacityLimiter(1))

    def _run(self) -> None:
        while tickets := self._next_tickets():
            commit = self._commit(tickets)
            # Where the run is over, nobody is left to be told.
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._deliver, commit)

    def _next_tickets(self) -> list[_Ticket]:
        """Wait for requests and return all that are there; none at the end."""
        tickets: list[_Ticket] = []
        size = 0
        ticket = self._queue.get()
        while ticket is not None:
            tickets.append(ticket)
            size += size_of(ticket.request)
            if len(tickets) == _BATCH_REQUESTS or size >= _BATCH_BYTES:
                return tickets
            try:
                ticket = self._queue.get_nowait()
            except queue.Empty:
                return tickets
        if tickets:
            # The end comes after these.
            self._queue.put(None)
        return tickets

    def _commit(self, tickets: list[_Ticket]) -> Commit:
        if self._closing:
            return Commit([(ticket.task, outcome.Error(closed())) for ticket in tickets])
        if self._failure is not None:
            return self._refuse(tickets, self._failure)
        try:
            commit = Commit([(ticket.task, self._decide(ticket.request)) for ticket in tickets])
            batch = self._ledger.take()
            if batch:
                self._file.commit(batch)
                commit.written = True
            commit.revisions, commit.oldest = batch.revisions, batch.oldest
            self._ledger.keep()
        except FileFailure as err:
            return self._refuse(tickets, err.failure)
        except Exception as err:  # A bug must reach those who wait: if the thread ended they would wait for ever.
            return self._refuse(tickets, internal(self._file.path, "a fault while writing to", err))
        return commit

    def _decide(self, request: Request) -> Reply:
        try:
            return outcome.Value(self._ledger.decide(request))
        except OrchestrationError as err:
            return outcome.Error(err)

    def _refuse(self, tickets: list[_Ticket], failure: Failure) -> Commit:
        self._ledger.undo()
        if failure.fatal:
            self._failure = failure
        replies: list[tuple[trio.lowlevel.Task, Reply]] = [
            (ticket.task, outcome.Error(failure.error())) for ticket in tickets
        ]
        return Commit(replies, failure=self._failure)

    def _deliver(self, commit: Commit) -> None:
        self._publish(commit)
        for task, reply in commit.replies:
            trio.lowlevel.reschedule(task, reply)


def closed() -> StoreClosed:
    """Make the error of a closed store."""
    return StoreClosed("the store is closed", remedy="open it again")
