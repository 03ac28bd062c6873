"""Writes of more keys than one transaction takes: all of them or none, whenever who does it is killed.

| key | value |
|---|---|
| `/commit/default/pointer` | `Commit`: who writes many keys now, and how far that is |
| `/staged/default/{id}.{part}` | a part of what is to be written; nobody shows it |

First the pointer is taken: from then on nobody else writes what people want, for each such write depends on that there
is none. Part after part is staged, in transactions in which the conditions are tried as well; what was found to hold
goes on to hold. One write of the pointer then decides that all of it happens. What is staged is written, part after
part, each in a transaction that moves the pointer on; the last one takes the pointer away.

Until it is decided the pointer lives by a lease: of who is killed before that, nothing is left but staged parts, which
are swept. After that whoever runs may go on with it, and several may: each step depends on the pointer.

Who follows the store holds back what it tells from the decision to the last step (`CommitGate`), and so shows all of it
or nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import zip_longest
from typing import Final

import trio
from attrs import define, evolve, field, frozen
from orchestrion.shared_types import (
    ConfigInvalid,
    InternalError,
    OrchestrationError,
    Problem,
    UidFactory,
    Unavailable,
    from_json,
    new_uid,
    to_json,
)
from orchestrion.store_interface import (
    ABSENT,
    MAX_OPERATIONS,
    MAX_VALUE_BYTES,
    Change,
    Compare,
    Delete,
    Entry,
    LeaseNotFound,
    Operation,
    Put,
    Revision,
    RevisionCompacted,
    RevisionConflict,
    StateStore,
    WatchBatch,
)

POINTER_KEY: Final = "/commit/default/pointer"
STAGED_PREFIX: Final = "/staged/default/"

MAX_COMPARES: Final = MAX_OPERATIONS - 1
"""The most conditions of a write that others are not to be kept waiting for: one more is the pointer's absence."""

LEASE_SECONDS: Final = 10.0
"""For how long who was killed before the decision keeps others waiting."""

SHIELDED_SECONDS: Final = 5.0
"""For how long what is decided is gone on with although nobody waits any longer."""

PATIENCE_SECONDS: Final = 2.0
"""For how long a decided write may stand still before others go on with it."""

_RETRY_SECONDS: Final = 1.0

_PART_OPERATIONS: Final = MAX_OPERATIONS - 2
"""Operations of a part: its transaction moves the pointer on, and takes the part away."""

_PART_BYTES: Final = MAX_VALUE_BYTES // 2
"""What is in a part, unless one value alone is longer: a store need not take a transaction of any length."""

_SWEPT: Final = 100


@frozen(kw_only=True)
class Commit:
    """How far a write of many keys is.

    Attributes:
        id: Its own, used once.
        parts: How many parts are staged.
        decided: Whether it happens; before that it may as well not.
        done: How many parts are written.
    """

    id: str
    parts: int
    decided: bool = False
    done: int = 0


def staged_key(commit: str, part: int) -> str:
    """Return the key of a staged part."""
    return f"{STAGED_PREFIX}{commit}.{part}"


def is_decided(entry: Entry | None) -> bool:
    """Whether the pointer says that a write of many keys is decided and not all done."""
    return entry is not None and from_json(entry.value, Commit).decided


async def write_together(
    store: StateStore,
    compares: Sequence[Compare],
    operations: Sequence[Operation],
    *,
    new_uid: UidFactory = new_uid,
) -> Revision:
    """Write what people want: as `StateStore.transaction` does, but any number of keys.

    Every write of a key that others may write so goes this way: it waits while many keys are being written.

    **Idempotency.** As far as the compares see to it. **Cancellation.** Indeterminate; what was decided is done, by
    this or by who runs an orchestrator on the store.

    Args:
        store: Where.
        compares: Conditions on what was before.
        operations: On different keys.
        new_uid: Makes the id of a write of many keys.

    Returns:
        The revision at which all of it is written. Of more keys than one transaction takes some have lower ones, which
        are higher than that of every write before.

    Raises:
        RevisionConflict: A compare does not hold; nothing was written.
        ConfigInvalid: A value is too long to be written together with so many.
        StoreUnavailable: The store does not answer; it may be written, or be written later.
    """
    if len(compares) > MAX_COMPARES or len(operations) > MAX_OPERATIONS:
        return await _write_many(store, list(_parts(compares, operations)), new_uid())
    while True:
        try:
            return await store.transaction([Compare(POINTER_KEY, ABSENT), *compares], operations)
        except RevisionConflict as err:
            if err.key != POINTER_KEY:
                raise
        await wait_free(store)


