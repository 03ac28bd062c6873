"""Who follows a workload for which there is no place is told so, and does not wait for ever."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from orchestrion.cli import _rollout_follow as rollout_module
from orchestrion.cli import _unplaced as unplaced_module
from orchestrion.cli import _wait as wait_module
from orchestrion.cli import run
from orchestrion.cli._kinds import KINDS, KindName
from orchestrion.cli._objects import Data, Listed
from orchestrion.cli._places import RemoteServer
from orchestrion.cli._rollout_follow import Teller, followed
from orchestrion.cli._unplaced import GRACE_SECONDS, NoPlace, Unplaced
from orchestrion.cli._wait import _goal, wait_for
from orchestrion.cli._where import Where
from orchestrion.control_plane import SocketPeer
from orchestrion.orchestrator_core import Update, UpdateKind, WorkloadPhase, WorkloadView
from orchestrion.shared_types import (
    Binding,
    ContainerConfig,
    Denied,
    InstanceKey,
    InstanceState,
    InstanceStatus,
    Metadata,
    NetworkFailure,
    NodeId,
    Uid,
    WorkloadDefinition,
    WorkloadInstance,
    WorkloadKind,
)
from trio.testing import MockClock

from .served_directory import served_directory

Happening = Callable[[Unplaced], Awaitable[None]]


class Answering:
    """Says of instances what a test wants, the last of it for ever."""

    def __init__(self, *answers: list[WorkloadInstance] | Exception) -> None:
        self.answers = list(answers) or [[]]

    async def list_instances(
        self, *, namespace: str | None = None, workload: str | None = None
    ) -> list[WorkloadInstance]:
        await trio.lowlevel.checkpoint()
        assert (namespace, workload) == ("default", "web")
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def instance(state: InstanceState) -> WorkloadInstance:
    return WorkloadInstance(
        key=InstanceKey(Uid("u"), 0, 1),
        namespace="default",
        workload="web",
        binding=Binding(node_id=NodeId("n"), generation=1),
        status=InstanceStatus(state=state),
    )


async def given_up_after(happens: Happening, *answers: list[WorkloadInstance] | Exception) -> float | None:
    """Return after how long a workload is given up to which something happens; None where not within an hour."""
    unplaced, reader = Unplaced("default", "web"), Answering(*answers)
    anyone: Any = reader
    begun, after = trio.current_time(), None
    with trio.move_on_after(3600):
        try:
            async with unplaced.given_up(anyone):
                await happens(unplaced)
                await trio.sleep_forever()
        except NoPlace:
            after = trio.current_time() - begun
    return after


async def nothing_fits(unplaced: Unplaced) -> None:
    await trio.sleep(3)
    unplaced.saw("unplaceable", "no place", (1,), waits=False)


async def something_goes_on(unplaced: Unplaced) -> None:
    await nothing_fits(unplaced)
    await trio.sleep(GRACE_SECONDS - 1)
    unplaced.saw("unplaceable", "no place", (2,), waits=False)


async def only_words_change(unplaced: Unplaced) -> None:
    await nothing_fits(unplaced)
    await trio.sleep(GRACE_SECONDS - 1)
    unplaced.saw("unplaceable", "still no place", (1,), waits=False)


async def a_place_comes(unplaced: Unplaced) -> None:
    await something_goes_on(unplaced)
    unplaced.saw("", "", (2,), waits=False)


async def work_queues(unplaced: Unplaced) -> None:
    unplaced.saw("unplaceable", "no place", (1,), waits=True)


@pytest.mark.parametrize(
    ("happens", "after"),
    [
        (nothing_fits, 3 + GRACE_SECONDS),
        (something_goes_on, 2 + 2 * GRACE_SECONDS),
        (only_words_change, 3 + GRACE_SECONDS),
        (a_place_comes, None),
        (work_queues, None),
    ],
)
async def test_what_has_no_place_for_a_while_in_which_nothing_goes_on_is_given_up(
    happens: Happening, after: float | None, autojump_clock: MockClock
) -> None:
    assert await given_up_after(happens) == after


@pytest.mark.parametrize(
    ("answer", "after"),
    [
        ([instance(InstanceState.TERMINATING)], 3 + 2 * GRACE_SECONDS),
        (NetworkFailure("nobody"), 3 + 2 * GRACE_SECONDS),
        (Denied("no"), 3 + GRACE_SECONDS),
        ([instance(InstanceState.RUNNING)], 3 + GRACE_SECONDS),
    ],
    ids=["ends", "outage", "denied", "runs"],
)
async def test_what_still_ends_may_make_a_place(
    answer: list[WorkloadInstance] | Exception, after: float, autojump_clock: MockClock
) -> None:
    assert await given_up_after(nothing_fits, answer, []) == after


NOWHERE = """
workloads:
  web:
    placement: {select: {disk: none}}
    containers: [{name: main, command: [serve]}]
