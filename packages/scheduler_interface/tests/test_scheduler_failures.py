"""A check that fails says what was asked, what came and what the clause says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from orchestrion.scheduler_interface.conformance import SchedulerUnderTest, checks

from .scheduler_mutants import MutantKind
from .test_scheduler_mutants_fit import IgnoresPorts, WantsOneMore
from .test_scheduler_mutants_safety import ForgetsWhatASlotHolds, TakesRoomForWhatStays


@pytest.mark.parametrize(
    ("kind", "check_id", "said"),
    [
        (
            IgnoresPorts,
            "FIT-10-a-static-host-port-goes-to-one-slot-per-node",
            ("port tcp/80", "expected n1, n2, a refusal, since", "took its host port", "got n1, n2, n1"),
        ),
        (
            WantsOneMore,
            "FIT-12-slots-fill-a-node-to-the-last-unit",
            ("250 cpu_millicores", "1000 cpu_millicores free", "what fits exactly passes", "got n1, n1, n1, a refusal"),
        ),
        (
            ForgetsWhatASlotHolds,
            "STAY-1-a-slot-stays-with-its-devices-whatever-it-would-get-now",
            ("holds slots 0@1", "is placed already and holds the shares {'d1': 700}", "the decision says {}"),
        ),
        (
            TakesRoomForWhatStays,
            "STAY-2-a-slot-that-is-placed-already-takes-nothing-anew",
            ("holds slots 0@1", "expected n1, n1, n2, since slot 0 is on n1 already", "got n1, n2, a refusal"),
        ),
    ],
)
def test_a_failure_explains_itself(kind: MutantKind, check_id: str, said: tuple[str, ...]) -> None:
    @asynccontextmanager
    async def open_mutant() -> AsyncIterator[SchedulerUnderTest]:
        yield SchedulerUnderTest(kind())

    (check,) = (check for check in checks(open_mutant) if check.id == check_id)
    with pytest.raises(AssertionError) as raised:
        check()
    assert [words for words in said if words not in str(raised.value)] == []