async def wait_free(store: StateStore) -> Revision:
    """Wait until nobody writes many keys, and return a revision at which that was so."""
    while True:
        read = await store.get(POINTER_KEY)
        if read.entry is None:
            return read.revision
        with suppress(RevisionCompacted):
            async with store.watch(POINTER_KEY, since=read.revision) as batches:
                async for batch in batches:
                    if batch.changes:
                        break


async def _write_many(store: StateStore, parts: Sequence[_Part], uid: str) -> Revision:
    commit = Commit(id=uid, parts=len(parts))
    lease = await store.grant_lease(LEASE_SECONDS)
    decided = False
    try:
        held = Revision(0)
        while not held:
            try:
                held = await store.put(POINTER_KEY, to_json(commit), expected=ABSENT, lease=lease)
            except (RevisionConflict, LeaseNotFound):
                await wait_free(store)
                lease = await store.grant_lease(LEASE_SECONDS)
        for number, part in enumerate(parts):
            await store.transaction(
                [Compare(POINTER_KEY, held), *part.compares], [Put(staged_key(commit.id, number), part.data)]
            )
            with suppress(LeaseNotFound):  # The next step finds that the pointer is gone.
                await store.keep_alive(lease)
        await store.put(POINTER_KEY, to_json(evolve(commit, decided=True)), expected=held)
        decided = True
        # Others wait for the rest of it, whether or not anybody still waits for this.
        with trio.move_on_after(SHIELDED_SECONDS, shield=True):
            return await finish(store)
        return await finish(store)
    finally:
        if not decided:
            # Whether the decision was written may not be known: the pointer that has it no longer lives by the lease.
            with trio.move_on_after(SHIELDED_SECONDS, shield=True), suppress(OrchestrationError):
                await store.revoke(lease)
                await sweep(store)


async def finish(store: StateStore) -> Revision:
    """Go on with a write that is decided until all of it is done; return a revision at which it is.

    **Idempotency.** Any number of tasks may do it at once, and be killed at any moment. **Cancellation.**
    Indeterminate, after any part.

    Raises:
        StoreUnavailable: The store does not answer.
    """
    while True:
        read = await store.get(POINTER_KEY)
        entry = read.entry
        if entry is None or not is_decided(entry):
            return read.revision
        commit = from_json(entry.value, Commit)
        key = staged_key(commit.id, commit.done)
        staged = (await store.get(key)).entry
        after = evolve(commit, done=commit.done + 1)
        step: Operation = Put(POINTER_KEY, to_json(after)) if after.done < after.parts else Delete(POINTER_KEY)
        if staged is None:
            if (await store.get(POINTER_KEY)).entry == entry:
                msg = f"a part of a write that was decided is gone: {key}"
                raise InternalError(msg)
            continue  # Somebody else has written it.
        with suppress(RevisionConflict):
            revision = await store.transaction(
                [Compare(POINTER_KEY, entry.modified)], [*_operations(staged.value), Delete(key), step]
            )
            if after.done == after.parts:
                return revision


async def sweep(store: StateStore) -> None:
    """Take staged parts away that belong to no write that is going on.

    Raises:
        StoreUnavailable: The store does not answer.
    """
    last, more = "", True
    while more:
        listed = await store.list(STAGED_PREFIX, limit=_SWEPT, start_after=last or None)
        if not listed.entries:
            return
        last, more = listed.entries[-1].key, listed.more
        pointer = (await store.get(POINTER_KEY)).entry
        kept = "" if pointer is None else f"{STAGED_PREFIX}{from_json(pointer.value, Commit).id}."
        left = [Delete(entry.key) for entry in listed.entries if not (kept and entry.key.startswith(kept))]
        with suppress(RevisionConflict):  # The next sweep finds them.
            await store.transaction([Compare(POINTER_KEY, ABSENT if pointer is None else pointer.modified)], left)


