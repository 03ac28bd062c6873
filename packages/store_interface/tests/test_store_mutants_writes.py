"""Stores that are wrong about puts, deletions, transactions and errors: each fails the clause that it breaks."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import pytest
import trio
from attrs import evolve
from orchestrion.store_interface import (
    MAX_OPERATIONS,
    Compare,
    Delete,
    InvalidRequest,
    LeaseId,
    Operation,
    Put,
    ReadResult,
    Revision,
    RevisionConflict,
    check_key,
)

from .store_mutants import Mutant, Mutants, failed_checks

MUTANTS = Mutants()


@MUTANTS.breaks("PUT-1")
class SaysTheRevisionBefore(Mutant):
    def _put(self, key: str, value: bytes, expected: Revision | None, lease: LeaseId | None) -> Revision:
        return Revision(super()._put(key, value, expected, lease) - 1)


@MUTANTS.breaks("PUT-2")
class CreatesAnew(Mutant):
    def _put(self, key: str, value: bytes, expected: Revision | None, lease: LeaseId | None) -> Revision:
        revision = super()._put(key, value, expected, lease)
        self.state.entries[key] = evolve(self.state.entries[key], created=revision)
        return revision


@MUTANTS.breaks("PUT-3")
class WritesOnlyWhatDiffers(Mutant):
    def _put(self, key: str, value: bytes, expected: Revision | None, lease: LeaseId | None) -> Revision:
        if key in self.state.entries and self.state.entries[key].value == value:
            return self.state.revision
        return super()._put(key, value, expected, lease)


@MUTANTS.breaks("PUT-4", "DELETE-3")
class IgnoresRevisions(Mutant):
    def _compare(self, key: str, expected: Revision) -> None:
        super()._compare(key, Revision(expected and key in self.state.entries and self.state.entries[key].modified))


@MUTANTS.breaks("PUT-5", "DELETE-4")
class TakesAbsentForAnything(Mutant):
    def _compare(self, key: str, expected: Revision) -> None:
        if expected:
            super()._compare(key, expected)


@MUTANTS.breaks("PUT-6")
class PutsUnderNoLease(Mutant):
    def _put(self, key: str, value: bytes, expected: Revision | None, lease: LeaseId | None) -> Revision:
        return super()._put(key, value, expected, None)


@MUTANTS.breaks("PUT-7")
class KeepsTheLease(Mutant):
    def _put(self, key: str, value: bytes, expected: Revision | None, lease: LeaseId | None) -> Revision:
        before = self.state.entries.get(key)
        return super()._put(key, value, expected, before.lease if lease is None and before else lease)


@MUTANTS.breaks("PUT-8", "DELETE-5")
class SwapsRevisionsInConflicts(Mutant):
    def _compare(self, key: str, expected: Revision) -> None:
        try:
            super()._compare(key, expected)
        except RevisionConflict as err:
            raise RevisionConflict(key, expected=err.actual, actual=err.expected) from err


@MUTANTS.breaks("PUT-9")
class PutsUnderAnyLease(Mutant):
    def _put(self, key: str, value: bytes, expected: Revision | None, lease: LeaseId | None) -> Revision:
        return super()._put(key, value, expected, lease if lease in self.state.leases else None)


@MUTANTS.breaks("DELETE-1")
class DeletesAllBelow(Mutant):
    def _delete(self, key: str, expected: Revision | None) -> Revision:
        check_key(key)
        return self._write([(other, None, None) for other in sorted(self.state.entries) if other.startswith(key)])


@MUTANTS.breaks("DELETE-2")
class WritesDeletionsOfNothing(Mutant):
    def _delete(self, key: str, expected: Revision | None) -> Revision:
        if key not in self.state.entries:
            self._write(((key, b"", None),))
        return super()._delete(key, expected)


@MUTANTS.breaks("TX-1")
class TakesFewOperations(Mutant):
    def _transaction(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> Revision:
        if len(operations) >= MAX_OPERATIONS:
            raise InvalidRequest("too many")
        return super()._transaction(compares, operations)


@MUTANTS.breaks("TX-2")
class ComparesTheFirstOnly(Mutant):
    def _transaction(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> Revision:
        return super()._transaction(compares[:1], operations)


@MUTANTS.breaks("TX-2")
class ComparesNothing(Mutant):
    def _transaction(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> Revision:
        return super()._transaction([], operations)


@MUTANTS.breaks("TX-3")
class ComparesAfterwards(Mutant):
    def _transaction(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> Revision:
        revision = super()._transaction([], operations)
        for compare in compares:
            self._compare(compare.key, compare.revision)
        return revision


@MUTANTS.breaks("TX-4")
class CountsEmptyTransactions(Mutant):
    def _transaction(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> Revision:
        before = self.state.revision
        if super()._transaction(compares, operations) == before:
            self._write((("empty", b"", None),))
        return self.state.revision


@MUTANTS.breaks("TX-5")
class SaysZeroForNothing(Mutant):
    def _transaction(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> Revision:
        before = self.state.revision
        revision = super()._transaction(compares, operations)
        return Revision(0) if revision == before else revision


@MUTANTS.breaks("TX-6")
class TakesManyOperations(Mutant):
    def _transaction(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> Revision:
        super()._transaction(compares[:MAX_OPERATIONS], operations[:MAX_OPERATIONS])
        return super()._transaction([], operations[MAX_OPERATIONS:])


@MUTANTS.breaks("TX-7")
class LetsTheLastWin(Mutant):
    def _transaction(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> Revision:
        return super()._transaction(compares, [*{operation.key: operation for operation in operations}.values()])


@MUTANTS.breaks("TX-8")
class LeavesOutWhatIsBad(Mutant):
    def _transaction(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> Revision:
        good: list[Operation] = []
        for operation in operations:
            with suppress(InvalidRequest):
                check_key(operation.key)
                good.append(operation)
        return super()._transaction(compares, good)


@MUTANTS.breaks("TX-9")
class NamesTheLastConflict(Mutant):
    def _transaction(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> Revision:
        return super()._transaction(compares[::-1], operations)


@MUTANTS.breaks("TX-10")
class TransactsUnderAnyLease(Mutant):
    def _transaction(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> Revision:
        return super()._transaction(
            compares, [op if isinstance(op, Delete) else Put(op.key, op.value) for op in operations]
        )


@MUTANTS.breaks("ERROR-1", "TX-10", "TX-8")
class TransactsOneByOne(Mutant):
    def _transaction(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> Revision:
        for operation in operations:
            super()._transaction(compares, [operation])
        return super()._transaction(compares if not operations else [], [])


@MUTANTS.breaks("ERROR-2")
class LooksAtLeasesFirst(Mutant):
    def _put(self, key: str, value: bytes, expected: Revision | None, lease: LeaseId | None) -> Revision:
        if lease is not None and not self._closed:
            self.state.find_lease(lease)
        return super()._put(key, value, expected, lease)


@MUTANTS.breaks("ERROR-2")
class LooksAtArgumentsLast(Mutant):
    async def get(self, key: str, /, *, at_revision: Revision | None = None) -> ReadResult:
        await trio.lowlevel.checkpoint()
        self._begin()
        return self._get(key, at_revision)


@MUTANTS.breaks("ERROR-2")
class LooksAtRevisionsWhenClosed(Mutant):
    def _get(self, key: str, at_revision: Revision | None) -> ReadResult:
        self._readable(at_revision)
        return super()._get(key, at_revision)


@pytest.mark.parametrize(("clause", "mutant"), MUTANTS.parameters())
def test_the_kit_finds_out(clause: str, mutant: type[Mutant]) -> None:
    assert failed_checks(clause, mutant)
