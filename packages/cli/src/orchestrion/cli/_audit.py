"""`audit`: whether the audit log of a server is what was written."""

from __future__ import annotations

from pathlib import Path

from orchestrion.control_plane.audit import Head, kept_head, verify_audit
from orchestrion.shared_types import ConfigInvalid, NotFound, OrchestrationError, Problem

from ._exit_codes import ExitCode
from ._offline import store_reader
from ._output import note
from ._reach import owner_or_lock
from ._running import run_async
from ._state_directory import Ownership, StateDirectory, at

_HASH_LETTERS = 64


def run_verify(state: Path | None, head: str | None, archive: Path | None = None) -> int:
    """Look at every record, and whether the last one is there that the store beside the log keeps."""
    if archive is not None and not archive.is_dir():
        raise ConfigInvalid((Problem(f"{archive} is no folder", path="--archive"),))
    place = at(state)
    directory = place.part("server", "api") / "audit"
    kept = run_async(_kept, place)
    if not directory.is_dir() and kept is None:
        msg = f"there is no audit log in {place.path}: no server has run there"
        raise NotFound(msg, remedy="`orchestrion server` makes one; --state names another directory.")
    check = verify_audit(directory, head=_head_of(head) if head is not None else None, archive=archive)
    if check.broken is None and kept is not None:
        check = verify_audit(directory, head=kept, archive=archive)
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
    if check.unfinished:
        words += (
            "; behind them is a line without an end, as a crash leaves one, which the server marks at its next start"
        )
    print(words)
    print(f"head: {check.head.sequence}:{check.head.hash}")
    return ExitCode.OK


async def _kept(place: StateDirectory) -> Head | None:
    """Return the last record that the store keeps; None where it keeps none, or can't be looked into, which is told."""
    if not any(place.path.glob("store-*")):
        return None
    try:
        async with owner_or_lock(place, only_looks=True) as found:
            if not isinstance(found, Ownership):
                note("the last record that the store keeps was not compared: who runs there did that when it began")
                return None
            async with store_reader(found) as reader:
                return await kept_head(reader.store)
    except OrchestrationError as err:
        note(f"the last record that the store keeps was not compared, for it can't be read: {err.message}")
        return None


def _head_of(text: str) -> Head:
    sequence, _, digest = text.partition(":")
    if not sequence.isdecimal() or len(digest) != _HASH_LETTERS:
        problem = Problem(f"NUMBER:HASH is wanted, as `audit verify` prints it, not {text!r:.100}", path="--head")
        raise ConfigInvalid((problem,))
    return Head(int(sequence), digest)