async def unfinished(store: StateStore, revision: Revision) -> dict[str, Entry | None]:
    """Return what a write that is decided has still to do, as of a revision: by key the entry, None where it goes.

    Raises:
        RevisionCompacted: The revision is no longer kept.
    """
    entry = (await store.get(POINTER_KEY, at_revision=revision)).entry
    if entry is None or not is_decided(entry):
        return {}
    commit = from_json(entry.value, Commit)
    found = dict[str, Entry | None]()
    for part in range(commit.done, commit.parts):
        staged = (await store.get(staged_key(commit.id, part), at_revision=revision)).entry
        for operation in _operations(staged.value) if staged is not None else ():
            if isinstance(operation, Put):
                found[operation.key] = Entry(operation.key, operation.value, entry.modified, entry.modified)
            else:
                found[operation.key] = None
    return found


async def whole_revision(store: StateStore, revision: Revision) -> Revision:
    """Return the latest revision up to this one at which no write of many keys was half done.

    Raises:
        RevisionCompacted: The revision is no longer kept.
    """
    entry = (await store.get(POINTER_KEY, at_revision=revision)).entry
    # Where the pointer was taken, nothing was written yet.
    return entry.created if entry is not None and is_decided(entry) else revision


@define(eq=False)
class CommitGate:
    """Holds back what a store tells while a write of many keys is decided and not done.

    Attributes:
        holding: Whether it holds anything back now.
    """

    holding: bool = False
    _held: list[Change] = field(factory=list)
    _moved: trio.Event = field(factory=trio.Event)

    def passed(self, batch: WatchBatch) -> WatchBatch | None:
        """Take in what the store tells; return all that may be shown now, or None."""
        for change in batch.changes:
            if change.key == POINTER_KEY:
                self.holding = is_decided(change.entry)
                self._note_move()
        if self.holding:
            self._held.extend(batch.changes)
            return None
        if not self._held:
            return batch
        changes = (*self._held, *batch.changes)
        self._held.clear()
        return WatchBatch(changes, batch.revision)

    def reset(self, *, holding: bool) -> None:
        """Begin anew, from where the store was listed: with something decided and not done then, or without."""
        self.holding = holding
        self._held.clear()
        self._note_move()

    def _note_move(self) -> None:
        self._moved.set()
        self._moved = trio.Event()

    async def wait_stuck(self) -> None:
        """Wait until something is held back and has not moved on for `PATIENCE_SECONDS`."""
        while True:
            moved = self._moved
            with trio.move_on_after(PATIENCE_SECONDS if self.holding else float("inf")):
                await moved.wait()
                continue
            return


async def look_after(store: StateStore, gate: CommitGate) -> None:
    """Finish what others have decided and left, and sweep what they have staged, until cancelled."""
    while True:
        try:
            await finish(store)
            await sweep(store)
            await gate.wait_stuck()
        except Unavailable:
            await trio.sleep(_RETRY_SECONDS)


@frozen
class _Part:
    compares: tuple[Compare, ...]
    data: bytes


def _parts(compares: Sequence[Compare], operations: Sequence[Operation]) -> Iterator[_Part]:
    groups = list(_groups(operations))
    tried = [tuple(compares[start : start + MAX_COMPARES]) for start in range(0, len(compares), MAX_COMPARES)]
    for some, group in zip_longest(tried, groups, fillvalue=()):
        yield _Part(some, _encoded(group))


def _groups(operations: Sequence[Operation]) -> Iterator[tuple[Operation, ...]]:
    group, size = list[Operation](), 0
    for operation in operations:
        length = len(operation.value) if isinstance(operation, Put) else 0
        if group and (len(group) == _PART_OPERATIONS or size + length > _PART_BYTES):
            yield tuple(group)
            group, size = [], 0
        group.append(operation)
        size += length
    if group:
        yield tuple(group)


def _encoded(operations: Sequence[Operation]) -> bytes:
    """Return operations as bytes: one line of keys with the lengths of their values, -1 where one goes; the values."""
    heads = [[each.key, len(each.value) if isinstance(each, Put) else -1] for each in operations]
    data = b"\n".join(
        (json.dumps(heads).encode(), b"".join(each.value for each in operations if isinstance(each, Put)))
    )
    if len(data) > MAX_VALUE_BYTES:
        text = f"{operations[0].key} is too long to be written together with so many others"
        raise ConfigInvalid((Problem(text),), remedy="Apply it alone.")
    return data


def _operations(data: bytes) -> list[Operation]:
    head, _, values = data.partition(b"\n")
    found, start = list[Operation](), 0
    for key, length in json.loads(head):
        if length < 0:
            found.append(Delete(key))
            continue
        found.append(Put(key, values[start : start + length]))
        start += length
    return found
