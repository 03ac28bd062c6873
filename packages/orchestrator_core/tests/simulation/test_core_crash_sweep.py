"""In each scenario the orchestrator crashes before and after every store write and every runtime call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from orchestrion.mocks import FaultKind
from orchestrion.orchestrator_core._cluster import placing, workload_plan
from orchestrion.orchestrator_core._cluster.plan import WantedSlot
from orchestrion.orchestrator_core._cluster.planning import Planning
from orchestrion.orchestrator_core._cluster.pushing import Pusher
from orchestrion.orchestrator_core._control import admission
from orchestrion.orchestrator_core._node.containers import ContainerBook
from orchestrion.orchestrator_core._node.loop import NodeLoop
from orchestrion.orchestrator_core._state import facts

from .crash_points import Scenario, play
from .scenarios import SCENARIOS
from .trace import Violation


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_crash_at_any_call_changes_nothing_in_the_end(scenario: Scenario) -> None:
    clean = play(scenario)
    assert clean.calls > 0
    assert not clean.end.left_over
    for at in range(1, clean.calls + 1):
        for kind in (FaultKind.CRASH_BEFORE, FaultKind.CRASH_AFTER):
            crashed = play(scenario, at, kind)
            told = f"play({scenario.name!r}, {at}, {kind!r}):\n{crashed.trace.tail(80)}"
            assert crashed.crashes == 1, told
            assert crashed.end == clean.end, told
            assert crashed.attempts <= clean.attempts or scenario.restarts, told


def _scenario(name: str) -> Scenario:
    return next(scenario for scenario in SCENARIOS if scenario.name == name)


def test_the_sweep_notices_a_node_loop_that_never_asks_what_runs_mutant(monkeypatch: pytest.MonkeyPatch) -> None:
    async def learn_nothing(book: ContainerBook) -> None:
        await book.engine.list()

    def look_for_nothing(_book: ContainerBook) -> None:
        return

    clean = play(_scenario("deploy"))
    monkeypatch.setattr(ContainerBook, "list", learn_nothing)
    monkeypatch.setattr(ContainerBook, "find_unlisted", look_for_nothing)
    with pytest.RaisesGroup(Violation, flatten_subgroups=True):
        play(_scenario("deploy"), clean.calls, FaultKind.CRASH_AFTER)


def test_the_sweep_notices_a_cluster_loop_that_reuses_epochs_mutant(monkeypatch: pytest.MonkeyPatch) -> None:
    clean = play(_scenario("node-loss"))
    monkeypatch.setattr(Planning, "_next_epoch", lambda _planning, _slot: 1)
    assert play(_scenario("node-loss")).end != clean.end


def test_the_watchdog_notices_half_a_gang_mutant(monkeypatch: pytest.MonkeyPatch) -> None:
    def each_for_itself(slots: Sequence[WantedSlot], _minimum: int) -> Iterator[tuple[Sequence[WantedSlot], int]]:
        for slot in slots:
            yield [slot], 0

    assert play(_scenario("gang-work")).end is not None
    monkeypatch.setattr(placing, "portions", each_for_itself)
    with pytest.RaisesGroup(pytest.RaisesExc(Violation, match="begin, a gang of 2"), flatten_subgroups=True):
        play(_scenario("gang-work"))


def test_the_watchdog_notices_an_update_that_does_not_wait_mutant(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (workload_plan, facts):
        monkeypatch.setattr(module, "canary_of", lambda _record: None)
    with pytest.RaisesGroup(pytest.RaisesExc(Violation, match="whose canary is 1"), flatten_subgroups=True):
        play(_scenario("canary"))


def test_the_watchdog_notices_what_is_replaced_by_others_of_the_same_mutant(monkeypatch: pytest.MonkeyPatch) -> None:
    assert play(_scenario("take-back")).end.workloads["web"].startswith("template 1, ")
    monkeypatch.setattr(admission, "generation_kept", lambda _definition, _record: 0)
    with pytest.RaisesGroup(pytest.RaisesExc(Violation, match="which runs the same"), flatten_subgroups=True):
        play(_scenario("take-back"))


def test_the_watchdog_notices_a_slot_that_starts_before_its_victims_have_ended_mutant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(NodeLoop, "_in_the_way", lambda _loop, _bound: [])
    with pytest.RaisesGroup(pytest.RaisesExc(Violation, match="starts before"), flatten_subgroups=True):
        play(_scenario("preempt"))


def test_the_watchdog_notices_victims_that_are_not_told_to_stop_mutant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pusher, "_stops", lambda _pusher, _push, _by: iter(()))
    with pytest.RaisesGroup(Violation, flatten_subgroups=True):
        play(_scenario("preempt"))
