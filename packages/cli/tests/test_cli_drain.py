"""`node drain` tells what is left on the node, why, and since when."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
from orchestrion.cli import run
from orchestrion.cli._drain import DrainWatch, why_left
from orchestrion.cli._tables import harmless
from orchestrion.cli._times import clock_time
from orchestrion.mocks import mock_nodes
from orchestrion.orchestrator_core import Update, UpdateKind, WorkloadPhase, WorkloadView
from orchestrion.shared_types import (
    Binding,
    ContainerConfig,
    DesiredState,
    Disruption,
    InstanceKey,
    InstanceState,
    InstanceStatus,
    Metadata,
    Node,
    NodeId,
    Uid,
    UpdateStrategy,
    WorkloadDefinition,
    WorkloadInstance,
    WorkloadKind,
)
from trio.testing import MockClock

from .running_command import begin
from .served_directory import Do, served_directory

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
ALPHA = Node(id=NodeId("a" * 32), name="alpha")


def view(kind: WorkloadKind = WorkloadKind.SERVICE, *, available: int = 2, **more: Any) -> WorkloadView:
    main = ContainerConfig(name="main", command=("run",), stop_grace_seconds=30)
    fields = {name: more.pop(name) for name in ("disruption", "update") if name in more}
    definition = WorkloadDefinition(metadata=Metadata(name="web"), kind=kind, containers=(main,), **fields)
    return WorkloadView(definition=definition, phase=WorkloadPhase.HEALTHY, replicas=2, available=available, **more)


def instance(index: int = 0, epoch: int = 1, node: str = "a", **more: Any) -> WorkloadInstance:
    desired = more.pop("desired", DesiredState.RUN)
    return WorkloadInstance(
        key=InstanceKey(Uid("u"), index, epoch),
        namespace="default",
        workload="web",
        binding=Binding(node_id=NodeId(node * 32), generation=1, desired=desired),
        status=InstanceStatus(**{"state": InstanceState.RUNNING, **more}),
    )


COMING = instance(0, 2, "b", state=InstanceState.PENDING)


@pytest.mark.parametrize(
    ("left", "of", "others", "deadline", "told"),
    [
        (instance(desired=DesiredState.STOP), view(), [], None, "it is ending, which may take it 30 s"),
        (instance(desired=DesiredState.STOP), None, [], None, "it is ending"),
        (instance(), None, [], None, "its workload is not known"),
        (instance(), view(WorkloadKind.BATCH), [], None, "batch work may finish, however long that takes"),
        (instance(), view(WorkloadKind.BATCH), [], NOW, f"batch work may finish, until {clock_time(NOW)} at most"),
        (instance(), view(WorkloadKind.DAEMON), [], None, "it is told to end"),
        (instance(), view(available=3), [], None, "it is told to end"),
        (
            instance(),
            view(disruption=Disruption(max_unavailable=0)),
            [COMING],
            None,
            "its disruption budget wants 2 available, and 2 are; waits for web.0.2 (Pending)",
        ),
        (
            instance(),
            view(available=1, disruption=Disruption(max_unavailable=1), reason="unplaceable", message="no room\x1b[2J"),
            [],
            None,
            "its disruption budget wants 1 available, and 1 is; no room" + harmless("\x1b[2J"),
        ),
        (
            instance(),
            view(available=1, update=UpdateStrategy(max_unavailable=1)),
            [],
            None,
            "its update.max_unavailable wants 1 available, and 1 is; waits for its replacement",
        ),
    ],
)
def test_what_keeps_an_instance_on_the_node_is_named(
    left: WorkloadInstance, of: WorkloadView | None, others: list[WorkloadInstance], deadline: Any, told: str
) -> None:
    assert why_left(left, of, others, deadline) == told


async def test_a_reason_is_told_once_it_has_lasted_and_again_when_it_is_another(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    def now() -> datetime:
        return NOW + timedelta(seconds=trio.current_time())

    watch = DrainWatch(ALPHA, None, tells=True, now=now)

    def happens(*things: WorkloadInstance | WorkloadView) -> bool:
        for one in things:
            if isinstance(one, WorkloadView):
                watch.picture.take(Update(kind=UpdateKind.WORKLOAD, namespace="default", name="web", workload=one))
            else:
                update = Update(kind=UpdateKind.INSTANCE, namespace="default", name=one.name, instance=one)
                watch.picture.take(update)
        return watch.take()

    with trio.move_on_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch.tell_reasons)
            assert not happens(view(), instance(0), instance(1, node="b", healthy_since=NOW))
            await trio.sleep(10.5)
            assert not happens(view(message="else"))
            await trio.sleep(1)
            ending = instance(0, desired=DesiredState.STOP)
            assert not happens(ending)
            await trio.sleep(3)
            assert [(one.instance, one.since) for one in watch.left()] == [("web.0.1", NOW + timedelta(seconds=11.5))]
            assert happens(instance(0, state=InstanceState.SUCCEEDED))
            assert watch.left() == []
            nursery.cancel_scope.cancel()
    why = "its update.max_unavailable wants 2 available, and 2 are; waits for its replacement"
    assert capsys.readouterr().err.splitlines() == [
        "alpha: 1 left: web.0.1",
        f"  web.0.1: {why}, since {clock_time(NOW)}",
        f"  web.0.1: it is ending, which may take it 30 s, since {clock_time(NOW + timedelta(seconds=11.5))}",
    ]


@pytest.fixture(scope="module")
def owned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state directory with one node alone."""
    with served_directory(tmp_path_factory.mktemp("owned") / "state", mock_nodes(1)) as state:
        yield state


