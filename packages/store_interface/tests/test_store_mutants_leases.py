"""Stores that are wrong about leases: each fails the clause that it breaks."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from math import inf

import pytest
import trio
from orchestrion.mocks import MemoryState
from orchestrion.mocks._store_leases import LeaseDeadlines
from orchestrion.store_interface import (
    MAX_LEASE_SECONDS,
    MIN_LEASE_SECONDS,
    LeaseId,
    LeaseNotFound,
)

from .store_mutants import Mutant, Mutants, failed_checks

MUTANTS = Mutants()


class LeasesOfAnotherLength(Mutant):
    def length(self, ttl_seconds: float) -> float:
        return ttl_seconds

    def _grant_lease(self, ttl_seconds: float) -> LeaseId:
        lease = self.state.add_lease(ttl_seconds)
        self._begin().add(lease, trio.current_time() + self.length(ttl_seconds))
        self._hub.set_alarm()
        return lease


@MUTANTS.breaks("LEASE-1")
class EndsEarly(LeasesOfAnotherLength):
    def length(self, ttl_seconds: float) -> float:
        return ttl_seconds - 0.01


@MUTANTS.breaks("LEASE-2", "LEASE-4", "KEEP-2")
class GoesByAnotherClock(LeasesOfAnotherLength):
    """As one that goes by time.monotonic() does while a mock clock jumps: no lease ever ends."""

    def length(self, ttl_seconds: float) -> float:
        return inf

    def _start_leases(self):  # type: ignore[no-untyped-def] # as the overridden
        super()._start_leases()
        self._deadlines = LeaseDeadlines(dict.fromkeys(self.state.leases, inf))
        return self._deadlines


@MUTANTS.breaks("LEASE-2")
class EndsLate(LeasesOfAnotherLength):
    def length(self, ttl_seconds: float) -> float:
        return ttl_seconds + 1.01


@MUTANTS.breaks("LEASE-7")
class TakesAnyLength(LeasesOfAnotherLength):
    def length(self, ttl_seconds: float) -> float:
        return max(MIN_LEASE_SECONDS, min(MAX_LEASE_SECONDS, ttl_seconds))


class EndsInReverse(MemoryState):
    def end_lease(self, lease: LeaseId, /) -> Sequence[tuple[str, object, object]]:  # type: ignore[override] # a mutant
        keys = sorted(self.leases[lease].keys if lease in self.leases else (), reverse=True)
        records = self.write([(key, None, None) for key in keys])
        super().end_lease(lease)
        return records


@MUTANTS.breaks("LEASE-3", "REVOKE-1")
class RemovesInReverse(Mutant):
    make_state = EndsInReverse


class KeepsKeysOnLeases(MemoryState):
    def write(self, writes, /):  # type: ignore[no-untyped-def] # as the overridden
        records = super().write(writes)
        for key, _, before in records:
            if before is not None and before.lease in self.leases:
                self.leases[before.lease].keys.add(key)
        return records


@MUTANTS.breaks("LEASE-3", "PUT-7")
class NeverTakesAKeyOff(Mutant):
    make_state = KeepsKeysOnLeases


@MUTANTS.breaks("LEASE-4")
class GoesOnWithHalfALease(Mutant):
    def __init__(self, state: MemoryState) -> None:
        super().__init__(state)
        for lease, held in state.leases.items():
            self._start_leases().prolong(lease, trio.current_time() + held.ttl_seconds / 2)


@MUTANTS.breaks("LEASE-4")
class ForgetsLeases(Mutant):
    def _keep_alive(self, lease: LeaseId) -> None:
        if self._granted_before(lease):
            raise LeaseNotFound("forgotten")
        super()._keep_alive(lease)

    def __init__(self, state: MemoryState) -> None:
        super().__init__(state)
        self._before = set(state.leases)

    def _granted_before(self, lease: LeaseId) -> bool:
        return lease in self._before


@MUTANTS.breaks("LEASE-6")
class UsesIdsAgain(Mutant):
    def _grant_lease(self, ttl_seconds: float) -> LeaseId:
        self.state._last_lease = len(self.state.leases)
        return super()._grant_lease(ttl_seconds)


@MUTANTS.breaks("KEEP-1")
class KeepsNothingAlive(Mutant):
    def _keep_alive(self, lease: LeaseId) -> None:
        self._begin()
        self.state.find_lease(lease)


@MUTANTS.breaks("KEEP-2")
class KeepsAnythingAlive(Mutant):
    def _keep_alive(self, lease: LeaseId) -> None:
        with suppress(LeaseNotFound):
            super()._keep_alive(lease)


@MUTANTS.breaks("REVOKE-2")
class WritesEmptyRevocations(Mutant):
    def _revoke(self, lease: LeaseId) -> None:
        before = self.state.revision
        super()._revoke(lease)
        if self.state.revision == before:
            self._write((("revoked", b"", None),))


@MUTANTS.breaks("REVOKE-3")
class RefusesUnknownRevocations(Mutant):
    def _revoke(self, lease: LeaseId) -> None:
        self._begin()
        self.state.find_lease(lease)
        super()._revoke(lease)


@pytest.mark.parametrize(("clause", "mutant"), MUTANTS.parameters())
def test_the_kit_finds_out(clause: str, mutant: type[Mutant]) -> None:
    assert failed_checks(clause, mutant)
