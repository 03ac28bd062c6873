"""What becomes known of a request on its way, from its first line to its answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

from attrs import define, evolve
from orchestrion.control_plane._identity.access import Access
from orchestrion.control_plane._identity.audit_records import AuditRecord, Outcome
from orchestrion.control_plane._identity.principals import Principal
from orchestrion.control_plane._limits import Lane

PASSAGE: Final = "orchestrion.passage"
"""Where in a request's scope its passage is."""

READING: Final = frozenset({"get", "list", "watch", "logs", "explain", "plan", "can-i", "search"})
"""Verbs that change nothing: they go on record only where they are refused."""

STREAMING: Final = frozenset({"watch", "logs", "exec"})
"""Verbs whose answer may stay open."""

_NODE_PARTS: Final = frozenset({"nodes", "nodes/status", "instances/status"})

RevisionOf = Callable[[Access], int]
"""Says at which revision what is asked for is now; 0 where there is none."""

_MAX_RECORDED: Final = 512

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


@define(eq=False)
class Passage:
    """One request on its way.

    Attributes:
        request_id: What tells it from others, in answers, logs, traces and the audit log.
        source: The address it came from; empty where it has none.
        began: When it came, by the clock of the loop.
        accesses: What it asks for, once that is known; none for what is everybody's, and for paths that are none.
        principal: Who asks, once that is known.
        lane: What kind of request it is, once who asks is known.
        reason: Why it was refused.
        before: The revision of each thing that it asks for, before; 0 where there is none.
        denied: Whether it was refused because who asks may not.
        dry_run: Whether it was only to be tried.
        status: What it was answered; 0 where it was not answered yet.
        leave: Gives back what it holds while it is at work; None where it holds nothing.
        only_of: Whose objects alone it reaches, as `Principal.subject` has it; empty for no such restriction.
        trace_id: What it is a part of, in several programs; its own id where it is part of nothing.
        unchanged: Whether it was a heartbeat that changed nothing.
        quota: Header fields about a limit that is not that of its lane; none where that is meant.
    """

    request_id: str
    source: str
    began: float
    accesses: tuple[Access, ...] = ()
    principal: Principal | None = None
    lane: Lane | None = None
    reason: str = ""
    before: tuple[int, ...] = ()
    denied: bool = False
    dry_run: bool = False
    status: int = 0
    leave: Callable[[], None] | None = None
    only_of: str = ""
    trace_id: str = ""
    quota: Sequence[tuple[bytes, bytes]] = ()
    unchanged: bool = False

    @property
    def goes_on_record(self) -> bool:
        """Whether the audit log is to have it, now that its status is known."""
        if not self.accesses or self.status == 429 or (self.unchanged and self.status < 400):
            return False
        return self.status in (401, 403) or self.denied or (self.changes and self.principal is not None)

    @property
    def changes(self) -> bool:
        """Whether it is to change anything."""
        return any(access.verb not in READING for access in self.accesses)

    def records(self, at: datetime, name: str, revision_of: RevisionOf) -> list[AuditRecord]:
        """Return what the audit log is to have: a record of each thing that was asked for.

        Args:
            at: Now.
            name: The object's name where the request did not say it.
            revision_of: Says at which revision something is now.
        """
        found, who = list[AuditRecord](), self.principal
        for number, asked in enumerate(self.accesses):
            access = asked if asked.name else evolve(asked, name=name)
            found.append(
                AuditRecord(
                    at=at,
                    principal=who.subject if who is not None else "",
                    via=who.via if who is not None else "",
                    verb=access.verb,
                    resource=_cut(access.resource),
                    namespace=_cut(access.namespace),
                    name=_cut(access.name),
                    from_revision=self.before[number] if number < len(self.before) else 0,
                    to_revision=0 if self.status >= 400 or self.reason or self.dry_run else revision_of(access),
                    outcome=self._outcome(),
                    reason=self.reason or ("dry run" if self.dry_run else ""),
                    request_id=self.request_id,
                    source=self.source,
                )
            )
        return found

    def _outcome(self) -> Outcome:
        # What came out of it may be told in an answer that is none of an error.
        if self.status < 400 and not self.reason:
            return Outcome.DONE
        if self.principal is None:
            return Outcome.UNAUTHENTICATED
        return Outcome.DENIED if self.denied else Outcome.FAILED


def _cut(text: str) -> str:
    """Return as much of a text as a name that is one can have: others are chosen by who wants to fill a disk."""
    return text if len(text) <= _MAX_RECORDED else f"{text[:_MAX_RECORDED]}..."


def passage_of(scope: Any) -> Passage | None:
    """Return the passage of a request; None where nothing watches over it."""
    found: Passage | None = scope.get(PASSAGE)
    return found


def call_in_record(scope: Any, name: str) -> None:
    """Say what the name is, in the audit log, of what a request made."""
    passage = passage_of(scope)
    if passage is not None:
        passage.accesses = tuple([evolve(access, name=name) for access in passage.accesses])


def note_unchanged(scope: Any) -> None:
    """Say of a heartbeat that it changed nothing: the audit log is not to be filled with what comes all the time."""
    passage = passage_of(scope)
    if passage is not None:
        passage.unchanged = True


def lane_of(principal: Principal, access: Access) -> Lane:
    """Return what kind of request it is."""
    if access.verb in STREAMING:
        return Lane.STREAM
    if principal.kind == "node" and access.resource in _NODE_PARTS:
        return Lane.NODE
    return Lane.READ if access.verb in READING else Lane.WRITE


def request_id_of(scope: Any, make: Callable[[], str]) -> str:
    """Return the id that a request brings, if it can be one, or a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            return value.decode() if _REQUEST_ID.fullmatch(value) else make()
    return make()
