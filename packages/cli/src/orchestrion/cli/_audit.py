"""`audit`: whether the audit log of a server is what was written."""

from __future__ import annotations

from pathlib import Path

from orchestrion.control_plane.audit import Head, verify_audit
from orchestrion.shared_types import ConfigInvalid, NotFound, Problem

from ._exit_codes import ExitCode
from ._output import note
from ._state_directory import at

_HASH_LETTERS = 64


def run_verify(state: Path | None, head: str | None, archive: Path | None = None) -> int:
    """Look at every record."""
    if archive is not None and not archive.is_dir():
        raise ConfigInvalid((Problem(f"{archive} is no folder", path="--archive"),))
    place = at(state)
    directory = place.part("server", "api") / "audit"
    if not directory.is_dir():
        msg = f"there is no audit log in {place.path}: no server has run there"
        raise NotFound(msg, remedy="`orchestrion server` makes one; --state names another directory.")
    check = verify_audit(directory, head=_head_of(head) if head is not None else None, archive=archive)
    if check.broken is not None:
        note(f"the audit log is not what was written: {check.broken}")
        return ExitCode.FAILED
    if check.told:
        note(f"the server missed records of its own when it began: {check.told}")
        return ExitCode.FAILED
    words = f"{check.records} records are as they were written"
    if check.first > 1:
        words += f", from number {check.first} on"
    if check.torn:
        words += f"; {check.torn} of them tell of one that a crash has torn"
    print(words)
    print(f"head: {check.head.sequence}:{check.head.hash}")
    return ExitCode.OK


def _head_of(text: str) -> Head:
    sequence, _, digest = text.partition(":")
    if not sequence.isdecimal() or len(digest) != _HASH_LETTERS:
        problem = Problem(f"NUMBER:HASH is wanted, as `audit verify` prints it, not {text!r:.100}", path="--head")
        raise ConfigInvalid((problem,))
    return Head(int(sequence), digest)