"""


class Queueing:
    """An orchestrator with a batch workload that has no place, of which nothing else is ever told."""

    namespace = "default"

    def __init__(self) -> None:
        self.control = self
        main = ContainerConfig(name="main", command=("work",))
        definition = WorkloadDefinition(metadata=Metadata(name="job"), kind=WorkloadKind.BATCH, containers=(main,))
        self.view = WorkloadView(definition=definition, phase=WorkloadPhase.PENDING, reason="unplaceable", message="no")

    async def get_workload(self, _name: str, /, *, namespace: str) -> WorkloadView:
        await trio.lowlevel.checkpoint()
        assert namespace == "default"
        return self.view

    async def kind(self, _text: str, /) -> KindName:
        await trio.lowlevel.checkpoint()
        return KINDS[0]

    async def list(self, _kind: KindName, /) -> Listed:
        await trio.lowlevel.checkpoint()
        status = {"phase": "Pending", "reason": "unplaceable", "message": "no"}
        item = {"kind": "Workload", "metadata": {"name": "job"}, "spec": {"kind": "batch"}, "status": status}
        return Listed([item], 1)

    def meant(self, _kind: KindName, _items: Iterable[Data], name: str, /) -> str:
        return name

    async def watch(self, *_arguments: Any, **_more: Any) -> AsyncGenerator[tuple[str, Data], None]:
        await trio.sleep(float("inf"))
        yield "MODIFIED", {}


def reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands reach an orchestrator with a batch workload that queues."""
    queueing: Any = Queueing()

    @asynccontextmanager
    async def reach(*_where: Any) -> AsyncIterator[Any]:
        yield queueing

    async def updates(*_arguments: Any, **_more: Any) -> AsyncGenerator[Update, None]:
        yield Update(kind=UpdateKind.WORKLOAD, namespace="default", name="job", workload=queueing.view)
        await trio.sleep_forever()

    monkeypatch.setattr(wait_module, "reach_objects", reach)
    monkeypatch.setattr(rollout_module, "reach_owner", reach)
    monkeypatch.setattr(rollout_module, "followed_updates", updates)


PLACE: Any = RemoteServer("there", "http://localhost", SocketPeer(Path("/nowhere")))


async def test_work_that_queues_has_no_place_when_time_is_over(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached(monkeypatch)
    with pytest.raises(NoPlace, match="job: no"):
        await followed(PLACE, "default", ["job"], 3600, Teller().tell)
    for goal in ("done", "status.succeeded=1"):
        with pytest.raises(NoPlace, match="job: no"):
            await wait_for(Where(namespace="default"), PLACE, "workload", "job", _goal(goal), 3600)
    assert trio.current_time() == 3 * 3600


async def test_what_needs_no_place_is_waited_for_until_time_is_over(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached(monkeypatch)
    for goal in ("deleted", "metadata.labels.tier=front"):
        assert await wait_for(Where(namespace="default"), PLACE, "workload", "job", _goal(goal), 60) is None


@pytest.mark.slow
def test_where_nothing_fits_following_ends_with_7(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("URL", "TOKEN", "CONTEXT"):
        monkeypatch.delenv(f"ORCHESTRION_{name}", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "app.yaml").write_text(NOWHERE)
    with served_directory(tmp_path / "state") as state:
        monkeypatch.setenv("ORCHESTRION_STATE", str(state))
        assert run(["apply", "app.yaml"]) == 0
        monkeypatch.setattr(unplaced_module, "GRACE_SECONDS", 0.01)
        for command in (
            ("rollout", "status", "web"),
            ("wait", "workload", "web"),
            ("wait", "w", "web", "--for", "status.available=1"),
            ("apply", "app.yaml", "--wait"),
        ):
            capsys.readouterr()
            assert run([*command, "--timeout", "50s"]) == 7
            told = capsys.readouterr().err
            assert "error: web: 1 instance has no place" in told
            assert "`orchestrion explain web`" in told
            assert "Traceback" not in told