@pytest.mark.slow
def test_when_time_is_over_what_is_left_is_named_with_its_reason(do: Do) -> None:
    Path("app.yaml").write_text("workloads: {web: {replicas: 1, containers: [{name: main, command: [run]}]}}")
    assert do("apply", "app.yaml", "--wait")[0] == 0
    (node,) = do("node", "ls", "-o", "name")[1].split()
    drain = ("node", "drain", node, "--reason", "new disks")
    code, out, said = do(*drain, "--timeout", "0.5s")
    assert (code, out) == (8, "")
    *_, head, left = said.splitlines()
    assert head == f"{node}: not empty within 0.5s; the drain goes on; 1 left"
    assert left.startswith("  web.0.1: its update.max_unavailable wants 1 available, and 1 is; ")
    assert " since 20" in left
    code, out, said = do(*drain, "--timeout", "0.5s", "-o", "json")
    result = json.loads(out)
    assert (code, result["node"], result["empty"], result["left"][0]["instance"]) == (8, node, False, "web.0.1")
    code, out, _ = do(*drain, "--no-wait", "-o", "json")
    assert (code, json.loads(out)["empty"]) == (0, None)
    assert do("rm", "web", "--yes")[0] == 0
    code, out, _ = do(*drain, "-o", "json")
    assert (code, json.loads(out)["empty"], json.loads(out)["left"]) == (0, True, [])
    assert run(["node", "uncordon", node]) == 0


@pytest.mark.slow
def test_who_interrupts_it_is_told_that_it_goes_on_and_how_to_call_it_off(do: Do, owned: Path) -> None:
    Path("app.yaml").write_text("workloads: {web: {replicas: 1, containers: [{name: main, command: [run]}]}}")
    assert do("apply", "app.yaml", "--wait")[0] == 0
    (node,) = do("node", "ls", "-o", "name")[1].split()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        environment = {**os.environ, "ORCHESTRION_STATE": str(owned)}
        drain = begin("node", "drain", node, "--reason", "new disks", folder=Path(), environment=environment)
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        drain.wait_for("1 left")
        drain.interrupt()
        assert (drain.end(), drain.out) == (130, [])
    finally:
        drain.kill()
    told = f"{node}: not waited for any longer; the drain goes on: `orchestrion node uncordon {node}` calls it off"
    assert drain.err[-1] == told
    assert do("node", "uncordon", node)[0] == 0
    assert do("rm", "web", "--yes")[0] == 0
