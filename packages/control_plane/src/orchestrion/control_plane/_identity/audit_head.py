"""The last record of the audit log, kept in the store: what was taken from the log while no server ran is missed."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Final

import trio
from attrs import define, field
from orchestrion.orchestrator_core import WallClock, system_time
from orchestrion.shared_types import OrchestrationError
from orchestrion.store_interface import StateStore

from .audit import AuditLog
from .audit_files import audit_files, find_record
from .audit_records import AuditRecord, Head, Outcome

HEAD_KEY: Final = "/audit/default/head"

SAVE_SECONDS: Final = 5.0
"""How often the last record is kept, where there are new ones."""

LOSS: Final = ("verify", "audit")
"""Verb and resource of the record by which a log says that others were taken from it; no request has these."""

_log = logging.getLogger("orchestrion.control_plane")


async def kept_head(store: StateStore, /) -> Head | None:
    """Return the last record of the audit log that a store keeps; None where it keeps none.

    **Cancellation.** It has no effect.

    Raises:
        Unavailable: The store does not answer.
    """
    entry = (await store.get(HEAD_KEY)).entry
    if entry is None:
        return None
    kept = json.loads(entry.value)
    return Head(int(kept["sequence"]), str(kept["hash"]))


@define(eq=False)
class KeptHead:
    """Keeps the last record of a log in a store, and holds the log against that when it begins.

    Attributes:
        store: Where it is kept.
        audit: The log; it must be running.
        tell: Takes what is wrong with the log, as a text for people.
        now: The wall clock.
    """

    store: StateStore
    audit: AuditLog
    tell: Callable[[str], None]
    now: WallClock = system_time
    _saved: Head | None = field(default=None, init=False)

    async def check(self) -> None:
        """Make sure that the log has the record that was its last one, and tell loudly where it has not.

        The log then says so itself, in a record: who verifies it later learns it too. The server is not kept from
        its work.

        Raises:
            StateFailure: The log can't be read.
            Unavailable: The store does not answer.
        """
        head = await kept_head(self.store)
        if head is None:
            return
        files = await trio.to_thread.run_sync(audit_files, self.audit.directory)
        found = await trio.to_thread.run_sync(find_record, files, head.sequence)
        if found == head:
            self._saved = head
            return
        what = "is another one" if found is not None else "is not there"
        text = (
            f"the audit log in {self.audit.directory} is not what this server wrote: it had {head.sequence:,} records,"
            f" and the last of them {what}"
        )
        self.audit.doubt = text
        _log.error("%s", text)
        self.tell(text)
        verb, resource = LOSS
        reason = f"the log had {head.sequence} records, and the last of them {what}; its hash was {head.hash}"
        await self.audit.write(
            AuditRecord(self.now(), "", verb, resource, Outcome.FAILED, via="server", name="log", reason=reason)
        )

    async def run(self) -> None:
        """Keep the last record from time to time, until cancelled."""
        while True:
            await trio.sleep(SAVE_SECONDS)
            await self.save()

    async def save(self) -> None:
        """Keep the last record, if it is another one; where the store does not answer that is left for the next time.

        **Cancellation.** Indeterminate; a repeat is safe.
        """
        head = self.audit.head
        if head == self._saved or not head.sequence:
            return
        value = json.dumps({"version": 1, "sequence": head.sequence, "hash": head.hash}).encode()
        try:
            await self.store.put(HEAD_KEY, value)
            self._saved = head
        except OrchestrationError as err:
            _log.warning("the last record of the audit log could not be kept: %s", err.message)
