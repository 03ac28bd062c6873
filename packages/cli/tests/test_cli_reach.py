"""Reaching whoever owns a state directory, and telling when that fails."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import trio
from orchestrion.cli._reach import owner_or_lock
from orchestrion.cli._state_directory import Ownership, StateDirectory
from orchestrion.shared_types import Unavailable


@pytest.fixture
def place(tmp_path: Path) -> StateDirectory:
    place = StateDirectory(tmp_path / "state")
    place.make()
    return place


@pytest.fixture
def mute(place: StateDirectory) -> socket.socket:
    """Somebody who listens at the socket, and never answers."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(place.socket_path))
    listener.listen()
    return listener


async def test_a_directory_without_an_owner_is_ours(place: StateDirectory) -> None:
    async with owner_or_lock(place) as found:
        assert isinstance(found, Ownership)


async def test_an_owner_that_does_not_answer_is_told_and_then_given_up(
    place: StateDirectory, mute: socket.socket, autojump_clock: object, capsys: pytest.CaptureFixture[str]
) -> None:
    with mute, place.owned():
        began = trio.current_time()
        with pytest.raises(Unavailable, match="does not answer"):
            async with owner_or_lock(place):
                pytest.fail("it was reached")
        assert 30 <= trio.current_time() - began < 40
    assert capsys.readouterr().err == f"waiting for the owner of {place.path}, which does not answer yet\n"


async def test_a_socket_at_which_nobody_answers_is_no_owner_where_nobody_has_the_lock(
    place: StateDirectory, mute: socket.socket, autojump_clock: object
) -> None:
    with mute:
        async with owner_or_lock(place) as found:
            assert isinstance(found, Ownership)


async def test_an_owner_that_lets_go_is_waited_for(place: StateDirectory, autojump_clock: object) -> None:
    async with trio.open_nursery() as nursery:

        async def hold(task_status: trio.TaskStatus[None]) -> None:
            with place.owned():
                task_status.started()
                await trio.sleep(20)

        await nursery.start(hold)
        async with owner_or_lock(place) as found:
            assert isinstance(found, Ownership)
